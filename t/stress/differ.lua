-- The steps of t/bin/differ, run inside a nginx worker.
--
-- A step reads variables, changes the request, and reads variables again. The plan, a Lua
-- file that t/bin/differ writes, has the steps. Each mode has a server of its own, which gets
-- the same requests, and its own way to read:
--
--   compare    in every way, then by stock ngx.var, which has to agree
--   stock      by stock ngx.var
--   patched    by patched ngx.var
--   fetch      by fetch and getters, only what they read without caching in the request
--   none       not at all

local is_there, ways = pcall(require, "ways")
local ngxvar = is_there and require "resty.ngxvar"

local stock_index = is_there and function (_, name) return ways.stock(name) end
                    or getmetatable(ngx.var).__index

local _M = { compared = 0 }

local steps

-- another value at each read
local is_random = { request_id = true }

-- of a body that Lua has replaced, ngx.var gives what nginx has cached of the one before
local set_body_data = ngx.req.set_body_data

rawset(ngx.req, "set_body_data", function (data)
    is_random.request_body = true
    return set_body_data(data)
end)


local function stock(name)
    return stock_index(ngx.var, name)
end


local function show(value)
    if type(value) == "string" then
        return string.format("%q", #value > 80 and value:sub(1, 80) .. "..." or value)
    end

    return tostring(value)
end


-- the ways to read, in varying order
local order = {}

for way in pairs(ways and ways.ways or {}) do
    order[#order + 1] = way
end

table.sort(order)

local turn = 0


-- A number is a capture, which has no upper case and no getter.
local function can_read(way, name)
    return type(name) == "string" or way == "fetch" or way == "current" or way == "patched"
end


local function compare(name, where)
    local handle = ngxvar.request()
    local got = {}

    turn = turn + 1

    for i = 1, #order do
        local way = order[(turn + i) % #order + 1]

        if can_read(way, name) then
            got[#got + 1] = { way, ways.ways[way](name, handle) }
        end
    end

    local want = stock(name)

    for _, each in ipairs(got) do
        local way, value, err = each[1], each[2], each[3]
        local expected = ways.expected(name, want, way)

        _M.compared = _M.compared + 1

        if (value ~= expected or err) and not is_random[name] then
            ngx.log(ngx.WARN, "differ: ", where, ": $", name, " by ", way, ": ", show(value),
                    err and ", " .. tostring(err) or "", "; stock: ", show(want), " | ")
        end
    end
end


local readers = {
    compare = compare,
    stock = stock,
    patched = function (name) return ways.patched(name) end,
    none = function () end,

    -- only variables that leave no trace: others are cached by nginx when fetch reads them
    fetch = function (name)
        if not _M.is_traceless[tostring(name):lower()] then
            return
        end

        turn = turn + 1
        ways.ways[order[turn % #order + 1] == "getter" and type(name) == "string"
                  and "getter" or "fetch"](name, ngxvar.request())
    end,
}


local function read_all(mode, names, where)
    local read = readers[mode]

    for _, name in ipairs(names) do
        read(name, where)
    end
end


local function is_ours(mode)
    return mode == "patched" or mode == "fetch" or mode == "compare"
end


-- Assigns in the mode's way; raises set()'s errors, as ngx.var raises its own.
function _M.assign(name, value)
    if not is_ours(_M.mode) then
        ngx.var[name] = value
    elseif turn % 2 == 0 then
        assert(ngxvar.set(name, value))
    else
        assert(ngxvar.setter(name)(value, ngxvar.request()))
    end
end


-- Makes a subrequest: five in a request and two deep at most, because they may lead here again.
local captures, depth = 0, 0

function _M.capture(uri, options)
    if captures >= 5 or depth >= 2 then
        return
    end

    captures = captures + 1
    depth = depth + 1

    local mode = _M.mode
    local ok, err = pcall(ngx.location.capture, uri, options)

    _M.mode = mode
    depth = depth - 1
    assert(ok, err)
end


-- Runs step `id` in a phase.
function _M.step(mode, id)
    local step = steps[id]
    local where = "step " .. id .. ", " .. ngx.get_phase() .. " of " .. tostring(stock("request_uri")):sub(1, 40)

    -- a client has one request at a time
    if not ngx.is_subrequest then
        captures, depth = 0, 0
    end

    _M.mode = mode
    read_all(mode, step.before, where .. ", before")

    -- an action that is not allowed here fails in every mode
    local ok, err = pcall(step.action)

    if not ok then
        ngx.log(ngx.INFO, "not done: ", err)
    end

    _M.mode = mode
    read_all(mode, step.after, where .. ", after")
end


-- Runs a step, and responds with what stock ngx.var reads afterwards.
function _M.content(mode, id)
    _M.step(mode, id)

    local text = {}

    for i, name in ipairs(steps[id].say) do
        text[i] = name .. "=" .. show(stock(name))
    end

    ngx.say(table.concat(text, "\n"))
end


function _M.load(path)
    local plan = assert(loadfile(path))

    _M.is_traceless = {}
    steps = plan(_M)
end


return _M
