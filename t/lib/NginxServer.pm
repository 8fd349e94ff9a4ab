package NginxServer;

# An nginx of a test's own, for what a Test::Nginx block cannot do: reload and
# upgrade it, look at its workers, load other modules.
#
#     use lib 't/lib';
#     use NginxServer;
#     use Test::More;
#
#     my $nginx = NginxServer->new(http => 'server { listen 127.0.0.1:PORT; ... }');
#     $nginx->start;
#     my $response = $nginx->get('/t');       # HTTP::Tiny's
#     $nginx->stop_cleanly;                   # with a test that nothing was amiss
#
# Everything it makes is below target/ and goes at the end.  Processes are known
# by their ids, and every wait is for a condition.

use v5.36;

use File::Path qw(make_path remove_tree);
use HTTP::Tiny ();
use POSIX qw(WNOHANG);
use Test::More ();
use Time::HiRes qw(sleep time);

use NgxVarTest::Env ();

use constant TIMEOUT => 30;    # seconds; only a failing test waits that long

my $owner_pid = $$;
my $count     = 0;
my @servers;

# A killed test runs its END blocks only if the signal becomes an exit.
for my $signal (qw(INT TERM HUP)) {
    $SIG{$signal} //= sub { exit 1 };
}

# A test file that has Test::Nginx too has all this done by NgxVarTest.
my $is_alone = !$INC{'NgxVarTest.pm'};
NgxVarTest::Env::set_defaults() if $is_alone;

END {
    if ($$ == $owner_pid) {
        local ($?, $!);
        __PACKAGE__->kill_servers;
        NgxVarTest::Env::remove_files() if $is_alone;
    }
}

# The modules that tests load, in the usual order: NDK, Lua, this one.
sub modules ($class) { return split ' ', $ENV{TEST_NGINX_LOAD_MODULES} }

# Port number N of this process, 0 to 9.
sub port ($class, $n = 0) {
    return $n ? $ENV{"TEST_NGINX_PORT$n"} : $ENV{TEST_NGINX_SERVER_PORT};
}

# What these tests look at does not depend on how the others are run.
sub skip_unless_plain ($class) {
    for my $mode (qw(USE_HUP USE_VALGRIND CHECK_LEAK)) {
        Test::More::plan(skip_all => "runs its nginx itself, which TEST_NGINX_$mode does not change")
            if $ENV{"TEST_NGINX_$mode"};
    }
    return;
}

# Options: http, main, events (texts of configuration); modules, workers,
# master (on, off), log_level.
sub new ($class, %options) {
    my $root = NgxVarTest::Env::root() . "/target/servroot-$$-" . ++$count;
    my $self = bless {
        modules   => [ $class->modules ],
        workers   => 1,
        master    => 'on',
        log_level => 'info',
        main      => '',
        events    => '',
        http      => '',
        %options,
        root   => $root,
        log_at => 0,
    }, $class;
    remove_tree($root);
    make_path("$root/conf", "$root/logs", "$root/html");
    push @servers, $self;
    $self->configure;
    return $self;
}

sub root    ($self) { return $self->{root} }
sub log_file ($self) { return "$self->{root}/logs/error.log" }

# Writes the configuration, with these options changed.
sub configure ($self, %options) {
    %$self = (%$self, %options);
    my $root  = $self->{root};
    my $load  = join '', map { "load_module $_;\n" } @{ $self->{modules} };
    my $user  = $> == 0 ? "user root;\n" : '';
    my $paths = join '', map { "    ${_}_temp_path $root/$_;\n" }
        qw(client_body proxy fastcgi scgi uwsgi);
    my $http = $self->{http} eq '' ? '' : <<~"END";
        http {
        $paths
            access_log off;
            default_type text/plain;
        $self->{http}
        }
        END

    _write("$root/conf/nginx.conf", <<~"END");
        worker_processes $self->{workers};
        master_process $self->{master};
        daemon on;
        pid $root/logs/nginx.pid;
        error_log $root/logs/error.log $self->{log_level};
        $user$load$self->{main}
        events {
            worker_connections 256;
            accept_mutex off;
            $self->{events}
        }
        $http
        END
    return;
}

# nginx -t: its exit status and what it says.
sub test ($self) { return $self->_run('-t') }

# The binary with these arguments: its exit status and what it writes.
sub _run ($self, @arguments) {
    my $output = "$self->{root}/logs/output";
    my $pid    = fork // die "fork: $!";
    if ($pid == 0) {
        POSIX::setsid();
        open STDIN,  '<',  '/dev/null' or POSIX::_exit(126);
        open STDOUT, '>',  $output     or POSIX::_exit(126);
        open STDERR, '>&', \*STDOUT    or POSIX::_exit(126);
        my $nginx = $ENV{TEST_NGINX_BINARY};
        { exec $nginx, '-p', "$self->{root}/", '-e', $self->log_file,
            '-c', "$self->{root}/conf/nginx.conf", @arguments }
        POSIX::_exit(127);
    }
    waitpid $pid, 0;
    return ($?, _read($output));
}

# Starts nginx; dies with what it says if it does not start.
sub start ($self) {
    my ($status, $output) = $self->_run;
    die "nginx does not start: $output" if $status;
    $self->await_pid;
    return $self;
}

# The master's pid, or that of the only process.
sub pid ($self) { return $self->{pid} }

# Waits for a pid file, and takes the process for the server's.
sub await_pid ($self) {
    my $file = "$self->{root}/logs/nginx.pid";
    $self->{pid} = $self->await('the pid file', sub { _read($file) =~ /^(\d+)\n/ ? $1 : 0 });
    $self->{pids}{ $self->{pid} } = 1;
    return $self->{pid};
}

# Pids of the workers that take connections, of this master or of another.
sub workers ($self, $master = $self->{pid}) {
    my @workers = grep { _title($_) =~ /worker process\s*$/ } children($master);
    $self->{pids}{$_} = 1 for @workers;
    return @workers;
}

# The same, once there are as many as configured.
sub await_workers ($self, $master = $self->{pid}) {
    $self->await("$self->{workers} workers",
        sub { $self->workers($master) == $self->{workers} });
    return $self->workers($master);
}

sub signal ($self, $signal, $pid = $self->{pid}) {
    kill $signal, $pid or die "kill $signal $pid: $!";
    return;
}

# HUP, and waits until only new workers take connections.  The old ones may have
# requests left.  Returns their pids.
sub reload ($self) {
    my %old = map { $_ => 1 } $self->workers;
    $self->signal('HUP');
    $self->await('new workers', sub {
        my @now = $self->workers;
        return @now == $self->{workers} && !grep { $old{$_} } @now;
    });
    return keys %old;
}

# USR2: the binary, and the configuration as it is now, in processes of their
# own.  From then on their master is the server's.
sub upgrade ($self) {
    my ($old, $file) = ($self->{pid}, "$self->{root}/logs/nginx.pid");
    $self->signal('USR2');
    $self->await('another master', sub {
        return -e "$file.oldbin" && _read($file) =~ /^(\d+)\n/ && $1 != $old;
    });
    $self->await_pid;
    return;
}

# QUIT to the only worker. The master makes another one, without a reload; what
# connects meanwhile is served by it.
sub renew_worker ($self) {
    my ($old) = $self->await_workers;
    $self->signal(QUIT => $old);
    $self->await_end($old);
    return;
}

sub await_end ($self, @pids) {
    $self->await("the end of @pids", sub { !grep { is_alive($_) } @pids });
    return;
}

# One request, on a connection of its own.
sub get ($self, $path, %options) {
    my $port = delete $options{port} // $self->port;
    state $http = HTTP::Tiny->new(keep_alive => 0, timeout => TIMEOUT, max_redirect => 0);
    return $http->request(delete $options{method} // 'GET',
        "http://127.0.0.1:$port$path", \%options);
}

# The lines of the error log, all of them or those since the last call.
sub log_lines ($self) { return split /^/, _read($self->log_file) }

sub new_log_lines ($self) {
    my @lines = $self->log_lines;
    my @new   = @lines[ $self->{log_at} .. $#lines ];
    $self->{log_at} = @lines;
    return @new;
}

# Waits for a line of the log that matches.
sub await_log ($self, $pattern) {
    return $self->await("a line that matches $pattern in the log",
        sub { (grep { $_ =~ $pattern } $self->log_lines)[0] });
}

# QUIT, and waits until everything has ended, but not for ever.
sub stop ($self) {
    my @pids = ($self->{pid}, children($self->{pid}));
    kill QUIT => $self->{pid};
    my $deadline = time + TIMEOUT;
    sleep 0.01 while time < $deadline && grep { is_alive($_) } @pids;
    $self->{pids} = {};
    return;
}

# The same, and one test: nothing in the log is as bad as an alert, unless a
# pattern allows it.
sub stop_cleanly ($self, %options) {
    $self->stop;
    my @bad = grep { /\[(?:alert|emerg)\]/ } $self->log_lines;
    if (my $allowed = $options{allow}) {
        @bad = grep { $_ !~ $allowed } @bad;
    }
    splice @bad, 20 if @bad > 20;
    my $name = $options{name} // 'it ends, and the log has no alert';
    Test::More::is(join('', @bad), '', $name);
    remove_tree($self->{root}) if !$ENV{TEST_NGINX_NO_CLEAN};
    return;
}

# For a test that has been given up: no server is left running.
sub kill_servers ($class) {
    $_->kill_all for @servers;
    return;
}

# Whatever is left of it.
sub kill_all ($self) {
    $self->kill_processes;
    remove_tree($self->{root}) if !$ENV{TEST_NGINX_NO_CLEAN};
    return;
}

sub kill_processes ($self) {
    for my $pid (keys %{ $self->{pids} // {} }) {
        next if !is_alive($pid) || _title($pid) !~ /^(?:nginx|\S*nginx )/;
        kill KILL => children($pid), $pid;
    }
    return;
}

# The condition's first true value.  With a worker that dies it is given up.
sub await ($self, $what, $condition) {
    my $deadline = time + TIMEOUT;
    while (time < $deadline && !grep { /exited on signal/ } $self->log_lines) {
        my $value = $condition->();
        return $value if $value;
        sleep 0.01;
    }
    my @bad = grep { /\[(?:error|crit|alert|emerg)\]/ } $self->log_lines;
    Test::More::diag(@bad > 20 ? @bad[ -20 .. -1 ] : @bad);
    die "waited in vain for $what\n";
}

sub is_alive ($pid) {
    waitpid $pid, WNOHANG;
    return _read("/proc/$pid/stat") =~ /\) [^ZX] / ? 1 : 0;
}

sub children ($pid) { return split ' ', _read("/proc/$pid/task/$pid/children") }

sub _title ($pid) { return _read("/proc/$pid/cmdline") =~ tr/\0/ /r }

sub _read ($file) {
    open my $in, '<', $file or return '';
    local $/;
    return readline($in) // '';
}

sub _write ($file, $text) {
    open my $out, '>', $file or die "$file: $!";
    print {$out} $text;
    close $out or die "$file: $!";
    return;
}

1;
