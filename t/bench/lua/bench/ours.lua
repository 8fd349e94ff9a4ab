-- The cases of a worker with this module, and a check of their values.

local loops = require "bench.loops"
local ngxvar = require "resty.ngxvar"
local variables = require "bench.variables"

local _M = {}


-- fetch and set have to agree with ngx.var before they are measured.
function _M.check()
    local handle = ngxvar.request()

    for _, name in ipairs(variables) do
        local stock, value = ngx.var[name], ngxvar.fetch(name, handle)

        if stock == nil or (value ~= stock and value ~= tonumber(stock)) then
            error("fetch(" .. name .. ") is " .. tostring(value)
                  .. ", ngx.var says " .. tostring(stock))
        end
    end

    ngxvar.set("settable", "by-set", handle)

    if ngx.var.settable ~= "by-set" then
        error("by-set: ngx.var says " .. tostring(ngx.var.settable))
    end
end


function _M.add_fetch()
    for _, name in ipairs(variables) do
        loops.add("fetch", name, "read", "subject('" .. name .. "', request)",
                  ngxvar.fetch, ngxvar.request)
    end
    -- as on a busy server: other requests got handles since
    loops.add("fetch", "uri-busy", "read", "subject('uri', request)", ngxvar.fetch, function ()
        local handle = ngxvar.request()
        ngx.location.capture("/bench/other")
        return handle
    end)
    loops.add("fetch", "set", "write", "subject('settable', value, request)",
              ngxvar.set, ngxvar.request, "some-value")
end


return _M
