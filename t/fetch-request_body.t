# $request_body where the configuration uses it by index, so that nginx caches it: Lua may replace
# the body, and then what was cached is freed.

use lib 't/lib';
use NgxVarTest;
use Test::Nginx::Socket::Lua 'no_plan';

add_block_preprocessor(sub {
    my $block = shift;
    $block->set_value(http_config => <<'END');
    lua_package_path "$TEST_NGINX_LUA_DIR/?.lua;;";
    log_format body '$request_body';
END
    $block->set_value(no_error_log => '[error]') if !defined $block->no_error_log;
});

run_tests();

__DATA__

=== TEST 1: the body that Lua has set last is read, in every way
--- config
    client_body_buffer_size 2m;
    location = /t {
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            local req = ngxvar.request()
            local get = ngxvar.getter("request_body")
            local read = ngxvar.reader{ "uri", "request_body" }
            local ways = {
                function () return ngxvar.fetch("request_body") end,
                function () return ngxvar.fetch("request_body", req) end,
                function () return ngxvar.fetch("REQUEST_BODY", req) end,
                function () return get(req) end,
                function () return (select(2, read(req))) end,
                function () return read:table(req).request_body end,
            }

            ngx.req.read_body()
            ngx.say(ways[1]())

            -- malloc unmaps blocks of this size when they are freed
            for n, way in ipairs(ways) do
                ngx.req.set_body_data(("a"):rep(1000000 + n))
                local first = way()
                ngx.req.set_body_data(("b"):rep(1500000 + n))
                local second = way()
                ngx.say(#first - 1000000, first:sub(-1), " ", #second - 1500000, second:sub(-1))
            end
        }
    }
--- request
POST /t
sent
--- response_body
sent
1a 1b
2a 2b
3a 3b
4a 4b
5a 5b
6a 6b



=== TEST 2: another request that reads it leaves nothing in this one's cache
--- config
    client_body_buffer_size 2m;
    location = /t {
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            local req, done = ngxvar.request()

            ngx.req.read_body()
            ngx.req.set_body_data(("a"):rep(1000000))
            ngx.timer.at(0, function () done = #ngxvar.fetch("request_body", req) end)
            repeat ngx.sleep(0.001) until done
            ngx.req.set_body_data("short")
            ngx.say(done, " ", ngx.var.request_body)
        }
    }
--- request
POST /t
sent
--- response_body
1000000 short



=== TEST 3: without a body it is nil
--- config
    location = /t {
        content_by_lua_block { ngx.say(tostring(require("resty.ngxvar").fetch("request_body"))) }
    }
--- request
GET /t
--- response_body
nil



=== TEST 4: a body in several buffers is read without making the request larger
--- skip_eval
3: # AddressSanitizer keeps what is freed
$ENV{TEST_NGINX_USE_ASAN}
--- config
    client_body_buffer_size 2m;
    client_header_buffer_size 4k;
    location = /t {
        content_by_lua_block {
            local fetch, resident = require("resty.ngxvar").fetch, require "resident"

            ngx.req.read_body()
            local same = fetch("request_body") == ngx.req.get_body_data()
            local before = resident()
            for _ = 1, 200 do same = same and #fetch("request_body") == 500000 end
            ngx.say(same, " ", resident() - before < 30e6)
        }
    }
--- request eval
"POST /t\n" . ('0123456789' x 50000)
--- response_body
true true
