# Every allocation that the module makes while nginx reads a configuration fails in
# turn. nginx refuses that configuration and goes on with the old one. Without memory for
# the variable table, which is only for speed, it takes the configuration.

use v5.36;
use lib 't/lib';

use Test::More;

use NgxVarTest::Client ();
use NgxVarTest::Nginx ();
use TemplateServer ();

plan skip_all => 'of `make test` and `make test-valgrind` only'
    if $ENV{TEST_NGINX_USE_HUP} || $ENV{TEST_NGINX_CHECK_LEAK};

use constant {
    POOL    => 1,     # a kind of allocation (t/hooks/faults.rs)
    TIMEOUT => 60,    # seconds; only a failing test waits that long
};

# MODE: master_process or not; ARM: which allocation after init_by_lua is to fail.
my $CONFIG = <<'END';
${USER}
$MODE
pid logs/nginx.pid;
error_log logs/error.log notice;
events { worker_connections 64; }
http {
    access_log off;
    lua_package_path "$ROOT/t/lib/?.lua;;";
    client_body_temp_path temp; proxy_temp_path temp; fastcgi_temp_path temp;
    uwsgi_temp_path temp; scgi_temp_path temp;
    init_by_lua_block { memory = require "memory" memory.fail(memory.POOL, $ARM) }
    log_format uses '$arg_a $http_b';
    error_page 502 /page?a=1;

    server {
        listen 127.0.0.1:$PORT1;
        set $own "own";
        error_page 500 /page$is_args;

        location = /fail { content_by_lua_block {
            memory.fail(memory.POOL, tonumber(ngx.var.arg_after))
            ngx.say("armed")
        } }
        location = /version { return 200 "$VERSION"; }
        location = /report { content_by_lua_block { memory.report() } }
        location = /live { content_by_lua_block { ngx.print(memory.live()) } }
        location = /err { content_by_lua_block { ngx.ctx.kept = "kept"; ngx.exit(500) } }
        location = /page { content_by_lua_block { ngx.print(ngx.ctx.kept or "lost") } }
    }
}
END

my $nginx;

sub get ($uri) {
    my ($status, $body) = NgxVarTest::Client->new($nginx->port(1))->get($uri, Connection => 'close');
    return $body // 'no response';
}

# The configuration of that version is served, and everything works in it.
sub check ($version, $what) {
    is(get('/version'), $version, "$what: version $version");
    like(get('/report'), qr{fetch: /report\nrequest: a handle\nby handle: /report\n}, "$what: variables are read");
    is(get('/err'), 'kept', "$what: an error page restores ngx.ctx");
    is(get('/live'), '1', "$what: no slot is left occupied");
    return;
}

sub finish ($what) {
    my @alerts = $nginx->log_text =~ /.*\[alert\].*/g;
    is("@alerts", '', "$what: no [alert]");
    ok($nginx->stop, "$what: nginx ends by itself");
    is($nginx->valgrind_reports, '', "$what: valgrind finds nothing");
    return;
}

# ---- Refused configurations ------------------------------------------------------------
#
# A single process reads a new configuration itself, so that a request's Lua can choose
# beforehand which allocation fails.

sub settings ($version) {
    return (MODE => 'master_process off;', ARM => -1, VERSION => $version);
}

# HUP; true when the new configuration was taken, with which a single process would have no
# connections.
sub is_taken {
    my $before = () = $nginx->log_text =~ /reconfiguring/g;
    kill HUP => $nginx->master;
    $nginx->await('a reload', sub { (() = $nginx->log_text =~ /reconfiguring/g) > $before }, TIMEOUT);
    # The process reads the configuration before it reads the next request.
    return get('/version') ne '1';
}

SKIP: {
    skip('OpenResty ends a single process that is to reload', 1)
        if !NgxVarTest::Nginx->reloads_alone;

    $nginx = TemplateServer->new(name => 'memory', single => 1, config => $CONFIG, fill => { settings(1) });
    $nginx->start;
    check(1, 'at the start');
    $nginx->write_config(settings(2));

    my $refused = 0;
    for my $after (0 .. 200) {
        is(get("/fail?after=$after"), "armed\n", "allocation $after is to fail");
        last if is_taken();
        $refused++;
        check(1, "without allocation $after");
    }

    # The main configuration, each location and each error page need one.
    cmp_ok($refused, '>=', 10, "$refused configurations were refused");
    unlike($nginx->log_text, qr/\[emerg\]/, 'no [emerg] is logged for a table that is only faster');
    ok($nginx->stop, 'nginx ends by itself');
    is($nginx->valgrind_reports, '', 'valgrind finds nothing');
    $nginx->close;
}

done_testing();
