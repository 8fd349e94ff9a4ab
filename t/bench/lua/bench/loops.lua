-- The compiled loops: one case reads one variable in one way, many times.
--
-- Every case has a loop of its own, from one template, so that each gets its own
-- trace. A loop compares each value with the right one, which reads the whole value.
-- Nothing is moved out of the loop: ffi.fill costs one store, after which LuaJIT has to
-- assume that any memory has changed. (It assumes of an assignment that it changes values
-- of its type only.)

local ffi = require "ffi"
local probe = require "bench.probe"
local traceinfo = require("jit.util").traceinfo

local now = probe.probe_now

local _M = { cases = {} }

local barrier = ffi.new("uint32_t[1]")
-- the interpreter moves nothing, and the call would be measured, too
local BARRIER = jit.status() and "fill(barrier, 4)" or ""

local READ = [[
local fill, barrier, subject = ...
return function (n, request, want)
    local wrong = 0
    for i = 1, n do
        ]] .. BARRIER .. [[

        if EXPRESSION ~= want then
            wrong = wrong + 1
        end
    end
    return wrong
end]]

local OTHER = "other-value"

-- two values in turn, so that each assignment changes the value
local WRITE = [[
local fill, barrier, subject = ...
return function (n, request, want)
    for i = 1, n do
        ]] .. BARRIER .. [[

        local value = i % 2 == 0 and want or "]] .. OTHER .. [["
        STATEMENT
    end
    return 0
end]]


-- reader, name: what the case is called. kind: "read" or "write". code: the
-- expression or statement, in terms of `subject`, `request` and `value`.
-- request: a function that gives the request that the code wants. want: the value
-- to expect; without it the one that the code itself gives the first time.
function _M.add(reader, name, kind, code, subject, request, want)
    local source = kind == "read" and READ:gsub("EXPRESSION", function () return code end)
                   or WRITE:gsub("STATEMENT", function () return code end)
    local chunk = assert(loadstring(source, "=" .. reader .. " " .. name))

    _M.cases[#_M.cases + 1] = {
        reader = reader,
        name = name,
        kind = kind,
        run = chunk(ffi.fill, barrier, subject),
        request = request or function () end,
        want = want,
        first = kind == "read" and assert(loadstring(
            "local subject, request = ... return " .. code)),
        subject = subject,
    }
end


local MAX_TRACES = 8000

local function traces()
    local found = {}

    for trace = 1, MAX_TRACES do
        local info = traceinfo(trace)
        found[trace] = info and info.linktype
    end

    return found
end

jit.off(traces)     -- no traces of its own


-- How LuaJIT compiled a case's loop, from the traces that its first run adds: "loop" is a loop
-- of machine code, "stitch" one that calls a C function outside of it, "interpreted" no
-- machine code at all.
local function watch(case, n, request, want)
    local before = traces()

    case.run(n, request, want)

    local made = "interpreted"

    for trace, link in pairs(traces()) do
        if not before[trace] and made ~= "loop" and made ~= "stitch" then
            made = link
        end
    end

    return made
end


-- How many iterations take this long.
local function calibrate(case, nanoseconds, request, want)
    local n = 100

    while true do
        local start = now()
        case.run(n, request, want)
        local took = now() - start

        if took > nanoseconds / 4 then
            return math.ceil(n * nanoseconds / took)
        end

        n = n * 4
    end
end


local SAMPLE = 1e6

-- One round of all cases: a line "reader name nanoseconds wrong" for each. The
-- first one has a line "reader name compiled what" for each before.
function _M.round()
    local lines = {}

    collectgarbage()

    for _, case in ipairs(_M.cases) do
        local request = case.request()
        local want = case.want

        if want == nil then
            want = case.first(case.subject, request)
        end

        if want == nil then
            error(case.reader .. " " .. case.name .. ": no value")
        end

        if not case.n then
            local made = watch(case, 400, request, want)
            case.n = calibrate(case, SAMPLE, request, want)
            lines[#lines + 1] = table.concat({ case.reader, case.name,
                                               "compiled", made }, " ")
        end

        local start = now()
        local wrong = case.run(case.n, request, want)
        local took = now() - start

        if case.kind == "write"
           and ngx.var.settable ~= (case.n % 2 == 0 and want or OTHER)
        then
            wrong = 1
        end

        lines[#lines + 1] = table.concat({ case.reader, case.name,
                                           took / case.n, wrong }, " ")
    end

    ngx.print(table.concat(lines, "\n"), "\n")
end


return _M
