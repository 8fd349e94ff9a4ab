# The gdb commands that the module carries (src/gdb), on core dumps of workers that a bad
# FFI call killed, and on a worker that runs.  What lua-var bt prints is compared with
# debug.traceback, called in the line of the crash.

use v5.36;
use lib 't/lib';

use File::Basename qw(basename);
use File::Copy qw(copy);
use List::Util qw(first);
use NginxServer;
use NgxVarTest::File qw(read_file write_file);
use NgxVarTest::Nginx ();
use NgxVarTest::Process qw(spawn wait_until);
use Test::More;
use TestingModule ();

NginxServer->skip_unless_plain;
plan skip_all => 'gdb sees qemu, not the nginx that it runs' if NgxVarTest::Nginx->is_emulated;

my $GDB = first { -x } map { "$_/gdb" } split /:/, $ENV{PATH};
plan skip_all => 'gdb is not installed' if !$GDB;
plan skip_all => 'gdb has no Python here'
    if qx{$GDB -nx -batch -ex 'python print(6 * 7)' 2>&1} !~ /^42$/m;

my $ROOT   = NgxVarTest::Env::root();
my $PORT   = NginxServer->port;
my $MODULE = NginxServer->module;

# nginx loads a copy, so that it can be replaced by another build.
my $nginx   = NginxServer->new;
my $PREFIX  = $nginx->root;
my $COPY    = "$PREFIX/module.so";
my @modules = (NginxServer->other_modules, defined $MODULE ? $COPY : ());

# Lua that crashes, by location.
my %CRASHES = (
    main      => 'crash()',
    coroutine => 'coroutine.wrap(function() crash() end)()',
    timer     => 'ngx.timer.at(0, function() crash() end) ngx.sleep(10)',
    error     => 'xpcall(function() error("no") end, function() crash() return 1 end)',
    sort      => 'table.sort({ 3, 2, 1 }, function(a, b) crash() return a < b end)',
    vararg    => 'local function any(...) crash() return ... end any(any, 1, 2, 3)',
    tail      => 'local function tail() return crash() end tail()',
    iterator  => 'for _ in function() crash() return nil end do break end',
    finalizer => 'do local u = newproxy(true)
                     getmetatable(u).__gc = function() crash() end end
                  collectgarbage()',
    compare   => 'local m = setmetatable({}, { __lt = function() crash() return true end })
                  local _ = m < m',
    deep      => 'local function deep(n) if n == 0 then crash() return 0 end
                     local m = deep(n - 1) return m end deep(8)',
    string    => 'assert(loadstring("crash() return 1"))()',
);

# Calls through named functions, a field, a metamethod and pcall.  The traceback and the
# crash are in one line.
my $CRASH = <<'END';
    local function tell(text)
        local out = io.open(PREFIX .. "/logs/told", "w")
        out:write(text)
        out:close()
    end

    local function innermost(p) tell(debug.traceback()) local n = ffi.C.strlen(p)
        return n
    end

    local function middle(p, ...)
        local t = { field = innermost }
        local n = t.field(p)
        return n
    end

    local object = setmetatable({}, { __index = function(t, k)
        local n = middle(ffi.cast("const char *", 8), 1, 2)
        return n
    end })

    function crash()
        local ok, n = pcall(function() local n = object.field return n end)
        return n
    end

    function compiled()
        local good, bad = ffi.new("char[4]", "abc"), ffi.cast("const char *", 8)
        local texts = ffi.new("const char *[1000]")
        for i = 0, 999 do texts[i] = i < 500 and good or bad end
        local n = 0
        for i = 0, 999 do
            n = n + tonumber(ffi.C.strlen(texts[i]))
        end
        return n
    end
END

my $locations = join '', map { <<"END" } sort keys %CRASHES;
    location = /$_ { content_by_lua_block { $CRASHES{$_} ngx.say("alive") } }
END

copy($MODULE, $COPY) or die "$COPY: $!" if $MODULE;
mkdir "$PREFIX/cores";
$nginx->configure(
    modules => \@modules,
    main    => "worker_rlimit_core 1000m;\nworking_directory $PREFIX/cores;",
    http    => <<"END");
init_by_lua_block {
    PREFIX = "$PREFIX"
    ffi = require "ffi"
    ffi.cdef "size_t strlen(const char *);"
    ngxvar = require "resty.ngxvar"
    KEPT = {}
$CRASH
}
server {
    listen 127.0.0.1:$PORT;
    location = /wait {
        content_by_lua_block {
            ngx.ctx.mine = 1
            ngx.log(ngx.WARN, "waits: ", tostring(ngxvar.request()))
            ngx.sleep(60)
        }
    }
    location = /wait_in_subrequest {
        content_by_lua_block { ngx.location.capture("/wait") }
    }
    location /failed/ {
        error_page 503 \@page;
        return 503;
    }
    location \@page {
        content_by_lua_block {
            ngx.log(ngx.WARN, "failed: ", tostring(ngxvar.request()))
            for n = 1, 65 do ngxvar.fetch("before", KEPT.handle) end
            ngx.sleep(0.01)
            local value = ngxvar.fetch("scheme", KEPT.handle)
            ngx.sleep(0.01)
            value = ngxvar.fetch("a\\b", ffi.cast("void *", 4096))
            crash()
        }
    }
    location = /compiled { content_by_lua_block { compiled() } }
    location = /own_vm {
        lua_code_cache off;
        content_by_lua_block { crash() }
    }
    # LuaJIT's own, which lua-nginx-module keeps under these names
    location = /native {
        content_by_lua_block {
            local function resumes() local n = coroutine._wrap(function() crash() end)() return n end
            resumes()
        }
    }
    location = /suspended {
        content_by_lua_block {
            local co = coroutine.create(function(n)
                local m = coroutine.yield(n)
                return m
            end)
            SUSPENDED = co
            coroutine.resume(co, 1)
            local out = io.open(PREFIX .. "/logs/told", "w")
            out:write(tostring(co), "\\n", debug.traceback(co))
            out:close()
            local n = ffi.C.strlen(ffi.cast("const char *", 8))
        }
    }
    location = /handle {
        content_by_lua_block {
            KEPT.handle = ngxvar.request()
            ngx.say(tostring(KEPT.handle))
        }
    }
$locations
}
END
$nginx->start;

# ---- gdb -------------------------------------------------------------------------------

# gdb's output for these commands, on a core dump or with other arguments.
sub gdb ($arguments, @commands) {
    my $output = "$PREFIX/logs/gdb";
    # No core dump of gdb itself, which may crash on a damaged one.
    my @command = ('sh', '-c', 'ulimit -c 0; exec "$0" "$@"', $GDB, '-nx', '-batch', '-iex', 'set debuginfod enabled off',
        '-iex', "add-auto-load-safe-path $PREFIX", '-iex', "add-auto-load-safe-path " . binary(),
        map({ ('-ex', $_) } @commands), @$arguments);
    waitpid spawn(\@command, $output), 0;
    return read_file($output);
}

sub binary { return $ENV{TEST_NGINX_BINARY} }

# The same with the commands from the sources, for when gdb lacks the module file.
sub sources { return map { "source $ROOT/src/gdb/$_.py" } qw(lua_var lua_stack) }

sub on_core ($core, @commands) { return gdb([ binary(), $core ], @commands) }

sub is_no_traceback ($said, $name = 'no error of Python') {
    unlike($said, qr/Traceback|Python Exception|Error while executing|Error occurred in Python/, $name);
    return;
}

# The lines of a stack traceback, without "stack traceback:".
sub frames ($text) { return join '', map { "$_\n" } $text =~ /^(\t.*?)$/mg }

# ---- Core dumps ------------------------------------------------------------------------

# gdb writes them where core_pattern puts them elsewhere, or with GDB_T_ATTACH=1.
my $pattern    = read_file('/proc/sys/kernel/core_pattern');
my $is_taken   = $pattern =~ m{^[|/]} || $ENV{GDB_T_ATTACH};
my $can_attach = gdb([ '-p', $nginx->await_workers ]) !~ /ptrace: /;
plan skip_all => "core dumps are taken by $pattern, and no process may be traced"
    if $is_taken && !$can_attach;

# Requests a URI that kills the worker; returns the core dump.
sub core_of ($uri, $name = $uri =~ s{\W}{}gr) {
    my $core = "$PREFIX/logs/$name.core";
    my ($worker) = $nginx->await_workers;
    unlink glob("$PREFIX/cores/*"), map { "$PREFIX/logs/$_" } qw(told attached);
    my $gdb = $is_taken ? attach($worker, $core) : undef;
    if ($uri =~ m{^/}) {
        eval { $nginx->get($uri) };
    }
    else {
        kill $uri, $worker;
    }
    waitpid $gdb, 0 if $gdb;
    wait_until(30, sub { !kill 0, $worker }) or die "$uri does not end the worker\n";
    if (!$is_taken) {
        # The core is complete when the master has reaped the worker.
        my $left = (glob "$PREFIX/cores/*")[0] // die "$uri leaves no core dump\n";
        rename $left, $core or die "$core: $!";
    }
    # await() gives up when a worker dies.
    wait_until(30, sub { grep { $_ != $worker } $nginx->workers });
    rename $nginx->log_file, $nginx->log_file . ".$name";
    $nginx->signal('USR1');
    wait_until(30, sub { -e $nginx->log_file });
    return $core;
}

# Starts gdb, which waits for the worker's death and then writes the core dump.
sub attach ($worker, $core) {
    my $output = "$PREFIX/logs/attached";
    my $pid = spawn([ $GDB, '-nx', '-batch', '-iex', 'set auto-load no', '-p', $worker,
            '-ex', 'echo attached\n', '-ex', 'continue', '-ex', "generate-core-file $core",
            '-ex', 'kill' ], $output);
    wait_until(30, sub { read_file($output) =~ /^attached/m }) or die "gdb cannot attach\n";
    return $pid;
}

sub told { return read_file("$PREFIX/logs/told") }

sub log_of ($name) { return read_file($nginx->log_file . ".$name") }

# ---- Tests -----------------------------------------------------------------------------

my %cores = map { ($_ => { core => core_of("/$_"), told => told() }) } sort keys %CRASHES;
my $main  = $cores{main}{core};

for my $name (sort keys %CRASHES) {
    subtest "lua-var bt: $name" => sub {
        my ($frames, $said) = backtrace($cores{$name}{core});
        my $told = frames($cores{$name}{told});
        # Since November 2025 a finalizer has a thread of its own, and debug.traceback shows only that.
        if ($name eq 'finalizer' && $told !~ /'collectgarbage'/) {
            ($frames, my $outer) = map { frames($_) } split /^which was resumed or called by\n/m, $said;
            like($outer, qr/\A\t\[C\]: in function 'collectgarbage'\n/, 'the thread that ran the collector follows');
        }
        like($frames, qr/\A\t\[C\]: in function 'strlen'\n/, 'the first frame is the C function that crashed');
        is($frames =~ s/\A.*\n//r, $told, 'the other frames are those of debug.traceback');
        is_no_traceback($said);
    };
}

# bc_cfunc_int and bc_cfunc_ext in LuaJIT's global state: two instructions with 20 slots.
sub opcode_of_funcc ($data) {
    return unpack 'C', ($data =~ /((?:[\x5f\x66]\x14\0\0){2})/)[0] // die "no FUNCC\n";
}

# A core dump in which FUNCC and the opcodes before it, from FUNCF on, have other numbers.
sub with_funcc ($data, $new, $changes_functions = 1) {
    my $old = opcode_of_funcc($data);
    my ($before, $after) = map { pack('L<', 20 << 8 | $_) x 2 } $old, $new;
    $data =~ s/\Q$before\E/$after/g;
    # FUNCF or FUNCV, as it is or compiled, is the first instruction of each Lua function, which
    # is 104 bytes behind the start of its GCproto, whose type at the offset 9 is 7.
    my $at = -1;
    while ($changes_functions && ($at = index $data, "\7", $at + 1) >= 0) {
        next if $at % 8 != 1 || $at + 96 > length $data;
        my $opcode = unpack 'C', substr $data, $at + 95, 1;
        substr $data, $at + 95, 1, pack 'C', $opcode - $old + $new if $old - 6 <= $opcode && $opcode < $old;
    }
    return $data;
}

# The frames that lua-var bt prints, and all of its output.
sub backtrace ($core, $command = 'lua-var bt') {
    my $said = on_core($core, $command);
    my ($stack) = $said =~ /^(lua_State 0x.*)/ms;
    return (frames($stack // $said), $said);
}

subtest 'lua-var bt: it knows the opcodes before and since July 2026, and no others' => sub {
    plan skip_all => 'FUNCC is not found by its bytes in a core dump of AddressSanitizer'
        if $ENV{TEST_NGINX_USE_ASAN};
    my ($frames) = backtrace($main);
    my $funcc    = opcode_of_funcc(read_file($main));
    my $core     = "$PREFIX/logs/opcodes.core";
    write_file($core, with_funcc(read_file($main), $funcc == 95 ? 102 : 95));
    is((backtrace($core))[0], $frames, 'with the opcodes of the other LuaJIT the stack is the same');
    write_file($core, with_funcc(read_file($main), 98));
    my ($nothing, $said) = backtrace($core);
    is($nothing, '', 'with unknown opcodes there is no stack');
    like($said, qr/^this LuaJIT has other instructions than .*: the opcode of FUNCC is 98$/m, 'but a message');
    write_file($core, with_funcc(read_file($main), $funcc == 95 ? 102 : 95, 0));
    like((backtrace($core))[0], qr/\A\t\(the frames below are not known: an? (?:function|instruction) that .*\n\z/,
        'nor is there one if functions begin with other instructions than FUNCF and FUNCV');
    is_no_traceback($said);
};

subtest 'lua-var bt: for compiled code it shows the stack at its entry' => sub {
    my ($frames, $said) = backtrace(core_of('/compiled'));
    my ($note, $top) = split /\n/, $frames;
    like($note, qr/^\t\(compiled code was running, trace \d+, which starts at init_by_lua\S+:\d+ in function </, 'a note says that compiled code was running');
    like($note, qr/it writes no frames, so that this is the stack at its entry\)$/, 'the note says that the stack is that at its entry');
    like($top, qr/^\tinit_by_lua\(nginx\.conf:\d+\):\d+: in function 'compiled'$/, 'the first frame is the compiled function');
    is_no_traceback($said);
};

subtest 'lua-var bt: with lua_code_cache off it shows the VM of the request' => sub {
    my ($frames, $said) = backtrace(core_of('/own_vm'));
    is($frames =~ s/\A.*\n//r, frames(told()), 'the frames are those of debug.traceback');
    is_no_traceback($said);
};

subtest 'lua-var bt: it shows a coroutine and the one that resumed it' => sub {
    my $core = core_of('/native');
    plan skip_all => 'there is none in this lua-nginx-module' if log_of('native') =~ /'_wrap'/;
    my ($inner, $outer) = split /^which was resumed or called by\n/m, (backtrace($core))[1];
    is(frames($inner) =~ s/\A.*\n//r, frames(told()), 'the coroutine has its own frames');
    like(frames($outer), qr/\A\t\[.*\n\t.* in function 'resumes'\n/, 'the coroutine that resumed it has its frames');
};

subtest 'lua-var bt: it shows a waiting coroutine by its address' => sub {
    my $core = core_of('/suspended');
    my ($state) = told() =~ /^thread: (0x\w+)/;
    my ($frames, $said) = backtrace($core, "lua-var bt $state");
    is($frames, frames(told()), 'the frames are those of debug.traceback');
    is_no_traceback($said);
    $said = on_core($core, 'lua-var bt 0x1000', 'lua-var bt nothing', 'lua-var bt 1 2');
    like($said, qr/^0x1000 is not a lua_State: /m, 'an address of no lua_State is refused');
    is_no_traceback($said);
};

subtest 'all commands say when no Lua was running' => sub {
    my $core = core_of('SEGV', 'idle');
    my $said = on_core($core, 'lua-var bt', 'lua-var requests', 'lua-var refusals');
    like($said, qr/^no Lua was running$/m, 'lua-var bt');
    like($said, qr/^0 live requests$/m, 'lua-var requests');
    like($said, qr/^no refusals$/m, 'lua-var refusals');
    is_no_traceback($said);
};

subtest 'lua-var requests lists the live ones, and lua-var handle finds one' => sub {
    # One request before, so that a handle has ended.
    like($nginx->get('/handle')->{content}, qr{^request: 0/1}, 'the handle of a request that ends is known');
    my @waiting = map { my $client = NgxVarTest::Client->new($PORT); $client->send($_); $client }
        qw(/wait /wait_in_subrequest);
    wait_until(30, sub { 2 == (() = $nginx->log_text =~ /waits: /g) });
    my $core = core_of('/failed/%22', 'failed');
    my $log  = log_of('failed');

    my ($listed) = on_core($core, 'lua-var requests') =~ /^(\d+ live requests\n.*)/ms;
    my @lines = split /\n/, $listed;
    is(shift @lines, '4 live requests', 'lua-var requests counts the live requests');
    my @waits  = $log =~ /^.* (\*\d+) .*waits: (request: \d+\/\d+)/mg;
    my @failed = $log =~ /^.* (\*\d+) .*failed: (request: \d+\/\d+)/m;
    my ($of_main) = map { /^(request: \S+) .*"\/wait_in_subrequest"/ ? $1 : () } @lines;
    like($lines[0], qr{^\Q$waits[1]\E at 0x\w+, \Q$waits[0]\E, "/wait", ngx\.ctx ref \d+$}, 'lua-var requests shows one that waits');
    like($lines[1], qr{^request: \S+ at (0x\w+), \Q$waits[2]\E, "/wait_in_subrequest", no ngx\.ctx$}, 'lua-var requests shows one whose subrequest waits');
    my ($parent) = $lines[1] =~ /at (0x\w+)/;
    like($lines[2], qr{^\Q$waits[3]\E at 0x\w+, \Q$waits[2]\E, "/wait", subrequest of $parent, ngx\.ctx ref \d+$},
        'its subrequest');
    like($lines[3], qr{^\Q$failed[1]\E at 0x\w+, \Q$failed[0]\E, "/failed/\\x22", came through error_page, no ngx\.ctx$},
        'one that came through error_page');
    like(on_core($core, 'lua-var bt'), qr/^lua_State 0x\w+, for \Q$lines[3]\E$/m, 'lua-var bt says whose Lua was running');

    my ($handle) = $failed[1] =~ m{(\d+/\d+)};
    my ($slot0) = grep { m{^request: 0/} } @lines;
    like(on_core($core, "lua-var handle $handle"), qr/^live: \Q$lines[3]\E$/m, 'lua-var handle shows a live request');
    like(on_core($core, "lua-var handle request: $handle"), qr/^live: /m, 'lua-var handle takes what tostring() writes');
    like(on_core($core, 'lua-var handle 0/1'),
        qr{^ended \d+\.\d{3}s ago; 1 request had the slot after it\nin the slot now: \Q$slot0\E$}m, 'one that has ended');
    like(on_core($core, 'lua-var handle 0/9'), qr{^no request of this worker has had the handle 0/9, the slot's generation is 3$}m,
        'one of another worker');
    like(on_core($core, 'lua-var handle 1000/1'), qr{^no request of this worker has had the handle 1000/1$}m,
        'and with a slot that was not used');
    my ($refusals) = on_core($core, 'lua-var refusals') =~ /^(refusals of .*)/ms;
    my ($how_many, @refusals) = split /\n/, $refusals;
    is($how_many, 'refusals of 3 culprits', 'lua-var refusals shows the culprits');
    my $when  = qr/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}/;
    my $where = qr/content_by_lua\(nginx\.conf:\d+\)/;
    my $why   = qr{\(stale request\), in content_by_lua\*};
    my $while = qr{while "GET /failed/%22 HTTP/1\.1" was running$};
    like($refusals[0], qr{^$when 1 times: $where:7 read "a\\x08" $why, pointer 0x1000, $while}, 'the last one comes first');
    like($refusals[1], qr{^$when 1 times: $where:5 read "scheme" $why, request 0/1, $while}, 'the one before');
    like($refusals[2], qr{^$when 65 times: $where:3 read "before" $why, request 0/1, $while}, 'one that was refused often');

    for my $wrong ('9999999/1', '0/2', '0/4294967297') {
        like(on_core($core, "lua-var handle $wrong"), qr/^no request ever has this handle: /m, "lua-var handle $wrong: no request ever has it");
    }
    like(on_core($core, 'lua-var handle'), qr{^lua-var handle ID/GENERATION}m, 'lua-var handle without an argument shows its usage');
};

subtest 'the commands work on a running worker' => sub {
    plan skip_all => 'no process may be traced here' if !$can_attach;
    my $waiting = NgxVarTest::Client->new($PORT);
    $waiting->send('/wait');
    $nginx->await_log(qr/waits: /);
    my ($worker) = $nginx->await_workers;
    my $said = gdb([ '-p', $worker ], 'lua-var requests', 'lua-var bt');
    like($said, qr{^1 live request\nrequest: 0/1 at 0x\w+, \*\d+, "/wait", ngx\.ctx ref \d+$}m, 'lua-var requests');
    like($said, qr/^no Lua was running$/m, 'lua-var bt');
    is_no_traceback($said);
};

subtest 'gdb loads the commands from the module file' => sub {
    my $said = on_core($main, 'help lua-var', 'help lua-var bt');
    like($said, qr/^lua-var $_ -- /m, "lua-var $_ has its line of help") for qw(bt handle refusals requests);
    like($said, qr/^lua-var bt \[LUA_STATE\]$/m, 'lua-var bt has its usage');
    is_no_traceback($said);
    $said = gdb([ '-iex', 'set auto-load no', binary(), $main ], sources(), 'lua-var bt');
    like($said, qr/'strlen'/, 'the commands can be loaded from the sources');
};

SKIP: {
    skip 'the module is linked in', 2 if !$MODULE;
    subtest 'a stripped module file still carries the commands' => sub {
        for my $how ('--strip-debug', '--strip-unneeded --remove-section=.comment --remove-section=.note') {
            is(system("strip $how -o $COPY $MODULE"), 0, "strip $how");
            my $said = on_core($main, 'lua-var bt', 'lua-var requests');
            like($said, qr/'strlen'.*^1 live request$/ms, 'lua-var bt and lua-var requests work');
        }
        copy($MODULE, $COPY) or die "$COPY: $!";
    };

    subtest 'the commands say when the file is of another build' => sub {
        # The testing build, if there is one, and a copy whose symbol is elsewhere.
        my $testing = TestingModule::file();
        my $at    = hex((qx{nm -D $MODULE} =~ /^(\w+) \w ngx_http_lua_var_debug$/m)[0]);
        my $other = read_file($MODULE);
        my $places = $other =~ s/\Q${\ pack 'Q<', $at}\E/pack 'Q<', $at + 64/ge;
        ok($places, 'the symbol can be moved');
        write_file("$PREFIX/other.so", $other);
        for my $file (grep { -e } "$PREFIX/other.so", $testing) {
            copy($file, $COPY) or die "$COPY: $!";
            # gdb 14 and later compares build ids and ignores the file.
            my $said = on_core($main, sources(), 'lua-var requests', 'lua-var handle 0/1');
            is(() = $said =~ /^(?:this is another build: |.*gdb does not have the file of this build: )/mg, 2,
                basename($file) . ': a message');
            is_no_traceback($said);
        }
        copy($MODULE, $COPY) or die "$COPY: $!";
    };
}

subtest 'a damaged core dump gets a message instead of an exception' => sub {
    my $whole = read_file($main);
    my $size  = length $whole;
    srand 1;
    my %damages = (
        map({ ("the first $_ percent" => substr $whole, 0, $size * $_ / 100) } 2, 20, 50, 80, 95, 99),
        map({ ("noise, $_" => noise($whole)) } 1 .. 4),
    );
    for my $damage (sort keys %damages) {
        my $damaged = "$PREFIX/logs/damaged.core";
        write_file($damaged, $damages{$damage});
        my $said = on_core($damaged, sources(), 'lua-var requests', 'lua-var handle 0/1', 'lua-var refusals',
            'lua-var bt');
        is_no_traceback($said, $damage);
        my ($says) = $said =~ /^#0[^\n]*\n(?:\d+\t[^\n]*\n)?(.*)/ms;
        note $says // $said;
    }
};

# Overwrites one page in sixteen behind the headers.  With more, gdb itself gives up.
sub noise ($data) {
    my $pages = length($data) / 4096;
    for my $page (4 .. $pages - 1) {
        next if rand(16) >= 1;
        substr $data, $page * 4096 + 8 * int rand(512), 8, pack 'L2', rand 2**32, rand 2**32 for 1 .. 64;
    }
    return $data;
}

$nginx->stop;
done_testing;
