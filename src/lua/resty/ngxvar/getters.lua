-- getter(name), setter(name): functions for one variable that LuaJIT compiles well.
--
-- On a trace, handles.lua finds the request and fields.lua reads from it. A value that
-- cannot be read in this way is read by the module, over FFI. In the interpreter, where all of
-- this would be slow, a getter calls fetch.

local core = ...

local bit = require "bit"
local ffi = require "ffi"
local call = require "resty.ngxvar.call"
local handles = require "resty.ngxvar.handles"
local fields = require "resty.ngxvar.fields"
local new_string_cache = require "resty.ngxvar.string_cache"
local is_recorded = require("resty.ngxvar.trace").is_recorded

local arshift = bit.arshift
local band = bit.band
local bxor = bit.bxor
local tobit = bit.tobit
local call_fetch = call.fetch
local call_read = call.read
local fetch = core.fetch
local is_handle = handles.is_handle
local live = handles.live
local text_at = fields.text_at
local lower_case = string.lower
local set = core.set
local tonumber = tonumber
local type = type
local IS_LINKED = handles.is_linked

local ffi_assign = call.lib.ngx_http_lua_var_ffi_assign
local ffi_resolve = call.lib.ngx_http_lua_var_ffi_resolve

local TYPED = tonumber(call.lib.NGX_HTTP_LUA_VAR_TYPED)

-- the first word of a ngx_http_variable_value_t
local VALUE_FLAGS = 0x70000000      -- valid, no_cacheable and not_found
local VALUE_CACHED = 0x10000000     -- valid alone: nginx takes this value
local VALUE_ODD = 0x60000000        -- no_cacheable or not_found: the module has to read it
local VALUE_LEN = 0x0fffffff        -- the length

local found_t = ffi.typeof("ngx_http_lua_var_found_t")
local header_pp = ffi.typeof("const ngx_http_lua_var_header_t *const *")
local cached_p = ffi.typeof("const ngx_http_lua_var_cached_t *")
local int64_t = ffi.typeof("int64_t")


-- A ngx_http_lua_var_found_t that is not resolved. It may come to point into the variable's
-- name, which must be kept as long.
local function new_found()
    local found = found_t()

    found.variable = -1
    found.prefix = -1

    return found
end


-- Resolves a name in the configuration of the handle's request. Returns whether that worked.
local function resolve(found, name, handle)
    if is_handle(handle) then
        ffi_resolve(handle, name, #name, found)
    end

    return found.epoch ~= 0
end


-- Reads a variable over FFI, of a handle whose request is live. It must not be called in a
-- tail call, see resty.ngxvar.call.
local function fetch_over_ffi(name, handle, found)
    local value, is_taken = call_read(handle, nil, found, TYPED)

    -- the name is unknown, or has a prefix that the module does not look up
    if not is_taken then
        value, is_taken = call_fetch(handle, nil, name, TYPED)
    end

    if is_taken then
        return value
    end

    return fetch(name, handle)
end


-- Returns `cached`, if nginx would take this cached value, else `place`. It is computed
-- without a branch, because each branch would need a trace of its own.
local function cached_or(cached, place)
    local is_not_cached = bxor(band(cached.word, VALUE_FLAGS), VALUE_CACHED)
    local mask = arshift(tobit(is_not_cached - 1), 31)
    local there = ffi.cast(int64_t, ffi.cast(cached_p, place))
    local cached_there = ffi.cast(int64_t, cached)

    return ffi.cast(cached_p, there + band(cached_there - there, int64_t(mask)))
end


-- The three kinds of getters look alike, but each has to be a function of its own: LuaJIT makes
-- traces for the code of a function, and those of one kind would be in the way of another.
-- A name is resolved on a trace, too, because the interpreter may have entered one that was
-- recorded with another getter.

-- A getter of a variable whose string is in the request (fields.strings). If nginx has cached
-- a value in r->variables, that value is returned, as by ngx.var.
local function string_getter(name, place_in)
    local text = new_string_cache()
    local found = new_found()
    local is_resolved

    return function (handle)
        if not is_resolved then
            is_resolved = resolve(found, name, handle)
        end

        local r = is_recorded() and live(handle)

        if not r then
            return fetch(name, handle)
        end

        if found.is_direct ~= 0 then
            local place, is_readable = place_in(r), true

            if found.cached >= 0 then
                local cached = r.variables + found.cached

                is_readable = band(cached.word, VALUE_ODD) == 0
                place = cached_or(cached, place)
            end

            if is_readable then
                local word, data = text_at(place)
                local len = band(word, VALUE_LEN)

                -- not if it is empty or was never set, or if the cached value has changed
                -- meanwhile
                if len ~= 0 and band(word, VALUE_ODD) == 0 then
                    return (text(data, len))
                end
            end
        end

        local value, err = fetch_over_ffi(name, handle, found)

        if err then
            return nil, err
        end

        return value
    end
end


-- A getter of another variable that is read directly from the request (fields.values).
local function value_getter(name, read)
    local found = new_found()
    local is_resolved

    return function (handle)
        if not is_resolved then
            is_resolved = resolve(found, name, handle)
        end

        local r = is_recorded() and live(handle)

        if not r then
            return fetch(name, handle)
        end

        if found.is_direct ~= 0
           and (found.cached < 0 or band(r.variables[found.cached].word, VALUE_FLAGS) == 0)
        then
            local value = read(r)

            if value ~= nil then
                return value
            end
        end

        local value, err = fetch_over_ffi(name, handle, found)

        if err then
            return nil, err
        end

        return value
    end
end


-- A getter of any other variable, which the module or nginx's handler reads unless it is
-- cached in r->variables or is a header that the request points to.
local function handler_getter(name)
    local text = new_string_cache()
    local found = new_found()
    local is_resolved

    return function (handle)
        if not is_resolved then
            is_resolved = resolve(found, name, handle)
        end

        local r = is_recorded() and live(handle)

        if not r then
            return fetch(name, handle)
        end

        if found.cached >= 0 then
            local word, data = text_at(r.variables + found.cached)

            if band(word, VALUE_FLAGS) == VALUE_CACHED then
                return (text(data, band(word, VALUE_LEN)))
            end

        elseif found.header >= 0 then
            local h = ffi.cast(header_pp, ffi.cast("const char *", r) + found.header)[0]

            if h == nil then
                return nil
            end

            if not IS_LINKED or (h.next == nil and h.hash ~= 0) then
                local len, data = text_at(h.value)
                return (text(data, len))
            end
        end

        local value, err = fetch_over_ffi(name, handle, found)

        if err then
            return nil, err
        end

        return value
    end
end


-- A setter, set(value, handle), of one variable.
local function new_setter(name)
    local found = new_found()
    local is_resolved

    return function (value, handle)
        if type(value) == "string" and live(handle) then
            if not is_resolved then
                is_resolved = resolve(found, name, handle)
            end

            if ffi_assign(handle, found, value, #value) == 0 then
                return true
            end
        end

        return set(name, value, handle)
    end
end


-- by name; only those of directly read variables, so that it does not grow without limit
local getters = {}


local function getter(name)
    if type(name) ~= "string" then
        error("bad variable name: expected string, got " .. type(name), 2)
    end

    name = lower_case(name)

    if getters[name] then
        return getters[name]
    end

    if fields.strings[name] then
        getters[name] = string_getter(name, fields.strings[name])

    elseif fields.values[name] then
        getters[name] = value_getter(name, fields.values[name])

    else
        return handler_getter(name)
    end

    return getters[name]
end


local function setter(name)
    if type(name) ~= "string" then
        error("bad variable name: expected string, got " .. type(name), 2)
    end

    return new_setter(lower_case(name))
end


return { getter = getter, setter = setter }
