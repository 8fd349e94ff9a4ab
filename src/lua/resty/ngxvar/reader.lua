-- reader(names): reads several variables at once.
--
-- One function of Lua's C API reads all of them and validates the request once. LuaJIT does
-- not compile the call, so in compiled code one trace ends there and another begins after it.

local core = ...

local new_reader = core.reader
local concat = table.concat
local format = string.format
local lower_case = string.lower
local rawset = rawset
local setmetatable = setmetatable
local type = type

local MOST = core.reader_max


-- Returns the function read:table(req, t) for these keys. Its code is generated, so that one
-- constructor with all keys makes the table, which LuaJIT compiles.
local function table_reader(keys, checked)
    local values, fields, assignments = {}, {}, {}

    for i, key in ipairs(keys) do
        values[i] = "v" .. i
        fields[i] = format("[%q] = v%d,", key, i)
        assignments[i] = format("rawset(t, %q, v%d)", key, i)
    end

    return loadstring([[
        local read, rawset, type, error = ...

        return function (self, req, t)
            if type(t) ~= "nil" and type(t) ~= "table" then
                error("bad argument to read:table(): expected a table to fill, got "
                      .. type(t), 2)
            end

            local is_read, ]] .. concat(values, ", ") .. [[ = read(self, req)

            if not is_read then
                return nil, v1
            end

            if not t then
                return { ]] .. concat(fields, " ") .. [[ }
            end

            ]] .. concat(assignments, "\n") .. [[

            return t
        end
    ]], "=resty/ngxvar/reader.lua, generated")(checked, rawset, type, error)
end


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

    local read, checked = new_reader(lower, n)

    return setmetatable({ table = table_reader(keys, checked) }, { __call = read })
end
