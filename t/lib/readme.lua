-- What README.md says of resty.ngxvar, tried: notes by name what came of each call,
-- for t/readme-reference.t to compare.  Results are written as README writes
-- them: nil, "stale request".

local ffi = require "ffi"
local base = require "resty.core.base"
local ngxvar = require "resty.ngxvar"
local semaphore = require "ngx.semaphore"

local _M = {}
local notes = {}
local kept                      -- a handle of a request that has ended since


local function written(value)
    if type(value) == "string" then
        return '"' .. value .. '"'
    end

    if type(value) == "cdata" and tostring(value):find("^request: %d+/%d+$") then
        return "handle"
    end

    return tostring(value)
end


local function note(name, ...)
    local texts = {}

    for i = 1, select("#", ...) do
        texts[i] = written((select(i, ...)))
    end

    notes[name] = table.concat(texts, ", ")
end


-- What is said of the module's own ways: has to be true.
local function own(name, is_so)
    note("own: " .. name, is_so)
end


function _M.print()
    for name, text in pairs(notes) do
        ngx.say(name, "\t", text)
    end
end


-- Where there is no request.
function _M.at_start(phase)
    local req, err = ngxvar.request()

    if not req then
        note(phase .. " request", req, err)
        return
    end

    note(phase .. " request", req)
    note(phase .. " fetch", ngxvar.fetch("uri", req))
end


-- Where there is one.
function _M.phase(name)
    note("phase " .. name, ngxvar.fetch("uri", (ngxvar.request())))
end


-- Of all that the module reads itself, and of some others.
function _M.types()
    local names = { "http_user_agent", "arg_a", "upstream_status", "upstream_addr",
                    "pid", "time_local" }

    for line in io.lines(_M.names) do
        for name in line:gmatch('b"([%l_]+)"') do
            names[#names + 1] = name
        end

        if line:find("_ => return None", 1, true) then
            break
        end
    end

    for _, name in ipairs(names) do
        note("type " .. name, type((ngxvar.fetch(name))))
    end
end


local function message(_, err)
    return (tostring(err):gsub("^.-:%d+: ", ""))
end


function _M.statements()
    local req = ngxvar.request()

    for key, value in pairs(ngxvar) do
        note("key " .. key, type(value))
    end

    note("version", ngxvar._VERSION)
    note("lua_version", ngx.config.ngx_lua_version)
    note("core_version", base.version)

    -- fetch
    own("fetch takes the pointer of the current request",
        ngxvar.fetch("uri", base.get_request()) == ngx.var.uri)
    own("fetch without a request is of the current one",
        ngxvar.fetch("uri") == ngx.var.uri)
    own("a number is a capture",
        ngxvar.fetch(1, req) == ngx.var[1] and ngx.var[1] == "x")
    own("nil when it is not set", ngxvar.fetch("arg_none", req) == nil)
    own("a name that is no string or number raises an error",
        not pcall(ngxvar.fetch, nil, req) and not pcall(ngxvar.fetch, {}, req)
        and not pcall(ngxvar.fetch, true, req))

    note("other pointer", ngxvar.fetch("uri", ffi.cast("void *", 4096)))

    local strangers = { number = 1, string = "x", table = {}, ["true"] = true,
                        ["false"] = false, ["function"] = print,
                        ["thread"] = coroutine.create(function () end),
                        ["an integer of FFI"] = ffi.new("uint64_t", 1) }

    for name, stranger in pairs(strangers) do
        note("not a request: " .. name, ngxvar.fetch("uri", stranger))
    end

    note("not a request: nil", ngxvar.fetch("uri", nil))

    -- request
    own("a handle names its request in logs",
        tostring(req) == tostring(ngxvar.request()))
    kept = req

    -- live
    own("live is true", ngxvar.live(req) == true)

    -- set
    own("set assigns", ngxvar.set("foo", "y", req) == true and ngx.var.foo == "y")
    own("set of nil unsets",
        ngxvar.set("foo", nil, req) == true and ngx.var.foo == nil)

    local ok, err = ngxvar.set("uri", "x", req)
    own("set returns what ngx.var raises", ok == nil and err
        == message(pcall(function () ngx.var.uri = "x" end)))

    -- getter, setter
    own("a getter gives what fetch gives",
        ngxvar.getter("status")(req) == ngxvar.fetch("status", req)
        and ngxvar.getter("uri")(req) == ngxvar.fetch("uri", req))
    own("a setter sets",
        ngxvar.setter("foo")("z", req) == true and ngx.var.foo == "z")

    -- enable_patch, patch_ngx_var
    local uri, host = ngx.var.uri, ngx.var.host
    ngxvar.enable_patch(false)
    own("enable_patch(false) gives the same", ngxvar.fetch("uri", req) == uri
        and type(ngxvar.fetch("status", req)) == "number")
    ngxvar.enable_patch(true)

    local unchanged = message(pcall(function () ngx.var.uri = "x" end))
    ngxvar.patch_ngx_var()
    own("patch_ngx_var gives the same", ngx.var.uri == uri
        and ngx.var.host == host and ngx.var.foo == "z" and ngx.var[1] == "x"
        and message(pcall(function () ngx.var.uri = "x" end)) == unchanged)
end


-- In a later request than statements().
function _M.stale()
    note("stale fetch", ngxvar.fetch("uri", kept))
    note("stale get", ngxvar.getter("uri")(kept))
    note("stale set", ngxvar.set("foo", "x", kept))
    note("stale setter", ngxvar.setter("foo")("x", kept))
    note("stale live", ngxvar.live(kept))
    own("handles of two requests differ",
        tostring(kept) ~= tostring(ngxvar.request()))
end


function _M.timer()
    local done = semaphore.new()

    assert(ngx.timer.at(0, function ()
        _M.at_start("timer")
        done:post()
    end))

    assert(done:wait(10))
end


function _M.handshake(port)
    local socket = ngx.socket.tcp()
    assert(socket:connect("127.0.0.1", port))
    assert(socket:sslhandshake(false, "localhost", false))
    socket:close()
end


return _M
