package Bench::Loops;

# The compiled loops (lua/bench/loops.lua), in workers that take turns: with this
# module, without any, with ngx.var patched, with the JIT off, with each peer.

use v5.36;

use Bench::Stats qw(summary);
use Bench::Worker ();

use constant ROUNDS => 21;

# The variables need values. The upstream is this nginx itself,
# whose X-Accel-Redirect leads to the location where the loops run.
sub server ($port, $setup) {
    return <<"CONF";
        set \$settable first-value;
        location = /bench {
            proxy_pass http://127.0.0.1:$port/upstream;
        }
        location = /upstream {
            content_by_lua_block {
                ngx.sleep(0.003)    -- so that all times are above zero, in each round
                ngx.header["X-Accel-Redirect"] = "/bench/loop?x=arg-value-x&indexed=arg-indexed"
                ngx.header["X-Up"] = "up-header-x"
                ngx.say("ok")
            }
        }
        location = /bench/other {
            content_by_lua_block { require("resty.ngxvar").request() }
        }
        location = /bench/loop {
            internal;
            set \$foo value-of-it;
            content_by_lua_block {
                ngx.header["X-Sent"] = "sent-header"
                local loops = require "bench.loops"
                if #loops.cases == 0 then
                    $setup
                end
                loops.round()
            }
        }
CONF
}

my $STOCK = 'require("bench.others").add_ngx_var()';

# The workers, by name. `peers` comes from Bench::Peers.
sub workers (@peers) {
    my $ours = 'local ours = require "bench.ours"; ours.check();';
    my %with = (modules => [$Bench::Worker::MODULE], index => 'log_format uses "$arg_indexed";');
    return (
        {   name => 'module', %with,
            setup => "$ours ours.add_fetch(); $STOCK; require('bench.others').add_ngx_ctx()",
        },
        { name => 'stock', setup => "$STOCK; require('bench.others').add_ngx_ctx()" },
        {   name => 'patched', %with, setup => $STOCK,
            init => 'require("resty.ngxvar").patch_ngx_var()',
        },
        {   name => 'jit-off', %with, init => 'jit.off()',
            setup => "$ours ours.add_fetch(); $STOCK",
        },
        map { { %$_, setup => "require('bench.others').add_$_->{reader}()" } } @peers,
    );
}

# { worker => { "reader name" => { ns => summary, compiled => what } } }
sub run ($progress, @peers) {
    my @workers = map { _start($_) } workers(@peers);
    my (%samples, %result);

    for my $round (0 .. ROUNDS) {
        $progress->("compiled loops, round $round of " . ROUNDS);
        for my $worker (@workers) {
            my $text = $worker->{nginx}->get('/bench?x=uri-value-x');
            for my $line (split /\n/, $text) {
                my ($reader, $name, $value, $extra) = split ' ', $line;
                if ($value eq 'compiled') {
                    $result{$worker->{name}}{"$reader $name"}{compiled} = $extra;
                    next;
                }
                die "$worker->{name}: $reader $name gave $extra wrong values\n" if $extra;
                # The first round is the one in which LuaJIT compiles.
                push @{ $samples{$worker->{name}}{"$reader $name"} }, $value + 0 if $round;
            }
        }
    }
    for my $worker (keys %samples) {
        for my $case (keys %{ $samples{$worker} }) {
            $result{$worker}{$case}{ns} = summary(@{ $samples{$worker}{$case} });
        }
    }
    $_->{nginx}->stop for @workers;
    return \%result;
}

sub _start ($worker) {
    my $nginx = Bench::Worker->start(
        %$worker,
        name   => "loops-$worker->{name}",
        http   => join("\n", grep { defined } $worker->{index}, $worker->{http}),
        server => sub ($port) { server($port, $worker->{setup}) },
    );
    return { name => $worker->{name}, nginx => $nginx };
}

1;
