package Bench::Requests;

# Whole requests, with this module and without: instructions by callgrind, and
# requests per second by wrk.

use v5.36;

use Bench::Callgrind ();
use Bench::Stats     qw(summary);
use Bench::Worker    ();

use constant SECONDS => 1;

use constant ELSEWHERE => system('taskset -c 1 true 2> /dev/null') == 0 ? 'taskset -c 1 ' : '';

my @OURS = (modules => [$Bench::Worker::MODULE]);

# A request without Lua.
use constant PLAIN => 'location = /request { return 200; }';

# An error in the access phase, whose page needs the ngx.ctx from before it.
sub failing ($before, $after, $want) {
    return <<"CONF";
        location = /request {
            set \$ctx_ref "";
            error_page 502 =200 /failed;
            access_by_lua_block {
                ngx.ctx.key = "kept"
                $before
                return ngx.exit(502)
            }
            content_by_lua_block { ngx.say("wrong: no error") }
        }
        location = /failed {
            internal;
            content_by_lua_block {
                $after
                ngx.say(ngx.ctx.key == $want and "right" or "wrong")
            }
        }
CONF
}

# The cheapest request with a ngx.ctx.
use constant CTX => <<'CONF';
    location = /request {
        content_by_lua_block {
            ngx.ctx.key = "kept"
            ngx.say(ngx.ctx.key == "kept" and "right" or "wrong")
        }
    }
CONF

sub workers () {
    my $dump = 'require("bench.ctxdump")';
    return (
        { name => 'plain-module', @OURS, server => PLAIN },
        { name => 'plain-stock',  server => PLAIN },
        { name => 'ctx-module', @OURS, server => CTX },
        { name => 'ctx-stock',    server => CTX },
        { name => 'error-module', @OURS, server => failing('', '', '"kept"') },
        { name => 'error-by-hand', server => failing("$dump.stash()", "$dump.apply()", '"kept"') },
        { name => 'error-lost', server => failing('', '', 'nil') },
    );
}

# { worker => { instructions, rate (requests per second), per_cpu (requests per
# second of CPU time), to_first (the latter, divided round by round) } }
sub run ($progress) {
    my @workers = Bench::Callgrind::count(
        sub ($what) { $progress->("whole requests, $what") },
        map { { %$_, paths => ['/request'] } } workers(),
    );
    my %result = map { $_->{name} => { instructions => $_->{instructions}{'/request'} } } @workers;

    # A difference of one percent needs more rounds.
    for my $pair ([ 16, qw(plain-stock plain-module) ], [ 10, qw(error-by-hand error-module) ]) {
        my ($rounds, @names) = @$pair;
        my %worker = map { $_->{name} => $_ } workers();
        _rates($progress, \%result, $rounds, @worker{@names});
    }
    return \%result;
}

# Two workers take turns, also in beginning. They share a CPU; wrk has another.
sub _rates ($progress, $result, $rounds, @pair) {
    for my $worker (@pair) {
        $worker->{nginx} = Bench::Worker->start(%$worker);
        system 'taskset -cp 0 ' . $worker->{nginx}->pid . ' > /dev/null 2>&1';
    }
    my (%rate, %per_cpu, @to_first);
    for my $round (0 .. $rounds) {
        $progress->("requests per second, $pair[1]{name}, round $round of $rounds");
        my %now;
        for my $worker ($round % 2 ? @pair : reverse @pair) {
            my ($rate, $per_cpu) = _wrk($worker->{nginx});
            next if !$round;
            push @{ $rate{$worker->{name}} },    $rate;
            push @{ $per_cpu{$worker->{name}} }, $per_cpu;
            $now{$worker->{name}} = $per_cpu;
        }
        push @to_first, $now{$pair[1]{name}} / $now{$pair[0]{name}} if $round;
    }
    for my $worker (@pair) {
        my $name = $worker->{name};
        $worker->{nginx}->stop;
        $result->{$name}{rate}    = summary(@{ $rate{$name} });
        $result->{$name}{per_cpu} = summary(@{ $per_cpu{$name} });
    }
    $result->{$pair[1]{name}}{to_first} = summary(@to_first);
    return;
}

# Requests per second, and per second that the worker had a CPU: the latter does
# not depend on what else the machine does.
sub _wrk ($nginx) {
    my $before = $nginx->cpu_time;
    my $url    = 'http://127.0.0.1:' . $nginx->port . '/request';
    my $said   = qx{${\ ELSEWHERE}wrk -t1 -c16 -d${\ SECONDS}s $url 2>&1};
    my $cpu    = ($nginx->cpu_time - $before) / 1e9;
    die "wrk: $said\n" if $said =~ /Non-2xx|Socket errors/ || $? != 0;
    my ($requests) = $said =~ /(\d+) requests in/ or die "wrk: $said\n";
    my ($rate) = $said =~ m{Requests/sec:\s+([\d.]+)};
    return ($rate + 0, $requests / $cpu);
}

1;
