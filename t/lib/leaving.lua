-- What a finalizer gets that runs while nginx destroys its request's pool:
-- t/finalizers-cleanup.t.

local ffi = require "ffi"
local base = require "resty.core.base"
local lua_var_c = require "lua_var_c"
local ngxvar = require "resty.ngxvar"

local _M = {}

local names = { "time_local", "uri", "host", "request_id", "args", "arg_a", "http_x", "status",
                "request_time", "own", "remote_addr", "connection" }

-- Since November 2025 LuaJIT runs finalizers in a thread of their own, which has no request.
local has_thread
local here = coroutine.running()

ffi.gc(ffi.new("int[1]"), function () has_thread = coroutine.running() ~= here end)
collectgarbage()

-- nothing of the request is left to log to
local file

local function write(...)
    file:write(table.concat({ ... }), "\n")
end


-- Writes "refused" if that is said of every name, else what was read or assigned.
local function try(what, f, req)
    local said = {}

    for _, name in ipairs(names) do
        local value, err = f(name, req)

        if value ~= nil or err ~= "stale request" then
            said[#said + 1] = name .. ": " .. tostring(value) .. ", " .. tostring(err)
        end
    end

    write(what, ": ", #said == 0 and "refused" or table.concat(said, "; "))
end


local function try_all(req)
    local is_live, err = ngxvar.live(req)

    try("fetch", ngxvar.fetch, req)
    try("getter", function (name) return ngxvar.getter(name)(req) end)
    try("reader", function (name) return ngxvar.reader{ name }(req) end)
    try("set", function (name) return ngxvar.set(name, "x", req) end)
    try("setter", function (name) return ngxvar.setter(name)("x", req) end)
    write("live: ", tostring(is_live), ", ", err)
end


-- The same for the current request, which may be none at all.
local function try_current(what, f)
    try(what, function (name)
        local value = f(name)

        return value, "stale request"
    end)
end


-- What the finalizer does, by the argument `do`.
local kinds = {}

function kinds.handle()
    try_all(_M.parent)
end


function kinds.child()
    try_all(_M.child)
end


function kinds.pointer()
    try_all(_M.pointer)
end


function kinds.current()
    local req = ngxvar.request()

    try_current("fetch", ngxvar.fetch)
    try_current("getter", function (name) return ngxvar.getter(name)() end)
    try_current("reader", function (name) return ngxvar.reader{ name }() end)
    try_current("set", function (name) return ngxvar.set(name, "x") end)
    write("request: ", (req == nil or not ngxvar.live(req)) and "refused" or tostring(req))
    write("ssl_ctx: ", tostring(ngxvar.ssl_ctx()))
end


-- The current request is a subrequest that is no longer registered, or there is none.
function kinds.left()
    local r = base.get_request()
    local is_left = r and r ~= _M.pointer and not has_thread or r == nil and has_thread

    write("current: ", is_left and "another" or tostring(r))
    write("request: ", tostring(ngxvar.request()))
    kinds.current()
end


function kinds.c()
    write("C: ", lua_var_c.refused(_M.pointer))
end


-- To be called in the first phase.  The cleanups that others add from now on run before that
-- of the handle.
function _M.begin()
    _M.pointer, _M.parent = base.get_request(), ngxvar.request()
    ngx.location.capture("/sub")
    ngx.ctx.used = true
end


function _M.sub()
    _M.child = ngxvar.request()
end


local function finalize()
    collectgarbage("setpause", 200)
    collectgarbage("setstepmul", 200)

    local ok, err = pcall(_M.finalizer)

    write(ok and "end" or "error: " .. tostring(err))
    file:close()
end


-- To be called at the end of the log phase.  The collector runs the finalizer at the next
-- allocation, or when the VM is closed.
function _M.leave(name, is_vm_closed)
    file = assert(io.open(name, "w"))
    -- a subrequest of auth_request has no arguments
    _M.finalizer = assert(kinds[ngx.var.arg_do or "left"])

    if is_vm_closed then
        _M.kept = ffi.gc(ffi.new("int[1]"), finalize)
        return
    end

    collectgarbage()
    collectgarbage("stop")
    ffi.gc(ffi.new("int[1]"), finalize)
    collectgarbage("setpause", 0)
    collectgarbage("setstepmul", 1e6)
    collectgarbage("restart")
end


return _M
