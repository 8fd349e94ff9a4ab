-- reader(names): reads several variables at once.

local core = ...

local concat = table.concat
local fetch = core.fetch
local format = string.format
local setmetatable = setmetatable
local type = type

local MOST = 64


-- Returns read(self, req) and read:table(req, t) for these names. Their code is generated, so that
-- it has no loop, and one constructor makes the table.
local function new_functions(names)
    local reads, values, fields, assignments = {}, {}, {}, {}

    for i, name in ipairs(names) do
        reads[i] = format("local v%d, e%d = fetch(%q, req)", i, i, name)
        values[i] = "v" .. i
        fields[i] = format("[%q] = v%d,", name, i)
        assignments[i] = format("rawset(t, %q, v%d)", name, i)

        -- the request that the first read accepts stays live, as nothing yields here
        if i == 1 then
            reads[i] = reads[i] .. " if e1 then return nil, e1 end"
        end
    end

    local read, values_of, fields_of, assign =
        concat(reads, "\n"), concat(values, ", "), concat(fields, " "), concat(assignments, "\n")

    return loadstring([[
        local fetch, rawset, type, error, is_reader = ...

        local function values(self, req)
            ]] .. read .. [[

            return ]] .. values_of .. [[

        end

        local function table(self, req, t)
            if not is_reader(self) then
                error("bad call: write read:table(req, t), with a colon", 2)
            end

            if type(t) ~= "nil" and type(t) ~= "table" then
                error("bad argument to read:table(): expected a table to fill, got "
                      .. type(t), 2)
            end

            ]] .. read .. [[

            if not t then
                return { ]] .. fields_of .. [[ }
            end

            ]] .. assign .. [[

            return t
        end

        return values, table
    ]], "@resty/ngxvar/reader.lua, generated")
end


local readers = setmetatable({}, { __mode = "k" })


local function is_reader(value)
    return readers[value] ~= nil
end


return function (names)
    if type(names) ~= "table" then
        error("bad argument to reader(): expected a list of names, got " .. type(names)
              .. ": call ngxvar.reader { \"uri\", \"host\" }", 2)
    end

    local n = #names

    if n < 1 or n > MOST then
        error("bad argument to reader(): expected 1 to " .. MOST .. " names, got " .. n, 2)
    end

    for i = 1, n do
        if type(names[i]) ~= "string" then
            error("bad argument to reader(): expected a name as number " .. i .. ", got "
                  .. type(names[i]), 2)
        end
    end

    local values, as_table = new_functions(names)(fetch, rawset, type, error, is_reader)
    local read = setmetatable({ table = as_table }, { __call = values })

    readers[read] = true
    return read
end
