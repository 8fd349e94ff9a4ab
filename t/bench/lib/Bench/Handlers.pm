package Bench::Handlers;

# Twenty different variables in one handler (lua/bench/handlers.lua): instructions of the whole
# request, and per read, in fresh workers.

use v5.36;

use List::Util qw(shuffle);

use Bench::Callgrind ();
use Bench::Worker    ();

# Fresh workers, because LuaJIT compiles and hashes differently in each.
use constant { RESTARTS => 5, READS => 20 };

our @SHAPES = qw(straight entry loop metatable);

# The shapes of each reader's handlers: `reader` and the patch have no code of their own for a
# loop or a metatable.
my %SHAPES = (reader => [qw(straight entry)], patched => [qw(straight entry)],
    current => [qw(straight loop)]);

sub _worker ($reader, $restart, %more) {
    my $lua_reader = $more{lua_reader} // $reader;
    my $shapes     = $SHAPES{$reader} // \@SHAPES;
    my %made       = (
        (map { $_ => qq{make("$lua_reader", "$_")} } @$shapes),
        map { ("bare-$_" => qq{make_bare("$_")}) } qw(straight entry),
    );
    return {
        %more,
        name    => "handlers-$reader-$restart",
        reader  => $reader,
        shapes  => $shapes,
        paths   => [ map { "/$_" } sort keys %made ],
        request => \&Bench::Worker::vary,
        init    => 'require("bench.handlers").shift_memory() ' . ($more{init} // ''),
        server  => join('', map { _location($_, $made{$_}) } sort keys %made),
    };
}

sub _location ($name, $make) {
    return <<"CONF";
        location = /$name {
            content_by_lua_block {
                local handlers = require "bench.handlers"
                handlers.run("$name", function () return handlers.$make end)
            }
        }
CONF
}

# { reader => { shape => { reads => [instructions per read, by restart], share => [of the
# request, by restart] } } }
sub run ($progress, @peers) {
    my %ours = (modules => [$Bench::Worker::MODULE]);
    # reader, arguments of Bench::Worker->start
    my @kinds = (
        ['ngx.var'],
        [ ours    => %ours ],
        [ current => %ours ],
        [ reader  => %ours ],
        [ patched => %ours, lua_reader => 'ngx.var', init => 'require("resty.ngxvar").patch_ngx_var()' ],
        map { [ $_->{reader}, %$_ ] } @peers,
    );
    my @workers;
    for my $restart (1 .. RESTARTS) {
        push @workers, map { my ($reader, %more) = @$_; _worker($reader, $restart, %more) } @kinds;
    }
    Bench::Callgrind::count(sub ($what) { $progress->("twenty variables, $what") }, shuffle @workers);

    my %result;
    for my $worker (@workers) {
        my $of = $worker->{instructions};
        for my $shape (@{ $worker->{shapes} }) {
            my $bare = $of->{ $shape eq 'entry' ? '/bare-entry' : '/bare-straight' };
            my $more = $of->{"/$shape"} - $bare;
            my $into = $result{ $worker->{reader} }{$shape} //= {};
            push @{ $into->{reads} }, $more / READS;
            push @{ $into->{share} }, $more / $of->{"/$shape"};
        }
    }
    return \%result;
}

1;
