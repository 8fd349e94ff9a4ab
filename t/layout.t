# A module built for another layout of ngx_http_request_t than nginx's: src/layout.rs.  What shows
# when the configuration is read ends nginx -t; what only a request shows makes the module inert.
#
# t/bin/foreign-layout builds such modules, which takes most of the time.
#
#   LAYOUTS='flag main' prove t/layout.t    only these variants

use v5.36;
use lib 't/lib';

use NginxServer;
use NgxVarTest::Client ();
use NgxVarTest::File qw(read_file);
use NgxVarTest::Nginx ();
use NgxVarTest::Process qw(spawn);
use Test::More;

NginxServer->skip_unless_plain;

plan skip_all => 'the modules of t/bin/foreign-layout are not for the processor of this nginx'
    if NgxVarTest::Nginx->is_emulated;
plan skip_all => 'the module is linked in, with the layout that nginx was built with'
    if !defined NginxServer->module;

use constant WORKERS => 2;

# The [emerg] line, which has two offsets when nginx's is known, else two readings.
# shift: by how many bytes the module's offset is too large.
my $OFFSET  = qr/the member for "(\w+)" is at offset (\d+) in nginx and at (\d+) in the module/;
my $READING = qr/: (\w+) reads (".*?"|\d+ bytes at \w+) in the module, (".*?".*?) in nginx/;
my $BUILD   = qr/rebuild ngx_http_lua_var_module against/;

my %variants = (
    headers_in     => { what => 'a member more at the end of headers_in, as Kong has', shift => 8 },
    missing        => { what => 'a member of headers_in less', shift => -8 },
    connection     => { what => 'a member more behind connection', shift => 8 },
    main           => { what => 'a member more before main' },
    request_length => { what => 'a member more before request_length' },
    order          => { what => 'request_length in another place', field => 'request_length' },
    flag           => { what => 'more bits before uri_changes', field => 'uri_changes' },
);

my @all   = split ' ', `t/bin/foreign-layout`;
my @tried = $ENV{LAYOUTS} ? split ' ', $ENV{LAYOUTS} : @all;
is("@{[ sort @all ]}", "@{[ sort keys %variants ]}", 't/bin/foreign-layout builds the variants that this file knows');

subtest 'a first request over a unix socket is no sign of another layout' => sub {
    eval { try_unix_socket(); 1 } or fail("given up: $@");
    NginxServer->kill_servers;
};

for my $name (@tried) {
    subtest "$variants{$name}{what} ($name)" => sub {
        eval { try_variant($name, $variants{$name}); 1 } or fail("given up: $@");
        NginxServer->kill_servers;
    };
}

my @left_out = grep { my $name = $_; !grep { $_ eq $name } @tried } @all;
diag("left out: @left_out") if @left_out;
done_testing;

# A unix socket has no port: nginx formats $server_port of it in another way.
sub try_unix_socket () {
    my $nginx  = NginxServer->new;
    my $socket = $nginx->root . '/logs/first.sock';
    $nginx->configure(http => <<"END");
    server {
        listen unix:$socket;
        location / {
            content_by_lua_block {
                local ngxvar = require "resty.ngxvar"
                ngx.print("port '", ngx.var.server_port, "' '", ngxvar.fetch("server_port"), "' ",
                          ngxvar.live(ngxvar.request()))
            }
        }
    }
END
    $nginx->start;
    like(NgxVarTest::Client->ask($socket, '/')->{content}, qr/^port '' '' true$/, 'the request is read directly');
    unlike($nginx->log_text, qr/lua_var: the layout/, 'no line about the layout is logged');
}

sub try_variant ($name, $expected) {
    chomp(my $module = `t/bin/foreign-layout $name`);
    return fail("t/bin/foreign-layout $name builds a module") if $? || !-f $module;

    my $nginx = NginxServer->new(
        modules => [ NginxServer->other_modules, $module ],
        workers => WORKERS,
        http    => configuration(),
    );
    return check_refusal($nginx, $expected->{shift}) if $expected->{shift};

    $nginx->start;
    ok($nginx->await_workers, 'nginx starts with the foreign module');
    check_complaint($nginx, $expected);
    check_requests($nginx);
    check_traffic($nginx);

    is_deeply([ grep { /\[error\]/ } $nginx->log_lines ], [], 'no error in the log');
    is(scalar(complaints($nginx)), WORKERS, 'no more [emerg] lines than at the start');

    $nginx->reload;
    await_complaints($nginx, 2 * WORKERS);
    pass('the [emerg] lines come again after a reload');
    is($nginx->get('/equal?a=1')->{content}, "done\n", 'new workers serve requests after a reload');
    $nginx->stop_cleanly(allow => qr/\[emerg\] .* lua_var: the layout/);
    return;
}

sub check_refusal ($nginx, $shift) {
    my ($status, $said) = $nginx->test;
    isnt($status, 0, 'nginx -t fails');
    my @lines = $said =~ /^(.*\[emerg\].*)$/mg;
    is(scalar @lines, 1, 'it says why in one line');
    like($lines[0] // '', $OFFSET, 'the line names a field and two offsets');
    my ($field, $theirs, $ours) = ($lines[0] // '') =~ $OFFSET;
    is(($ours // 0) - ($theirs // 0), $shift, 'the offsets of ' . ($field // 'none') . ' differ by what the variant shifts');
    like($lines[0] // '', $BUILD, 'the line says what to build');
    return;
}

sub complaints ($nginx) { return grep { /\[emerg\]/ } $nginx->log_lines }

# Readings are compared in each worker's first request.
sub await_complaints ($nginx, $count) {
    $nginx->await("$count [emerg] lines", sub {
        $nginx->get('/nothing');
        return complaints($nginx) >= $count;
    });
    return complaints($nginx);
}

sub check_complaint ($nginx, $expected) {
    my @lines = await_complaints($nginx, WORKERS);
    my %pids  = map { /\[emerg\] (\d+)#/ ? ($1 => 1) : () } @lines;
    is(scalar @lines, WORKERS, 'one [emerg] line of each worker');
    is_deeply([ sort keys %pids ], [ sort $nginx->workers ], 'the [emerg] lines are of all workers');

    my $line = $lines[0];
    like($line, $READING, 'the [emerg] line names a field and two readings');
    my ($field, $ours, $theirs) = $line =~ $READING;
    is($field, $expected->{field}, 'the field is the one that the variant moves') if $expected->{field};
    isnt($ours, $theirs, 'the two readings differ');
    like($line, $BUILD, 'the [emerg] line says what to build');
    return;
}

sub check_requests ($nginx) {
    my @shapes = (
        [ 'arguments', '/equal?a=1&b=2' ],
        [ 'a body', '/equal?a=1', method => 'POST', content => 'body=1' ],
        [ 'headers', '/equal', headers => { 'X-A' => 'one', Cookie => 'c=3' } ],
        [ 'an encoded URI', '/equal/%41%20b' ],
        [ 'an upstream', '/proxied?a=1' ],
        [ 'an internal redirect', '/exec?a=1' ],
        [ 'a subrequest', '/capture?a=1' ],
        [ 'a named location', '/named?a=1' ],
    );
    for (@shapes) {
        my ($what, $uri, %options) = @$_;
        my @bodies = map { $nginx->get($uri, %options)->{content} } 1 .. 2;
        is("@bodies", "done\n done\n", "$what: served");
    }
    $nginx->await_log(qr/checked: log/);
    is_deeply([ grep { /differs: / } $nginx->log_lines ], [],
        'fetch says what ngx.var says, and handles are refused');
    for my $phase (qw(rewrite access content header_filter body_filter log)) {
        ok((grep { /checked: $phase/ } $nginx->log_lines), "the request was checked in the $phase phase");
    }

    like($nginx->get('/status')->{content}, qr/^layout differs\n.*^layout_differs [1-9]/ms, 'the status page says so');
    my $client = NgxVarTest::Client->new($nginx->port);
    $client->write("GARBAGE\r\n\r\n");
    $client->read_to_end;
    $nginx->await('the line of a request that cannot be parsed',
        sub { read_file($nginx->root . '/logs/seen.log') =~ /^\[400 0 ""\]$/m });

    is($nginx->get('/captures/one/two')->{content}, "one two nil\n", 'captures are read');
    is($nginx->get('/error')->{content}, "lost\n", 'ngx.ctx is lost after an error_page');
    is($nginx->get('/error-all')->{content}, "lost\n", 'ngx.ctx is lost with lua_var_ctx_restore all, too');
    is($nginx->get("/$_->[0]?x=1")->{content}, "$_->[1]\n", "an error page's arguments: $_->[0]")
        for ['no-args', 'nil'], ['empty-args', ''], ['some-args', 'a=1'];
    is($nginx->get('/timer')->{content}, "nil, refused\n", 'fetch is refused in a timer');
    is($nginx->get('/symbols')->{content}, "good\n", 'the C functions return right values or none');
    return;
}

sub check_traffic ($nginx) {
    check_connections($nginx, 80) for 1 .. 2;

    my @clients = map { start_client($nginx, $_) } 1 .. 8;
    my $failed  = 0;
    for my $pid (@clients) {
        waitpid $pid, 0;
        $failed++ if $?;
    }
    is($failed, 0, 'no client gets the answer to another one');
    return;
}

# Requests at once, each on a connection of its own, so that each is at another address.
sub check_connections ($nginx, $count) {
    my @clients = map { NgxVarTest::Client->new($nginx->port) } 1 .. $count;
    $clients[ $_ - 1 ]->send("/id?pause=0.05&id=$_") for 1 .. $count;
    my @answers  = map { ($_->receive)[1] // 'none' } @clients;
    my @expected = map { "$_ $_ $_\n" } 1 .. $count;
    is_deeply(\@answers, \@expected, "$count connections at once each get their own answer");
    return;
}

sub start_client ($nginx, $number) {
    return spawn(sub {
        my $client = NgxVarTest::Client->new($nginx->port);
        for my $n (1 .. 60) {
            my $id  = "$number-$n";
            my $uri = (qw(/id /id-error /id-proxied))[ $n % 3 ];
            my ($status, $body, $head) = $client->get("$uri?id=$id");
            $client = NgxVarTest::Client->new($nginx->port)
                if !defined $status || $head =~ /^Connection: close/mi;
            die "# $uri?id=$id: ", $status // 'no response', ' ', $body // '', "\n"
                if ($body // '') ne "$id $id $id\n";
        }
    });
}

sub configuration () {
    my $port = NginxServer->port;
    return <<"CONF" . <<'CONF';
    lua_package_path "$ENV{TEST_NGINX_LUA_DIR}/?.lua;;";
    lua_var_log_refused warn;
    log_format seen '[\$status \$lua_var_refused "\$lua_var_restored"]';
    server {
        listen 127.0.0.1:$port;
        access_log logs/seen.log seen;
        set \$upstream 127.0.0.1:$port;
CONF
        server_name layout.test;
        set $own "own value";
        lua_var_ctx_restore error_page;

        location = /nothing { return 204; }
        location = /status { lua_var_status text; }

        location /equal {
            add_header X-B "two";
            rewrite_by_lua_block { require("layout").check("rewrite") }
            access_by_lua_block { require("layout").check("access") }
            content_by_lua_block { require("layout").content() }
            header_filter_by_lua_block { require("layout").check("header_filter") }
            body_filter_by_lua_block { require("layout").check("body_filter") }
            log_by_lua_block { require("layout").check("log") }
        }
        location = /proxied {
            proxy_pass http://$upstream/equal;
            header_filter_by_lua_block { require("layout").check("header_filter") }
            log_by_lua_block { require("layout").check("log") }
        }
        location = /exec { content_by_lua_block { ngx.exec("/equal/exec", ngx.var.args) } }
        location = /named { content_by_lua_block { ngx.exec("@named") } }
        location @named {
            content_by_lua_block { require("layout").content() }
            log_by_lua_block { require("layout").check("log") }
        }
        location = /capture {
            content_by_lua_block {
                local body = ngx.location.capture("/equal/sub?a=2").body
                require("layout").check("content")
                ngx.print(body)
            }
        }

        location ~ ^/captures/(.+)/(.+)$ {
            content_by_lua_block {
                local fetch = require("resty.ngxvar").fetch
                ngx.say(fetch(1), " ", fetch(2), " ", tostring(fetch(3)))
            }
        }
        location = /error {
            error_page 500 /page;
            content_by_lua_block { ngx.ctx.kept = true ngx.exit(500) }
        }
        location = /error-all {
            error_page 500 /page-all;
            content_by_lua_block { ngx.ctx.kept = true ngx.exit(500) }
        }
        location = /page {
            content_by_lua_block { ngx.say(ngx.ctx.kept and "kept" or "lost") }
        }
        location = /page-all {
            lua_var_ctx_restore all;
            content_by_lua_block { ngx.say(ngx.ctx.kept and "kept" or "lost") }
        }
        location = /no-args { error_page 404 =200 /args; return 404; }
        location = /empty-args { error_page 404 =200 /args?; return 404; }
        location = /some-args { error_page 404 =200 /args?a=1; return 404; }
        location = /args { content_by_lua_block { ngx.say(ngx.var.args) } }
        location = /timer { content_by_lua_block { require("layout").timer() } }
        location = /symbols { content_by_lua_block { require("layout").symbols() } }

        location = /id { content_by_lua_block { require("layout").id() } }
        location = /id-proxied { proxy_pass http://$upstream/id?$args; }
        location = /id-error {
            error_page 500 =200 /id?$args;
            access_by_lua_block { require("resty.ngxvar").request() ngx.exit(500) }
        }
    }
CONF
}
