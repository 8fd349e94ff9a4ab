-- Reads variables while finalizers read others in between: t/finalizers.t.

local client = require "client"
local ffi = require "ffi"
local ngxvar = require "resty.ngxvar"

local gc = ffi.gc
local new_cdata = ffi.typeof("struct { int n; }")
local newproxy = newproxy
local getmetatable = getmetatable

local _M = { ngxvar = ngxvar, getters = {}, readers = {} }

local mt = getmetatable(ngx.var)
local stock = mt.__index

ngxvar.patch_ngx_var()
_M.patched = mt.__index
mt.__index = stock

-- what finalizers assign in turn
local assigned = { ("short"):rep(2), ("not so short"):rep(3) }

-- The right values: a text, a pattern, or a set of texts.
_M.right = {
    http_a = "aa", arg_b = "bb", cookie_c = "cc", http_user_agent = "this is the agent that is read", own = "own",
    host = "here.test", uri = "/t", request_method = "GET", scheme = "http",
    remote_addr = "127.0.0.1", http_none = "nil", status = { "^0+$" },
    msec = { "^%d+%.%d%d%d$" }, connection = { "^%d+$" }, connection_requests = "1",
    server_port = { "^%d+$" }, server_protocol = "HTTP/1.1",
    request_length = { "^%d+$" }, pid = { "^%d+$" },
    other = { [""] = true, [assigned[1]] = true, [assigned[2]] = true },
}

-- the module formats or looks up these, so that they may disturb other reads
local disturb = { "connection", "msec", "connection_requests", "server_port", "arg_long",
                  "http_a", "args", "request_length", "upstream_response_time", "none",
                  "http_user_agent" }

local names = {}

for name in pairs(_M.right) do
    names[#names + 1] = name
    _M.getters[name] = ngxvar.getter(name)
    _M.readers[name] = ngxvar.reader { name, "http_a", "msec" }
end

table.sort(names)

-- these differ between requests, so a foreign value is noticed
local ours = { "connection", "msec", "server_port", "request_length", "pid" }

for _, name in ipairs(disturb) do
    _M.getters[name] = _M.getters[name] or ngxvar.getter(name)
end


-- Keeps its request live until run() ends.
function _M.stay()
    _M.other = ngxvar.request()

    while not _M.is_over do
        ngx.sleep(0.005)
    end
end


-- The handle of another live request, which has other values.
function _M.another(port)
    local c = client.connect{ port = port }

    c:send(client.request_text("/other?b=" .. ("y"):rep(3000) .. "&long=" .. ("z"):rep(5000), {
        headers = { Host = "there.test", A = "other's", Cookie = "c=other's",
                    ["User-Agent"] = "that is the agent that is read" },
    }))
    _M.connection = c

    return client.wait_until(function () return _M.other end, "the other request")
end


local calls
local is_busy

-- The finalizer: one read, or a new getter, which looks its variable up.
local function finalize()
    calls = calls + 1

    -- no finalizer within a finalizer within a read
    if is_busy then
        return
    end

    is_busy = true

    local handle = calls % 2 == 0 and _M.handle or _M.other
    local name = disturb[calls % #disturb + 1]
    local way = calls % 7

    if way == 0 then
        ngxvar.fetch(name, handle)
    elseif way == 1 then
        ngxvar.fetch("arg_long", handle)
    elseif way == 2 then
        _M.getters[name](handle)
    elseif way == 3 then
        ngxvar.getter("arg_long")(handle)
    elseif way == 4 then
        ngxvar.fetch(name)
    elseif way == 5 then
        ngxvar.getter(name)(handle)
    else
        _M.patched(ngx.var, name)
    end

    -- the other request's location does not set this variable
    ngxvar.set("other", assigned[calls % 2 + 1], _M.handle)
    is_busy = false
end

-- one metatable for all proxies
local proxy = newproxy(true)
getmetatable(proxy).__gc = finalize


-- For the blocks about assigning: reads what it has assigned.
local own_setter = ngxvar.setter("own")

function _M.set_and_fetch(name)
    local value = _M.right[name]

    value = type(value) == "string" and value or "some"
    own_setter(value, _M.handle)

    local one = ngxvar.fetch("own", _M.handle)

    ngxvar.set("own", "own")

    if one ~= value or ngxvar.fetch("own") ~= "own" then
        return "assigned " .. value .. ", read " .. tostring(one)
    end

    return ngxvar.fetch(name, _M.handle)
end


local function is_right(name, value)
    local want = _M.right[name]
    local text = tostring(value)

    if type(want) == "string" then
        return text == want
    end

    return want[text] or want[1] and text:find(want[1]) ~= nil
end


-- Reads every name in this way, very often, and says how many were wrong.
function _M.run(other, read)
    local bad, count = {}, 0
    local constant = {}

    _M.handle = ngxvar.request()
    calls = 0

    for _, name in ipairs(ours) do
        constant[name] = name ~= "msec" and tostring(stock(ngx.var, name)) or nil
    end

    local function check(name, value)
        if not is_right(name, value)
           or constant[name] and tostring(value) ~= constant[name]
        then
            count = count + 1
            bad[name] = (bad[name] or 0) + 1
        end
    end

    local pause = collectgarbage("setpause", 1)
    local step = collectgarbage("setstepmul", 400)

    for turn = 1, _M.turns do
        for i = 1, #names do
            local name = names[i]

            _M.last = turn % 2 == 0 and newproxy(proxy) or gc(new_cdata(), finalize)
            check(name, read(_M, name))
        end
    end

    collectgarbage("setpause", pause)
    collectgarbage("setstepmul", step)
    _M.is_over = true
    _M.connection:close()

    if calls < _M.turns / 10 then
        return ngx.say("only ", calls, " finalizers ran")
    end

    if count == 0 then
        return ngx.say("right")
    end

    local list = {}

    for name, n in pairs(bad) do
        list[#list + 1] = name .. " " .. n
    end

    table.sort(list)
    ngx.say(count, " wrong in ", _M.turns * #names, ", ", calls, " finalizers: ", table.concat(list, ", "))
end


return _M
