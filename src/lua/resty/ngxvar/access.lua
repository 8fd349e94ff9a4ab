-- getter(name), setter(name): access to one variable that LuaJIT compiles.
--
-- On a trace, live.lua finds the request, readers.lua reads what is in it, and what
-- cannot be read so is asked of the module over FFI. The interpreter, for which all of
-- that would be slow, takes fetch.

local core = ...

local bit = require "bit"
local ffi = require "ffi"
local call = require "resty.ngxvar.call"
local request = require "resty.ngxvar.live"
local readers = require "resty.ngxvar.readers"
local new_text = require "resty.ngxvar.texts"
local is_recorded = require("resty.ngxvar.trace").is_recorded

local arshift = bit.arshift
local band = bit.band
local bxor = bit.bxor
local tobit = bit.tobit
local call_fetch = call.fetch
local call_read = call.read
local fetch = core.fetch
local is_handle = request.is_handle
local live = request.live
local text_at = readers.text_at
local lower_case = string.lower
local set = core.set
local tonumber = tonumber
local type = type
local IS_LINKED = request.is_linked

local ffi_assign = call.lib.ngx_http_lua_var_ffi_assign
local ffi_resolve = call.lib.ngx_http_lua_var_ffi_resolve

local TYPED = tonumber(call.lib.NGX_HTTP_LUA_VAR_TYPED)

local VALUE_FLAGS = 0x70000000      -- valid, no_cacheable and not_found
local VALUE_CACHED = 0x10000000     -- valid alone: nginx would take this value
local VALUE_ODD = 0x60000000        -- nothing to read directly
local VALUE_LEN = 0x0fffffff

local found_t = ffi.typeof("ngx_http_lua_var_found_t")
local header_pp = ffi.typeof("const ngx_http_lua_var_header_t *const *")
local cached_p = ffi.typeof("const ngx_http_lua_var_cached_t *")
local int64_t = ffi.typeof("int64_t")


-- How a variable is found; its name has to be kept as long as this.
local function new_found()
    local found = found_t()

    found.variable = -1
    found.prefix = -1

    return found
end


-- Resolves a name, for good if the handle's request can be asked.
local function resolve(found, name, handle)
    if is_handle(handle) then
        ffi_resolve(handle, name, #name, found)
    end

    return found.epoch ~= 0
end


-- A variable that the module has to be asked for, of a handle whose request is live. Not
-- for tail calls: see resty.ngxvar.call.
local function ask(name, handle, found)
    local value, is_taken = call_read(handle, nil, found, TYPED)

    -- unknown, or of a prefix that the module does not look up
    if not is_taken then
        value, is_taken = call_fetch(handle, nil, name, TYPED)
    end

    if is_taken then
        return value
    end

    return fetch(name, handle)
end


-- The place of the value that nginx has cached, if it would take that, else the one of
-- the string; chosen without a branch, which would be another trace.
local function cached_or(cached, place)
    local is_not_cached = bxor(band(cached.word, VALUE_FLAGS), VALUE_CACHED)
    local mask = arshift(tobit(is_not_cached - 1), 31)
    local there = ffi.cast(int64_t, ffi.cast(cached_p, place))
    local cached_there = ffi.cast(int64_t, cached)

    return ffi.cast(cached_p, there + band(cached_there - there, int64_t(mask)))
end


-- A string in the request. Of some, nginx keeps the first value, if the
-- configuration uses them by index: then that value counts, as it does for ngx.var.
local function string_getter(name, place_in)
    local text = new_text()
    local found = new_found()
    local is_resolved, is_direct, cached

    return function (handle)
        if not is_recorded() then
            if not is_resolved then
                is_resolved = resolve(found, name, handle)
                is_direct, cached = found.is_direct == 1, found.cached
            end

            return fetch(name, handle)
        end

        local r = live(handle)

        if not r then
            return fetch(name, handle)
        end

        if not is_direct then
            -- a trace of another getter may be what the interpreter enters
            if not is_resolved then
                is_resolved = resolve(found, name, handle)
                is_direct, cached = found.is_direct == 1, found.cached
            end

            local value, err = ask(name, handle, found)

            if err then
                return nil, err
            end

            return value
        end

        local place = place_in(r)

        if cached >= 0 then
            local value = r.variables + cached

            if band(value.word, VALUE_ODD) ~= 0 then
                local value, err = ask(name, handle, found)

                if err then
                    return nil, err
                end

                return value
            end

            place = cached_or(value, place)
        end

        local word, data = text_at(place)

        local len = band(word, VALUE_LEN)

        -- an empty string, or one that was never set; or what was cached is not any more
        if len == 0 or band(word, VALUE_ODD) ~= 0 then
            local value, err = ask(name, handle, found)

            if err then
                return nil, err
            end

            return value
        end

        return (text(data, len))
    end
end


-- Another variable that is read from the request.
local function value_getter(name, read)
    local found = new_found()
    local is_resolved, is_direct, cached

    return function (handle)
        if not is_recorded() then
            if not is_resolved then
                is_resolved = resolve(found, name, handle)
                is_direct, cached = found.is_direct == 1, found.cached
            end

            return fetch(name, handle)
        end

        local r = live(handle)

        if not r then
            return fetch(name, handle)
        end

        if not is_direct then
            -- a trace of another getter may be what the interpreter enters
            if not is_resolved then
                is_resolved = resolve(found, name, handle)
                is_direct, cached = found.is_direct == 1, found.cached
            end

            local value, err = ask(name, handle, found)

            if err then
                return nil, err
            end

            return value
        end

        if cached >= 0 and band(r.variables[cached].word, VALUE_FLAGS) ~= 0 then
            local value, err = ask(name, handle, found)

            if err then
                return nil, err
            end

            return value
        end

        local value = read(r)

        if value == nil then
            local asked, err = ask(name, handle, found)

            if err then
                return nil, err
            end

            return asked
        end

        return value
    end
end


-- A variable that nginx's handler, or a look-up of the module's, gives.
local function handler_getter(name)
    local text = new_text()
    local found = new_found()
    local is_resolved, cached, header

    return function (handle)
        if not is_recorded() then
            if not is_resolved then
                is_resolved = resolve(found, name, handle)
                cached, header = found.cached, found.header
            end

            return fetch(name, handle)
        end

        local r = live(handle)

        if not r then
            return fetch(name, handle)
        end

        -- a trace of another getter may be what the interpreter enters
        if not is_resolved then
            is_resolved = resolve(found, name, handle)
            cached, header = found.cached, found.header
        end

        if cached >= 0 then
            local word, data = text_at(r.variables + cached)

            if band(word, VALUE_FLAGS) == VALUE_CACHED then
                return (text(data, band(word, VALUE_LEN)))
            end

        elseif header >= 0 then
            local h = ffi.cast(header_pp, ffi.cast("const char *", r) + header)[0]

            if h == nil then
                return nil
            end

            if not IS_LINKED or (h.next == nil and h.hash ~= 0) then
                local len, data = text_at(h.value)
                return (text(data, len))
            end
        end

        local value, err = ask(name, handle, found)

        if err then
            return nil, err
        end

        return value
    end
end


-- The counterpart: set(value, handle) for one variable.
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


local getters = {}


local function getter(name)
    if type(name) ~= "string" then
        error("bad variable name: expected string, got " .. type(name), 2)
    end

    name = lower_case(name)

    if getters[name] then
        return getters[name]
    end

    if readers.strings[name] then
        getters[name] = string_getter(name, readers.strings[name])

    elseif readers.values[name] then
        getters[name] = value_getter(name, readers.values[name])

    else
        -- any name will do here, so these are not kept: callers keep getters
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
