-- How LuaJIT compiles a piece of code: t/jit.t.
--
--     local report = traces.of(function () for i = 1, 200 do f() end end)
--     report == "loop"         -- all of it is compiled, as a loop
--     report == "stitched"     -- all but the calls of C functions, between which traces are
--
-- jit.v would say the same, but for people.

local vmdef = require "jit.vmdef"
local util = require "jit.util"

local _M = {}


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
    local is_loop, is_stitched, bad = false, false, {}

    jit.flush()

    local function listener(what, tr, _, _, otr, oex)
        if what == "stop" then
            local link = util.traceinfo(tr).linktype

            is_loop = is_loop or link == "loop"
            is_stitched = is_stitched or link == "stitch"

            if link == "interpreter" then
                bad[#bad + 1] = link
            end

        elseif what == "abort" then
            local why = reason(otr, oex)

            if not harmless[why] then
                bad[#bad + 1] = "aborted: " .. why
            end
        end
    end

    jit.attach(listener, "trace")

    local ok, err = pcall(f)

    jit.attach(listener)    -- detaches it

    if not ok then
        error(err, 2)
    end

    return (is_stitched and "stitched" or is_loop and "loop" or "no trace")
           .. (#bad > 0 and ", " .. table.concat(bad, ", ") or "")
end


-- Runs f, which should loop. Where LuaJIT starts a trace depends on hashed counters and chance,
-- and a trace that starts in an unlucky place is aborted. So f runs several times: what cannot be
-- compiled fails each time.
function _M.of(f)
    local report

    for _ = 1, 10 do
        report = once(f)

        if report == "loop" or report == "stitched" then
            break
        end
    end

    return report
end


return _M
