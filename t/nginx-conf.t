# The configurations in nginx-conf/: each passes nginx -t without a warning and does
# what its comments say; nginx-conf/demo plays, serves, notices what is wrong, and
# leaves nothing behind.

use v5.36;
use lib 't/lib';

use Cwd qw(abs_path);
use File::Basename qw(basename);
use File::Copy qw(copy);
use File::Path qw(make_path remove_tree);
use Test::More;

use NgxVarTest ();
use NgxVarTest::Client ();
use NgxVarTest::Nginx ();
use NgxVarTest::File qw(read_file write_file);
use NgxVarTest::Process qw(is_alive spawn wait_until);
use NgxVarTest::Server ();
NgxVarTest->import;

plan skip_all => 'qemu-user follows no symbolic link into its own directory'
    if NgxVarTest::Nginx->is_emulated;
plan skip_all => 'the module is linked in, and these files load it'
    if NgxVarTest::Nginx->is_linked('ngx_http_lua_var_module');

my $ROOT  = NgxVarTest::Env::root();
my $WORK  = "$ROOT/target/nginx-conf-$$";
my $DEMO  = "$ROOT/nginx-conf/demo";
my $NGINX = $ENV{TEST_NGINX_BINARY};

# The modules under test, by the names that the configurations load them by.
my %MODULE = map {
    my $name = basename($_);
    (($name =~ /^(?:ndk_http|ngx_http_lua)_module\.so$/ ? $name : 'ngx_http_lua_var_module.so') => abs_path($_))
} split ' ', $ENV{TEST_NGINX_LOAD_MODULES};

$ENV{MODULE_SO} = $MODULE{'ngx_http_lua_var_module.so'};
delete @ENV{qw(LUA_VAR_SO NO_COLOR http_proxy HTTP_PROXY all_proxy ALL_PROXY)};

my %running;    # pid => 1
my $owner = $$;
END {
    if ($owner == $$) {
        local $?;
        kill TERM => keys %running if %running;
        waitpid $_, 0 for keys %running;
        remove_tree($WORK);
    }
}

make_path($WORK);

# ---- Helpers ---------------------------------------------------------------------------

# Starts nginx-conf/demo, or another command; what it prints is in the file.
sub start (@command) {
    state $count = 0;
    my $file = "$WORK/out-" . ++$count;
    local $ENV{NGINX} = $NGINX;
    my $pid = spawn(\@command, $file);
    $running{$pid} = 1;
    return { pid => $pid, file => $file };
}

sub output ($run) { return read_file($run->{file}) }

# Its exit status; 128 and more for a signal, as in a shell.
sub finish ($run) {
    waitpid $run->{pid}, 0;
    delete $running{ $run->{pid} };
    return $? & 127 ? 128 + ($? & 127) : $? >> 8;
}

sub await ($what, $code) {
    return wait_until(NgxVarTest::Server::TIMEOUT, $code) ? 1 : fail("in time: $what");
}

# Serves a file while the code runs, which gets the address and the run.
sub serve ($file, $code) {
    my $run = start($DEMO, 'serve', $file);
    await("$file is served", sub { output($run) =~ /Ctrl-C stops it:\n\n(?:  .*\n)+\n/ })
        or return diag(output($run));
    my ($address) = output($run) =~ m{(http://127\.0\.0\.1:\d+)/};
    subtest $file => sub { $code->($address, $run) };
    kill INT => $run->{pid};
    is(finish($run), 130, "$file: Ctrl-C stops it");
    ok(!-e "$ROOT/target/demo-$run->{pid}", "$file: no file is left behind");
    # demo prints the commands of the file
    my $logged = output($run) =~ s/^.*\[error\] .*lua_var: .* \(stale request\),.*\n//gmr;
    unlike($logged, qr/\[(?:alert|emerg|warn)\]/, "$file: no warning or alert is logged");
    ok(!eval { get("$address/"); 1 }, "$file: nginx has stopped");
    return;
}

sub get ($url) {
    my ($port, $path) = $url =~ m{^http://127\.0\.0\.1:(\d+)(/.*)};
    my $answer = NgxVarTest::Client->ask($port, $path);
    die $answer->{content} if $answer->{status} == 599;
    return $answer;
}

sub is_answer ($url, $status, $body, $headers = {}) {
    my $answer = get($url);
    my $path   = $url =~ s{^http://[^/]+}{}r;
    is($answer->{status}, $status, "$path: status");
    is($answer->{content}, $body, "$path: body");
    is($answer->{headers}{lc $_} // 'none', $headers->{$_}, "$path: $_") for sort keys %$headers;
    return;
}

sub is_logged ($run, $pattern, $name) {
    ok(await($name, sub { output($run) =~ $pattern }), $name);
    return;
}

# ---- nginx -t --------------------------------------------------------------------------

my @FILES = map { basename($_) } sort glob("$ROOT/nginx-conf/*.conf");
is("@FILES", 'demo.conf error-page.conf migrate-apisix.conf migrate-lua-var.conf minimal.conf',
    'every file of nginx-conf/ has its test here');

make_path(map { "$WORK/prefix/$_" } qw(conf conf/modules-enabled logs modules));
open my $enabled, '>', "$WORK/prefix/conf/modules-enabled/lua.conf" or die "lua.conf: $!";
print {$enabled} map { "load_module modules/$_;\n" } sort grep { !/lua_var/ } keys %MODULE;
close $enabled;
copy($_, "$WORK/prefix/conf") for glob("$ROOT/nginx-conf/*");
copy("$ENV{TEST_NGINX_CERT_DIR}/test.$_", "$WORK/prefix/conf/demo.$_") for qw(crt key);
symlink $MODULE{$_}, "$WORK/prefix/modules/$_" for keys %MODULE;

for my $file (@FILES) {
    my ($status, $output) = NgxVarTest::Server->new(prefix => "$WORK/prefix", conf => "conf/$file")->test;
    is($status, 0, "$file: nginx -t");
    my @lines = grep { !/ syntax is ok$| test is successful$/ } split /\n/, $output;
    # the file is for older versions too, as its comment says
    @lines = grep { !/the "listen \.\.\. http2" directive is deprecated/ } @lines
        if NgxVarTest::Nginx->is_at_least('1.25.1');
    is("@lines", '', "$file: no warning");
}

# ---- What their comments say -----------------------------------------------------------

serve('minimal.conf', sub ($at, $run) {
    is_answer("$at/hello?a=1", 200, <<~'END');
        uri: /hello
        arg_a: 1
        request_time: number
        http_x_none: nil
        host: 127.0.0.1
        END
    is_answer("$at/later", 200, "see the error log: nil, stale request\n");
    is_logged($run, qr/in the timer: nil, stale request/, 'a handle in a timer is stale');
});

serve('error-page.conf', sub ($at, $run) {
    is_answer("$at/orders", 502, "sorry, alice\n", { 'X-User' => 'alice' });
    is_answer("$at/pay", 500, "sorry; from an error page: true\n", { 'X-User' => 'bob' });
    is_answer("$at/off", 502, "sorry, whoever you are\n", { 'X-User' => 'lost' });
    is_answer("$at/exec", 200, "hello, dave\n", { 'X-User' => 'dave' });
    is_logged($run, qr/user: alice .*user: bob .*user: lost .*user: dave /s, 'the log phase');
});

serve('migrate-lua-var.conf', sub ($at, $run) {
    is_answer("$at/hello", 200, <<~'END');
        scheme: http
        host: 127.0.0.1
        uri: /hello
        remote_addr: 127.0.0.1
        request_time: number
        request_length: number
        END
    is_answer("$at/late", 200, "kept, ask again\n");
    is_answer("$at/late", 200, "the request kept before: nil, stale request\nlive: false\n") for 1, 2;
    is_answer("$at/ffi", 200, "uri: 0 /ffi\nof no request: -1 0 bytes\n");
});

serve('migrate-apisix.conf', sub ($at, $run) {
    for my $case ([502, ''], [500, '/500']) {
        my ($status, $path) = @$case;
        is_answer("$at/old$path", $status, "the error page of /old\n",
            { 'X-Route' => 'old', 'X-Same-Table' => 'true' });
        is_answer("$at/new$path", $status, "the error page of /new\n",
            { 'X-Route' => 'new', 'X-From-Error-Page' => 'true' });
    }
    is_logged($run, qr/(?:route: old .*route: new .*){2}/s, 'the log phase');
    unlike(output($run), qr/route: lost/, 'no route is lost');
});

serve('demo.conf', sub ($at, $run) {
    my @commands = output($run) =~ /^  (curl .*)$/mg;
    is(scalar @commands, 4, 'demo.conf has four commands to try');
    my @bodies = map {
        my $curl = start('bash', '-c', s/^curl /curl -q --silent --noproxy '*' /r);
        finish($curl);
        output($curl) =~ s/\n/ /gr;
    } @commands;
    is_deeply(\@bodies, ['sorry fine sorry ', 'sorry sorry sorry sorry ', 'pong pong ',
        'kept stale request stale request '], 'the commands get the answers that they should');
    is_logged($run, qr/(?:log: own ctx.*){7}(?:log: handshake's ctx, stale request.*){2}(?:log: own ctx.*){3}/s,
        'what the log phase finds');
});

# ---- make demo -------------------------------------------------------------------------

subtest 'demo play shows the incident with and without the module' => sub {
    my $run = start($DEMO, 'play');
    is(finish($run), 0, 'demo play exits with 0');
    my $output = output($run);
    like($output, qr/^Everything is as it should be\.\n\z/m, 'demo play says that everything is as it should be');
    like($output, qr/^$_\. /m, "demo play shows step $_") for 1 .. 4;
    unlike($output, qr/WRONG|NOT AS IT/, 'no row is marked as wrong');
    like($output, qr/^The line that ends the search.*\n\n.*lua_var: \S*demo\.lua:\d+ \w+\(\) read "\w+" .*\(stale request\),\n(?:   .*\n)*   called at /m,
        'the Lua that asked is named');
    unlike($output, qr/\e/, 'there are no colours in a file');
    # LuaJIT writes the end of a long path: "...lua-var/target/demo-1368/with//conf/demo.lua"
    unlike($output =~ s/\Q$ROOT\E|\.{3}\S+(?=\/demo\.lua:)//gr, qr/[^\n]{151}/,
        "no line is longer than 150 characters and the checkout's path");
    like($output, qr{1  /orders  502   header filter  handshake's ctx, freed request  own ctx, https://demo\.test  ok}, 'the table has the row of request 1');
    like($output, qr/without the module:\n.* leaves its request in ngx\.ctx, (\w+)\n.* freed request; \g1 was the request of the handshake\n/,
        'log lines: the pointer that is found is the one of the handshake');
    # Whether it is the same address is up to malloc(); t/request-address-reuse.t makes it so.
    like($output, qr/request 14 kept: stale request; \w+ was request 14, request 15 is at \w+\n/,
        'log lines: where the stale request was, and where the current one is');
    SKIP: {
        skip 'nginx is built without debug', 1 if `'$NGINX' -V 2>&1` !~ /--with-debug/;
        like($output, qr/\[debug\] lua_var: ngx\.ctx of request \d+\/\d+ restored, ref \d+/,
            'log lines: what the module does');
    }
    ok(!-e "$ROOT/target/demo-$run->{pid}", 'no file is left behind');
};

# A copy of the directory with one changed file, which demo has to complain about.
sub copy_of_demo ($name, $file, $change) {
    my $dir = "$WORK/$name/nginx-conf";
    make_path($dir);
    copy($_, $dir) for glob("$ROOT/nginx-conf/*");
    symlink "$ROOT/t", "$WORK/$name/t" or die "symlink: $!";
    chmod 0755, "$dir/demo";
    my $text = read_file("$dir/$file");
    my $old  = $text;
    $change->() for $text;
    isnt($text, $old, "$name: the change");
    write_file("$dir/$file", $text);
    return "$dir/demo";
}

subtest 'demo play notices what is wrong' => sub {
    my $run = start(copy_of_demo('unused', 'demo.lua',
        sub { s/^local has_module = .*/local has_module = false/m }), 'play');
    is(finish($run), 1, 'demo play exits with 1 when stale requests are not refused');
    like(output($run), qr/^   11 .*  WRONG$/m, 'the wrong row is marked');
    like(output($run), qr/NOT AS IT SHOULD BE: request 11, log: /, 'demo play says what is wrong');
    ok(!glob("$WORK/unused/target/demo-*"), 'no file is left behind');

    $run = start(copy_of_demo('fine', 'demo.conf', sub { s{location = /fine \{}{location = /gone \{}g }), 'play');
    is(finish($run), 1, 'demo play exits with 1 when an answer is wrong');
    like(output($run), qr/NOT AS IT SHOULD BE: request 2, with the module: .*404/, 'demo play says which request is wrong');

    $run = start(copy_of_demo('bad', 'demo.conf', sub { s/^events/no_such_directive;\nevents/m }), 'play');
    isnt(finish($run), 0, 'nginx does not start: not status 0');
    like(output($run), qr/unknown directive "no_such_directive"/, 'demo play says why nginx does not start');
    ok(!glob("$WORK/bad/target/demo-*"), 'no file is left behind when nginx does not start');

    {
        local $ENV{MODULE_SO} = "$WORK/no_such.so";
        $run = start($DEMO, 'play');
        isnt(finish($run), 0, 'no module: not status 0');
        like(output($run), qr/there is no \S+no_such\.so: run make/, 'demo says what to run');
    }
};

subtest 'an interrupted demo play leaves nothing behind' => sub {
    my $run = start($DEMO, 'play');
    my $dir = "$ROOT/target/demo-$run->{pid}";
    await('both nginx run', sub { -s "$dir/with/logs/nginx.pid" });
    my @pids = map { read_file("$dir/$_/logs/nginx.pid") =~ /(\d+)/ } qw(without with);
    kill TERM => $run->{pid};
    is(finish($run), 130, 'an interrupted demo exits with 130');
    ok(!-e $dir, 'no file is left behind');
    ok(!(grep { is_alive($_) } @pids), 'no nginx is left running');
};

subtest 'demo shows its usage' => sub {
    for my $arguments ([], ['dance'], ['play', 'minimal.conf'], ['serve', 'minimal.conf', 'demo.conf']) {
        my $run = start($DEMO, @$arguments);
        is(finish($run), 2, "status of demo @$arguments");
        like(output($run), qr/^usage: \S+demo play \| serve \[FILE\]$/m, 'demo shows its usage');
    }
    my $run = start($DEMO, 'serve', 'no-such.conf');
    isnt(finish($run), 0, 'demo serve fails without the file');
    like(output($run), qr/there is no \S+no-such\.conf/, 'demo serve says that there is no such file');
};

done_testing();
