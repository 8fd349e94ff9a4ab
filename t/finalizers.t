# Lua finalizers that use the library.  The collector may run one at any allocation, also in
# the middle of a read, between the module's answer and the string that is made of it.  The
# value read has to be right all the same.
#
# Each block reads variables very often while objects are collected whose finalizers read
# others, of this and of another live request.  A read that they can disturb is wrong
# hundreds of times.

use v5.36;
use lib 't/lib';
use NgxVarTest;
use Test::Nginx::Socket::Lua 'no_plan';

# memcheck takes thirty times as long; it looks for reads of freed memory
$ENV{TEST_NGINX_TURNS} = $ENV{TEST_NGINX_USE_VALGRIND} ? 500 : 6_000;

add_block_preprocessor(sub ($block) {
    my $jit = ($block->jit // 'on') eq 'off' ? 'jit.off()' : '';
    $block->set_value(http_config => <<"EOC" . ($block->http_config // ''));
    lua_package_path "\$TEST_NGINX_LUA_DIR/?.lua;;";
    init_by_lua_block {
        $jit
        F = require "finalizers"
        F.turns = \$TEST_NGINX_TURNS
    }
    large_client_header_buffers 8 16k;
    server {
        # the other live request
        listen 127.0.0.1:\$TEST_NGINX_PORT1;
        location / { content_by_lua_block { F.stay() } }
    }
EOC
    my $case = $block->case;
    $block->set_value(config => <<"EOC" . ($block->config // ''));
    location = /t {
        set \$own "own";
        set \$other "";
        content_by_lua_block {
            local other = F.another(\$TEST_NGINX_PORT1)
            F.run(other, function (F, name)
                $case
            end)
        }
    }
EOC
    $block->set_value(more_headers => "A: aa\nHost: here.test\nCookie: c=cc\nUser-Agent: this is the agent that is read");
    $block->set_value(request => 'GET /t?long=' . ('x' x 6000) . '&b=bb');
    $block->set_value(response_body => "right\n");
    $block->set_value(timeout => $ENV{TEST_NGINX_USE_VALGRIND} ? '120s' : '30s');
    $block->set_value(no_error_log => '[error]');
});

repeat_each(1);
run_tests();

__DATA__

=== TEST 1: interpreted fetch is right while finalizers read
--- jit: off
--- case
return F.ngxvar.fetch(name, F.handle)



=== TEST 2: compiled fetch is right while finalizers read
--- case
return (F.ngxvar.fetch(name, F.handle))



=== TEST 3: interpreted fetch without a handle is right while finalizers read
--- jit: off
--- case
return F.ngxvar.fetch(name)



=== TEST 4: compiled fetch without a handle is right while finalizers read
--- case
return (F.ngxvar.fetch(name))



=== TEST 5: interpreted getters are right while finalizers read
--- jit: off
--- case
return F.getters[name](F.handle)



=== TEST 6: compiled getters are right while finalizers read
--- case
return (F.getters[name](F.handle))



=== TEST 7: interpreted reads of patched ngx.var are right while finalizers read
--- jit: off
--- case
return F.patched(ngx.var, name)



=== TEST 8: compiled reads of patched ngx.var are right while finalizers read
--- case
return (F.patched(ngx.var, name))



=== TEST 9: interpreted set and setters assign what they should while finalizers assign
--- jit: off
--- case
return F.set_and_fetch(name)



=== TEST 10: compiled set and setters assign what they should while finalizers assign
--- case
return (F.set_and_fetch(name))



=== TEST 11: interpreted readers are right while finalizers read
--- jit: off
--- case
return (F.readers[name](F.handle))



=== TEST 12: compiled readers are right while finalizers read
--- case
return (F.readers[name](F.handle))



=== TEST 13: readers that read by name are right while finalizers read
--- jit: off
--- case
return F.readers[name]:table(F.handle)[name]
