-- For t/memory.t: allocations that fail, and a registry that is full.

local client = require "client"
local ffi = require "ffi"
local semaphore = require "ngx.semaphore"

local C = ffi.C

ffi.cdef[[
void ngx_http_lua_var_testing_fail(size_t kind, int64_t after, int all);
double ngx_http_lua_var_testing_figure(uint32_t which);
int ngx_http_lua_var_ffi_uri(ngx_http_request_t *r, ngx_str_t *uri);
]]

local _M = {
    -- kinds of allocations (src/faults.rs)
    CHUNK = 0,
    POOL = 1,
    CLEANUP = 2,
}


-- The allocation of that kind after the next `after` ones fails; one, or all from there on.
function _M.fail(kind, after, all)
    C.ngx_http_lua_var_testing_fail(kind, after or 0, all and 1 or 0)
end


-- From now on there is memory for everything.
function _M.recover()
    for kind = 0, 2 do
        C.ngx_http_lua_var_testing_fail(kind, -1, 0)
    end
end


function _M.live()
    return C.ngx_http_lua_var_testing_figure(0)
end


-- slots that have memory
function _M.capacity()
    return C.ngx_http_lua_var_testing_figure(2)
end


local function room()
    local retired = C.ngx_http_lua_var_testing_figure(1)

    return _M.capacity() - retired - _M.live()
end


-- Calls f() while as many allocations fail as was said, and checks that all which
-- began in the meantime has ended after it. Returns what f returns.
function _M.during(kind, after, all, f)
    local before = _M.live()

    _M.fail(kind, after, all)

    local ok, result = pcall(f)

    _M.recover()

    if not ok then
        error(result, 0)
    end

    client.wait_until(function () return _M.live() == before end)

    -- an address of a request that is not registered would name another one later
    local indexed = C.ngx_http_lua_var_testing_figure(5)

    if indexed ~= before then
        error(indexed .. " addresses of " .. before .. " live requests")
    end

    return result
end


-- Timers that wait, each with a fake request in the table, until no slot is free:
-- the next request needs a chunk. Returns a function that ends them.
function _M.fill()
    local gate = semaphore.new()
    local ngxvar = require "resty.ngxvar"
    local wanted = room()
    local waiting, failed = 0, nil

    for _ = 1, wanted do
        assert(ngx.timer.at(0, function ()
            local handle, err = ngxvar.request()

            failed = failed or not handle and err
            waiting = waiting + 1
            gate:wait(60)
        end))
    end

    client.wait_until(function () return waiting == wanted end)
    assert(not failed, failed)
    assert(room() == 0)

    local before = _M.live() - wanted

    return function ()
        gate:post(wanted)
        client.wait_until(function () return _M.live() <= before end)
    end
end


-- A GET of this nginx's second server, and its body.
function _M.get(uri, headers)
    local res = client.get(uri, { headers = headers })

    return res.status .. " " .. res.body
end


-- Looks up addresses that no request has, enough for every bucket of the index: one
-- that an unsuccessful registration left tangled has no end.
local function walk()
    local text = ffi.new("ngx_str_t")

    for at = 1, 4096 do
        local nobody = ffi.cast("ngx_http_request_t *", at * 16)

        assert(C.ngx_http_lua_var_ffi_uri(nobody, text) ~= 0)
    end
end


-- The content that blocks ask for: what the module gives Lua about its own request.
function _M.report()
    walk()

    local ngxvar = require "resty.ngxvar"
    local pointer = require("resty.core.base").get_request()
    local handle, err = ngxvar.request()

    ngx.say("fetch: ", (ngxvar.fetch("uri")))
    ngx.say("request: ", handle and "a handle" or err)
    ngx.say("by handle: ", handle and (ngxvar.fetch("uri", handle)) or "-")

    local value, why = ngxvar.fetch("uri", pointer)
    ngx.say("by pointer: ", value or why)

    local is_live, why_not = ngxvar.live(pointer)
    ngx.say("live: ", is_live or why_not)

    ngx.say("set: ", ngxvar.set("own", "changed") and ngx.var.own)
    ngx.ctx.kept = ngx.var.uri
    ngx.say("ctx: ", ngx.ctx.kept)
end


return _M
