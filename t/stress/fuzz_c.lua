-- The fuzzer's cases for the C functions, as LuaJIT's FFI calls them.

local ffi = require "ffi"
local arguments = require "fuzz_arguments"
local outcome = require "fuzz_outcome"
local requests = require "fuzz_requests"

local C = ffi.C
local below = arguments.below
local check_served = outcome.check_served
local wrong = outcome.wrong

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
]]

local OK, ERROR = 0, -1

local out = ffi.new("ngx_str_t[1]")
local poison = ffi.cast("uint8_t *", 16)
local BUF = 32
local buf = ffi.new("uint8_t[?]", BUF + 16)


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


-- Addresses of the module's own memory: its code, and beside it.
local function module_memory()
    local code = ffi.cast("uint64_t", ffi.cast("uintptr_t", ffi.cast("void *", C.fuzz_uri)))

    return { code, code - 0x1000, code + 0x10000, code + 0x40000 }
end


return {
    -- by name, after ngx_http_lua_var_ffi_
    tried = { "uri", "host", "remote_addr", "scheme", "request_time",
              "upstream_response_time" },
    -- more often those that take any address
    cases = {
        c_string "uri", c_string "host", c_string "remote_addr", c_string "scheme",
        c_string "uri", c_string "host", c_string "remote_addr", c_string "scheme",
        c_request_time, c_upstream_response_time,
    },
    module_memory = module_memory,
}
