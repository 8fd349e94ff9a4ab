-- What getters and fetch do on traces, done by the interpreter: without LuaJIT's choice of what it
-- compiles, and with all that may run in between there.
--
-- Getters ask is_recorded() of resty.ngxvar.trace, whose upvalue `on_trace` this sets, as
-- it does that of fetch.

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


-- From here on getters do what they do on traces, or what the interpreter does. They have
-- to be called once before, by the interpreter, which finds what they read.
function _M.set(is_on)
    debug.setupvalue(is_recorded, at, is_on)
end


-- What a getter gives so.
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


-- The same for fetch.
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
