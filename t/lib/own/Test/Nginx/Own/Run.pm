package Test::Nginx::Own::Run;

# The blocks of a test file, one after the other: skip it, or get nginx to
# serve its configuration, send its requests and check what comes back, as
# often as repeat_each() says.

use v5.36;

use List::Util qw(shuffle);
use Test::Base ();
use Test::More ();
use Time::HiRes qw(sleep);

use Test::Nginx::Own::Check::Log qw(
    check_access_log check_error_log check_shutdown_log forget_log);
use Test::Nginx::Own::Check::Response qw(check_response);
use Test::Nginx::Own::Client qw(exchange);
use Test::Nginx::Own::Config qw(write_user_files);
use Test::Nginx::Own::Curl qw(shell_command);
use Test::Nginx::Own::Leak qw(measure_leak);
use Test::Nginx::Own::Nginx ();
use Test::Nginx::Own::Request qw(requests_of);
use Test::Nginx::Own::Response qw(parse_response);
use Test::Nginx::Own::Skip qw(reason_to_skip refuse_unsupported);
use Test::Nginx::Own::Text qw(parse_seconds random_ports_reset);
use Test::Nginx::Util ();

my $last_block;    # the block whose configuration nginx runs

sub run_blocks {
    my @blocks = Test::Base::blocks();
    @blocks = shuffle @blocks if !$Test::Nginx::Util::NoShuffle;

    for my $block (@blocks) {
        $_->($block) for @Test::Nginx::Util::BlockPreprocessors;
        $block->set_value(name => "$0 " . $block->name);
        _run_block($block);
        $_->($block) for @Test::Nginx::Util::TestCleanupHandlers;
    }
    clean_up();
    return;
}

# What test files registered to be cleaned up; once.
sub clean_up {
    while (my $handler = shift @Test::Nginx::Util::CleanupHandlers) {
        $handler->();
    }
    return;
}

# At the end of the process, however it ends.
sub finish {
    clean_up();
    if ($Test::Nginx::Util::NoClean) {
        Test::Nginx::Own::Nginx::leave_running();
        return;
    }
    _stop_nginx();
    return;
}

sub _run_block ($block) {
    return if defined scalar $block->SKIP;
    refuse_unsupported($block);

    random_ports_reset();
    local $Test::Nginx::Util::LogLevel = _log_level($block);

    if (my $skip = reason_to_skip($block)) {
        _report_skipped($block, $skip) for 1 .. $Test::Nginx::Util::RepeatEach;
        return;
    }
    if (defined scalar $block->must_die) {
        _run_dying_block($block);
        return;
    }

    my $dry_run = _dry_run_reason();
    my $idle    = $dry_run && defined scalar $block->no_check_leak;
    _prepare_nginx($block) if !$idle && !$Test::Nginx::Util::NoNginxManager;
    _eval_section($block, 'init');
    forget_log();
    measure_leak($block) if $dry_run && !$idle;
    for my $round (0 .. $Test::Nginx::Util::RepeatEach - 1) {
        write_user_files($block) if $round > 0;
        _run_round($block, $round, $dry_run);
    }

    # Valgrind reports leaks when the process ends.
    if ($Test::Nginx::Util::UseValgrind && !$Test::Nginx::Util::UseHup) {
        Test::Nginx::Own::Nginx::stop();
    }
    return;
}

sub _log_level ($block) {
    return 'warn' if $Test::Nginx::Util::CheckLeak;
    return ($block->log_level // $Test::Nginx::Util::LogLevel) =~ s/\s+\z//r;
}

# While a leak is measured every check is skipped: the requests run by
# thousands and at another log level.
sub _dry_run_reason {
    return $Test::Nginx::Util::CheckLeak ? 'the "check leak" testing mode' : '';
}

sub _report_skipped ($block, $skip) {
    my $why = $block->name . " - $skip->{reason}";
    if ($skip->{is_todo}) {
        Test::More->builder->todo_skip($why) for 1 .. $skip->{count};
    }
    else {
        Test::More->builder->skip($why) for 1 .. $skip->{count};
    }
    return;
}

sub _prepare_nginx ($block) {
    my $config = $block->config;
    if (!defined $config) {
        # The configuration of the block before goes on.
        Test::Nginx::Own::Nginx::resume($block);
        return;
    }
    if ($Test::Nginx::Util::UseHup && Test::Nginx::Own::Nginx::is_running()) {
        _before_log_removal();
        Test::Nginx::Own::Nginx::reload($block, $config);
    }
    else {
        _stop_nginx();
        Test::Nginx::Own::Nginx::start($block, $config);
    }
    $last_block = $block;
    return;
}

sub _stop_nginx {
    Test::Nginx::Own::Nginx::stop();
    _before_log_removal();
    return;
}

sub _before_log_removal {
    if ($last_block) {
        check_shutdown_log(_context($last_block, 0, _dry_run_reason()
            || ($Test::Nginx::Util::UseHup ? 'the HUP mode' : '')));
        undef $last_block;
    }
    $_->() for @Test::Nginx::Util::LogRemovalHandlers;
    return;
}

sub _run_dying_block ($block) {
    local $Test::Nginx::Util::UseValgrind;
    _stop_nginx();
    forget_log();
    for my $round (0 .. $Test::Nginx::Util::RepeatEach - 1) {
        Test::Nginx::Own::Nginx::start_dying($block, $round);
        check_error_log(_context($block, $round, ''));
    }
    return;
}

# What every check needs to know.
sub _context ($block, $round, $dry_run) {
    return {
        block   => $block,
        name    => $block->name,
        round   => $round,
        dry_run => $dry_run,
        index   => 0,        # of the request, when there are several
        is_many => 0,
    };
}

sub _run_round ($block, $round, $dry_run) {
    my $check    = _context($block, $round, $dry_run);
    my @requests = requests_of($block);
    Test::Nginx::Util::bail_out("$check->{name} - no request") if !@requests;

    if (defined scalar $block->curl) {
        print {*STDERR} '# ', shell_command($block, $requests[0]), "\n";
    }

    my $pipelined = $block->pipelined_requests;
    my $responses = $pipelined ? @$pipelined : 1;
    $check->{is_many} = $pipelined || @requests > 1;

    my $left = @requests * $responses;
    for my $request (@requests) {
        my $raw = $dry_run ? _dry_response($responses) : exchange($block, $request);
        for (1 .. $responses) {
            $raw = _check_one_response($check, $request, $raw, $responses > 1);
            _wait_if_asked($block);
            check_error_log($check);
            check_access_log($check) if !defined scalar $block->ignore_response;
            $check->{index}++;
        }
    }
    # SystemTap is not there; a plan by count has a test for it.
    if (defined scalar $block->stap) {
        Test::More->builder->skip("$check->{name} - stap is not supported");
    }
    return;
}

sub _dry_response ($count) {
    return "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n" x $count;
}

# Returns what follows the response: the next ones, of pipelined requests.
sub _check_one_response ($check, $request, $raw, $is_pipelined) {
    my $block = $check->{block};
    return '' if defined scalar $block->ignore_response;

    my $response = parse_response($raw, {
        is_head   => $request->{is_head},
        is_http09 => defined scalar $block->http09,
    });
    if (defined(my $problem = $response->{problem})) {
        Test::More::fail("$check->{name} - $problem");
    }
    if (defined(my $warning = $response->{warning})) {
        Test::More::diag("$check->{name} - $warning");
    }
    check_response($check, $response);

    my $rest = $response->{rest};
    if (!$is_pipelined && $rest ne '') {
        Test::More::diag("$check->{name} - extra bytes after the response: $rest");
    }
    return $rest;
}

sub _wait_if_asked ($block) {
    my $seconds = parse_seconds(scalar $block->wait);
    sleep $seconds if $seconds;
    return;
}

sub _eval_section ($block, $section) {
    my $code = $block->$section;
    return if !defined $code;
    eval "package main; no strict; $code; 1"
        or Test::Nginx::Util::bail_out($block->name, " - $section failed: $@");
    return;
}

1;
