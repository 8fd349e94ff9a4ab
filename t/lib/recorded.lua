-- Runs the code of getters and fetch that is meant for traces in the interpreter, so that it
-- does not depend on what LuaJIT compiles, and finalizers may run anywhere in it.
--
-- Getters call is_recorded() of resty.ngxvar.trace, whose upvalue `on_trace` is set here, as
-- is that of fetch.

local is_recorded = require("resty.ngxvar.trace").is_recorded
local fetch = require("resty.ngxvar").fetch

local _M = {}


local function place_of_on_trace(f)
    for at = 1, math.huge do
        if assert(debug.getupvalue(f, at), "no on_trace") == "on_trace" then
            return at
        end
    end
end


local at = place_of_on_trace(is_recorded)
local at_in_fetch = place_of_on_trace(fetch)


local resolved = setmetatable({}, { __mode = "k" })


-- From now on getters run their code for traces, or that for the interpreter. Each has to be
-- called once before, in the interpreter, which resolves it.
function _M.set(is_on)
    debug.setupvalue(is_recorded, at, is_on)
end


-- Calls a getter's code for traces.
function _M.get(getter, handle)
    if not resolved[getter] then
        getter(handle)
        resolved[getter] = true
    end

    _M.set(true)

    local value, err = getter(handle)

    _M.set(false)
    return value, err
end


-- Calls fetch's code for traces.
function _M.fetch(name, handle)
    debug.setupvalue(fetch, at_in_fetch, true)

    local value, err = fetch(name, handle)

    debug.setupvalue(fetch, at_in_fetch, false)
    return value, err
end


-- the listener of LuaJIT's traces sets the upvalue too
jit.off(_M.fetch)
jit.off(_M.get)

return _M
