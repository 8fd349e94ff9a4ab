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
    -- kinds of allocations (t/hooks/faults.rs)
    CHUNK = 0,
    POOL = 1,
    SLOT = 2,
    PEEK = 3,
}


-- Makes the allocation of a kind after the next `after` ones fail; that one, or all from it on.
function _M.fail(kind, after, all)
    C.ngx_http_lua_var_testing_fail(kind, after or 0, all and 1 or 0)
end


-- From now on no allocation fails.
function _M.recover()
    for kind = 0, 3 do
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


-- Calls f() while allocations fail, checks that no more requests are live afterwards, and
-- returns what f returns.
function _M.during(kind, after, all, f)
    local before = _M.live()

    _M.fail(kind, after, all)

    local ok, result = pcall(f)

    _M.recover()

    if not ok then
        error(result, 0)
    end

    client.wait_until(function () return _M.live() == before end)

    -- an unregistered request's address left in the index would later be another's
    local indexed = C.ngx_http_lua_var_testing_figure(5)

    if indexed ~= before then
        error(indexed .. " addresses of " .. before .. " live requests")
    end

    return result
end


local gate
local waiting = 0

-- Content of a subrequest that has a slot until the gate opens.
function _M.hold()
    assert(require("resty.ngxvar").request())
    waiting = waiting + 1
    gate:wait(60)
end


-- Content of a request that takes all free slots: one, and one for each of its subrequests.
function _M.fill_from_here()
    assert(require("resty.ngxvar").request())

    local list = {}

    for i = 1, room() do
        list[i] = { "/hold" }
    end

    ngx.location.capture_multi(list)
end


-- Takes all free slots, so that the next request needs a new chunk. Returns a function that gives
-- them back.
function _M.fill()
    local before = _M.live()
    local filler = client.connect{ port = tonumber(ngx.var.server_port) }

    gate, waiting = semaphore.new(), 0
    filler:send(client.request_text("/fill"))
    client.wait_until(function () return room() == 0 end)

    return function ()
        gate:post(waiting)
        filler:response()
        filler:close()
        client.wait_until(function () return _M.live() <= before end)
    end
end


-- Requests a URI of this server; returns status and body.
function _M.get(uri, headers)
    local res = client.get(uri, { headers = headers })

    return res.status .. " " .. res.body
end


-- Looks up unused addresses, enough for every bucket of the index: a chain that a failed
-- registration made circular would never end.
local function walk()
    local text = ffi.new("ngx_str_t")

    for at = 1, 4096 do
        local nobody = ffi.cast("ngx_http_request_t *", at * 16)

        assert(C.ngx_http_lua_var_ffi_uri(nobody, text) ~= 0)
    end
end


-- Content: what each function returns for its own request.
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
