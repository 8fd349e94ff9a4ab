-- The six C functions that lua-var-nginx-module exports, for tests that call
-- them as its Lua file does: src/api/compat.rs.

local ffi = require "ffi"
local base = require "resty.core.base"

ffi.cdef[[
int ngx_http_lua_var_ffi_uri(ngx_http_request_t *r, ngx_str_t *uri);
int ngx_http_lua_var_ffi_host(ngx_http_request_t *r, ngx_str_t *host);
int ngx_http_lua_var_ffi_remote_addr(ngx_http_request_t *r, ngx_str_t *addr);
int ngx_http_lua_var_ffi_scheme(ngx_http_request_t *r, ngx_str_t *scheme);
int ngx_http_lua_var_ffi_request_time(ngx_http_request_t *r,
    unsigned char *buf);
int ngx_http_lua_var_ffi_upstream_response_time(ngx_http_request_t *r,
    unsigned char *buf, int type);
]]

local C = ffi.C
local str = ffi.new("ngx_str_t[1]")
local buf = ffi.new("unsigned char[64]")

local _M = {
    strings = { "uri", "host", "remote_addr", "scheme" },
    times = { upstream_response_time = 0, upstream_header_time = 1,
              upstream_connect_time = 2 },
}


-- Calls a string function; its code, and *out, which was poisoned before.
function _M.string(name, r)
    str[0].len = 12345
    str[0].data = ffi.cast("unsigned char *", 1)

    local rc = C["ngx_http_lua_var_ffi_" .. name](ffi.cast("ngx_http_request_t *", r), str)

    return rc, str[0].len > 100 and "not touched" or ffi.string(str[0].data, str[0].len)
end


local function written(rc)
    if rc < 0 then
        for i = 0, 63 do
            if buf[i] ~= 0x7f then
                return rc, "written to"
            end
        end

        return rc, "not touched"
    end

    for i = rc, 63 do
        if buf[i] ~= 0x7f then
            return rc, "written beyond"
        end
    end

    return rc, ffi.string(buf, rc)
end


-- Calls a time function; its code, and the buffer.
function _M.time(name, r)
    ffi.fill(buf, 64, 0x7f)
    r = ffi.cast("ngx_http_request_t *", r)

    if name == "request_time" then
        return written(C.ngx_http_lua_var_ffi_request_time(r, buf))
    end

    return written(C.ngx_http_lua_var_ffi_upstream_response_time(r, buf,
                                                                 _M.times[name]))
end


-- "refused" if all six refuse r, else their results.
function _M.refused(r)
    local said = {}
    local bad = false

    local function add(name, want, rc, text)
        said[#said + 1] = name .. " " .. rc .. " [" .. text .. "]"
        bad = bad or rc ~= -1 or text ~= want
    end

    for _, name in ipairs(_M.strings) do
        add(name, "", _M.string(name, r))
    end

    add("request_time", "not touched", _M.time("request_time", r))

    for name in pairs(_M.times) do
        add(name, "not touched", _M.time(name, r))
    end

    return bad and table.concat(said, ", ") or "refused"
end


-- "right" if the string functions agree with ngx.var, else their results.
function _M.right(r)
    for _, name in ipairs(_M.strings) do
        local rc, text = _M.string(name, r)

        if rc ~= 0 or text ~= (ngx.var[name] or "") then
            return name .. " " .. rc .. " [" .. text .. "], not " .. tostring(ngx.var[name])
        end
    end

    local rc, text = _M.time("request_time", r)

    if rc ~= #text or text ~= ngx.var.request_time then
        return "request_time " .. rc .. " [" .. text .. "]"
    end

    return "right"
end


function _M.request()
    return base.get_request()
end


return _M
