-- resty.ngxvar: reads and sets NGINX variables of a request that is validated first.
--
-- fetch has two implementations with the same results: in the interpreter it calls a
-- function of Lua's C API, on a trace it calls the module over FFI (resty.ngxvar.trace says
-- why). getter() and setter() are for hot loops; on a trace most of them need no call.

local core = ...

if ngx.config.subsystem ~= "http" then
    error("resty.ngxvar: no variables in the " .. ngx.config.subsystem
          .. " subsystem")
end

local ffi = require "ffi"
local base = require "resty.core.base"
local call = require "resty.ngxvar.call"
local handles = require "resty.ngxvar.handles"
local trace = require "resty.ngxvar.trace"

local acquire = core.acquire
local call_fetch = call.fetch_known
local core_fetch = core.fetch
local get_request = base.get_request
local generation_in = handles.generation_in
local handle_t = handles.handle_t
local is_handle = handles.is_handle
local remember = core.remember
local rawequal = rawequal
local resolve = call.lib.ngx_http_lua_var_ffi_resolve
local slot_of = call.lib.ngx_http_lua_var_ffi_slot
local tonumber = tonumber
local type = type

local found_t = ffi.typeof("ngx_http_lua_var_found_t")

local TYPED = tonumber(call.lib.NGX_HTTP_LUA_VAR_TYPED)

if not core.ctypes(handle_t(), tonumber(handle_t),
                   ffi.new("void *"), tonumber(ffi.typeof("void *")),
                   tonumber(ffi.typeof("ngx_http_request_t *")))
then
    error("resty.ngxvar: this LuaJIT (" .. jit.version
          .. ") keeps its cdata in a way the module does not know")
end

local _M = {
    _VERSION = core.version,
    set = core.set,
    live = core.live,
    stats = core.stats,
}


-- true while LuaJIT records a trace, see resty.ngxvar.trace
local on_trace = false


-- the handle that was made last, to be returned again for the same request
local last = handle_t()
-- the handle whose address the C functions store; this reference keeps it alive
local remembered = last


local function handle_of(id, generation)
    if id ~= last.id or generation ~= last.generation then
        last = handle_t(id, generation)
    end

    return last
end


function _M.request()
    -- the C function would end the trace; this way it does not store the handle's address
    if on_trace then
        local r = get_request()
        local id = r and slot_of(r) or -1

        if id >= 0 then
            return (handle_of(id, generation_in(id)))
        end
    end

    local id, generation = acquire()

    if not id then
        return nil, generation
    end

    local handle = handle_of(id, generation)

    if not rawequal(handle, remembered) then
        -- in this order, so that the handle whose address C stores is always referenced
        remember(handle)
        remembered = handle
    end

    return handle
end


-- There is no `return f()` here, because LuaJIT does not compile a function that ends in a
-- tail call to a builtin.
local function fetch_by_handle(name, req)
    if is_handle(req) then
        local value, is_taken = call_fetch(req, nil, name, TYPED)

        if is_taken then
            return value
        end
    end

    return core_fetch(name, req)
end


-- fetch() of the current request, on a trace.
local function fetch_current(name)
    local r = get_request()

    if r then
        local value, is_taken = call_fetch(nil, r, name, TYPED)

        if is_taken then
            return value
        end
    end

    return core_fetch(name)
end


-- set by enable_patch(false)
local is_disabled = false


-- The number in a text of ngx.var. The times of several upstream attempts are a list, in which
-- "-" is an attempt without that time. They are added in milliseconds, as the module does.
local function number_in(text)
    local number = tonumber(text)

    if number or type(text) ~= "string" then
        return number
    end

    local ms = 0

    for seconds, thousandths in text:gmatch("(%d+)%.(%d%d%d)") do
        ms = ms + seconds * 1000 + thousandths
    end

    return ms / 1000
end


local function is_current(req)
    -- core.live() accepts a pointer only if it is the current request's
    if not is_handle(req) then
        return core.live(req)
    end

    local id, generation = acquire()

    return req.id == id and req.generation == generation
end


-- fetch() with enable_patch(false): reads ngx.var, which other code may have patched, if the
-- request is the current one.
local function fetch_by_ngx_var(name, req)
    if type(req) ~= "nil" and not is_current(req) then
        return core_fetch(name, req)
    end

    local value = ngx.var[name]

    if type(name) == "string" then
        local found = found_t()
        local lower = name:lower()

        resolve(nil, lower, #lower, found)

        if found.is_number == 1 then
            return number_in(value)
        end
    end

    return value
end


-- It is a vararg function, because LuaJIT begins no trace at one. In a trace of fetch, a value of
-- another type would make the interpreter go on after `not on_trace`, where it is slow.
function _M.fetch(...)
    if is_disabled then
        return fetch_by_ngx_var(...)
    end

    local name, req = ...

    if not on_trace or type(name) ~= "string" then
        return core_fetch(...)
    end

    local value, err

    -- not `req ~= nil`, because a null pointer equals nil but is not the current request
    if type(req) ~= "nil" then
        value, err = fetch_by_handle(name, req)

    else
        value, err = fetch_current(name)
    end

    if err then
        return nil, err
    end

    return value
end


-- Returns a copy of what Lua left in the ngx.ctx of this connection's TLS handshake.
function _M.ssl_ctx()
    -- resty/core/ctx.lua sets it, unless it does not know the lua-resty-core
    local ssl_ctx = core.ssl_ctx

    return ssl_ctx and ssl_ctx()
end


function _M.getter(name)
    return require("resty.ngxvar.getters").getter(name)
end


function _M.setter(name)
    return require("resty.ngxvar.getters").setter(name)
end


-- Returns a callable table, read: read(req) returns the values of these variables in order,
-- and read:table(req, t) returns a table of them by name.
function _M.reader(names)
    return require("resty.ngxvar.reader")(names)
end


-- With false, fetch of the current request reads ngx.var.
function _M.enable_patch(state)
    if type(state) ~= "boolean" then
        error("bad argument to enable_patch(): expected true or false, got "
              .. type(state), 2)
    end

    is_disabled = not state
end


-- Makes ngx.var.name read as fetch does, and assign as set does. To be called in init_by_lua*.
function _M.patch_ngx_var()
    require("resty.ngxvar.patch")()
end


trace.watch(_M.fetch)

return _M
