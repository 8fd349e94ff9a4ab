package Test::Nginx::Own::Nginx;

# The nginx of the block that runs: start, reload, stop.

use v5.36;

use Test::More ();

use NgxVarTest::Server ();
use Test::Nginx::Own::Config qw(make_server_root write_config write_user_files);
use Test::Nginx::Util ();

my $nginx;             # NgxVarTest::Server
my $running_config;    # the `config` text it runs

sub is_running { return $nginx && $nginx->is_running }
sub pid        { return $nginx && $nginx->pid }

sub start ($block, $config) {
    _prepare_files($block, $config, 0);
    my ($status, $output) = _launch();
    if ($status != 0) {
        Test::Nginx::Util::bail_out($block->name,
            " - nginx does not start (status $status): $output");
    }
    _print_verbose('started nginx, pid ' . pid());
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
    return if !$nginx;
    my @signals = $Test::Nginx::Util::FastShutdown ? 'TERM' : ('QUIT', 'TERM');
    if (!$nginx->stop($Test::Nginx::Util::Timeout, @signals)) {
        Test::More::diag('nginx ended only by SIGKILL');
    }
    unlink $Test::Nginx::Util::PidFile;
    undef $nginx;
    return;
}

sub leave_running {
    return if !is_running();
    Test::More::diag('TEST_NGINX_NO_CLEAN: nginx, pid ' . pid()
        . ", is left running in $Test::Nginx::Util::ServRoot");
    $nginx->leave_running;
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
    stop();
    return;
}

# HUP, and workers with the new configuration take over.
sub reload ($block, $config) {
    my $name = $block->name;
    _prepare_files($block, $config, 1);
    _print_verbose('reloading nginx, pid ' . pid());

    my $is_refused = 0;
    my $is_done = eval { $nginx->reload(sub { $is_refused = _log_has_emerg() }); 1 };
    if ($is_done && !$is_refused) {
        $running_config = $config;
    }
    elsif (!defined scalar $block->reload_fails) {
        Test::More::fail("$name - nginx takes the new configuration"
            . ($is_refused ? ' (refused, see error.log)' : ": $@"));
    }
    return;
}

sub _log_has_emerg {
    return !!grep { /^\S+ \S+ \[emerg\] / } $nginx->log_lines;
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

# Starts nginx; returns the wait status and what it wrote.
sub _launch {
    my $valgrind = $Test::Nginx::Util::UseValgrind;
    $nginx = NgxVarTest::Server->new(
        prefix        => $Test::Nginx::Util::ServRoot,
        conf          => $Test::Nginx::Util::ConfFile,
        error_log     => $Test::Nginx::Util::ErrLogFile,
        pid_file      => $Test::Nginx::Util::PidFile,
        output        => "$Test::Nginx::Util::LogDir/output",
        binary        => $Test::Nginx::Util::NginxBinary,
        workers       => $Test::Nginx::Util::Workers =~ /^\d+$/ ? $Test::Nginx::Util::Workers : 1,
        under         => $valgrind ? [ 'valgrind', '-q', split ' ', $valgrind ] : [],
        is_foreground => !!$valgrind,
    );
    my @result = $nginx->try_start;
    undef $nginx if $result[0];
    return @result;
}

sub _print_verbose ($text) {
    Test::More::diag($text) if $Test::Nginx::Util::Verbose;
    return;
}

1;
