package Bench::Handlers;

# Twenty reads in one handler (lua/bench/handlers.lua): instructions per read, in
# fresh workers.

use v5.36;

use Bench::Callgrind ();
use Bench::Worker    ();

use constant { RESTARTS => 5, READS => 20 };

our @SHAPES = qw(straight loop metatable);

sub _worker ($reader, $shape, $restart, %more) {
    my $lua_reader = $more{lua_reader} // $reader;
    return {
        %more,
        name   => "handlers-$reader-$shape-$restart",
        reader => $reader,
        shape  => $shape,
        paths  => [ '/handler', '/bare' ],
        init   => 'require("bench.handlers").shift_memory() ' . ($more{init} // ''),
        server => <<"CONF",
            location = /handler {
                content_by_lua_block {
                    local handlers = require "bench.handlers"
                    handlers.run("handler", function () return handlers.make("$lua_reader", "$shape") end)
                }
            }
            location = /bare {
                content_by_lua_block {
                    local handlers = require "bench.handlers"
                    handlers.run("bare", function () return function () ngx.say("right") end end)
                }
            }
CONF
    };
}

# { reader => { shape => [instructions per read, by restart] } }
sub run ($progress, @peers) {
    my %ours = (modules => [$Bench::Worker::MODULE]);
    # reader, shapes, arguments of Bench::Worker->start
    my @kinds = (
        [ ours      => \@SHAPES, %ours ],
        [ 'ngx.var' => \@SHAPES ],
        [ patched   => ['straight'], %ours, lua_reader => 'ngx.var',
            init => 'require("resty.ngxvar").patch_ngx_var()' ],
        # Not held to anything: which entry to take where.
        [ current => [qw(straight loop)], %ours ],
        [ getter  => \@SHAPES, %ours ],
        map { [ $_->{reader}, \@SHAPES, %$_ ] } @peers,
    );
    my @workers;
    for my $restart (1 .. RESTARTS) {
        for my $kind (@kinds) {
            my ($reader, $shapes, %more) = @$kind;
            push @workers, map { _worker($reader, $_, $restart, %more) } @$shapes;
        }
    }
    Bench::Callgrind::count($progress, @workers);

    my %result;
    for my $worker (@workers) {
        my $more = $worker->{instructions}{'/handler'} - $worker->{instructions}{'/bare'};
        push @{ $result{$worker->{reader}}{$worker->{shape}} }, $more / READS;
    }
    return \%result;
}

1;
