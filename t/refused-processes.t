# Refusals before a process serves requests, and after: init_by_lua*, in the master,
# init_worker_by_lua* and exit_worker_by_lua*.  What is counted by culprit is counted in all.

use v5.36;
use lib 't/lib';

use NginxServer;
use Test::More;

NginxServer->skip_unless_plain;

my $port  = NginxServer->port;
my $nginx = NginxServer->new(workers => 2, http => <<'END' =~ s/PORT/$port/r);
    lua_var_trace_handles on;
    init_by_lua_block { require("resty.ngxvar").fetch("uri", ngx.null) }
    init_worker_by_lua_block {
        local ngxvar = require "resty.ngxvar"
        kept = ngxvar.request()
        ngxvar.fetch("uri")
    }
    exit_worker_by_lua_block { require("resty.ngxvar").fetch("uri") }
    server {
        listen 127.0.0.1:PORT;
        location = /stats {
            content_by_lua_block {
                local stats, by_culprit = require("resty.ngxvar").stats(), 0
                for name, value in pairs(stats) do
                    by_culprit = by_culprit + (name:find("^refused_by_total") and value or 0)
                end
                ngx.print("bad_argument ", stats['refused_total{reason="bad_argument"}'],
                          ", no_variables ", stats['refused_total{reason="no_variables"}'],
                          ", by culprit ", by_culprit)
            }
        }
        location = /kept { content_by_lua_block { ngx.print((select(2, require("resty.ngxvar").fetch("uri", kept)))) } }
    }
END

# Of so many workers that have begun and ended, after so many configurations.
sub is_counted ($configurations, $begun, $ended, $when) {
    my $fake = $begun + $ended;
    my $expected = sprintf 'bad_argument %u, no_variables %u, by culprit %u', $configurations, $fake,
        $configurations + $fake;
    my $got;
    eval { $nginx->await($when, sub { ($got = $nginx->get('/stats')->{content}) eq $expected }); 1 };
    is($got, $expected, $when);
    return;
}

$nginx->start;
is_counted(1, 2, 0, 'at the start');
$nginx->reload;
is_counted(2, 4, 2, 'after a reload');

is($nginx->get('/kept')->{content}, 'stale request', 'a handle of init_worker_by_lua* names no request');
like(join('', $nginx->log_lines), qr/\(stale request\), .*made in a timer or at the start of a worker [\d.]+s ago at init_worker_by_lua\S*:3/,
    'the line names where it was made');
$nginx->stop_cleanly;

done_testing;
