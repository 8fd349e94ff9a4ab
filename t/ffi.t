# The C functions that lua-var-nginx-module exports too: src/api/compat.rs.

use lib 't/lib';
use NgxVarTest;
use Test::Nginx::Socket::Lua 'no_plan';

# Where lua-var-nginx-module's lib/ is, for the blocks that run its own Lua file.
$ENV{TEST_NGINX_LUA_VAR_LUA} = $ENV{LUA_VAR_LUA} // '/nonexistent';

add_block_preprocessor(sub {
    my ($block) = @_;
    $block->set_value(http_config => ($block->http_config // '') . <<'EOC');
    lua_package_path "$TEST_NGINX_LUA_DIR/?.lua;$TEST_NGINX_LUA_VAR_LUA/?.lua;;";
EOC
});

repeat_each(2);
run_tests();

__DATA__

=== TEST 1: the functions return the current request's values
--- config
    location = /t {
        content_by_lua_block {
            local c = require "lua_var_c"
            local r = c.request()
            for _, name in ipairs(c.strings) do
                local rc, text = c.string(name, r)
                ngx.say(name, ": ", rc, " ", text)
            end
            ngx.sleep(0.02)
            local rc, text = c.time("request_time", r)
            ngx.say(rc, " ", text == ngx.var.request_time, " ", tonumber(text) >= 0.015)
            ngx.say(c.time("upstream_response_time", r))
        }
    }
--- request
GET /t?a=1
--- more_headers
Host: Example.COM:1234
--- response_body
uri: 0 /t
host: 0 example.com
remote_addr: 0 127.0.0.1
scheme: 0 http
5 true true
-1not touched
--- no_error_log
[error]



=== TEST 2: the functions follow changes of URI and Host
--- config
    location ^~ /t {
        set $unused "";
        rewrite_by_lua_block {
            local c = require "lua_var_c"
            right = { c.right(c.request()) }
            ngx.req.set_uri("/t/changed to something else")
            right[2] = c.right(c.request())
            ngx.req.set_header("Host", "new.host")
            right[3] = c.right(c.request())
        }
        content_by_lua_block {
            local c = require "lua_var_c"
            ngx.req.set_uri("/other")
            right[4] = c.right(c.request())
            right[5] = select(2, c.string("uri", c.request()))
            ngx.say(table.concat(right, "\n"))
        }
    }
--- request
GET /t
--- response_body
right
right
right
right
/other
--- no_error_log
[error]



=== TEST 3: host is right without Host, in the default server and in a named one
--- http_config
    server {
        listen 127.0.0.1:$TEST_NGINX_PORT1;
        server_name "";
        location / { content_by_lua_block { local c = require "lua_var_c" ngx.say(c.right(c.request()), " [", select(2, c.string("host", c.request())), "]") } }
    }
    server {
        listen 127.0.0.1:$TEST_NGINX_PORT2;
        server_name named.test other.test;
        location / { content_by_lua_block { local c = require "lua_var_c" ngx.say(c.right(c.request()), " [", select(2, c.string("host", c.request())), "]") } }
    }
--- config
    location = /t {
        content_by_lua_block {
            for _, port in ipairs { $TEST_NGINX_PORT1, $TEST_NGINX_PORT2 } do
                local c = require("client").connect{ port = port }
                -- no Host
                c:send("GET / HTTP/1.0\r\n\r\n")
                ngx.print(c:response().body)
            end
        }
    }
--- request
GET /t
--- response_body
right []
right [named.test]
--- no_error_log
[error]



=== TEST 4: scheme and address are right over TLS and a unix socket
--- http_config
    server {
        listen 127.0.0.1:$TEST_NGINX_PORT1 ssl;
        listen unix:$TEST_NGINX_SERVROOT/logs/ffi.sock;
        ssl_certificate     $TEST_NGINX_CERT_DIR/test.crt;
        ssl_certificate_key $TEST_NGINX_CERT_DIR/test.key;
        location / {
            content_by_lua_block {
                local c = require "lua_var_c"
                ngx.say(c.right(c.request()), " ", select(2, c.string("scheme", c.request())), " ",
                        select(2, c.string("remote_addr", c.request())))
            }
        }
    }
--- config
    location = /t {
        content_by_lua_block {
            local get = require("client").get
            ngx.print(get("/", { port = $TEST_NGINX_PORT1, tls = true }).body)
            ngx.print(get("/", { host = "unix:$TEST_NGINX_SERVROOT/logs/ffi.sock" }).body)
        }
    }
--- request
GET /t
--- response_body
right https 127.0.0.1
right http unix:
--- no_error_log
[error]



=== TEST 5: upstream times are summed over slow attempts
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
            local c = require "lua_var_c"
            for _, name in ipairs { "upstream_response_time", "upstream_header_time",
                                    "upstream_connect_time" }
            do
                local rc, text = c.time(name, c.request())
                local a, b = ngx.var[name]:match("^([%d.]+), ([%d.]+)$")
                local sum = string.format("%.3f", a + b)
                ngx.log(ngx.NOTICE, name, ": ", rc == #text and text == sum and "right"
                                                or text .. " is not " .. sum,
                        name == "upstream_connect_time" and ";"
                            or tonumber(sum) >= 0.08 and ", slow;" or ", fast;")
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
qr/\w+: (?:right|[\d.]* is not [\d.]*)(?:, \w+)?;/
--- grep_error_log_out
upstream_response_time: right, slow;
upstream_header_time: right, slow;
upstream_connect_time: right;



=== TEST 6: a NULL result pointer is refused
--- config
    location = /t {
        content_by_lua_block {
            local ffi = require "ffi"
            local c = require "lua_var_c"
            local r = ffi.cast("ngx_http_request_t *", c.request())
            local C = ffi.C
            local null = ffi.cast("ngx_http_request_t *", nil)

            for _, request in ipairs { r, null, ffi.cast("ngx_http_request_t *", 16) } do
                ngx.say(C.ngx_http_lua_var_ffi_uri(request, nil), " ",
                        C.ngx_http_lua_var_ffi_host(request, nil), " ",
                        C.ngx_http_lua_var_ffi_remote_addr(request, nil), " ",
                        C.ngx_http_lua_var_ffi_scheme(request, nil), " ",
                        C.ngx_http_lua_var_ffi_request_time(request, nil), " ",
                        C.ngx_http_lua_var_ffi_upstream_response_time(request, nil, 0))
            end
        }
    }
--- request
GET /t
--- response_body
-1 -1 -1 -1 -1 -1
-1 -1 -1 -1 -1 -1
-1 -1 -1 -1 -1 -1
--- no_error_log
[error]



=== TEST 7: NULL, garbage and pointers into other objects are refused
--- config
    location = /t {
        content_by_lua_block {
            local c = require "lua_var_c"
            local pointers = require("strangers").pointers()
            for _, entry in ipairs(pointers) do
                local said = c.refused(entry.value)
                if said ~= "refused" then
                    ngx.say(entry.label, ": ", said)
                end
            end
            ngx.say(#pointers >= 50, " ", c.right(c.request()))
        }
    }
--- request
GET /t
--- response_body
true right
--- no_error_log
[error]



=== TEST 8: the pointer of a request that has ended is refused
--- config
    location = /keep {
        content_by_lua_block {
            require("client").get("/kept")
            while require("resty.ngxvar").live(handle) do ngx.sleep(0.001) end
            local c = require "lua_var_c"
            ngx.say(c.refused(kept))
        }
    }
    location = /kept {
        content_by_lua_block {
            kept = require("lua_var_c").request()
            handle = require("resty.ngxvar").request()
            ngx.say(require("lua_var_c").right(kept))
        }
    }
--- request
GET /keep
--- response_body
refused
--- no_error_log
[error]



=== TEST 9: the pointer of another live request reads that request
--- config
    location = /t {
        content_by_lua_block {
            local c = require "lua_var_c"
            other, done = nil, false
            local thread = ngx.thread.spawn(require("client").get, "/other",
                                            { headers = { Host = "other.test" } })
            while not other do ngx.sleep(0.001) end
            ngx.say(c.string("uri", other))
            ngx.say(c.string("host", other))
            done = true
            ngx.thread.wait(thread)
        }
    }
    location = /other {
        content_by_lua_block {
            other = require("lua_var_c").request()
            while not done do ngx.sleep(0.001) end
        }
    }
--- request
GET /t
--- response_body
0/other
0other.test
--- no_error_log
[error]



=== TEST 10: the requests of worker start, handshakes and timers are refused
--- http_config
    init_worker_by_lua_block {
        local c = require "lua_var_c"
        worker_start = c.request()
        said_at_start = c.refused(worker_start)
    }
    server {
        listen 127.0.0.1:$TEST_NGINX_PORT1 ssl;
        ssl_certificate     $TEST_NGINX_CERT_DIR/test.crt;
        ssl_certificate_key $TEST_NGINX_CERT_DIR/test.key;
        ssl_certificate_by_lua_block {
            local c = require "lua_var_c"
            handshake = c.request()
            in_handshake = c.refused(handshake)
            -- registered or not, it makes no difference
            require("resty.ngxvar").request()
            in_handshake = in_handshake .. " " .. c.refused(handshake)
        }
        location / {
            content_by_lua_block {
                local c = require "lua_var_c"
                ngx.say(in_handshake, " ", c.refused(handshake))
            }
        }
    }
--- config
    location = /t {
        content_by_lua_block {
            local c = require "lua_var_c"
            ngx.say(said_at_start, " ", c.refused(worker_start))

            ngx.print(require("client").get("/", { port = $TEST_NGINX_PORT1, tls = true }).body)

            local timer, in_timer
            ngx.timer.at(0, function ()
                timer = c.request()
                in_timer = c.refused(timer)
            end)
            while not in_timer do ngx.sleep(0.001) end
            ngx.say(in_timer, " ", c.refused(timer))
        }
    }
--- request
GET /t
--- response_body
refused refused
refused refused refused
refused refused
--- no_error_log
[error]



=== TEST 11: requests that fail while they are parsed are read in the log phase
--- http_config
    lua_shared_dict unused 12k;
    server {
        listen 127.0.0.1:$TEST_NGINX_PORT1;
        large_client_header_buffers 1 1k;
        client_header_buffer_size 1k;
        log_by_lua_block {
            local c = require "lua_var_c"
            local ngxvar = require "resty.ngxvar"
            local r = c.request()
            logged[#logged + 1] = ngx.var.status .. " " .. c.right(r) .. " "
                                  .. tostring(ngxvar.fetch("status", ngxvar.request())) .. " "
                                  .. tostring(ngxvar.live(r))
        }
    }
--- config
    location = /t {
        content_by_lua_block {
            local function send(text, wait)
                local before = #logged
                local c = require("client").connect{ port = $TEST_NGINX_PORT1 }
                c:send(text)
                if wait then c:read_to_end() end
                c:close()
                while #logged == before do ngx.sleep(0.001) end
            end

            logged = {}
            send("GET / HTTP/1.1\r\n\r\n", true)
            send("NONSENSE\r\n\r\n", true)
            send("GET / HTTP/1.1\r\nHost: a\r\nNo Colon\r\n\r\n", true)
            send("GET /" .. ("x"):rep(3000) .. " HTTP/1.1\r\nHost: a\r\n\r\n", true)
            send("GET / HTTP/1.1\r\nHost: a\r\nLong: " .. ("x"):rep(3000) .. "\r\n\r\n", true)
            send("GET / HTTP/9.9\r\nHost: a\r\n\r\n", true)
            send("GET /left HTTP/1.1\r\nHo", false)
            send("GET /le", false)
            ngx.say(table.concat(logged, "\n"))
        }
    }
--- request
GET /t
--- response_body
400 right 400 true
400 right 400 true
400 right 400 true
414 right 414 true
400 right 400 true
505 right 505 true
400 right 400 true
400 right 400 true
--- no_error_log
[alert]



=== TEST 12: the functions read subrequests
--- config
    location = /t {
        content_by_lua_block {
            ngx.print(ngx.location.capture("/sub").body)
        }
    }
    location = /sub {
        content_by_lua_block {
            local c = require "lua_var_c"
            ngx.say(c.right(c.request()), " ", c.string("uri", c.request()))
        }
    }
--- request
GET /t
--- response_body
right 0/sub
--- no_error_log
[error]



=== TEST 13: lua-var-nginx-module's own Lua file returns the right values
--- config
    location ~ "^/t" {
        set $own "own";
        content_by_lua_block {
            local theirs = require "resty.ngxvar.http"
            local ours = require "resty.ngxvar"
            local r = theirs.request()
            for _, name in ipairs { "uri", "host", "scheme", "remote_addr", "request_method",
                                    "status", "request_time", "request_length", "bytes_sent",
                                    "own", "arg_a", "http_user_agent", "unknown",
                                    "upstream_response_time", "upstream_header_time",
                                    "upstream_connect_time" }
            do
                local value = theirs.fetch(name, r)
                ngx.say(name, ": ", type(value), " ", value == ours.fetch(name), " ",
                        value == theirs.fetch(name))
            end
            ngx.req.set_uri("/changed")
            ngx.say(theirs.fetch("uri", r), " ", theirs.fetch("uri"))
        }
    }
--- request
GET /t?a=1
--- response_body
uri: string true true
host: string true true
scheme: string true true
remote_addr: string true true
request_method: string true true
status: number true true
request_time: number true true
request_length: number true true
bytes_sent: number true true
own: string true true
arg_a: string true true
http_user_agent: nil true true
unknown: nil true true
upstream_response_time: nil true true
upstream_header_time: nil true true
upstream_connect_time: nil true true
/changed /changed
--- no_error_log
[error]
--- skip_eval
3: # LUA_VAR_LUA names no directory with that Lua file
!$ENV{LUA_VAR_LUA}



=== TEST 14: lua-var-nginx-module's own Lua file reads upstream times and TLS, and refuses a stale request
--- http_config
    upstream servers {
        server 127.0.0.1:$TEST_NGINX_PORT1 max_fails=0;
        server 127.0.0.1:$TEST_NGINX_PORT2 max_fails=0 backup;
    }
    server {
        listen 127.0.0.1:$TEST_NGINX_PORT1 ssl;
        listen 127.0.0.1:$TEST_NGINX_PORT2 ssl;
        ssl_certificate     $TEST_NGINX_CERT_DIR/test.crt;
        ssl_certificate_key $TEST_NGINX_CERT_DIR/test.key;
        ssl_certificate_by_lua_block { stale = require("resty.ngxvar.http").request() }
        location / {
            content_by_lua_block {
                ngx.sleep(0.03)
                if ngx.var.server_port == "$TEST_NGINX_PORT1" then ngx.exit(502) end
                local fetch = require("resty.ngxvar.http").fetch
                ngx.say(fetch("scheme"), " [", fetch("scheme", stale), fetch("uri", stale),
                        fetch("host", stale), fetch("remote_addr", stale), "]")
            }
        }
    }
--- config
    location = /t {
        proxy_pass https://servers;
        proxy_next_upstream http_502;
        log_by_lua_block {
            local theirs = require "resty.ngxvar.http"
            local ours = require "resty.ngxvar"
            for _, what in ipairs { "response", "header", "connect" } do
                local name = "upstream_" .. what .. "_time"
                local value = theirs.fetch(name)
                ngx.log(ngx.NOTICE, what, ": ", value == ours.fetch(name), " ",
                        type(value), ";")
            end
        }
    }
--- request
GET /t
--- response_body
https []
--- log_level: notice
--- wait: 0.02
--- grep_error_log eval
qr/(?:response|header|connect): \w+ \w+;/
--- grep_error_log_out
response: true number;
header: true number;
connect: true number;
--- skip_eval
3: # LUA_VAR_LUA names no directory with that Lua file
!$ENV{LUA_VAR_LUA}
