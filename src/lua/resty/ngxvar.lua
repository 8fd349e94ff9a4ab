-- resty.ngxvar: NGINX variables, read from a request that is known to be live.
--
-- fetch has two ways to the same value. Interpreted, as a handler's straight code
-- mostly is, an FFI call costs ten times a function of Lua's C API; compiled, a
-- third of it. So the interpreter takes the C function, and what LuaJIT compiles
-- takes the call over FFI: see on_trace. For hot loops there are getter() and
-- setter(), which need no call at all for most of what they do.

local core = ...

local bit = require "bit"
local ffi = require "ffi"
local base = require "resty.core.base"

local lib = require "resty.ngxvar.lib"
local acquire = core.acquire
local band = bit.band
local core_fetch = core.fetch
local ffi_string = ffi.string
local format = string.format
local get_request = base.get_request
local ipairs = ipairs
local istype = ffi.istype
local remember = core.remember
local select = select
local tonumber = tonumber
local type = type
local typeof = ffi.typeof

if ngx.config.subsystem ~= "http" then
    error("resty.ngxvar: no variables in the " .. ngx.config.subsystem
          .. " subsystem")
end

ffi.cdef[[
typedef struct {
    const uint32_t    id;
    const uint32_t    generation;
} ngx_http_lua_var_handle_t;

typedef struct {
    const unsigned char  *data;
    size_t                len;
    double                number;
} ngx_http_lua_var_out_t;

int32_t ngx_http_lua_var_ffi_value(const ngx_http_lua_var_handle_t *handle,
    const char *name, size_t len, ngx_http_lua_var_out_t *out);
int32_t ngx_http_lua_var_ffi_current(ngx_http_request_t *r, const char *name,
    size_t len, uint32_t typed, ngx_http_lua_var_out_t *out);
]]

-- what the two functions return
local TEXT = 0
local NUMBER = 1
local NIL = 2

local handle_t = ffi.metatype("ngx_http_lua_var_handle_t", {
    __tostring = function (self)
        return format("request: %d/%d", self.id, self.generation)
    end,
})

local HANDLE = tonumber(handle_t)
local BEYOND_SLOTS = bit.lshift(-1, 22)     -- 4096 chunks of 1024, see src/slots.rs


-- istype() alone also takes pointers and references to a handle, which may point
-- anywhere; the type itself, which passes for one of its values, is a number to
-- tonumber(), which a structure never is.
local function is_handle(value)
    return istype(handle_t, value) and tonumber(typeof(value)) == HANDLE
           and tonumber(value) == nil and band(value.id, BEYOND_SLOTS) == 0
end

core.is_handle = is_handle

local out = ffi.new("ngx_http_lua_var_out_t")

-- looked up here, for LuaJIT does not look symbols up while it records a trace
local ffi_value = lib.ngx_http_lua_var_ffi_value
local ffi_current = lib.ngx_http_lua_var_ffi_current

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


-- True while LuaJIT records a trace, else false. It is never assigned in this
-- source, so LuaJIT takes it for a constant: a trace is made with the branch that
-- is right for it, without a test, and the interpreter tests and takes the other.
-- Both give the same; were it not so, only the speed would suffer.
local on_trace = false


-- What the call that returned rc left in `out`; nil and true when it declined.
local function taken(rc)
    if rc == TEXT then
        local text = ffi_string(out.data, out.len)
        return text
    end

    if rc == NUMBER then
        return out.number
    end

    return nil, rc ~= NIL
end


-- On traces the module is asked by name. A getter for the name would do without the
-- call, but a trace would then be good for one name only: faster in a loop, and half
-- as fast in straight code that reads twenty.
-- And no results of calls are returned as they come (return f()): LuaJIT does
-- not compile a function that ends in a tail call to a builtin.
local function fetch_by_handle(name, req)
    if is_handle(req) then
        local rc = ffi_value(req, name, #name, out)

        local value, declined = taken(rc)

        if not declined then
            return value
        end
    end

    return core_fetch(name, req)
end


-- The same for the request that is running.
local function fetch_current(name)
    local r = get_request()

    if r then
        local rc = ffi_current(r, name, #name, 1, out)

        local value, declined = taken(rc)

        if not declined then
            return value
        end
    end

    return core_fetch(name)
end


-- An explicit nil is a request that got lost, not the current one, hence the dots.
function _M.fetch(...)
    if not on_trace then
        return core_fetch(...)
    end

    local name, req = ...
    local value, err

    if type(name) ~= "string" then
        return core_fetch(...)
    end

    -- not "~= nil": the interpreter compares cdata by a metamethod
    if req then
        value, err = fetch_by_handle(name, req)

    elseif select("#", ...) == 1 then
        value, err = fetch_current(name)

    else
        return core_fetch(...)
    end

    if err then
        return nil, err
    end

    return value
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


-- Functions with an upvalue "on_trace", and its number in them.
local watched = {}


-- Has f's on_trace, which functions of one file share, tell the truth.
local function watch(f)
    for i = 1, 60 do
        if debug.getupvalue(f, i) == "on_trace" then
            watched[#watched + 1] = { f = f, at = i }
        end
    end
end

core.watch = watch


local stock_index
local core_index = core.var_index


local function var_index(self, name)
    if on_trace and type(name) == "string" then
        local r = get_request()

        if r then
            local rc = ffi_current(r, name, #name, 0, out)

            local value, declined = taken(rc)

            if not declined then
                return value
            end
        end
    end

    local value, declined = core_index(self, name)

    -- out of the ordinary: the stock function serves it, or raises its error
    if declined then
        return stock_index(self, name)
    end

    return value
end


-- lets ngx.var.name be read as fetch reads; for init_by_lua
function _M.patch_ngx_var()
    if not stock_index then
        local mt = getmetatable(ngx.var)

        stock_index = mt.__index
        mt.__index = var_index
    end
end


do
    watch(_M.fetch)

    -- LuaJIT has one place for a listener of traces; one that is there already stays.
    -- The other places are none of our business: since 2023 LuaJIT keeps a handler
    -- of its own in one of them (ERRFIN).  The key is lj_vmevent.h's for TRACE.
    local events = debug.getregistry()._VMEVENTS

    if not (events and events[bit.lshift(0x12d91467, 3)]) then
        jit.attach(function (what)
            for _, it in ipairs(watched) do
                debug.setupvalue(it.f, it.at, what == "start")
            end
        end, "trace")
    end
end


return _M
