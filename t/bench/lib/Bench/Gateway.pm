package Bench::Gateway;

# A request as a gateway handles it (lua/bench/gateway.lua): instructions of the whole of it,
# with each reader, and with one that reads nothing.

use v5.36;

use Bench::Callgrind ();
use Bench::Stats     qw(median);
use Bench::Worker    ();

# Fresh workers, because LuaJIT compiles differently in each.
use constant RESTARTS => 3;

sub _worker ($reader, $restart, %more) {
    my $lua_reader = $more{lua_reader} // $reader;
    my $phases = join "\n", map { qq{${_}_by_lua_block { require("bench.gateway").run("$_", "$lua_reader") }} }
        qw(access header_filter log);
    return {
        %more,
        name   => "gateway-$reader-$restart",
        reader => $reader,
        paths  => ['/gateway'],
        query  => sub { sprintf '?id=%08d&page=%04d', int rand 1e8, int rand 1e4 },
        init   => 'require("bench.handlers").shift_memory() ' . ($more{init} // ''),
        server => <<"CONF",
            location = /gateway {
                $phases
                content_by_lua_block { ngx.say("right") }
            }
CONF
    };
}

# { reader => instructions of a request, by restart }; "constants" reads nothing.
sub run ($progress, @peers) {
    my %ours  = (modules => [$Bench::Worker::MODULE]);
    my @kinds = (
        [ constants => %ours ],
        [ 'ngx.var' ],
        [ patched => %ours, lua_reader => 'ngx.var', init => 'require("resty.ngxvar").patch_ngx_var()' ],
        [ ours => %ours ],
        map { [ $_->{reader}, %$_ ] } @peers,
    );
    my @workers;
    for my $kind (@kinds) {
        my ($reader, %more) = @$kind;
        push @workers, map { _worker($reader, $_, %more) } 1 .. RESTARTS;
    }
    Bench::Callgrind::count(sub ($what) { $progress->("a gateway's request, $what") }, @workers);

    my %result;
    push @{ $result{ $_->{reader} } }, $_->{instructions}{'/gateway'} for @workers;
    return \%result;
}

# The share of a request that reading takes.
sub share ($of, $reader) {
    my ($with, $without) = map { median(@{ $of->{$_} }) } $reader, 'constants';
    return ($with - $without) / $with;
}

1;
