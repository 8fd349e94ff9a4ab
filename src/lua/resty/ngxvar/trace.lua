-- Lets a function take one branch in code that LuaJIT compiles, and another one in the
-- interpreter.
--
-- Both branches have the same results, but what is fast in one is slow in the other: compared
-- with a function of Lua's C API, an FFI call takes ten times as long in the interpreter, and
-- a third of the time on a trace.
--
-- This uses a rule of LuaJIT (rec_upvalue in lj_record.c): an upvalue that the source never
-- assigns, of a function with only one closure, is a constant while a trace is recorded. Each
-- watched function has such an upvalue, `on_trace`, which is false in the source. A listener
-- sets it to true, through the debug library, when LuaJIT begins to record a trace, and to
-- false when LuaJIT stops. So the trace contains the branch for traces, without a test, and
-- the interpreter takes the other branch.
--
-- If the rule changed, the functions would only be slower: the upvalue would be tested when
-- the trace runs, when it is false. t/jit.t would fail.

local bit = require "bit"

local debug = debug
local ipairs = ipairs

-- the key under which LuaJIT stores the listener for traces: VMEVENT_DEF(TRACE) in
-- lj_vmevent.h
local TRACE_EVENT = bit.lshift(0x12d91467, 3)

local _M = {}

local watched = {}


-- Sets the upvalue on_trace of f, which the functions of a file share, while a trace is
-- recorded.
function _M.watch(f)
    local at = 0

    repeat
        at = at + 1
        local name = debug.getupvalue(f, at)
    until name == "on_trace" or not name

    watched[#watched + 1] = { f = f, at = at }
end


local on_trace = false


-- Returns true while a trace is recorded, for functions that have several closures. It is a
-- vararg function, because LuaJIT begins no trace at one: the interpreter would enter such a
-- trace, in which the result is true, and so always take the branch for traces.
function _M.is_recorded(...)
    return on_trace
end


_M.watch(_M.is_recorded)

do
    -- there can be only one listener, and an existing one is not replaced
    local events = debug.getregistry()._VMEVENTS

    if not (events and events[TRACE_EVENT]) then
        jit.attach(function (what)
            for _, it in ipairs(watched) do
                debug.setupvalue(it.f, it.at, what == "start")
            end
        end, "trace")
    end
end


return _M
