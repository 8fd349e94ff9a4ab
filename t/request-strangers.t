# Whatever is passed as a request and is no valid handle is refused, except the current
# request's pointer.  src/validation.rs, src/registry.

use lib 't/lib';
use NgxVarTest;
use Test::Nginx::Socket::Lua 'no_plan';

repeat_each(2);
run_tests();

__DATA__

=== TEST 1: every function refuses what is no request
--- http_config
    lua_package_path "$TEST_NGINX_LUA_DIR/?.lua;;";
--- config
    location ~ "^/(t)$" {
        set $own "value";
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            local refused = require("strangers").refused

            for _, name in ipairs { "uri", "status", "request_time", "own", "arg_a",
                                    "http_host", "unknown", "URI", 1,
                                    "upstream_response_time" }
            do
                ngx.say(name, ": ", refused(function (req)
                    return ngxvar.fetch(name, req)
                end))
            end

            ngx.say("live: ", refused(function (req) return ngxvar.live(req) end))
            ngx.say("set: ", refused(function (req)
                return ngxvar.set("own", "changed", req)
            end))
            ngx.say(ngx.var.own)

            ngxvar.enable_patch(false)
            ngx.say("enable_patch(false): ", refused(function (req)
                return ngxvar.fetch("uri", req)
            end))
            ngxvar.enable_patch(true)
        }
    }
--- request
GET /t?a=1
--- response_body
uri: refused
status: refused
request_time: refused
own: refused
arg_a: refused
http_host: refused
unknown: refused
URI: refused
1: refused
upstream_response_time: refused
live: refused
set: refused
value
enable_patch(false): refused
--- no_error_log
[error]



=== TEST 2: the error says what was passed instead of a request
--- config
    location = /t {
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            local ffi = require "ffi"
            for _, value in ipairs { 1, "x", true, {}, print, io.stdout,
                                     coroutine.create(function () end), 1LL,
                                     ffi.new("char[8]"), ffi.cast("void *", 8),
                                     ffi.cast("ngx_http_request_t *", 8),
                                     ngx.null }
            do
                ngx.say((select(2, ngxvar.fetch("uri", value))))
            end
        }
    }
--- request
GET /t
--- response_body
bad request: expected a handle from request() or the current request's pointer, got number: call ngxvar.fetch(name, req)
bad request: expected a handle from request() or the current request's pointer, got string: call ngxvar.fetch(name, req)
bad request: expected a handle from request() or the current request's pointer, got boolean: call ngxvar.fetch(name, req)
bad request: expected a handle from request() or the current request's pointer, got table: call ngxvar.fetch(name, req)
bad request: expected a handle from request() or the current request's pointer, got function: call ngxvar.fetch(name, req)
bad request: expected a handle from request() or the current request's pointer, got userdata: call ngxvar.fetch(name, req)
bad request: expected a handle from request() or the current request's pointer, got thread: call ngxvar.fetch(name, req)
bad request: expected a handle from request() or the current request's pointer, got cdata: call ngxvar.fetch(name, req)
bad request: expected a handle from request() or the current request's pointer, got cdata: call ngxvar.fetch(name, req)
stale request
stale request
bad request: expected a handle from request() or the current request's pointer, got a null pointer: call ngxvar.fetch(name, req)
--- no_error_log
[error]



=== TEST 3: the current request's pointer is accepted
--- config
    location = /t {
        set $own "";
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            local ffi = require "ffi"
            local r = require("resty.core.base").get_request()

            local status = ngxvar.fetch("status", r)

            for _, p in ipairs { r, ffi.cast("void *", r),
                                 ffi.cast("ngx_http_request_t *", r) }
            do
                ngx.say(ngxvar.fetch("uri", p), " ", ngxvar.fetch("ARG_A", p), " ",
                        status, " ", ngxvar.live(p), " ",
                        ngxvar.set("own", "set", p), " ", ngx.var.own)
            end
        }
    }
--- request
GET /t?a=1
--- response_body
/t 1 0 true true set
/t 1 0 true true set
/t 1 0 true true set
--- no_error_log
[error]



=== TEST 4: the pointer of another live request, and of one that ended, is refused
--- http_config
    lua_package_path "$TEST_NGINX_LUA_DIR/?.lua;;";
--- config
    location = /t {
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            local base = require "resty.core.base"
            local own = base.get_request()
            raw = nil

            local other = ngx.thread.spawn(require("client").get, "/other")

            while not raw do ngx.sleep(0.001) end
            local value, err = ngxvar.fetch("uri", raw)
            ngx.say("alive: ", tostring(value), " ", err, " ", ngxvar.fetch("uri", handle))
            ngx.say("alive: ", tostring(ngxvar.live(raw)))

            done = true
            ngx.thread.wait(other)
            while ngxvar.live(handle) do ngx.sleep(0.001) end

            value, err = ngxvar.fetch("uri", raw)
            ngx.say("gone: ", tostring(value), " ", err)

            local res = ngx.location.capture("/sub", { ctx = { raw = own } })
            ngx.print("parent: ", res.body)
            value, err = ngxvar.fetch("uri", sub)
            ngx.say("subrequest: ", tostring(value), " ", err)
            done = false
        }
    }
    location = /other {
        content_by_lua_block {
            handle = require("resty.ngxvar").request()
            raw = require("resty.core.base").get_request()
            while not done do ngx.sleep(0.001) end
        }
    }
    location = /sub {
        content_by_lua_block {
            local value, err = require("resty.ngxvar").fetch("uri", ngx.ctx.raw)
            sub = require("resty.core.base").get_request()
            ngx.say(tostring(value), " ", err)
        }
    }
--- request
GET /t
--- response_body
alive: nil stale request /other
alive: false
gone: nil stale request
parent: nil stale request
subrequest: nil stale request
--- no_error_log
[error]



=== TEST 5: another userdata does not become a handle by a handle's metatable
--- config
    location = /t {
        set $own "own";
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            local req = ngxvar.request()
            local bad = 0

            for _, kind in ipairs { function () return newproxy() end, function () return newproxy(true) end,
                                    function () return io.tmpfile() end }
            do
                for _ = 1, 100 do
                    local forged = debug.setmetatable(kind(), debug.getmetatable(req))

                    if ngxvar.fetch("uri", forged) or ngxvar.live(forged) or ngxvar.set("own", "x", forged)
                       or ngxvar.getter("uri")(forged) or ngxvar.reader{ "uri" }(forged)
                    then
                        bad = bad + 1
                    end

                    pcall(tostring, forged)
                    pcall(function () return forged.uri end)
                end
            end

            collectgarbage()
            ngx.say(bad, " ", ngx.var.own)

            -- and a handle without its metatable still names its request
            debug.setmetatable(req, nil)
            ngx.say(tostring(ngxvar.fetch("uri", req)), " ", tostring(ngxvar.live(req)))
            ngx.say(ngxvar.fetch("uri", ngxvar.request()) or ngxvar.fetch("uri"))
        }
    }
--- request
GET /t
--- response_body
0 own
/t true
/t
--- no_error_log
[error]



=== TEST 6: request() does not return a handle that Lua changed
--- config
    location = /t {
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            local req = ngxvar.request()
            local ok = pcall(function () req.generation = req.generation + 2 end)
            if ok then
                ngx.say(tostring(ngxvar.live(req)))
            else
                ngx.say("false")
            end
            ngx.say(ngxvar.fetch("uri", ngxvar.request()))
        }
    }
--- request
GET /t
--- response_body
false
/t
--- no_error_log
[error]



=== TEST 7: the library's own userdata, which begins as a handle does, is refused
--- config
    location = /t {
        set $own "own";
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            local _, vm = debug.getupvalue(ngxvar.fetch, 1)

            ngx.say(type(vm))
            ngx.say((select(2, ngxvar.fetch("uri", vm))))
            ngx.say((select(2, ngxvar.live(vm))))
            ngx.say((select(2, ngxvar.set("own", "changed", vm))))
            ngx.say(ngx.var.own)
        }
    }
--- request
GET /t
--- response_body
userdata
bad request: expected a handle from request() or the current request's pointer, got userdata: call ngxvar.fetch(name, req)
bad request: expected a handle from request() or the current request's pointer, got userdata: call ngxvar.live(req)
bad request: expected a handle from request() or the current request's pointer, got userdata: call ngxvar.set(name, value, req)
own
--- no_error_log
[error]
