-- Values that name no request, for the tests of request arguments.
--
--     for _, stranger in ipairs(require("strangers").all()) do
--         f(stranger.value)   -- stranger.label says what it is
--     end
--
-- refused(f) does this and returns "refused" if f refused all of them.

local ffi = require "ffi"
local base = require "resty.core.base"

ffi.cdef[[
void *malloc(size_t size);
void free(void *p);
void *mmap(void *addr, size_t len, int prot, int flags, int fd, long offset);
int munmap(void *addr, size_t len);

typedef struct { uint64_t a; uint64_t b; } stranger_struct_t;
typedef struct { uint8_t a; } stranger_byte_t;
typedef union { uint64_t a; void *p; } stranger_union_t;
typedef enum { STRANGER_ENUM } stranger_enum_t;
]]

local C = ffi.C
local _M = {}


local function adder()
    local list = {}

    return list, function (label, value)
        list[#list + 1] = { label = label, value = value }
    end
end


-- Addresses at which there is no request, or not the beginning of one.
local function addresses()
    local list, add = adder()

    -- Freed at once: the memory is the allocator's, or another request's.
    local block = C.malloc(4096)
    ffi.fill(block, 4096, 0x48)
    local freed = tonumber(ffi.cast("uintptr_t", block))
    C.free(block)

    -- PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS; a page that is gone by the next line
    local page = C.mmap(nil, 4096, 1, 0x22, -1, 0)
    local unmapped = tonumber(ffi.cast("uintptr_t", page))
    C.munmap(page, 4096)

    add("null", 0)
    add("one", 1)
    add("freed", freed)
    add("unmapped", unmapped)
    add("unmapped, misaligned", unmapped + 3)
    add("the highest address", -1)
    add("not canonical", 0x123456789abcdef)

    -- static data and code of the process
    add("code", tonumber(ffi.cast("uintptr_t",
                                  ffi.cast("void *", C.ngx_http_lua_ffi_get_ctx_ref))))

    local r = base.get_request()

    if r then
        local at = tonumber(ffi.cast("uintptr_t", r))

        -- into the request, and beside it
        for _, offset in ipairs { 1, 2, 3, 4, 7, 8, 16, 64, 512, 1024, 4096,
                                  -1, -8, -16, -80, -4096 }
        do
            add("the current request's " .. string.format("%+d", offset),
                at + offset)
        end

        -- r->connection, r->ctx and the other members at the beginning
        local words = ffi.cast("uintptr_t *", r)

        for word = 0, 11 do
            add("member " .. word .. " of the current request",
                tonumber(words[word]))
        end
    end

    return list
end


-- The addresses as both types of pointers that a request may have.
function _M.pointers()
    local list, add = adder()

    for _, entry in ipairs(addresses()) do
        local address = ffi.cast("uintptr_t", ffi.cast("int64_t", entry.value))

        for _, ctype in ipairs { "void *", "ngx_http_request_t *" } do
            add(ctype .. ", " .. entry.label, ffi.cast(ctype, address))
        end
    end

    return list
end


-- Pointers of other types, and cdata that is no pointer.
local function cdata()
    local list, add = adder()
    local struct = ffi.new("stranger_struct_t", 1, 1)

    for _, ctype in ipairs { "int8_t", "uint8_t", "int16_t", "int32_t", "uint32_t",
                             "int64_t", "uint64_t", "float", "double", "complex",
                             "bool", "stranger_enum_t", "stranger_struct_t",
                             "stranger_byte_t", "stranger_union_t", "char[1]",
                             "char[8]", "char[4096]", "uint64_t[1]",
                             "void *[1]", "struct { int a; }" }
    do
        add(ctype, ffi.new(ctype))
    end

    add("char[?]", ffi.new("char[?]", 16))
    add("int64_t -1", ffi.new("int64_t", -1))
    add("a VLA of none", ffi.new("char[?]", 0))
    add("a callback's type", ffi.cast("int (*)(void)", 0))
    add("a function", C.malloc)
    add("a ctype", ffi.typeof("void *"))
    add("a struct's reference", ffi.new("stranger_struct_t[2]")[1])

    for _, ctype in ipairs { "char *", "const char *", "const void *", "void **",
                             "int *", "ngx_str_t *", "stranger_struct_t *",
                             "ngx_http_request_t **" }
    do
        add(ctype, ffi.cast(ctype, struct))
        add(ctype .. ", null", ffi.cast(ctype, nil))
    end

    -- the current request as a pointer of another type
    local r = base.get_request()

    if r then
        for _, ctype in ipairs { "char *", "const void *", "stranger_struct_t *",
                                 "uintptr_t", "int64_t" }
        do
            add("the current request as " .. ctype, ffi.cast(ctype, r))
        end

        local array = ffi.new("ngx_http_request_t *[1]")
        array[0] = ffi.cast("ngx_http_request_t *", r)
        add("the current request in an array", array)
        add("the current request's address, a number",
            tonumber(ffi.cast("uintptr_t", r)))
        add("the current request's address, a string", tostring(r))
    end

    -- a live handle in another form
    local handle = require("resty.ngxvar").request()

    if handle then
        local id, generation = tostring(handle):match("(%d+)/(%d+)")
        local words = ffi.new("uint32_t[2]", tonumber(id), tonumber(generation))

        add("a handle's numbers", words)
        add("a pointer to a handle's numbers", ffi.cast("void *", words))
        add("a handle's 64 bits", ffi.cast("uint64_t *", words)[0])
        add("a handle's text", tostring(handle))
        add("a handle in a table", { handle })
        add("a handle's metatable", debug.getmetatable(handle))
    end

    return list
end


local function values()
    local list, add = adder()

    for _, number in ipairs { 0, 1, -1, 0.5, 2^31, 2^53, 1e308, -1e308,
                              1/0, -1/0, 0/0 }
    do
        add("number " .. tostring(number), number)
    end

    add("false", false)
    add("true", true)
    add("empty string", "")
    add("string", "request: 0/1")
    add("binary string", "\0\0\0\0\1\0\0\0")
    add("long string", ("x"):rep(100000))
    add("table", {})
    add("table with a metatable",
        setmetatable({}, { __index = function () error("touched") end,
                           __tostring = function () error("touched") end }))
    add("function", function () end)
    add("C function", print)
    add("thread", coroutine.create(function () end))
    add("main or entry thread", coroutine.running() or false)
    add("userdata", io.stdout)
    add("empty userdata", newproxy(true))
    add("light userdata, null", ngx.null)
    local upvalue = list
    add("light userdata", debug.upvalueid(function () return upvalue end, 1))
    add("ngx", ngx)
    add("ngx.var", ngx.var)

    return list
end


-- Everything but nil, which is the current request.
function _M.all()
    local list = {}

    for _, part in ipairs { values(), cdata(), _M.pointers() } do
        for _, entry in ipairs(part) do
            list[#list + 1] = entry
        end
    end

    return list
end


-- Calls check(value) with all of them, each "times" times; it has to return nil or false, and
-- a string.  Returns those for which it did not.
function _M.refused(check, times)
    local bad = {}
    local count = 0

    local function try(label, value)
        local ok, result, err, more

        for _ = 1, times or 1 do
            ok, result, err, more = pcall(check, value)

            if not ok or result then
                break
            end
        end

        count = count + 1

        if not ok or result or type(err) ~= "string" or err == ""
           or more ~= nil
        then
            bad[#bad + 1] = label .. ": " .. tostring(ok) .. " " .. tostring(result)
                            .. " " .. tostring(err)
        end
    end

    for _, entry in ipairs(_M.all()) do
        try(entry.label, entry.value)
    end

    collectgarbage()

    if #bad == 0 then
        return count >= 149 and "refused" or "only " .. count .. " tried"
    end

    return table.concat(bad, "\n")
end


return _M
