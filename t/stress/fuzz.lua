-- The cases of t/bin/fuzz, run inside a nginx worker.
--
-- A case is one call of one function with arguments of which some are wrong. What
-- has to come of it is known beforehand: the test keeps its own list of the live
-- requests, with their handles, addresses and values. Whatever names one of them
-- gives that request's values, and everything else is refused.

local ffi = require "ffi"
local arguments = require "fuzz_arguments"
local base = require "resty.core.base"
local ngxvar = require "resty.ngxvar"

local C = ffi.C
local below = arguments.below
local fetch, set, live = ngxvar.fetch, ngxvar.set, ngxvar.live

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
int64_t fuzz_resolve(const uint32_t *handle, const char *name, size_t len, int *index)
    __asm__("ngx_http_lua_var_ffi_resolve");
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

double ngx_http_lua_var_testing_figure(uint32_t which);
int ngx_http_lua_var_testing_age(uint32_t id);
void *mmap(void *addr, size_t length, int prot, int flags, int fd, long offset);
int open(const char *path, int flags, int mode);
]]

local _M = {}

local OK, ERROR, AGAIN, DECLINED = 0, -1, -2, -5
local FAKE = "no variables in this context"


-- the live requests ---------------------------------------------------------

local by_id = {}            -- id of a slot -> entry
local by_address = {}       -- address, as a number -> entry
local ended = {}            -- entries, the newest ENDED
local ENDED = 200
local ended_count = 0
local handle_t


local function address_of_current()
    local r = base.get_request()

    return r and ffi.cast("uint64_t", ffi.cast("uintptr_t", r))
end


-- Notes the current request as live. expected: values of variables, by name.
local function enter(expected, marker)
    local handle = assert(ngxvar.request())
    local address = address_of_current()

    handle_t = handle_t or ffi.typeof(handle)

    local entry = {
        id = handle.id, generation = handle.generation, handle = handle,
        address = address, expected = expected, marker = marker,
    }

    by_id[entry.id] = entry
    by_address[tonumber(address)] = entry

    return entry
end


local function leave(entry)
    by_id[entry.id] = nil
    by_address[tonumber(entry.address)] = nil
    ended[ended_count % ENDED + 1] = entry
    ended_count = ended_count + 1
end


local function of_handle(id, generation)
    local entry = by_id[id]

    return entry and entry.generation == generation and entry or nil
end


-- what came of it -----------------------------------------------------------

local totals = { cases = 0, served = 0, refused = 0, wrong = 0, ended = 0, reports = {} }
local case, current

-- Where a crash can be looked up: batch's seed, number of the case, of the
-- function, and the address, in a file that outlives the worker.
local trace

function _M.init_worker(file)
    local fd = C.open(file, 0x42, 384)      -- O_RDWR | O_CREAT
    local io_file = assert(io.open(file, "w"))

    io_file:write(("\0"):rep(4096))
    io_file:close()

    trace = ffi.cast("uint64_t *", C.mmap(nil, 4096, 3, 1, fd, 0))
end


local function wrong(what, ...)
    local parts = {}

    for i = 1, select("#", ...) do
        parts[i] = tostring((select(i, ...))):sub(1, 200)
    end

    totals.wrong = totals.wrong + 1

    if #totals.reports < 10 then
        totals.reports[#totals.reports + 1] =
            ("case %d of %s, %s: %s"):format(case, current and current.marker or "no request",
                                             what, table.concat(parts, ", "))
    end
end


-- No text may be of another request: each has a marker of its own in all of its.
local function check_marker(what, text, entry)
    local marker = text:match("id%-%d+")

    if marker and marker ~= entry.marker then
        wrong(what .. ": another request's text", text, entry.marker)
    end
end


-- nil and why
local function check_refused(what, value, err)
    if value ~= nil or type(err) ~= "string" or err == "" then
        return wrong(what .. ": not refused", value, err)
    end

    totals.refused = totals.refused + 1
end


local function check_served(what, name, entry, value)
    local wanted = entry.expected[name]
    local kind = type(value)

    if wanted and value ~= wanted then
        return wrong(what .. ": " .. name, value, wanted)
    end

    if kind == "string" then
        check_marker(what, value, entry)
    elseif kind ~= "nil" and kind ~= "number" then
        wrong(what .. ": type", kind)
    end

    totals.served = totals.served + 1
end


-- the Lua functions ---------------------------------------------------------

local known                 -- handles of live and ended requests
local names                 -- whose values are known


-- A request argument of any kind, and the entry it names.
local function request_argument()
    local kind = below(8)

    if kind == 0 then
        return arguments.odd()
    end

    if kind < 3 then
        local address = arguments.address()
        local pointer = ffi.cast(kind == 1 and "void *" or "ngx_http_request_t *", address)

        -- bare pointers are good for the running request only
        if current and address == current.address then
            return pointer, current
        end

        return pointer
    end

    if kind == 3 and current then
        return current.handle, current
    end

    local id, generation = arguments.handle(known)

    return handle_t(id, generation), of_handle(id, generation)
end


local function check_fetched(what, name, entry, value, err)
    if not entry or entry.fake then
        return check_refused(what, value, err)
    end

    if err ~= nil then
        return wrong(what .. ": refused", name, err)
    end

    check_served(what, name:lower(), entry, value)
end


local function lua_fetch()
    local name = arguments.name(names)
    local req, entry = request_argument()

    check_fetched("fetch", name, entry, fetch(name, req))
end


local function lua_fetch_current()
    local name = arguments.name(names)

    check_fetched("fetch of the current", name, current, fetch(name))
end


local function lua_capture()
    local req, entry = request_argument()
    local value, err = fetch(arguments.capture(), req)

    if not entry or entry.fake then
        return check_refused("capture", value, err)
    end

    check_served("capture", "", entry, value)
end


local function lua_bad_name()
    local req = request_argument()

    -- no name: an error, unless the request is refused first
    local ok, value, err = pcall(fetch, arguments.no_name(), req)

    if ok then
        return check_refused("bad name", value, err)
    end

    totals.refused = totals.refused + 1
end


local settable = { "fuzz_set", "Fuzz_Set", "FUZZ_SET", "limit_rate" }
local limit_rates = { "0", "x", "", "-", "18446744073709551616" }

-- What the other cases expect has to stay as it is.
local untouchable = { args = true, from_error_page = true }

local function value_for(name)
    if name == "limit_rate" then
        return limit_rates[below(#limit_rates) + 1]
    end

    return arguments.value()
end


-- What set or a setter said.
local function check_set(what, entry, name, value, ok, done, err)
    if not ok then
        -- the error of a __tostring
        totals.refused = totals.refused + 1
        return
    end

    if not entry or entry.fake or done == nil then
        return check_refused(what, done, err)
    end

    if done ~= true then
        return wrong(what, done, err)
    end

    if name:lower() == "fuzz_set" and type(value) ~= "table" then
        local got = fetch("fuzz_set", entry.handle)
        local wanted = value ~= nil and tostring(value) or nil

        if got ~= wanted then
            return wrong(what .. ", then fetch", got, wanted)
        end
    end

    totals.served = totals.served + 1
end


local function lua_set()
    local req, entry = request_argument()
    local name = arguments.name(names)

    if below(2) == 0 or untouchable[name:lower()] then
        name = settable[below(#settable) + 1]
    end

    local value = value_for(name)

    check_set("set", entry, name, value, pcall(set, name, value, req))
end


local setters = {}

local function lua_setter()
    local req, entry = request_argument()
    local name = settable[below(#settable) + 1]
    local value = value_for(name)

    setters[name] = setters[name] or ngxvar.setter(name)
    check_set("setter", entry, name, value, pcall(setters[name], value, req))
end


local function lua_live()
    local req, entry = request_argument()
    local is_live, err = live(req)

    if entry then
        totals.served = totals.served + 1

        if is_live ~= true then
            wrong("live", is_live, err)
        end

    else
        totals.refused = totals.refused + 1

        if is_live ~= false or type(err) ~= "string" then
            wrong("live: not refused", is_live, err)
        end
    end
end


local function lua_request()
    local handle, err = ngxvar.request()

    if not handle or handle.id ~= current.id or handle.generation ~= current.generation then
        return wrong("request", handle, err)
    end

    if not tostring(handle):find("request", 1, true) then
        return wrong("tostring of a handle", tostring(handle))
    end

    totals.served = totals.served + 1
end


local getters = {}

local function lua_getter()
    local name = arguments.name(names)
    local get = getters[name] or ngxvar.getter(name)
    local req, entry = request_argument()

    -- as a program would: getters for a handful of names
    if names[name] then
        getters[name] = get
    end

    local ok, value, err = pcall(get, req)

    if not ok then
        return wrong("getter: error", value)
    end

    check_fetched("getter", name, entry, value, err)
end


-- ngx.var after patch_ngx_var()
local function lua_var()
    local ok, value = pcall(function () return ngx.var[arguments.name(names)] end)

    if ok and type(value) == "string" and current and not current.fake then
        check_marker("ngx.var", value, current)
    end

    totals[ok and "served" or "refused"] = totals[ok and "served" or "refused"] + 1
end


-- the C functions -----------------------------------------------------------

local out = ffi.new("ngx_str_t[1]")
local poison = ffi.cast("uint8_t *", 16)
local BUF = 32
local buf = ffi.new("uint8_t[?]", BUF + 16)
local handle_words = ffi.new("uint32_t[2]")


-- An address, and the entry of the request that is there. Bare addresses have no
-- generation: the C functions serve any live request.
local function any_address()
    local address = arguments.address()
    local entry = by_address[tonumber(address)]

    trace[3] = address

    if entry and (entry.fake or entry.address ~= address) then
        entry = nil
    end

    return address, entry
end


local function c_string(name)
    local fill = C["fuzz_" .. name]

    return function ()
        local address, entry = any_address()

        if below(16) == 0 then
            if fill(address, nil) ~= ERROR then
                wrong(name .. " without a place for it")
            end

            totals.refused = totals.refused + 1
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

        totals.refused = totals.refused + 1
    end
end


local function check_time(what, address, entry, rc, is_null)
    if entry and not is_null then
        local text = rc > 0 and ffi.string(buf, rc)

        if not text or rc > BUF or not text:find("^%d+%.%d%d%d$") then
            return wrong(what, address, rc)
        end

        totals.served = totals.served + 1

    else
        if rc ~= ERROR then
            return wrong(what .. ": not refused", address, rc)
        end

        totals.refused = totals.refused + 1
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
    if not by_address[tonumber(address)] then
        C.fuzz_ctx_made(address, below(2 ^ 31), below(4), below(2))
    end

    -- none of the requests here was redirected
    local lost = C.fuzz_ctx_lost(address, below(4) == 0 and below(2 ^ 31) or 0)

    if lost ~= 0 then
        return wrong("C ctx_lost", address, lost)
    end

    if current and not current.fake and ngx.ctx.marker ~= current.marker then
        return wrong("ngx.ctx", ngx.ctx.marker)
    end

    totals.refused = totals.refused + 1
end


local function any_handle()
    local id, generation = arguments.handle(known)

    handle_words[0], handle_words[1] = id, generation

    local entry = of_handle(id, generation)

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

        totals.served = totals.served + 1
        return
    end

    if rc ~= ERROR or out[0].len ~= 1000 then
        return wrong(what .. ": not refused", name, rc)
    end

    totals.refused = totals.refused + 1
end


local index = ffi.new("int[1]")

-- The number of a variable, and its name; or any number.
local function any_number()
    local name = arguments.name(names)
    local number = C.fuzz_resolve(handle_words, name, #name, index)

    if number < 0 then
        return below(2 ^ 32), ""
    end

    return tonumber(number), name
end


local function c_resolve()
    local entry = any_handle()
    local name = arguments.name(names)

    index[0] = -1000

    local number = C.fuzz_resolve(handle_words, name, #name, index)

    if number < -1 or number > 2 ^ 32 - 1 or index[0] < -1 or index[0] > 1000
       or not entry and (number ~= -1 or index[0] ~= -1)
    then
        return wrong("C resolve", name, number, index[0])
    end

    totals[entry and "served" or "refused"] = totals[entry and "served" or "refused"] + 1
end


local function c_text()
    local entry = any_handle()
    local number, name = any_number()

    out[0].data = poison
    out[0].len = 1000
    check_text("C text", name, entry, C.fuzz_text(handle_words, number, out))
end


local function c_assign()
    local entry = any_handle()
    local number, name = 0, "fuzz_set"

    if entry and below(2) == 0 then
        number = C.fuzz_resolve(handle_words, name, #name, index)
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

        totals.served = totals.served + 1

    else
        if rc ~= ERROR then
            return wrong("C assign: not refused", rc)
        end

        totals.refused = totals.refused + 1
    end
end


local function c_named()
    local entry = any_handle()
    local name = arguments.name(names)

    out[0].data = poison
    out[0].len = 1000
    check_text("C named", name, entry, C.fuzz_named(handle_words, name, #name, out))
end


-- what value and current return
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

    totals.refused = totals.refused + 1
end


local function c_value()
    local entry = any_handle()
    local name = arguments.name(names)

    typed_out.data, typed_out.len = poison, 1000
    check_value("C value", name, entry, C.fuzz_value(handle_words, name, #name, typed_out))
end


local function c_current()
    local address, entry = any_address()
    local name = arguments.name(names)

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

    totals[entry and "served" or "refused"] = totals[entry and "served" or "refused"] + 1
end


local layout = ffi.new("uint64_t[64]")

local function c_layout()
    C.fuzz_layout(below(2) == 0 and layout or nil)
    totals.served = totals.served + 1
end


-- Each function of the module, more often those that take more.
local functions = {
    lua_fetch, lua_fetch, lua_fetch, lua_fetch, lua_fetch_current, lua_capture,
    lua_bad_name, lua_set, lua_setter, lua_live, lua_request, lua_var,
    lua_getter, lua_getter, lua_getter, lua_getter,
    c_string "uri", c_string "host", c_string "remote_addr", c_string "scheme",
    c_string "uri", c_string "host", c_string "remote_addr", c_string "scheme",
    c_request_time, c_upstream_response_time, c_ctx, c_resolve, c_text, c_named, c_assign,
    c_value, c_current, c_current, c_upstream_seconds, c_layout,
}

-- What exists in the module and is called above, for the program to compare.
_M.c_functions = {
    "uri", "host", "remote_addr", "scheme", "request_time", "upstream_response_time",
    "ctx_lost", "ctx_made", "layout", "resolve", "text", "named", "assign", "value", "current",
    "upstream_seconds",
}
_M.lua_functions = {
    "fetch", "set", "live", "request", "getter", "setter", "enable_patch", "patch_ngx_var",
}


-- batches -------------------------------------------------------------------

local function module_memory()
    C.fuzz_layout(layout)

    local slots = layout[0]
    local chunk = ffi.cast("uint64_t *", ffi.cast("void *", slots))[0]

    return { slots, chunk, chunk + 40, chunk + 1024 * 40 }
end


local function collect()
    local addresses, ended_addresses = {}, {}

    known = {}

    if current then
        addresses[1] = current.address
        known[1] = current
        known[2] = current
    end

    for _, entry in pairs(by_id) do
        addresses[#addresses + 1] = entry.address
        known[#known + 1] = entry
    end

    for _, entry in ipairs(ended) do
        known[#known + 1] = entry
        ended_addresses[#ended_addresses + 1] = entry.address
    end

    arguments.prepare(addresses, ended_addresses, module_memory())
end


-- Runs cases in the phase that calls it, for the request that is current there.
local function run(seed, count, entry, is_plain)
    current = entry
    arguments.seed(seed)
    collect()
    trace[0] = seed
    ngxvar.enable_patch(not is_plain)

    -- Interpreted and compiled, fetch and getters go different ways to the same value.
    if is_plain or seed % 4 == 0 then
        jit.off()
        jit.flush()
    end

    for n = 1, count do
        case = n
        local which = below(#functions) + 1

        trace[1] = n
        trace[2] = which

        functions[which]()
    end

    jit.on()
    ngxvar.enable_patch(true)
    totals.cases = totals.cases + count
    current = nil
end


local EXPECTED = { "document_uri", "host", "remote_addr", "scheme", "request_method",
                   "arg_id", "http_x_id", "cookie_id", "fuzz_id", "uri", "server_port" }

local function prepare_names()
    names = {}

    for i, name in ipairs(EXPECTED) do
        names[i] = name
        names[name] = true
        untouchable[name] = true
    end
end


-- What is known of a request by what it was sent with: everything has its id.
local function enter_real(uri)
    local marker = ngx.req.get_headers()["x-id"]

    local entry = enter({
        uri = uri, document_uri = uri, host = "host-" .. marker .. ".test",
        remote_addr = "127.0.0.1", scheme = "http", request_method = "GET",
        arg_id = marker, http_x_id = marker, cookie_id = marker, fuzz_id = marker,
        server_port = ngx.var.server_port,
    }, marker)

    ngx.ctx.marker = marker

    return entry
end


local function enter_fake()
    local entry = enter({}, FAKE)
    entry.fake = true
    return entry
end


-- The current request, live until its log phase; for a subrequest, which has no
-- log phase, until that of the main request, whose ngx.ctx it shares.
local function enter_until_log(key)
    local entry = enter_real(ngx.var.uri)

    ngx.ctx[key or "entry"] = entry

    return entry
end


local function seed_and_cases()
    local args = ngx.req.get_uri_args()

    return tonumber(args.seed), tonumber(args.cases), args.plain == "1"
end


-- rewrite, access, content
function _M.batch()
    local seed, cases, is_plain = seed_and_cases()

    run(seed, cases, enter_until_log(), is_plain)
end


function _M.batch_in_subrequest()
    enter_until_log()

    local res = ngx.location.capture("/inner", { args = ngx.var.args, ctx = ngx.ctx })

    ngx.exit(res.status)
end


function _M.inner_batch()
    local seed, cases, is_plain = seed_and_cases()

    run(seed, cases, enter_until_log("inner"), is_plain)
end


-- header_filter, body_filter: once in a request
function _M.batch_in_filter()
    if ngx.ctx.entry then
        return
    end

    local seed, cases, is_plain = seed_and_cases()
    local entry = enter_until_log()

    entry.upstream = ngx.var.upstream_addr ~= nil
    run(seed, cases, entry, is_plain)
end


function _M.batch_in_log()
    enter_until_log()
    ngx.ctx.cases_in_log = true
end


-- log phase of every request
function _M.log()
    local ctx = ngx.ctx

    if ctx.cases_in_log then
        local seed, cases, is_plain = seed_and_cases()
        run(seed, cases, ctx.entry, is_plain)
    end

    for _, key in ipairs { "inner", "entry" } do
        if ctx[key] then
            leave(ctx[key])
            totals.ended = totals.ended + 1
        end
    end
end


local function run_fake(seed, cases)
    local entry = enter({}, FAKE)

    entry.fake = true
    run(seed, cases, entry)
    leave(entry)
end


function _M.batch_in_timer()
    local seed, cases = seed_and_cases()
    local done = require("ngx.semaphore").new()

    enter_until_log()
    assert(ngx.timer.at(0, function ()
        run_fake(seed, cases)
        done:post()
    end))
    assert(done:wait(600))
end


local coming        -- what the next handshake is to run

function _M.handshake()
    if coming then
        local seed, cases = unpack(coming)

        coming = nil
        run_fake(seed, cases)
    end
end


function _M.batch_in_handshake(port)
    local sock = ngx.socket.tcp()

    enter_until_log()
    coming = { seed_and_cases() }
    sock:settimeout(600000)
    assert(sock:connect("127.0.0.1", port))
    assert(sock:sslhandshake(nil, "localhost", false))
    assert(coming == nil, "the handshake ran no Lua")
    sock:close()
end


-- Requests that stay, and end when their client leaves.
function _M.park()
    local entry = enter_until_log()

    -- the generation runs out with this one
    if ngx.var.arg_age == "1" then
        ended[ended_count % ENDED + 1] = { id = entry.id, generation = entry.generation,
                                           address = entry.address }
        ended_count = ended_count + 1
        assert(C.ngx_http_lua_var_testing_age(entry.id) == 1)
        entry.generation = 2 ^ 32 - 1
        entry.handle = handle_t(entry.id, entry.generation)
        arguments.retired(entry.id)
    end

    ngx.say("parked")
    ngx.flush(true)
    ngx.sleep(100000)
end


-- Ten thousand names that nobody has heard of, at every function that takes one.
function _M.unknown_names()
    local entry = enter_until_log()
    local from = tonumber(ngx.var.arg_from)

    handle_words[0], handle_words[1] = entry.id, entry.generation

    for n = from, from + 9999 do
        local name = "unheard_of_" .. n

        fetch(name)
        fetch(name, entry.handle)
        fetch(name:upper())
        set(name, "value")
        C.fuzz_resolve(handle_words, name, #name, index)
        C.fuzz_named(handle_words, name, #name, out)
        ngxvar.getter(name)(entry.handle)
        ngxvar.setter(name)("value", entry.handle)

        local _ = ngx.var[name]
    end

    collectgarbage()
    collectgarbage()
    ngx.say("Lua: ", collectgarbage("count"))
end


function _M.figures()
    local figure = C.ngx_http_lua_var_testing_figure

    collectgarbage()

    for _, name in ipairs { "cases", "served", "refused", "wrong", "ended" } do
        ngx.say(name, " ", totals[name])
    end

    for n, name in ipairs { "live", "retired", "slots" } do
        ngx.say(name, " ", figure(n - 1))
    end

    for _, report in ipairs(totals.reports) do
        ngx.say("report ", report)
    end

    for _, name in ipairs(_M.c_functions) do
        ngx.say("c ", name)
    end

    for _, name in ipairs(_M.lua_functions) do
        ngx.say("lua ", name)
    end

    for name, value in pairs(ngxvar) do
        if type(value) == "function" then
            ngx.say("exports ", name)
        end
    end
end


-- in init_by_lua
function _M.init()
    ngxvar.patch_ngx_var()
    prepare_names()
    arguments.prepare_odd(ffi.typeof("ngx_http_lua_var_handle_t"))
end


return _M
