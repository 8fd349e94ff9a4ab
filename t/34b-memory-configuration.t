# Every allocation that the module makes while nginx reads a configuration fails in
# turn. nginx refuses that configuration and goes on with the one it has.
#
# A single process takes new configurations by itself, so Lua in it can say beforehand
# which allocation is to fail.

use v5.36;
use lib 't/lib', 't/stress';

use Test::More;
use Time::HiRes qw(sleep time);

use Client ();
use Stage ();

plan skip_all => 'of `make test` and `make test-valgrind` only'
    if $ENV{TEST_NGINX_USE_HUP} || $ENV{TEST_NGINX_CHECK_LEAK};

use constant {
    POOL    => 1,     # a kind of allocation (src/faults.rs)
    TIMEOUT => 60,    # seconds; only a failing test waits that long
};

my $stage = Stage->new(name => 'memory', single => 1, config => <<'END');
${USER}
master_process off;
pid logs/nginx.pid;
error_log logs/error.log notice;
events { worker_connections 64; }
http {
    access_log off;
    lua_package_path "$ROOT/t/lib/?.lua;$ROOT/t/stress/?.lua;;";
    client_body_temp_path temp; proxy_temp_path temp; fastcgi_temp_path temp;
    uwsgi_temp_path temp; scgi_temp_path temp;
    init_by_lua_block { memory = require "memory" }
    lua_var_index $arg_a $http_b;
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

sub get ($uri) {
    my ($status, $body) = Client->new($stage->port(1))->get($uri, Connection => 'close');
    return $body // 'no response';
}

# Everything works, in the configuration of that version.
sub check ($version, $what) {
    is(get('/version'), $version, "$what: version $version");
    like(get('/report'), qr{fetch: /report\nrequest: a handle\nby handle: /report\n}, "$what: variables");
    is(get('/err'), 'kept', "$what: an error page");
    is(get('/live'), '1', "$what: no slot is left occupied");
    return;
}

# HUP, and whether the new configuration was taken.
sub reload ($version) {
    $stage->write_config(VERSION => $version);
    my $before = () = $stage->log_text =~ /reconfiguring/g;
    kill HUP => $stage->master;
    my $deadline = time + TIMEOUT;
    while ((() = $stage->log_text =~ /reconfiguring/g) == $before) {
        die "no reload\n" if time > $deadline;
        sleep 0.01;
    }
    # The process reads the configuration before it reads the next request.
    return get('/version') eq $version;
}

$stage->write_config(VERSION => 1);
$stage->start;
check(1, 'at the start');

my $version = 1;
my ($refused, $without_table) = (0, 0);
for my $after (0 .. 200) {
    is(get("/fail?after=$after"), "armed\n", "allocation $after is to fail");
    my $is_taken = reload($version + 1);
    $version++ if $is_taken;

    # The table of variables only makes them faster.
    my $has_table = !$stage->new_log_lines(qr/lua_var: no memory for the table of variables/);
    last if $is_taken && $has_table;

    $is_taken ? $without_table++ : $refused++;
    check($version, "without allocation $after");
}
get('/fail?after=-1');
check($version, 'at the end');

# One for the main configuration, one for each location, one for each error page.
cmp_ok($refused, '>=', 10, "$refused configurations were refused");
is($without_table, 3, 'the variables, their heads, the table');

my @alerts = $stage->log_text =~ /.*\[alert\].*/g;
is("@alerts", '', 'no [alert]');
ok($stage->stop, 'nginx ends by itself');
is($stage->valgrind_reports, '', 'valgrind');

done_testing();
