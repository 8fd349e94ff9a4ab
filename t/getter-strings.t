# src/lua/resty/ngxvar/string_cache.lua: a compiled getter returns its last string again when the
# bytes are equal.  Any difference has to be noticed.

use lib 't/lib';
use NgxVarTest;
use Test::Nginx::Socket::Lua 'no_plan';

repeat_each(2);
run_tests();

__DATA__

=== TEST 1: a getter tells strings apart that differ in one byte, of every length
--- config
    location = /t {
        set $own "";
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            local req = ngxvar.request()
            local get, get_by_header = ngxvar.getter("own"), ngxvar.getter("http_x")
            local wrong, compared = 0, 0

            local function check(text)
                ngx.var.own = text
                ngx.req.set_header("X", text)
                -- the second read finds it in the cache
                for _ = 1, 2 do
                    compared = compared + 1
                    if get(req) ~= text or get_by_header(req) ~= text then
                        wrong = wrong + 1
                    end
                end
            end

            for len = 1, 40 do
                local text = ("abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJ"):sub(1, len)

                for at = 1, len do
                    check(text)
                    check(text:sub(1, at - 1) .. "~" .. text:sub(at + 1))
                end

                check(text)
                check(text .. "x")
            end

            ngx.say(compared, " compared, ", wrong, " wrong")
        }
    }
--- request
GET /t
--- response_body
3440 compared, 0 wrong



=== TEST 2: a compiled loop tells strings apart that differ at one end
--- config
    location = /t {
        set $own "";
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            local req = ngxvar.request()
            local get = ngxvar.getter("own")
            local put = ngxvar.setter("own")
            local texts, wrong = {}, 0

            for len = 7, 34 do
                texts[#texts + 1] = ("a"):rep(len)
                texts[#texts + 1] = ("a"):rep(len - 1) .. "b"
                texts[#texts + 1] = "b" .. ("a"):rep(len - 1)
            end

            for _, text in ipairs(texts) do
                put(text, req)
                for i = 1, 200 do
                    if get(req) ~= text then
                        wrong = wrong + 1
                    end
                end
            end

            ngx.say(wrong, " wrong")
        }
    }
--- request
GET /t
--- response_body
0 wrong



=== TEST 3: one getter returns each request its own string
--- config
    location = /t {
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            GET_X = GET_X or ngxvar.getter("http_x_text")
            local req = ngxvar.request()
            local text

            for _ = 1, 300 do
                text = GET_X(req)
            end

            ngx.say(text)
        }
    }
--- pipelined_requests eval
[map { "GET /t" } 1 .. 4]
--- more_headers eval
[map { "X-Text: text of request $_" } 1 .. 4]
--- response_body eval
[map { "text of request $_\n" } 1 .. 4]
