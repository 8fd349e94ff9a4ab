-- A cache of the string that was made last, for values that repeat.
--
-- To make a Lua string of bytes, LuaJIT hashes them, looks for the hash among all strings
-- and compares the bytes. A variable that is read in a loop mostly has the value that it had
-- before. To compare the bytes with a copy of the last value is as exact, and takes a trace
-- only a few instructions. In the interpreter it would be slow, see resty.ngxvar.trace.

local ffi = require "ffi"

local copy_to = ffi.copy
local ffi_string = ffi.string
local max = math.max
local min = math.min

local bytes_p = ffi.typeof("const uint8_t *")
local word_p = ffi.typeof("const int64_t *")

-- The first and the last sixteen bytes are compared, eight at a time. In a shorter string
-- they overlap.
local SHORTEST = 8
local LONGEST = 32


local function is_same(one, other, offset)
    return ffi.cast(word_p, one + offset)[0] == ffi.cast(word_p, other + offset)[0]
end


-- Whether `data` and `copied` are equal. Both have this length, for which can_be_cached() is
-- true.
local function are_equal(data, copied, len)
    local bytes = ffi.cast(bytes_p, data)
    local tail = len - 8

    return is_same(bytes, copied, 0) and is_same(bytes, copied, min(8, tail))
           and is_same(bytes, copied, max(tail - 8, 0))
           and is_same(bytes, copied, tail)
end


local function can_be_cached(len)
    return len >= SHORTEST and len <= LONGEST
end


-- Returns a function that makes a string of `len` bytes at `data`. Each variable has its own.
return function ()
    local copy = ffi.new("uint8_t[?]", LONGEST)
    local copied = ffi.cast(bytes_p, copy)
    local last, last_len
    -- the number of copies made; it shows whether a finalizer has made one during a
    -- comparison, which is possible if a trace is left there
    local copies = 0

    return function (data, len)
        if len == last_len then
            local before = copies

            if are_equal(data, copied, len) and copies == before then
                return last
            end
        end

        local made = ffi_string(data, len)

        if made ~= last and can_be_cached(len) then
            copies = copies + 1
            copy_to(copy, made, len)
            last, last_len = made, len
        end

        return made
    end
end
