-- How LuaJIT compiles a piece of code: t/jit.t.
--
--     local report = traces.of(function () for i = 1, 200 do f() end end)
--     report == "loop"    -- all of it is compiled, as a loop
--
-- jit.v would say the same, but LuaJIT has one listener for traces, which is resty.ngxvar's:
-- this one passes its events on.

local bit = require "bit"
local vmdef = require "jit.vmdef"
local util = require "jit.util"

local _M = {}


-- The listener that is there now.
local function listener()
    local events = debug.getregistry()._VMEVENTS

    -- the TRACE event's place, as in src/lua/resty/ngxvar.lua
    return events and events[bit.lshift(0x12d91467, 3)]
end


local function reason(code, info)
    local text = vmdef.traceerr[code] or tostring(code)

    if type(info) == "number" then
        text = text:gsub("bytecode %%d", function ()
            return "bytecode " .. vmdef.bcnames:sub(info * 6 + 1, info * 6 + 6)
        end)
    end

    return (text:gsub("%%[ds]", tostring(info)))
end


-- Reasons to abort a trace that are no failure, because another trace is better.
local harmless = {
    ["leaving loop in root trace"] = true,
    ["inner loop in root trace"] = true,
    ["retry recording"] = true,
}


local function once(f)
    local previous = listener()
    local is_loop, bad = false, {}

    jit.flush()

    jit.attach(function (what, tr, func, pc, otr, oex)
        if previous then
            previous(what, tr, func, pc, otr, oex)
        end

        if what == "stop" then
            local link = util.traceinfo(tr).linktype

            if link == "loop" then
                is_loop = true

            elseif link == "stitch" or link == "interpreter" then
                bad[#bad + 1] = link
            end

        elseif what == "abort" then
            local why = reason(otr, oex)

            if not harmless[why] then
                bad[#bad + 1] = "aborted: " .. why
            end
        end
    end, "trace")

    local ok, err = pcall(f)

    -- there is one listener: this detaches it, and puts the other one back
    jit.attach(previous or function () end, "trace")

    if not ok then
        error(err, 2)
    end

    return (is_loop and "loop" or "no loop")
           .. (#bad > 0 and ", " .. table.concat(bad, ", ") or "")
end


-- Runs f, which should loop.  "loop" if it became a loop of machine code, followed by what
-- could not be compiled or was left to the interpreter.
--
-- Where LuaJIT starts a trace depends on hashed counters and chance, and a trace that starts
-- in an unlucky place is aborted.  So f runs several times: what cannot be compiled fails
-- each time.
function _M.of(f)
    local report

    for _ = 1, 10 do
        report = once(f)

        if report == "loop" then
            break
        end
    end

    return report
end


return _M
