# ngx.ctx across error_page: every source of an error.

use v5.36;
use lib 't/lib';
use NgxVarTest;
use Test::Nginx::Socket::Lua 'no_plan';
use CtxWitness;

repeat_each(2);
run_tests();

__DATA__

=== TEST 1: errors in rewrite_by_lua keep ngx.ctx
--- config
    error_page 500 403 /page;
    location = /exit {
        rewrite_by_lua_block { witness.keep() ngx.exit(500) }
    }
    location = /exit-later {
        rewrite_by_lua_block { witness.keep() ngx.sleep(0) ngx.exit(403) }
    }
    location = /error {
        rewrite_by_lua_block { witness.keep() error("on purpose") }
    }
--- request eval
["GET /exit", "GET /exit-later", "GET /error"]
--- error_code eval
[500, 403, 500]
--- response_body eval
["page\n", "page\n", "page\n"]
--- seen: everywhere



=== TEST 2: return and rewrite errors keep the ngx.ctx of the server's rewrite phase
--- config
    error_page 500 403 /page;
    server_rewrite_by_lua_block { witness.keep() }
    location = /return { return 403; }
    location = /if {
        if ($arg_a) { return 500; }
    }
--- request eval
["GET /return", "GET /if?a=1"]
--- error_code eval
[403, 500]
--- response_body eval
["page\n", "page\n"]
--- seen: server_rewrite=same everywhere



=== TEST 3: errors in the server's rewrite phase keep ngx.ctx
--- config
    error_page 500 /page;
    server_rewrite_by_lua_block {
        if not witness.keep() then
            return
        end

        if ngx.var.uri == "/exit" then
            ngx.exit(500)
        end

        error("on purpose")
    }
--- request eval
["GET /exit", "GET /error"]
--- error_code eval
[500, 500]
--- response_body eval
["page\n", "page\n"]
--- seen: server_rewrite=same everywhere



=== TEST 4: errors in the access phase keep ngx.ctx
--- config
    error_page 500 403 401 /page;
    location = /exit {
        access_by_lua_block { witness.keep() ngx.exit(403) }
    }
    location = /exit-later {
        access_by_lua_block { witness.keep() ngx.sleep(0) ngx.exit(401) }
    }
    location = /error {
        access_by_lua_block { witness.keep() error("on purpose") }
    }
    location = /deny {
        rewrite_by_lua_block { witness.keep() }
        deny all;
    }
    location = /auth_basic {
        rewrite_by_lua_block { witness.keep() }
        auth_basic realm;
        auth_basic_user_file /dev/null;
    }
--- request eval
["GET /exit", "GET /exit-later", "GET /error", "GET /deny", "GET /auth_basic"]
--- error_code eval
[403, 401, 500, 403, 401]
--- response_body eval
[("page\n") x 5]
--- seen: everywhere



=== TEST 5: errors in content_by_lua keep ngx.ctx
--- config
    error_page 500 503 404 /page;
    location = /exit {
        content_by_lua_block { witness.keep() ngx.exit(503) }
    }
    location = /exit-later {
        content_by_lua_block { witness.keep() ngx.sleep(0) ngx.exit(404) }
    }
    location = /error {
        content_by_lua_block { witness.keep() error("on purpose") }
    }
    location = /error-later {
        content_by_lua_block { witness.keep() ngx.sleep(0) error("on purpose") }
    }
    location = /thread {
        content_by_lua_block {
            ngx.thread.spawn(function ()
                witness.keep()
                ngx.sleep(0)
                ngx.exit(503)
            end)
        }
    }
--- request eval
["GET /exit", "GET /exit-later", "GET /error", "GET /error-later", "GET /thread"]
--- error_code eval
[503, 404, 500, 500, 503]
--- response_body eval
[("page\n") x 5]
--- seen: everywhere



=== TEST 6: errors of nginx's own content handlers keep ngx.ctx
--- config
    error_page 404 403 405 409 416 /page;
    rewrite_by_lua_block {
        if not ngx.req.is_internal() then
            return witness.keep()
        end

        witness.see("rewrite")
    }
    location /static/ { root html; }
    location = /empty_gif { empty_gif; }
    location /dav/ {
        root html;
        dav_methods MKCOL;
    }
--- user_files
>>> static/file.txt
file
--- request eval
["GET /static/missing", "GET /static/", "POST /static/file.txt", "POST /empty_gif",
 "MKCOL /dav/no-slash", "GET /static/file.txt"]
--- more_headers eval
["", "", "", "", "", "Range: bytes=100-"]
--- error_code eval
[404, 403, 405, 405, 409, 416]
--- response_body eval
[("page\n") x 6]
--- seen: everywhere



=== TEST 7: errors in balancer_by_lua keep ngx.ctx
--- http_config
    upstream exits {
        server 0.0.0.1;
        balancer_by_lua_block { ngx.exit(503) }
    }
    upstream fails {
        server 0.0.0.1;
        balancer_by_lua_block { error("on purpose") }
    }
    upstream down {
        server 0.0.0.1;
        balancer_by_lua_block {
            witness.keep()
            assert(require("ngx.balancer").set_current_peer("127.0.0.1", $TEST_NGINX_PORT9))
        }
    }
--- config
    error_page 500 502 503 504 /page;
    location = /exits {
        rewrite_by_lua_block { witness.keep() }
        proxy_pass http://exits;
    }
    location = /fails {
        rewrite_by_lua_block { witness.keep() }
        proxy_pass http://fails;
    }
    location = /down {
        proxy_pass http://down;
    }
--- request eval
["GET /exits", "GET /fails", "GET /down"]
--- error_code eval
# OpenResty passes on the status that a balancer exits with.
[NgxVarTest::Nginx->vendor eq 'openresty' ? 503 : 500, 500, 502]
--- response_body eval
["page\n", "page\n", "page\n"]
--- seen: everywhere



=== TEST 8: an error in a header filter keeps ngx.ctx
# Without Lua content, because lua-nginx-module crashes on a redirect inside ngx.say().
--- config
    error_page 500 503 /page;
    location = /static.txt {
        root html;
        rewrite_by_lua_block { witness.keep() }
        header_filter_by_lua_block { ngx.exit(503) }
    }
    location = /proxied {
        access_by_lua_block { witness.keep() }
        proxy_pass http://127.0.0.1:$TEST_NGINX_SERVER_PORT/upstream;
        header_filter_by_lua_block { ngx.exit(500) }
    }
    location = /upstream { return 200 "not sent"; }
--- user_files
>>> static.txt
not sent
--- request eval
["GET /static.txt", "GET /proxied"]
--- error_code eval
[503, 500]
--- response_body eval
["page\n", "page\n"]
--- seen: everywhere



=== TEST 9: a refused connection to the upstream keeps ngx.ctx
--- config
    location = /t {
        error_page 502 /page;
        rewrite_by_lua_block { witness.keep() }
        proxy_pass http://127.0.0.1:$TEST_NGINX_PORT9;
    }
--- request
GET /t
--- error_code: 502
--- response_body
page
--- error_log
Connection refused
--- seen: everywhere



=== TEST 10: upstreams of which all servers refuse keep ngx.ctx
--- http_config
    upstream down {
        server 127.0.0.1:$TEST_NGINX_PORT8;
        server 127.0.0.1:$TEST_NGINX_PORT9;
    }
--- config
    location = /t {
        error_page 502 /page;
        access_by_lua_block { witness.keep() }
        proxy_pass http://down;
    }
--- request
GET /t
--- error_code: 502
--- response_body
page
--- seen: everywhere



=== TEST 11: an upstream that times out keeps ngx.ctx
--- config
    location = /t {
        error_page 504 /page;
        rewrite_by_lua_block { witness.keep() }
        proxy_read_timeout 50ms;
        proxy_pass http://127.0.0.1:$TEST_NGINX_SERVER_PORT/slow;
    }
    location = /slow {
        lua_check_client_abort on;
        content_by_lua_block {
            ngx.on_abort(function () ngx.exit(499) end)
            ngx.sleep(10)
        }
    }
--- request
GET /t
--- error_code: 504
--- response_body
page
--- error_log
upstream timed out
--- seen: everywhere



=== TEST 12: an upstream that closes early, or sends too big a header, keeps ngx.ctx
--- http_config
    server {
        listen 127.0.0.1:$TEST_NGINX_PORT1;
        location = /closes { return 444; }
        location = /talks {
            content_by_lua_block {
                ngx.header["X-Big"] = string.rep("x", 2000)
                ngx.say("not sent")
            }
        }
    }
--- config
    error_page 502 /page;
    proxy_buffer_size 1k;
    location = /closes {
        rewrite_by_lua_block { witness.keep() }
        proxy_pass http://127.0.0.1:$TEST_NGINX_PORT1;
    }
    location = /talks {
        rewrite_by_lua_block { witness.keep() }
        proxy_pass http://127.0.0.1:$TEST_NGINX_PORT1;
    }
--- request eval
["GET /closes", "GET /talks"]
--- error_code eval
[502, 502]
--- response_body eval
["page\n", "page\n"]
--- seen: everywhere



=== TEST 13: an intercepted error of the upstream keeps ngx.ctx
--- config
    location = /t {
        error_page 418 503 /page;
        rewrite_by_lua_block { witness.keep() }
        proxy_intercept_errors on;
        proxy_pass http://127.0.0.1:$TEST_NGINX_SERVER_PORT/status/$arg_code;
    }
    location /status/ {
        content_by_lua_block {
            ngx.status = tonumber(ngx.var.uri:match("%d+"))
            ngx.say("from the upstream")
        }
    }
--- request eval
["GET /t?code=418", "GET /t?code=503"]
--- error_code eval
[418, 503]
--- response_body eval
["page\n", "page\n"]
--- seen: everywhere



=== TEST 14: an upstream's name that does not resolve keeps ngx.ctx
--- config
    location = /t {
        error_page 502 /page;
        rewrite_by_lua_block { witness.keep() }
        set $name "no-resolver.test";
        proxy_pass http://$name;
    }
--- request
GET /t
--- error_code: 502
--- response_body
page
--- seen: everywhere



=== TEST 15: limit_req and limit_conn keep ngx.ctx
--- http_config
    # Keyed by connection, so that each client starts with an unused limit.
    limit_req_zone $connection zone=requests:64k rate=1r/m;
    limit_conn_zone $server_port zone=connections:64k;
--- config
    location = /limit_req {
        error_page 503 /page;
        rewrite_by_lua_block { witness.keep() }
        limit_req zone=requests;
        content_by_lua_block { ngx.say("within the limit") }
    }
    location = /limit_conn {
        error_page 503 /page;
        rewrite_by_lua_block { witness.keep() }
        limit_conn connections 1;
        content_by_lua_block {
            ngx.print(client.get("/limit_conn").body)
        }
    }
    location = /t {
        content_by_lua_block {
            witness.reset()

            local c = client.connect{ port = ngx.var.server_port }

            ngx.print(c:request("/limit_req").body)
            ngx.print(c:request("/limit_req").body)
            c:close()
            ngx.say(witness.await(2)[2])

            ngx.print(client.get("/limit_conn").body)
            ngx.say(witness.await(3)[3])
        }
    }
--- request
GET /t
--- response_body
within the limit
page
rewrite=same access=same content=same header_filter=same body_filter=same log=same
page
rewrite=same access=same content=same header_filter=same body_filter=same log=same



=== TEST 16: auth_request keeps ngx.ctx, and its subrequest has its own
--- config
    error_page 401 403 500 /page;
    rewrite_by_lua_block {
        if not ngx.req.is_internal() then
            return witness.keep()
        end

        witness.see("rewrite")
    }
    location = /t {
        auth_request /auth;
    }
    location = /auth {
        internal;
        rewrite_by_lua_block {
            ngx.ctx.of_subrequest = true
            ngx.exit(tonumber(ngx.var.http_x_code))
        }
    }
--- request eval
["GET /t", "GET /t", "GET /t"]
--- more_headers eval
["X-Code: 403", "X-Code: 401", "X-Code: 500"]
--- error_code eval
[403, 401, 500]
--- response_body eval
["page\n", "page\n", "page\n"]
--- seen: everywhere



=== TEST 17: a request body that is too large keeps ngx.ctx
--- config
    server_rewrite_by_lua_block { witness.keep() }
    error_page 413 /page;
    location = /t {
        client_max_body_size 10;
        content_by_lua_block {
            ngx.req.read_body()
            ngx.say("read")
        }
    }
--- request eval
["POST /t\n" . "x" x 100, "POST /t\n" . "64\r\n" . "x" x 100 . "\r\n0\r\n\r\n"]
--- more_headers eval
["", "Transfer-Encoding: chunked"]
--- error_code eval
[413, 413]
--- response_body eval
["page\n", "page\n"]
--- seen: server_rewrite=same everywhere



=== TEST 18: a chunked body that turns out too large keeps ngx.ctx
--- config
    location = /t {
        error_page 413 /page;
        client_max_body_size 10;
        rewrite_by_lua_block { witness.keep() }
        proxy_pass http://127.0.0.1:$TEST_NGINX_PORT9;
    }
--- request eval
"POST /t\n" . "64\r\n" . "x" x 100 . "\r\n0\r\n\r\n"
--- more_headers
Transfer-Encoding: chunked
--- error_code: 413
--- response_body
page
--- seen: everywhere



=== TEST 19: a ngx.ctx that only nginx's C code refers to is kept
# Lua may call lua-nginx-module's C function itself instead of using ngx.ctx.
--- config
    location = /t {
        error_page 500 /own-page;
        rewrite_by_lua_block {
            require("by_c").set{ by_c = "by C" }
            ngx.exit(500)
        }
    }
    location = /own-page {
        content_by_lua_block { ngx.say(ngx.ctx.by_c) }
    }
--- request
GET /t
--- error_code: 500
--- response_body
by C
