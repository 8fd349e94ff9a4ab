package Bench::Memory;

# The memory of a live request: the heap of a worker with this module and of one without,
# while thousands of requests wait in each. Those of the former have asked for a handle.

use v5.36;

use POSIX ();

use Bench::Worker ();

# Slots are allocated in chunks of this many (src/registry/slots.rs). The first chunk is there when
# the measurement begins.
use constant CHUNK => 512;

# The slot's place in the index (src/registry/by_address.rs), which is not in the heap.
use constant HEAD => 8;

use constant SERVER => <<'CONF';
    location = /wait {
        content_by_lua_block {
            WAITING = WAITING or require("ngx.semaphore").new()
            ASK()
            assert(WAITING:wait(300))
            ngx.say("done")
        }
    }
    location = /release {
        content_by_lua_block { WAITING:post(-WAITING:count()) ngx.say("ok") }
    }
    location = /heap {
        content_by_lua_block {
            collectgarbage()
            collectgarbage()
            ngx.say(WAITING and -WAITING:count() or 0, " ", ngx.var.connections_active,
                    " ", require("bench.probe").probe_heap())
        }
    }
CONF

# { requests, bytes (of one), kept (bytes of one that a second wave adds) }
sub run ($progress) {
    my $requests = POSIX::sysconf(POSIX::_SC_OPEN_MAX()) - 200;
    $requests = 8000 if $requests > 8000;

    $progress->("memory, $requests live requests");
    my ($ours, $again) = _heap($requests, 'memory-module', modules => [$Bench::Worker::MODULE],
        init => 'ASK = require("resty.ngxvar").request');
    my ($stock)        = _heap($requests, 'memory-stock', init => 'ASK = function () end');
    return {
        requests => $requests,
        bytes    => ($ours - $stock) / ($requests - CHUNK) + HEAD,
        kept     => $again / $requests,
    };
}

# Bytes that the live requests add to the heap, and what a second wave of them adds to that.
sub _heap ($requests, $name, @options) {
    my $nginx = Bench::Worker->start(name => $name, server => SERVER, @options);

    # The first requests allocate what stays.
    _wave($nginx, 2);
    my $idle   = _figures($nginx)->{heap};
    my $first  = _wave($nginx, $requests);
    my $second = _wave($nginx, $requests);
    $nginx->stop;
    return ($first - $idle, $second - $first);
}

# The heap while this many requests wait.
sub _wave ($nginx, $requests) {
    my @clients = map { $nginx->connect } 1 .. $requests;
    $_->send('/wait') for @clients;
    my $figures = _await($nginx, sub ($now) { $now->{waiting} == $requests });
    $nginx->get('/release');
    for my $client (@clients) {
        my ($code) = $client->receive;
        die "memory: a request answered $code\n" if $code != 200;
    }
    undef @clients;
    _await($nginx, sub ($now) { $now->{active} == 1 });
    return $figures->{heap};
}

sub _figures ($nginx) {
    my %now;
    @now{qw(waiting active heap)} = split ' ', $nginx->get('/heap');
    return \%now;
}

sub _await ($nginx, $condition) {
    return $nginx->await('the requests', sub {
        my $now = _figures($nginx);
        return $condition->($now) && $now;
    });
}

1;
