# fetch(name) where there is no request, or one without variables, and with
# enable_patch(false), where it reads ngx.var.

use lib 't/lib';
use NgxVarTest;
use Test::Nginx::Socket::Lua 'no_plan';

repeat_each(2);
run_tests();

__DATA__

=== TEST 1: init_by_lua has no request
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



=== TEST 2: at worker start and in timers a handle names no request
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
            out[#out + 1] = type(req) .. " " .. tostring(ngxvar.live(req))
            out[#out + 1] = select(2, ngxvar.live(req))
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
userdata false
no variables in this context (TLS handshake, timer or worker start)
true
--- no_error_log
[error]



=== TEST 3: in handshakes a handle names no request
--- http_config
    lua_package_path "$TEST_NGINX_LUA_DIR/?.lua;;";
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
                                         tostring(ngxvar.live(req)),
                                         tostring(select(2, ngxvar.live(req)) == err), err }, " ")
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
            require("client").connect{ port = $TEST_NGINX_PORT1, tls = true }:close()
            for _, phase in ipairs { "client_hello", "certificate" } do
                ngx.say(phase, ": ", seen[phase])
            end
        }
    }
--- request
GET /t
--- response_body
client_hello: nil nil true true false true no variables in this context (TLS handshake, timer or worker start)
certificate: nil nil true true false true no variables in this context (TLS handshake, timer or worker start)
--- no_error_log
[error]



=== TEST 4: with enable_patch(false) fetch reads ngx.var, also a replaced one
--- config
    location = /t {
        set $own "own";
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            local fetch = ngxvar.fetch
            local req = ngxvar.request()
            local pointer = require("resty.core.base").get_request()

            ngx.say(type(fetch("status")), " ", type(fetch("request_time", req)))

            ngxvar.enable_patch(false)
            ngx.say(type(fetch("status")), " ", type(fetch("request_time", req)))
            ngx.say(fetch("own"), " ", fetch("args", nil), " ", fetch("uri", pointer))

            local stock = ngx.var
            ngx.var = setmetatable({}, { __index = function (_, name) return "my " .. name end })
            ngx.say(fetch("uri"), ", ", fetch("uri", req), ", ", fetch("uri", pointer))
            ngx.var = stock

            ngxvar.enable_patch(true)
            ngx.say(fetch("uri"), " ", fetch("args", req))
        }
    }
--- request
GET /t?a=1
--- response_body
number number
number number
own a=1 /t
my uri, my uri, my uri
/t a=1
--- no_error_log
[error]



=== TEST 5: with enable_patch(false) another request is read by its handle, or refused
--- config
    location = /t {
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            ngxvar.enable_patch(false)
            package.loaded.outer = ngxvar.request()
            package.loaded.outer_pointer = require("resty.core.base").get_request()
            ngx.print(ngx.location.capture("/inner").body)
            ngx.say(select(2, ngxvar.fetch("uri", package.loaded.inner_pointer)))
            ngxvar.enable_patch(true)
        }
    }
    location = /inner {
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            package.loaded.inner_pointer = require("resty.core.base").get_request()
            ngx.say(ngxvar.fetch("uri"), " ", ngxvar.fetch("uri", package.loaded.outer))
            ngx.say(ngxvar.fetch("uri", package.loaded.outer_pointer))
            ngx.say(ngxvar.fetch("uri", 1))
        }
    }
--- request
GET /t
--- response_body
/inner /t
nilstale request
nilbad request: expected a handle from request() or the current request's pointer, got number: call ngxvar.fetch(name, req)
stale request
--- no_error_log
[error]



=== TEST 6: fetch and set take nil for the current request, live() does not
--- config
    location = /t {
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            local get, set = ngxvar.getter("uri"), ngxvar.setter("args")

            ngx.say(ngxvar.fetch("uri", nil), " ", get(nil), " ", set("b=2", nil), " ",
                    ngxvar.set("args", "c=3", nil), " ", ngxvar.fetch("args", nil))
            ngx.say(ngxvar.live(nil))
            for i = 1, 300 do
                assert(ngxvar.fetch("uri", nil) == "/t" and get(nil) == "/t")
            end
        }
    }
--- request
GET /t
--- response_body
/t /t true true c=3
falsebad request: expected a handle from request() or the current request's pointer, got nil: call ngxvar.live(req)
--- no_error_log
[error]



=== TEST 7: enable_patch without a boolean raises an error
--- config
    location = /t {
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            ngx.say(select(2, pcall(ngxvar.enable_patch)))
        }
    }
--- request
GET /t
--- response_body
bad argument to enable_patch(): expected true or false, got nil: call ngxvar.enable_patch(state)
--- no_error_log
[error]
