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


for _, name in ipairs { "set", "live", "getter", "setter", "patch_ngx_var", "enable_patch" } do
    _M[name] = function ()
        error("resty.ngxvar: no " .. name .. "() in the stream subsystem, its sessions have"
              .. " no handles: use fetch() or ngx.var", 2)
    end
end


return _M
