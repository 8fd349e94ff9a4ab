-- The cases of workers with another module, or none.

local loops = require "bench.loops"
local variables = require "bench.variables"

local _M = {}


-- in every worker

function _M.add_ngx_var()
    for _, name in ipairs(variables) do
        loops.add("ngx.var", name, "read", "subject." .. name, ngx.var)
    end
    loops.add("ngx.var", "set", "write", "subject.settable = value", ngx.var,
              nil, "some-value")
end


function _M.add_ngx_ctx()
    loops.add("ngx.ctx", "key", "read", "subject.ctx.key", ngx, function ()
        ngx.ctx.key = "some-value"
    end)
end


-- lua-var-nginx-module, with the request cached, which is its fastest way
function _M.add_lua_var()
    local ngxvar = require "resty.ngxvar"

    for _, name in ipairs(variables) do
        loops.add("lua_var", name, "read",
                  "subject('" .. name .. "', request)", ngxvar.fetch,
                  ngxvar.request)
    end
end


-- lua-kong-nginx-module; its variables have to be indexed in the configuration
function _M.add_kong()
    local var = require "resty.kong.var"

    for _, name in ipairs(variables) do
        loops.add("kong", name, "read", "subject('" .. name .. "')", var.get)
    end
    loops.add("kong", "set", "write", "subject('settable', value)", var.set,
              nil, "some-value")
end


return _M
