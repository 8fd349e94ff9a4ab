-- The request that a handle names, as LuaJIT can read it without a call.
--
-- Validation is the same as fetch's, written so that a trace needs no call for
-- it: the handle's slot is read where the module keeps it, its generation is
-- compared, then the request's signature and connection. Slots have their place for
-- ever, all that there can be (src/worker.rs), so reading one is always allowed; the
-- request itself is read only once all of that agrees. Where its members are, the module
-- says (src/ffi.rs), and whether that is what nginx thinks (src/layout.rs).

local core = ...

local bit = require "bit"
local ffi = require "ffi"

local lib = require "resty.ngxvar.lib"
local tobit = bit.tobit
local format = string.format
local ipairs = ipairs
local is_handle = core.is_handle


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
void ngx_http_lua_var_ffi_layout(ngx_http_lua_var_layout_t *out);
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
    { "const void *", "local_sockaddr", at = "connection_local_sockaddr" },
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

local slots = ffi.cast("const ngx_http_lua_var_slot_t *", layout.slots)
local SIGNATURE = tobit(layout.signature)


-- The request that a handle names, to be read directly; nil if it is not to be.
local function live(handle)
    if not is_handle(handle) then
        return nil
    end

    -- is_handle() has seen to it that there is such a slot
    local slot = slots + handle.id
    local r = slot.readable

    -- compared as integers: as uint32_t, LuaJIT makes numbers of both first
    if r == nil or tobit(slot.generation) ~= tobit(handle.generation)
       or tobit(r.signature) ~= SIGNATURE or r.connection ~= slot.connection
    then
        return nil
    end

    return r
end


return {
    live = live,
    layout = layout,
    -- several headers of one name: nginx before 1.23 does not link them
    is_linked = IS_LINKED,
}
