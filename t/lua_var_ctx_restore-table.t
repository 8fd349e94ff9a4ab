# Each kind of redirect, in a request and in a subrequest, with each setting of
# lua_var_ctx_restore and lua_var_ssl_ctx: whether the request gets its ngx.ctx back, and
# whether it inherits the handshake's.

use v5.36;
use lib 't/lib';

use File::Path qw(make_path);
use NginxServer;
use NgxVarTest::Client ();
use Test::More;

NginxServer->skip_unless_plain;

# Kinds of redirects to the page, and whether each is an error page.
my %KINDS = (
    'error_page'           => [ 1, 'rewrite_by_lua_block { keep() ngx.exit(502) } error_page 502 /page;' ],
    'error_page @'         => [ 1, 'rewrite_by_lua_block { keep() ngx.exit(502) } error_page 502 @page;' ],
    'error_page =200'      => [ 1, 'rewrite_by_lua_block { keep() } error_page 500 =200 /page; content_by_lua_block { error("x") }' ],
    'error_page, then @'   => [ 1, 'rewrite_by_lua_block { keep() ngx.exit(502) } error_page 502 /again;' ],
    'exec'                 => [ 0, 'content_by_lua_block { keep() ngx.exec("/page") }' ],
    'exec @'               => [ 0, 'content_by_lua_block { keep() ngx.exec("@page") }' ],
    'exec, then @'         => [ 0, 'content_by_lua_block { keep() ngx.exec("/again-exec") }' ],
    'try_files'            => [ 0, 'rewrite_by_lua_block { keep() } try_files /none /page;' ],
    'try_files @'          => [ 0, 'rewrite_by_lua_block { keep() } try_files /none @page;' ],
    'index'                => [ 0, 'rewrite_by_lua_block { keep() } index page;' ],
    'X-Accel-Redirect'     => [ 0, 'rewrite_by_lua_block { keep() } proxy_pass http://127.0.0.1:UPSTREAM/uri;' ],
    'X-Accel-Redirect @'   => [ 0, 'rewrite_by_lua_block { keep() } proxy_pass http://127.0.0.1:UPSTREAM/name;' ],
);
my @kinds = sort keys %KINDS;
my @tls   = ('', 'inherit', 'off');    # '': no TLS
my @restore = qw(off error_page all);

my ($upstream, $certificate) = (NginxServer->port, NgxVarTest::Env::cert_dir());
my $locations = '';
for my $n (0 .. $#kinds) {
    $locations .= "    location = /$n/ { $KINDS{$kinds[$n]}[1] }\n"
        . "    location = /$n/page { content_by_lua_block { page() } }\n"
        . "    location = /in/$n { ssi on; return 200 '<!--#include virtual=\"/$n/\" -->'; }\n";
}
$locations =~ s/UPSTREAM/$upstream/g;

my ($servers, @servers) = ('');
for my $restore (@restore) {
    for my $tls (@tls) {
        my $port = NginxServer->port(@servers + 1);
        push @servers, { port => $port, restore => $restore, tls => $tls };
        my $listen = !$tls ? "listen 127.0.0.1:$port;" : <<"END";
    listen 127.0.0.1:$port ssl;
    ssl_certificate $certificate/test.crt;
    ssl_certificate_key $certificate/test.key;
    ssl_certificate_by_lua_block { ngx.ctx.left = "left" }
    lua_var_ssl_ctx $tls;
END
        $servers .= <<"END";
server {
    $listen
    lua_var_ctx_restore $restore;
    default_type text/html;
    recursive_error_pages on;     # /again is an error page that has one
$locations
    location = /page { internal; content_by_lua_block { page() } }
    location \@page { content_by_lua_block { page() } }
    location = /again { internal; error_page 503 \@page; rewrite_by_lua_block { ngx.exit(503) } }
    location = /again-exec { internal; content_by_lua_block { ngx.exec("\@page") } }
}
END
    }
}

my $nginx = NginxServer->new(http => <<"END");
    init_by_lua_block {
        local ngxvar = require "resty.ngxvar"

        function keep()
            ngx.ctx.of = tostring(ngxvar.request())
        end

        function page()
            local ctx = ngx.ctx
            local of = rawget(ctx, "of")
            ngx.print(of == tostring(ngxvar.request()) and "same" or next(ctx) == nil and "new" or "other",
                      " ", tostring(ctx.left), " ", tostring(ngx.is_subrequest))
        end
    }
    server {
        listen 127.0.0.1:$upstream;
        location = /uri { add_header X-Accel-Redirect /page; return 200 ""; }
        location = /name { add_header X-Accel-Redirect \@page; return 200 ""; }
    }
$servers
END
for my $n (0 .. $#kinds) {
    make_path($nginx->root . "/html/$n");
    open my $file, '>', $nginx->root . "/html/$n/page" or die "html/$n/page: $!\n";
}
$nginx->start;

for my $server (@servers) {
    my ($restore, $tls) = @$server{qw(restore tls)};
    my $client = NgxVarTest::Client->new($server->{port}, tls => $tls ne '');
    # twice on one connection
    for my $n (0 .. $#kinds, 0 .. $#kinds) {
        for my $sub (0, 1) {
            my $is_back  = $restore eq 'all' || $restore eq 'error_page' && $KINDS{$kinds[$n]}[0];
            my $expected = join ' ', $is_back ? 'same' : 'new', $tls eq 'inherit' ? 'left' : 'nil',
                $sub ? 'true' : 'false';
            $client->send($sub ? "/in/$n" : "/$n/");
            my (undef, $body, $head) = $client->receive;
            is($body, $expected, join ', ', $kinds[$n], $sub ? 'in a subrequest' : 'in a request',
                "lua_var_ctx_restore $restore", $tls ? "lua_var_ssl_ctx $tls" : 'no TLS');
            $client = NgxVarTest::Client->new($server->{port}, tls => $tls ne '')
                if ($head // '') !~ /^Connection: keep-alive/mi;
        }
    }
}

$nginx->stop_cleanly(allow => qr/init_by_lua|lua entry thread aborted/);
done_testing;
