# nginx's cycles and processes: reload, several workers, binary upgrade, one
# process only, the order of modules, code that is not cached.

use v5.36;
use lib 't/lib';

use File::Copy qw(copy);
use NginxServer;
use NgxVarTest::Nginx ();
use Test::More;
use Traffic;

NginxServer->skip_unless_plain;
plan skip_all => 'its many reloads take too long in qemu' if NgxVarTest::Nginx->is_emulated;

my $PORT = NginxServer->port;
my @PATHS = qw(/answer /error /chain /slow /capture /named /error?a=1);

# Configurations that index different variables in a different order.  All have $own and
# $mapped.
my %generations = (
    A => { http => '', server => '' },
    B => {
        http => join("\n",
            (map { "map \$uri \$map_$_ { default $_; }" } 1 .. 30),
            'map $http_x_id $added { default "added $http_x_id"; }',
            'log_format b "$request_time $status $bytes_sent $host $uri $args $http_x_id $arg_id";'),
        server => join(' ', map { "set \$set_$_ \$map_$_;" } reverse 1 .. 30),
    },
    C => {
        http   => 'log_format c "$cookie_none $uri $remote_addr $arg_none $own";',
        server => 'set $gone "still here"; set $c1 $remote_port; set $c2 "$request_id";',
    },
);

sub configuration ($generation, %options) {
    my ($http, $server) = @{ $generations{$generation} }{qw(http server)};
    my $cache = $options{code_cache} // 'on';
    my $lost  = $cache eq 'off' ? '"lost"' : '';
    my $lua   = $options{lua} // '';
    return <<"CONF";
        lua_package_path "$ENV{TEST_NGINX_LUA_DIR}/?.lua;;";
        lua_shared_dict cycle 100k;
        lua_code_cache $cache;
        init_by_lua_block {
            generation = "$generation"
            cycle = require "cycle"
            $lua
        }
        $http
        map \$arg_id \$mapped { default "mapped $generation \$arg_id"; }
        server {
            listen 127.0.0.1:$PORT;
            $server
            set \$own "own $generation";
            rewrite_by_lua_block { cycle.begin() }
            location = /answer { content_by_lua_block { cycle.answer() } }
            location = /slow { content_by_lua_block { ngx.sleep(0.01) cycle.answer() } }
            location = /wait { content_by_lua_block { cycle.wait() } }
            location = /waiting {
                content_by_lua_block { ngx.print(tostring(ngx.shared.cycle:get("waiting"))) }
            }
            location = /go { content_by_lua_block { ngx.shared.cycle:set("go", true) } }
            location = /capture { content_by_lua_block { cycle.capture() } }
            location = /named { content_by_lua_block { ngx.exec("\@named") } }
            location \@named { lua_var_ctx_restore all; content_by_lua_block { cycle.answer($lost) } }
            location = /error {
                error_page 500 =200 /page?\$args;
                content_by_lua_block { ngx.exit(500) }
            }
            location = /chain {
                recursive_error_pages on;
                error_page 502 = /error?\$args;
                access_by_lua_block { ngx.exit(502) }
            }
            location = /page { content_by_lua_block { cycle.answer($lost) } }
        }
CONF
}

sub new_server ($generation, %options) {
    my $code_cache = delete $options{code_cache};
    return NginxServer->new(
        http => configuration($generation, code_cache => $code_cache // 'on'), %options);
}

sub use_generation ($nginx, $generation, %options) {
    $nginx->configure(http => configuration($generation, %options));
    return;
}

# lua-nginx-module 0.10.23 runs the wrong chunk in subrequests when code is not
# cached: it looks a chunk up by the number that another VM gave it.
my @UNCACHED_PATHS = grep { $_ ne '/capture' } @PATHS;

# Sends one request of each kind; each has to answer "ok".
sub answers ($nginx, @paths) {
    state $count = 0;
    my $all = '';
    for my $path (@paths) {
        my $id       = 'single-' . ++$count;
        my $mark     = $path =~ /\?/ ? '&' : '?';
        my $response = $nginx->get("$path${mark}id=$id", headers => { 'X-Id' => $id });
        $all .= $response->{content} =~ s/\Q$id\E //gr;
    }
    return $all;
}

sub is_served ($nginx, $generation, $name, @paths) {
    @paths = @PATHS if !@paths;
    is(answers($nginx, @paths), "$generation ok\n" x @paths, $name);
    return;
}

sub reload ($nginx, $generation, %options) {
    use_generation($nginx, $generation, %options);
    return $nginx->reload;
}

sub no_complaints ($nginx, $allowed = qr/(?!)/) {
    is(join('', grep { /\[(?:warn|error|crit)\]/ && $_ !~ $allowed } $nginx->log_lines), '',
        'nothing to complain about in the log');
    return;
}

sub part ($name, $code) { return NginxServer->part($name, $code) }

part 'reloads under traffic, with several workers, fail no request' => sub {
    my $nginx = new_server('A', workers => 3)->start;
    $nginx->await_workers;
    my $traffic = Traffic->start(port => $PORT, clients => 6, paths => \@PATHS);

    is_served($nginx, 'A', 'before');
    for my $generation (qw(B C A B)) {
        my @old = reload($nginx, $generation);
        is_served($nginx, $generation, "after a reload, generation $generation");
        $nginx->await_end(@old);
        is(scalar $nginx->workers, 3, 'there are three workers after a reload');
    }

    my $result = $traffic->stop;
    is_deeply($result->{failed}, [], 'no request failed');
    is_deeply([ sort keys %{ $result->{words} } ], [qw(A B C)], 'every generation served');
    note("$result->{requests} requests");
    no_complaints($nginx);
    $nginx->stop_cleanly;
};

part 'a request that outlives its configuration reads its own values' => sub {
    my $nginx = new_server('A')->start;
    my $old   = Traffic->start(port => $PORT, clients => 1, paths => ['/wait']);
    $nginx->await('the request', sub { $nginx->get('/waiting')->{content} eq 'true' });

    reload($nginx, 'B');
    is_served($nginx, 'B', 'the new configuration serves');
    $nginx->get('/go');
    my $result = $old->stop;
    is_deeply($result->{failed}, [], 'what the old request reads is right');
    is($result->{words}{A}, 1, 'the request is served by the old configuration');
    no_complaints($nginx);
    $nginx->stop_cleanly;
};

# nginx cannot be reloaded then (it has no connections afterwards), with or
# without modules.
part 'a single process serves requests under traffic' => sub {
    my $nginx   = new_server('B', master => 'off')->start;
    my $traffic = Traffic->start(port => $PORT, clients => 4, paths => \@PATHS);
    is_served($nginx, 'B', 'served');
    my $result = $traffic->stop;
    is_deeply($result->{failed}, [], 'no request failed');
    no_complaints($nginx);
    $nginx->stop_cleanly;
};

part 'a binary upgrade under traffic fails no request' => sub {
    my $nginx = new_server('A', workers => 2)->start;
    $nginx->await_workers;
    my $traffic = Traffic->start(port => $PORT, clients => 6, paths => \@PATHS);
    is_served($nginx, 'A', 'before');

    use_generation($nginx, 'B');
    my $old = $nginx->pid;
    $nginx->upgrade;
    isnt($nginx->pid, $old, 'there is another master');
    is(scalar $nginx->await_workers, 2, 'the new master has its workers');
    is(scalar $nginx->workers($old), 2, 'the old master still has its workers');

    $nginx->signal('WINCH', $old);
    $nginx->await('the end of the old workers', sub { !$nginx->workers($old) });
    is_served($nginx, 'B', 'the new workers alone');

    # Back, as if the new binary were broken, and forth again.
    $nginx->signal('HUP', $old);
    $nginx->await('old workers again', sub { $nginx->workers($old) == 2 });
    $nginx->signal('WINCH', $old);
    $nginx->await('their end', sub { !$nginx->workers($old) });

    $nginx->signal('QUIT', $old);
    $nginx->await_end($old);
    is_served($nginx, 'B', 'the new master alone');

    my $result = $traffic->stop;
    is_deeply($result->{failed}, [], 'no request failed');
    is_deeply([ sort keys %{ $result->{words} } ], [qw(A B)], 'both masters have served requests');
    reload($nginx, 'C');
    is_served($nginx, 'C', 'after a reload of the new master');
    no_complaints($nginx);
    $nginx->stop_cleanly;
};

# Each fails at another stage of reading the configuration.
my $OWN = NginxServer->module;
my %faults = (
    'no module'           => { modules => ['/none.so'],         log => qr{dlopen\(\) "/none.so" failed} },
    'a bad value'         => { http => 'lua_var_ctx_restore x;', log => qr/invalid value "x"/ },
    'a bad last line'     => { http => 'no_such;',               log => qr/unknown directive "no_such"/ },
    'no Lua, a bad line'  => { modules => [$OWN], http => 'no_such;', log => qr/unknown directive/ },
    'a bad init_by_lua'   => { lua => 'error("no init today")',  log => qr/no init today/ },
);

delete $faults{'no Lua, a bad line'} if NgxVarTest::Nginx->is_linked('ngx_http_lua_module');

my $is_reloaded = NgxVarTest::Nginx->reloads_alone;
SKIP: { skip('OpenResty ends a single process that is to reload', 1) if !$is_reloaded }

for my $master ('on', $is_reloaded ? 'off' : ()) {
    part "after a reload that fails, nginx serves as before, with master_process $master" => sub {
        my $nginx = new_server('A', master => $master)->start;
        my @workers = $master eq 'on' ? $nginx->await_workers : ();

        for my $fault (sort keys %faults) {
            my ($modules, $http, $lua, $log) = @{ $faults{$fault} }{qw(modules http lua log)};
            $http = configuration('B', lua => $lua) . ($http // '');
            $nginx->configure(http => $http, modules => $modules // [ NginxServer->modules ]);
            $nginx->reload_in_vain($log, '/waiting');
            is_served($nginx, 'A', "$fault: the old configuration serves");
        }

        if ($master eq 'on') {
            is_deeply([ $nginx->workers ], \@workers, 'the workers are the same after a reload that failed');
            $nginx->renew_worker;
            is_served($nginx, 'A', 'by a worker that was made after it');
            $nginx->configure(modules => [ NginxServer->modules ]);
            reload($nginx, 'C');
            is_served($nginx, 'C', 'a good configuration is taken');
        }
        no_complaints($nginx, qr/no init today/);
        $nginx->stop_cleanly(allow => qr/\[emerg\]/);
    };
}

# Of Lua VMs: the worker has one, and each request in a location with
# lua_code_cache off has one more each time it is redirected.
part 'requests are served with lua_code_cache off' => sub {
    my $nginx   = new_server('A', code_cache => 'off', workers => 2)->start;
    my $traffic = Traffic->start(port => $PORT, clients => 4, paths => \@UNCACHED_PATHS);
    is_served($nginx, 'A', 'served, and nothing restored', @UNCACHED_PATHS);
    reload($nginx, 'B', code_cache => 'off');
    is_served($nginx, 'B', 'after a reload', @UNCACHED_PATHS);
    my $result = $traffic->stop;
    is_deeply($result->{failed}, [], 'no request failed');
    cmp_ok($result->{requests}, '>', 20, 'more than 20 requests were served');
    no_complaints($nginx, qr{with lua_code_cache off});
    $nginx->stop_cleanly(allow => qr/lua_code_cache is off|with lua_code_cache off/);
};

for my $master (qw(on off)) {
part "another Lua VM gets no ngx.ctx, master_process $master" => sub {
    my $nginx = NginxServer->new(master => $master, http => <<"CONF")->start;
        lua_shared_dict cycle 100k;
        server {
            listen 127.0.0.1:$PORT;
            lua_var_ctx_restore all;
            location /worker-vm/ {
                error_page 500 =200 /worker-vm/page;
                error_page 502 =200 /own-vm/page;
                content_by_lua_block { ngx.ctx.of = ngx.var.arg_id ngx.exit(tonumber(ngx.var.arg_code)) }
            }
            location /own-vm/ {
                lua_code_cache off;
                error_page 500 =200 /worker-vm/page;
                error_page 502 =200 /own-vm/page;
                content_by_lua_block { ngx.ctx.of = ngx.var.arg_id ngx.exit(tonumber(ngx.var.arg_code)) }
            }
            location = /worker-vm/page { content_by_lua_block { ngx.print(ngx.ctx.of or "new") } }
            location = /own-vm/page {
                lua_code_cache off;
                content_by_lua_block { ngx.print(ngx.ctx.of or "new") }
            }
            # Occupies references in the worker's VM, the first ones.
            location = /hold {
                content_by_lua_block {
                    local dict = ngx.shared.cycle
                    ngx.ctx.of = "another request"
                    dict:incr("held", 1, 0)
                    while not dict:get("go") do ngx.sleep(0.01) end
                    dict:incr("held", -1)
                    local line = ngx.var.arg_id .. " held ok\\n"
                    ngx.header.content_length = #line
                    ngx.print(line)
                }
            }
            location = /held { content_by_lua_block { ngx.print(ngx.shared.cycle:get("held")) } }
            location = /hold-on { content_by_lua_block { ngx.shared.cycle:delete("go") } }
            location = /go { content_by_lua_block { ngx.shared.cycle:set("go", true) } }
        }
CONF
    my $check = sub ($when) {
        $nginx->get('/hold-on');
        my $holders = Traffic->start(port => $PORT, clients => 6, paths => ['/hold']);
        $nginx->await('six requests', sub { $nginx->get('/held')->{content} eq '6' });
        my %expected = (
            'worker-vm 500' => 'me', 'worker-vm 502' => 'new',
            'own-vm 500'    => 'new', 'own-vm 502'   => 'new',
        );
        my %got = map {
            my ($vm, $code) = split;
            ($_ => $nginx->get("/$vm/?id=me&code=$code")->{content});
        } keys %expected;
        is_deeply(\%got, \%expected, $when);
        $nginx->get('/go');
        is_deeply($holders->stop->{failed}, [], 'other requests are served meanwhile');
    };

    $check->('at first');
    if ($master eq 'on') {
        $nginx->await_end($nginx->reload);
        $check->('after a reload');
    }

    if ($master eq 'on' || $is_reloaded) {
        my $good = $nginx->{http};
        $nginx->configure(http => "$good no_such;");
        $nginx->reload_in_vain(qr/unknown directive "no_such"/, '/waiting');
        $check->('after a reload that failed');
    }
    if ($master eq 'on') {
        $nginx->renew_worker;
        $check->('in a worker that was made after that');
    }

    $nginx->stop_cleanly(allow => qr/lua_code_cache is off|with lua_code_cache off|no_such/);
};
}

if (!defined $OWN) {
    SKIP: { skip('the module is linked in, it does not come or go', 2) }
    done_testing;
    exit;
}

part 'the order of load_module does not matter' => sub {
    my @others = NginxServer->other_modules;
    for my $at (0 .. @others) {
        my @modules = @others;
        splice @modules, $at, 0, $OWN;
        my $nginx = new_server('B', modules => \@modules)->start;
        is_served($nginx, 'B', join ', ', map { m{([^/]+)\.so$} } @modules);
        no_complaints($nginx);
        $nginx->stop_cleanly;
    }
};

part 'a reload adds and removes the module and the Lua module' => sub {
    my @lua   = NginxServer->other_modules;
    my $without = sub ($directive) {
        return "server { listen 127.0.0.1:$PORT; error_page 500 \@page;
            location / { return 500; } location \@page { $directive } }";
    };
    my $lua_only = $without->('content_by_lua_block { ngx.say(package.preload["resty.ngxvar"]) }');
    my $own_only = $without->('return 200 "[$from_error_page]\n";');

    my $nginx = NginxServer->new(modules => \@lua, http => $lua_only)->start;
    my $other = $nginx->root . '/other.so';
    copy($OWN, $other) or die "$OWN: $!";
    is($nginx->get('/')->{content}, "nil\n", 'the Lua module alone has no library');
    for my $step (
        [ 'the module is added', [ @lua, $OWN ], 'A' ],
        [ 'the module is taken away', \@lua, $lua_only, "nil\n" ],
        [ 'the module is added in front', [ $OWN, @lua ], 'B' ],
        [ 'the module comes from another file', [ @lua, $other ], 'C' ],
        [ 'and from the first again, in front', [ $OWN, @lua ], 'A' ],
        [ 'Lua is taken away', [$OWN], $own_only, "[true]\n" ],
        [ 'Lua is added', [ @lua, $OWN ], 'C' ],
        [ 'all are taken away', [], $without->('return 200 "none\n";'), "none\n" ],
        [ 'all are added', [ @lua, $OWN ], 'A' ],
    ) {
        my ($name, $modules, $http, $expected) = @$step;
        $nginx->configure(modules => $modules,
            http => defined $expected ? $http : configuration($http));
        $nginx->reload;
        if (defined $expected) {
            is($nginx->get('/')->{content}, $expected, $name);
        }
        else {
            is_served($nginx, $http, $name);
        }
    }
    $nginx->stop_cleanly;
};

done_testing;
