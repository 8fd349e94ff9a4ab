-- The fuzzer's cases for the C functions, as LuaJIT's FFI calls them.

local ffi = require "ffi"
local arguments = require "fuzz_arguments"
local ngxvar = require "resty.ngxvar"
local outcome = require "fuzz_outcome"
local requests = require "fuzz_requests"

local C = ffi.C
local below = arguments.below
local check_served = outcome.check_served
local fetch, wrong = ngxvar.fetch, outcome.wrong

-- Declares the module's functions with integer addresses, so that any can be passed.
ffi.cdef[[
int fuzz_uri(uint64_t r, ngx_str_t *out) __asm__("ngx_http_lua_var_ffi_uri");
int fuzz_host(uint64_t r, ngx_str_t *out) __asm__("ngx_http_lua_var_ffi_host");
int fuzz_remote_addr(uint64_t r, ngx_str_t *out)
    __asm__("ngx_http_lua_var_ffi_remote_addr");
int fuzz_scheme(uint64_t r, ngx_str_t *out) __asm__("ngx_http_lua_var_ffi_scheme");
intptr_t fuzz_request_time(uint64_t r, uint8_t *buf)
    __asm__("ngx_http_lua_var_ffi_request_time");
intptr_t fuzz_upstream_response_time(uint64_t r, uint8_t *buf, int kind)
    __asm__("ngx_http_lua_var_ffi_upstream_response_time");
int fuzz_handshake(uint64_t r, const void **connection) __asm__("ngx_http_lua_var_ffi_handshake");
int fuzz_ctx_lost(uint64_t r, uint32_t vm) __asm__("ngx_http_lua_var_ffi_ctx_lost");
void fuzz_ctx_made(uint64_t r, int reference, uint32_t vm, int again)
    __asm__("ngx_http_lua_var_ffi_ctx_made");
void fuzz_layout(void *out) __asm__("ngx_http_lua_var_ffi_layout");
int fuzz_slot(uint64_t r) __asm__("ngx_http_lua_var_ffi_slot");
void fuzz_resolve(const uint32_t *handle, const char *name, size_t len,
    ngx_http_lua_var_found_t *found) __asm__("ngx_http_lua_var_ffi_resolve");
int fuzz_assign(const uint32_t *handle, const ngx_http_lua_var_found_t *found,
    const char *value, size_t len) __asm__("ngx_http_lua_var_ffi_assign");
int fuzz_fetch(const uint32_t *handle, uint64_t current, const char *name, size_t len,
    int flavour, ngx_http_lua_var_value_t *out) __asm__("ngx_http_lua_var_ffi_fetch");
int fuzz_read(const uint32_t *handle, uint64_t current,
    const ngx_http_lua_var_found_t *found, int flavour, ngx_http_lua_var_value_t *out)
    __asm__("ngx_http_lua_var_ffi_read");
]]

local OK, ERROR, DECLINED = 0, -1, -5

local out = ffi.new("ngx_str_t[1]")
local poison = ffi.cast("uint8_t *", 16)
local BUF = 32
local buf = ffi.new("uint8_t[?]", BUF + 16)
local handle_words = ffi.new("uint32_t[2]")


-- An address, and the entry of the live request there. Addresses have no generation, so the C
-- functions serve any live request.
local function any_address()
    local address = arguments.address()

    outcome.trace[3] = address

    return address, requests.at(address)
end


local function c_string(name)
    local fill = C["fuzz_" .. name]

    return function ()
        local address, entry = any_address()

        if below(16) == 0 then
            if fill(address, nil) ~= ERROR then
                wrong(name .. " without a place for it")
            end

            outcome.refused()
            return
        end

        out[0].data = poison
        out[0].len = 1000

        local rc = fill(address, out)

        if entry then
            if rc ~= OK then
                return wrong(name, address, rc)
            end

            return check_served("C " .. name, name, entry, ffi.string(out[0].data, out[0].len))
        end

        if rc ~= ERROR or out[0].len ~= 0 or out[0].data == nil then
            return wrong(name .. ": not refused", address, rc, out[0].len)
        end

        outcome.refused()
    end
end


local function check_time(what, address, entry, rc, is_null)
    if entry and not is_null then
        local text = rc > 0 and ffi.string(buf, rc)

        if not text or rc > BUF or not text:find("^%d+%.%d%d%d$") then
            return wrong(what, address, rc)
        end

        outcome.served()

    else
        if rc ~= ERROR then
            return wrong(what .. ": not refused", address, rc)
        end

        outcome.refused()
        rc = 0
    end

    for i = tonumber(rc), BUF + 15 do
        if buf[i] ~= 0xa5 then
            return wrong(what .. ": wrote where it must not", address, i)
        end
    end
end


local function c_request_time()
    local address, entry = any_address()
    local is_null = below(16) == 0

    ffi.fill(buf, BUF + 16, 0xa5)
    check_time("C request_time", address, entry,
               C.fuzz_request_time(address, not is_null and buf or nil), is_null)
end


local function c_upstream_response_time()
    local address, entry = any_address()
    local is_null = below(16) == 0
    local kind = below(8) == 0 and below(2 ^ 31) or below(4)

    if entry and not entry.upstream then
        entry = nil
    end

    ffi.fill(buf, BUF + 16, 0xa5)
    check_time("C upstream_response_time", address, entry,
               C.fuzz_upstream_response_time(address, not is_null and buf or nil, kind),
               is_null)
end


local function c_slot()
    local address, entry = any_address()
    local id = C.fuzz_slot(address)

    if id ~= (entry and entry.id or -1) then
        return wrong("C slot", address, id)
    end

    if entry then
        outcome.served()
    else
        outcome.refused()
    end
end


local connection = ffi.new("const void *[1]")

local function c_ctx()
    local address = any_address()

    -- only the requests of handshakes have TLS here, and all servers inherit
    local tls = C.fuzz_handshake(address, below(4) ~= 0 and connection or nil)

    if tls ~= ERROR and (tls ~= 1 or requests.current and not requests.current.fake) then
        return wrong("C handshake", address, tls)
    end

    -- not for a live request, where only Lua that made a ngx.ctx may call it
    if not requests.is_at(address) then
        C.fuzz_ctx_made(address, below(2 ^ 31), below(4), below(2))
    end

    -- none of the requests here was redirected
    local lost = C.fuzz_ctx_lost(address, below(4) == 0 and below(2 ^ 31) or 0)

    if lost ~= 0 then
        return wrong("C ctx_lost", address, lost)
    end

    if requests.current and not requests.current.fake and ngx.ctx.marker ~= requests.current.marker then
        return wrong("ngx.ctx", ngx.ctx.marker)
    end

    outcome.refused()
end


local function any_handle()
    local id, generation = arguments.handle(requests.known)

    handle_words[0], handle_words[1] = id, generation

    local entry = requests.of_handle(id, generation)

    return entry and not entry.fake and entry or nil
end


local found = ffi.new("ngx_http_lua_var_found_t")
-- a resolved name is kept by address
local resolved_name

local function resolve(name)
    ffi.fill(found, ffi.sizeof(found), 0xa5)
    resolved_name = name
    C.fuzz_resolve(handle_words, name, #name, found)
end


local function c_resolve()
    local entry = any_handle()
    local name = arguments.name(requests.names)

    if below(16) == 0 then
        C.fuzz_resolve(handle_words, name, #name, nil)
    end

    resolve(name)

    if found.variable < -1 or found.prefix < -1 or found.prefix > 4
       or found.cached < -1 or found.cached > 1000 or found.header < -1 or found.header > 4096
       or found.variable >= 0 and found.prefix >= 0
       or not entry and (found.variable ~= -1 or found.prefix ~= -1 or found.cached ~= -1
                         or found.header ~= -1 or found.epoch ~= 0)
    then
        return wrong("C resolve", name, found.variable, found.cached)
    end

    outcome.served_if(entry)
end


-- How a name was resolved; or any values but its address.
local function any_found()
    local name = arguments.name(requests.names)

    resolve(name)

    if below(3) == 0 then
        local member = ({ "epoch", "variable", "prefix", "cached", "header", "is_direct",
                          "is_number" })[below(7) + 1]

        found[member] = below(2) == 0 and below(8) or below(2 ^ 31)

        -- the index of another variable, or of none
        return ""
    end

    return name
end


local function c_assign()
    local entry = any_handle()
    local is_right = below(2) == 0

    if is_right then
        resolve("fuzz_set")
    else
        any_found()
        -- of another configuration: epochs count from 1
        found.epoch = below(2) * (2 + below(2 ^ 31))
    end

    local value = ("v"):rep(below(100))
    local rc = C.fuzz_assign(handle_words, below(16) ~= 0 and found or nil, value, #value)

    if entry then
        if rc ~= OK and rc ~= DECLINED
           or rc == OK and (not is_right or fetch("fuzz_set", entry.handle) ~= value)
        then
            return wrong("C assign", rc)
        end

        outcome.served()

    else
        if rc ~= ERROR then
            return wrong("C assign: not refused", rc)
        end

        outcome.refused()
    end
end


-- the kinds of value that the functions return
local function kind(name)
    return tonumber(C["NGX_HTTP_LUA_VAR_" .. name])
end

local NIL, STRING, NUMBER = kind "NIL", kind "STRING", kind "NUMBER"
local WRITTEN, AGAIN = kind "WRITTEN", kind "AGAIN"
local value = ffi.new("ngx_http_lua_var_value_t")

local function check_value(what, name, entry, call)
    if call ~= value.call then
        return wrong(what .. ": another call's number", call)
    end

    if not entry then
        if value.kind ~= AGAIN or value.len ~= 1000 then
            return wrong(what .. ": not refused", name, value.kind)
        end

        outcome.refused()
        return
    end

    local got

    if value.kind == STRING then
        got = ffi.string(value.data, value.len)
    elseif value.kind == NUMBER then
        got = value.number
    elseif value.kind == WRITTEN and value.len <= ffi.sizeof(value.text) then
        got = ffi.string(value.text, value.len)
    elseif value.kind == AGAIN then
        -- in lower case, or through fetch
        name = ""
    elseif value.kind ~= NIL then
        return wrong(what, name, value.kind)
    end

    return check_served(what, name, entry, got)
end


local function c_fetch()
    local entry = any_handle()
    local name = arguments.name(requests.names)

    if below(16) == 0 then
        C.fuzz_fetch(handle_words, 0, name, #name, 0, nil)
    end

    value.data, value.len = poison, 1000
    check_value("C fetch", name, entry,
                C.fuzz_fetch(handle_words, arguments.address(), name, #name, 0, value))
end


local function c_current()
    local address, entry = any_address()
    local name = arguments.name(requests.names)

    value.data, value.len = poison, 1000
    check_value("C fetch, current", name, entry,
                C.fuzz_fetch(nil, address, name, #name, below(4), value))
end


local function c_read()
    local entry = any_handle()
    local name = any_found()

    if below(16) == 0 then
        C.fuzz_read(handle_words, 0, nil, 0, value)
        C.fuzz_read(handle_words, 0, found, 0, nil)
        C.fuzz_read(nil, arguments.address(), found, below(4), value)
    end

    value.data, value.len = poison, 1000
    check_value("C read", name, entry, C.fuzz_read(handle_words, 0, found, 0, value))
end


local layout = ffi.new("ngx_http_lua_var_layout_t")

local function c_layout()
    C.fuzz_layout(below(2) == 0 and layout or nil)
    outcome.served()
end


-- Calls each function that takes a name with a good handle.
local function with_name(handle, name)
    handle_words[0], handle_words[1] = handle.id, handle.generation

    resolve(name)
    C.fuzz_read(handle_words, 0, found, 0, value)
    C.fuzz_fetch(handle_words, 0, name, #name, 0, value)
end


-- Addresses of the module's own memory.
local function module_memory()
    C.fuzz_layout(layout)

    local slots = ffi.cast("uint64_t", layout.slots)
    local size = layout.slot_size

    return { slots, slots + size, slots + 1024 * size, slots + layout.nslots * size - size }
end


return {
    -- by name, after ngx_http_lua_var_ffi_
    tried = { "uri", "host", "remote_addr", "scheme", "request_time",
              "upstream_response_time", "handshake", "ctx_lost", "ctx_made", "layout", "slot", "resolve",
              "fetch", "read", "assign" },
    -- more often those that take any address
    cases = {
        c_string "uri", c_string "host", c_string "remote_addr", c_string "scheme",
        c_string "uri", c_string "host", c_string "remote_addr", c_string "scheme",
        c_request_time, c_upstream_response_time, c_ctx, c_slot, c_resolve, c_fetch, c_read, c_read,
        c_assign, c_current, c_current, c_layout,
    },
    with_name = with_name,
    module_memory = module_memory,
}
