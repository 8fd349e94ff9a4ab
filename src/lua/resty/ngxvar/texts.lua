-- Texts that come again.
--
-- To make a Lua string of a text, LuaJIT hashes it, looks for it among all strings
-- and compares it with what it finds. A variable that is read in a loop mostly has
-- the value that it had before; to compare it with a copy of that takes a trace a
-- few instructions, and is as exact. The interpreter would take longer for them
-- than for all the rest, so it makes strings as ever, and only keeps the copy.

local core = ...

local ffi = require "ffi"

local copy_to = ffi.copy
local ffi_string = ffi.string
local max = math.max
local min = math.min

local bytes_p = ffi.typeof("const uint8_t *")
local word_p = ffi.typeof("const int64_t *")

-- a text is compared as its first and its last sixteen bytes, eight at a time,
-- which overlap where it is shorter than that
local SHORTEST = 8
local LONGEST = 32

-- see resty.ngxvar
local on_trace = false


-- Of these there is one closure each, of text() below many: LuaJIT takes upvalues
-- for constants only in the former.

local function is_compiled()
    return on_trace
end


local function is_same(one, other, offset)
    return ffi.cast(word_p, one + offset)[0] == ffi.cast(word_p, other + offset)[0]
end


-- Both of this length, which is neither too short nor too long.
local function are_equal(data, copied, len)
    local bytes = ffi.cast(bytes_p, data)
    local tail = len - 8

    return is_same(bytes, copied, 0) and is_same(bytes, copied, min(8, tail))
           and is_same(bytes, copied, max(tail - 8, 0))
           and is_same(bytes, copied, tail)
end


local function can_be_kept(len)
    return len >= SHORTEST and len <= LONGEST
end


-- A function that makes strings of texts; one for each variable.
local function new()
    local copy = ffi.new("uint8_t[?]", LONGEST)
    local copied = ffi.cast(bytes_p, copy)
    local last, last_len

    return function (data, len)
        if is_compiled() and len == last_len and are_equal(data, copied, len) then
            return last
        end

        local made = ffi_string(data, len)

        if made ~= last and can_be_kept(len) then
            copy_to(copy, made, len)
            last, last_len = made, len
        end

        return made
    end
end


core.watch(is_compiled)

return new
