# ngx.ctx across error pages where requests share a connection: keepalive and
# pipelining, HTTP/2, TLS with Lua in the handshake; and clients that go away.

use v5.36;
use lib 't/lib';
use NgxVarTest;
use Test::Nginx::Socket::Lua 'no_plan';
use CtxWitness;

# 127.0.0.1:$TEST_NGINX_PORT1 speaks TLS, with HTTP/2 where the client asks for
# it.  A block says with `tls` which Lua runs in the handshake.
add_block_preprocessor(sub ($block) {
    my $handshake = $block->tls // return;
    $block->set_value(http_config => ($block->http_config // '') . <<"END");
    server {
        listen 127.0.0.1:\$TEST_NGINX_PORT1 ssl http2;
        server_name localhost;
        ssl_certificate     \$TEST_NGINX_CERT_DIR/test.crt;
        ssl_certificate_key \$TEST_NGINX_CERT_DIR/test.key;
        $handshake

        error_page 500 502 /page;
        location = /err {
            rewrite_by_lua_block { witness.keep() ngx.exit(502) }
        }
        location = /fatal {
            rewrite_by_lua_block { witness.keep() error("on purpose") }
        }
        location = /page { content_by_lua_block { witness.page() } }

        # The table that a request had before the error, looked at from the page.
        location = /handshake {
            error_page 502 /from-handshake;
            rewrite_by_lua_block { ngx.ctx.own = "own" ngx.exit(502) }
        }
        # No Lua touches ngx.ctx before the error.
        location = /without {
            error_page 502 /from-handshake;
            rewrite_by_lua_block { ngx.exit(502) }
        }
        location = /from-handshake {
            content_by_lua_block {
                ngx.say(ngx.ctx.own, " ", ngx.ctx.hello, " ", ngx.ctx.certificate, " ",
                        rawget(ngx.ctx, "certificate"))
            }
        }
        location = /fine { content_by_lua_block { ngx.say("fine") } }
    }
END
});

repeat_each(2);
run_tests();

__DATA__

=== TEST 1: HTTP/1.1 keepalive, errors among other requests
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



=== TEST 2: HTTP/1.1 pipelining
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



=== TEST 3: pipelined by the test's own client
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



=== TEST 4: HTTP/1.0, and a request in several packets
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



=== TEST 5: HTTP/2, many streams on one connection
--- http_config
    server {
        listen 127.0.0.1:$TEST_NGINX_PORT2 http2;
        error_page 500 502 503 /page;
        error_page 504 @page;
        location = /err {
            rewrite_by_lua_block { witness.keep() ngx.exit(500) }
        }
        location = /error {
            access_by_lua_block { witness.keep() error("on purpose") }
        }
        location = /later {
            rewrite_by_lua_block { witness.keep() ngx.sleep(0.005) ngx.exit(503) }
        }
        location = /refused {
            rewrite_by_lua_block { witness.keep() }
            proxy_pass http://127.0.0.1:$TEST_NGINX_PORT9;
        }
        location = /named {
            rewrite_by_lua_block { witness.keep() ngx.exit(504) }
        }
        location = /fine { content_by_lua_block { ngx.say(next(ngx.ctx) == nil and "fresh" or "used") } }
        # The streams are at their error pages at the same time.
        location = /page {
            content_by_lua_block {
                ngx.sleep(0.01)
                witness.see("content")
                ngx.say("page on connection ", ngx.var.connection)
            }
        }
        location @page { content_by_lua_block { witness.page() } }
    }
--- config
    location = /t {
        content_by_lua_block {
            witness.reset()

            local uris = {}

            for i = 1, 8 do
                for _, uri in ipairs{ "/err", "/error", "/fine", "/later", "/refused", "/named" } do
                    uris[#uris + 1] = uri .. "?" .. i
                end
            end

            local output = client.http2(uris, { port = $TEST_NGINX_PORT2 })
            local connections, bodies = {}, {}

            for line in output:gmatch("[^\n]+") do
                local connection = line:match("^page on connection (%d+)$")

                if connection then
                    connections[connection] = true
                    line = "page"
                end

                bodies[#bodies + 1] = line
            end

            ngx.say(witness.tally(bodies))
            ngx.say("on one connection: ", next(connections, next(connections)) == nil)
            ngx.say(witness.tally(witness.await(40)))
        }
    }
--- request
GET /t
--- response_body
8 x fresh
40 x page
on one connection: true
40 x rewrite=same access=same content=same header_filter=same body_filter=same log=same



=== TEST 6: TLS, HTTP/1.1 keepalive: the same table, and below it the handshake's
--- tls
        ssl_certificate_by_lua_block { ngx.ctx.certificate = "certificate" }
--- config
    location = /t {
        content_by_lua_block {
            witness.reset()

            local c = client.connect{ port = $TEST_NGINX_PORT1, tls = true }

            for _ = 1, 3 do
                ngx.print(c:request("/err").body, c:request("/handshake").body, c:request("/fine").body)
            end

            c:close()
            ngx.say(witness.tally(witness.await(3)))
        }
    }
--- request
GET /t
--- response_body
page
own nil certificate nil
fine
page
own nil certificate nil
fine
page
own nil certificate nil
fine
3 x rewrite=same access=same content=same header_filter=same body_filter=same log=same



=== TEST 7: TLS, ssl_client_hello_by_lua
--- tls
        ssl_client_hello_by_lua_block { ngx.ctx.hello = "hello" }
--- config
    location = /t {
        content_by_lua_block {
            local c = client.connect{ port = $TEST_NGINX_PORT1, tls = true }

            ngx.print(c:request("/handshake").body, c:request("/handshake").body)
            c:close()
        }
    }
--- request
GET /t
--- response_body
own hello nil nil
own hello nil nil



=== TEST 8: TLS, both, with a ctx that one made and the other finds
--- tls
        ssl_client_hello_by_lua_block { ngx.ctx.hello = "hello" }
        ssl_certificate_by_lua_block {
            ngx.ctx.certificate = "certificate after " .. ngx.ctx.hello
            ngx.sleep(0.001)
        }
--- config
    location = /t {
        content_by_lua_block {
            witness.reset()

            local c = client.connect{ port = $TEST_NGINX_PORT1, tls = true }

            ngx.print(c:request("/handshake").body, c:request("/err").body, c:request("/handshake").body)
            c:close()
            ngx.say(witness.await(1)[1])
        }
    }
--- request
GET /t
--- response_body
own hello certificate after hello nil
page
own hello certificate after hello nil
rewrite=same access=same content=same header_filter=same body_filter=same log=same



=== TEST 9: TLS, a session that is stored and resumed by Lua
--- http_config
    ssl_session_store_by_lua_block {
        local session = require "ngx.ssl.session"
        package.loaded.stored = assert(session.get_serialized_session())
        ngx.ctx.stored = "stored"
    }
    ssl_session_fetch_by_lua_block {
        local session = require "ngx.ssl.session"
        ngx.ctx.hello = "fetched"
        assert(session.set_serialized_session(package.loaded.stored))
    }
--- tls
        ssl_protocols TLSv1.2;
        ssl_session_tickets off;
--- config
    location = /t {
        content_by_lua_block {
            witness.reset()

            local first = client.connect{ port = $TEST_NGINX_PORT1, tls = true }

            ngx.print(first:request("/handshake").body, first:request("/err").body)

            local second = client.connect{ port = $TEST_NGINX_PORT1, tls = true,
                                           session = first.session }

            first:close()
            ngx.print(second:request("/handshake").body, second:request("/err").body)
            second:close()
            ngx.say(witness.tally(witness.await(2)))
        }
    }
--- request
GET /t
--- response_body
own nil nil nil
page
own fetched nil nil
page
2 x rewrite=same access=same content=same header_filter=same body_filter=same log=same



=== TEST 10: TLS, a request without a ctx gets what it would without the module
--- tls
        ssl_certificate_by_lua_block { ngx.ctx.certificate = "certificate" }
--- config
    location = /t {
        content_by_lua_block {
            local c = client.connect{ port = $TEST_NGINX_PORT1, tls = true }

            ngx.print(c:request("/without").body, c:request("/handshake").body,
                      c:request("/without").body)
            c:close()
        }
    }
--- request
GET /t
--- response_body
nil nil certificate nil
own nil certificate nil
nil nil certificate nil



=== TEST 11: TLS, with lua_var_ctx_restore off only the handshake's is left
--- http_config
    lua_var_ctx_restore off;
--- tls
        ssl_certificate_by_lua_block { ngx.ctx.certificate = "certificate" }
--- config
    location = /t {
        content_by_lua_block {
            local c = client.connect{ port = $TEST_NGINX_PORT1, tls = true }

            ngx.print(c:request("/handshake").body, c:request("/handshake").body)
            c:close()
        }
    }
--- request
GET /t
--- response_body
nil nil certificate nil
nil nil certificate nil



=== TEST 12: TLS, HTTP/2 streams and their handshake
--- tls
        ssl_client_hello_by_lua_block { ngx.ctx.hello = "hello" }
        ssl_certificate_by_lua_block { ngx.ctx.certificate = "certificate" }
--- config
    location = /t {
        content_by_lua_block {
            witness.reset()

            local uris = {}

            for i = 1, 10 do
                for _, uri in ipairs{ "/err", "/fatal", "/handshake", "/without", "/fine" } do
                    uris[#uris + 1] = uri .. "?" .. i
                end
            end

            local bodies = {}

            for line in client.http2(uris, { port = $TEST_NGINX_PORT1, tls = true }):gmatch("[^\n]+") do
                bodies[#bodies + 1] = line
            end

            ngx.say(witness.tally(bodies))
            ngx.say(witness.tally(witness.await(20)))
        }
    }
--- request
GET /t
--- response_body
10 x fine
10 x nil hello certificate nil
10 x own hello certificate nil
20 x page
20 x rewrite=same access=same content=same header_filter=same body_filter=same log=same



=== TEST 13: a client that goes away while the error page is at work
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



=== TEST 14: a client of HTTP/2 that goes away from its error pages
--- http_config
    lua_shared_dict events 64k;
    server {
        listen 127.0.0.1:$TEST_NGINX_PORT2 http2;
        location = /err {
            error_page 500 /slow;
            rewrite_by_lua_block { witness.keep() ngx.exit(500) }
        }
        location = /slow {
            lua_check_client_abort on;
            content_by_lua_block {
                ngx.shared.events:incr("arrived", 1, 0)
                ngx.sleep(10)
            }
        }
    }
--- config
    location = /t {
        content_by_lua_block {
            local events = ngx.shared.events

            witness.reset()
            events:set("arrived", 0)

            local before = assert(witness.references())
            local uris = {}

            for i = 1, 10 do
                uris[i] = "/err?" .. i
            end

            local proc = client.start_http2(uris, { port = $TEST_NGINX_PORT2,
                                                    headers = { ["X-First"] = "log" } })

            client.wait_until(function () return events:get("arrived") == 10 end)
            proc:kill()
            proc:wait()

            ngx.say(witness.tally(witness.await(10)))
            ngx.say("references kept: ", assert(witness.references()).used - before.used)
        }
    }
--- request
GET /t
--- response_body
10 x log=same
references kept: 0
