# The value of an error_page for which there is no memory: nginx closes the connection, as without
# the module, and serves the next one.

use v5.36;
use lib 't/lib';

use NginxServer;
use NgxVarTest::Nginx ();
use Test::More;

NginxServer->skip_unless_plain;
plan skip_all => 'AddressSanitizer needs more virtual memory than the limit' if $ENV{TEST_NGINX_USE_ASAN};
plan skip_all => 'qemu-user knows no limit of virtual memory' if NgxVarTest::Nginx->is_emulated;

my $port  = NginxServer->port;
my $nginx = NginxServer->new(workers => 1, http => <<'END' =~ s/PORT/$port/r);
    init_by_lua_block {
        local ffi = require "ffi"
        ffi.cdef[[
        struct lua_var_rlimit { unsigned long soft, hard; };
        int getrlimit(int resource, struct lua_var_rlimit *limit);
        int setrlimit(int resource, const struct lua_var_rlimit *limit);
        ]]
        local RLIMIT_AS = 9
        local limit = ffi.new("struct lua_var_rlimit")
        ffi.C.getrlimit(RLIMIT_AS, limit)
        local unlimited = limit.soft

        -- lets the process have so many more bytes, or any number
        function limit_memory(more)
            limit.soft = unlimited
            if more then
                local file = io.open("/proc/self/statm")
                limit.soft = file:read("*n") * 4096 + more
                file:close()
            end
            assert(ffi.C.setrlimit(RLIMIT_AS, limit) == 0)
        end
    }
    server {
        listen 127.0.0.1:PORT;
        set $big "";
        location = /literal { error_page 404 /page; access_by_lua_block { ngx.exit(404) } }
        location /value {
            error_page 404 /page?$big;
            access_by_lua_block {
                ngx.var.big = ("x"):rep(tonumber(ngx.var.arg_size))
                collectgarbage()
                limit_memory(ngx.var.arg_more)
                ngx.exit(404)
            }
            log_by_lua_block { limit_memory() }
        }
        location = /page { content_by_lua_block { ngx.say("page ", #(ngx.var.args or "")) } }
    }
END
$nginx->start;
my $body = sub ($path) { $nginx->get($path)->{content} };

is($body->('/value?size=100000'), "page 100000\n", 'with enough memory');
my ($worker) = $nginx->workers;
for my $round (1 .. 3) {
    is($body->('/value?size=50000000&more=20000000'), "no response: closed\n", 'without memory there is no response');
    is($body->('/literal'), "page 0\n", 'the next request is served');
}
is(($nginx->workers)[0], $worker, 'the worker lives');
$nginx->stop_cleanly(allow => qr/malloc\(\d+\) failed/);

done_testing;
