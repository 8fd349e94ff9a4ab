-- Says phase by phase what a request's ngx.ctx is after a redirect.
--
-- keep() remembers the table; see() compares ngx.ctx with it by identity, and records one of
--
--     same      the same table
--     new       another, empty table
--     foreign   a table that another request kept
--     other     another table that is not empty
--
-- CtxWitness.pm puts see() into every phase of every location.  It records only after a
-- redirect.  The log phase writes the line
-- "seen: rewrite=same access=same ...;" to error.log.

local client = require "client"

local _M = {}

local kept = {}         -- by request: its table
local seen = {}         -- by request: what was recorded so far
local finished = {}     -- the lines of requests that have ended, in order
local alive = setmetatable({}, { __mode = "k" })    -- tables that were not collected


-- Names a request through all redirects, without its ngx.ctx.  Of several subrequests only
-- one can be recorded at a time.
local function key()
    local id = ngx.var.connection .. "." .. ngx.var.connection_requests

    return ngx.is_subrequest and id .. ".sub" or id
end


local function verdict(ctx, id)
    if rawequal(ctx, kept[id]) then
        return "same"
    end

    if next(ctx) == nil then
        return "new"
    end

    local owner = rawget(ctx, "kept_by")

    return owner and owner ~= id and "foreign" or "other"
end


-- Before a redirect.  In the server's rewrite phase it runs again after a redirect to a URI,
-- and then does see().
function _M.keep()
    local id = key()

    if kept[id] then
        return _M.see("server_rewrite")
    end

    local ctx = ngx.ctx

    ctx.kept_by = id
    kept[id] = ctx
    seen[id] = {}
    alive[ctx] = true

    return ctx
end


-- The header X-First names the first phase that may touch ngx.ctx, which is where it gets
-- restored.
function _M.see(phase)
    local id = key()
    local list = seen[id]

    if not list or not ngx.req.is_internal() then
        return
    end

    local first = ngx.var.http_x_first

    if first and first ~= phase and #list == 0 then
        return
    end

    local entry = phase .. "=" .. verdict(ngx.ctx, id)

    -- a body filter runs several times
    if list[#list] ~= entry then
        list[#list + 1] = entry
    end
end


-- What was recorded so far, of this request or of its subrequest.
function _M.seen(of_subrequest)
    local list = seen[key() .. (of_subrequest and ".sub" or "")]

    return list and table.concat(list, " ")
end


-- Content of an error page.
function _M.page()
    _M.see("content")
    ngx.say("page")
end


-- The last thing in a request's log phase.
function _M.finish()
    _M.see("log")

    local id = key()

    if not kept[id] then
        return
    end

    local line = _M.seen()

    if line ~= "" then
        ngx.log(ngx.WARN, "seen: ", line, ";")
    end

    finished[#finished + 1] = line

    kept[id], seen[id] = nil, nil
    kept[id .. ".sub"], seen[id .. ".sub"] = nil, nil
end


-- Forgets the requests that have ended so far.
function _M.reset()
    finished = {}
end


-- The lines of the next `count` requests that kept something, once they have ended.
function _M.await(count)
    client.wait_until(function () return #finished >= count end,
                      "the end of " .. count .. " requests")

    return finished
end


-- How many of the kept tables are still referenced.
function _M.alive()
    collectgarbage()
    collectgarbage()

    local count = 0

    for _ in pairs(alive) do
        count = count + 1
    end

    return count
end


-- Lists how often each result came.
function _M.tally(results)
    local count, order = {}, {}

    for _, result in ipairs(results) do
        if not count[result] then
            order[#order + 1] = result
        end

        count[result] = (count[result] or 0) + 1
    end

    table.sort(order)

    for i, result in ipairs(order) do
        order[i] = count[result] .. " x " .. result
    end

    return table.concat(order, "\n")
end


-- Walks lua-nginx-module's references to ngx.ctx tables, as lua-resty-core and luaL_unref
-- keep them: ctxs[0] is the first free number, ctxs[free] the next one, and the number freed
-- first has no entry.  A number that was freed twice is in the list twice, or free and used.
function _M.references()
    local ctxs = debug.getregistry().ngx_lua_ctx_tables
    local free, used = {}, 0
    local ref = ctxs[0]

    while ref do
        if type(ref) ~= "number" then
            return nil, "a reference in use is in the free list"
        end

        if free[ref] then
            return nil, "reference " .. ref .. " is in the free list twice"
        end

        free[ref] = true
        ref = ctxs[ref]
    end

    for number, value in pairs(ctxs) do
        if type(value) == "table" then
            used = used + 1

        elseif number ~= 0 and not free[number] then
            return nil, "reference " .. number .. " is neither free nor in use"
        end
    end

    return { used = used }
end


-- ---- Streams that share a connection: CtxWitness::stream_server ------------------

-- Content that tells whose connection and which protocol it is for.
function _M.stream_page()
    -- the other streams get to their error pages meanwhile
    ngx.sleep(0.01)
    _M.see("content")
    ngx.say("page for port ", ngx.var.remote_port, " by ", ngx.var.server_protocol)
end


-- Sends errors of several kinds at once, by client.http2 or client.http3, and says
-- what came of each.
function _M.try_streams(send, port)
    local uris = {}

    _M.reset()

    for i = 1, 8 do
        for _, uri in ipairs{ "/err", "/error", "/fine", "/later", "/refused", "/named" } do
            uris[#uris + 1] = uri .. "?" .. i
        end
    end

    local senders, bodies = {}, {}

    for line in send(uris, { port = port }):gmatch("[^\n]+") do
        local sender = line:match("^page for (.*)$")

        if sender then
            senders[sender] = true
            line = "page"
        end

        bodies[#bodies + 1] = line
    end

    ngx.say(_M.tally(bodies))

    for sender in pairs(senders) do
        ngx.say((sender:gsub("%d+", "one", 1)))
    end

    ngx.say(_M.tally(_M.await(40)))
end


-- Kills a client, of client.start_http2 or client.start_http3, whose ten requests wait
-- in their error pages, and says what came of them.
function _M.leave_streams(start, port)
    local events = ngx.shared.events
    local before = assert(_M.references())
    local uris = {}

    _M.reset()
    events:set("arrived", 0)

    for i = 1, 10 do
        uris[i] = "/leave?" .. i
    end

    local program = start(uris, { port = port, headers = { ["X-First"] = "log" } })

    client.wait_until(function () return events:get("arrived") == 10 end)
    program:kill()
    program:wait()

    ngx.say(_M.tally(_M.await(10)))
    ngx.say("references kept: ", assert(_M.references()).used - before.used)
end


return _M
