# The debug log says why a request gets its ngx.ctx back or not.

use lib 't/lib';
use NgxVarTest;
use Test::Nginx::Socket::Lua;

plan(skip_all => 'nginx is built without debug') if `$ENV{TEST_NGINX_BINARY} -V 2>&1` !~ /--with-debug/;
plan('no_plan');

our $COMMON = <<'END';
    location = /lost { access_by_lua_block { ngx.ctx.id = "mine" ngx.exit(404) } error_page 404 /page; }
    location = /moved { access_by_lua_block { ngx.ctx.id = "mine" ngx.exec("/page") } }
    location = /off { access_by_lua_block { ngx.ctx.id = "mine" ngx.exit(404) } error_page 404 /page_off; }
    location = /all { access_by_lua_block { ngx.ctx.id = "mine" ngx.exec("/page_all") } }
    location = /assigned { access_by_lua_block { ngx.ctx.id = "mine" ngx.exit(404) } error_page 404 /page_assigned; }
    location = /page { content_by_lua_block { ngx.say(tostring(ngx.ctx.id)) } }
    location = /page_off { lua_var_ctx_restore off; content_by_lua_block { ngx.say(tostring(ngx.ctx.id)) } }
    location = /page_all { lua_var_ctx_restore all; content_by_lua_block { ngx.say(tostring(ngx.ctx.id)) } }
    location = /page_assigned { content_by_lua_block { ngx.ctx = { id = "own" } ngx.say(ngx.ctx.id) } }
END

add_block_preprocessor(sub {
    my ($block) = @_;
    $block->set_value(config     => $main::COMMON);
    $block->set_value(error_code => 404) if $block->request !~ /moved|all/;
    $block->set_value(log_level  => 'debug');
});

repeat_each(1);
run_tests();

__DATA__

=== TEST 1: after an error page it says that ngx.ctx was restored
--- request
GET /lost
--- response_body
mine
--- grep_error_log eval: qr/lua_var: (?:error_page|ngx.ctx of \S+ \S+ (?:not )?restored).*?(?=, client|$)/
--- grep_error_log_out eval
qr{\Alua_var: error_page for request \d+/\d+, status 404
lua_var: ngx\.ctx of request \d+/\d+ restored, ref \d+: as lua_var_ctx_restore says, in location "/page"
\z}



=== TEST 2: after another redirect it says that it was no error page
--- request
GET /moved
--- response_body
nil
--- error_log eval
qr{lua_var: ngx\.ctx of request \d+/\d+ not restored, ref \d+: not reached through error_page, and lua_var_ctx_restore is not "all" here, in location "/page"}



=== TEST 3: with lua_var_ctx_restore off it says that it is off
--- request
GET /off
--- response_body
nil
--- error_log eval
qr{lua_var: ngx\.ctx of request \d+/\d+ not restored, ref \d+: lua_var_ctx_restore is off here, in location "/page_off"}



=== TEST 4: with lua_var_ctx_restore all it says that ngx.ctx was restored
--- request
GET /all
--- response_body
mine
--- error_log eval
qr{lua_var: ngx\.ctx of request \d+/\d+ restored, ref \d+: .*, in location "/page_all"}
