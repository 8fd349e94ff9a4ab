# lua_var_ssl_ctx and client certificates.  As Apache APISIX 2.x does, the handshake's Lua asks
# for one and leaves in ngx.ctx that it is required; access code looks there, and at the result.
# With `off`, code that looks into ngx.ctx finds no such demand, and lets everybody in.

use v5.36;
use lib 't/lib';
use NgxVarTest;
use Test::Nginx::Socket::Lua 'no_plan';

add_block_preprocessor(sub ($block) {
    my $setting = $block->setting;
    $block->set_value(http_config => <<"END");
    lua_package_path "\$TEST_NGINX_LUA_DIR/?.lua;;";
    $setting
    init_by_lua_block {
        local ssl = require "ngx.ssl"

        local function read(name)
            local file = assert(io.open("\$TEST_NGINX_CERT_DIR/" .. name))
            local text = file:read("*a")
            file:close()
            return text
        end

        certificate = assert(ssl.parse_pem_cert(read("test.crt")))
        key = assert(ssl.parse_pem_priv_key(read("test.key")))

        function ask_for_certificate()
            assert(ssl.verify_client(certificate, 1))
            ngx.ctx.api_ctx = { ssl_client_verified = true }
        end

        function check(left)
            local api_ctx = left and left.api_ctx

            if api_ctx and api_ctx.ssl_client_verified and ngx.var.ssl_client_verify ~= "SUCCESS" then
                ngx.exit(400)
            end
        end
    }
    server {
        listen 127.0.0.1:\$TEST_NGINX_PORT1 ssl http2;
        ssl_certificate     \$TEST_NGINX_CERT_DIR/test.crt;
        ssl_certificate_key \$TEST_NGINX_CERT_DIR/test.key;
        ssl_certificate_by_lua_block { ask_for_certificate() }

        # as APISIX
        location = /by-ctx {
            access_by_lua_block { check(ngx.ctx) }
            content_by_lua_block { ngx.print("in") }
        }
        location = /by-ssl-ctx {
            access_by_lua_block { check(require("resty.ngxvar").ssl_ctx()) }
            content_by_lua_block { ngx.print("in") }
        }
        # what was left is there after an error page, too
        location = /after-error {
            error_page 403 =200 /by-ctx;
            deny all;
        }
        location = /after-error-ssl-ctx {
            error_page 403 =200 /by-ssl-ctx;
            deny all;
        }
    }
END
    $block->set_value(config => <<'END');
    location = /t {
        content_by_lua_block {
            local client = require "client"
            local port = $TEST_NGINX_PORT1

            for _, has_certificate in ipairs{ false, true } do
                local said = {}

                -- nginx closes a connection after a 400
                for _, uri in ipairs{ "/by-ctx", "/by-ssl-ctx", "/after-error", "/after-error-ssl-ctx" } do
                    local c = client.connect{ port = port, tls = true,
                                              certificate = has_certificate and { certificate, key } }
                    said[#said + 1] = c:request(uri).status
                    c:close()
                end

                ngx.say(has_certificate and "with: " or "without: ", table.concat(said, " "))
            end

            for _, uri in ipairs{ "/by-ctx", "/by-ssl-ctx" } do
                ngx.say(uri, ": ", (client.http2({ uri }, { port = port, tls = true }):gsub("<.*>%s*", "page")))
            end
        }
    }
END
    $block->set_value(request => 'GET /t');
});

repeat_each(2);
run_tests();

__DATA__

=== TEST 1: by default, code that looks into ngx.ctx finds the handshake's demand
--- setting
--- response_body
without: 400 400 400 400
with: 200 200 200 200
/by-ctx: page
/by-ssl-ctx: page



=== TEST 2: with inherit, too
--- setting
    lua_var_ssl_ctx inherit;
--- response_body
without: 400 400 400 400
with: 200 200 200 200
/by-ctx: page
/by-ssl-ctx: page



=== TEST 3: with off, only code that calls ssl_ctx() finds it
--- setting
    lua_var_ssl_ctx off;
--- response_body
without: 200 400 200 400
with: 200 200 200 200
/by-ctx: in
/by-ssl-ctx: page
