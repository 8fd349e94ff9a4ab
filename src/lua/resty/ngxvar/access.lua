-- getter(name), setter(name): access to one variable that LuaJIT compiles.
--
-- Validation is the same as fetch's, written so that a trace needs no call for
-- it: the handle's slot is read where the module keeps it, its generation is
-- compared, then the request's signature and connection. Slots never move and
-- are never freed (src/slots.rs), so reading one is always allowed; the request
-- itself is read only once all of that agrees. Where its members are, the module
-- says (src/ffi.rs), and whether that is what nginx thinks (src/layout.rs).
-- What cannot be read so is asked of the module, over FFI.

local core = ...

local bit = require "bit"
local ffi = require "ffi"

-- not ffi.C: see core.file in src/shim/lua.c
local lib = ffi.load(core.file)
local arshift = bit.arshift
local band = bit.band
local bxor = bit.bxor
local rshift = bit.rshift
local tobit = bit.tobit
local ffi_string = ffi.string
local format = string.format
local ipairs = ipairs
local is_handle = core.is_handle
local max = math.max
local tonumber = tonumber
local type = type
local fetch = core.fetch
local set = core.set


ffi.cdef[[
typedef struct {
    const void  *slots;
    const void  *time;
    uint32_t     signature;
    uint32_t     request_signature;
    uint32_t     request_connection;
    uint32_t     request_main;
    uint32_t     request_uri;
    uint32_t     request_unparsed_uri;
    uint32_t     request_args;
    uint32_t     request_http_protocol;
    uint32_t     request_method_name;
    uint32_t     request_server;
    uint32_t     request_err_status;
    uint32_t     request_out_status;
    uint32_t     request_http_version;
    uint32_t     request_start_sec;
    uint32_t     request_start_msec;
    uint32_t     request_request_length;
    uint32_t     request_variables;
    uint32_t     request_srv_conf;
    uint32_t     request_upstream_states;
    uint32_t     connection_ssl;
    uint32_t     connection_sent;
    uint32_t     connection_addr_text;
    uint32_t     connection_number;
    uint32_t     connection_requests;
    uint32_t     connection_local_sockaddr;
    uint32_t     core_srv_index;
    uint32_t     core_srv_server_name;
    uint32_t     array_elts;
    uint32_t     array_nelts;
    uint32_t     state_response_time;
    uint32_t     state_header_time;
    uint32_t     state_connect_time;
    uint32_t     header_hash;
    uint32_t     header_value;
    uint32_t     header_next;
} ngx_http_lua_var_layout_t;

typedef struct {
    int64_t    number;
    int64_t    own;
    int32_t    index;
    int32_t    header;
} ngx_http_lua_var_way_t;

void ngx_http_lua_var_ffi_layout(ngx_http_lua_var_layout_t *out);
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

local layout = ffi.new("ngx_http_lua_var_layout_t")

lib.ngx_http_lua_var_ffi_layout(layout)


-- Declares a structure whose members are where the layout says.
local function declare(name, members)
    for _, member in ipairs(members) do
        member.offset = layout[member.at]
    end

    table.sort(members, function (a, b) return a.offset < b.offset end)

    local text = { "typedef struct __attribute__((packed)) {" }
    local at = 0

    for i, member in ipairs(members) do
        if member.offset > at then
            text[#text + 1] = format("uint8_t pad%d[%d];", i,
                                     member.offset - at)
        end

        text[#text + 1] = member[1] .. " " .. member[2] .. ";"
        at = member.offset + ffi.sizeof(member[1])
    end

    text[#text + 1] = "} " .. name .. ";"
    ffi.cdef(table.concat(text, "\n"))
end


declare("ngx_http_lua_var_connection_t", {
    { "const void *", "ssl", at = "connection_ssl" },
    { "int64_t", "sent", at = "connection_sent" },
    { "ngx_str_t", "addr_text", at = "connection_addr_text" },
    { "int64_t", "number", at = "connection_number" },
    { "const uint8_t *", "local_sockaddr", at = "connection_local_sockaddr" },
    { "int64_t", "requests", at = "connection_requests" },
})

declare("ngx_http_lua_var_array_t", {
    { "const void *", "elts", at = "array_elts" },
    { "uint64_t", "nelts", at = "array_nelts" },
})

-- times that are not known yet are -1
declare("ngx_http_lua_var_state_t", {
    { "int64_t", "response_time", at = "state_response_time" },
    { "int64_t", "header_time", at = "state_header_time" },
    { "int64_t", "connect_time", at = "state_connect_time" },
})

-- several headers of one name: nginx before 1.23 does not link them
local IS_LINKED = layout.header_next ~= 0

declare("ngx_http_lua_var_header_t", {
    { "uint64_t", "hash", at = "header_hash" },
    { "ngx_str_t", "value", at = "header_value" },
    IS_LINKED and { "const void *", "next", at = "header_next" } or nil,
})

declare("ngx_http_lua_var_srv_conf_t", {
    { "ngx_str_t", "server_name", at = "core_srv_server_name" },
})

-- ngx_variable_value_t: its bitfields are one word
ffi.cdef[[
typedef struct {
    int32_t      word;
    const void  *data;
} ngx_http_lua_var_value_t;
]]

local VALUE_FLAGS = 0x70000000      -- valid, no_cacheable and not_found
local VALUE_KEPT = 0x10000000       -- valid alone: nginx would take this value
local VALUE_ODD = 0x60000000        -- nothing to read directly
local VALUE_LEN = 0x0fffffff

declare("ngx_http_lua_var_request_t", {
    { "uint32_t", "signature", at = "request_signature" },
    { "const ngx_http_lua_var_connection_t *", "connection",
      at = "request_connection" },
    { "const void *", "main", at = "request_main" },
    { "ngx_str_t", "uri", at = "request_uri" },
    { "ngx_str_t", "unparsed_uri", at = "request_unparsed_uri" },
    { "ngx_str_t", "args", at = "request_args" },
    { "ngx_str_t", "http_protocol", at = "request_http_protocol" },
    { "ngx_str_t", "method_name", at = "request_method_name" },
    { "ngx_str_t", "server", at = "request_server" },
    { "int32_t", "err_status", at = "request_err_status" },
    { "int32_t", "out_status", at = "request_out_status" },
    { "int32_t", "http_version", at = "request_http_version" },
    { "int64_t", "start_sec", at = "request_start_sec" },
    { "int64_t", "start_msec", at = "request_start_msec" },
    { "int64_t", "request_length", at = "request_request_length" },
    { "const ngx_http_lua_var_value_t *", "variables",
      at = "request_variables" },
    { "const ngx_http_lua_var_srv_conf_t *const *", "srv_conf",
      at = "request_srv_conf" },
    { "const ngx_http_lua_var_array_t *", "upstream_states",
      at = "request_upstream_states" },
})

-- src/slots.rs
ffi.cdef[[
typedef struct {
    uint32_t                              generation;
    uint32_t                              id;
    const ngx_http_lua_var_request_t     *readable;
    const ngx_http_lua_var_connection_t  *connection;
    const void                           *request;
    uint32_t                              flags;
    uint32_t                              link;
    int32_t                               ctx_ref;
    uint32_t                              ctx_vm;
} ngx_http_lua_var_slot_t;

typedef struct {
    int64_t    sec;
    int64_t    msec;
} ngx_http_lua_var_time_t;
]]

-- src/scan.rs; no two of them are the beginning of one name
local PREFIXES = { "http_", "arg_", "cookie_", "sent_http_", "upstream_http_" }

local CHUNK_SHIFT = 10
local CHUNK_MASK = 1023
local DECLINED = -5

local header_pp = ffi.typeof("const ngx_http_lua_var_header_t *const *")
local request_p = ffi.typeof("const ngx_http_lua_var_request_t *")
local state_p = ffi.typeof("const ngx_http_lua_var_state_t *")
local value_p = ffi.typeof("const ngx_http_lua_var_value_t *")
local int64_t = ffi.typeof("int64_t")
local slots = ffi.cast("const ngx_http_lua_var_slot_t *const *", layout.slots)
local time = ffi.cast("const ngx_http_lua_var_time_t *const *", layout.time)
local SIGNATURE = tobit(layout.signature)
local CORE = layout.core_srv_index

local out = ffi.new("ngx_str_t[1]")
local way = ffi.new("ngx_http_lua_var_way_t")


-- The request that a handle names, to be read directly; nil if it is not to be.
local function live(handle)
    if not is_handle(handle) then
        return nil
    end

    local id = handle.id
    local chunk = slots[rshift(id, CHUNK_SHIFT)]

    if chunk == nil then
        return nil
    end

    local slot = chunk + band(id, CHUNK_MASK)
    local r = slot.readable

    -- compared as integers: as uint32_t, LuaJIT makes numbers of both first
    if r == nil or tobit(slot.generation) ~= tobit(handle.generation)
       or tobit(r.signature) ~= SIGNATURE or r.connection ~= slot.connection
    then
        return nil
    end

    return r
end


-- Where strings are that nginx may also have kept as values.
local places = {
    request_uri = function (r) return r.unparsed_uri end,
    remote_addr = function (r) return r.connection.addr_text end,
    server_name = function (r) return r.srv_conf[CORE].server_name end,
    host = function (r) return r.server end,
}


-- Readers of what is in the request itself: nil when it is not set.

local function text(s)
    if s.data ~= nil then
        return (ffi_string(s.data, s.len))
    end
end


local function is_get(s)
    local data = s.data
    return s.len == 3 and data[0] == 71 and data[1] == 69 and data[2] == 84
end


local function is_post(s)
    local data = s.data
    return s.len == 4 and data[0] == 80 and data[1] == 79 and data[2] == 83
           and data[3] == 84
end


-- "HTTP/" and what follows; the request line has been parsed, so it is that
local function is_http(s, major, minor)
    local data = s.data
    return s.len == 8 and data[5] == major and data[7] == minor
           and data[0] == 72 and data[4] == 47 and data[6] == 46
end


-- Text of a number, kept while the number stays the same.
local function kept(write)
    local last, last_text

    return function (n)
        if n ~= last then
            last_text = write(n)
            last = n
        end

        return last_text
    end
end


local function integer(n)
    return format("%.0f", n)
end


local connection_text = kept(integer)
local requests_text = kept(integer)
local port_text = kept(integer)
local msec_text = kept(function (n) return (format("%.3f", n / 1000)) end)


local readers = {
    uri = function (r) return text(r.uri) end,
    args = function (r) return text(r.args) end,

    scheme = function (r)
        if r.connection.ssl ~= nil then
            return "https"
        end

        return "http"
    end,

    https = function (r)
        if r.connection.ssl ~= nil then
            return "on"
        end

        return ""
    end,

    request_method = function (r)
        local s = ffi.cast(request_p, r.main).method_name

        if is_get(s) then
            return "GET"
        end

        if is_post(s) then
            return "POST"
        end

        return text(s)
    end,

    server_protocol = function (r)
        local s = r.http_protocol

        if is_http(s, 49, 49) then
            return "HTTP/1.1"
        end

        if is_http(s, 50, 48) then
            return "HTTP/2.0"
        end

        return text(s)
    end,

    status = function (r)
        if r.err_status ~= 0 then
            return r.err_status
        end

        if r.out_status == 0 and r.http_version == 9 then
            return 9
        end

        return r.out_status
    end,

    request_time = function (r)
        local now = time[0]
        local ms = tonumber((now.sec - r.start_sec) * 1000
                            + (now.msec - r.start_msec))

        return max(ms, 0) / 1000
    end,

    bytes_sent = function (r) return (tonumber(r.connection.sent)) end,
    request_length = function (r) return (tonumber(r.request_length)) end,

    connection = function (r)
        return connection_text(tonumber(r.connection.number))
    end,

    connection_requests = function (r)
        return requests_text(tonumber(r.connection.requests))
    end,

    msec = function ()
        local now = time[0]
        return msec_text(tonumber(now.sec) * 1000 + tonumber(now.msec))
    end,

    server_port = function (r)
        local sa = r.connection.local_sockaddr

        -- AF_INET and AF_INET6 have the port in the same place
        if sa ~= nil and (sa[0] == 2 or sa[0] == 10) and sa[1] == 0 then
            return port_text(sa[2] * 256 + sa[3])
        end
    end,
}

readers.document_uri = readers.uri
readers.query_string = readers.args

-- the only one here that fetch gives as a number and nginx may keep as text
local numbers = {
    bytes_sent = true,
}

-- for these, a reader's nil means that nginx has to be asked
local partial = {
    server_port = true,
}

local upstream = {
    upstream_response_time = {
        kind = 0, read = function (state) return state.response_time end,
    },
    upstream_header_time = {
        kind = 1, read = function (state) return state.header_time end,
    },
    upstream_connect_time = {
        kind = 2, read = function (state) return state.connect_time end,
    },
}


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


-- A string in the request that nginx keeps the first value of, if the
-- configuration uses it by index: then that value counts, as it does for ngx.var.
local function string_getter(name, place)
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

        -- not set, or $host without a Host header
        if s.data == nil or (len == 0 and name == "host") then
            return fetch(name, handle)
        end

        return (ffi_string(s.data, len))
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


local function upstream_getter(name, kind, read)
    return function (handle)
        local r = live(handle)

        if r then
            local states = r.upstream_states

            if states == nil then
                return nil
            end

            if states.nelts == 1 then
                return max(tonumber(read(ffi.cast(state_p, states.elts))), 0)
                       / 1000
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
    local number, index, own, header
    local rest = name

    for _, prefix in ipairs(PREFIXES) do
        if name:sub(1, #prefix) == prefix then
            rest = name:sub(#prefix + 1)
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
                return (ffi_string(kept_value.data, band(word, VALUE_LEN)))
            end

        elseif header >= 0 then
            local at = ffi.cast("const char *", r) + header
            local h = ffi.cast(header_pp, at)[0]

            if h == nil then
                return nil
            end

            if not IS_LINKED or (h.next == nil and h.hash ~= 0) then
                local value = h.value
                return (ffi_string(value.data, value.len))
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
            return (ffi_string(out[0].data, out[0].len))
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
    uri = true, document_uri = true, args = true, query_string = true,
    request_method = true, status = true, request_time = true,
    request_length = true, msec = true,
}

local getters = {}


local function getter(name)
    if type(name) ~= "string" then
        error("bad variable name", 2)
    end

    local lower = name:lower()
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
        local time = upstream[lower]
        get = upstream_getter(lower, time.kind, time.read)

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

    return new_setter(name:lower())
end


return { getter = getter, setter = setter }
