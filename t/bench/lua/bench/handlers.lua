-- Handlers that read twenty variables, in the three shapes that real ones have.
--
-- Each is generated, so that all readers get the very same handler. What they
-- read is added up and compared, so that it is taken and known to be right.

local NAMES = { "uri", "host", "scheme", "remote_addr", "http_user_agent" }
local TIMES = 4

-- How a reader is got at, and how it reads. The code of a handler that needs a
-- request asks for it first.
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
          for _, name in ipairs(require("bench.variables")) do
              get[name] = getter(name)
          end]],
        "local req = request()", "get.%s(req)",
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
for _, name in ipairs(require("bench.variables")) do
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

local _M = {}


local function twenty(read)
    local lines = {}

    for i = 1, #NAMES do
        lines[i] = "sum = sum + #" .. read(NAMES[i])
    end

    return table.concat(lines, "\n")
end


local function source(reader, shape)
    local setup, ask, expression = unpack(READERS[reader])

    local function by_name(name)
        return (expression:gsub("%%s", name))
    end

    if shape == "metatable" then
        local read = expression:gsub("%.%%s", "[key]"):gsub("'%%s'", "key")

        setup = setup .. "\n" .. METATABLE:gsub("READ", function () return read end)
        ask = ask .. "\nlocal ctx_var = setmetatable({ _cache = {}, _request = "
              .. (ask == "" and "false" or "req") .. " }, mt)"
        by_name = function (name) return "ctx_var." .. name end
    end

    local lines = twenty(by_name)

    if shape == "loop" then
        lines = "for i = 1, " .. TIMES .. " do\n" .. lines .. "\nend"
    else
        lines = string.rep(lines .. "\n", TIMES)
    end

    return setup .. [[

local say, want = ngx.say, ...
return function ()
    ]] .. ask .. "\nlocal sum = 0\n" .. lines .. [[

    say(sum == want and "right" or "wrong")
end]]
end


-- A handler of this shape that reads with this reader.
function _M.make(reader, shape)
    local want = 0

    for _, name in ipairs(NAMES) do
        want = want + TIMES * #ngx.var[name]
    end

    return assert(loadstring(source(reader, shape), "=" .. shape))(want)
end


-- Two restarts of a real nginx differ in where LuaJIT's memory is, and with it in
-- which traces it makes. Under valgrind they would not.
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
