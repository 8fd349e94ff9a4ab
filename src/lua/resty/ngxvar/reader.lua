-- reader(names): many variables at once.
--
-- The request is validated once for all of them, by one function of Lua's C API. LuaJIT
-- does not compile that; where it is called from compiled code, the trace ends and another
-- begins after it.

local core = ...

local new_reader = core.reader
local lower_case = string.lower
local setmetatable = setmetatable
local type = type

local MOST = core.reader_max


return function (names)
    if type(names) ~= "table" then
        error("bad argument to reader(): expected a list of names, got " .. type(names), 2)
    end

    local n = #names

    if n < 1 or n > MOST then
        error("bad argument to reader(): expected 1 to " .. MOST .. " names, got " .. n, 2)
    end

    local lower, keys = {}, {}

    for i = 1, n do
        if type(names[i]) ~= "string" then
            error("bad argument to reader(): expected a name as number " .. i .. ", got "
                  .. type(names[i]), 2)
        end

        lower[i], keys[i] = lower_case(names[i]), names[i]
    end

    local values, by_name = new_reader(lower, keys, n)

    return setmetatable({ table = by_name }, { __call = values })
end
