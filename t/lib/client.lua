-- Clients that the Test::Nginx format lacks, driven from Lua in the nginx that
-- is under test: several requests on one connection, TLS, HTTP/2, one that leaves.
--
--     local c = client.connect{ port = 1234, tls = true }
--     local res = c:request("/uri", { headers = { ["X-A"] = "b" } })
--     res.status, res.headers["x-a"], res.body
--     c:close()
--
-- Every function raises an error where a client of another kind would give up.

local _M = {}

local Connection = { __index = {} }

local TIMEOUT = 10000   -- ms; only a failing test waits that long


-- options: port; host (127.0.0.1); tls; server_name (localhost); session, of an
-- earlier connection's handshake
function _M.connect(options)
    local sock = ngx.socket.tcp()

    sock:settimeout(TIMEOUT)
    assert(sock:connect(options.host or "127.0.0.1", options.port,
                        -- never one that another test has left in the pool
                        { pool = "client" .. tostring(sock) }))

    local self = setmetatable({ sock = sock }, Connection)

    if options.tls then
        self.session = assert(sock:sslhandshake(options.session,
                                                options.server_name or "localhost",
                                                false))
    end

    return self
end


function Connection.__index:send(data)
    assert(self.sock:send(data))
end


-- The text of a request, for those who send several at once.
-- options: method, headers, body, version
function _M.request_text(uri, options)
    options = options or {}

    local body = options.body
    local headers = options.headers or {}
    local lines = {
        (options.method or "GET") .. " " .. uri .. " HTTP/" .. (options.version or "1.1"),
        "Host: " .. (headers.Host or "localhost"),
    }

    for name, value in pairs(headers) do
        if name ~= "Host" then
            lines[#lines + 1] = name .. ": " .. value
        end
    end

    if body then
        lines[#lines + 1] = "Content-Length: " .. #body
    end

    return table.concat(lines, "\r\n") .. "\r\n\r\n" .. (body or "")
end


local function read_chunked(sock)
    local parts = {}

    while true do
        local size = tonumber(assert(sock:receive("*l")):match("^%x+"), 16)

        if size == 0 then
            assert(sock:receive("*l"))
            return table.concat(parts)
        end

        parts[#parts + 1] = assert(sock:receive(size))
        assert(sock:receive("*l"))
    end
end


-- The next response.  `method` is that of its request.
function Connection.__index:response(method)
    local sock = self.sock
    local line = assert(sock:receive("*l"))
    local status = tonumber(line:match("^HTTP/%S+ (%d+)"))
    local headers = {}

    while true do
        line = assert(sock:receive("*l"))

        if line == "" then
            break
        end

        local name, value = line:match("^([^:]+): *(.*)$")
        headers[name:lower()] = value
    end

    if status == 100 then
        return self:response(method)
    end

    local body

    if method == "HEAD" or status == 204 or status == 304 then
        body = ""

    elseif headers["transfer-encoding"] == "chunked" then
        body = read_chunked(sock)

    elseif headers["content-length"] then
        local length = tonumber(headers["content-length"])
        body = length > 0 and assert(sock:receive(length)) or ""

    else
        body = assert(sock:receive("*a"))
    end

    return { status = status, headers = headers, body = body }
end


function Connection.__index:request(uri, options)
    self:send(_M.request_text(uri, options))

    return self:response(options and options.method)
end


-- Waits until the server has closed the connection.
function Connection.__index:await_close()
    local data, err = self.sock:receive(1)

    assert(not data and err == "closed", data or err)
end


function Connection.__index:close()
    self.sock:close()
end


-- One request on a connection of its own, to this nginx or to `options.port`.
function _M.get(uri, options)
    options = options or {}

    local c = _M.connect{ port = options.port or tonumber(ngx.var.server_port),
                          tls = options.tls }
    local headers = { Connection = "close" }

    for name, value in pairs(options.headers or {}) do
        headers[name] = value
    end

    local res = c:request(uri, { method = options.method, headers = headers,
                                 body = options.body })

    c:close()

    return res
end


-- Runs a program; its output, or an error with what it said.
function _M.run(argv)
    local pipe = require "ngx.pipe"
    local proc = assert(pipe.spawn(argv, { merge_stderr = true }))

    proc:set_timeouts(TIMEOUT, TIMEOUT, TIMEOUT, TIMEOUT)

    local output = proc:stdout_read_all() or ""
    local ok, reason, status = proc:wait()

    if not ok then
        error(table.concat(argv, " ") .. ": " .. tostring(reason) .. " "
              .. tostring(status) .. "\n" .. output, 2)
    end

    return output
end


-- All URIs at once, as streams of one HTTP/2 connection.  The bodies, in the
-- order in which they came.
-- options: port; tls; headers
function _M.http2(uris, options)
    local base = (options.tls and "https" or "http") .. "://127.0.0.1:" .. options.port
    local argv = { "nghttp", "--no-verify-peer", "--timeout=10" }

    for name, value in pairs(options.headers or {}) do
        argv[#argv + 1] = "--header=" .. name .. ": " .. value
    end

    for _, uri in ipairs(uris) do
        argv[#argv + 1] = base .. uri
    end

    return _M.run(argv)
end


local commands = 0

-- Runs a program as run() does, where the Lua module has no ngx.pipe (Debian's).
-- In the background, for this worker has to answer it; without this worker's
-- sockets, which would stay open as long as the program runs.
function _M.command(argv)
    commands = commands + 1

    local file = ngx.config.prefix() .. "logs/command-" .. ngx.worker.pid() .. "-" .. commands
    local words = { "perl", "-MPOSIX", "-e", [[
        POSIX::close($_) for 3 .. 1023;
        my $file = shift;
        open STDIN, "<", "/dev/null";
        open STDOUT, ">", "$file.tmp";
        open STDERR, ">&", STDOUT;
        $| = 1;
        my $status = system { $ARGV[0] } @ARGV;
        print "\n$status";
        rename "$file.tmp", $file;
    ]], file }

    for _, word in ipairs(argv) do
        words[#words + 1] = word
    end

    for i, word in ipairs(words) do
        words[i] = "'" .. word:gsub("'", [['\'']]) .. "'"
    end

    os.execute(table.concat(words, " ") .. " &")

    local deadline = ngx.now() + TIMEOUT / 1000
    local result

    repeat
        ngx.sleep(0.002)
        ngx.update_time()
        assert(ngx.now() < deadline, "no end of " .. argv[1])
        result = io.open(file)
    until result

    local output, status = result:read("*a"):match("^(.*)\n(%-?%d+)$")

    result:close()
    os.remove(file)

    if status ~= "0" then
        error(table.concat(argv, " ") .. ": status " .. status .. "\n" .. output, 2)
    end

    return output
end


return _M
