-- The arguments of t/bin/fuzz: addresses, odd values, names. All are chosen by one
-- generator, so that a seed repeats a run.

local bit = require "bit"
local ffi = require "ffi"

local bxor, lshift, rshift = bit.bxor, bit.lshift, bit.rshift
local rep = string.rep

ffi.cdef[[
void *mmap(void *addr, size_t length, int prot, int flags, int fd, long offset);
int mprotect(void *addr, size_t length, int prot);
void *malloc(size_t size);
void free(void *p);
int getpid(void);
typedef struct { uint32_t id; uint32_t generation; } fuzz_like_handle_t;
]]

local _M = {}

local u64 = ffi.typeof("uint64_t")
local void_pointer = ffi.typeof("void *")


-- numbers -------------------------------------------------------------------

local state = 1

-- xorshift; any seed but 0
function _M.seed(seed)
    state = bit.tobit(seed)

    if state == 0 then
        state = 1
    end
end


-- 0 … n - 1
local function below(n)
    state = bxor(state, lshift(state, 13))
    state = bxor(state, rshift(state, 17))
    state = bxor(state, lshift(state, 5))

    return state % n
end

_M.below = below


local words = ffi.new("uint32_t[2]")
local whole = ffi.cast("uint64_t *", words)

local function random64()
    words[0] = below(2 ^ 32)
    words[1] = below(2 ^ 32)

    return whole[0]
end


-- memory that is mapped, and wrong ------------------------------------------

local PAGE = 4096
local NONE, READ, READ_WRITE = 0, 1, 3
local PRIVATE_ANONYMOUS = 0x22


local function map(pages, protection)
    local p = ffi.C.mmap(nil, pages * PAGE, protection, PRIVATE_ANONYMOUS, -1, 0)

    assert(ffi.cast("intptr_t", p) ~= -1, "mmap")

    return ffi.cast("uint8_t *", p)
end


local function address(pointer)
    return ffi.cast("uint64_t", ffi.cast("uintptr_t", ffi.cast(void_pointer, pointer)))
end


local guard = map(4, NONE)
local read_only = map(1, READ)

-- read-only memory that begins like a request
local signed = map(1, READ_WRITE)
ffi.cast("uint32_t *", signed)[0] = 0x50545448      -- "HTTP"
ffi.cast("void **", signed)[1] = signed
assert(ffi.C.mprotect(signed, PAGE, READ) == 0)

-- a page before an unmapped one: reading a whole request there raises a signal
local edge = map(2, READ_WRITE)
assert(ffi.C.mprotect(edge + PAGE, PAGE, NONE) == 0)
for i = 0, PAGE / 8 - 1 do
    ffi.cast("uint64_t *", edge)[i] = 0x50545448
end

-- takes copies of live requests, bit for bit
local copies = map(2, READ_WRITE)
local REQUEST_SIZE = 1024       -- less than a request takes

local heap = ffi.C.malloc(PAGE)
local freed = ffi.C.malloc(1300)
ffi.C.free(freed)

local text = "HTTP" .. rep("\0", 2000)
local on_stack = ffi.new("uint8_t[2000]")


local fixed = {
    0ULL, 1ULL, 2ULL, 3ULL, 4ULL, 7ULL, 8ULL, 16ULL, 4095ULL, 4096ULL, 65536ULL,
    -1ULL, -2ULL, -3ULL, -4ULL, -8ULL, -16ULL, -4096ULL,
    0x50545448ULL, 0x5054544850545448ULL, 0xdeadbeefULL, 0xa5a5a5a5a5a5a5a5ULL,
    0x00007fffffffffffULL, 0x00007ffffffff000ULL,       -- the last of a process
    0x0000800000000000ULL, 0x0000ffffffffffffULL,       -- not canonical
    0x8000000000000000ULL, 0x7fffffffffffffffULL, 0xffff7fffffffffffULL,
    0xffff800000000000ULL, 0xffff888000000000ULL, 0xffffffff80000000ULL,   -- the kernel's
    0xffffffffff600000ULL,                              -- vsyscall
    address(guard), address(guard) + 4 * PAGE - 1, address(read_only),
    address(read_only) + PAGE - 8, address(signed), address(signed) + PAGE - 8,
    address(edge), address(heap), address(freed),
    address(ffi.cast("const char *", text)), address(on_stack),
    address(ffi.C.getpid), address(ffi.C.malloc),
}

for distance = 1, 64 do
    fixed[#fixed + 1] = address(edge) + PAGE - distance
end

-- Base addresses, around which any offset and alignment is tried. The first ones stay, the
-- others are those of a batch.
local bases = {
    address(guard), address(read_only), address(signed), address(edge), address(copies),
    address(heap), address(freed), address(ffi.cast("const char *", text)),
    address(on_stack), address(ffi.C.getpid),
}
local lasting_bases = #bases


-- Sets a batch's bases: addresses of live requests, of ended ones, of the module's memory.
function _M.prepare(live, ended, module_memory)
    for i = #bases, lasting_bases + 1, -1 do
        bases[i] = nil
    end

    for n, request in ipairs(live) do
        local words_of = ffi.cast("uint64_t *", ffi.cast(void_pointer, request))

        bases[#bases + 1] = request

        -- connection, ctx, configurations, upstream, pool, …: all begin like this
        for i = 1, 24 do
            bases[#bases + 1] = words_of[i]
        end

        if n <= 4 then
            ffi.copy(copies + (n - 1) * REQUEST_SIZE, ffi.cast(void_pointer, request), REQUEST_SIZE)
            bases[#bases + 1] = address(copies + (n - 1) * REQUEST_SIZE)
        end
    end

    for _, request in ipairs(ended) do
        bases[#bases + 1] = request
    end

    for _, memory in ipairs(module_memory) do
        bases[#bases + 1] = memory
    end
end


-- An address, as uint64_t.
function _M.address()
    local kind = below(16)

    if kind < 3 then
        return fixed[below(#fixed) + 1]
    end

    if kind < 8 then
        return bases[below(#bases) + 1]
    end

    if kind < 13 then
        return bases[below(#bases) + 1] + u64(below(2304)) - 256ULL
    end

    if kind < 15 then
        return bit.lshift(1ULL, below(64)) + u64(below(17)) - 8ULL
    end

    return random64()
end


-- values that are no request at all -----------------------------------------

local odd = {}
local odd_count = 0

local function add_odd(...)
    for i = 1, select("#", ...) do
        odd_count = odd_count + 1
        odd[odd_count] = (select(i, ...))
    end
end


-- once resty.ngxvar is loaded
function _M.prepare_odd()
    local hostile = { __index = error, __tostring = error, __len = error, __eq = error }

    add_odd(
        true, false, 0, 1, -1, 2 ^ 53, 2 ^ 63, 1 / 0, -1 / 0, 0 / 0, 1e-300,
        "", "request", rep("\1", 8), rep("\1\0\0\0", 2), tostring(address(heap)), rep("x", 4096),
        {}, { id = 0, generation = 1 }, setmetatable({}, hostile),
        print, function () end, coroutine.create(print),
        ngx.null, io.stdout, newproxy(true), debug.upvalueid(add_odd, 1),
        1LL, 1ULL, -1LL, ffi.new("int"), ffi.new("double", 1), ffi.new("bool", true),
        ffi.new("complex"), ffi.new("char[8]"), ffi.new("uint64_t[1]"), ffi.new("void *[1]"),
        ffi.new("fuzz_like_handle_t", 0, 1), ffi.typeof("int"), ffi.C.getpid, ffi.C,
        ffi.cast("const void *", heap), ffi.cast("char *", heap), ffi.cast("void **", heap),
        ffi.cast("ngx_http_request_t **", heap), ffi.cast("uintptr_t", heap),
        ffi.new("struct { char a[65536]; }"), ffi.new("__attribute__((aligned(64))) int[16]"),
        ffi.new("ngx_str_t"), ffi.new("enum { FUZZ_ZERO }")
    )
end


function _M.odd()
    return odd[below(odd_count) + 1]
end


-- names ---------------------------------------------------------------------

local MEGABYTE = 2 ^ 20

local plain_names = {
    "args", "query_string", "is_args", "request_uri", "request", "server_name",
    "server_protocol", "status", "request_time", "request_length", "bytes_sent",
    "body_bytes_sent", "upstream_response_time", "upstream_header_time",
    "upstream_connect_time", "upstream_addr", "upstream_status", "connection",
    "connection_requests", "server_port", "server_addr", "remote_port", "msec",
    "https", "request_id", "request_filename", "document_root", "realpath_root",
    "request_body", "request_body_file", "content_length", "content_type", "nginx_version",
    "pid", "hostname", "time_iso8601", "tcpinfo_rtt", "proxy_host", "ssl_protocol",
    "ssl_cipher", "http_user_agent", "http_cookie", "http_x_forwarded_for",
    "sent_http_content_type", "sent_http_connection", "upstream_http_server",
    "arg_none", "cookie_none", "http_none", "limit_rate", "from_error_page",
    "fuzz_map", "fuzz_map_regex", "fuzz_geo",
}

local junk_names = {
    "", "\0", "uri\0", "\0uri", "u\0ri", "$uri", "uri ", " uri", "uri\n", "Uri", "URI",
    "\255", "\255\254\253", "arg_\255", "http_\0", "\195\188ri", "\237\160\128",
    "http_", "arg_", "cookie_", "sent_http_", "sent_trailer_", "upstream_http_",
    "upstream_cookie_", "upstream_trailer_", "HTTP_X_ID", "0", "1", "-1", "1e309",
    -- parts of what t/bin/fuzz sends that are no names of arguments, cookies or headers
    "arg_a&b", "ARG_A&B", "arg_b=1", "cookie_id\0", "cookie_\0id", "http_x_id\0", "cookie_c;d",
    "%s%n%p", "lua_var", "_", rep("_", 64), rep("a", 15), rep("a", 16), rep("a", 17),
    rep("A", 255), rep("A", 256), rep("A", 257), rep("\0", 300), "arg_" .. rep("x", 5000),
    "HTTP_" .. rep("Y", 300), rep("request_", 100),
}

local huge_names = {
    rep("x", MEGABYTE), rep("X", MEGABYTE), "http_" .. rep("x", MEGABYTE),
    "ARG_" .. rep("X", MEGABYTE), "cookie_" .. rep("\255", MEGABYTE), rep("\0", MEGABYTE),
    "sent_http_" .. rep("_", MEGABYTE), "upstream_http_" .. rep("x", MEGABYTE),
}


-- A name: one whose value the caller knows, or another.
function _M.name(known)
    local kind = below(16)

    if kind < 7 then
        return known[below(#known) + 1]
    end

    if kind < 11 then
        return plain_names[below(#plain_names) + 1]
    end

    if kind < 14 then
        return junk_names[below(#junk_names) + 1]
    end

    if kind == 14 then
        return "unknown_" .. below(2 ^ 32)
    end

    if below(256) == 0 then
        return huge_names[below(#huge_names) + 1]
    end

    -- a good name with one byte changed
    local name = known[below(#known) + 1]
    local at = below(#name) + 1

    return name:sub(1, at - 1) .. string.char(below(256)) .. name:sub(at + 1)
end


local bad_names = { n = 6, nil, true, {}, print, 1LL, ngx.null }

-- A value that is no name.
function _M.no_name()
    return bad_names[below(bad_names.n) + 1]
end


local numbers = { 0, 1, 2, 3, 9, -1, 0.5, 1e9, 2 ^ 31, 2 ^ 32, 2 ^ 53, 2 ^ 62, 2 ^ 63, 2 ^ 64,
                  -2 ^ 63, 1e300, -1e300, 1 / 0, -1 / 0, 0 / 0, 1e-300 }

-- A number that stands for a capture.
function _M.capture()
    return numbers[below(#numbers) + 1]
end


-- what variables are set to -------------------------------------------------

local recursive = setmetatable({}, {
    __tostring = function ()
        return tostring(require("resty.ngxvar").fetch("uri"))
    end,
})

local raising = setmetatable({}, { __tostring = function () error("no text") end })
local yielding = setmetatable({}, { __tostring = function () coroutine.yield() end })
local silent = setmetatable({}, { __tostring = function () return nil end })

local values = { "", "a", "\0", "a\0b", "\255", "%V", rep("v", 300), rep("v", 70000),
                 0, -1, 1.5, 0 / 0, 1 / 0, true, false, 1LL, print,
                 recursive, raising, yielding, silent }

function _M.value()
    local n = below(#values + 1)

    return values[n]    -- nil for 0
end


return _M
