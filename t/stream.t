# resty.ngxvar in the stream subsystem: src/shim/stream.c, src/lua/resty/ngxvar/stream.lua.
# Debian has no stream-lua-nginx-module; OpenResty has it linked in.

use v5.36;
use lib 't/lib';

use NginxServer;
use NgxVarTest::Client ();
use NgxVarTest::Nginx ();
use Test::More;

NginxServer->skip_unless_plain;
plan skip_all => "$ENV{TEST_NGINX_BINARY} has no stream-lua-nginx-module"
    if !NgxVarTest::Nginx->has('ngx_stream_lua_module');

my @MODULES = (
    NgxVarTest::Nginx->to_load('ngx_stream_module', 'ngx_stream_lua_module'),
    NginxServer->modules,
);
my ($PORT, $HTTP_PORT) = map { NginxServer->port($_) } 0, 1;

# All that a session receives.
sub session ($port = $PORT) {
    my $client = eval { NgxVarTest::Client->new($port, timeout => 10) } or return $@;
    return $client->read_to_end;
}

# stream {} comes before http {}, as in APISIX, and its init_by_lua requires the library.
my $STREAM = <<"END";
stream {
    init_by_lua_block { ngxvar = require "resty.ngxvar" }
    server {
        listen 127.0.0.1:$PORT;
        content_by_lua_block {
            local req, err = ngxvar.request()
            ngx.say(ngxvar.fetch("server_port", req), " ", ngxvar.fetch("remote_addr"), " ",
                    tostring(ngxvar.fetch("no_such_variable")), " ", tostring(err))
            ngxvar.patch_ngx_var()
            ngxvar.patch_ngx_var()
            for _, name in ipairs { "set", "live", "getter", "setter", "enable_patch" } do
                local ok, why = pcall(ngxvar[name], "uri")
                ngx.say(tostring(ok), " ", (tostring(why):gsub("^.-resty", "resty")))
            end
            ngx.say(ngxvar._VERSION)
        }
    }
}
END
my $HTTP = <<"END";
    server {
        listen 127.0.0.1:$HTTP_PORT;
        location / { content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            ngx.say(ngxvar.fetch("uri", ngxvar.request()), " ", ngxvar._VERSION)
        } }
    }
END

my $nginx = NginxServer->new(modules => \@MODULES, main => $STREAM, http => $HTTP)->start;
my ($version) = $nginx->get('/http', port => $HTTP_PORT)->{content} =~ m{^/http (\S+)\n\z};
isnt($version // '', '', 'http {} has the library beside stream {}');

my $refusals = join '', map {
    "false resty.ngxvar: no $_() in the stream subsystem, its sessions have no handles: use fetch()"
        . " or ngx.var\n"
} qw(set live getter setter enable_patch);
my $expected = "$PORT 127.0.0.1 nil nil\n$refusals$version\n";
is(session(), $expected, 'fetch reads and the rest is refused in stream {}, which is before http {}');
$nginx->reload;
is(session(), $expected, 'fetch reads and the rest is refused in stream {} after a reload');
is(join('', grep { /\[(?:warn|error)\]/ } $nginx->log_lines), '', 'no warning or error is logged');
is(scalar(grep { /\[notice\] .*patch_ngx_var\(\) does nothing in the stream subsystem/ } $nginx->log_lines), 2,
    'patch_ngx_var() does nothing, and says so once in each VM');

$nginx->configure(main => '', http => $HTTP);
$nginx->reload;
is($nginx->get('/http', port => $HTTP_PORT)->{content}, "/http $version\n", 'http {} has the library after a reload without stream {}');

$nginx->stop_cleanly;
done_testing;
