-- The Lua of cycle.t.  Each request reads its own variables in every way and answers with one
-- line: its id, the generation of the configuration that serves it, and "ok" or the problem.
--
-- required in init_by_lua, which sets the global `generation` before

local ngxvar = require "resty.ngxvar"

local _M = {}

-- Made when the configuration is read, before any request.
local names = {
    "uri", "args", "arg_id", "http_x_id", "host", "request_method", "status",
    "remote_addr", "server_port", "own", "mapped", "gone", "added", "arg_none",
    "cookie_none", "from_error_page",
}

local getters = {}

for _, name in ipairs(names) do
    getters[name] = ngxvar.getter(name)
end

local set_own = ngxvar.setter("own")


-- The first difference between two ways to read a variable.
local function difference(req, id)
    for _, name in ipairs(names) do
        local expected = ngx.var[name]

        if name == "status" then
            expected = tonumber(expected)
        end

        if ngxvar.fetch(name) ~= expected or ngxvar.fetch(name, req) ~= expected
           or getters[name](req) ~= expected
        then
            return name .. " is " .. tostring(expected) .. ", but fetch="
                   .. tostring(ngxvar.fetch(name)) .. " handle="
                   .. tostring(ngxvar.fetch(name, req)) .. " getter="
                   .. tostring(getters[name](req))
        end
    end

    if getters.arg_id(req) ~= id or getters.http_x_id(req) ~= id then
        return "another id: " .. tostring(getters.arg_id(req))
    end

    -- values that this generation's configuration defines
    if getters.own(req) ~= "own " .. generation then
        return "own is " .. tostring(getters.own(req))
    end

    if getters.mapped(req) ~= "mapped " .. generation .. " " .. id then
        return "mapped is " .. tostring(getters.mapped(req))
    end
end


local function own_difference(req, id)
    set_own("set " .. id, req)

    local value = getters.own(req)

    ngx.var.own = "own " .. generation

    if value ~= "set " .. id then
        return "own was set, but is " .. tostring(value)
    end
end


-- At the start of a request; not again after a redirect.
function _M.begin()
    if ngx.req.is_internal() and not ngx.is_subrequest then
        return
    end

    local ctx = ngx.ctx

    ctx.id = ngx.var.arg_id
    ctx.req = ngxvar.request()
end


local last

-- At the end of a request; with "lost", its ngx.ctx has to be empty.
function _M.answer(lost)
    local id = ngx.var.http_x_id
    local req = ngxvar.request()
    local ctx = ngx.ctx
    local problem

    if lost then
        if next(ctx) then
            problem = "a ngx.ctx of " .. tostring(ctx.id)
        end

    elseif ctx.id ~= id then
        problem = "the ngx.ctx of " .. tostring(ctx.id)

    elseif tostring(ctx.req) ~= tostring(req) then
        problem = "not the handle of its beginning"
    end

    if not problem and last and tostring(last) ~= tostring(req) and ngxvar.live(last)
       and ngxvar.fetch("arg_id", last) == id
    then
        problem = "the handle of another request names this one"
    end

    problem = problem or difference(req, id) or own_difference(req, id)
              or difference(req, id)
    last = req

    local line = id .. " " .. generation .. " " .. (problem or "ok") .. "\n"

    ngx.header.content_length = #line
    ngx.print(line)
end


-- Checks the request, waits until /go is requested, and checks it again.
function _M.wait()
    local id = ngx.var.http_x_id
    local req = ngxvar.request()
    local before = difference(req, id)
    local dict = ngx.shared.cycle

    dict:set("waiting", true)

    while not dict:get("go") do
        ngx.sleep(0.01)
    end

    local after = not before and difference(req, id)

    if before or after then
        return ngx.say(id, before and " before: " or " after: ", before or after)
    end

    _M.answer()
end


-- Answers with a subrequest's answer, if this request still reads its own values after it.
function _M.capture()
    local id = ngx.var.http_x_id
    local body = ngx.location.capture("/answer", { args = ngx.var.args }).body
    local req = ngxvar.request()
    local problem = difference(req, id)

    if ngx.ctx.id ~= id or tostring(ngx.ctx.req) ~= tostring(req) then
        problem = "the ngx.ctx of " .. tostring(ngx.ctx.id)
    end

    if problem then
        body = id .. " " .. generation .. " after a subrequest: " .. problem .. "\n"
    end

    ngx.header.content_length = #body
    ngx.print(body)
end


return _M
