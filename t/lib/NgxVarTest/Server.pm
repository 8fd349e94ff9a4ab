package NgxVarTest::Server;

# An nginx, from its start to its end.  Every nginx of the tests, of t/stress, t/bench and
# nginx-conf/demo is started here; the caller writes its configuration.
#
#     my $nginx = NgxVarTest::Server->new(prefix => DIR);
#     $nginx->start;          # dies with what nginx says if it does not start
#     $nginx->reload;
#     $nginx->stop;           # false when only SIGKILL helped
#
# Every wait is for a condition.  An nginx that still runs when this program ends is stopped.

use v5.36;

use POSIX qw(WNOHANG);
use Time::HiRes qw(sleep time);

use NgxVarTest::Env ();
use NgxVarTest::File qw(new_lines read_file);
use NgxVarTest::Process qw(
    spawn wait_until is_alive children title resident_kb stop_process);

use constant {
    TIMEOUT       => 30,    # seconds; only a failing test waits that long
    START_TIMEOUT => 60,    # valgrind needs a while
};

my $owner_pid = $$;
my @started;

END {
    if ($$ == $owner_pid) {
        local ($?, $!);
        __PACKAGE__->stop_all;
    }
}

# Stops every nginx that this program has started.
sub stop_all ($class) {
    $_->stop(5) for @started;
    return;
}

# prefix: its directory, which exists.  Files are named as nginx names them, from
# there: conf, error_log, pid_file, and output, for what nginx writes (undef: it
# writes to the terminal).  binary; arguments: more of them; under: a command that
# runs nginx, as valgrind; is_foreground: the configuration has `daemon off`;
# workers: how many it has.
sub new ($class, %options) {
    return bless {
        conf      => 'conf/nginx.conf',
        error_log => 'logs/error.log',
        pid_file  => 'logs/nginx.pid',
        output    => 'logs/output',
        arguments => [],
        under     => [],
        workers   => 1,
        %options,
        seen   => {},    # pids of masters and workers
        log_at => 0,
    }, $class;
}

sub prefix ($self) { return $self->{prefix} }

sub path ($self, $name) { return $name =~ m{^/} ? $name : "$self->{prefix}/$name" }

sub _spawn ($self, @arguments) {
    my @command = (
        @{ $self->{under} }, $self->{binary} // NgxVarTest::Env::nginx(),
        '-p', "$self->{prefix}/", '-e', $self->{error_log}, '-c', $self->{conf},
        @{ $self->{arguments} }, @arguments,
    );
    # nginx would take NGINX for a list of inherited sockets.
    delete local $ENV{NGINX};
    return spawn(\@command, defined $self->{output} ? $self->path($self->{output}) : ());
}

# nginx's standard output and error.
sub output ($self) { return read_file($self->path($self->{output})) }

# Runs nginx with these arguments to its end; returns its status and output.
sub run ($self, @arguments) {
    waitpid $self->_spawn(@arguments), 0;
    return ($?, $self->output);
}

# nginx -t
sub test ($self) { return $self->run('-t') }

# ---- Start -----------------------------------------------------------------------------

sub start ($self) {
    my ($status, $output) = $self->try_start;
    die "nginx does not start: $output" if $status;
    return $self;
}

# Starts nginx; returns its status, 0 if it runs, and its output.
sub try_start ($self) { return $self->launch->await_start }

# The two halves of try_start.
sub launch ($self) {
    push @started, $self if !grep { $_ == $self } @started;
    $self->{is_launched} = 1;
    $self->{child} = $self->_spawn;
    $self->{seen}{ $self->{child} } = 1 if $self->{is_foreground};
    return $self;
}

sub await_start ($self) {
    my $status = $self->{is_foreground} ? $self->_await_foreground : $self->_await_daemon;
    if ($status) {
        $self->_forget;
    }
    else {
        $self->await_pid;
    }
    return ($status, defined $self->{output} ? $self->output : '');
}

# The process that was started exits when the daemon runs.
sub _await_daemon ($self) {
    waitpid $self->{child}, 0;
    return $?;
}

# nginx listens before it writes its pid file.
sub _await_foreground ($self) {
    my $status = 0;
    wait_until(START_TIMEOUT, sub {
        if (waitpid($self->{child}, WNOHANG) == $self->{child}) {
            $status = $? || 1;
            return 1;
        }
        return $self->_pid_from_file == $self->{child};
    });
    return $status;
}

sub _pid_from_file ($self) {
    return read_file($self->path($self->{pid_file})) =~ /^(\d+)\n/ ? $1 : 0;
}

# Waits for the pid file; from then on its process is the server's.
sub await_pid ($self) {
    wait_until(START_TIMEOUT, sub { $self->master })
        or die "nginx has not written $self->{pid_file}\n", $self->_worst_log_lines;
    return $self->{pid};
}

# ---- Processes -------------------------------------------------------------------------

# The pid of the master, or of the single process, when it was last read.
sub pid ($self) { return $self->{pid} }

# The same, read from the pid file again.
sub master ($self) {
    my $pid = $self->_pid_from_file or return;
    $self->{seen}{$pid} = 1;
    return $self->{pid} = $pid;
}

# Pids of the workers that take connections, of this master or of another.
sub workers ($self, $master = $self->{pid}) {
    return if !$master;
    # valgrind hides the title that nginx gives itself.
    my @workers = grep { @{ $self->{under} } || title($_) =~ /worker process\s*$/ } children($master);
    $self->{seen}{$_} = 1 for @workers;
    return @workers;
}

# The same, once there are as many as configured.
sub await_workers ($self, $master = $self->{pid}) {
    $self->await("$self->{workers} workers",
        sub { $self->workers($master) == $self->{workers} });
    return $self->workers($master);
}

sub is_running ($self) { return defined $self->{pid} && is_alive($self->{pid}) }

# Resident kilobytes of all workers.
sub resident ($self) {
    my $sum = 0;
    $sum += resident_kb($_) // 0 for $self->workers;
    return $sum;
}

sub signal ($self, $signal, $pid = $self->{pid}) {
    kill $signal, $pid or die "kill $signal $pid: $!";
    return;
}

# Sends HUP, and waits until only new workers take connections, or until $is_refused says
# that the configuration was refused.  Returns the pids of the old workers, which may
# have requests left, or nothing when it was refused.
sub reload ($self, $is_refused = sub { 0 }) {
    my %old = map { $_ => 1 } $self->workers;
    $self->signal('HUP');
    my $result = $self->await('new workers', sub {
        return 'refused' if $is_refused->();
        my @now = $self->workers;
        return @now >= $self->{workers} && !grep { $old{$_} } @now;
    });
    return $result eq 'refused' ? () : keys %old;
}

# Sends QUIT to the only worker, which the master replaces.
sub renew_worker ($self) {
    my ($old) = $self->await_workers;
    $self->signal(QUIT => $old);
    $self->await_end($old);
    return;
}

# Sends USR2, which starts a new master with the current binary and configuration.  From then
# on the new master is the server's.
sub upgrade ($self) {
    my $old = $self->{pid};
    my $old_file = $self->path($self->{pid_file}) . '.oldbin';
    $self->signal('USR2');
    $self->await('another master', sub {
        my $pid = $self->_pid_from_file;
        return -e $old_file && $pid && $pid != $old;
    });
    $self->await_pid;
    return;
}

sub await_end ($self, @pids) {
    $self->await("the end of @pids", sub { !grep { is_alive($_) } @pids });
    return;
}

# ---- End -------------------------------------------------------------------------------

# Sends each of the signals in turn to all masters until they end.  Returns false when a
# process had to be killed.
sub stop ($self, $seconds = TIMEOUT, @signals) {
    return 1 if !$self->{is_launched};
    # A signal may have ended this program before it knew the pid.
    wait_until(2, sub { $self->master }) if !defined $self->{pid};

    my $is_clean = 1;
    my $is_nginx = sub ($pid) {
        return $pid == ($self->{child} // 0) || @{ $self->{under} }
            || title($pid) =~ /^(?:nginx|\S*nginx(?:-testing)? )/;
    };
    for my $pid (grep { defined } $self->{pid}, keys %{ $self->{seen} }) {
        next if !is_alive($pid) || title($pid) =~ /worker process/ || !$is_nginx->($pid);
        $is_clean = 0 if !stop_process($pid, $seconds, @signals ? @signals : 'TERM');
    }
    # Workers whose master was killed.
    for my $pid (keys %{ $self->{seen} }) {
        next if !is_alive($pid) || !$is_nginx->($pid);
        kill KILL => $pid;
        $is_clean = 0;
    }
    $self->_forget;
    return $is_clean;
}

# nginx continues to run when this program ends.
sub leave_running ($self) { return $self->_forget }

sub _forget ($self) {
    @started = grep { $_ != $self } @started;
    $self->{seen} = {};
    delete @$self{qw(is_launched child pid)};
    return;
}

# ---- Its log ---------------------------------------------------------------------------

sub log_file ($self)  { return $self->path($self->{error_log}) }
sub log_text ($self)  { return read_file($self->log_file) }
sub log_lines ($self) { return split /^/, $self->log_text }

# The lines since the last call that match.
sub new_log_lines ($self, $pattern = qr/^/) {
    return grep { $_ =~ $pattern } new_lines($self->log_file, \$self->{log_at});
}

sub _worst_log_lines ($self) {
    my @lines = grep { /\[(?:error|crit|alert|emerg)\]/ } $self->log_lines;
    return @lines > 20 ? @lines[ -20 .. -1 ] : @lines;
}

# Waits for a line of the log that matches.
sub await_log ($self, $pattern) {
    return $self->await("a line that matches $pattern in the log",
        sub { (grep { $_ =~ $pattern } $self->log_lines)[0] });
}

# Waits for the condition's first true value; dies when a worker dies.
sub await ($self, $what, $condition, $seconds = TIMEOUT) {
    my $deadline = time + $seconds;
    while (time < $deadline && $self->log_text !~ /exited on signal/) {
        my $value = $condition->();
        return $value if $value;
        sleep 0.01;
    }
    die "waited in vain for $what\n", $self->_worst_log_lines;
}

1;
