package Bench::Handlers;

# Twenty different variables in one handler (lua/bench/handlers.lua): instructions per read,
# in fresh workers.

use v5.36;

use List::Util qw(shuffle);

use Bench::Callgrind ();
use Bench::Worker    ();

# FEW: restarts for readers without a limit.
use constant { RESTARTS => 5, FEW => 2, READS => 20 };

our @SHAPES = qw(straight entry loop metatable);

sub _worker ($reader, $shape, $restart, %more) {
    my $lua_reader = $more{lua_reader} // $reader;
    return {
        %more,
        name   => "handlers-$reader-$shape-$restart",
        reader => $reader,
        shape  => $shape,
        paths  => [ '/handler', '/bare' ],
        # other arguments each time
        query  => sub { sprintf '?id=%08d&page=%04d', int rand 1e8, int rand 1e4 },
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
                    handlers.run("bare", function () return handlers.make_bare("$shape") end)
                }
            }
CONF
    };
}

# { reader => { shape => [instructions per read, by restart] } }
sub run ($progress, @peers) {
    my %ours = (modules => [$Bench::Worker::MODULE]);
    # reader, restarts, shapes, arguments of Bench::Worker->start
    my @kinds = (
        [ ours      => RESTARTS, \@SHAPES, %ours ],
        [ 'ngx.var' => RESTARTS, \@SHAPES ],
        [ patched   => RESTARTS, [qw(straight entry)], %ours, lua_reader => 'ngx.var',
            init => 'require("resty.ngxvar").patch_ngx_var()' ],
        [ current => FEW, [qw(straight loop)], %ours ],
        [ reader  => RESTARTS, [qw(straight entry)], %ours ],
        [ getter  => FEW, \@SHAPES, %ours ],
        map { [ $_->{reader}, RESTARTS, \@SHAPES, %$_ ] } @peers,
    );
    my @workers;
    for my $kind (@kinds) {
        my ($reader, $restarts, $shapes, %more) = @$kind;
        for my $restart (1 .. $restarts) {
            push @workers, map { _worker($reader, $_, $restart, %more) } @$shapes;
        }
    }
    # in random order, so that load on the machine hits no kind alone
    Bench::Callgrind::count($progress, shuffle @workers);

    my %result;
    for my $worker (@workers) {
        my $more = $worker->{instructions}{'/handler'} - $worker->{instructions}{'/bare'};
        push @{ $result{$worker->{reader}}{$worker->{shape}} }, $more / READS;
    }
    return \%result;
}

1;
