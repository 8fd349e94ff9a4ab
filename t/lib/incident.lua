-- The application of incident.t: caches a request in ngx.ctx during the TLS
-- handshake and in the access phase, as APISIX does, and reads variables with what
-- it finds in ngx.ctx later on, as its plugins and the Prometheus exporter do.
--
-- Findings are recorded by request.  The argument id of $request_uri names a request in
-- every phase, also after a redirect.

local client = require "client"
local ffi = require "ffi"
local ngxvar = require "resty.ngxvar"
local get_request = require("resty.core.base").get_request

local _M = {
    pooled = false,         -- api_ctx tables come from a pool
    raw = false,            -- bare pointers are cached instead of handles
}

-- the readers read these through a metatable
local NAMES = { "scheme", "host", "remote_addr", "uri", "request_uri" }

local found = {}            -- by id: what each reader found
local workers = {}          -- by pid


local function my_id()
    return (ngx.var.request_uri or ""):match("id=(%w+)") or "?"
end


local var_mt = {
    __index = function (var, name)
        return (ngxvar.fetch(name, var._request))
    end,
}

local function new_var()
    return setmetatable({
        _request = _M.raw and get_request() or ngxvar.request(),
        _pointer = get_request(),
    }, var_mt)
end


local pool = {}

local function new_api_ctx(id, var)
    local api_ctx = _M.pooled and table.remove(pool) or {}
    api_ctx.id = id
    api_ctx.var = var
    return api_ctx
end


-- In a phase of the handshake.  APISIX, with its pool, caches no request there.
function _M.handshake()
    ngx.ctx.api_ctx = new_api_ctx("handshake", not _M.pooled and new_var() or nil)
end


function _M.access()
    ngx.ctx.api_ctx = new_api_ctx(my_id(), new_var())
end


-- What a reader finds: whose ctx, and what reading with its request gives:
--
--     own            the request's own ctx, and each value is the one of ngx.var
--     ID: REASON     that of request ID, or of the handshake; refused
--     ID: VALUES     that of another request, and something was read
--     ID             it has no request
--     none           there is no ctx
local function finding()
    local api_ctx = ngx.ctx.api_ctx

    if not api_ctx then
        return "none"
    end

    local var = api_ctx.var

    if not var then
        return api_ctx.id
    end

    local values, reasons, right = {}, {}, 0

    for _, name in ipairs(NAMES) do
        local value = var[name]

        if value ~= nil then
            values[#values + 1] = name .. "=" .. tostring(value)
        else
            local _, why = ngxvar.fetch(name, var._request)
            reasons[why or "nil"] = true
        end

        if value == ngx.var[name] then
            right = right + 1
        end
    end

    if api_ctx.id == my_id() and right == #NAMES then
        return "own"
    end

    local reason = next(reasons)

    if #values > 0 or next(reasons, reason) then
        return api_ctx.id .. ": " .. table.concat(values, " ")
    end

    return api_ctx.id .. ": " .. reason
end


-- A reader, in a phase.
function _M.see(phase)
    local id = my_id()

    found[id] = found[id] or {}
    table.insert(found[id], phase .. "=" .. finding())
    workers[ngx.worker.pid()] = true

    if phase == "log" then
        found[id].ended = true

        if _M.pooled and ngx.ctx.api_ctx then
            table.insert(pool, ngx.ctx.api_ctx)
        end
    end
end


-- All six C functions with the pointer that is cached, as lua-var-nginx-module's
-- Lua calls them: "refused" when each says NGX_ERROR and leaves nothing behind.
function _M.call_c_functions(r)
    local out = ffi.new("ngx_str_t[1]")
    local buf = ffi.new("unsigned char[64]")
    local got = {}

    for _, name in ipairs { "uri", "host", "remote_addr", "scheme" } do
        -- the function has to overwrite both
        out[0].data, out[0].len = buf, 64
        local rc = ffi.C["ngx_http_lua_var_ffi_" .. name](r, out)
        got[#got + 1] = rc .. ":" .. ffi.string(out[0].data, out[0].len)
    end

    local function by_buffer(len)
        got[#got + 1] = len .. ":" .. (len > 0 and "time" or ffi.string(buf))
    end

    ffi.fill(buf, 64)
    by_buffer(ffi.C.ngx_http_lua_var_ffi_request_time(r, buf))

    for kind = 0, 2 do
        ffi.fill(buf, 64)
        by_buffer(ffi.C.ngx_http_lua_var_ffi_upstream_response_time(r, buf, kind))
    end

    local text = table.concat(got, " ")
    return text == ("-1: "):rep(8):sub(1, -2) and "refused" or text
end

ffi.cdef[[
int ngx_http_lua_var_ffi_uri(ngx_http_request_t *r, ngx_str_t *uri);
int ngx_http_lua_var_ffi_host(ngx_http_request_t *r, ngx_str_t *host);
int ngx_http_lua_var_ffi_remote_addr(ngx_http_request_t *r, ngx_str_t *addr);
int ngx_http_lua_var_ffi_scheme(ngx_http_request_t *r, ngx_str_t *scheme);
int ngx_http_lua_var_ffi_request_time(ngx_http_request_t *r, unsigned char *buf);
int ngx_http_lua_var_ffi_upstream_response_time(ngx_http_request_t *r,
    unsigned char *buf, int type);
]]


-- Another reader: the C functions with the pointer that the handshake cached.
function _M.see_by_c()
    local pointer = ngx.ctx.api_ctx.var._pointer
    local id = my_id()

    found[id] = found[id] or {}

    if ffi.cast("uintptr_t", pointer) == ffi.cast("uintptr_t", get_request()) then
        -- this request now has the handshake's address
        table.insert(found[id], "c=own address")
    else
        table.insert(found[id], "c=" .. _M.call_c_functions(pointer))
    end
end


-- ---- The client's side ----------------------------------------------------------

-- Requests the URIs one after another on one HTTP/1.1 connection with TLS, each with an id,
-- from `first` on.  Returns their codes.
function _M.http1(port, uris, first)
    local c = client.connect{ port = port, tls = true }
    local codes = {}

    for i, uri in ipairs(uris) do
        codes[i] = c:request(uri .. "?id=" .. (first or 1) + i - 1).status
    end

    c:close()
    return table.concat(codes, " ")
end


-- The same over HTTP/2, by curl, which also says how many connections it opened.
-- "plain /uri" goes to the plain port, on a connection of its own.
function _M.http2(port, uris, plain_port)
    local argv = {}

    for i, uri in ipairs(uris) do
        local plain = uri:match("^plain (.*)")
        local url = plain and "http://localhost:" .. plain_port .. plain
                    or "https://localhost:" .. port .. uri

        for _, word in ipairs { i == 1 and "curl" or "--next", "--silent", "--insecure",
                                "--noproxy", "*", "--max-time", "25",
                                "--resolve", url:match("localhost:%d+") .. ":127.0.0.1",
                                plain and "--http1.1" or "--http2",
                                "--output", "/dev/null",
                                "--write-out", "%{http_code}/%{http_version}/%{num_connects} ",
                                url .. "?id=" .. i }
        do
            argv[#argv + 1] = word
        end
    end

    -- one connection for all that are not plain
    local codes, opened = {}, 0

    for code, version, connects in client.run(argv):gmatch("(%d+)/(%S+)/(%d+) ") do
        codes[#codes + 1] = code

        if version == "2" then
            opened = opened + connects
        end
    end

    return table.concat(codes, " ") .. ", HTTP/2 connections: " .. opened
end


-- Requests a URI as `count` streams at once, with ids from 1 on.  Returns the number of
-- bodies that are "page".
function _M.http2_at_once(port, uri, count)
    local uris = {}

    for id = 1, count do
        uris[id] = uri .. "?id=" .. id
    end

    local bodies = client.http2(uris, { port = port, tls = true })
    return (select(2, bodies:gsub("page\n", "")))
end


-- Waits for the log phase of each request, and prints a line of findings for each run of ids
-- that have the same.
function _M.tell(ids)
    local lines = {}

    for i = 1, #ids do
        local id = tostring(ids[i])

        client.wait_until(function () return found[id] and found[id].ended end,
                          "the log phase of request " .. id)

        local text = table.concat(found[id], " ")
        local last = lines[#lines]

        if last and last.text == text then
            last.ids = last.ids .. "," .. id
        else
            lines[#lines + 1] = { ids = id, text = text }
        end
    end

    for _, line in ipairs(lines) do
        ngx.say(line.ids, " ", line.text)
    end

    local count = 0

    for _ in pairs(workers) do
        count = count + 1
    end

    ngx.say("workers: ", count)
    found = {}
end


return _M
