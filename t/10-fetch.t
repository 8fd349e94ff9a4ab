# fetch(name): values, types, names.  What a request argument may be is in
# 12-request.t; that values follow the request is in 14*-differential.t.

use lib 't/lib';
use NgxVarTest;
use Test::Nginx::Socket::Lua 'no_plan';

repeat_each(2);
run_tests();

__DATA__

=== TEST 1: the library is found without any path, and is whole
--- http_config
    lua_package_path "/nowhere/?.lua;/usr/share/lua/5.1/?.lua";
--- config
    location = /t {
        content_by_lua_block {
            local names = {}
            for name, value in pairs(require "resty.ngxvar") do
                names[#names + 1] = name .. " " .. type(value)
            end
            table.sort(names)
            ngx.say(table.concat(names, "\n"))
        }
    }
--- request
GET /t
--- response_body
_VERSION string
enable_patch function
fetch function
getter function
live function
patch_ngx_var function
request function
set function
setter function
--- no_error_log
[error]



=== TEST 2: strings
--- http_config
    map $arg_a $mapped { one "mapped one"; default "mapped"; }
    geo $geo { default far; 127.0.0.1 near; }
    split_clients "$request_uri" $split { 100% "all"; }
--- config
    location = /t {
        set $own "own value";
        content_by_lua_block {
            local fetch = require("resty.ngxvar").fetch
            for _, name in ipairs { "uri", "document_uri", "request_uri", "args",
                                    "query_string", "is_args", "host", "scheme",
                                    "request_method", "server_protocol",
                                    "remote_addr", "server_port", "server_name",
                                    "server_addr", "https", "own", "mapped", "geo",
                                    "split", "from_error_page", "nginx_version" }
            do
                local value, err = fetch(name)
                if name == "server_port" then
                    assert(value == "$TEST_NGINX_SERVER_PORT")
                    value = "PORT"
                elseif name == "nginx_version" then
                    assert(value:match("^%d+%.%d+%.%d+$"))
                    value = "VERSION"
                end
                ngx.say(name, ": ", type(value), " ", value, " ", tostring(err))
            end
        }
    }
--- request
GET /%74?a=one&b=
--- response_body
uri: string /t nil
document_uri: string /t nil
request_uri: string /%74?a=one&b= nil
args: string a=one&b= nil
query_string: string a=one&b= nil
is_args: string ? nil
host: string localhost nil
scheme: string http nil
request_method: string GET nil
server_protocol: string HTTP/1.1 nil
remote_addr: string 127.0.0.1 nil
server_port: string PORT nil
server_name: string localhost nil
server_addr: string 127.0.0.1 nil
https: string  nil
own: string own value nil
mapped: string mapped one nil
geo: string near nil
split: string all nil
from_error_page: string  nil
nginx_version: string VERSION nil
--- no_error_log
[error]



=== TEST 3: numbers of the request itself
--- config
    location = /t {
        content_by_lua_block {
            local fetch = require("resty.ngxvar").fetch

            ngx.status = 201
            ngx.sleep(0.05)
            local time = fetch("request_time")
            ngx.say("request_time: ", type(time), " ",
                    time >= 0.04 and time < 5, " ",
                    time * 1000 % 1 < 1e-6 or time * 1000 % 1 > 1 - 1e-6)

            ngx.say("status: ", type(fetch("status")), " ", fetch("status"))

            local length = #ngx.req.raw_header() + 5
            ngx.req.read_body()
            ngx.say("request_length: ", type(fetch("request_length")), " ",
                    fetch("request_length") == length)

            ngx.say("bytes_sent: ", type(fetch("bytes_sent")), " ",
                    fetch("bytes_sent") == 0)
            ngx.flush(true)
            ngx.say("after a flush: ", fetch("bytes_sent") > 100, " ",
                    fetch("bytes_sent") == tonumber(ngx.var.bytes_sent))
        }
    }
--- request
POST /t
12345
--- error_code: 201
--- response_body
request_time: number true true
status: number 201
request_length: number true
bytes_sent: number true
after a flush: true true
--- no_error_log
[error]



=== TEST 4: status before there is one, while it is made, and in the log
--- config
    location = /t {
        set_by_lua_block $before { return require("resty.ngxvar").fetch("status") + 0 }
        return 204;
        header_filter_by_lua_block {
            local fetch = require("resty.ngxvar").fetch
            ngx.header["X-Status"] = ngx.var.before .. " " .. fetch("status")
            ngx.status = 202
        }
        log_by_lua_block {
            local status = require("resty.ngxvar").fetch("status")
            ngx.log(ngx.NOTICE, "in the log: ", type(status), " ", status)
        }
    }
--- request
GET /t
--- error_code: 202
--- response_headers
X-Status: 0 204
--- log_level: notice
--- wait: 0.02
--- error_log
in the log: number 202
--- no_error_log
[error]



=== TEST 5: upstream times without an upstream
--- config
    location = /t {
        content_by_lua_block {
            local fetch = require("resty.ngxvar").fetch
            for _, what in ipairs { "response", "header", "connect" } do
                ngx.say(select("#", fetch("upstream_" .. what .. "_time")), " ",
                        tostring(fetch("upstream_" .. what .. "_time")))
            end
            ngx.say(tostring(fetch("upstream_addr")), " ",
                    tostring(fetch("upstream_status")), " ",
                    tostring(fetch("upstream_http_server")))
        }
    }
--- request
GET /t
--- response_body
1 nil
1 nil
1 nil
nil nil nil
--- no_error_log
[error]



=== TEST 6: upstream times are summed over slow attempts
--- http_config
    upstream servers {
        server 127.0.0.1:$TEST_NGINX_PORT1 max_fails=0;
        server 127.0.0.1:$TEST_NGINX_PORT2 max_fails=0;
        server 127.0.0.1:$TEST_NGINX_PORT3 max_fails=0;
        server 127.0.0.1:$TEST_NGINX_PORT4 max_fails=0 backup;
    }
    server {
        listen 127.0.0.1:$TEST_NGINX_PORT2;
        listen 127.0.0.1:$TEST_NGINX_PORT3;
        location / { content_by_lua_block { ngx.sleep(0.06) ngx.exit(502) } }
    }
    server {
        listen 127.0.0.1:$TEST_NGINX_PORT4;
        location / { content_by_lua_block { ngx.sleep(0.03) ngx.say("here") } }
    }
--- config
    location = /t {
        proxy_pass http://servers;
        proxy_next_upstream error http_502;
        log_by_lua_block {
            local fetch = require("resty.ngxvar").fetch

            for _, what in ipairs { "response", "header", "connect" } do
                local name = "upstream_" .. what .. "_time"
                local sum, n = 0, 0
                for number in ngx.var[name]:gmatch("[^, ]+") do
                    sum, n = sum + (tonumber(number) or 0), n + 1
                end
                local value = fetch(name)
                -- equal but for the last bit of a double
                ngx.log(ngx.NOTICE, what, ": ", type(value), " of ", n, ", ",
                        math.abs(value - sum) < 1e-9 and "right" or
                            "wrong: " .. value .. " for " .. ngx.var[name],
                        value >= 0.12 and ", slow" or ", fast")
            end
            ngx.log(ngx.NOTICE, "status: ", type(fetch("upstream_status")), " ",
                    fetch("upstream_status") == ngx.var.upstream_status)
        }
    }
--- request
GET /t
--- response_body
here
--- log_level: notice
--- wait: 0.02
--- grep_error_log eval
qr/(?:response|header|connect): number of \d, [a-z]+(?:: [^,]*)?, \w+|status: \w+ \w+/
--- grep_error_log_out
response: number of 4, right, slow
header: number of 4, right, slow
connect: number of 4, right, fast
status: string true



=== TEST 7: upstream times over two upstreams, one after an internal redirect
--- http_config
    upstream first {
        server 127.0.0.1:$TEST_NGINX_PORT1 max_fails=0;
        server 127.0.0.1:$TEST_NGINX_PORT2 max_fails=0;
    }
    upstream second { server 127.0.0.1:$TEST_NGINX_PORT3 max_fails=0; }
    server {
        listen 127.0.0.1:$TEST_NGINX_PORT1;
        listen 127.0.0.1:$TEST_NGINX_PORT2;
        location / { content_by_lua_block { ngx.sleep(0.05) ngx.exit(503) } }
    }
    server {
        listen 127.0.0.1:$TEST_NGINX_PORT3;
        location / { content_by_lua_block { ngx.sleep(0.03) ngx.say("here") } }
    }
--- config
    location = /t {
        proxy_pass http://first;
        proxy_next_upstream http_503;
        proxy_intercept_errors on;
        error_page 503 = @second;
    }
    location @second {
        proxy_pass http://second;
        log_by_lua_block {
            local fetch = require("resty.ngxvar").fetch
            for _, what in ipairs { "response", "header" } do
                local text = ngx.var["upstream_" .. what .. "_time"]
                local a, b, c = text:match("^([%d.]+), ([%d.]+) : ([%d.]+)$")
                local sum = fetch("upstream_" .. what .. "_time")
                ngx.log(ngx.NOTICE, what, ": ",
                        math.abs(a + b + c - sum) < 1e-9 and sum >= 0.12
                            and "right;" or "wrong: " .. sum .. " for " .. text)
            end
        }
    }
--- request
GET /t
--- response_body
here
--- log_level: notice
--- wait: 0.02
--- grep_error_log eval
qr/(?:response|header): (?:right;|wrong:.*)/
--- grep_error_log_out
response: right;
header: right;



=== TEST 8: the time of an attempt that never got that far counts as 0
--- config
    location = /t {
        proxy_pass http://127.0.0.1:$TEST_NGINX_PORT1;
        error_page 502 = @down;
    }
    location @down {
        content_by_lua_block {
            local fetch = require("resty.ngxvar").fetch
            for _, what in ipairs { "header", "connect" } do
                local name = "upstream_" .. what .. "_time"
                ngx.say(what, ": ", ngx.var[name], " ", tostring(fetch(name)))
            end
            ngx.say(type(fetch("upstream_response_time")))
        }
    }
--- request
GET /t
--- response_body
header: - 0
connect: - 0
number
--- no_error_log
[alert]



=== TEST 9: prefixes: http_, arg_, cookie_, sent_http_
--- config
    location = /t {
        content_by_lua_block {
            local fetch = require("resty.ngxvar").fetch
            ngx.header["X-Sent"] = "sent value"
            for _, name in ipairs { "http_x_one", "http_x_two", "http_user_agent",
                                    "http_cookie", "arg_a", "arg_empty", "arg_none",
                                    "arg_b-c", "cookie_first", "cookie_second",
                                    "cookie_none", "sent_http_x_sent",
                                    "sent_http_x_none", "sent_http_content_type" }
            do
                local value = fetch(name)
                ngx.say(name, ": ", tostring(value), value == ngx.var[name]
                            and "" or " but ngx.var says " .. tostring(ngx.var[name]))
            end
        }
    }
--- request
GET /t?a=1%202&A=3&empty=&b-c=4
--- more_headers
X-One: one
User-Agent: tester
Cookie: first=1; second="two words"
--- response_body
http_x_one: one
http_x_two: nil
http_user_agent: tester
http_cookie: first=1; second="two words"
arg_a: 1%202
arg_empty: 
arg_none: nil
arg_b-c: 4
cookie_first: 1
cookie_second: "two words"
cookie_none: nil
sent_http_x_sent: sent value
sent_http_x_none: nil
sent_http_content_type: text/plain
--- no_error_log
[error]



=== TEST 10: prefixes: upstream_http_, upstream_cookie_, upstream_trailer_, sent_trailer_
--- http_config
    server {
        listen 127.0.0.1:$TEST_NGINX_PORT1;
        location / {
            add_header X-Up "from upstream";
            add_header Set-Cookie "up=cookie value; path=/";
            return 200 "upstream\n";
        }
    }
--- config
    location = /t {
        proxy_pass http://127.0.0.1:$TEST_NGINX_PORT1;
        header_filter_by_lua_block {
            local fetch = require("resty.ngxvar").fetch
            local seen = {}
            for i, name in ipairs { "upstream_http_x_up", "upstream_http_none",
                                    "upstream_cookie_up", "upstream_trailer_x",
                                    "sent_trailer_x", "upstream_status" }
            do
                seen[i] = tostring(fetch(name))
                assert(fetch(name) == ngx.var[name], name)
            end
            ngx.header["X-Seen"] = table.concat(seen, "|")
        }
    }
--- request
GET /t
--- response_headers
X-Seen: from upstream|nil|cookie value|nil|nil|200
--- no_error_log
[error]



=== TEST 11: unset, unknown and empty
--- config
    location = /t {
        set $empty "";
        if ($arg_never) { set $unset "x"; }
        content_by_lua_block {
            local fetch = require("resty.ngxvar").fetch
            for _, name in ipairs { "empty", "unset", "unknown", "", "remote_user",
                                    "http_", "arg_", "cookie_", "upstream_http_",
                                    "sent_http_", "a b", "$uri", "uri\0", "uri ",
                                    "args\0x", ("x"):rep(5000), "args" }
            do
                ngx.say(name:sub(1, 20):gsub("%z", "\\0") .. ": ",
                        tostring(fetch(name)), " ", select("#", fetch(name)), " ",
                        fetch(name) == ngx.var[name])
            end
        }
    }
--- request
GET /t
--- response_body
empty:  1 true
unset:  1 true
unknown: nil 1 true
: nil 1 true
remote_user: nil 1 true
http_: nil 1 true
arg_: nil 1 true
cookie_: nil 1 true
upstream_http_: nil 1 true
sent_http_: nil 1 true
a b: nil 1 true
$uri: nil 1 true
uri\0: nil 1 true
uri : nil 1 true
args\0x: nil 1 true
xxxxxxxxxxxxxxxxxxxx: nil 1 true
args: nil 1 true
--- no_error_log
[alert]



=== TEST 12: captures
--- config
    location ~ "^/(t)(/opt)?/(?<last>.+)$" {
        content_by_lua_block {
            local fetch = require("resty.ngxvar").fetch
            for _, n in ipairs { 1, 2, 3, 4, 0, -1, 1.9, 100, -1e9, 2^31 - 1 } do
                ngx.say(n, ": ", tostring(fetch(n)), " ", select("#", fetch(n)), " ",
                        fetch(n) == ngx.var[n])
            end
            -- numbers that are no int: what ngx.var makes of them is undefined
            for _, n in ipairs { 1e300, -1e300, 0/0, 1/0, -1/0, 2^40, 2^62, 2^63 } do
                assert(fetch(n) == nil, n)
            end
            ngx.say("last: ", fetch("last"), " ", tostring(fetch("1")), " ",
                    fetch("1") == ngx.var["1"])
        }
    }
--- request
GET /t/a%20b
--- response_body
1: t 1 true
2:  1 true
3: a b 1 true
4: nil 1 true
0: nil 1 true
-1: nil 1 true
1.9: t 1 true
100: nil 1 true
-1000000000: nil 1 true
2147483647: nil 1 true
last: a b nil true
--- no_error_log
[error]



=== TEST 13: captures of no regular expression, and of the last one
--- config
    location = /t {
        access_by_lua_block {
            local fetch = require("resty.ngxvar").fetch
            ngx.ctx.seen = tostring(fetch(1))
        }
        rewrite ^/nothing - break;
        content_by_lua_block { ngx.say(ngx.ctx.seen) }
    }
    location = /u {
        if ($arg_a ~ "^(.)(.)") { set $unused 1; }
        if ($arg_b ~ "^.(.)") { set $unused 1; }
        content_by_lua_block {
            local fetch = require("resty.ngxvar").fetch
            ngx.say(tostring(fetch(1)), " ", tostring(fetch(2)), " ",
                    fetch(1) == ngx.var[1], " ", fetch(2) == ngx.var[2])
        }
    }
--- request eval
["GET /t", "GET /u?a=12&b=34"]
--- response_body eval
["nil\n", "4 nil true true\n"]
--- no_error_log
[error]



=== TEST 14: upper case in names
--- config
    location = /t {
        set $Mixed "mixed";
        content_by_lua_block {
            local fetch = require("resty.ngxvar").fetch
            for _, name in ipairs { "URI", "Request_Method", "HTTP_X_ONE", "ARG_a",
                                    "Mixed", "mixed", "STATUS", "REQUEST_LENGTH",
                                    "http_" .. ("X"):rep(300) }
            do
                local value = fetch(name)
                ngx.say(name:sub(1, 20), ": ", type(value), " ",
                        tostring(value) == ngx.var[name] or
                        value == tonumber(ngx.var[name]))
            end
        }
    }
--- request
GET /t?a=2
--- more_headers eval
"X-One: one\n" . 'X' x 300 . ": long"
--- response_body
URI: string true
Request_Method: string true
HTTP_X_ONE: string true
ARG_a: string true
Mixed: string true
mixed: string true
STATUS: number true
REQUEST_LENGTH: number true
http_XXXXXXXXXXXXXXX: string true
--- no_error_log
[error]



=== TEST 15: a name that is none raises an error, as ngx.var does
--- config
    location = /t {
        content_by_lua_block {
            local fetch = require("resty.ngxvar").fetch
            local ffi = require "ffi"

            local function sentence(f, ...)
                local ok, err = pcall(f, ...)
                return tostring(ok) .. " " .. err:gsub("^.*:%d+: ", "")
            end

            local function by_var(name)
                local value = ngx.var[name]
                return value
            end

            for _, name in ipairs { true, false, {}, print, ngx.null,
                                    coroutine.create(function () end), 1LL,
                                    ffi.new("char[4]", "uri") }
            do
                ngx.say(type(name), ": ", sentence(fetch, name), ", ",
                        sentence(fetch, name) == sentence(by_var, name))
            end
            ngx.say("nil: ", sentence(fetch, nil), ", ",
                    sentence(fetch, nil) == sentence(by_var, nil))
            ngx.say("none: ", sentence(fetch))
        }
    }
--- request
GET /t
--- response_body
boolean: false bad variable name, true
boolean: false bad variable name, true
table: false bad variable name, true
function: false bad variable name, true
userdata: false bad variable name, true
thread: false bad variable name, true
cdata: false bad variable name, true
cdata: false bad variable name, true
nil: false bad variable name, true
none: false bad variable name
--- no_error_log
[error]



=== TEST 16: the error of a bad name says where
--- config
    location = /t {
        content_by_lua_file html/t.lua;
    }
--- user_files
>>> t.lua
local fetch = require("resty.ngxvar").fetch
local ok, err = pcall(function ()
    fetch({})
end)
ngx.say(err:match("t%.lua:%d+: .*"))
--- request
GET /t
--- response_body
t.lua:3: bad variable name
--- no_error_log
[error]



=== TEST 17: no request while the configuration is read
--- http_config
    init_by_lua_block {
        local ngxvar = require "resty.ngxvar"
        local value, err = ngxvar.fetch("uri")
        local capture, capture_err = ngxvar.fetch(1)
        local req, req_err = ngxvar.request()
        from_init = table.concat({ tostring(value), err, tostring(capture),
                                   capture_err, tostring(req), req_err }, "\n")
    }
--- config
    location = /t { content_by_lua_block { ngx.say(from_init) } }
--- request
GET /t
--- response_body
nil
no request found
nil
no request found
nil
no request found
--- no_error_log
[error]



=== TEST 18: requests without variables: worker start and timer
--- http_config
    init_worker_by_lua_block {
        local ngxvar = require "resty.ngxvar"

        local function facts()
            local req = ngxvar.request()
            local out = {}
            for _, name in ipairs { "uri", "status", "request_time", "arg_a", 1 } do
                local value, err = ngxvar.fetch(name)
                local by_handle, handle_err = ngxvar.fetch(name, req)
                out[#out + 1] = tostring(value) .. " " .. tostring(by_handle) .. " "
                                .. tostring(err == handle_err)
            end
            out[#out + 1] = select(2, ngxvar.fetch("uri"))
            return table.concat(out, "\n")
        end

        from_worker = facts()
        ngx.timer.at(0, function () from_timer = facts() end)
    }
--- config
    location = /t {
        content_by_lua_block {
            ngx.say(from_worker)
            ngx.say(from_worker == from_timer)
        }
    }
--- request
GET /t
--- response_body
nil nil true
nil nil true
nil nil true
nil nil true
nil nil true
no variables in this context (TLS handshake, timer or worker start)
true
--- no_error_log
[error]



=== TEST 19: requests without variables: every phase of a TLS handshake
--- http_config
    lua_ssl_trusted_certificate $TEST_NGINX_CERT_DIR/test.crt;
    init_by_lua_block {
        seen = {}
        function note(phase)
            local ngxvar = require "resty.ngxvar"
            local req = assert(ngxvar.request())
            local value, err = ngxvar.fetch("scheme")
            local by_handle, handle_err = ngxvar.fetch("scheme", req)
            local ok, set_err = ngxvar.set("uri", "/x", req)
            seen[phase] = table.concat({ tostring(value), tostring(by_handle),
                                         tostring(err == handle_err),
                                         tostring(err == set_err),
                                         tostring(ngxvar.live(req)), err }, " ")
        end
    }
    server {
        listen 127.0.0.1:$TEST_NGINX_PORT1 ssl;
        ssl_certificate     $TEST_NGINX_CERT_DIR/test.crt;
        ssl_certificate_key $TEST_NGINX_CERT_DIR/test.key;
        ssl_protocols TLSv1.2;
        ssl_client_hello_by_lua_block { note("client_hello") }
        ssl_certificate_by_lua_block { note("certificate") }
        location / { return 200 "tls"; }
    }
--- config
    location = /t {
        content_by_lua_block {
            local sock = ngx.socket.tcp()
            assert(sock:connect("127.0.0.1", $TEST_NGINX_PORT1))
            assert(sock:sslhandshake(nil, "localhost", true))
            sock:close()
            for _, phase in ipairs { "client_hello", "certificate" } do
                ngx.say(phase, ": ", seen[phase])
            end
        }
    }
--- request
GET /t
--- response_body
client_hello: nil nil true true true no variables in this context (TLS handshake, timer or worker start)
certificate: nil nil true true true no variables in this context (TLS handshake, timer or worker start)
--- no_error_log
[error]



=== TEST 20: enable_patch(false): nginx's handlers, the same values and types
--- config
    location = /t {
        set $own "own";
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            local names = { "uri", "args", "host", "scheme", "remote_addr", "status",
                            "request_method", "request_length", "bytes_sent", "own",
                            "arg_a", "ARG_A", "http_host", "unknown", "request_time",
                            "upstream_response_time" }
            local typed = {}

            for i, name in ipairs(names) do
                typed[i] = ngxvar.fetch(name) or "unset"
            end

            ngxvar.enable_patch(false)
            for i, name in ipairs(names) do
                local value = ngxvar.fetch(name) or "unset"
                if name == "request_time" then
                    ngx.say(name, ": ", type(value))
                elseif value ~= typed[i] then
                    ngx.say(name, ": ", value, " is not ", typed[i])
                end
            end

            -- changed under way
            ngx.req.set_uri_args("a=2")
            ngx.say(ngxvar.fetch("arg_a"), " ", ngxvar.fetch("args", ngxvar.request()))

            ngxvar.enable_patch(true)
            ngx.say(ngxvar.fetch("arg_a"), " ", ngxvar.fetch("args", ngxvar.request()))
        }
    }
--- request
GET /t?a=1
--- response_body
request_time: number
2 a=2
2 a=2
--- no_error_log
[error]



=== TEST 21: enable_patch(false): upstream times are summed all the same
--- http_config
    upstream servers {
        server 127.0.0.1:$TEST_NGINX_PORT1 max_fails=0;
        server 127.0.0.1:$TEST_NGINX_PORT2 max_fails=0 backup;
    }
    server {
        listen 127.0.0.1:$TEST_NGINX_PORT1;
        location / { content_by_lua_block { ngx.sleep(0.05) ngx.exit(502) } }
    }
    server {
        listen 127.0.0.1:$TEST_NGINX_PORT2;
        location / { content_by_lua_block { ngx.sleep(0.05) ngx.say("here") } }
    }
--- config
    location = /t {
        proxy_pass http://servers;
        proxy_next_upstream http_502;
        log_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            local name = "upstream_response_time"
            local direct = ngxvar.fetch(name)
            ngxvar.enable_patch(false)
            local plain = ngxvar.fetch(name)
            ngxvar.enable_patch(true)
            ngx.log(ngx.NOTICE, "sums: ", type(plain), " ", direct == plain, " ",
                    plain >= 0.08)
        }
    }
--- request
GET /t
--- response_body
here
--- log_level: notice
--- wait: 0.02
--- error_log
sums: number true true



=== TEST 22: a value is what it is now, not what it was at the first fetch
--- config
    location = /t {
        content_by_lua_block {
            local fetch = require("resty.ngxvar").fetch
            ngx.say(fetch("uri"), " ", fetch("arg_a"), " ", tostring(fetch("http_x")))
            ngx.req.set_uri("/other")
            ngx.req.set_uri_args("a=2")
            ngx.req.set_header("X", "set")
            ngx.say(fetch("uri"), " ", fetch("arg_a"), " ", tostring(fetch("http_x")))
            ngx.req.clear_header("X")
            ngx.req.set_method(ngx.HTTP_PUT)
            ngx.say(tostring(fetch("http_x")), " ", fetch("request_method"))
        }
    }
--- request
GET /t?a=1
--- response_body
/t 1 nil
/other 2 set
nil PUT
--- no_error_log
[error]



=== TEST 23: values with any bytes in them
--- config
    location ~ ^/t {
        content_by_lua_block {
            local fetch = require("resty.ngxvar").fetch
            ngx.say(fetch("uri") == "/t\1\255\r\n", " ", #fetch("uri"), " ",
                    fetch("uri") == ngx.var.uri)
            ngx.say(fetch("binary_remote_addr") == "\127\0\0\1")
            ngx.say(#fetch("http_x"), " ", fetch("http_x") == ngx.var.http_x)
        }
    }
--- request
GET /t%01%FF%0D%0A
--- more_headers eval
"X: " . "\xff\x80" x 2000
--- error_code: 200
--- response_body
true 6 true
true
4000 true
--- no_error_log
[error]



=== TEST 24: a name that is a subject to metatables is still only a string
--- config
    location = /t {
        content_by_lua_block {
            -- fetch must not care for what a program does to strings
            local mt = getmetatable("")
            local index = mt.__index
            mt.__index = function () error("touched") end
            local ok, value = pcall(require("resty.ngxvar").fetch, "uri")
            mt.__index = index
            ngx.say(ok, " ", value)
        }
    }
--- request
GET /t
--- response_body
true /t
--- no_error_log
[error]



=== TEST 25: variables of a module that is not nginx's own
--- main_config eval
"load_module /usr/lib/nginx/modules/ngx_http_brotli_filter_module.so;"
--- config
    brotli on;
    brotli_min_length 1;
    brotli_types *;
    location = /t {
        return 200 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
        log_by_lua_block {
            local fetch = require("resty.ngxvar").fetch
            ngx.log(ngx.NOTICE, "ratio: ", fetch("brotli_ratio"), " ",
                    fetch("brotli_ratio") == ngx.var.brotli_ratio)
        }
    }
--- request
GET /t
--- more_headers
Accept-Encoding: br
--- ignore_response_body
--- log_level: notice
--- wait: 0.02
--- error_log eval
qr/ratio: \d+\.\d+ true/
--- skip_eval: 3: !-e '/usr/lib/nginx/modules/ngx_http_brotli_filter_module.so'
