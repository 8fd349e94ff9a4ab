-- resty.ngxvar: NGINX variables, read from a request that is known to be live.
--
-- fetch, set, live and what request is built on are functions of Lua's C API
-- (src/shim/lua.c): interpreted, as a handler's straight code mostly is, they
-- cost a twentieth of an FFI call. For compiled loops there are getter() and setter().

local core = ...

local ffi = require "ffi"
require "resty.core.base"       -- declares ngx_str_t and ngx_http_request_t

local acquire = core.acquire
local remember = core.remember
local format = string.format

if ngx.config.subsystem ~= "http" then
    error("resty.ngxvar: no variables in the " .. ngx.config.subsystem
          .. " subsystem")
end

ffi.cdef[[
typedef struct {
    const uint32_t    id;
    const uint32_t    generation;
} ngx_http_lua_var_handle_t;
]]

local handle_t = ffi.metatype("ngx_http_lua_var_handle_t", {
    __tostring = function (self)
        return format("request: %d/%d", self.id, self.generation)
    end,
})

if not core.ctypes(handle_t(), tonumber(handle_t),
                   ffi.new("void *"), tonumber(ffi.typeof("void *")),
                   tonumber(ffi.typeof("ngx_http_request_t *")))
then
    error("resty.ngxvar: this LuaJIT (" .. jit.version
          .. ") keeps its cdata in a way the module does not know")
end

local _M = {
    _VERSION = core.version,
    fetch = core.fetch,
    set = core.set,
    live = core.live,
}


-- the handle made last: a handler that asks twice gets the same one, and fetch
-- knows it by its address, which is why it has to be kept here
local last = handle_t()


function _M.request()
    local id, generation = acquire()

    if not id then
        return nil, generation
    end

    if id ~= last.id or generation ~= last.generation then
        last = handle_t(id, generation)
        remember(last)
    end

    return last
end


function _M.getter(name)
    return require("resty.ngxvar.access").getter(name)
end


function _M.setter(name)
    return require("resty.ngxvar.access").setter(name)
end


-- with false, fetch reads everything through nginx's own handlers
function _M.enable_patch(state)
    core.plain(not state)
end


-- lets ngx.var.name read as fetch does; for init_by_lua
function _M.patch_ngx_var()
    local mt = getmetatable(ngx.var)

    if not core.stock_var_index then
        core.stock_var_index = mt.__index
        mt.__index = core.var_index(mt.__index)
    end
end


return _M
