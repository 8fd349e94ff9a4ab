package Bench::Memory;

# The memory of a live request: the heap of a worker with this module and of one without,
# while thousands of requests wait in each; and the memory of the registry, which is not in
# the heap.

use v5.36;

use POSIX       ();

use Bench::Worker ();

# sizeof(ngx_pool_cleanup_t): handler, data, next. It is in the request's pool, whose block
# nginx allocates anyway, so the heap does not show it.
use constant CLEANUP => 24;

# Registry::RESERVED in src/registry/mod.rs.
use constant TABLE => 4096 * 1024 * 64;

use constant SERVER => <<'CONF';
    location = /wait {
        content_by_lua_block {
            WAITING = WAITING or require("ngx.semaphore").new()
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
                    " ", require("bench.floor").floor_heap())
        }
    }
CONF

# { requests, bytes (of one), kept (bytes of one that a second wave adds) }
sub run ($progress) {
    my $requests = POSIX::sysconf(POSIX::_SC_OPEN_MAX()) - 200;
    $requests = 8000 if $requests > 8000;

    $progress->("memory, $requests live requests");
    my ($ours, $again) = _heap($requests, 'memory-module', modules => [$Bench::Worker::MODULE]);
    my ($stock)        = _heap($requests, 'memory-stock');
    return {
        requests => $requests,
        bytes    => ($ours - $stock) / $requests + CLEANUP,
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
    $now{heap} += _table($nginx->pid);
    return \%now;
}

# Bytes of the registry that have memory: its mapping before the reserved rest, which is
# read-only. 0 in a worker without the module.
sub _table ($pid) {
    no warnings 'portable';    # addresses have more than 32 bits
    open my $maps, '<', "/proc/$pid/maps" or die "maps: $!\n";
    my ($writable, $end) = (0, '');
    while (readline $maps) {
        my ($from, $to, $rights) = /^(\w+)-(\w+) (\S+) 0+ 00:00 0 *$/ or next;
        my $size = hex($to) - hex($from);
        return $from eq $end ? $writable : 0 if $rights eq 'r--p' && $size > TABLE / 2;
        ($writable, $end) = $rights eq 'rw-p' ? ($size, $to) : (0, '');
    }
    return 0;
}

sub _await ($nginx, $condition) {
    return $nginx->await('the requests', sub {
        my $now = _figures($nginx);
        return $condition->($now) && $now;
    });
}

1;
