-- The cases of a worker with this module, and a check of their values.

local ffi = require "ffi"
local loops = require "bench.loops"
local ngxvar = require "resty.ngxvar"
local variables = require "bench.variables"
local get_request = require("resty.core.base").get_request

local _M = {}


-- Every reader has to agree with ngx.var before any of them is measured.
function _M.check()
    local handle = ngxvar.request()

    for _, name in ipairs(variables) do
        local stock = ngx.var[name]

        for reader, value in pairs({
            fetch = ngxvar.fetch(name, handle),
            getter = ngxvar.getter(name)(handle),
        }) do
            if stock == nil or (value ~= stock and value ~= tonumber(stock)) then
                error(reader .. "(" .. name .. ") is " .. tostring(value)
                      .. ", ngx.var says " .. tostring(stock))
            end
        end
    end

    for value, assign in pairs({
        ["by-set"] = function (value) ngxvar.set("settable", value, handle) end,
        ["by-setter"] = function (value) ngxvar.setter("settable")(value, handle) end,
    }) do
        assign(value)

        if ngx.var.settable ~= value then
            error(value .. ": ngx.var says " .. tostring(ngx.var.settable))
        end
    end
end


function _M.add_fetch()
    for _, name in ipairs(variables) do
        loops.add("fetch", name, "read", "subject('" .. name .. "', request)",
                  ngxvar.fetch, ngxvar.request)
    end
    loops.add("fetch", "set", "write", "subject('settable', value, request)",
              ngxvar.set, ngxvar.request, "some-value")
end


function _M.add_getters()
    for _, name in ipairs(variables) do
        loops.add("getter", name, "read", "subject(request)",
                  ngxvar.getter(name), ngxvar.request)
    end
    loops.add("getter", "set", "write", "subject(value, request)",
              ngxvar.setter("settable"), ngxvar.request, "some-value")
end


-- The same reads by a request pointer without validation, with the structure and the string
-- cache of the getters.
function _M.add_unchecked()
    local request_p = ffi.typeof("const ngx_http_lua_var_request_t *")
    local text = require("resty.ngxvar.string_cache")()

    local function pointer()
        return ffi.cast(request_p, get_request())
    end

    loops.add("unchecked", "uri", "read", "subject(request)", function (r)
        local s = r.uri
        if s.data ~= nil then
            return (text(s.data, tonumber(s.len)))
        end
    end, pointer)

    loops.add("unchecked", "request_length", "read", "subject(request)",
              function (r) return tonumber(r.request_length) end, pointer)
end


return _M
