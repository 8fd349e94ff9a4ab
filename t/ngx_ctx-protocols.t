# ngx.ctx across error pages where requests share a connection: keepalive,
# pipelining, HTTP/2; and clients that go away.

use v5.36;
use lib 't/lib';
use NgxVarTest;
use Test::Nginx::Socket::Lua 'no_plan';
use CtxWitness;

repeat_each(2);
run_tests();

__DATA__

=== TEST 1: errors among other HTTP/1.1 keepalive requests keep their own ngx.ctx
--- config
    error_page 404 502 503 /page;
    location = /err {
        rewrite_by_lua_block { witness.keep() ngx.exit(502) }
    }
    location = /refused {
        access_by_lua_block { witness.keep() }
        proxy_pass http://127.0.0.1:$TEST_NGINX_PORT9;
    }
    location = /missing {
        root html;
        rewrite_by_lua_block { witness.keep() }
    }
    location = /fine {
        content_by_lua_block { ngx.say(next(ngx.ctx) == nil and "fresh" or "used") ngx.ctx.a = 1 }
    }
    location = /return { return 200 "returned\n"; }
    location = /t {
        content_by_lua_block {
            witness.reset()

            local c = client.connect{ port = ngx.var.server_port }
            local bodies = {}

            for _ = 1, 20 do
                for _, uri in ipairs{ "/err", "/fine", "/refused", "/return", "/missing", "/fine" } do
                    bodies[#bodies + 1] = uri .. ": " .. c:request(uri).body:sub(1, -2)
                end
            end

            c:close()
            ngx.say(witness.tally(bodies))
            ngx.say(witness.tally(witness.await(60)))
        }
    }
--- request
GET /t
--- response_body
20 x /err: page
40 x /fine: fresh
20 x /missing: page
20 x /refused: page
20 x /return: returned
60 x rewrite=same access=same content=same header_filter=same body_filter=same log=same



=== TEST 2: pipelined errors keep their own ngx.ctx
--- config
    error_page 502 503 /page;
    location = /err {
        rewrite_by_lua_block { witness.keep() ngx.exit(502) }
    }
    location = /later {
        rewrite_by_lua_block { witness.keep() ngx.sleep(0.001) ngx.exit(503) }
    }
    location = /fine { content_by_lua_block { ngx.say(next(ngx.ctx) == nil) } }
    location = /t {
        content_by_lua_block {
            witness.reset()

            local c = client.connect{ port = ngx.var.server_port }
            local all, bodies = {}, {}

            for _ = 1, 10 do
                for _, uri in ipairs{ "/err", "/fine", "/later" } do
                    all[#all + 1] = client.request_text(uri)
                end
            end

            c:send(table.concat(all))

            for i = 1, #all do
                local res = c:response()
                bodies[i] = res.status .. " " .. res.body:sub(1, -2)
            end

            c:close()
            ngx.say(witness.tally(bodies))
            ngx.say(witness.tally(witness.await(20)))
        }
    }
--- request
GET /t
--- response_body
10 x 200 true
10 x 502 page
10 x 503 page
20 x rewrite=same access=same content=same header_filter=same body_filter=same log=same



=== TEST 3: pipelined requests in one packet keep their own ngx.ctx
--- config
    location = /t {
        error_page 502 /page;
        rewrite_by_lua_block { ngx.ctx.n = ngx.var.arg_n ngx.exit(502) }
    }
    location = /page { content_by_lua_block { ngx.say(ngx.ctx.n) } }
--- pipelined_requests eval
["GET /t?n=1", "GET /t?n=2", "GET /t?n=3"]
--- error_code eval
[502, 502, 502]
--- response_body eval
["1\n", "2\n", "3\n"]



=== TEST 4: HTTP/1.0, and a request in several packets, keep ngx.ctx
--- config
    location = /t {
        error_page 502 /page;
        rewrite_by_lua_block { witness.keep() ngx.exit(502) }
    }
--- request eval
["GET /t HTTP/1.0", [{ value => "GE" }, { value => "T /t", delay_before => 0.01 }]]
--- error_code eval
[502, 502]
--- response_body eval
["page\n", "page\n"]
--- seen: everywhere



=== TEST 5: each of many HTTP/2 streams on one connection keeps its own ngx.ctx
--- http_config eval
CtxWitness::stream_server('listen 127.0.0.1:$TEST_NGINX_PORT2 http2;')
--- config
    location = /t {
        content_by_lua_block { witness.try_streams(client.http2, $TEST_NGINX_PORT2) }
    }
--- request
GET /t
--- response_body
8 x fresh
40 x page
port one by HTTP/2.0
40 x rewrite=same access=same content=same header_filter=same body_filter=same log=same



=== TEST 6: when a client leaves during its error page, the log phase has its ngx.ctx
--- config
    location = /err {
        error_page 502 /slow;
        rewrite_by_lua_block { witness.keep() ngx.exit(502) }
    }
    location = /slow {
        lua_check_client_abort on;
        content_by_lua_block {
            witness.see("content")
            ngx.shared.events:incr("arrived", 1, 0)
            ngx.sleep(10)
        }
    }
    location = /proxied {
        error_page 502 /slow-upstream;
        rewrite_by_lua_block { witness.keep() ngx.exit(502) }
    }
    location = /slow-upstream {
        proxy_pass http://127.0.0.1:$TEST_NGINX_SERVER_PORT/slow;
    }
    location = /t {
        content_by_lua_block {
            local events = ngx.shared.events

            witness.reset()

            local before = assert(witness.references())

            for i, case in ipairs{
                { "/err", "content" }, { "/err", "log" }, { "/proxied", "access" }, { "/proxied", "log" },
            } do
                events:set("arrived", 0)

                local c = client.connect{ port = ngx.var.server_port }

                c:send(client.request_text(case[1], { headers = { ["X-First"] = case[2] } }))
                client.wait_until(function () return events:get("arrived") > 0 end)
                c:close()
                ngx.say(case[1], " ", case[2], ": ", witness.await(i)[i])
            end

            ngx.say("references kept: ", assert(witness.references()).used - before.used)
        }
    }
--- http_config
    lua_shared_dict events 64k;
--- request
GET /t
--- response_body
/err content: content=same log=same
/err log: log=same
/proxied access: access=same log=same
/proxied log: log=same
references kept: 0



=== TEST 7: when an HTTP/2 client leaves, the log phase of each stream has its ngx.ctx
--- http_config eval
CtxWitness::stream_server('listen 127.0.0.1:$TEST_NGINX_PORT2 http2;')
--- config
    location = /t {
        content_by_lua_block { witness.leave_streams(client.start_http2, $TEST_NGINX_PORT2) }
    }
--- request
GET /t
--- response_body
10 x log=same
references kept: 0
