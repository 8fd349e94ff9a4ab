# fetch(name) where there is no request, or one without variables, and with
# enable_patch(false), where it reads all through nginx's own handlers.

use lib 't/lib';
use NgxVarTest;
use Test::Nginx::Socket::Lua 'no_plan';

repeat_each(2);
run_tests();

__DATA__

=== TEST 1: init_by_lua: there is no request
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



=== TEST 2: worker start and timers: requests without variables
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



=== TEST 3: TLS handshake: requests without variables, in every phase
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



=== TEST 4: enable_patch(false): nginx's handlers give the same values and types
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



=== TEST 5: enable_patch(false): upstream times are summed as well
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
