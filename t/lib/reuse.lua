-- For request-address-reuse.t: keeps the handle and pointer of requests, and tries all kept
-- ones in the current request.
--
-- nginx uses the memory and the slots of ended requests again.  This is counted, so that a
-- test knows that it happened.

local client = require "client"
local ffi = require "ffi"
local ngxvar = require "resty.ngxvar"
local get_request = require("resty.core.base").get_request

local _M = {}

local kept = {}
local count = {}
local has_ended = {}        -- by family, below

-- The functions that take a request; each has to refuse one that has ended.
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

local function address(r)
    return tonumber(ffi.cast("uintptr_t", r))
end

local function slot(handle)
    return (tostring(handle):match("^request: (%d+)/"))
end

local function add(what)
    count[what] = (count[what] or 0) + 1
end

local function is_refusal(why, is_fake)
    return why == "stale request"
           or is_fake and why == "no variables in this context (TLS handshake, timer or worker start)"
end

-- is_fake: it may be the handle of a context without variables, used in such a context
local function all_refuse(req, is_fake)
    for i, use in ipairs(USES) do
        local value, why = use(req)

        if value ~= nil or not is_refusal(why, is_fake) then
            add("use " .. i .. ": " .. tostring(value) .. ", " .. tostring(why))
            return false
        end
    end

    local live, why = ngxvar.live(req)
    return live == false and is_refusal(why, is_fake)
end


-- Names a request and its subrequests, which end together; nil for a fake request.
local function family()
    local phase = ngx.get_phase()

    return phase ~= "timer" and phase ~= "ssl_cert" and ngx.var.request_id or nil
end


-- In the log phase: from now on this request has to be refused.
function _M.ended()
    has_ended[family()] = true
end


-- Tries what was kept: ended requests have to be refused, others have to be live.
function _M.try()
    local here, mine = address(get_request()), ngxvar.request()

    for _, other in ipairs(kept) do
        if other.family and not has_ended[other.family] then
            if not ngxvar.live(other.handle) then
                add("handle of a live request refused")
            end

        else
            add("tried")

            if other.address == here then
                add("at an address in use again")
            end

            if slot(other.handle) == slot(mine) then
                add("in a slot in use again")
            end

            if not all_refuse(other.handle, not other.family and not family()) then
                add("handle taken")
            end

            -- A bare pointer is accepted if it is the current request's address, and then
            -- reads that request.
            if other.address ~= here then
                if not all_refuse(other.pointer, not other.family and not family()) then
                    add("pointer taken")
                end

            elseif family()
                   and (ngxvar.fetch("uri", other.pointer) ~= ngx.var.uri
                        or ngxvar.fetch("http_x_secret", other.pointer) ~= ngx.var.http_x_secret
                        or not ngxvar.live(other.pointer))
            then
                add("own pointer refused")
            end
        end
    end
end


-- Keeps the current request.
function _M.keep()
    kept[#kept + 1] = {
        handle = ngxvar.request(),
        pointer = get_request(),
        address = address(get_request()),
        family = family(),
    }

    -- one of a context without variables names no request
    if ngxvar.live(kept[#kept].handle) ~= (family() ~= nil) then
        add(family() and "own handle refused" or "a handle of no request is live")
    end
end


-- For most requests: keeps and tries.
function _M.both()
    _M.try()

    -- not again after a redirect
    local last = kept[#kept]

    if not last or last.family ~= family() or last.address ~= address(get_request()) then
        _M.keep()
    end

    if ngx.var.own ~= "" then
        add("a variable of the running request overwritten")
    end
end


-- Prints the counts and resets them.
function _M.tell()
    local function more_than_none(what)
        ngx.say(what, ": ", (count[what] or 0) > 0 and "yes" or "no")
        count[what] = nil
    end

    -- the log phase comes after the response
    _M.await_ends()
    _M.try()

    ngx.say("kept: ", #kept)
    more_than_none("tried")
    more_than_none("at an address in use again")
    more_than_none("in a slot in use again")

    for what, number in pairs(count) do
        ngx.say(what, ": ", number)
    end

    kept, count, has_ended = {}, {}, {}
end


function _M.await_ends()
    for _, other in ipairs(kept) do
        client.wait_until(function () return not other.family or has_ended[other.family] end,
                          "the end of a request")
    end
end


return _M
