# What the test harness has to notice: each small test file below runs on its own, with the
# implementation of Test::Nginx that this file would use, and has to fail, or to pass, for the
# reason given.

use v5.36;
use lib 't/lib';

use Cwd qw(getcwd);
use File::Temp qw(tempdir);
use NgxVarTest::File qw(read_file write_file);
use NgxVarTest::Process qw(spawn wait_until);
use POSIX ();
use Test::More;
use Time::HiRes qw(sleep);

use NgxVarTest::Env ();
use NgxVarTest::Nginx ();

# Without NgxVarTest, which would set the environment of the children.
my $is_upstream = grep { !ref && -f "$_/Test/Nginx/Socket.pm" } @INC;
my $root        = getcwd;
my $dir         = tempdir(DIR => "$root/target", CLEANUP => 1);

# Variables that `make test` may have set.
my $is_asan = $ENV{TEST_NGINX_USE_ASAN};
delete @ENV{ grep { /^TEST_NGINX_/ && $_ ne 'TEST_NGINX_BINARY' } keys %ENV };
$ENV{TEST_NGINX_LOAD_MODULES} = join ' ', NgxVarTest::Env::lua_modules();
# Here, tests fail, and wait that long.
$ENV{TEST_NGINX_TIMEOUT} = 3;

my $PROLOGUE = <<'END';
use lib 't/lib';
use NgxVarTest log_refused => 0;
use Test::Nginx::Socket::Lua 'no_plan';
END

sub start_file ($text, %options) {
    state $count = 0;
    my $file = $dir . '/' . ++$count . '.t';
    my ($setup, $data) = ($options{setup} // '', "__DATA__\n\n$text");
    write_file($file, "$PROLOGUE$setup\nrun_tests();\n" . ($options{end} // '') . "\n$data");

    local %ENV = (%ENV, %{ $options{env} // {} });
    return { pid => spawn([ $^X, $file ], "$file.out"), file => $file };
}

sub finish_file ($run) {
    waitpid $run->{pid}, 0;
    $run->{status} = $?;
    $run->{output} = read_file("$run->{file}.out");
    return $run;
}

sub run_file ($text, %options) { return finish_file(start_file($text, %options)) }

sub location ($lua) { return "--- config\nlocation = /t { content_by_lua_block { $lua } }\n" }

sub passes ($what, $text, %options) {
    my $run = run_file("=== TEST 1: x\n$text", %options);
    is($run->{status}, 0, "passes: $what") or diag($run->{output});
    return check_nothing_left($run);
}

# One of the failed tests has to match $why, so that the file did not fail for another reason.
sub fails ($what, $why, $text, %options) {
    my $run = run_file("=== TEST 1: x\n$text", %options);
    my @failed = $run->{output} =~ /^not ok \d+ - (.*(?:\n[^on#].*)*)/mg;
    # Not by the exit status, which upstream leaves at 0 after some failures.
    ok((grep { $_ =~ $why } @failed), "fails: $what")
        or diag($run->{output});
    return check_nothing_left($run);
}

sub bails_out ($what, $why, $text, %options) {
    my $run = run_file("=== TEST 1: x\n$text", %options);
    ok($run->{status} != 0 && $run->{output} =~ /^Bail out!.*$why/m, "bails out: $what")
        or diag($run->{output});
    return check_nothing_left($run);
}

# Neither files nor processes of a run may survive it.
sub check_nothing_left ($run) {
    my $servroot = "$root/target/servroot-$run->{pid}";
    my @running  = grep { (read_file($_) // '') =~ /\Q$servroot\E(?!\d)/ } glob '/proc/[0-9]*/cmdline';
    ok(!-e $servroot && !-e "$root/target/valgrind-$run->{pid}" && !@running, '  nothing left')
        or diag("$servroot @running");
    return $run;
}

my $GET  = "--- request\nGET /t\n";
my $HI   = location('ngx.say("hi")') . $GET;
my $LOGS = location('ngx.log(ngx.WARN, "some line") ngx.say("hi")') . $GET;

# First of all, that a good file passes.
passes('what is right', "$HI--- response_body\nhi\n");

# Responses.
fails('a wrong body', qr/response_body/, "$HI--- response_body\nhello\n");
fails('a body without its line end', qr/response_body/, "$HI--- response_body chomp\nhi\n");
fails('a body unlike', qr/response_body_like/, "$HI--- response_body_like: ^hello\n");
fails('a body like', qr/response_body_unlike/, "$HI--- response_body_unlike: ^h\n");
fails('a wrong code', qr/status code/, "$HI--- error_code: 201\n");
fails('a code that is not 200', qr/status code/, location('ngx.exit(404)') . $GET);
fails('a wrong header', qr/header Content-Type/,
    "$HI--- response_headers\nContent-Type: text/html\n");
fails('a missing header', qr/header X-A/, "$HI--- response_headers\nX-A: b\n");
fails('a header that is there', qr/header Content-Type/,
    "$HI--- response_headers\n! Content-Type\n");
fails('a header unlike', qr/header Content-Type/,
    "$HI--- response_headers_like\nContent-Type: .*html\n");
fails('raw headers unlike', qr/raw/, "$HI--- raw_response_headers_like: X-A\n");
fails('the second of several bodies', qr/response_body/,
    location('ngx.say(ngx.var.arg_n)') . qq{--- request eval\n["GET /t?n=1", "GET /t?n=2"]\n}
    . qq{--- response_body eval\n["1\\n", "3\\n"]\n});
fails('the second of the pipelined bodies', qr/response_body/,
    location('ngx.say(ngx.var.arg_n)')
    . qq{--- pipelined_requests eval\n["GET /t?n=1", "GET /t?n=2"]\n}
    . qq{--- response_body eval\n["1\\n", "3\\n"]\n});
fails('a timeout', qr/timed out/,
    location('ngx.sleep(2) ngx.say("hi")') . "$GET--- timeout: 0.2\n--- ignore_response\n",
    env => { TEST_NGINX_TIMEOUT => 1 });    # of qemu-user
fails('a body cut short', qr/response_body/,
    location('ngx.header.content_length = 5 ngx.print("hi") ngx.flush(true)')
    . "$GET--- response_body chomp\nhello\n");

# Logs.
fails('a missing line', qr/some other line/, "$LOGS--- error_log\nsome other line\n");
fails('one missing line of two', qr/some other line/,
    "$LOGS--- error_log\nsome line\nsome other line\n");
fails('a missing pattern', qr/\^some/, qq{$LOGS--- error_log eval\nqr/^some/\n});
fails('a forbidden line', qr/some line/, "$LOGS--- no_error_log\nsome line\n");
fails('a forbidden pattern', qr/so\.e/, "$LOGS--- no_error_log eval\nqr/so.e/\n");
fails('other lines than expected', qr/grep_error_log_out/,
    "$LOGS--- grep_error_log: some line\n--- grep_error_log_out\nsome line\nsome line\n");
fails('a line of an earlier round only', qr/once/,
    location('if not package.loaded.x then package.loaded.x = 1 ngx.log(ngx.WARN, "once") end')
    . "$GET--- error_log: once\n", setup => 'repeat_each(2);');
passes('the same when logs accumulate',
    location('if not package.loaded.x then package.loaded.x = 1 ngx.log(ngx.WARN, "once") end')
    . "$GET--- error_log: once\n", setup => 'repeat_each(2); check_accum_error_log();');
fails('a missing line of the access log', qr/unseen/, "$HI--- access_log: unseen\n");
fails('a missing line of the shutdown', qr/never/, "$HI--- shutdown_error_log\nnever\n");

# Starts.
fails('a must_die that lives', qr/die/, "$HI--- must_die\n");
fails('a must_die with another exit code', qr/exit code/,
    "--- config\nno_such_directive;\n--- must_die: 2\n");
fails('a must_die with another reason', qr/another/,
    "--- config\nno_such_directive;\n--- must_die\n--- error_log: another\n");

# Failures that no section asks for.
my $quiet = "$GET--- ignore_response\n";
my $segv  = location('os.execute("kill -SEGV " .. ngx.worker.pid()) ngx.sleep(1)');
fails('a worker killed by a signal', qr/\[alert\]/, $segv . $quiet, setup => 'master_on();');
fails('a single process killed by a signal', qr/died/, $segv . $quiet);
fails('an [alert]', qr/\[alert\]/,
    location('ngx.log(ngx.ALERT, "x") ngx.say("hi")') . $GET);
fails('an [emerg]', qr/\[emerg\]/,
    location('ngx.log(ngx.EMERG, "x") ngx.say("hi")') . $GET);
fails('an [alert] the block expects but does not allow', qr/\[alert\]/,
    location('ngx.log(ngx.ALERT, "x") ngx.say("hi")') . "$GET--- error_log\n[alert]\n");
fails('an [alert] other than the allowed', qr/\[alert\]/,
    location('ngx.log(ngx.ALERT, "x") ngx.say("hi")') . "$GET--- allow_alert\nanother\n");
fails('an [alert] of a must_die', qr/\[alert\]/,
    "--- http_config\ninit_by_lua_block { ngx.log(ngx.ALERT, 'x') error('y') }\n"
    . "--- config\n--- must_die\n");
my $last_words = "--- http_config\nexit_worker_by_lua_block { ngx.log(ngx.ALERT, 'bye') }\n";
fails('an [alert] of the shutdown', qr/TEST 1.*\[alert\]/, $last_words . $HI,
    setup => 'master_on();');
fails('an [alert] of the shutdown, before another block', qr/TEST 1.*\[alert\]/,
    "$last_words$HI\n=== TEST 2: y\n$HI", setup => 'master_on(); no_shuffle();');
fails('an [alert] of the shutdown, in HUP mode', qr/TEST 1.*\[alert\]/, $last_words . $HI,
    setup => 'use_hup();');

# A configuration that a reload refuses.
my $refused = "$HI\n=== TEST 2: y\n--- config\nno_such_directive;\n$GET";
fails('a refused reload', qr/./, $refused . "--- allow_alert\nno_such_directive\n--- error_code: 200\n",
    setup => 'use_hup(); no_shuffle();') if !$is_upstream;    # tries for minutes
passes('a reload that may be refused',
    "$refused--- reload_fails\n--- allow_alert\nno_such_directive\n--- response_body\nhi\n",
    setup => 'use_hup(); no_shuffle();');

# Mistakes in a test file.
bails_out('a module that is not there', 'run `make`', $HI,
    env => { TEST_NGINX_LOAD_MODULES => "$root/target/none.so" });
bails_out('an nginx that is not there', 'TEST_NGINX_BINARY', $HI,
    env => { TEST_NGINX_BINARY => "$root/target/none" });
bails_out('a variable that is not set', 'TEST_NGINX_NOT_SET',
    "--- config\n# \$TEST_NGINX_NOT_SET\n$GET");
bails_out('one expected result for two requests', 'arrays',
    "--- config\n--- request eval\n[\"GET /\", \"GET /\"]\n--- response_body: x\n");

# Selected blocks.
my $selected = "$HI\n=== TEST 2: y\n--- KEYWORD\n$HI\n=== TEST 3: z\n$HI";
for my $case ([ ONLY => 'TEST 2' ], [ SKIP => 'TEST 1 TEST 3' ], [ LAST => 'TEST 1 TEST 2' ]) {
    my ($keyword, $expected) = @$case;
    my $run = passes($keyword, $selected =~ s/KEYWORD/$keyword/r, setup => 'no_shuffle();');
    is(join(' ', $run->{output} =~ /^ok .*(TEST \d)/mg), $expected, "  the blocks of $keyword");
}

my $run = passes('curl', "$HI--- curl\n--- more_headers\nX-A: it's\n");
like($run->{output}, qr{^\# curl .*X-A: .*http://127\.0\.0\.1:\d+/t}m, '  the curl command');

# However a test file ends, it leaves nothing behind.
fails('a file that dies', qr/x - status code/,
    location('ngx.exit(500)') . $GET, end => 'die "on purpose";');
for my $case ([ 'INT' ], [ 'TERM' ], [ 'TERM', 'TERM', 'INT' ]) {
    my $run = start_file("=== TEST 1: x\n" . location('ngx.sleep(30)') . "$GET--- timeout: 30\n");
    my $pid_file = "$root/target/servroot-$run->{pid}/logs/nginx.pid";
    ok(wait_until(20, sub { -s $pid_file }), "@$case: nginx runs");
    for my $signal (@$case) {
        kill $signal => $run->{pid};
        sleep 0.05;
    }
    finish_file($run);
    isnt($run->{status}, 0, "@$case: the file fails");
    check_nothing_left($run);
}

# The reader of the output may end first, as with `prove | head`.  A pipe, so not spawn().
{
    my $file = "$dir/pipe.t";
    write_file($file, $PROLOGUE . "run_tests();\n__DATA__\n\n=== TEST 1: x\n"
        . location('ngx.sleep(0.3) ngx.say("hi")') . $GET);
    my $pid = open(my $out, '-|') // die "fork: $!";
    if ($pid == 0) {
        exec $^X, $file or POSIX::_exit(126);
    }
    readline $out;
    close $out;    # which also waits
    is($? & 127, 0, 'lost output: the file ends by itself');
    check_nothing_left({ pid => $pid });
}

# Suites side by side.
my @side_by_side = map {
    start_file("=== TEST 1: x\n" . location('ngx.sleep(0.3) ngx.say("' . $_ . '")')
        . "$GET--- response_body\n$_\n", end => 'diag("port ", server_port());')
} 1 .. 4;
my %ports;
for my $run (map { finish_file($_) } @side_by_side) {
    is($run->{status}, 0, 'passes: one of four at once') or diag($run->{output});
    $ports{$1}++ if $run->{output} =~ /port (\d+)/;
}
is(keys %ports, 4, '  each has a port of its own');

SKIP: {
    skip 'AddressSanitizer does not run in valgrind', 2 if $is_asan;
    skip 'qemu-user does not run in valgrind', 2 if NgxVarTest::Nginx->is_emulated;
    skip 'valgrind is not installed', 2 if !grep { -x "$_/valgrind" } split /:/, $ENV{PATH};
    fails('memory that valgrind finds lost', qr/valgrind/,
        location('local ffi = require "ffi" ffi.cdef "void *malloc(size_t);" '
            . 'ffi.C.malloc(1234) ngx.say("hi")') . $GET, env => { TEST_NGINX_USE_VALGRIND => 1 });
}

# Upstream prints the slope and leaves it to the reader, and needs weighttp.
if (!$is_upstream) {
    my %leak = (env => { TEST_NGINX_CHECK_LEAK => 1 });
    fails('memory that grows', qr/memory grows/,
        location('kept = kept or {} package.loaded.kept = package.loaded.kept or {} '
            . 'table.insert(package.loaded.kept, string.rep("x", 10000) .. math.random()) '
            . 'ngx.say("hi")') . $GET, %leak);
    SKIP: {
        skip 'AddressSanitizer keeps what is freed', 3 if $is_asan;
        my $run = passes('memory that does not grow', $HI, %leak);
        like($run->{output}, qr/^# LeakTest: k=-?[\d.]+$/m, '  the slope');
    }
    bails_out("a section that only upstream has", 'tcp_listen', "$HI--- tcp_listen: 1\n");
}

done_testing();
