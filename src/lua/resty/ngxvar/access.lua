-- getter(name), setter(name): access to one variable that LuaJIT compiles.
--
-- live.lua finds the request, readers.lua reads what is in it. What cannot be
-- read so is asked of the module, over FFI.

local core = ...

local bit = require "bit"
local ffi = require "ffi"
local request = require "resty.ngxvar.live"
local fields = require "resty.ngxvar.readers"
local new_text = require "resty.ngxvar.texts"

local lib = require "resty.ngxvar.lib"
local arshift = bit.arshift
local band = bit.band
local bxor = bit.bxor
local tobit = bit.tobit
local ffi_string = ffi.string
local ipairs = ipairs
local lower_case = string.lower
local sub = string.sub
local live = request.live
local tonumber = tonumber
local type = type
local fetch = core.fetch
local set = core.set
local numbers = fields.numbers
local partial = fields.partial
local places = fields.places
local readers = fields.readers
local upstream = fields.upstream
local IS_LINKED = request.is_linked

ffi.cdef[[
typedef struct {
    int64_t    number;
    int64_t    own;
    int32_t    index;
    int32_t    header;
} ngx_http_lua_var_way_t;

void ngx_http_lua_var_ffi_resolve(const ngx_http_lua_var_handle_t *handle,
    const char *name, size_t len, ngx_http_lua_var_way_t *way);
int32_t ngx_http_lua_var_ffi_own(const ngx_http_lua_var_handle_t *handle,
    uint32_t number, const char *name, size_t len, ngx_str_t *out);
int32_t ngx_http_lua_var_ffi_text(const ngx_http_lua_var_handle_t *handle,
    uint32_t number, ngx_str_t *out);
int32_t ngx_http_lua_var_ffi_named(const ngx_http_lua_var_handle_t *handle,
    const char *name, size_t len, ngx_str_t *out);
int32_t ngx_http_lua_var_ffi_assign(const ngx_http_lua_var_handle_t *handle,
    uint32_t number, const char *value, size_t len);
double ngx_http_lua_var_ffi_upstream_seconds(
    const ngx_http_lua_var_handle_t *handle, int32_t kind);
]]

local VALUE_FLAGS = 0x70000000      -- valid, no_cacheable and not_found
local VALUE_KEPT = 0x10000000       -- valid alone: nginx would take this value
local VALUE_ODD = 0x60000000        -- nothing to read directly
local VALUE_LEN = 0x0fffffff

-- src/scan.rs; no two of them are the beginning of one name
local PREFIXES = { "http_", "arg_", "cookie_", "sent_http_", "upstream_http_" }

local DECLINED = -5

local header_pp = ffi.typeof("const ngx_http_lua_var_header_t *const *")
local state_p = ffi.typeof("const ngx_http_lua_var_state_t *")
local value_p = ffi.typeof("const ngx_http_lua_var_value_t *")
local int64_t = ffi.typeof("int64_t")

local out = ffi.new("ngx_str_t[1]")
local way = ffi.new("ngx_http_lua_var_way_t")


-- how to read the variable: see src/ffi.rs, "Way"
local function resolve(handle, name)
    lib.ngx_http_lua_var_ffi_resolve(handle, name, #name, way)
    return tonumber(way.number), way.index, tonumber(way.own), way.header
end


-- The value that nginx keeps, if it keeps one, else the string. They look alike, a
-- length and a pointer; chosen without a branch, which would be another trace.
local function kept_or(value, s)
    local there = ffi.cast(int64_t, ffi.cast(value_p, s))
    local kept_there = ffi.cast(int64_t, value)
    local is_not_kept = bxor(band(value.word, VALUE_FLAGS), VALUE_KEPT)
    local mask = arshift(tobit(is_not_kept - 1), 31)

    return ffi.cast(value_p, there + band(kept_there - there, int64_t(mask)))
end


-- The value of a string that has no bytes.
local function empty(name, s, handle)
    -- without a Host header it is the server's name
    if name == "host" then
        return fetch(name, handle)
    end

    if s.data ~= nil then
        return ""
    end
end


-- A string in the request. Of some, nginx keeps the first value, if the
-- configuration uses them by index: then that value counts, as it does for ngx.var.
local function string_getter(name, place)
    local text = new_text()
    local number, index

    return function (handle)
        local r = live(handle)

        if not r then
            return fetch(name, handle)
        end

        if not number then
            number, index = resolve(handle, name)
        end

        local s = ffi.cast(value_p, place(r))

        if index >= 0 then
            local value = r.variables + index

            if band(value.word, VALUE_ODD) ~= 0 then
                return fetch(name, handle)
            end

            s = kept_or(value, s)
        end

        local len = band(s.word, VALUE_LEN)

        if len == 0 then
            return empty(name, s, handle)
        end

        return (text(s.data, len))
    end
end


-- Another variable of which nginx may have kept the first value.
local function direct_getter(name, read)
    local number, index
    local is_partial = partial[name]
    local is_number = numbers[name]

    return function (handle)
        local r = live(handle)

        if not r then
            return fetch(name, handle)
        end

        if not number then
            number, index = resolve(handle, name)
        end

        if index >= 0 then
            local kept_value = r.variables[index]
            local word = kept_value.word
            local flags = band(word, VALUE_FLAGS)

            if flags == VALUE_KEPT and not is_number then
                return (ffi_string(kept_value.data, band(word, VALUE_LEN)))
            end

            if flags ~= 0 then
                return fetch(name, handle)
            end
        end

        local value = read(r)

        if value == nil and is_partial then
            return fetch(name, handle)
        end

        return value
    end
end


-- A variable that nginx always asks its handler for.
local function volatile_getter(name, read)
    return function (handle)
        local r = live(handle)

        if r then
            return read(r)
        end

        return fetch(name, handle)
    end
end


local function upstream_getter(name, time)
    local kind, read, seconds_of = time.kind, time.read, time.seconds

    return function (handle)
        local r = live(handle)

        if r then
            local states = r.upstream_states

            if states == nil then
                return nil
            end

            if states.nelts == 1 then
                local state = ffi.cast(state_p, states.elts)
                return (seconds_of(tonumber(read(state))))
            end

            -- over several attempts it is a sum
            local seconds = lib.ngx_http_lua_var_ffi_upstream_seconds(handle, kind)

            if seconds >= 0 then
                return seconds
            end

            -- no upstream was asked; -2 would be a refusal
            if seconds == -1 then
                return nil
            end
        end

        return fetch(name, handle)
    end
end


-- A variable of the configuration, by number; of a prefix, by name.
local function handler_getter(name)
    local text = new_text()
    local number, index, own, header
    local rest = name

    for _, prefix in ipairs(PREFIXES) do
        if sub(name, 1, #prefix) == prefix then
            rest = sub(name, #prefix + 1)
        end
    end

    return function (handle)
        local r = live(handle)

        if not r then
            return fetch(name, handle)
        end

        if not number then
            number, index, own, header = resolve(handle, name)
        end

        if index >= 0 then
            local kept_value = r.variables[index]
            local word = kept_value.word

            if band(word, VALUE_FLAGS) == VALUE_KEPT then
                return (text(kept_value.data, band(word, VALUE_LEN)))
            end

        elseif header >= 0 then
            local at = ffi.cast("const char *", r) + header
            local h = ffi.cast(header_pp, at)[0]

            if h == nil then
                return nil
            end

            if not IS_LINKED or (h.next == nil and h.hash ~= 0) then
                local value = h.value
                return (text(value.data, tonumber(value.len)))
            end
        end

        local rc

        if own >= 0 then
            rc = lib.ngx_http_lua_var_ffi_own(handle, own, rest, #rest, out)

        elseif number >= 0 then
            rc = lib.ngx_http_lua_var_ffi_text(handle, number, out)

        else
            rc = lib.ngx_http_lua_var_ffi_named(handle, name, #name, out)
        end

        if rc == 0 then
            return (text(out[0].data, tonumber(out[0].len)))
        end

        if rc == DECLINED then
            return nil
        end

        return fetch(name, handle)
    end
end


-- The counterpart: set(value, handle) for one variable.
local function new_setter(name)
    local number

    return function (value, handle)
        if type(value) == "string" and live(handle) then
            if not number or number < 0 then
                number = resolve(handle, name)
            end

            if number >= 0
               and lib.ngx_http_lua_var_ffi_assign(handle, number, value, #value)
                   == 0
            then
                return true
            end
        end

        return set(name, value, handle)
    end
end


local volatile = {
    request_method = true, status = true, request_time = true,
    request_length = true, msec = true,
}

local getters = {}


local function getter(name)
    if type(name) ~= "string" then
        error("bad variable name", 2)
    end

    local lower = lower_case(name)
    local get = getters[lower]

    if get then
        return get
    end

    if volatile[lower] then
        get = volatile_getter(lower, readers[lower])

    elseif places[lower] then
        get = string_getter(lower, places[lower])

    elseif readers[lower] then
        get = direct_getter(lower, readers[lower])

    elseif upstream[lower] then
        get = upstream_getter(lower, upstream[lower])

    else
        get = handler_getter(lower)
        -- any name will do here, so these are not kept: callers keep getters
        return get
    end

    getters[lower] = get
    return get
end


local function setter(name)
    if type(name) ~= "string" then
        error("bad variable name", 2)
    end

    return new_setter(lower_case(name))
end


return { getter = getter, setter = setter }
