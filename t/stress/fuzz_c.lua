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

-- Other names and types for the module's functions: any address, no conversion.
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
int fuzz_ctx_lost(uint64_t r, uint32_t vm) __asm__("ngx_http_lua_var_ffi_ctx_lost");
void fuzz_ctx_made(uint64_t r, int reference, uint32_t vm, int again)
    __asm__("ngx_http_lua_var_ffi_ctx_made");
void fuzz_layout(void *out) __asm__("ngx_http_lua_var_ffi_layout");
typedef struct { int64_t number; int64_t own; int index; int header; } fuzz_way_t;
void fuzz_resolve(const uint32_t *handle, const char *name, size_t len, fuzz_way_t *way)
    __asm__("ngx_http_lua_var_ffi_resolve");
int fuzz_own(const uint32_t *handle, uint32_t number, const char *name, size_t len,
    ngx_str_t *out) __asm__("ngx_http_lua_var_ffi_own");
int fuzz_text(const uint32_t *handle, uint32_t number, ngx_str_t *out)
    __asm__("ngx_http_lua_var_ffi_text");
int fuzz_named(const uint32_t *handle, const char *name, size_t len, ngx_str_t *out)
    __asm__("ngx_http_lua_var_ffi_named");
int fuzz_assign(const uint32_t *handle, uint32_t number, const char *value, size_t len)
    __asm__("ngx_http_lua_var_ffi_assign");
typedef struct { const uint8_t *data; size_t len; double number; } fuzz_out_t;
int fuzz_value(const uint32_t *handle, const char *name, size_t len, fuzz_out_t *out)
    __asm__("ngx_http_lua_var_ffi_value");
int fuzz_current(uint64_t r, const char *name, size_t len, uint32_t typed, fuzz_out_t *out)
    __asm__("ngx_http_lua_var_ffi_current");
double fuzz_upstream_seconds(const uint32_t *handle, int kind)
    __asm__("ngx_http_lua_var_ffi_upstream_seconds");
]]

local OK, ERROR, AGAIN, DECLINED = 0, -1, -2, -5

local out = ffi.new("ngx_str_t[1]")
local poison = ffi.cast("uint8_t *", 16)
local BUF = 32
local buf = ffi.new("uint8_t[?]", BUF + 16)
local handle_words = ffi.new("uint32_t[2]")


-- An address, and the entry of the request that is there. Bare addresses have no
-- generation: the C functions serve any live request.
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


local function c_ctx()
    local address = any_address()

    -- of a live request it is a note that only the Lua that made the ctx can write
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


local function check_text(what, name, entry, rc)
    if entry then
        if rc == OK then
            return check_served(what, name, entry, ffi.string(out[0].data, out[0].len))
        end

        if rc ~= DECLINED and rc ~= AGAIN then
            return wrong(what, name, rc)
        end

        outcome.served()
        return
    end

    if rc ~= ERROR or out[0].len ~= 1000 then
        return wrong(what .. ": not refused", name, rc)
    end

    outcome.refused()
end


local way = ffi.new("fuzz_way_t")

local function resolve(name)
    way.number, way.own, way.index, way.header = -1000, -1000, -1000, -1000
    C.fuzz_resolve(handle_words, name, #name, way)
    return tonumber(way.number)
end


-- The number of a variable, and its name; or any number.
local function any_number()
    local name = arguments.name(requests.names)
    local number = resolve(name)

    if number < 0 then
        return below(2 ^ 32), ""
    end

    return number, name
end


local function c_resolve()
    local entry = any_handle()
    local name = arguments.name(requests.names)

    local number = resolve(name)
    local own = tonumber(way.own)

    if number < -1 or number > 2 ^ 32 - 1 or own < -1 or own > 2 ^ 32 - 1
       or way.index < -1 or way.index > 1000 or way.header < -1 or way.header > 4096
       or not entry and (number ~= -1 or own ~= -1 or way.index ~= -1 or way.header ~= -1)
    then
        return wrong("C resolve", name, number, way.index)
    end

    outcome.served_if(entry)
end


local function c_text()
    local entry = any_handle()
    local number, name = any_number()

    out[0].data = poison
    out[0].len = 1000
    check_text("C text", name, entry, C.fuzz_text(handle_words, number, out))
end


-- By the number of a prefix and a name, of which nothing has to be known.
local function c_own()
    local entry = any_handle()
    local name = arguments.name(requests.names)
    local prefix, rest = name:match("^(%l+_)(.*)")

    resolve(name)

    local own = tonumber(way.own)
    local is_known = own >= 0 and (prefix == "http_" or prefix == "arg_" or prefix == "cookie_")

    if not is_known then
        -- the first table's numbers, or any
        own = below(2) == 0 and 65536 + below(8) or below(2 ^ 32)
        rest, name = name, ""
    end

    out[0].data = poison
    out[0].len = 1000
    check_text("C own", name, entry, C.fuzz_own(handle_words, own, rest, #rest, out))
end


local function c_assign()
    local entry = any_handle()
    local number, name = 0, "fuzz_set"

    if entry and below(2) == 0 then
        number = resolve(name)
    else
        -- of another table: epochs count from 1
        number = below(2) == 0 and below(65536) or below(2 ^ 31) + 2 ^ 31
    end

    local value = ("v"):rep(below(100))
    local rc = C.fuzz_assign(handle_words, number, value, #value)

    if entry then
        if rc ~= OK and rc ~= AGAIN
           or rc == OK and fetch("fuzz_set", entry.handle) ~= value
        then
            return wrong("C assign", number, rc)
        end

        outcome.served()

    else
        if rc ~= ERROR then
            return wrong("C assign: not refused", rc)
        end

        outcome.refused()
    end
end


local function c_named()
    local entry = any_handle()
    local name = arguments.name(requests.names)

    out[0].data = poison
    out[0].len = 1000
    check_text("C named", name, entry, C.fuzz_named(handle_words, name, #name, out))
end


-- what value and requests.current return
local TEXT, NUMBER, NIL = 0, 1, 2
local typed_out = ffi.new("fuzz_out_t")

local function check_value(what, name, entry, rc)
    if entry then
        local value

        if rc == TEXT then
            value = ffi.string(typed_out.data, typed_out.len)
        elseif rc == NUMBER then
            value = typed_out.number
        elseif rc == AGAIN and name ~= name:lower() then
            name = ""
        elseif rc ~= NIL then
            return wrong(what, name, rc)
        end

        return check_served(what, name, entry, value)
    end

    if rc ~= ERROR or typed_out.len ~= 1000 then
        return wrong(what .. ": not refused", name, rc)
    end

    outcome.refused()
end


local function c_value()
    local entry = any_handle()
    local name = arguments.name(requests.names)

    typed_out.data, typed_out.len = poison, 1000
    check_value("C value", name, entry, C.fuzz_value(handle_words, name, #name, typed_out))
end


local function c_current()
    local address, entry = any_address()
    local name = arguments.name(requests.names)

    typed_out.data, typed_out.len = poison, 1000
    check_value("C current", name, entry,
                C.fuzz_current(address, name, #name, below(3), typed_out))
end


local function c_upstream_seconds()
    local entry = any_handle()
    local seconds = C.fuzz_upstream_seconds(handle_words, below(8) - 2)
    local is_right

    if entry and entry.upstream then
        is_right = seconds >= 0
    else
        is_right = seconds == (entry and -1 or -2)
    end

    if not is_right then
        return wrong("C upstream_seconds", seconds)
    end

    outcome.served_if(entry)
end


local layout = ffi.new("uint64_t[64]")

local function c_layout()
    C.fuzz_layout(below(2) == 0 and layout or nil)
    outcome.served()
end


-- Each function that takes a name, with a good handle.
local function with_name(handle, name)
    handle_words[0], handle_words[1] = handle.id, handle.generation

    resolve(name)
    C.fuzz_named(handle_words, name, #name, out)
    C.fuzz_value(handle_words, name, #name, typed_out)
end


-- Addresses of what the module itself works with.
local function module_memory()
    C.fuzz_layout(layout)

    local slots = layout[0]

    return { slots, slots + 48, slots + 1024 * 48, slots + 4096 * 1024 * 48 - 48 }
end


return {
    -- by name, after ngx_http_lua_var_ffi_
    tried = { "uri", "host", "remote_addr", "scheme", "request_time",
              "upstream_response_time", "ctx_lost", "ctx_made", "layout", "resolve", "text", "own",
              "named", "assign", "value", "current", "upstream_seconds" },
    -- more often those that take any address
    cases = {
        c_string "uri", c_string "host", c_string "remote_addr", c_string "scheme",
        c_string "uri", c_string "host", c_string "remote_addr", c_string "scheme",
        c_request_time, c_upstream_response_time, c_ctx, c_resolve, c_text, c_own, c_named,
        c_assign, c_value, c_current, c_current, c_upstream_seconds, c_layout,
    },
    with_name = with_name,
    module_memory = module_memory,
}
