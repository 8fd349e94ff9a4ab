-- resty.ngxvar in the stream subsystem, for Lua code that runs in both subsystems, such as
-- Apache APISIX's.
--
-- There are only request() and fetch(), as in lua-var-nginx-module's library: fetch() uses
-- ngx.var, because a session has few variables. Functions that need a handle raise an error,
-- because handles name HTTP requests only.

local version = ...

local base = require "resty.core.base"

local error = error
local get_request = base.get_request
local var = ngx.var


local _M = { _VERSION = version }


function _M.request()
    local r = get_request()

    if not r then
        return nil, "no request found"
    end

    return r
end


-- A second argument is ignored: a session can only read its own variables.
function _M.fetch(name)
    return var[name]
end


-- Code that runs in both subsystems calls this, too. ngx.var stays as it is.
function _M.patch_ngx_var()
    ngx.log(ngx.NOTICE, "lua_var: patch_ngx_var() does nothing in the stream subsystem")
    _M.patch_ngx_var = function () end
end


for _, name in ipairs { "set", "live", "getter", "setter", "reader", "enable_patch", "stats",
                       "ssl_ctx" } do
    _M[name] = function ()
        error("resty.ngxvar: no " .. name .. "() in the stream subsystem, its sessions have"
              .. " no handles: use fetch() or ngx.var", 2)
    end
end


return _M
