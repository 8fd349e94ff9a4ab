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


-- Waits until a function gives something true, and returns that.
function _M.wait_until(condition)
    local deadline = ngx.now() + TIMEOUT / 1000

    while true do
        local result = condition()

        if result then
            return result
        end

        if ngx.now() > deadline then
            error("waited in vain", 2)
        end

        ngx.sleep(0.001)
    end
end


-- ngx.pipe needs a patch that Debian's nginx has not got.  So a program is run
-- by a Perl process, which lets go of nginx's sockets, and leaves the output
-- and then the exit status in files.  They are in nginx's prefix, which goes
-- after the test.
local RUNNER = [[
    use POSIX ();
    my ($files, @command) = @ARGV;
    POSIX::close($_) for 3 .. 255;
    open STDOUT, ">", "$files.out";
    open STDERR, ">&", \*STDOUT;
    my $pid = fork;
    if (!$pid) { exec @command; exit 127 }
    sub leave { open my $out, ">", "$files.tmp"; print $out $_[1]; close $out;
                rename "$files.tmp", "$files.$_[0]" }
    leave("pid", $pid);
    waitpid $pid, 0;
    leave("status", $?);
]]

local Program = { __index = {} }
local started = 0


local function read_file(name)
    local file = io.open(name)

    if not file then
        return nil
    end

    local text = file:read("*a")

    file:close()

    return text
end


local function quote(text)
    return "'" .. text:gsub("'", "'\\''") .. "'"
end


-- Starts a program that is to run along, with its arguments in a list.
function _M.start(argv)
    started = started + 1

    local files = ngx.config.prefix() .. "client-" .. ngx.worker.pid() .. "-" .. started
    local self = setmetatable({ files = files }, Program)
    local command = { "perl", "-e", quote(RUNNER), quote(self.files) }

    for _, argument in ipairs(argv) do
        command[#command + 1] = quote(argument)
    end

    os.execute(table.concat(command, " ") .. " </dev/null >/dev/null 2>&1 &")

    return self
end


-- Waits until it has ended; its exit status, as Perl's $?, and its output.
function Program.__index:wait()
    local status = _M.wait_until(function () return read_file(self.files .. ".status") end)
    local output = read_file(self.files .. ".out")

    for _, suffix in ipairs{ ".out", ".pid", ".status" } do
        os.remove(self.files .. suffix)
    end

    return tonumber(status), output
end


function Program.__index:kill()
    local pid = _M.wait_until(function () return read_file(self.files .. ".pid") end)

    os.execute("kill -9 " .. pid)
end


-- Runs a program; its output, or an error with what it said.
function _M.run(argv)
    local status, output = _M.start(argv):wait()

    if status ~= 0 then
        error(table.concat(argv, " ") .. ": status " .. status .. "\n" .. output, 2)
    end

    return output
end


local function nghttp(uris, options)
    local base = (options.tls and "https" or "http") .. "://127.0.0.1:" .. options.port
    local argv = { "nghttp", "--no-verify-peer", "--timeout=10" }

    for name, value in pairs(options.headers or {}) do
        argv[#argv + 1] = "--header=" .. name .. ": " .. value
    end

    for _, uri in ipairs(uris) do
        argv[#argv + 1] = base .. uri
    end

    return argv
end


-- All URIs, which have to differ, at once, as streams of one HTTP/2 connection.
-- The bodies, in the order in which they came.
-- options: port; tls; headers
function _M.http2(uris, options)
    return _M.run(nghttp(uris, options))
end


-- The same by a client that can be killed.
function _M.start_http2(uris, options)
    return _M.start(nghttp(uris, options))
end


local function http3(uris, options)
    local argv = { "curl", "--silent", "--show-error", "--insecure", "--noproxy", "*",
                   "--http3-only", "--max-time", "30", "--parallel" }

    for name, value in pairs(options.headers or {}) do
        argv[#argv + 1] = "--header"
        argv[#argv + 1] = name .. ": " .. value
    end

    for _, uri in ipairs(uris) do
        argv[#argv + 1] = "https://127.0.0.1:" .. options.port .. uri
    end

    return argv
end


-- All URIs at once, as streams of one HTTP/3 connection, and the same by a client that
-- can be killed: as above.
function _M.http3(uris, options)
    return _M.run(http3(uris, options))
end


function _M.start_http3(uris, options)
    return _M.start(http3(uris, options))
end


return _M
