# ngx.ctx across error pages, handles and the handshake's ngx.ctx over HTTP/3, where each
# stream is a connection for nginx.

use v5.36;
use lib 't/lib';
use NgxVarTest;
use Test::Nginx::Socket::Lua;

my $lack;
BEGIN { $lack = NgxVarTest::Nginx->lacks_http3 }
plan($lack ? (skip_all => $lack) : 'no_plan');

use CtxWitness;

my $LISTEN = <<'END';
listen 127.0.0.1:$TEST_NGINX_PORT1 quic;
        ssl_certificate     $TEST_NGINX_CERT_DIR/test.crt;
        ssl_certificate_key $TEST_NGINX_CERT_DIR/test.key;
        # nginx notices after this time that a client was killed
        keepalive_timeout 1s;
END

# A block's section `streams` adds CtxWitness::stream_server, and `quic` a server with the
# section's text; both speak HTTP/3 on TEST_NGINX_PORT1.
add_block_preprocessor(sub ($block) {
    my $server = defined $block->streams ? CtxWitness::stream_server($LISTEN)
        : defined $block->quic ? "server {\n        $LISTEN" . $block->quic . "}\n" : return;
    $block->set_value(http_config => ($block->http_config // '') . $server);
});

# For nginx each stream is a connection.
worker_connections(256);
repeat_each(2);
run_tests();

__DATA__

=== TEST 1: each of many HTTP/3 streams on one connection keeps its own ngx.ctx
--- streams
--- config
    location = /t {
        content_by_lua_block { witness.try_streams(client.http3, $TEST_NGINX_PORT1) }
    }
--- request
GET /t
--- response_body
8 x fresh
40 x page
port one by HTTP/3.0
40 x rewrite=same access=same content=same header_filter=same body_filter=same log=same



=== TEST 2: when an HTTP/3 client leaves, the log phase of each stream has its ngx.ctx
--- streams
--- config
    location = /t {
        content_by_lua_block { witness.leave_streams(client.start_http3, $TEST_NGINX_PORT1) }
    }
--- request
GET /t
--- response_body
10 x log=same
references kept: 0



=== TEST 3: every stream sees the ngx.ctx of their common handshake, and ssl_ctx() returns it
--- quic
        ssl_client_hello_by_lua_block { ngx.ctx.hello = "hello" }
        ssl_certificate_by_lua_block { ngx.ctx.certificate = "certificate" }
        error_page 502 /from-handshake;
        location = /handshake {
            rewrite_by_lua_block { ngx.ctx.own = "own" ngx.exit(502) }
        }
        # No Lua touches ngx.ctx before the error.
        location = /without {
            rewrite_by_lua_block { ngx.exit(502) }
        }
        location = /from-handshake {
            content_by_lua_block {
                local left = require("resty.ngxvar").ssl_ctx()
                ngx.say(ngx.ctx.own, " ", ngx.ctx.hello, " ", ngx.ctx.certificate, " ",
                        rawget(ngx.ctx, "certificate"), ", left: ", left and left.certificate)
            }
        }
--- config
    location = /t {
        content_by_lua_block {
            local uris, bodies = {}, {}

            for i = 1, 10 do
                uris[#uris + 1] = "/handshake?" .. i
                uris[#uris + 1] = "/without?" .. i
            end

            for line in client.http3(uris, { port = $TEST_NGINX_PORT1 }):gmatch("[^\n]+") do
                bodies[#bodies + 1] = line
            end

            ngx.say(witness.tally(bodies))
        }
    }
--- request
GET /t
--- response_body
10 x nil hello certificate nil, left: certificate
10 x own hello certificate nil, left: certificate



=== TEST 4: with lua_var_ssl_ctx off a stream's ngx.ctx has nothing of the handshake, and ssl_ctx() returns it
--- http_config
    lua_var_ssl_ctx off;
--- quic
        ssl_certificate_by_lua_block { ngx.ctx.certificate = "certificate" }
        location = /left {
            content_by_lua_block {
                local left = require("resty.ngxvar").ssl_ctx()
                ngx.say(ngx.ctx.certificate, " ", getmetatable(ngx.ctx) ~= nil, " ",
                        left and left.certificate)
            }
        }
--- config
    location = /t {
        content_by_lua_block {
            ngx.print(client.http3({ "/left" }, { port = $TEST_NGINX_PORT1 }))
        }
    }
--- request
GET /t
--- response_body
nil false certificate
--- no_error_log
[error]



=== TEST 5: a stream's values are those of ngx.var, and its handle is stale afterwards
--- quic
        location = /values {
            content_by_lua_block {
                local ngxvar = require "resty.ngxvar"
                local req = ngxvar.request()
                local differ = {}

                for name in ([[uri args request_uri request_method request scheme host https http3
                               server_protocol server_addr server_port remote_addr remote_port
                               connection connection_requests request_length request_completion
                               status bytes_sent body_bytes_sent http_user_agent http_x_mine
                               http_cookie cookie_a arg_a content_length ssl_protocol
                               ssl_server_name pipe document_root]]):gmatch("%S+") do
                    local ours, stock = ngxvar.fetch(name, req), ngx.var[name]

                    if type(ours) == "number" then
                        stock = tonumber(stock)
                    end

                    if (ours or "") ~= (stock or "") then
                        differ[#differ + 1] = name .. ": " .. tostring(ours) .. ", not " .. tostring(stock)
                    end
                end

                package.loaded.kept_handle = req
                ngx.say(ngxvar.fetch("http3", req), " ", ngxvar.fetch("arg_a", req), " ",
                        ngxvar.fetch("http_x_mine", req), " ", ngxvar.fetch("cookie_a", req),
                        " ", table.concat(differ, "; "))
            }
        }
        location = /stale {
            content_by_lua_block {
                local ngxvar = require "resty.ngxvar"
                local value, err = ngxvar.fetch("uri", package.loaded.kept_handle)

                ngx.say(value, " ", err, " ", ngxvar.fetch("uri", ngxvar.request()))
            }
        }
--- config
    location = /t {
        content_by_lua_block {
            local options = { port = $TEST_NGINX_PORT1,
                              headers = { ["X-Mine"] = "mine", Cookie = "a=3" } }

            ngx.print(client.http3({ "/values?a=2" }, options))
            ngx.print(client.http3({ "/stale" }, options))
        }
    }
--- request
GET /t
--- response_body
h3 2 mine 3 
nil stale request /stale
--- no_error_log
[alert]
