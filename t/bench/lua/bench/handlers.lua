-- Handlers that read twenty different variables, once each, in the shapes of real ones. The
-- values change from request to request, but not in length.
--
-- Each is generated, so that all readers get the same handler. The lengths of the values are
-- added up and compared, so that all are used and right. A log entry is encoded as JSON, as log
-- plugins do.

local encode = require("cjson").encode

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
    getter = {
        [[local request = require("resty.ngxvar").request
          local getter = require("resty.ngxvar").getter
          local get = {}
          for _, name in ipairs(require("bench.handlers").names) do
              get[name] = getter(name)
          end]],
        "local req = request()", "get.%s(req)",
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


-- The current values, by name.
local function values()
    local all = {}

    for _, name in ipairs(NAMES) do
        all[name] = ngx.var[name]
    end

    return all
end


-- For each name: `line` of the name and the code that reads it.
local function each(read, line)
    local lines = {}

    for i, name in ipairs(NAMES) do
        lines[i] = line(name, read(name))
    end

    return lines
end


-- The sum of the lengths, for a reader of all at once.
local function reader_lines(shape)
    if shape == "entry" then
        return "local entry = read:table(req)\nsum = #encode(entry)"
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

    local lines

    if not expression then
        lines = reader_lines(shape)

    elseif shape == "loop" then
        setup = setup .. "\nlocal names = require('bench.handlers').names"
        lines = "for i = 1, #names do local key = names[i] sum = sum + #" .. by_key .. " end"

    elseif shape == "entry" then
        lines = "local entry = {\n" .. table.concat(each(by_name, function (name, read)
            return name .. " = " .. read .. ","
        end), "\n") .. "\n}\nsum = #encode(entry)"

    else
        lines = table.concat(each(by_name, function (_, read)
            return "sum = sum + #" .. read
        end), "\n")
    end

    return setup .. [[

local say, want, encode = ngx.say, ...
return function ()
    ]] .. ask .. "\nlocal sum = 0\n" .. lines .. [[

    say(sum == want and "right" or "wrong")
end]]
end


-- A handler of this shape that reads with this reader.
function _M.make(reader, shape)
    local all, want = values(), 0

    for _, value in pairs(all) do
        want = want + #value
    end

    if shape == "entry" then
        want = #encode(all)
    end

    return assert(loadstring(source(reader, shape), "=" .. shape))(want, encode)
end


-- What a handler of this shape does besides reading: an entry is made of the same values, as
-- constants, and encoded.
function _M.make_bare(shape)
    local lines = ""

    if shape == "entry" then
        local all = values()

        lines = "local entry = {\n" .. table.concat(each(function (name)
            return string.format("%q", all[name])
        end, function (name, text) return name .. " = " .. text .. "," end), "\n")
            .. "\n}\nlocal sum = #encode(entry)\n"
    end

    return assert(loadstring("local say, encode = ngx.say, ...\nreturn function ()\n" .. lines
                             .. "say('right')\nend", "=bare"))(encode)
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
