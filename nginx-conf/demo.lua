-- The application of demo.conf: does what APISIX and its plugins do, with and without
-- ngx_http_lua_var_module, and logs what it finds.

local _M = {}

local ffi = require "ffi"
local get_request = require("resty.core.base").get_request

local found, ngxvar = pcall(require, "resty.ngxvar")
local has_module = found and ngxvar.live ~= nil


-- Every request of the demo has an id, which tells whose data was found.
local function my_id()
    return ngx.var.demo_id:sub(1, 8)
end


local function address(r)
    return string.format("%016X", tonumber(ffi.cast("uintptr_t", r)))
end


-- Names the current request: by a handle, or without the module by the bare pointer
-- that lua-var-nginx-module's request() gives.
local request = has_module and ngxvar.request or get_request


-- With LUA_VAR_SO only: lua-var-nginx-module's C function, which reads whatever is at
-- the address.
local has_lua_var, lua_var_scheme = pcall(function ()
    ffi.cdef "int ngx_http_lua_var_ffi_scheme(ngx_http_request_t *r, ngx_str_t *out);"
    return ffi.C.ngx_http_lua_var_ffi_scheme
end)

local function fetch(name, var)
    if has_module then
        return ngxvar.fetch(name, var._request)
    end

    if has_lua_var and name == "scheme" then
        local out = ffi.new("ngx_str_t[1]")
        lua_var_scheme(var._request, out)
        return ffi.string(out[0].data, out[0].len)
    end

    if var._owner == my_id() then
        return ngx.var[name]
    end

    return nil, "freed request"
end


-- api_ctx.var.scheme and the like
local var_mt = {
    __index = function (var, name)
        return (fetch(name, var))
    end,
}

local function new_var(owner)
    return setmetatable({
        _request = request(),
        _owner = owner,
        _address = address(get_request()),
    }, var_mt)
end


-- api_ctx tables come from a pool, as in APISIX: the log phase puts back what it finds
-- in ngx.ctx.
local pool = {}

local function new_api_ctx(id, var)
    local api_ctx = table.remove(pool) or {}
    api_ctx.id = id
    api_ctx.var = var
    return api_ctx
end


-- ssl_certificate_by_lua: keeps a request that is gone after the handshake
function _M.handshake()
    ngx.ctx.api_ctx = { id = "handshake", var = new_var("the handshake") }
    ngx.log(ngx.NOTICE, "demo: handshake: leaves its request in ngx.ctx, ",
            ngx.ctx.api_ctx.var._address)
end


-- ssl_certificate_by_lua as in APISIX: keeps no request, but takes a table of the pool
function _M.pooled_handshake()
    ngx.ctx.api_ctx = new_api_ctx("handshake")
end


function _M.access()
    ngx.ctx.api_ctx = new_api_ctx(my_id(), new_var(my_id()))
end


function _M.release()
    if ngx.ctx.api_ctx then
        table.insert(pool, ngx.ctx.api_ctx)
    end
end


-- What is in ngx.ctx, and what reading a variable with it gives.
local function finding()
    local api_ctx = ngx.ctx.api_ctx
    if not api_ctx then
        return "no ctx"
    end

    local whose = "request " .. api_ctx.id .. "'s ctx"
    if api_ctx.id == my_id() then
        whose = "own ctx"
    elseif api_ctx.id == "handshake" then
        whose = "handshake's ctx"
    end

    local var = api_ctx.var
    if not var then
        return whose
    end

    local scheme = var.scheme
    if scheme then
        return whose .. ", " .. scheme .. "://" .. tostring(var.host)
    end

    local _, why = fetch("scheme", var)
    return whose .. ", " .. why, var._address .. " was the request of " .. var._owner
end


function _M.report(phase)
    local text, more = finding()
    ngx.log(ngx.NOTICE, "demo: ", my_id(), " ", phase, ": ", text,
            more and "; " .. more or "")
end


-- A request that one request keeps and later ones read.
local kept

function _M.keep()
    kept = { _request = request(), _owner = my_id(), _address = address(get_request()) }
    ngx.say("kept")
end


function _M.use_kept()
    local here = address(get_request())
    local uri, why = fetch("uri", kept)

    -- where the address is used again, this reads another request's data
    if not has_module and here == kept._address then
        why = "data of request " .. my_id()
    end

    ngx.log(ngx.NOTICE, "demo: ", my_id(), " content: ",
            "request ", kept._owner, " kept: ", uri or why, "; ",
            kept._address, " was request ", kept._owner, ", request ", my_id(),
            " is at ", here)
    ngx.say(uri or why)
end


return _M
