# The incident: Lua in the TLS handshake leaves a cached request in ngx.ctx, the
# connection is kept alive, a request fails, and Lua after the error page reads
# variables with what it finds in ngx.ctx.  With lua-var-nginx-module's C code each
# of these kills a worker or reads another request.  See t/lib/incident.lua for the
# application and for what its verdicts mean.
#
# A block's section `app` is what a server with TLS ($TEST_NGINX_PORT1) and without
# ($TEST_NGINX_PORT2) has for locations; nothing listens on $TEST_NGINX_PORT3.  A line of the section
# `plays` is what is requested on one connection, "plain" on another without TLS.

use v5.36;
use lib 't/lib';
use NgxVarTest;
use Test::Nginx::Socket::Lua 'no_plan';

add_block_preprocessor(sub ($block) {
    return if !defined $block->app;
    my $app    = $block->app;
    my $init   = $block->init_app // '';
    my $server = $block->app_server // 'ssl_certificate_by_lua_block { incident.handshake() }';
    my $upstreams = $block->app_upstreams // '';
    $block->set_value(http_config => <<"END");
    lua_package_path "\$TEST_NGINX_LUA_DIR/?.lua;;";
    init_by_lua_block {
        client = require "client"
        incident = require "incident"
        $init
    }
    $upstreams
    server {
        listen 127.0.0.1:\$TEST_NGINX_PORT1 ssl http2;
        listen 127.0.0.1:\$TEST_NGINX_PORT2;
        server_name localhost;
        ssl_certificate     \$TEST_NGINX_CERT_DIR/test.crt;
        ssl_certificate_key \$TEST_NGINX_CERT_DIR/test.key;
        $server

        header_filter_by_lua_block { incident.see("header_filter") }
        log_by_lua_block { incident.see("log") }

        location = /fine {
            access_by_lua_block { incident.access() }
            content_by_lua_block { ngx.say("fine") }
        }
        location = /page { internal; return 200 "page\\n"; }
        location \@page { return 200 "page\\n"; }
        $app
    }
END
    $block->set_value(config => plays($block->plays)) if defined $block->plays;
    $block->set_value(request => 'GET /t') if !defined $block->request;
});

sub plays ($lines) {
    my $lua = '';
    for (split /\n/, $lines) {
        my ($protocol, @uris) = split /[:,] /;
        my $plain = /plain/ ? ', $TEST_NGINX_PORT2' : '';
        $lua .= "ngx.say(incident.$protocol(\$TEST_NGINX_PORT1, { " . join(', ', map { qq("$_") } @uris)
            . " }$plain))\nincident.tell{ " . join(', ', 1 .. @uris) . " }\n";
    }
    return "location = /t { content_by_lua_block {\n$lua} }";
}

repeat_each(2);
run_tests();

__DATA__

=== TEST 1: HTTP/1.1, upstream down, error_page to a URI: each reader finds its own request
--- app
    location = /down {
        error_page 502 /page;
        access_by_lua_block { incident.access() }
        proxy_pass http://127.0.0.1:$TEST_NGINX_PORT3;
    }
--- plays
http1: /down, /fine, /down, /down, /fine
--- response_body
502 200 502 502 200
1,2,3,4,5 header_filter=own log=own
workers: 1
--- no_error_log eval
qr/\[error\](?!.*connect\(\) failed)/



=== TEST 2: HTTP/2, upstream down, error_page to a named location: each reader finds its own request
--- app
    location = /down {
        error_page 502 @page;
        access_by_lua_block { incident.access() }
        proxy_pass http://127.0.0.1:$TEST_NGINX_PORT3;
    }
--- plays
http2: /down, /fine, /down, /down, /fine
--- response_body
502 200 502 502 200, HTTP/2 connections: 1
1,2,3,4,5 header_filter=own log=own
workers: 1



=== TEST 3: twenty HTTP/2 streams at once: each reader finds its own request
--- app
    location = /down {
        error_page 502 /page;
        access_by_lua_block { incident.access() ngx.sleep(0.001 * math.random(5)) }
        proxy_pass http://127.0.0.1:$TEST_NGINX_PORT3;
    }
--- config
    location = /t {
        content_by_lua_block {
            ngx.say(incident.http2_at_once($TEST_NGINX_PORT1, "/down", 20))
            local ids = {}
            for id = 1, 20 do
                ids[id] = id
            end
            incident.tell(ids)
        }
    }
--- response_body
20
1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20 header_filter=own log=own
workers: 1



=== TEST 4: a balancer that chooses no server, or one that is gone: each reader finds its own request
--- app_upstreams
    upstream cleared {
        server 0.0.0.1;
        balancer_by_lua_block {
            if ngx.ctx.api_ctx.var.uri == "/gone" then
                assert(require("ngx.balancer").set_current_peer("127.0.0.1", $TEST_NGINX_PORT3))
            else
                ngx.exit(ngx.ERROR)
            end
        }
    }
--- app
    error_page 500 502 503 @page;
    location = /none {
        access_by_lua_block { incident.access() ngx.exit(503) }
        proxy_pass http://cleared;
    }
    location = /gone {
        access_by_lua_block { incident.access() }
        proxy_pass http://cleared;
    }
    location = /none-in-balancer {
        access_by_lua_block { incident.access() }
        proxy_pass http://cleared;
    }
--- plays
http1: /none, /fine, /gone, /none, /none-in-balancer
http2: /none, /fine, /none-in-balancer, /gone, /none
--- response_body
503 200 502 503 500
1,2,3,4,5 header_filter=own log=own
workers: 1
503 200 500 502 503, HTTP/2 connections: 1
1,2,3,4,5 header_filter=own log=own
workers: 1



=== TEST 5: errors before proxying, a TLS connection each: each reader finds its own request
--- app
    error_page 500 @page;
    location = /exit {
        access_by_lua_block { incident.access() ngx.exit(500) }
        proxy_pass http://127.0.0.1:$TEST_NGINX_PORT3;
    }
    location = /bug {
        access_by_lua_block { incident.access() error("a bug") }
        proxy_pass http://127.0.0.1:$TEST_NGINX_PORT3;
    }
--- config
    location = /t {
        content_by_lua_block {
            for id = 1, 10 do
                incident.http1($TEST_NGINX_PORT1, { id % 2 == 0 and "/exit" or "/bug" }, id)
            end
            incident.tell{ 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 }
        }
    }
--- response_body
1,2,3,4,5,6,7,8,9,10 header_filter=own log=own
workers: 1
--- error_log
a bug



=== TEST 6: as in APISIX, with pooled tables over HTTP/2 and plain requests between: each reader finds its own request
--- app_server
    ssl_certificate_by_lua_block { incident.handshake() }
    error_page 500 @page;
--- init_app
incident.pooled = true
--- app
    location = /exit {
        access_by_lua_block { incident.access() ngx.exit(500) }
        proxy_pass http://127.0.0.1:$TEST_NGINX_PORT3;
    }
--- plays
http2: /exit, plain /exit, /exit, /fine, plain /exit, /exit, /exit
--- response_body
500 500 500 200 500 500 500, HTTP/2 connections: 1
1,2,3,4,5,6,7 header_filter=own log=own
workers: 1
--- no_error_log
[error]



=== TEST 7: as in APISIX, with a Lua error and APISIX 2.13's $from_error_page: each reader finds its own request
--- app_server
    ssl_certificate_by_lua_block { incident.handshake() }
    set $ctx_ref '';
    set $from_error_page '';
    error_page 500 @50x.html;
--- init_app
incident.pooled = true
--- app
    location = /bug {
        access_by_lua_block { incident.access() error("a bug") }
        proxy_pass http://127.0.0.1:$TEST_NGINX_PORT3;
    }
    location @50x.html {
        set $from_error_page 'true';
        return 200 "page\n";
    }
--- plays
http2: /bug, plain /bug, /bug, /fine, plain /bug, /bug
--- response_body
500 500 500 200 500 500, HTTP/2 connections: 1
1,2,3,4,5,6 header_filter=own log=own
workers: 1
--- error_log
a bug



=== TEST 8: with lua_var_ctx_restore off ngx.ctx is lost as in the incident, and stale reads are refused
What the blocks above would give if nothing was restored: the handshake's leftover,
and with the pool the ctx of another request.
--- app
    lua_var_ctx_restore off;
    error_page 500 502 @page;
    location = /down {
        access_by_lua_block { incident.access() }
        proxy_pass http://127.0.0.1:$TEST_NGINX_PORT3;
    }
    location = /exit {
        access_by_lua_block { incident.access() ngx.exit(500) }
        proxy_pass http://127.0.0.1:$TEST_NGINX_PORT3;
    }
--- config
    location = /t {
        content_by_lua_block {
            ngx.say(incident.http1($TEST_NGINX_PORT1, { "/down", "/fine", "/down" }))
            incident.tell{ 1, 2, 3 }

            incident.pooled = true
            ngx.say(incident.http2($TEST_NGINX_PORT1, { "/exit", "plain /exit", "/exit", "/fine" }, $TEST_NGINX_PORT2))
            incident.tell{ 1, 2, 3, 4 }
            incident.pooled = false
        }
    }
--- response_body
502 200 502
1 header_filter=handshake: stale request log=handshake: stale request
2 header_filter=own log=own
3 header_filter=handshake: stale request log=handshake: stale request
workers: 1
500 500 500 200, HTTP/2 connections: 1
1 header_filter=handshake log=handshake
2 header_filter=none log=none
3 header_filter=2: stale request log=2: stale request
4 header_filter=own log=own
workers: 1



=== TEST 9: a request without ngx.ctx, as after return 200, finds the handshake's and its reads are refused
--- app
    location = /ping { return 200 "pong\n"; }
--- plays
http1: /ping, /ping, /fine, /ping
http2: /ping, /ping, /fine, /ping
--- response_body
200 200 200 200
1,2 header_filter=handshake: stale request log=handshake: stale request
3 header_filter=own log=own
4 header_filter=handshake: stale request log=handshake: stale request
workers: 1
200 200 200 200, HTTP/2 connections: 1
1,2 header_filter=handshake: stale request log=handshake: stale request
3 header_filter=own log=own
4 header_filter=handshake: stale request log=handshake: stale request
workers: 1
--- no_error_log
[error]



=== TEST 10: a request without ngx.ctx that finds a pooled table of another request is refused
--- init_app
incident.pooled = true
--- app
    location = /ping { return 200 "pong\n"; }
--- plays
http2: /ping, plain /fine, /ping, plain /fine, /ping, /fine
--- response_body
200 200 200 200 200 200, HTTP/2 connections: 1
1 header_filter=handshake log=handshake
2 header_filter=own log=own
3 header_filter=2: stale request log=2: stale request
4 header_filter=own log=own
5 header_filter=4: stale request log=4: stale request
6 header_filter=own log=own
workers: 1
--- no_error_log
[error]



=== TEST 11: a pointer that the handshake cached is refused
--- init_app
incident.raw = true
--- app
    location = /ping { return 200 "pong\n"; }
    location = /down {
        error_page 502 /page;
        access_by_lua_block { incident.access() }
        proxy_pass http://127.0.0.1:$TEST_NGINX_PORT3;
    }
--- plays
http1: /ping, /down, /ping, /fine
http2: /ping, /down, /ping, /fine
--- response_body
200 502 200 200
1 header_filter=handshake: stale request log=handshake: stale request
2 header_filter=own log=own
3 header_filter=handshake: stale request log=handshake: stale request
4 header_filter=own log=own
workers: 1
200 502 200 200, HTTP/2 connections: 1
1 header_filter=handshake: stale request log=handshake: stale request
2 header_filter=own log=own
3 header_filter=handshake: stale request log=handshake: stale request
4 header_filter=own log=own
workers: 1



=== TEST 12: the C functions refuse a pointer that the handshake cached
--- app
    location = /ping {
        header_filter_by_lua_block { incident.see_by_c() }
        log_by_lua_block { incident.see_by_c() incident.see("log") }
        return 200 "pong\n";
    }
--- config
    location = /t {
        content_by_lua_block {
            ngx.say(incident.http1($TEST_NGINX_PORT1, { "/ping", "/ping", "/ping" }))
            incident.tell{ 1, 2, 3 }
            ngx.say(incident.http2($TEST_NGINX_PORT1, { "/ping", "/ping", "/ping" }))
            incident.tell{ 1, 2, 3 }
            -- for the current request they are right
            ngx.say(incident.call_c_functions(require("resty.core.base").get_request()))
        }
    }
--- request
GET /t
--- response_body
200 200 200
1,2,3 c=refused c=refused log=handshake: stale request
workers: 1
200 200 200, HTTP/2 connections: 1
1,2,3 c=refused c=refused log=handshake: stale request
workers: 1
0:/t 0:localhost 0:127.0.0.1 0:http 5:time -1: -1: -1:
--- no_error_log
[error]



=== TEST 13: readers are refused in the log phase of a request that cannot be parsed
--- app
    error_page 400 /page;
--- config
    location = /t {
        content_by_lua_block {
            local c = client.connect{ port = $TEST_NGINX_PORT1, tls = true }
            ngx.say(c:request("/fine?id=1").status)
            c:send("GET /bad?id=2 HTTP/1.1\r\nHost: localhost\r\nbad header\r\n\r\n")
            ngx.say(c:response().status)
            c:close()
            incident.tell{ 1, 2 }
        }
    }
--- response_body
200
400
1 header_filter=own log=own
2 header_filter=handshake: stale request log=handshake: stale request
workers: 1



=== TEST 14: what client hello and session store leave in ngx.ctx is refused too
--- app_server
    ssl_client_hello_by_lua_block { incident.handshake() }
    ssl_protocols TLSv1.2;
--- app_upstreams
    ssl_session_cache shared:incident:1m;
    ssl_session_store_by_lua_block { ngx.ctx.stored = (require("resty.ngxvar").request()) }
    ssl_session_fetch_by_lua_block { ngx.ctx.fetched = (require("resty.ngxvar").request()) }
--- app
    location = /ping { return 200 "pong\n"; }
    location = /down {
        error_page 502 /page;
        access_by_lua_block { incident.access() }
        proxy_pass http://127.0.0.1:$TEST_NGINX_PORT3;
    }
--- config
    location = /t {
        content_by_lua_block {
            ngx.say(incident.http1($TEST_NGINX_PORT1, { "/ping", "/down", "/ping" }))
            incident.tell{ 1, 2, 3 }

            -- a resumed session
            local first = client.connect{ port = $TEST_NGINX_PORT1, tls = true }
            ngx.say(first:request("/down?id=4").status)
            first:close()
            local second = client.connect{ port = $TEST_NGINX_PORT1, tls = true, session = first.session }
            ngx.say(second:request("/down?id=5").status)
            ngx.say(second:request("/ping?id=6").status)
            second:close()
            incident.tell{ 4, 5, 6 }
        }
    }
--- response_body
200 502 200
1 header_filter=handshake: stale request log=handshake: stale request
2 header_filter=own log=own
3 header_filter=handshake: stale request log=handshake: stale request
workers: 1
502
502
200
4,5 header_filter=own log=own
6 header_filter=handshake: stale request log=handshake: stale request
workers: 1
--- no_error_log eval
qr/\[error\](?!.*connect\(\) failed)/



=== TEST 15: a handshake between a request's error and its log phase changes nothing
--- app
    location = /down {
        error_page 502 @later;
        access_by_lua_block { incident.access() }
        proxy_pass http://127.0.0.1:$TEST_NGINX_PORT3;
    }
    location @later {
        content_by_lua_block {
            -- on its own connection, with its own ngx.ctx
            if ngx.var.request_uri:find("outer", 1, true) then
                incident.http1($TEST_NGINX_PORT1, { "/down" }, 10)
                incident.http1($TEST_NGINX_PORT1, { "/fine" }, 11)
            end
            ngx.say("page")
        }
    }
--- config
    location = /t {
        content_by_lua_block {
            local c = client.connect{ port = $TEST_NGINX_PORT1, tls = true }
            ngx.say(c:request("/down?outer&id=1").status)
            ngx.say(c:request("/down?id=2").status)
            c:close()
            incident.tell{ 1, 2, 10, 11 }
        }
    }
--- response_body
502
502
1,2,10,11 header_filter=own log=own
workers: 1



=== TEST 16: when a client leaves during its error page, the log phase finds its own request
--- app
    location = /down {
        error_page 502 @slow;
        access_by_lua_block { incident.access() }
        proxy_pass http://127.0.0.1:$TEST_NGINX_PORT3;
    }
    location @slow {
        lua_check_client_abort on;
        content_by_lua_block {
            package.loaded.in_error_page = true
            ngx.sleep(10)
        }
    }
--- config
    location = /t {
        content_by_lua_block {
            local c = client.connect{ port = $TEST_NGINX_PORT1, tls = true }
            ngx.say(c:request("/fine?id=1").status)
            c:send(client.request_text("/down?id=2"))
            while not package.loaded.in_error_page do
                ngx.sleep(0.001)
            end
            package.loaded.in_error_page = nil
            c:close()
            incident.tell{ 1, 2 }
        }
    }
--- response_body
200
1 header_filter=own log=own
2 log=own
workers: 1



=== TEST 17: a timer that the log phase hands its request to is refused
--- app
    error_page 502 @logged;
    location = /down {
        access_by_lua_block { incident.access() }
        proxy_pass http://127.0.0.1:$TEST_NGINX_PORT3;
    }
    location @logged {
        log_by_lua_block {
            incident.see("log")
            ngx.timer.at(0, incident.later, ngx.ctx.api_ctx.var)
        }
        return 200 "page\n";
    }
--- init_app
        incident.answers = {}
        function incident.later(_, var)
            local ngxvar = require "resty.ngxvar"
            table.insert(incident.answers, table.concat({
                tostring(var.scheme), tostring(var.host),
                tostring(select(2, ngxvar.fetch("uri", var._request))),
            }, " "))
        end
--- config
    location = /t {
        content_by_lua_block {
            incident.answers = {}
            ngx.say(incident.http1($TEST_NGINX_PORT1, { "/down", "/fine", "/down" }))
            incident.tell{ 1, 2, 3 }
            while #incident.answers < 2 do
                ngx.sleep(0.001)
            end
            ngx.say(table.concat(incident.answers, "\n"))
        }
    }
--- response_body
502 200 502
1,2,3 header_filter=own log=own
workers: 1
nil nil stale request
nil nil stale request
