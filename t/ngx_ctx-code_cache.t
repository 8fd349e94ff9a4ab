# With lua_code_cache off each request has a Lua VM of its own. A reference to ngx.ctx is a number
# in one VM, where another request's ngx.ctx may have the same.

use lib 't/lib';
use NgxVarTest;
use Test::Nginx::Socket::Lua 'no_plan';

add_block_preprocessor(sub {
    my $block = shift;
    $block->set_value(allow_alert  => 'lua_code_cache is off');
    $block->set_value(no_error_log => '[error]');
});

run_tests();

__DATA__

=== TEST 1: a subrequest that shares an ngx.ctx of another VM never gets that of a stranger
--- config
    location = /t {
        content_by_lua_block {
            ngx.ctx.secret = "of /t"
            local sock = ngx.socket.tcp()
            assert(sock:connect("127.0.0.1", ngx.var.server_port))
            sock:send("GET /dev HTTP/1.0\r\nHost: a\r\n\r\n")
            ngx.say(sock:receive("*a"):match("\r\n\r\n(.*)"))
            ngx.say("changed: ", tostring(ngx.ctx.changed))
        }
    }
    location = /dev {
        lua_code_cache off;
        content_by_lua_block {
            local res = ngx.location.capture("/sub", { ctx = { mine = "mine" } })
            ngx.print(res.body)
        }
    }
    location = /sub {
        lua_var_ctx_restore all;
        try_files /nonexistent /page;
    }
    location = /page {
        lua_var_ctx_restore all;
        content_by_lua_block {
            ngx.print(tostring(ngx.ctx.secret), " ", tostring(ngx.ctx.mine))
            ngx.ctx.changed = "by /page"
        }
    }
--- request
GET /t
--- response_body
nil nil
changed: nil



=== TEST 2: in the VM that serves the worker, a subrequest gets the shared one
--- config
    location = /t {
        content_by_lua_block {
            local res = ngx.location.capture("/sub", { ctx = { mine = "mine" } })
            ngx.print(res.body)
        }
    }
    location = /sub {
        lua_var_ctx_restore all;
        try_files /nonexistent /page;
    }
    location = /page {
        lua_var_ctx_restore all;
        content_by_lua_block { ngx.say(tostring(ngx.ctx.mine)) }
    }
--- request
GET /t
--- response_body
mine
