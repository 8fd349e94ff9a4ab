-- Clients that the Test::Nginx format lacks, driven from Lua in the nginx that
-- is under test: several requests on one connection, TLS, HTTP/2, one that leaves.
--
--     local c = client.connect{ port = 1234, tls = true }
--     local res = c:request("/uri", { headers = { ["X-A"] = "b" } })
--     res.status, res.headers["x-a"], res.body
--     c:close()
--
--     client.get("/uri").body             -- on its own connection
--
-- Every function raises an error instead of returning one.

local _M = {}

local Connection = { __index = {} }

local TIMEOUT = 25000   -- ms; only a failing test waits that long
local LIB_DIR = debug.getinfo(1, "S").source:match("^@(.*)/[^/]*$")


-- options: port; host (127.0.0.1, or "unix:/path" without a port); tls; server_name
-- (localhost; false for none); session, of an earlier connection's handshake; certificate, a
-- client's { certificate, key }, parsed by ngx.ssl; timeout
function _M.connect(options)
    local sock = ngx.socket.tcp()
    -- never a connection that another test has left in the pool
    local opts = { pool = "client" .. tostring(sock) }

    sock:settimeout(options.timeout or TIMEOUT)

    if options.port then
        assert(sock:connect(options.host or "127.0.0.1", options.port, opts))
    else
        assert(sock:connect(options.host, opts))
    end

    local self = setmetatable({ sock = sock }, Connection)

    if options.tls then
        local name = options.server_name

        if name == nil then
            name = "localhost"
        end

        if options.certificate then
            assert(sock:setclientcert(unpack(options.certificate)))
        end

        self.session = assert(sock:sslhandshake(options.session, name or nil, false))
    end

    return self
end


function Connection.__index:send(data)
    assert(self.sock:send(data))
end


-- The text of a request, to send several at once.
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


-- All that comes until the server closes the connection.
function Connection.__index:read_to_end()
    local text, _, partial = self.sock:receive("*a")

    return text or partial
end


-- Waits until the server has closed the connection.
function Connection.__index:await_close()
    local data, err = self.sock:receive(1)

    assert(not data and err == "closed", data or err)
end


function Connection.__index:close()
    self.sock:close()
end


-- One request on a connection of its own, and its response.
-- options: those of a request and of connect(); port is this server's by default
function _M.get(uri, options)
    options = options or {}

    local c = _M.connect{ host = options.host, tls = options.tls,
                          port = options.port
                                 or not options.host and tonumber(ngx.var.server_port) }
    local headers = { Connection = "close" }

    for name, value in pairs(options.headers or {}) do
        headers[name] = value
    end

    local res = c:request(uri, { method = options.method, headers = headers,
                                 body = options.body, version = options.version })

    c:close()

    return res
end


-- Waits until a function returns something true, and returns that.  Without it the
-- error names `what`.
function _M.wait_until(condition, what)
    local deadline = ngx.now() + TIMEOUT / 1000

    while true do
        local result = condition()

        if result then
            return result
        end

        if ngx.now() > deadline then
            error("waited in vain" .. (what and " for " .. what or ""), 2)
        end

        ngx.sleep(0.001)
        ngx.update_time()
    end
end


-- A program is run by a Perl process, because ngx.pipe needs a patch that Debian's
-- nginx lacks.  Perl closes nginx's sockets and leaves the output and then the exit
-- status in files below nginx's prefix, which is removed after the test.
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


-- Starts a program in the background; argv is the list of its arguments.
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


-- Runs a program to its end; returns its output, or raises an error with it.
function _M.run(argv)
    local status, output = _M.start(argv):wait()

    if status ~= 0 then
        error(table.concat(argv, " ") .. ": status " .. status .. "\n" .. output, 2)
    end

    return output
end


-- A command line with an option for each header, then a URL for each URI.
local function command(argv, scheme, uris, options)
    for name, value in pairs(options.headers or {}) do
        argv[#argv + 1] = "--header"
        argv[#argv + 1] = name .. ": " .. value
    end

    for _, uri in ipairs(uris) do
        argv[#argv + 1] = scheme .. "://127.0.0.1:" .. options.port .. uri
    end

    return argv
end


local function curl(...)
    return { "curl", "--silent", "--show-error", "--insecure", "--noproxy", "*", ... }
end


local function nghttp(uris, options)
    return command({ "nghttp", "--no-verify-peer", "--timeout=" .. TIMEOUT / 1000 },
                   options.tls and "https" or "http", uris, options)
end


-- Requests all URIs, which have to differ, at once, as streams of one HTTP/2 connection.
-- Returns the bodies in the order in which they came.
-- options: port; tls; headers
function _M.http2(uris, options)
    return _M.run(nghttp(uris, options))
end


-- The same, by a Program, which can be killed.
function _M.start_http2(uris, options)
    return _M.start(nghttp(uris, options))
end


-- Requests the URIs one after another on one HTTP/2 connection with TLS.
function _M.http2_in_turn(uris, options)
    return _M.run(command(curl("--http2", "--max-time", tostring(TIMEOUT / 1000)), "https", uris, options))
end


local function http3(uris, options)
    return command({ LIB_DIR .. "/../bin/http3" }, "https", uris, options)
end


-- As http2 and start_http2, by HTTP/3.
function _M.http3(uris, options)
    return _M.run(http3(uris, options))
end


function _M.start_http3(uris, options)
    return _M.start(http3(uris, options))
end


return _M
