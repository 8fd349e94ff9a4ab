-- Handlers that read twenty different variables, once each, in the shapes of real ones. Ten of the
-- values change from request to request, but not in length.
--
-- Each is generated, so that all readers get the same handler. The lengths of the values are
-- added up and compared, so that all are used and right.

local NAMES = require("bench.variables").twenty

-- The code that sets a reader up and the code that reads. A handler that needs a request calls
-- request() first.
local READERS = {
    ["ngx.var"] = { "local var = ngx.var", "", "var.%s" },
    ours = {
        [[local fetch = require("resty.ngxvar").fetch
          local request = require("resty.ngxvar").request]],
        "local req = request()", "fetch('%s', req)",
    },
    current = {
        [[local fetch = require("resty.ngxvar").fetch]], "", "fetch('%s')",
    },
    reader = {
        [[local request = require("resty.ngxvar").request
          local read = require("resty.ngxvar").reader(require("bench.handlers").names)]],
        "local req = request()",
    },
    lua_var = {
        [[local fetch = require("resty.ngxvar").fetch
          local request = require("resty.ngxvar").request]],
        "local req = request()", "fetch('%s', req)",
    },
    kong = { "local get = require('resty.kong.var').get", "", "get('%s')" },
}

-- As in APISIX's ctx.var: a table for the request, whose metatable looks into its
-- cache, reads what is not there, and keeps it unless the name says otherwise. To
-- have twenty reads, all names say otherwise.
local METATABLE = [[
local never_kept = {}
for _, name in ipairs(require("bench.handlers").names) do
    never_kept[name] = true
end
local mt = {
    __index = function (self, key)
        if type(key) ~= "string" then
            error("not a name")
        end
        local kept = self._cache[key]
        if kept ~= nil then
            return kept
        end
        local req = self._request
        local value = READ
        if value ~= nil and not never_kept[key] then
            self._cache[key] = value
        end
        return value
    end,
}]]

local _M = { names = NAMES, readers = READERS }


-- The expression for a key that is a variable.
function _M.by_key(expression)
    return (expression:gsub("%.%%s", "[key]"):gsub("'%%s'", "key"))
end


-- The current values, by name, and the sum of their lengths.
local function values()
    local all, sum = {}, 0

    for _, name in ipairs(NAMES) do
        all[name] = ngx.var[name]
        sum = sum + #all[name]
    end

    return all, sum
end


-- For each name: `line` of the name and the code that reads it.
local function each(read, line)
    local lines = {}

    for i, name in ipairs(NAMES) do
        lines[i] = line(name, read(name))
    end

    return table.concat(lines, "\n")
end


-- A log entry: a table with a key for each name. `make` is the code that makes it.
local function entry(make)
    return "local entry = " .. make
           .. "\nfor i = 1, #names do sum = sum + #entry[names[i]] end"
end


local function constructor(read)
    return "{\n" .. each(read, function (name, code)
        return name .. " = " .. code .. ","
    end) .. "\n}"
end


-- The code of a handler that calls reader(names) once.
local function reader_lines(shape)
    if shape == "entry" then
        return entry("read:table(req)")
    end

    local locals = {}

    for i = 1, #NAMES do
        locals[i] = "v" .. i
    end

    return "local " .. table.concat(locals, ", ") .. " = read(req)\nsum = #"
           .. table.concat(locals, " + #")
end


local function source(reader, shape)
    local setup, ask, expression = unpack(READERS[reader])

    local by_key = expression and _M.by_key(expression)

    local function by_name(name)
        return (expression:gsub("%%s", name))
    end

    if shape == "metatable" then
        setup = setup .. "\n" .. METATABLE:gsub("READ", function () return by_key end)
        ask = ask .. "\nlocal ctx_var = setmetatable({ _cache = {}, _request = "
              .. (ask == "" and "false" or "req") .. " }, mt)"
        by_name = function (name) return "ctx_var." .. name end
    end

    if not expression then
        return setup, ask, reader_lines(shape)
    end

    if shape == "loop" then
        return setup, ask,
               "for i = 1, #names do local key = names[i] sum = sum + #" .. by_key .. " end"
    end

    if shape == "entry" then
        return setup, ask, entry(constructor(by_name))
    end

    return setup, ask, each(by_name, function (_, read) return "sum = sum + #" .. read end)
end


local function compile(shape, setup, ask, lines)
    local all, want = values()

    return assert(loadstring(setup .. [[

local say, want, names, values = ngx.say, ...
return function ()
    local sum = 0
    ]] .. ask .. "\n" .. lines .. [[

    say(sum == want and "right" or "wrong")
end]], "=" .. shape))(want, NAMES, all)
end


-- A handler of this shape that reads with this reader.
function _M.make(reader, shape)
    return compile(shape, source(reader, shape))
end


-- What a handler of this shape does besides reading: a log entry is made of strings that exist.
function _M.make_bare(shape)
    return compile("bare", "", "", shape == "entry"
        and entry(constructor(function (name) return "values." .. name end))
        or "sum = want")
end


-- Restarts of a real nginx differ in the addresses of LuaJIT's memory, and so in its traces.
-- Under valgrind they would not, so memory is allocated at random.
function _M.shift_memory()
    math.randomseed(BENCH.seed)

    local kept = {}
    local chunks = math.random(1, 200)

    for i = 1, chunks do
        kept[i] = loadstring("return " .. string.rep("x.", math.random(1, 50)) .. "y")
    end

    BENCH.kept = kept
end


-- A body for content_by_lua: `make` once, then run what it made.
function _M.run(key, make)
    local handler = _M[key]

    if not handler then
        handler = make()
        _M[key] = handler
    end

    return handler()
end


return _M
