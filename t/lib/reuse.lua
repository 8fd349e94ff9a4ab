-- For 31-address-reuse.t: keeps the handle and the pointer of every request it is
-- asked to, and tries all that it kept before in the request that is running.
--
-- Memory and slots of requests that ended are used again at once.  That they were
-- is counted, so that a test knows that it tried what it is about.

local ffi = require "ffi"
local ngxvar = require "resty.ngxvar"
local get_request = require("resty.core.base").get_request

local _M = {}

local kept = {}
local count = {}

local get_uri = ngxvar.getter("uri")
local get_status = ngxvar.getter("status")
local get_header = ngxvar.getter("http_x_secret")
local set_own = ngxvar.setter("own")

-- Everything that takes a request; each has to refuse one that has ended.
local USES = {
    function (req) return ngxvar.fetch("uri", req) end,
    function (req) return ngxvar.fetch("host", req) end,
    function (req) return ngxvar.fetch("request_time", req) end,
    function (req) return ngxvar.fetch("http_x_secret", req) end,
    function (req) return ngxvar.fetch("own", req) end,
    function (req) return ngxvar.fetch("no_such_variable", req) end,
    function (req) return ngxvar.fetch(1, req) end,
    function (req) return ngxvar.set("own", "overwritten", req) end,
}

-- Those that take handles only.
local HANDLE_USES = {
    function (req) return get_uri(req) end,
    function (req) return get_status(req) end,
    function (req) return get_header(req) end,
    function (req) return set_own("overwritten", req) end,
}


local function address(r)
    return tonumber(ffi.cast("uintptr_t", r))
end

local function slot(handle)
    return (tostring(handle):match("^request: (%d+)/"))
end

local function add(what)
    count[what] = (count[what] or 0) + 1
end

local function all_refuse(uses, req)
    for i, use in ipairs(uses) do
        local value, why = use(req)

        if value ~= nil or why ~= "stale request" then
            add("use " .. i .. ": " .. tostring(value) .. ", " .. tostring(why))
            return false
        end
    end

    local live, why = ngxvar.live(req)
    return live == false and why == "stale request"
end


-- Tries what was kept by other requests.  `alive` are handles, in a set by text,
-- of requests that have not ended.
function _M.try(alive)
    local r = get_request()
    local here, mine = address(r), ngxvar.request()

    for _, other in ipairs(kept) do
        if not (alive and alive[tostring(other.handle)]) then
            add("tried")

            if other.address == here then
                add("at an address in use again")
            end

            if slot(other.handle) == slot(mine) then
                add("in a slot in use again")
            end

            if not (all_refuse(USES, other.handle)
                    and all_refuse(HANDLE_USES, other.handle))
            then
                add("handle taken")
            end

            -- A bare pointer says no more than an address.  It is taken when that is
            -- the running request's own, and then it gives that request's data.
            if other.address ~= here then
                if not all_refuse(USES, other.pointer) then
                    add("pointer taken")
                end

            elseif ngx.get_phase() ~= "timer"
                   and (ngxvar.fetch("uri", other.pointer) ~= ngx.var.uri
                        or ngxvar.fetch("http_x_secret", other.pointer) ~= ngx.var.http_x_secret
                        or not ngxvar.live(other.pointer))
            then
                add("own pointer refused")
            end
        end
    end
end


-- Keeps the running request.
function _M.keep()
    local handle = ngxvar.request()

    -- it names the request for as long as that is there
    if not ngxvar.live(handle) then
        add("own handle refused")
    end

    kept[#kept + 1] = {
        handle = handle,
        pointer = get_request(),
        address = address(get_request()),
    }

    return handle
end


-- What the requests of most tests do.
function _M.both()
    _M.try()

    local handle = _M.keep()

    if ngx.var.own ~= "" then
        add("a variable of the running request overwritten")
    end

    -- tried once more with one of a live request in the list
    _M.try{ [tostring(handle)] = true }
end


-- What came of it, and begins anew.
function _M.tell()
    local function more_than_none(what)
        ngx.say(what, ": ", (count[what] or 0) > 0 and "yes" or "no")
        count[what] = nil
    end

    ngx.say("kept: ", #kept)
    more_than_none("tried")
    more_than_none("at an address in use again")
    more_than_none("in a slot in use again")

    for what, number in pairs(count) do
        ngx.say(what, ": ", number)
    end

    kept, count = {}, {}
end


return _M
