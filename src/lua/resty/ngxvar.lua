-- resty.ngxvar: NGINX variables, read from a request that is known to be live.
--
-- fetch has two ways to the same value: the interpreter takes a function of Lua's C
-- API, what LuaJIT compiles takes a call over FFI (resty.ngxvar.trace says why). For
-- hot loops there are getter() and setter(), which need no call at all for most of
-- what they do.

local core = ...

if ngx.config.subsystem ~= "http" then
    error("resty.ngxvar: no variables in the " .. ngx.config.subsystem
          .. " subsystem")
end

local ffi = require "ffi"
local base = require "resty.core.base"
local call = require "resty.ngxvar.call"
local handles = require "resty.ngxvar.live"
local trace = require "resty.ngxvar.trace"

local acquire = core.acquire
local call_fetch = call.fetch
local call_read = call.read
local core_fetch = core.fetch
local core_index = core.var_index
local core_set = core.set
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
local NGX_VAR = tonumber(call.lib.NGX_HTTP_LUA_VAR_NGX_VAR)

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


-- see resty.ngxvar.trace
local on_trace = false


-- The handle made last: a handler that asks twice gets the same one.
local last = handle_t()
-- The one that the C functions know by its address, which is why it is kept.
local remembered = last


local function handle_of(id, generation)
    if id ~= last.id or generation ~= last.generation then
        last = handle_t(id, generation)
    end

    return last
end


function _M.request()
    -- without the C function, which would end the trace; it does not know the handle by
    -- its address then
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
        -- in this order, so that what C knows by its address is always kept
        remember(handle)
        remembered = handle
    end

    return handle
end


-- Names that the interpreter has fetched before, each with how it was found. Nothing
-- that Lua code makes up stays here for long: the C functions bound their number.
local names = core.learn(function (name)
    local found = found_t()
    resolve(nil, name, #name, found)
    return found
end)


-- On traces the module is asked by what was found of a name, which is the same code for
-- every name. A getter would do without the call, but a trace would then be good for one
-- name only: faster in a loop, and half as fast in straight code that reads twenty.
local function ask(handle, r, name, flavour)
    local found = names[name]

    if found then
        local value, is_taken = call_read(handle, r, found, flavour)

        if is_taken then
            return value, true
        end
    end

    local value, is_taken = call_fetch(handle, r, name, flavour)
    return value, is_taken
end


-- No results of calls are returned as they come (return f()): LuaJIT does
-- not compile a function that ends in a tail call to a builtin.
local function fetch_by_handle(name, req)
    if is_handle(req) then
        local value, is_taken = ask(req, nil, name, TYPED)

        if is_taken then
            return value
        end
    end

    return core_fetch(name, req)
end


-- The same for the request that is running.
local function fetch_current(name)
    local r = get_request()

    if r then
        local value, is_taken = ask(nil, r, name, TYPED)

        if is_taken then
            return value
        end
    end

    return core_fetch(name)
end


-- with enable_patch(false)
local is_disabled = false


-- A number of what ngx.var has as text. Of the attempts at upstreams that is a list, in
-- which "-" is one that got nowhere; added up as whole milliseconds, as the module does.
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
    -- a pointer is live only if it is the current request's
    if not is_handle(req) then
        return core.live(req)
    end

    local id, generation = acquire()

    return req.id == id and req.generation == generation
end


-- By ngx.var, whatever that is at the moment: of the current request only.
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


-- With dots, because LuaJIT begins no trace at such a function: the interpreter would
-- enter it, and leave it again for a value of another type, in the branch of the trace.
function _M.fetch(...)
    if is_disabled then
        return fetch_by_ngx_var(...)
    end

    local name, req = ...

    if not on_trace or type(name) ~= "string" then
        return core_fetch(...)
    end

    local value, err

    -- not "~= nil": a null pointer is equal to nil, and names no request
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


-- A copy of what Lua left in the ngx.ctx of this connection's TLS handshake.
function _M.ssl_ctx()
    -- resty/core/ctx.lua, which is not loaded where lua-resty-core is not known
    local ssl_ctx = core.ssl_ctx

    return ssl_ctx and ssl_ctx()
end


function _M.getter(name)
    return require("resty.ngxvar.access").getter(name)
end


function _M.setter(name)
    return require("resty.ngxvar.access").setter(name)
end


-- A function, read(req), that gives the values of these variables in order; and
-- read:table(req, t), which gives them by name.
function _M.reader(names)
    return require("resty.ngxvar.reader")(names)
end


-- with false, fetch reads ngx.var
function _M.enable_patch(state)
    if type(state) ~= "boolean" then
        error("bad argument to enable_patch(): expected true or false, got "
              .. type(state), 2)
    end

    is_disabled = not state
end


-- what serves a name that the module declines: lua-resty-core's own functions, or
-- those of another patch of ngx.var
local next_index, next_newindex
-- Another patch may have names that nginx does not know.
local is_over_another


local function var_index(self, name)
    if on_trace and type(name) == "string" then
        local r = get_request()

        if r then
            local value, is_taken = ask(nil, r, name, NGX_VAR)

            if is_taken and not (value == nil and is_over_another) then
                return value
            end
        end
    end

    local value, declined = core_index(self, name)

    -- out of the ordinary: the next function serves it, or raises its error
    if declined or value == nil and is_over_another then
        return next_index(self, name)
    end

    return value
end


-- Compiled, the stock function is as fast.
local function var_newindex(self, name, value)
    if on_trace or type(name) ~= "string" or not core_set(name, value) then
        -- what is refused here is refused there, with its error
        return next_newindex(self, name, value)
    end
end


local function is_stock(func)
    return debug.getinfo(func, "S").source:find("resty[/.]core[/.]var") ~= nil
end


-- Lets ngx.var.name be read as fetch reads, and assigned as set does; for init_by_lua.
-- Other code may patch ngx.var there as well, before or after. What is installed first
-- waits for the first access, when all have, and then takes the place in front of them.
function _M.patch_ngx_var()
    if next_index then
        return
    end

    local mt = getmetatable(ngx.var)
    local stock_index, stock_newindex = mt.__index, mt.__newindex
    local is_in_front = false
    local first_index, first_newindex

    local function to_front()
        is_in_front = true

        if mt.__index ~= first_index then
            next_index = mt.__index
        end

        if mt.__newindex ~= first_newindex then
            next_newindex = mt.__newindex
        end

        is_over_another = not is_stock(next_index)
        mt.__index, mt.__newindex = var_index, var_newindex
    end

    -- Later only a patch on top of these calls them, for what the module has declined.
    function first_index(self, name)
        if is_in_front then
            return stock_index(self, name)
        end

        -- unless somebody has taken the patch away
        if mt.__index ~= stock_index then
            to_front()
        end

        return var_index(self, name)
    end

    function first_newindex(self, name, value)
        if is_in_front then
            return stock_newindex(self, name, value)
        end

        if mt.__newindex ~= stock_newindex then
            to_front()
        end

        return var_newindex(self, name, value)
    end

    next_index, next_newindex = stock_index, stock_newindex
    mt.__index, mt.__newindex = first_index, first_newindex
end


trace.watch(_M.fetch)

return _M
