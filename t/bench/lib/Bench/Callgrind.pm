package Bench::Callgrind;

# Instructions of a request, counted by callgrind.
#
# Workers run side by side, as many as there are CPUs: an instruction count does
# not depend on what else the machine does.

use v5.36;

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

    my $paths = $group[0]{paths};
    for my $path (@$paths) {
        _together($path, WARM_UP, @group);
    }
    _together('/count', 1, @group);
    _together('/dump',  1, @group);
    for my $path (@$paths) {
        _together($path,   COUNTED, @group);
        _together('/dump', 1,       @group);
    }
    for my $worker (@group) {
        $worker->{nginx}->stop;
        # Each part includes the request that wrote it; the first part is only that.
        my $dumping = _total($worker, 1);
        $worker->{instructions} = {
            map { $paths->[$_] => (_total($worker, $_ + 2) - $dumping) / COUNTED } 0 .. $#$paths
        };
    }
    return;
}

# Sends a request to all workers at once.
sub _together ($path, $times, @group) {
    for (1 .. $times) {
        $_->{nginx}->send_get($_->{request} ? $_->{request}->($path) : $path) for @group;
        for my $worker (@group) {
            my $body = $worker->{nginx}->receive($path, $worker->{status});
            die "$worker->{name}: $path read a wrong value\n" if $body =~ /wrong/;
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
