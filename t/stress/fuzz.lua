-- The batches of t/bin/fuzz, run inside an nginx worker.
--
-- A case is one call of one function, some of whose arguments are wrong. The right result is
-- known, because the fuzzer has its own list of live requests, with their handles, addresses
-- and values: what names one of them reads it, and everything else is refused.

local ffi = require "ffi"
local arguments = require "fuzz_arguments"
local c = require "fuzz_c"
local lua = require "fuzz_lua"
local ngxvar = require "resty.ngxvar"
local outcome = require "fuzz_outcome"
local reached = require "fuzz_reached"
local requests = require "fuzz_requests"

local C = ffi.C
local below = arguments.below
local fetch, set = ngxvar.fetch, ngxvar.set
local totals = outcome.totals

ffi.cdef[[
double ngx_http_lua_var_testing_figure(uint32_t which);
int ngx_http_lua_var_testing_age(uint32_t id);

typedef struct {
    size_t arena, ordblks, smblks, hblks, hblkhd, usmblks, fsmblks,
           uordblks, fordblks, keepcost;
} ngx_http_lua_var_testing_mallinfo_t;
ngx_http_lua_var_testing_mallinfo_t mallinfo2(void);
]]

local _M = {
    init_worker = outcome.open_trace,
}

local FAKE = "no variables in this context"

-- one in nine calls a function that is not exported
local functions = { reached.case, reached.case, reached.case, reached.case }

for _, cases in ipairs { lua.cases, c.cases } do
    for _, case in ipairs(cases) do
        functions[#functions + 1] = case
    end
end


-- Runs cases for the current request in the current phase.
local function run(seed, count, entry, is_plain)
    local trace = outcome.trace

    requests.current = entry
    arguments.seed(seed)
    requests.collect(c.module_memory())
    trace[0] = seed
    ngxvar.enable_patch(not is_plain)

    -- Interpreted and compiled.
    if is_plain or seed % 4 == 0 then
        jit.off()
        jit.flush()
    end

    for n = 1, count do
        outcome.case = n
        local which = below(#functions) + 1

        trace[1] = n
        trace[2] = which

        functions[which]()
    end

    jit.on()
    ngxvar.enable_patch(true)
    totals.cases = totals.cases + count
    requests.current = nil
end


local EXPECTED = { "document_uri", "host", "remote_addr", "scheme", "request_method",
                   "arg_id", "http_x_id", "cookie_id", "fuzz_id", "uri", "server_port" }

local function prepare_names()
    for i, name in ipairs(EXPECTED) do
        requests.names[i] = name
        requests.names[name] = true
        lua.untouchable[name] = true
    end
end


-- The values that a request has to have; each contains its id.
local function enter_real(uri)
    local marker = ngx.req.get_headers()["x-id"]

    local entry = requests.enter({
        uri = uri, document_uri = uri, host = "host-" .. marker .. ".test",
        remote_addr = "127.0.0.1", scheme = "http", request_method = "GET",
        arg_id = marker, http_x_id = marker, cookie_id = marker, fuzz_id = marker,
        server_port = ngx.var.server_port,
    }, marker)

    ngx.ctx.marker = marker

    return entry
end


-- Adds the current request to the live ones until its log phase. A subrequest has none, and
-- shares its parent's ngx.ctx: it stays until the main request's log phase.
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
            requests.leave(ctx[key])
            totals.ended = totals.ended + 1
        end
    end
end


local function run_fake(seed, cases)
    local entry = requests.enter({}, FAKE)

    entry.fake = true
    -- a fake request may have a ngx.ctx and never loses it
    ngx.ctx.marker = FAKE
    run(seed, cases, entry)
    assert(ngx.ctx.marker == FAKE, "another ngx.ctx")
    requests.leave(entry)
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
    enter_until_log()
    coming = { seed_and_cases() }

    local c = require("client").connect{ port = port, tls = true, timeout = 600000 }

    assert(coming == nil, "the handshake ran no Lua")
    c:close()
end


-- A request that stays live until its client leaves.
function _M.park()
    local entry = enter_until_log()

    -- this request has the last generation of its slot
    if ngx.var.arg_age == "1" then
        assert(C.ngx_http_lua_var_testing_age(requests.id_of(entry)) == 1)
        requests.renew(entry)
    end

    ngx.say("parked")
    ngx.flush(true)
    ngx.sleep(100000)
end


-- Passes ten thousand unknown names to every function that takes a name.
function _M.unknown_names()
    local entry = enter_until_log()
    local from = tonumber(ngx.var.arg_from)

    for n = from, from + 9999 do
        local name = "unheard_of_" .. n

        fetch(name)
        fetch(name, entry.handle)
        fetch(name:upper())
        set(name, "value")
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

    -- bytes in use, because resident memory includes malloc's holes
    collectgarbage()
    collectgarbage()
    local heap = C.mallinfo2()
    ngx.say("used ", math.floor((tonumber(heap.uordblks) + tonumber(heap.hblkhd)) / 1024
                                + collectgarbage("count")))

    for _, name in ipairs { "cases", "served", "refused", "wrong", "ended" } do
        ngx.say(name, " ", totals[name])
    end

    for n, name in ipairs { "live", "retired", "slots" } do
        ngx.say(name, " ", figure(n - 1))
    end

    for _, report in ipairs(totals.reports) do
        ngx.say("report ", report)
    end

    for _, name in ipairs(c.tried) do
        ngx.say("c ", name)
    end

    for _, name in ipairs(lua.tried) do
        ngx.say("lua ", name)
    end

    for _, name in ipairs(reached.names()) do
        ngx.say("reached ", name)
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
    arguments.prepare_odd()
end


return _M
