package Test::Nginx::Own::Check::Log;

# The sections about logs: error_log, no_error_log, grep_error_log*,
# access_log, no_access_log, shutdown_error_log, no_shutdown_error_log.
#
# Every check takes the context $check that Test::Nginx::Own::Run makes.

use v5.36;

use Exporter qw(import);
use Test::More ();
use Time::HiRes qw(sleep);

use NgxVarTest::File qw(new_lines);
use NgxVarTest::Process qw(wait_until);
use Test::Nginx::Own::Check::Result qw(report);
use Test::Nginx::Own::Text qw(expand_env patterns_of printable);
use Test::Nginx::Util qw(is_str);

our @EXPORT_OK = qw(check_error_log check_access_log check_shutdown_log forget_log);

# Seconds. Lines of the log phase come after the response.
my $PATIENCE = $Test::Nginx::Util::Timeout;

# error.log is read on from here by each check, except in the accumulating
# mode.
my $position = 0;

sub forget_log { $position = 0; return }

sub check_error_log ($check) {
    my $block  = $check->{block};
    my @wanted = patterns_of(scalar $block->error_log);
    my @banned = patterns_of(scalar $block->no_error_log);
    my $grep   = _grep_of($check);

    my @lines = $check->{dry_run} ? () : _await_lines(sub (@lines) {
        return 0 if grep { !_first_match($_, @lines) } @wanted;
        return !$grep || _is_as_expected(_grep($grep->{pattern}, @lines), $grep->{expected});
    });

    if ($grep) {
        report($check, 'grep_error_log_out', sub ($name) {
            is_str(_grep($grep->{pattern}, @lines), $grep->{expected}, $name);
        });
    }
    _check_present($check, 'error_log', \@wanted, \@lines);
    _check_absent($check, 'no_error_log', \@banned, \@lines);
    _check_assertions($check, \@lines);
    return;
}

sub check_access_log ($check) {
    my @wanted = patterns_of(scalar $check->{block}->access_log);
    my @banned = patterns_of(scalar $check->{block}->no_access_log);
    return if !@wanted && !@banned;

    my @lines;
    if (!$check->{dry_run}) {
        wait_until($PATIENCE, sub {
            my $start = 0;
            @lines = new_lines($Test::Nginx::Util::AccLogFile, \$start);
            return !grep { !_first_match($_, @lines) } @wanted;
        });
    }
    _check_present($check, 'access_log', \@wanted, \@lines);
    _check_absent($check, 'no_access_log', \@banned, \@lines);
    return;
}

# For the lines nginx writes while it stops.
sub check_shutdown_log ($check) {
    my @wanted = patterns_of(scalar $check->{block}->shutdown_error_log);
    my @banned = patterns_of(scalar $check->{block}->no_shutdown_error_log);
    return if !@wanted && !@banned;

    my @lines = _new_lines();
    _check_present($check, 'shutdown_error_log', \@wanted, \@lines);
    _check_absent($check, 'no_shutdown_error_log', \@banned, \@lines);
    return;
}

# Collects new lines until they satisfy the condition, or until it is too
# late.  A condition that expects nothing holds at once, hence the delay.
sub _await_lines ($condition) {
    sleep $Test::Nginx::Util::LogDelay;
    $position = 0 if $Test::Nginx::Util::CheckAccumErrLog;
    my @lines;
    wait_until($PATIENCE, sub {
        push @lines, _new_lines();
        return $condition->(@lines);
    });
    return @lines;
}

sub _new_lines {
    return new_lines($Test::Nginx::Util::ErrLogFile, \$position);
}

sub _first_match ($pattern, @lines) {
    for my $line (@lines) {
        return $line if ref $pattern ? $line =~ $pattern : index($line, $pattern) >= 0;
    }
    return undef;
}

# { pattern, expected } of the current round, or undef.
sub _grep_of ($check) {
    my $block    = $check->{block};
    my $pattern  = $block->grep_error_log;
    my $expected = $block->grep_error_log_out;
    if (defined $pattern != defined $expected) {
        Test::Nginx::Util::bail_out("$check->{name} - of grep_error_log and",
            ' grep_error_log_out only one is there');
    }
    return undef if !defined $pattern;

    $pattern  = $pattern->[ $check->{round} ]  if ref $pattern eq 'ARRAY';
    $expected = $expected->[ $check->{round} ] if ref $expected eq 'ARRAY';
    return undef if !defined $pattern;
    return { pattern => $pattern, expected => expand_env($expected, $check->{name}) };
}

# What the pattern matches, one match a line; a match with a line end in it is
# left out, as upstream does.
sub _grep ($pattern, @lines) {
    my $regex = ref $pattern ? $pattern : qr/\Q$pattern\E/;
    my $found = '';
    for my $line (@lines) {
        $line =~ /($regex)/ or next;
        my $match = $1;
        $found .= "$match\n" if $match !~ /\n/;
    }
    return $found;
}

sub _is_as_expected ($actual, $expected) {
    return ref $expected ? $actual =~ $expected : $actual eq ($expected // '');
}

sub _check_present ($check, $section, $patterns, $lines) {
    for my $pattern (@$patterns) {
        report($check, "$section has: " . printable($pattern), sub ($name) {
            Test::More::ok(defined _first_match($pattern, @$lines), $name);
        });
    }
    return;
}

sub _check_absent ($check, $section, $patterns, $lines) {
    for my $pattern (@$patterns) {
        report($check, "$section: " . printable($pattern), sub ($name) {
            my $line = _first_match($pattern, @$lines);
            Test::More::ok(!defined $line, $name)
                or Test::More::diag('the line: ' . printable($line =~ s/\n\z//r));
        });
    }
    return;
}

# A failed assertion, of Lua's or of C's, fails any block.
sub _check_assertions ($check, $lines) {
    my $line = _first_match(qr/\bAssertion .*?failed\b/, @$lines) // return;
    Test::More::fail("$check->{name} - " . printable($line =~ s/\n\z//r));
    return;
}

1;
