package Bench::Callgrind;

# Instructions of a request, counted by callgrind.
#
# Workers run side by side, as many as there are CPUs: an instruction count does
# not depend on what else the machine does.

use v5.36;

use List::Util qw(max);

use Bench::Worker ();

use constant { WARM_UP => 400, COUNTED => 1000 };

# The locations that start counting and write the counts.
use constant SERVER => <<'CONF';
    location = /count {
        content_by_lua_block { require("bench.probe").probe_count() ngx.say("ok") }
    }
    location = /dump {
        content_by_lua_block { require("bench.probe").probe_dump() ngx.say("ok") }
    }
CONF

my $cpus = () = do { open my $file, '<', '/proc/cpuinfo'; join '', readline $file } =~ /^processor/mg;

# Counts the instructions of one request to each of a worker's `paths`: adds `instructions`,
# { path => number }, to each worker (arguments of Bench::Worker->start). A worker's `request`
# returns the URI and headers to send for a path.
sub count ($progress, @workers) {
    my ($done, $all) = (0, scalar @workers);
    my @queue = @workers;
    while (my @group = splice @queue, 0, $cpus || 1) {
        $progress->("instructions, worker $done of $all");
        _count_group(@group);
        $done += @group;
    }
    return @workers;
}

sub _count_group (@group) {
    $_->{nginx} = Bench::Worker->launch(
        %$_,
        server    => $_->{server} . SERVER,
        callgrind => 1,
    ) for @group;
    $_->{nginx}->await_ready for @group;

    # Workers may have fewer paths than others.
    my @rounds = map {
        my $n = $_;
        [ grep { $_->{paths}[$n] } @group ]
    } 0 .. max(map { $#{ $_->{paths} } } @group);
    for my $n (0 .. $#rounds) {
        _together(sub ($worker) { $worker->{paths}[$n] }, WARM_UP, @{ $rounds[$n] });
    }
    _together(sub (@) { '/count' }, 1, @group);
    _together(sub (@) { '/dump' },  1, @group);
    for my $n (0 .. $#rounds) {
        _together(sub ($worker) { $worker->{paths}[$n] }, COUNTED, @{ $rounds[$n] });
        _together(sub (@) { '/dump' }, 1, @{ $rounds[$n] });
    }
    for my $worker (@group) {
        $worker->{nginx}->stop;
        # Each part includes the request that wrote it; the first part is only that.
        my $dumping = _total($worker, 1);
        my $paths   = $worker->{paths};
        $worker->{instructions} = {
            map { $paths->[$_] => (_total($worker, $_ + 2) - $dumping) / COUNTED } 0 .. $#$paths
        };
    }
    return;
}

# Sends a request to all workers at once; `path` returns a worker's.
sub _together ($path, $times, @group) {
    for (1 .. $times) {
        for my $worker (@group) {
            my $to = $path->($worker);
            $worker->{nginx}->send_get($worker->{request} ? $worker->{request}->($to) : $to);
        }
        for my $worker (@group) {
            my $to   = $path->($worker);
            my $body = $worker->{nginx}->receive($to, $worker->{status});
            die "$worker->{name}: $to read a wrong value\n" if $body =~ /wrong/;
        }
    }
    return;
}

sub _total ($worker, $part) {
    my $name = $worker->{nginx}->prefix . "/callgrind.out.$part";
    open my $file, '<', $name or die "$name: $!\n";
    while (my $line = readline $file) {
        return $1 if $line =~ /^(?:totals|summary): (\d+)/;
    }
    die "$name: no totals\n";
}

1;
