# Finalizers that use the library while nginx destroys their request's pool.
#
# nginx sets r->pool to NULL and runs the pool's cleanups, the newest first.  That of
# lua-nginx-module allocates, and so may run finalizers; with lua_code_cache off it closes the
# request's Lua VM, which runs all of them.  The cleanup of a handle that was made early comes
# last.  To read a variable there may allocate from the pool that is no more.

use v5.36;
use lib 't/lib';
use NgxVarTest;
use Test::Nginx::Socket::Lua 'no_plan';

my $REFUSED = <<'END';
fetch: refused
getter: refused
reader: refused
set: refused
setter: refused
live: false, stale request
end
END

# By what the finalizer does (t/lib/leaving.lua).
my %WRITES = (
    handle  => $REFUSED,
    child   => $REFUSED,
    pointer => $REFUSED,
    current => <<'END',
fetch: refused
getter: refused
reader: refused
set: refused
request: refused
ssl_ctx: nil
end
END
    c => "C: refused\nend\n",
);
$WRITES{left} = "current: another\nrequest: nil\n$WRITES{current}";

add_block_preprocessor(sub ($block) {
    my ($kind, $is_vm_closed) = ($block->name =~ /\[(\w+)\]/, $block->code_cache ? 'true' : 'false');
    $block->set_value(http_config => <<'EOC' . ($block->http_config // ''));
    lua_package_path "$TEST_NGINX_LUA_DIR/?.lua;;";
EOC
    my $leave = <<"EOC";
        log_by_lua_block {
            require("leaving").leave("\$TEST_NGINX_HTML_DIR/written", $is_vm_closed)
        }
EOC
    $block->set_value(config => ($kind eq 'left' ? <<"EOC" : <<"EOC") . <<"EOC");
    location = /t {
        set \$own "own";
        rewrite_by_lua_block { require("leaving").begin() }
        auth_request /last;
        alias \$TEST_NGINX_HTML_DIR/ok.txt;
    }
    location = /last {
        log_subrequest on;
        return 204;
$leave
    }
EOC
    location = /t {
        set \$own "own";
        access_by_lua_block { require("leaving").begin() }
        content_by_lua_block { ngx.say("ok") }
$leave
    }
EOC
    location = /sub { content_by_lua_block { require("leaving").sub() } }
    location = /written { alias \$TEST_NGINX_HTML_DIR/written; }
EOC
    # the file for the first request is written when its connection is closed
    $block->set_value(request => [ ("GET /t?a=1&do=$kind", 'GET /written') x 5 ]);
    $block->set_value(response_body => [ ("ok\n", $WRITES{$kind}) x 5 ]);
    $block->set_value(allow_alert => 'lua_code_cache is off');
    $block->set_value(no_error_log => '[error]');
});

repeat_each(1);
no_shuffle();
run_tests();

__DATA__

=== TEST 1: by the handle of their request [handle]



=== TEST 2: by the handle of its subrequest [child]



=== TEST 3: by its pointer [pointer]



=== TEST 4: without a handle [current]



=== TEST 5: over lua-var-nginx-module's C functions [c]



=== TEST 6: by the handle of their request, when its Lua VM is closed [handle]
--- code_cache
--- http_config
    lua_code_cache off;



=== TEST 7: without a handle, when the Lua VM is closed [current]
--- code_cache
--- http_config
    lua_code_cache off;



=== TEST 8: over lua-var-nginx-module's C functions, when the Lua VM is closed [c]
--- code_cache
--- http_config
    lua_code_cache off;



=== TEST 9: without a handle, when the last Lua code was that of a subrequest [left]
The slot of the subrequest is freed first, because its cleanup was the last.
--- user_files
>>> ok.txt
ok
