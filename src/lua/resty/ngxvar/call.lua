-- The module's functions over LuaJIT's FFI, and the values that they give.

local core = ...

local bit = require "bit"
local ffi = require "ffi"
-- declares ngx_http_request_t and ngx_str_t
require "resty.core.base"

local band = bit.band
local ffi_string = ffi.string

ffi.cdef(core.cdef)

-- While a reload takes the module from another file, both files are mapped, and ffi.C
-- finds the functions of the older one: so the file is named. Linked into nginx, the
-- module has no file (core.file is nil) and nothing to be mistaken for; LuaJIT cannot
-- load an executable, and ffi.C has its functions.
local lib = core.file and ffi.load(core.file) or ffi.C

-- looked up here, for LuaJIT does not look symbols up while it records a trace
local ffi_fetch = lib.ngx_http_lua_var_ffi_fetch
local ffi_read = lib.ngx_http_lua_var_ffi_read

local NIL = tonumber(lib.NGX_HTTP_LUA_VAR_NIL)
local STRING = tonumber(lib.NGX_HTTP_LUA_VAR_STRING)
local NUMBER = tonumber(lib.NGX_HTTP_LUA_VAR_NUMBER)
local WRITTEN = tonumber(lib.NGX_HTTP_LUA_VAR_WRITTEN)

-- one less than the bytes of its member "text", a power of two
local TEXT_MASK = 31

local out = ffi.new("ngx_http_lua_var_value_t")


-- The value that the call of this number left in `out`, and true. Nothing when the
-- module wants to be asked in another way; or when another call has been made since:
-- what boxes a cdata, as reading a pointer does in the interpreter, may run the
-- collector, and that a finalizer, which may read variables too. So everything is
-- read before the number is compared, and only what was read then is used.
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

        -- compared once more, since the text stood in `out` itself
        return text, out.call == call
    end

    return nil, kind == NIL
end


local _M = { lib = lib }


-- No results are returned as they come here, which would be tail calls: of those LuaJIT
-- allows fifteen in a trace (lj_record_tailcall), and a handler reads more variables.

-- A variable by name, of the request that a handle names, or of the one at r.
function _M.fetch(handle, r, name, flavour)
    local value, is_taken = taken(ffi_fetch(handle, r, name, #name, flavour, out))
    return value, is_taken
end


-- The same by what was found of its name.
function _M.read(handle, r, found, flavour)
    local value, is_taken = taken(ffi_read(handle, r, found, flavour, out))
    return value, is_taken
end


return _M
