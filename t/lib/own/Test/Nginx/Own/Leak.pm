package Test::Nginx::Own::Leak;

# TEST_NGINX_CHECK_LEAK: the block's first request is sent over and over while
# the resident size of nginx is sampled.  The slope of the samples, in KB per
# sample of 20 ms, is printed.  The block fails when the slope is above
# TEST_NGINX_LEAK_BOUND (2.0 by default) in each of three measurements on end:
# memory that a collector has yet to reclaim stops growing, a leak does not.
# TEST_NGINX_CHECK_LEAK_COUNT is the number of samples, 100 by default.

use v5.36;

use Exporter qw(import);
use List::Util qw(sum);
use Test::More ();
use Time::HiRes qw(sleep);

use NgxVarTest::Client ();
use NgxVarTest::Process qw(resident_kb spawn stop_process);
use Test::Nginx::Own::Nginx ();
use Test::Nginx::Own::Request qw(requests_of);
use Test::Nginx::Util ();

our @EXPORT_OK = qw(measure_leak);

use constant {
    WARM_UP_SECONDS => 1,
    SAMPLE_INTERVAL => 0.02,
    MEASUREMENTS    => 3,
};

sub measure_leak ($block) {
    my ($request) = requests_of($block);
    my $name  = $block->name;
    my $bound = $ENV{TEST_NGINX_LEAK_BOUND} // 2.0;

    Test::More::diag($name);
    my $load = _start_load(join '', map { $_->{text} } @{ $request->{packets} });
    # Caches and pools fill up first.
    sleep WARM_UP_SECONDS;
    my $slope;
    for (1 .. MEASUREMENTS) {
        $slope = _measure_slope() // last;
        last if $slope <= $bound;
    }
    stop_process($load, 1, 'TERM');

    if (!defined $slope) {
        Test::More::fail("$name - nginx is gone");
    }
    elsif ($slope > $bound) {
        Test::More::fail("$name - the memory grows by $slope KB a sample (bound: $bound)");
    }
    return;
}

# undef when nginx has ended meanwhile.
sub _measure_slope {
    my $count   = $ENV{TEST_NGINX_CHECK_LEAK_COUNT} // 100;
    my @samples = _sample($count);
    Test::More::diag("LeakTest: [@samples]");
    return undef if @samples < $count;

    my $slope = _slope(@samples);
    Test::More::diag("LeakTest: k=$slope");
    return $slope;
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
    my $parent = $$;
    return spawn(sub {
        while (getppid == $parent) {
            my $client = eval {
                NgxVarTest::Client->new($Test::Nginx::Util::ServerPortForClient,
                    address => $Test::Nginx::Util::ServerAddr, timeout => 1);
            } or last;
            $client->write($text);
            $client->read_to_end;
        }
    });
}

# Of the regression line, by least squares, over sample numbers.
sub _slope (@values) {
    my $count = @values;
    my $mean_x = ($count - 1) / 2;
    my $mean_y = sum(@values) / $count;
    my $above  = sum map { ($_ - $mean_x) * ($values[$_] - $mean_y) } 0 .. $#values;
    my $below  = sum map { ($_ - $mean_x)**2 } 0 .. $#values;
    return $below ? sprintf '%.1f', $above / $below : '0.0';
}

1;
