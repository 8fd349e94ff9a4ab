# lua_var_replace resty.ctxdump: lua-resty-ctxdump's functions, whose references here become
# invalid with their request.

use lib 't/lib';
use NgxVarTest;
use Test::Nginx::Socket::Lua 'no_plan';

add_block_preprocessor(sub {
    my ($block) = @_;
    $block->set_value(http_config => <<'END' . ($block->http_config // ''));
    lua_var_replace resty.ctxdump;
    lua_package_path "$TEST_NGINX_LUA_DIR/?.lua;;";
END
    $block->set_value(no_error_log => '[error]') if !defined $block->error_log;
});

repeat_each(2);
run_tests();

__DATA__

=== TEST 1: an ngx.ctx stashed before a redirect is applied after it, with every lua_var_ctx_restore
--- config
    location ~ ^/(?:off|error_page|all)$ {
        set $ctx_ref "";
        content_by_lua_block {
            ngx.ctx = { id = "mine" }
            ngx.var.ctx_ref = require("resty.ctxdump").stash_ngx_ctx()
            ngx.exec(ngx.var.uri .. "_page")
        }
    }
    location = /off_page { lua_var_ctx_restore off; content_by_lua_block { require("landed")() } }
    location = /error_page_page { content_by_lua_block { require("landed")() } }
    location = /all_page { lua_var_ctx_restore all; content_by_lua_block { require("landed")() } }
--- http_config
    init_by_lua_block {
        package.loaded.landed = function ()
            local ctxdump = require "resty.ctxdump"
            local ref = ngx.var.ctx_ref
            ngx.ctx = ctxdump.apply_ngx_ctx(ref)
            ngx.say(ngx.ctx.id, " ", ctxdump.count(), " ", select(2, ctxdump.apply_ngx_ctx(ref)))
        end
    }
--- request eval
["GET /off", "GET /error_page", "GET /all"]
--- response_body eval
[("mine 0 bad ref value\n") x 3]



=== TEST 2: clients that leave between stash and apply leave no ngx.ctx behind
--- config
    location = /leave {
        content_by_lua_block {
            ngx.ctx.big = ("x"):rep(1000)
            package.loaded.last = require("resty.ctxdump").stash_ngx_ctx()
            ngx.exit(444)
        }
    }
    location = /t {
        content_by_lua_block {
            local ctxdump = require "resty.ctxdump"
            local client = require "client"
            local most = 0

            for i = 1, 60 do
                local c = client.connect{ port = ngx.var.server_port }
                pcall(c.request, c, "/leave")
                c:close()
                most = math.max(most, ctxdump.count())
            end
            ngx.say(most <= 3, " ", select(2, ctxdump.apply_ngx_ctx(package.loaded.last)))
        }
    }
--- request
GET /t
--- response_body
true stale request



=== TEST 3: apply_ngx_ctx refuses what is no reference
--- config
    location = /t {
        content_by_lua_block {
            local apply = require("resty.ctxdump").apply_ngx_ctx
            for _, ref in ipairs { "", "x", 0, -1, 1.5, 4711, true } do
                ngx.say(tostring(apply(ref)), " ", select(2, apply(ref)))
            end
            ngx.say(select(2, apply()))
        }
    }
--- request
GET /t
--- response_body eval
("nil bad ref value\n" x 7) . "bad ref value\n"
