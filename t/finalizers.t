# Finalizers written in Lua that use the library.  The collector may run one wherever
# something is allocated, so also in the middle of a read, between the module's answer
# and the string that is made of it: what is read must be right all the same.
#
# Each block reads one variable very often, with little objects whose finalizer reads
# another one, of this and of another live request.  A read that can be disturbed is
# wrong in hundreds of the turns.

use v5.36;
use lib 't/lib';
use NgxVarTest;
use Test::Nginx::Socket::Lua 'no_plan';

# memcheck runs everything thirty times as long; it looks for what is read when it is free
$ENV{TEST_NGINX_TURNS} = $ENV{TEST_NGINX_USE_VALGRIND} ? 500 : 6_000;

add_block_preprocessor(sub ($block) {
    my $only = $block->only ? 'F.only = "' . $block->only . '"' : '';
    my $jit = ($block->jit // 'on') eq 'off' ? 'jit.off()' : '';
    $block->set_value(http_config => <<"EOC" . ($block->http_config // ''));
    lua_package_path "\$TEST_NGINX_LUA_DIR/?.lua;;";
    init_by_lua_block {
        $jit
        F = require "finalizers"
        F.turns = \$TEST_NGINX_TURNS
        $only
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

=== TEST 1: fetch, interpreted
--- jit: off
--- case
return F.ngxvar.fetch(name, F.handle)



=== TEST 2: fetch, compiled
--- case
return (F.ngxvar.fetch(name, F.handle))



=== TEST 3: fetch of the current request, interpreted
--- jit: off
--- case
return F.ngxvar.fetch(name)



=== TEST 4: fetch of the current request, compiled
--- case
return (F.ngxvar.fetch(name))



=== TEST 5: getters, interpreted
--- jit: off
--- case
return F.getters[name](F.handle)



=== TEST 6: getters, compiled
--- case
return (F.getters[name](F.handle))



=== TEST 7: getters that are new, interpreted
--- jit: off
--- case
return F.ngxvar.getter(name)(F.handle)



=== TEST 8: getters that are new, compiled
--- case
return (F.ngxvar.getter(name)(F.handle))



=== TEST 9: patched ngx.var, interpreted
--- jit: off
--- case
return F.patched(ngx.var, name)



=== TEST 10: patched ngx.var, compiled
--- case
return (F.patched(ngx.var, name))



=== TEST 11: set and setters, interpreted
--- jit: off
--- case
return F.set_and_fetch(name)



=== TEST 12: set and setters, compiled
--- case
return (F.set_and_fetch(name))



=== TEST 13: getters, what they do on traces interpreted
--- jit: off
--- case
return F.recorded.get(F.getters[name], F.handle)



=== TEST 14: the same, of a text that the finalizers read of another request
--- jit: off
--- only chomp
http_user_agent
--- case
return F.recorded.get(F.getters[name], F.handle)



=== TEST 15: the same, of one that they assign
--- jit: off
--- only chomp
other
--- case
return F.recorded.get(F.getters[name], F.handle)



=== TEST 16: fetch, what it does on traces interpreted
--- jit: off
--- case
return F.recorded.fetch(name, F.handle)



=== TEST 17: the same, of a number that the module writes as text
--- jit: off
--- only chomp
connection
--- case
return F.recorded.fetch(name, F.handle)



=== TEST 18: readers, interpreted
--- jit: off
--- case
return (F.readers[name](F.handle))



=== TEST 19: readers, compiled
--- case
return (F.readers[name](F.handle))



=== TEST 20: readers, by name
--- jit: off
--- case
return F.readers[name]:table(F.handle)[name]
