package Bench::Refused;

# The cost of logging refusals: where nothing is refused, and where so many are that nearly all
# are left out. Instructions, counted in fresh workers.

use v5.36;

use Bench::Callgrind ();
use Bench::Worker    ();

use constant READS => 100;
# Separate reads, as in a handler; interpreted, because LuaJIT compiles differently in each
# worker.
use constant SERVER => <<'CONF';
    location = /fetched {
        content_by_lua_block { reads(ngxvar.request()) ngx.say("ok") }
    }
    location = /refused {
        content_by_lua_block { reads(ended) ngx.say("ok") }
    }
    location = /bare {
        content_by_lua_block { ended = ended or ngxvar.request() ngx.say("ok") }
    }
CONF
use constant SETUP => <<'LUA';
    jit.off()
    ngxvar = require "resty.ngxvar"
    function reads(req)
        for _ = 1, 100 do
            local value = ngxvar.fetch("scheme", req)
        end
    end
LUA

my %SETTINGS = (off => 'lua_var_log_refused off;', warn => 'lua_var_log_refused warn rate=1r/s;');

# { fetched, refused => { off, warn => instructions of one read } }
sub run ($progress) {
    my @workers = map {
        {
            name    => "refused-$_",
            setting => $_,
            modules => [$Bench::Worker::MODULE],
            http    => $SETTINGS{$_},
            init    => SETUP,
            server  => SERVER,
            paths   => [ '/bare', '/fetched', '/refused' ],
        }
    } sort keys %SETTINGS;
    Bench::Callgrind::count($progress, @workers);

    my %result;
    for my $worker (@workers) {
        my $of = $worker->{instructions};
        for my $what (qw(fetched refused)) {
            $result{$what}{ $worker->{setting} } = ($of->{"/$what"} - $of->{'/bare'}) / READS;
        }
    }
    return \%result;
}

1;
