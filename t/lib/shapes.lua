-- Requests of every shape, as bytes, which differential*.t sends.  Many of them no client
-- would send, so they are not made by client.lua.
--
-- A shape: label; server (a key of the ports the test gives, "plain" without);
-- text, or a function that makes it; leave, for a client that does not wait.

local client = require "client"

local _M = {}

local HOST = "Host: shape.test\r\n"


local function get(uri, headers, version)
    return "GET " .. uri .. " HTTP/" .. (version or "1.1") .. "\r\n"
           .. (headers or HOST) .. "Connection: close\r\n\r\n"
end


local function with(method, uri, body, headers)
    return method .. " " .. uri .. " HTTP/1.1\r\n" .. HOST .. (headers or "")
           .. "Content-Length: " .. #body .. "\r\nConnection: close\r\n\r\n" .. body
end


local function many_headers()
    local lines = {}

    for i = 1, 80 do
        lines[i] = "X-Header-" .. i .. ": value " .. i .. "\r\n"
    end

    return HOST .. table.concat(lines)
end


-- HTTP/2 in clear text with prior knowledge: preface, settings, and one HEADERS frame of
-- literals without indexing (RFC 7541, 6.2.2).
local function frame(kind, flags, stream, payload)
    local len = #payload

    return string.char(math.floor(len / 65536), math.floor(len / 256) % 256, len % 256,
                       kind, flags, 0, 0, 0, stream) .. payload
end


local function h2(fields, body)
    local block = {}

    for i, field in ipairs(fields) do
        block[i] = "\0" .. string.char(#field[1]) .. field[1]
                   .. string.char(#field[2]) .. field[2]
    end

    local END_STREAM, END_HEADERS = 1, 4

    return "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" .. frame(4, 0, 0, "")
           .. frame(1, END_HEADERS + (body and 0 or END_STREAM), 1, table.concat(block))
           .. (body and frame(0, END_STREAM, 1, body) or "")
end


-- PROXY protocol version 2, IPv4, from 1.2.3.4:1000 to 5.6.7.8:2000
local PROXY_V2 = "\r\n\r\n\0\r\nQUIT\n\33\17\0\12\1\2\3\4\5\6\7\8\3\232\7\208"


_M.list = {
    -- methods
    { "GET", get("/s") },
    { "HEAD", "HEAD /s HTTP/1.1\r\n" .. HOST .. "Connection: close\r\n\r\n" },
    { "POST", with("POST", "/s", "name=value", "Content-Type: application/x-www-form-urlencoded\r\n") },
    { "POST of nothing", with("POST", "/s", "") },
    { "PUT, chunked", "PUT /s HTTP/1.1\r\n" .. HOST .. "Transfer-Encoding: chunked\r\n"
        .. "Connection: close\r\n\r\n5\r\nhello\r\n0\r\n\r\n" },
    { "PUT to a file", with("PUT", "/s/file", ("x"):rep(20000)) },
    { "OPTIONS", with("OPTIONS", "/s", "") },
    { "DELETE", with("DELETE", "/s?a=1", "") },
    { "PATCH", with("PATCH", "/s", "x") },
    { "MKCOL", with("MKCOL", "/s", "") },
    { "unknown method", with("FROB_NICATE", "/s", "x") },
    { "TRACE", with("TRACE", "/s", "") },

    -- versions
    { "HTTP/0.9", "GET /s?a=1\r\n" },
    { "HTTP/1.0", "GET /s HTTP/1.0\r\n\r\n" },
    { "HTTP/1.0 with a host", get("/s", nil, "1.0") },
    { "HTTP/1.0, keepalive", "GET /s HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", leave = "log" },
    { "HTTP/1.2", get("/s", nil, "1.2") },
    { "HTTP/2", h2 { { ":method", "GET" }, { ":path", "/s?a=1" }, { ":scheme", "http" },
                     { ":authority", "h2.test:80" }, { "x-empty", "" }, { "cookie", "a=1" },
                     { "cookie", "b=2" } }, server = "h2", leave = "log" },
    { "HTTP/2, POST", h2({ { ":method", "POST" }, { ":path", "/s" }, { ":scheme", "http" },
                           { "host", "h2.test" } }, "name=value"),
      server = "h2", leave = "log" },
    { "HTTP/2, scheme https", h2 { { ":method", "GET" }, { ":path", "/s" },
                                   { ":scheme", "https" }, { ":authority", "h2.test" } },
      server = "h2", leave = "log" },
    { "HTTP/2, no host", h2 { { ":method", "GET" }, { ":path", "/s" }, { ":scheme", "http" } },
      server = "h2", leave = "log" },

    -- Host
    { "empty Host", get("/s", "Host:\r\n") },
    { "Host in upper case, with port and dot", get("/s", "Host: SHAPE.Test.:8080\r\n") },
    { "Host is an IPv6 address", get("/s", "Host: [::1]:80\r\n") },
    { "Host of the other server", get("/s", "Host: other.shape.test\r\n") },
    { "absolute URI", get("http://Absolute.test:81/s?a=1") },
    { "absolute URI, HTTP/1.0", get("http://absolute.test/s", "", "1.0") },

    -- headers
    { "empty headers", get("/s", HOST .. "X-Empty:\r\nUser-Agent: \r\nAccept:\r\nCookie:\r\nReferer:\r\n") },
    { "a huge header", get("/s", HOST .. "X-Long: " .. ("long "):rep(1500) .. "\r\n") },
    { "many headers", get("/s", many_headers()) },
    { "headers twice", get("/s", HOST .. "X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 2.2.2.2, 3.3.3.3\r\n"
        .. "Via: a\r\nVia: b\r\nAccept: x\r\nAccept: y\r\nCookie: a=1\r\nCookie: a=2; b=3\r\n") },
    { "odd headers", get("/s", HOST .. "X.Dot: x\r\nX_Under: y\r\nX-Test: z\r\n") },
    { "headers of browsers", get("/s", HOST .. "User-Agent: Mozilla/4.0 (compatible; MSIE 6.0; Windows)\r\n"
        .. "Referer: http://www.shape.test/from?x=y\r\nAccept: text/html\r\nAccept-Encoding: gzip\r\n") },
    { "credentials", get("/s", HOST .. "Authorization: Basic dXNlcjpwYXNzd29yZA==\r\n") },
    { "broken credentials", get("/s", HOST .. "Authorization: Basic !!\r\n") },
    { "cookies", get("/s", HOST .. "Cookie: none_of=x; a=\"quoted value\"; A=upper; empty=\r\n") },
    { "broken cookies", get("/s", HOST .. "Cookie: ;;=;a;a=;=a; a = 1\r\n") },
    { "Expect", with("POST", "/s", "body", "Expect: 100-continue\r\n") },
    { "Upgrade", "GET /s HTTP/1.1\r\n" .. HOST .. "Connection: Upgrade, close\r\nUpgrade: websocket\r\n\r\n" },

    -- URIs
    { "encoded URI", get("/s/%61%2F%25%3F%20x%C3%A9") },
    { "URI in raw bytes", get("/s/\195\169\255") },
    { "URI that is merged", get("/x/..//s/./a//b/../c/") },
    { "URI with an empty query", get("/s?") },
    { "URI with a fragment", get("/s?a=1#fragment") },
    { "no arguments worth the name", get("/s?&&=&a&=b&") },
    { "the same argument twice", get("/s?a=1&A=2&a=3&empty=") },
    { "an argument in upper case", get("/s?A=2&a=3") },
    { "arguments within arguments", get("/s?xa=1&a=b=c&b&a=2") },
    { "the last argument is but a name", get("/s?b&a") },
    { "encoded arguments", get("/s?a=%20%00+%26&%61=x") },
    { "long arguments", get("/s?a=" .. ("x"):rep(3000) .. "&b=" .. ("y"):rep(3000)) },
    { "a question mark in the arguments", get("/s?a=b?c=d?e") },

    -- addresses
    { "IPv6", get("/s"), server = "ipv6" },
    { "unix socket", get("/s"), server = "unix" },
    { "PROXY protocol 1, TCP4", "PROXY TCP4 1.2.3.4 5.6.7.8 1000 2000\r\n" .. get("/s"), server = "proxy" },
    { "PROXY protocol 1, TCP6", "PROXY TCP6 2001:db8::1 2001:db8::2 1000 2000\r\n" .. get("/s"), server = "proxy" },
    { "PROXY protocol 1, unknown", "PROXY UNKNOWN\r\n" .. get("/s"), server = "proxy" },
    { "PROXY protocol 2", PROXY_V2 .. get("/s"), server = "proxy" },
    { "realip", get("/s", HOST .. "X-Real-IP: 10.1.2.3\r\n"), server = "realip" },
    { "realip, IPv6 and port", get("/s", HOST .. "X-Real-IP: [2001:db8::1]:99\r\n"), server = "realip" },
    { "realip, nonsense", get("/s", HOST .. "X-Real-IP: nobody\r\n"), server = "realip" },
    { "realip through PROXY protocol", "PROXY TCP4 1.2.3.4 5.6.7.8 1000 2000\r\n" .. get("/s"), server = "proxy_realip" },
    { "TLS", get("/s"), server = "tls", sni = "shape.test" },
    { "TLS without a name", get("/s"), server = "tls" },
    { "TLS, HTTP/1.0", "GET /s HTTP/1.0\r\n\r\n", server = "tls", sni = "other.shape.test" },
    { "plain HTTP to the TLS port", get("/s"), server = "tls", plain = true },

    -- responses of nginx itself
    { "404", get("/none") },
    { "405", with("POST", "/file.txt", "x") },
    { "a file", get("/file.txt") },
    { "a range of a file", get("/file.txt", HOST .. "Range: bytes=2-4\r\n") },
    { "not modified", get("/file.txt", HOST .. "If-Modified-Since: Sun, 06 Nov 2050 08:49:37 GMT\r\n") },
    { "a redirect", get("/dir") },
    { "an index", get("/dir/") },
    { "413", with("POST", "/small", ("x"):rep(2000)) },
    { "return", get("/return") },
    { "gzip", get("/gzip", HOST .. "Accept-Encoding: gzip\r\n") },
    { "stub_status", get("/stub_status") },
    { "deny", get("/deny") },

    -- requests that nginx refuses
    { "400, no Host", "GET /s HTTP/1.1\r\n\r\n" },
    { "400, two Hosts", "GET /s HTTP/1.1\r\n" .. HOST .. HOST .. "\r\n" },
    { "400, bad Host", "GET /s HTTP/1.1\r\nHost: a/b c\r\n\r\n" },
    { "400, no colon", "GET /s HTTP/1.1\r\n" .. HOST .. "No Colon\r\n\r\n" },
    { "400, bad header", "GET /s HTTP/1.1\r\n" .. HOST .. "X Bad: x\r\n\r\n" },
    { "400, bad method", "get /s HTTP/1.1\r\n" .. HOST .. "\r\n" },
    { "400, nonsense", "\1\2\3\4\r\n\r\n" },
    { "400, header too long", "GET /s HTTP/1.1\r\n" .. HOST .. "X: " .. ("x"):rep(9000) .. "\r\n\r\n" },
    { "400, bad length", "POST /s HTTP/1.1\r\n" .. HOST .. "Content-Length: x\r\n\r\n" },
    { "414", "GET /s?" .. ("x"):rep(9000) .. " HTTP/1.1\r\n" .. HOST .. "\r\n" },
    { "505", "GET /s HTTP/3.9\r\n" .. HOST .. "\r\n" },
    { "501", "POST /s HTTP/1.1\r\n" .. HOST .. "Transfer-Encoding: gzip\r\n\r\n" },
    { "left in the request line", "GET /s", leave = true },
    { "left in the headers", "GET /s HTTP/1.1\r\nHo", leave = true },
    { "left in the body", "POST /s HTTP/1.1\r\n" .. HOST .. "Content-Length: 10\r\n\r\n123", leave = "rewrite" },
}


-- Sends a shape; ports: where its server listens, by name.
function _M.send(shape, ports)
    local address = ports[shape.server or "plain"]
    local is_path = type(address) == "string"
    local c = client.connect{
        host = is_path and address or shape.server == "ipv6" and "[::1]" or nil,
        port = not is_path and address or nil,
        tls = shape.server == "tls" and not shape.plain,
        server_name = shape.sni or false,
    }

    c:send(shape[2])

    if not shape.leave then
        c:read_to_end()
    end

    return c
end


-- Sends all shapes, one after the other, each checked by "d" (differential.lua).
-- Returns which shapes reached which phases, and all differences.
function _M.run(d, ports)
    local by_phases, order, bad = {}, {}, {}

    for _, shape in ipairs(_M.list) do
        if ports[shape.server or "plain"] then
            d.begin(shape[1])

            local c = _M.send(shape, ports)

            if type(shape.leave) == "string" then
                client.wait_until(function () return d.reached(shape.leave) end, shape.leave)
            end

            c:close()

            local line = d.await("log")
            local phases = line:match(": ([^\n]*)")

            if not by_phases[phases] then
                by_phases[phases] = {}
                order[#order + 1] = phases
            end

            table.insert(by_phases[phases], shape[1])

            if line:find("\n", 1, true) then
                bad[#bad + 1] = line
            end
        end
    end

    local lines = {}

    for i, phases in ipairs(order) do
        local labels = by_phases[phases]
        lines[i] = phases .. ": "
                   .. (#labels > 30 and "all others" or table.concat(labels, "; "))
    end

    return table.concat(lines, "\n"), table.concat(bad, "\n")
end


return _M
