-- The fuzzer's list of requests: the live ones with their handles, addresses and expected
-- values, and some that have ended.

local ffi = require "ffi"
local arguments = require "fuzz_arguments"
local base = require "resty.core.base"
local ngxvar = require "resty.ngxvar"

local _M = {
    -- the entry of the request for which cases are run; nil when there is none
    current = nil,
    -- entries to take handles from
    known = {},
    -- names of variables whose values are known
    names = {},
}

local live = {}             -- set of entries
local by_address = {}       -- address, as a number -> entry
local ended = {}            -- entries, the newest ENDED
local ENDED = 200
local ended_count = 0


local function address_of_current()
    local r = base.get_request()

    return r and ffi.cast("uint64_t", ffi.cast("uintptr_t", r))
end


-- Adds the current request. expected: values of variables, by name.
function _M.enter(expected, marker)
    local address = address_of_current()
    local entry = {
        handle = assert(ngxvar.request()), address = address, expected = expected, marker = marker,
    }

    live[entry] = true
    by_address[tonumber(address)] = entry

    return entry
end


local function note_ended(entry)
    ended[ended_count % ENDED + 1] = entry
    ended_count = ended_count + 1
end


function _M.leave(entry)
    live[entry] = nil
    by_address[tonumber(entry.address)] = nil
    note_ended(entry)
end


-- The current request's slot has another generation now.
function _M.renew(entry)
    note_ended({ handle = entry.handle, address = entry.address })
    entry.handle = assert(ngxvar.request())
end


-- The number of an entry's slot.
function _M.id_of(entry)
    return tonumber(tostring(entry.handle):match("(%d+)/"))
end


-- The entry, if its request is live and has variables.
function _M.readable(entry)
    return live[entry] and not entry.fake and entry or nil
end


-- The entry of the request at an address, if it has variables.
function _M.at(address)
    local entry = by_address[tonumber(address)]

    return entry and not entry.fake and entry.address == address and entry or nil
end


-- Whether a request of any kind is at an address.
function _M.is_at(address)
    return by_address[tonumber(address)] ~= nil
end


-- Passes all to fuzz_arguments, for one batch; memory: other addresses.
function _M.collect(memory)
    local addresses, ended_addresses, known = {}, {}, {}

    if _M.current then
        addresses[1] = _M.current.address
        known[1] = _M.current
        known[2] = _M.current
    end

    for entry in pairs(live) do
        addresses[#addresses + 1] = entry.address
        known[#known + 1] = entry
    end

    for _, entry in ipairs(ended) do
        known[#known + 1] = entry
        ended_addresses[#ended_addresses + 1] = entry.address
    end

    _M.known = known
    arguments.prepare(addresses, ended_addresses, memory)
end


return _M
