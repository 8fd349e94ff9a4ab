# What a configuration leaves behind that nginx refused, or that nginx has left: the processes that
# the master makes later, and modules that are added later.

use v5.36;
use lib 't/lib';

use NginxServer;
use NgxVarTest::File qw(read_file write_file);
use NgxVarTest::Nginx ();
use Test::More;

NginxServer->skip_unless_plain;
plan skip_all => 'the module is linked in, it does not come or go' if !defined NginxServer->module;

my $PORT   = NginxServer->port;
my $OWN    = NginxServer->module;
my @LUA    = NginxServer->other_modules;
my $BROTLI = NgxVarTest::Nginx->file('ngx_http_brotli_filter_module');

sub part ($name, $code) { return NginxServer->part($name, $code) }

my $SERVED = "server { listen 127.0.0.1:$PORT; location / { return 200 served; } }";

# nginx gives the index of a module that it has no more to another one.
for my $case (
    [ 'when it was taken away',             '', '' ],
    [ 'when http {} was refused',           "$SERVED no_such;", '' ],
    [ 'when nginx never came to http {}',   $SERVED, 'no_such;' ],
) {
    my ($when, $http, $main) = @$case;
    part "the module is added beside one that was added before it, $when" => sub {
        plan skip_all => 'this nginx has no brotli' if !-e $BROTLI;
        my $nginx = NginxServer->new(modules => \@LUA, http => $SERVED)->start;
        # a signal before the master is ready is lost
        is($nginx->get('/')->{content}, 'served', 'without the module');

        $nginx->configure(modules => [ @LUA, $OWN ], http => $http || $SERVED, main => $main);
        if ($http || $main) {
            $nginx->reload_in_vain(qr/unknown directive "no_such"/);
        }
        else {
            $nginx->reload;
            $nginx->configure(modules => \@LUA);
            $nginx->reload;
        }
        $nginx->configure(modules => [ @LUA, $BROTLI ], http => $SERVED, main => '');
        $nginx->reload;
        $nginx->configure(modules => [ @LUA, $OWN, $BROTLI ], http => <<"CONF");
            brotli on;
            brotli_min_length 1;
            server {
                listen 127.0.0.1:$PORT;
                location / {
                    brotli_types *;
                    content_by_lua_block { ngx.print(require("resty.ngxvar").fetch("uri")) }
                }
            }
CONF
        $nginx->reload;
        is($nginx->get('/fetched')->{content}, '/fetched', 'both modules work');
        is($nginx->get('/', headers => { 'Accept-Encoding' => 'br' })->{headers}{'content-encoding'},
            'br', 'the other one, too');
        $nginx->stop_cleanly(allow => qr/no_such/);
    };
}

part 'a worker that is made after a refused reload restores what lost its ngx.ctx in a filter' => sub {
    my $http = <<"CONF";
        lua_package_path "$ENV{TEST_NGINX_LUA_DIR}/?.lua;;";
        server {
            listen 127.0.0.1:$PORT;
            location = /static.txt {
                error_page 412 /page;
                rewrite_by_lua_block { require("by_c").set{ by_c = "by C" } }
            }
            location = /page { content_by_lua_block { ngx.print(tostring(ngx.ctx.by_c)) } }
        }
CONF
    my $nginx = NginxServer->new(http => $http);
    write_file($nginx->root . '/html/static.txt', 'text');
    my $seen = sub { $nginx->get('/static.txt', headers => { 'If-Match' => '"other"' })->{content} };
    $nginx->start;
    is($seen->(), 'by C', 'at first');
    $nginx->configure(http => "no_such; $http");
    $nginx->reload_in_vain(qr/unknown directive "no_such"/);
    $nginx->renew_worker;
    is($seen->(), 'by C', 'in a worker that was made later');
    $nginx->stop_cleanly(allow => qr/no_such/);
};

# The header filter of the module is in the chain of such a worker, its phases are not.
part 'a worker of a configuration without the module says nothing of the layout' => sub {
    my $http = <<"CONF";
        server {
            listen 127.0.0.1:$PORT;
            location = /auth { return 204; }
            location = /first { auth_request /auth; return 200 first; }
            location = /error { auth_request /auth; error_page 404 /page; root /nonexistent; }
            location = /page { return 200 page; }
        }
CONF
    my $nginx = NginxServer->new(modules => \@LUA, http => $http)->start;
    is($nginx->get('/first')->{content}, 'first', 'without the module');
    my $fails = sub ($from) {
        $nginx->configure(modules => [ @LUA, $OWN ], http => $http, main => '', events => '');
        # behind http {}
        write_file($nginx->root . '/conf/nginx.conf',
            read_file($nginx->root . '/conf/nginx.conf') . "no_such;\n");
        $nginx->reload_in_vain(qr/unknown directive "no_such"/);
        $nginx->renew_worker;
        is($nginx->get("/$_")->{content} =~ /^(first|page|.*404.*)/s ? 'answered' : 'not', 'answered', "$from: /$_")
            for qw(error first);
    };
    $fails->('it was never there');
    $nginx->configure(modules => [ @LUA, $OWN ], http => $http);
    $nginx->reload;
    $nginx->configure(modules => \@LUA);
    $nginx->reload;
    $fails->('it was there before');
    $nginx->stop_cleanly(allow => qr/no_such/);
};

done_testing;
