-- What getters do on traces, done by the interpreter: without LuaJIT's choice of what it
-- compiles, and with all that may run in between there.
--
-- Getters ask is_recorded() of resty.ngxvar.trace, whose upvalue `on_trace` this sets.

local is_recorded = require("resty.ngxvar.trace").is_recorded

local _M = {}

local at = 0

repeat
    at = at + 1
    local name = assert(debug.getupvalue(is_recorded, at), "no on_trace")
until name == "on_trace"


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


-- the listener of LuaJIT's traces sets the upvalue too
jit.off(_M.get)

return _M
