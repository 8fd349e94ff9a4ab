package Test::Nginx::Own::Nginx;

# The nginx process: start, reload, stop.  It is known by its pid, never by
# its name, and every wait is for a condition.

use v5.36;

use POSIX ();
use Test::More ();

use Test::Nginx::Own::Config qw(make_server_root write_config write_user_files);
use Test::Nginx::Own::Process qw(children is_alive stop_process title wait_until);
use Test::Nginx::Util ();

use constant {
    START_TIMEOUT  => 60,    # valgrind needs a while
    RELOAD_TIMEOUT => 30,
};

my $pid;               # of the master, or of the only process
my $is_launched;       # started, though perhaps with no pid known yet
my $running_config;    # the `config` text it runs

sub is_running { return defined $pid && is_alive($pid) }
sub pid        { return $pid }

sub start ($block, $config) {
    _prepare_files($block, $config, 0);
    my ($status, $output) = _launch();
    if ($status != 0) {
        Test::Nginx::Util::bail_out($block->name,
            " - nginx does not start (status $status): $output");
    }
    _print_verbose("started nginx, pid $pid");
    $running_config = $config;
    return;
}

# For a block without `config`.
sub resume ($block) {
    return if is_running();
    Test::Nginx::Util::bail_out($block->name,
        ' - no config section, and no block before has one') if !defined $running_config;
    start($block, $running_config);
    return;
}

sub stop {
    # A signal may have ended the harness before it knew the pid.
    $pid //= wait_until(2, \&_pid_from_file) || undef if $is_launched;
    return if !defined $pid;
    my @signals = $Test::Nginx::Util::FastShutdown ? 'TERM' : ('QUIT', 'TERM');
    my $seconds = $Test::Nginx::Util::Timeout;
    if (is_alive($pid) && !stop_process($pid, $seconds, @signals)) {
        Test::More::diag("nginx, pid $pid, ended only by SIGKILL");
    }
    unlink $Test::Nginx::Util::PidFile;
    $pid = $is_launched = undef;
    return;
}

sub announce_left_running {
    return if !is_running();
    Test::More::diag("TEST_NGINX_NO_CLEAN: nginx, pid $pid, is left running in "
        . $Test::Nginx::Util::ServRoot);
    return;
}

# A start that has to fail; `must_die` may name the exit code.
sub start_dying ($block, $round) {
    my $name     = $block->name;
    my $expected = $block->must_die;

    _prepare_files($block, $block->config // '', 0) if $round == 0;
    my ($status) = _launch();
    my $signal   = $status & 127;
    my $code     = $status >> 8;

    if ($signal) {
        Test::More::fail("$name - nginx dies by its own exit, not by signal $signal");
    }
    elsif ($expected =~ /^\s*(\d+)\s*$/) {
        Test::More::is($code, $1, "$name - nginx dies with the expected exit code");
    }
    else {
        Test::More::isnt($code, 0, "$name - nginx dies as expected");
    }
    stop() if $status == 0;
    return;
}

# Sends HUP and waits until workers with the new configuration have taken
# over: they serve, and the old ones are gone or no longer accept.
sub reload ($block, $config) {
    my $name = $block->name;
    my @old  = children($pid);

    _prepare_files($block, $config, 1);
    _print_verbose("reloading nginx, pid $pid");
    kill HUP => $pid;

    my $result = wait_until(RELOAD_TIMEOUT, sub {
        return 'refused' if _log_has_emerg();
        return 'done' if _have_workers_changed(@old);
        return '';
    });
    if ($result eq 'done') {
        $running_config = $config;
    }
    elsif (!defined scalar $block->reload_fails) {
        Test::More::fail("$name - nginx takes the new configuration"
            . ($result eq 'refused' ? ' (refused, see error.log)' : ''));
    }
    return;
}

sub _have_workers_changed (@old) {
    my %is_old = map { $_ => 1 } @old;
    my $new    = 0;
    for my $child (children($pid)) {
        my $title = title($child);
        if ($is_old{$child}) {
            return 0 if $title =~ /worker process\s*$/;
        }
        else {
            $new++ if $title =~ /worker process\s*$/;
        }
    }
    return $new >= ($Test::Nginx::Util::Workers =~ /^\d+$/
        ? $Test::Nginx::Util::Workers : 1);
}

sub _log_has_emerg {
    open my $in, '<', $Test::Nginx::Util::ErrLogFile or return 0;
    return !!grep { /^\S+ \S+ \[emerg\] / } <$in>;
}

sub _prepare_files ($block, $config, $is_running) {
    if ($Test::Nginx::Util::UseHup) {
        # Without a master process a reload does not work.
        $Test::Nginx::Util::MasterProcessEnabled = 'on';
    }
    make_server_root($is_running);
    if (defined(my $code = $block->post_setup_server_root)) {
        eval "package main; no strict; $code; 1" or Test::Nginx::Util::bail_out(
            $block->name, " - post_setup_server_root failed: $@");
    }
    write_user_files($block);
    write_config($block, $config);
    return;
}

# Starts nginx; returns the wait status and what it wrote to stderr.
sub _launch {
    my $stderr  = "$Test::Nginx::Util::LogDir/stderr.log";
    my @command = (
        $Test::Nginx::Util::NginxBinary,
        '-p', "$Test::Nginx::Util::ServRoot/",
        '-e', $Test::Nginx::Util::ErrLogFile,
        '-c', $Test::Nginx::Util::ConfFile,
    );
    if (my $options = $Test::Nginx::Util::UseValgrind) {
        unshift @command, 'valgrind', '-q', split ' ', $options;
    }

    $is_launched = 1;
    my $child = fork // Test::Nginx::Util::bail_out("fork: $!");
    if ($child == 0) {
        POSIX::setsid();    # a Ctrl-C is for the harness, which stops nginx
        open STDIN,  '<', '/dev/null';
        open STDOUT, '>', '/dev/null';
        open STDERR, '>', $stderr;
        { exec { $command[0] } @command }
        POSIX::_exit(127);
    }

    my $status = $Test::Nginx::Util::UseValgrind
        ? _await_foreground($child)
        : do { waitpid $child, 0; $? };
    $is_launched = $status == 0;
    $pid = $is_launched ? _await_pid_file() : undef;
    return ($status, _read($stderr));
}

# The process stays our child: it is up when it has written its pid file.
sub _await_foreground ($child) {
    my $status;
    wait_until(START_TIMEOUT, sub {
        if (waitpid($child, POSIX::WNOHANG()) == $child) {
            $status = $?;
            return 1;
        }
        return -s $Test::Nginx::Util::PidFile;
    });
    return $status // 0;
}

sub _await_pid_file {
    return wait_until(START_TIMEOUT, \&_pid_from_file) || Test::Nginx::Util::bail_out(
        "nginx has not written $Test::Nginx::Util::PidFile");
}

sub _pid_from_file {
    return _read($Test::Nginx::Util::PidFile) =~ /^(\d+)\n/ ? $1 : 0;
}

sub _read ($file) {
    open my $in, '<', $file or return '';
    local $/;
    return readline($in) // '';
}

sub _print_verbose ($text) {
    Test::More::diag($text) if $Test::Nginx::Util::Verbose;
    return;
}

1;
