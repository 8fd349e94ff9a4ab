-- Calls the module over LuaJIT's FFI: declares its functions, and converts their results.

local core = ...

local bit = require "bit"
local ffi = require "ffi"
-- declares ngx_http_request_t and ngx_str_t
require "resty.core.base"

local band = bit.band
local ffi_string = ffi.string

ffi.cdef(core.cdef)

-- During a reload that loads the module from another file, both files are mapped, and ffi.C
-- would find the functions of the older one. So the library is loaded by its file. If the
-- module is linked into nginx, core.file is nil, and ffi.C finds the only copy.
local lib = core.file and ffi.load(core.file) or ffi.C

-- looked up here, because LuaJIT cannot look up a symbol while it records a trace
local ffi_fetch = lib.ngx_http_lua_var_ffi_fetch
local ffi_read = lib.ngx_http_lua_var_ffi_read
local ffi_resolve = lib.ngx_http_lua_var_ffi_resolve

local NIL = tonumber(lib.NGX_HTTP_LUA_VAR_NIL)
local STRING = tonumber(lib.NGX_HTTP_LUA_VAR_STRING)
local NUMBER = tonumber(lib.NGX_HTTP_LUA_VAR_NUMBER)
local WRITTEN = tonumber(lib.NGX_HTTP_LUA_VAR_WRITTEN)

-- the size of the member "text", a power of two, minus 1: a mask that keeps a length within it
local TEXT_MASK = 31

local found_t = ffi.typeof("ngx_http_lua_var_found_t")
local out = ffi.new("ngx_http_lua_var_value_t")


-- Returns the value that a call wrote to `out`, and true; nil and false if the variable has to
-- be read in another way, or if another call has overwritten `out`. `call` is the number that
-- the call returned.
--
-- In the interpreter, reading a pointer allocates a cdata. That may run the collector, and
-- with it a finalizer that reads variables. So all members are read before the number is
-- compared, and only what was read then is used.
local function taken(call)
    local kind, len, number, data = out.kind, out.len, out.number, out.data

    if out.call ~= call then
        return nil, false
    end

    if kind == STRING then
        local text = ffi_string(data, len)
        return text, true
    end

    if kind == NUMBER then
        return number, true
    end

    if kind == WRITTEN then
        local text = ffi_string(out.text, band(len, TEXT_MASK))

        -- compared once more, because the text was in `out` itself
        return text, out.call == call
    end

    return nil, kind == NIL
end


local _M = { lib = lib }


-- There are no tail calls here, because LuaJIT allows only fifteen of them in a trace
-- (lj_record_tailcall), and a handler may read more variables.

-- Reads a variable by name, of the handle's request or, if handle is nil, of the current
-- request r.
local function fetch(handle, r, name, flavour)
    local value, is_taken = taken(ffi_fetch(handle, r, name, #name, flavour, out))
    return value, is_taken
end


-- Reads a variable by a resolved name, of the same request.
local function read(handle, r, found, flavour)
    local value, is_taken = taken(ffi_read(handle, r, found, flavour, out))
    return value, is_taken
end


-- The names that the interpreter has fetched, each with a ngx_http_lua_var_found_t. The C
-- functions limit their number, so that names which Lua code generates do not fill memory.
local names = core.learn(function (name)
    local found = found_t()
    ffi_resolve(nil, name, #name, found)
    return found
end)


-- Reads a variable over FFI, for traces: by the resolved name, if there is one, which is the
-- same code for every name. To use a getter instead would save the call, but a trace would
-- then serve one name only: faster in a loop, half as fast in code that reads twenty names.
function _M.fetch_known(handle, r, name, flavour)
    local found = names[name]

    if found then
        local value, is_taken = read(handle, r, found, flavour)

        if is_taken then
            return value, true
        end
    end

    local value, is_taken = fetch(handle, r, name, flavour)
    return value, is_taken
end


_M.fetch = fetch
_M.read = read

return _M
