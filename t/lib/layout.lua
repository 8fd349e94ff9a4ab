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

local INERT = "the module was built for another nginx, see the error log"


local function differs(...)
    ngx.log(ngx.ERR, "differs: ", ...)
end


-- nil and the reason
local function check_refused(phase, what, value, err)
    if value or err ~= INERT then
        differs(phase, ": ", what, " is ", tostring(value), ", ", tostring(err))
    end
end


-- Every variable against ngx.var; a handle is refused.
function _M.check(phase)
    local req, err = ngxvar.request()

    for _, name in ipairs(names) do
        local expected = ngx.var[name]

        for _, got in ipairs{ { ngxvar.fetch(name) }, { ngxvar.fetch(name:upper()) }, { ngxvar.getter(name)() } } do
            local value = got[1]

            -- a number may be one
            if value ~= expected and (type(value) ~= "number" or value ~= tonumber(expected)) then
                differs(phase, ": ", name, " is ", tostring(value), ", not ", tostring(expected))
            end
        end
    end

    if req then
        check_refused(phase, "fetch", ngxvar.fetch("uri", req))
        check_refused(phase, "getter", ngxvar.getter("uri")(req))
        check_refused(phase, "reader", ngxvar.reader{ "uri" }(req))
        check_refused(phase, "set", ngxvar.set("own", "x", req))
        check_refused(phase, "live", ngxvar.live(req))
    else
        check_refused(phase, "request", req, err)
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


-- The request's id, read twice with a pause in between.
function _M.id()
    local first = ngxvar.fetch("arg_id")

    ngxvar.request()
    ngx.sleep(tonumber(ngx.var.arg_pause) or 0)
    ngx.say(first, " ", ngxvar.fetch("arg_id"), " ", ngxvar.fetch("args"):match("id=(.*)"))
end


return _M
