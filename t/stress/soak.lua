-- What t/bin/soak runs in each phase of each request.
--
-- $rid, nginx's random $request_id, names a request. What its ngx.ctx and its handle say,
-- after any redirect, has to have the same $rid; another one fails the run.

local base = require "resty.core.base"
local ffi = require "ffi"
local ngxvar = require "resty.ngxvar"

local fetch, live, request = ngxvar.fetch, ngxvar.live, ngxvar.request
local get_rid = ngxvar.getter("rid")
local get_uri = ngxvar.getter("uri")
local get_request = base.get_request
local random = math.random

ffi.cdef[[
double ngx_http_lua_var_testing_figure(uint32_t which);
]]

local _M = {
    -- the message of deliberate errors
    wanted = setmetatable({}, { __tostring = function () return "wanted" end }),
}

local STALE = "stale request"
local FAKE = "no variables in this context (TLS handshake, timer or worker start)"

local counts = { requests = 0, checks = 0, foreign = 0, lost = 0, errors = 0, stale = 0 }

-- $rid -> the ngx.ctx of a live request
local begun = {}

-- handles and pointers of requests, most of them ended
local kept = {}
local KEPT = 500
local kept_count = 0

-- Lua's own coroutines, which do not end with the request
local coroutines = {}
local COROUTINES = 20


local function complain(count, ...)
    -- there is no ngx.var in timers and handshakes
    local ok, uri = pcall(function () return ngx.var.uri end)

    counts[count] = counts[count] + 1
    ngx.log(ngx.CRIT, "soak: ", count, ": ", ngx.get_phase(), " of ", ok and uri or "no request",
            ": ", ...)
end


local function same(what, value, wanted)
    if value ~= wanted then
        complain("foreign", what, " is ", tostring(value), ", wanted ", tostring(wanted))
    end
end


local function keep(handle, rid)
    kept[kept_count % KEPT + 1] = { handle = handle, pointer = get_request(), rid = rid }
    kept_count = kept_count + 1
end


-- Uses a handle of any request, which has to read that request or be refused.
local function check_outcome(rid, value, err)
    if value ~= nil then
        same("a kept handle's request", value, rid)
    elseif err == STALE then
        counts.stale = counts.stale + 1
    else
        complain("errors", "a kept handle: ", tostring(err))
    end
end


local function check_handle(handle, rid)
    check_outcome(rid, fetch("rid", handle))
    check_outcome(rid, get_rid(handle))
end


-- Uses one of the kept handles and pointers; a pointer has to be the current request's or
-- refused.
local function check_kept(rid)
    local one = kept[random(KEPT)]

    if not one then
        return
    end

    check_handle(one.handle, one.rid)

    local value, err = fetch("rid", one.pointer)

    if value ~= nil then
        same("a kept pointer's request", value, rid)
        same("a kept pointer", one.pointer, get_request())
    elseif err == STALE or err == FAKE then
        counts.stale = counts.stale + 1
    else
        complain("errors", "a kept pointer: ", tostring(err))
    end
end


local function check_coroutine()
    local one = coroutines[random(COROUTINES)]

    if one then
        local ok, value, err = coroutine._resume(one.co)

        check_outcome(one.rid, value, ok and err or value)
    end
end


-- Checks the handle and the ngx.ctx of the current request.
local function check_own(ctx, rid)
    local handle = ctx.handle

    same("ngx.ctx", ctx.rid, rid)
    same("the handle's request", fetch("rid", handle), rid)
    same("the current request", fetch("rid"), rid)
    same("its header", fetch("http_x_id", handle), ngx.var.http_x_id)
    same("its uri", fetch("uri", handle), ngx.var.uri)
    same("a getter", (get_rid(handle)), rid)
    same("another", (get_uri(handle)), ngx.var.uri)
    same("live", live(handle), true)
end


local function check()
    local rid = ngx.var.rid

    -- a request that could not be parsed has none
    if not rid or rid == "" then
        return
    end

    counts.checks = counts.checks + 1

    if ngx.is_subrequest then
        local handle = request()

        same("a subrequest", fetch("rid", handle), rid)
        same("a subrequest's uri", fetch("uri", handle), ngx.var.uri)
        keep(handle, rid)
        return
    end

    local ctx = ngx.ctx
    local known = begun[rid]

    if rawget(ctx, "rid") == nil then
        if known then
            complain("lost", rid)
        end

        -- the handshake's ngx.ctx is inherited, and its request refused
        local from_handshake = ctx.from_handshake

        if from_handshake then
            local value, err = fetch("uri", from_handshake)

            if value ~= nil or err ~= STALE and err ~= FAKE then
                complain("foreign", "a handshake's handle gives ", tostring(value or err))
            end

            counts.stale = counts.stale + 1
        end

        ctx.rid = rid
        ctx.x_id = ngx.var.http_x_id
        ctx.handle = request()
        begun[rid] = ctx
        keep(ctx.handle, rid)

    elseif known ~= ctx then
        complain("foreign", "another ngx.ctx than at first")
    end

    check_own(ctx, rid)
    check_kept(rid)
    check_coroutine()
end


local function guarded(f)
    return function ()
        local ok, err = pcall(f)

        if not ok then
            complain("errors", tostring(err))
        end
    end
end

_M.check = guarded(check)


_M.last_check = guarded(function ()
    check()
    counts.requests = counts.requests + 1

    if ngx.var.rid then
        begun[ngx.var.rid] = nil
    end
end)


-- Sends back the client's id from the first ngx.ctx, for the client to compare.
_M.answer = guarded(function ()
    if not ngx.is_subrequest then
        ngx.header["X-Id-Back"] = ngx.ctx.x_id
    end
end)


function _M.content()
    _M.check()
    ngx.say(ngx.var.rid)
end


function _M.subrequests()
    _M.check()

    -- with the variables of this request, $rid among them
    local first = ngx.location.capture("/inner", { copy_all_vars = true })
    local second, third = ngx.location.capture_multi {
        { "/inner", { ctx = ngx.ctx, copy_all_vars = true } },
        { "/inner-proxy", { share_all_vars = true } },
    }

    for _, res in ipairs { first, second } do
        same("a subrequest's body", res.body, ngx.var.rid .. "\n")
    end

    same("a proxied subrequest's status", third.status, 200)

    _M.content()
end


-- Uses the handle several times, while its request is live and afterwards.
function _M.keep_in_timer()
    local rid, handle = ngx.var.rid, ngx.ctx.handle

    for _, delay in ipairs { 0, 0.01, 0.1 } do
        -- at the end of a worker there are no timers any more
        ngx.timer.at(delay, guarded(function () check_handle(handle, rid) end))
    end
end


function _M.keep_in_coroutine()
    local handle = ngx.ctx.handle

    local co = coroutine._create(function ()
        while true do
            coroutine._yield(fetch("rid", handle))
        end
    end)

    coroutines[random(COROUTINES)] = { co = co, rid = ngx.var.rid }
end


function _M.threads()
    local rid, handle = ngx.var.rid, ngx.ctx.handle

    local function look()
        ngx.sleep(random() * 0.01)
        same("in a light thread", fetch("rid", handle), rid)
        _M.check()
    end

    local one, two = ngx.thread.spawn(look), ngx.thread.spawn(look)

    ngx.thread.wait(one)
    ngx.thread.wait(two)
end


function _M.handshake()
    local handle = request()

    ngx.ctx.from_handshake = handle
    check_kept()
end


-- Each worker writes a line at its start and at its end.
local function note(file, what, ...)
    local out = assert(io.open(file, "a"))

    -- one write, so lines of several workers do not mix
    out:write(table.concat({ what, ngx.worker.pid(), ... }, " "), "\n")
    out:close()
end


function _M.start(file)
    math.randomseed(ngx.worker.pid() + ngx.now() * 1000)
    note(file, "start")
end


function _M.finish(file)
    local left = 0

    for _ in pairs(begun) do
        left = left + 1
    end

    local figure = ffi.C.ngx_http_lua_var_testing_figure

    note(file, "end", "requests", counts.requests, "checks", counts.checks,
         "foreign", counts.foreign, "lost", counts.lost, "errors", counts.errors,
         "stale", counts.stale, "live", figure(0), "refused", figure(3),
         "restored", figure(4), "left", left)
end


-- Collects garbage, so that memory can be compared; prints the worker's pid.
function _M.resident()
    collectgarbage()
    collectgarbage()
    ngx.say(ngx.worker.pid())
end


return _M
