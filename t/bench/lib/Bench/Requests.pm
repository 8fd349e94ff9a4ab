package Bench::Requests;

# Whole requests, with this module and without: instructions, counted in fresh workers.

use v5.36;

use Bench::Callgrind ();
use Bench::Stats     qw(median);
use Bench::Worker    ();

use constant RESTARTS => 3;

my @OURS = (modules => [$Bench::Worker::MODULE]);

# A request without Lua.
use constant PLAIN => 'location = /request { return 200; }';

# The cheapest request with Lua.
use constant SAY => 'location = /request { content_by_lua_block { ngx.say("right") } }';

# … that asks for a handle.
use constant HANDLE => <<'CONF';
    location = /request {
        content_by_lua_block {
            local req = require("resty.ngxvar").request()
            ngx.say("right")
        }
    }
CONF

# What HANDLE does besides.
use constant NO_HANDLE => <<'CONF';
    location = /request {
        content_by_lua_block {
            local req = require("resty.ngxvar")
            ngx.say("right")
        }
    }
CONF

# The cheapest request with a ngx.ctx.
use constant CTX => <<'CONF';
    location = /request {
        content_by_lua_block {
            ngx.ctx.key = "kept"
            ngx.say(ngx.ctx.key == "kept" and "right" or "wrong")
        }
    }
CONF

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

sub workers () {
    my $dump = 'require("bench.ctxdump")';
    my %with = (
        plain  => PLAIN,
        say    => SAY,
        ctx    => CTX,
        error  => failing('', '', '"kept"'),
        handle => HANDLE,
        'no-handle' => NO_HANDLE,
    );
    my %without = (
        plain => PLAIN,
        say   => SAY,
        ctx   => CTX,
        lost  => failing('', '', 'nil'),
        'by-hand' => failing("$dump.stash()", "$dump.apply()", '"kept"'),
    );
    return (
        (map { { name => "$_-module", @OURS, server => $with{$_} } } sort keys %with),
        map { { name => "$_-stock", server => $without{$_} } } sort keys %without,
    );
}

# { worker => instructions, of each of its restarts }
sub run ($progress) {
    my @workers;
    for my $restart (1 .. RESTARTS) {
        push @workers, map {
            { %$_, kind => $_->{name}, name => "$_->{name}-$restart", paths => ['/request'] }
        } workers();
    }
    Bench::Callgrind::count(sub ($what) { $progress->("whole requests, $what") }, @workers);

    my %of;
    push @{ $of{ $_->{kind} } }, $_->{instructions}{'/request'} for @workers;
    return \%of;
}

# What a request takes more in one kind of worker than in another.
sub more ($of, $with, $without) { return median(@{ $of->{$with} }) - median(@{ $of->{$without} }) }

1;
