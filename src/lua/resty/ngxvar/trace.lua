-- Telling the code that LuaJIT compiles from what it interprets.
--
-- Both give the same values; what is fast in one is slow in the other. An FFI call
-- costs ten times a function of Lua's C API where it is interpreted, and a third of it
-- on a trace.
--
-- The rule of LuaJIT's that this rests on (rec_upvalue in lj_record.c): an upvalue that
-- the source never assigns, of a function of which there is one closure, is a constant
-- while a trace is recorded. The functions that are watched have such an upvalue,
-- `on_trace`, false in the source. It is set to true, through the debug library, when
-- LuaJIT begins to record, and back to false when it stops. So a trace is made with the
-- branch that is right for it, without a test, and the interpreter takes the other.
--
-- Were the rule to change, only the speed would suffer: an upvalue that is no constant
-- is tested when the trace runs, and is false then. t/jit.t would say so.

local bit = require "bit"

local debug = debug
local ipairs = ipairs

-- where LuaJIT keeps the listener of traces: VMEVENT_DEF(TRACE) in lj_vmevent.h
local TRACE_EVENT = bit.lshift(0x12d91467, 3)

local _M = {}

local watched = {}


-- Has f's on_trace, which functions of one file share, tell the truth.
function _M.watch(f)
    local at = 0

    repeat
        at = at + 1
        local name = debug.getupvalue(f, at)
    until name == "on_trace" or not name

    watched[#watched + 1] = { f = f, at = at }
end


local on_trace = false


-- The same, for functions of which there are many closures.
function _M.is_recorded()
    return on_trace
end


_M.watch(_M.is_recorded)

do
    -- there is one listener; one that is there already stays
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
