package Test::Nginx::Own::Leak;

# TEST_NGINX_CHECK_LEAK: the block's first request is sent over and over while
# the resident size of nginx is sampled.  The slope of the samples, in KB per
# sample of 20 ms, is printed, and fails the block when it is above
# TEST_NGINX_LEAK_BOUND (2.0 by default).  TEST_NGINX_CHECK_LEAK_COUNT is the
# number of samples, 100 by default.

use v5.36;

use Exporter qw(import);
use IO::Socket::INET ();
use List::Util qw(sum);
use POSIX ();
use Test::More ();
use Time::HiRes qw(sleep);

use Test::Nginx::Own::Nginx ();
use Test::Nginx::Own::Process qw(resident_kb stop_process);
use Test::Nginx::Own::Request qw(requests_of);
use Test::Nginx::Util ();

our @EXPORT_OK = qw(measure_leak slope);

use constant {
    WARM_UP_SECONDS => 1,
    SAMPLE_INTERVAL => 0.02,
};

sub measure_leak ($block) {
    my ($request) = requests_of($block);
    my $text    = join '', map { $_->{text} } @{ $request->{packets} };
    my $count   = $ENV{TEST_NGINX_CHECK_LEAK_COUNT} // 100;
    my $bound   = $ENV{TEST_NGINX_LEAK_BOUND} // 2.0;

    my $load = _start_load($text);
    # Caches and pools fill up first; that growth is no leak.
    sleep WARM_UP_SECONDS;
    my @samples = _sample($count);
    stop_process($load, 1, 'TERM');

    my $name = $block->name;
    Test::More::diag($name);
    Test::More::diag("LeakTest: [@samples]");
    if (@samples < $count) {
        Test::More::fail("$name - nginx is gone");
        return;
    }
    my $slope = slope(@samples);
    Test::More::diag("LeakTest: k=$slope");
    if ($slope > $bound) {
        Test::More::fail("$name - the memory grows by $slope KB a sample (bound: $bound)");
    }
    return;
}

sub _sample ($count) {
    my @samples;
    for (1 .. $count) {
        sleep SAMPLE_INTERVAL;
        push @samples, resident_kb(Test::Nginx::Own::Nginx::pid()) // last;
    }
    return @samples;
}

# A child that sends the request on one connection after the other.
sub _start_load ($text) {
    my $pid = fork // Test::Nginx::Util::bail_out("fork: $!");
    return $pid if $pid;

    local @SIG{qw(TERM INT PIPE)} = ('DEFAULT', 'DEFAULT', 'IGNORE');
    my $parent = getppid;
    while (getppid == $parent) {
        my $socket = IO::Socket::INET->new(
            PeerAddr => $Test::Nginx::Util::ServerAddr,
            PeerPort => $Test::Nginx::Util::ServerPortForClient,
            Proto    => 'tcp',
            Timeout  => 1,
        ) or last;
        syswrite $socket, $text;
        1 while sysread $socket, my $buffer, 65_536;
    }
    POSIX::_exit(0);
}

# Of the regression line, by least squares, over sample numbers.
sub slope (@values) {
    my $count = @values;
    my $mean_x = ($count - 1) / 2;
    my $mean_y = sum(@values) / $count;
    my $above  = sum map { ($_ - $mean_x) * ($values[$_] - $mean_y) } 0 .. $#values;
    my $below  = sum map { ($_ - $mean_x)**2 } 0 .. $#values;
    return $below ? sprintf '%.1f', $above / $below : '0.0';
}

1;
