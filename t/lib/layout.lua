-- The Lua of layout.t, whose requests have another layout than the module's.

local client = require "client"
local ngxvar = require "resty.ngxvar"

local _M = {}

local names = {
    "uri", "document_uri", "request_uri", "args", "query_string", "is_args",
    "host", "server_name", "server_port", "remote_addr", "remote_port", "scheme",
    "https", "request_method", "server_protocol", "status", "request_length",
    "bytes_sent", "connection", "connection_requests", "content_length",
    "request_body", "pid", "http_host", "http_x_a", "http_none",
    "arg_a", "arg_none", "cookie_c", "sent_http_x_b", "upstream_status",
    "upstream_response_time", "upstream_header_time", "upstream_connect_time",
    "upstream_addr", "own", "from_error_page", "no_such",
}

local is_number = {
    status = true, request_length = true, bytes_sent = true,
    upstream_response_time = true, upstream_header_time = true,
    upstream_connect_time = true,
}

local getters = {}

for _, name in ipairs(names) do
    getters[name] = ngxvar.getter(name)
end


local function differs(...)
    ngx.log(ngx.ERR, "differs: ", ...)
end


-- Every variable, in each way to read it, against ngx.var.
function _M.check(phase)
    local req, err = ngxvar.request()

    if has_handles and not req then
        differs(phase, ": no handle, ", err)
    end

    for _, name in ipairs(names) do
        local expected = ngx.var[name]

        if is_number[name] then
            expected = tonumber(expected)
        end

        local got = { ngxvar.fetch(name), ngxvar.fetch(name:upper()) }
        local ways = 2

        if req then
            got[3], got[4] = ngxvar.fetch(name, req), getters[name](req)
            ways = 4
        end

        for way = 1, ways do
            if got[way] ~= expected then
                differs(phase, ": ", name, " in way ", way, " is ",
                        tostring(got[way]), ", not ", tostring(expected))
            end
        end
    end

    -- it may change between two reads
    local now, before = ngxvar.fetch("request_time"), tonumber(ngx.var.request_time)

    if type(now) ~= "number" or math.abs(now - before) > 1 then
        differs(phase, ": request_time ", tostring(now), ", not ", before)
    end

    ngx.log(ngx.INFO, "checked: ", phase)
end


function _M.content()
    ngx.req.read_body()
    _M.check("content")
    ngx.say("done")
end


function _M.timer()
    local value, err
    local done

    ngx.timer.at(0, function ()
        value, err = ngxvar.fetch("uri")
        ngxvar.request()
        done = true
    end)

    client.wait_until(function () return done end, "the timer")

    ngx.say(tostring(value), ", ", type(err) == "string" and "refused" or "served")
end


-- lua-var-nginx-module's C functions: each result is right, or empty.
function _M.symbols()
    local ffi = require "ffi"
    local get_request = require("resty.core.base").get_request

    pcall(ffi.cdef, [[
        int ngx_http_lua_var_ffi_uri(ngx_http_request_t *r, ngx_str_t *out);
        int ngx_http_lua_var_ffi_host(ngx_http_request_t *r, ngx_str_t *out);
        int ngx_http_lua_var_ffi_scheme(ngx_http_request_t *r, ngx_str_t *out);
        int ngx_http_lua_var_ffi_remote_addr(ngx_http_request_t *r, ngx_str_t *out);
        int ngx_http_lua_var_ffi_request_time(ngx_http_request_t *r, char *buf);
    ]])

    local r = get_request()
    local out = ffi.new("ngx_str_t[1]")

    for _, name in ipairs{ "uri", "host", "scheme", "remote_addr" } do
        local rc = ffi.C["ngx_http_lua_var_ffi_" .. name](r, out)
        local text = ffi.string(out[0].data, out[0].len)

        if text ~= (rc == 0 and ngx.var[name] or "") then
            return ngx.say(name, " ", rc, " ", text)
        end
    end

    local buf = ffi.new("char[32]")
    local len = ffi.C.ngx_http_lua_var_ffi_request_time(r, buf)

    if len > 0 and not tonumber(ffi.string(buf, len)) then
        return ngx.say("request_time ", ffi.string(buf, len))
    end

    ngx.say("good")
end


local kept

-- Uses the handle of this worker's previous request.
function _M.stale()
    local before = kept

    kept = ngxvar.request()

    if not before then
        return ngx.say("first")
    end

    local value, err = ngxvar.fetch("uri", before)
    local live, why = ngxvar.live(before)
    local got, reason = ngxvar.getter("uri")(before)

    if value or live or got or why ~= err or reason ~= err then
        return ngx.say("served: ", tostring(value), tostring(live), tostring(got))
    end

    ngx.say(err)
end


-- The request's id, read in three ways with a pause in between.
function _M.id()
    local req = ngxvar.request()
    local first = ngxvar.fetch("arg_id")

    ngx.sleep(tonumber(ngx.var.arg_pause) or 0)

    -- to a C function an explicit nil is an argument
    local second

    if req then
        second = ngxvar.fetch("arg_id", req)
    else
        second = ngxvar.fetch("arg_id")
    end

    ngx.say(first, " ", second, " ", ngxvar.fetch("args"):match("id=(.*)"))
end


return _M
