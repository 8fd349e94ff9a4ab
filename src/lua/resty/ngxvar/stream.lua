-- resty.ngxvar in the stream subsystem: for Lua that serves both, as Apache APISIX's does.
--
-- request and fetch are what lua-var-nginx-module's library has there: a session has few
-- variables, and ngx.var reads them. Handles name HTTP requests, and so does all that
-- needs them.

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


-- A session's Lua reads its own variables only, whatever it passes for a request.
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
