# ngx.ctx across error pages on TLS connections, where Lua that runs in the
# handshake has a ngx.ctx too.

use v5.36;
use lib 't/lib';
use NgxVarTest;
use Test::Nginx::Socket::Lua 'no_plan';
use CtxWitness;

# 127.0.0.1:$TEST_NGINX_PORT1 speaks TLS, with HTTP/2 where the client asks for
# it.  A block says with `tls` which Lua runs in the handshake.
# With `ask` it prints what these URIs give on one connection.
add_block_preprocessor(sub ($block) {
    my $handshake = $block->tls // return;
    if (my $uris = $block->ask) {
        my $bodies = join ', ', map { qq{c:request("$_").body} } split ' ', $uris;
        $block->set_value(config => <<"END");
    location = /t {
        content_by_lua_block {
            local c = client.connect{ port = \$TEST_NGINX_PORT1, tls = true }
            ngx.print($bodies)
            c:close()
        }
    }
END
        $block->set_value(no_error_log => '[error]');
    }
    $block->set_value(request => 'GET /t');
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

        # The page compares its ngx.ctx with the one before the error.
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
        # Writing to ngx.ctx leaves the handshake's unchanged.
        location = /ssl_ctx {
            content_by_lua_block {
                local left = require("resty.ngxvar").ssl_ctx()
                ngx.say(ngx.ctx.certificate, " ", ngx.ctx.hello, " ", getmetatable(ngx.ctx) ~= nil, " ",
                        left and left.certificate, " ", left and left.hello, " ", left and left.__index)
                if left then
                    left.certificate, left.mine = "written", true
                    left = require("resty.ngxvar").ssl_ctx()
                    ngx.say(left.certificate, " ", left.mine)
                end
            }
        }
    }
END
});

repeat_each(2);
run_tests();

__DATA__

=== TEST 1: over HTTP/1.1 keepalive, the restored ngx.ctx still inherits from the handshake's
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



=== TEST 2: ssl_client_hello_by_lua's ngx.ctx is inherited after an error page
--- tls
        ssl_client_hello_by_lua_block { ngx.ctx.hello = "hello" }
--- ask: /handshake /handshake
--- response_body
own hello nil nil
own hello nil nil



=== TEST 3: the second handler of a handshake finds the first one's ngx.ctx
--- tls
        ssl_client_hello_by_lua_block { ngx.ctx.hello = "hello" }
        ssl_certificate_by_lua_block {
            ngx.ctx.certificate = "certificate after " .. ngx.ctx.hello
            ngx.sleep(0.001)
        }
--- skip_eval
3: # this nginx ends a handshake whose certificate handler yields
!NgxVarTest::Nginx->can_yield_in_handshake
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
--- response_body
own hello certificate after hello nil
page
own hello certificate after hello nil
rewrite=same access=same content=same header_filter=same body_filter=same log=same



=== TEST 4: ngx.ctx is restored after a session that Lua stores and resumes
--- http_config
    # with TLS 1.3 a client sends a session id on its first connection, too
    lua_ssl_protocols TLSv1.2;
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
--- response_body
own nil nil nil
page
own fetched nil nil
page
2 x rewrite=same access=same content=same header_filter=same body_filter=same log=same



=== TEST 5: a request without ngx.ctx finds on the error page what it would find without the module
--- tls
        ssl_certificate_by_lua_block { ngx.ctx.certificate = "certificate" }
--- ask: /without /handshake /without
--- response_body
nil nil certificate nil
own nil certificate nil
nil nil certificate nil



=== TEST 6: with lua_var_ctx_restore off, only the handshake's ngx.ctx is left
--- http_config
    lua_var_ctx_restore off;
--- tls
        ssl_certificate_by_lua_block { ngx.ctx.certificate = "certificate" }
--- ask: /handshake /handshake
--- response_body
nil nil certificate nil
nil nil certificate nil



=== TEST 7: every HTTP/2 stream inherits the ngx.ctx of their common handshake
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
--- response_body
10 x fine
10 x nil hello certificate nil
10 x own hello certificate nil
20 x page
20 x rewrite=same access=same content=same header_filter=same body_filter=same log=same



=== TEST 8: by default a request inherits the handshake's ngx.ctx, and ssl_ctx() returns it
--- tls
        ssl_client_hello_by_lua_block { ngx.ctx.hello = "hello" }
        ssl_certificate_by_lua_block { ngx.ctx.certificate = "certificate" }
--- ask: /ssl_ctx /ssl_ctx
--- response_body
certificate hello true certificate hello nil
certificate nil
certificate hello true certificate hello nil
certificate nil



=== TEST 9: with lua_var_ssl_ctx off a request inherits nothing, and ssl_ctx() returns the handshake's ngx.ctx
--- http_config
    lua_var_ssl_ctx off;
--- tls
        ssl_client_hello_by_lua_block { ngx.ctx.hello = "hello" }
        ssl_certificate_by_lua_block { ngx.ctx.certificate = "certificate" }
--- ask: /ssl_ctx /ssl_ctx
--- response_body
nil nil false certificate hello nil
certificate nil
nil nil false certificate hello nil
certificate nil



=== TEST 10: lua_var_ssl_ctx in a server overrides that of http
--- http_config
    lua_var_ssl_ctx off;
--- tls
        ssl_client_hello_by_lua_block { ngx.ctx.hello = "hello" }
        ssl_certificate_by_lua_block { ngx.ctx.certificate = "certificate" }
        lua_var_ssl_ctx inherit;
--- ask: /ssl_ctx /ssl_ctx
--- response_body
certificate hello true certificate hello nil
certificate nil
certificate hello true certificate hello nil
certificate nil



=== TEST 11: with lua_var_ssl_ctx off a request inherits nothing after an error page either
--- http_config
    lua_var_ssl_ctx off;
--- tls
        ssl_certificate_by_lua_block { ngx.ctx.certificate = "certificate" }
--- ask: /without /handshake /without
--- response_body
nil nil nil nil
own nil nil nil
nil nil nil nil



=== TEST 12: ssl_ctx() returns the table that a handshake assigned last
--- http_config
    lua_var_ssl_ctx off;
--- tls
        ssl_client_hello_by_lua_block { ngx.ctx = { hello = "first" } ngx.ctx = { hello = "hello" } }
        ssl_certificate_by_lua_block { ngx.ctx.certificate = "certificate" }
--- ask: /ssl_ctx /ssl_ctx
--- response_body
nil nil false certificate hello nil
certificate nil
nil nil false certificate hello nil
certificate nil



=== TEST 13: ssl_ctx() returns nothing of another handshake whose address is used again
--- http_config
    lua_var_ssl_ctx off;
--- tls
        ssl_certificate_by_lua_block {
            witness.handshakes = (witness.handshakes or 0) + 1
            -- Two handshakes that leave a ngx.ctx, then two that do not: a later connection
            -- gets the address of an earlier one.
            if witness.handshakes % 4 < 2 then ngx.ctx.certificate = "certificate" end
        }
--- config
    location = /t {
        content_by_lua_block {
            witness.handshakes = 0
            for i = 1, 20 do
                local c = client.connect{ port = $TEST_NGINX_PORT1, tls = true }
                local body = c:request("/ssl_ctx").body
                c:close()
                local want = i % 4 < 2 and "nil nil false certificate nil nil\ncertificate nil\n"
                             or "nil nil false nil nil nil\n"
                if body ~= want then ngx.say(i, ": ", body) end
            end
            ngx.say("done")
        }
    }
--- response_body
done
--- no_error_log
[error]



=== TEST 14: a clone of which nothing proves that it is live inherits nothing if a server forbids it
--- http_config
    server {
        listen 127.0.0.1:$TEST_NGINX_PORT2;
        location / { root html; try_files /file =404; }
    }
    upstream origin {
        server 0.0.0.1;
        balancer_by_lua_block {
            witness.seen[#witness.seen + 1] = tostring(ngx.ctx.certificate)
            assert(require("ngx.balancer").set_current_peer("127.0.0.1", $TEST_NGINX_PORT2))
        }
    }
--- tls
        lua_var_ssl_ctx off;
        ssl_certificate_by_lua_block { ngx.ctx.certificate = "certificate" }
        location = /slice {
            slice 4;
            proxy_set_header Range $slice_range;
            proxy_pass http://origin;
        }
--- config
    location = /t {
        content_by_lua_block {
            witness.seen = {}
            ngx.print(client.http2({ "/slice" }, { port = $TEST_NGINX_PORT1, tls = true }))
            ngx.say(table.concat(witness.seen, " "))
        }
    }
--- user_files
>>> file
12345678
--- response_body
12345678
nil nil nil
--- no_error_log
[error]
