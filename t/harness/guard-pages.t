# The nginx of `make test-guard` dies of a stale read, which the installed one does not.
# Otherwise a green suite in that mode would mean nothing.
#
# TEST_NGINX_GUARDED is that nginx; .ci/guard-pages builds it.

use v5.36;
use lib 't/lib';

BEGIN {
    require TestingModule;
    $ENV{TEST_NGINX_LOAD_MODULES} = join ' ', TestingModule::modules();
}

use NginxServer;
use Test::More;

my $GUARDED = $ENV{TEST_NGINX_GUARDED}
    or plan skip_all => 'of `make test-guard`, which builds the nginx that this is about';

my $PORT = NginxServer->port;
my $HTTP = <<"END";
    init_by_lua_block {
        local ffi = require "ffi"
        require "resty.core"
        ffi.cdef [[
            void ngx_http_lua_var_testing_unsafe_uri(ngx_http_request_t *r, ngx_str_t *uri);
        ]]
        ngxvar = require "resty.ngxvar"
        get_request = require("resty.core.base").get_request
        kept = {}
    }
    server {
        listen 127.0.0.1:$PORT;
        location = /keep {
            content_by_lua_block {
                kept.handle, kept.pointer = ngxvar.request(), get_request()
                ngx.say("kept")
            }
        }
        location = /fetch {
            content_by_lua_block { ngx.say(select(2, ngxvar.fetch("uri", kept.handle))) }
        }
        location = /unchecked {
            content_by_lua_block {
                local ffi = require "ffi"
                local uri = ffi.new("ngx_str_t")
                ffi.C.ngx_http_lua_var_testing_unsafe_uri(kept.pointer, uri)
                ngx.say("length ", tonumber(uri.len))
            }
        }
    }
END

# A request reads one that has ended: `unchecked`, as C code that trusts its pointer, or by
# `fetch`.  Returns the nginx and the response.
sub read_stale ($binary, $how) {
    my $nginx = NginxServer->new(master => 'off', http => $HTTP, binary => $binary)->start;
    is($nginx->get('/keep')->{content}, "kept\n", 'Lua keeps a request');
    return ($nginx, $nginx->get("/$how"));
}

my ($nginx, $response) = read_stale($ENV{TEST_NGINX_BINARY}, 'unchecked');
is($response->{status}, 200, 'the installed nginx does not notice an unchecked read');
$nginx->stop_cleanly;

($nginx, $response) = read_stale($GUARDED, 'unchecked');
is($response->{status}, 599, 'nginx with guard pages dies of an unchecked read');
my ($report) = $nginx->log_text =~ /^(guarded_malloc: .*(?:\n.*){0,4})/m;
like($report // '', qr/access to a freed block/, 'nginx with guard pages says why it dies');
note($report // $nginx->log_text);
$nginx->kill_all;

($nginx, $response) = read_stale($GUARDED, 'fetch');
is($response->{content}, "stale request\n", 'nginx with guard pages serves fetch, which refuses');
$nginx->stop_cleanly;

done_testing();
