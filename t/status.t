# What the workers count, and where it is read: lua_var_status, stats(), $lua_var_refused,
# $lua_var_restored.

use v5.36;
use lib 't/lib';

use JSON::PP ();
use NginxServer;
use NgxVarTest::Client ();
use NgxVarTest::File qw(read_file write_file);
use NgxVarTest::Process qw(wait_until);
use Test::More;

NginxServer->skip_unless_plain;

use constant WORKERS => 2;

my $STALE = 'refused_total{reason="stale"}';
my $OTHER = 'restored_total{redirect="other"}';

my $HTTP = <<'END';
    log_format seen '$uri $lua_var_refused "$lua_var_restored"';
    lua_var_log_refused off;
    init_by_lua_block { kept = { } }

    server {
        listen 127.0.0.1:PORT;
        access_log logs/seen.log seen;

        location = /status { lua_var_status; }
        location = /text { lua_var_status text; }
        location = /json { lua_var_status json; if ($arg_x) { set $in_if 1; } }
        location /prometheus {
            lua_var_status prometheus;
            location /prometheus/inner { return 200 "inner\n"; }
        }
        location = /stats {
            content_by_lua_block {
                local stats = require("resty.ngxvar").stats()
                local names = {}
                for name in pairs(stats) do names[#names + 1] = name end
                table.sort(names)
                for _, name in ipairs(names) do ngx.say(name, " ", stats[name]) end
            }
        }
        location = /stale {
            content_by_lua_block {
                local ngxvar = require "resty.ngxvar"
                local handle = require("ffi").cast("void *", 4096)
                for i = 1, ngx.var.arg_n do ngxvar.fetch("uri", handle) end
                ngx.say("done")
            }
        }
        location = /names {
            content_by_lua_block {
                local text = [[
                    local ngxvar, handle = ... local v = ngxvar.fetch('x"} 5\ny', handle)]]
                local handle = require("ffi").cast("void *", 4096)
                -- two culprits with the same labels
                local value, done = ngx.null, pcall(function () local f = require "resty.ngxvar" f.fetch("args", handle) f.set("args", "x", handle) end)
                assert(loadstring(text:gsub("^%s+", ""), '=<b>"a \\\n&'))(require "resty.ngxvar", handle)
                ngx.say("done")
            }
        }
        location = /timer {
            content_by_lua_block {
                local done
                ngx.timer.at(0, function () require("resty.ngxvar").fetch("uri") done = true end)
                repeat ngx.sleep(0.005) until done
                ngx.say("done")
            }
        }
        location = /lost {
            access_by_lua_block { ngx.ctx.id = "mine" ngx.exit(404) }
            error_page 404 /landed;
        }
        location = /moved {
            lua_var_ctx_restore all;
            access_by_lua_block { ngx.ctx.id = "mine" ngx.exec("/landed_all") }
        }
        location = /lost_off {
            access_by_lua_block { ngx.ctx.id = "mine" ngx.exit(404) }
            error_page 404 /landed_off;
        }
        location = /moved_default { access_by_lua_block { ngx.ctx.id = "mine" ngx.exec("/landed") } }
        location = /landed_off { lua_var_ctx_restore off; content_by_lua_block { ngx.say(ngx.ctx.id) } }
        location = /landed { content_by_lua_block { ngx.say(ngx.ctx.id) } }
        location = /landed_all { lua_var_ctx_restore all; content_by_lua_block { ngx.say(ngx.ctx.id) } }
        location = /pid { content_by_lua_block { ngx.print(ngx.worker.pid()) } }
        location = /hold {
            content_by_lua_block { ngx.say("pid ", ngx.worker.pid()) ngx.flush(true) ngx.sleep(60) }
        }
    }
END
$HTTP =~ s/PORT/NginxServer->port/e;

my $nginx = NginxServer->new(workers => WORKERS, http => $HTTP);
$nginx->start;
ok($nginx->await_workers, 'nginx starts');

sub stats () {
    my $json = JSON::PP::decode_json($nginx->get('/json')->{content});
    delete @$json{qw(by_worker culprits version nginx restore layout)};
    return $json;
}

my $begin = stats();
is($begin->{$_}, 0, "$_ is 0 at first") for grep { !/^(?:live_requests|registered_total|workers)$/ } sort keys %$begin;
is($begin->{workers}, WORKERS, 'workers are counted');
is($begin->{live_requests}, 1, 'the request that asks is live');

# ---- What is counted ---------------------------------------------------------------------

$nginx->get('/stale?n=70');
$nginx->get('/timer');
is($nginx->get('/lost')->{content},  "mine\n", 'ngx.ctx is restored after an error page');
is($nginx->get('/moved')->{content}, "mine\n", 'ngx.ctx is restored after another redirect');

is($nginx->get('/lost_off')->{content},      "nil\n", 'ngx.ctx is not restored where that is off');
is($nginx->get('/moved_default')->{content}, "nil\n", 'nor after another redirect by default');

# A request lives a little longer than its response.
my $now;
wait_until(NginxServer::TIMEOUT, sub { ($now = stats())->{live_requests} == 1 });
is($now->{$STALE},        70, 'stale handles are counted');
is($now->{'refused_total{reason="no_variables"}'}, 1,  'refusals without variables are counted');
is($now->{'restored_total{redirect="error_page"}'},  1,  'an ngx.ctx restored after an error page is counted');
is($now->{$OTHER},       1,  'an ngx.ctx restored after another redirect is counted');
is($now->{"not_restored_total{reason=\"$_\"}"}, 1, "one that is not restored is counted: $_") for qw(off not_error_page);
is($now->{live_requests},                 1,  'only the asking request is live');
# four requests, and the timer's
cmp_ok($now->{registered_total}, '>=', $begin->{registered_total} + 4 + 1, 'registered requests are counted');

my %said = $nginx->get('/stats')->{content} =~ /^(\S+) (\d+)$/gm;
my %by = map { ($_ => delete $said{$_}) } grep { /^refused_by/ } keys %said;
is(join(' ', sort keys %said), join(' ', sort keys %$now), 'stats() has the same names');
is($said{$_}, $now->{$_}, "stats(): $_") for grep { !/^(?:live|registered)_/ } sort keys %said;
my $where = qr{content_by_lua\(nginx\.conf:\d+\):\d+};
is(join(' ', map { s{$where}{content}r . " $by{$_}" } sort keys %by),
    'refused_by_total{at="content",variable="uri",reason="stale"} 70 '
    . 'refused_by_total{at="content",variable="uri",reason="no_variables"} 1', 'stats() has the culprits');

my $log;
wait_until(NginxServer::TIMEOUT, sub { ($log = read_file($nginx->root . '/logs/seen.log')) =~ /landed_all/ });
like($log, qr{^/stale 70 ""$}m,            '$lua_var_refused');
like($log, qr{^/landed 0 "error_page"$}m,   '$lua_var_restored, after an error page');
like($log, qr{^/landed_off 0 "off"$}m,         '$lua_var_restored, where it is off');
like($log, qr{^/landed 0 "not_error_page"$}m, '$lua_var_restored, after a redirect that is no error page');
like($log, qr{^/landed_all 0 "other"$}m,    '$lua_var_restored, after another redirect');

# ---- Formats -----------------------------------------------------------------------------

my %by_accept = (
    ''                                             => ['text/plain', qr/^version \S+\n.*^workers \d+\n/ms],
    'text/html,application/xml;q=0.9,*/*;q=0.8'    => ['text/html', qr/^<!doctype html>/],
    'application/json'                             => ['application/json', qr/^\{"version":"[\d.]+(?:-git\.\w+)?",/],
    'application/openmetrics-text;version=1.0.0,*/*' => ['text/plain; version=0.0.4', qr/^# HELP /],
    'text/plain;version=0.0.4'                     => ['text/plain; version=0.0.4', qr/^# HELP /],
);
for my $accept (sort keys %by_accept) {
    my $response = $nginx->get('/status', headers => { $accept ? (Accept => $accept) : () });
    my ($type, $body) = $by_accept{$accept}->@*;
    is($response->{headers}{'content-type'}, $type, "Accept: $accept gets its type");
    like($response->{content}, $body, "Accept: $accept gets its body");
}
like($nginx->get('/json?x=1')->{content}, qr/^\{"version":/, 'the format is that of the location where an "if" in it applies');
like($nginx->get('/text', headers => { Accept => 'application/json' })->{content}, qr/^version /,
    'a format that is named is kept to');
is($nginx->get('/status', method => 'POST', content => 'a=1')->{status}, 405, 'POST is not allowed');
is($nginx->get('/prometheus/inner')->{content}, "inner\n", 'a location in it has its own handler');

my $head = $nginx->get('/prometheus', method => 'HEAD');
is($head->{status}, 200, 'HEAD gets 200');
is($head->{content}, '', 'HEAD gets no body');
cmp_ok($head->{headers}{'content-length'}, '>', 500, 'HEAD gets the length of the body');

my $json = JSON::PP::decode_json($nginx->get('/json')->{content});
is_deeply([ sort { $a <=> $b } map { $_->{pid} } $json->{by_worker}->@* ],
    [ sort { $a <=> $b } $nginx->workers ], 'a row for each worker');
my $rows = 0;
$rows += $_->{$STALE} for $json->{by_worker}->@*;
is($rows, $json->{$STALE}, 'the rows of the workers add up to the sum');

my ($timer, $stale) = $json->{culprits}->@*;
like($stale->{at}, qr/^$where$/, 'the culprits have their places');
is_deeply([ @$stale{qw(count asked variable reason phase request while)} ],
    [ 70, 'read', 'uri', 'stale', 'content_by_lua*', 'pointer 0x1000', 'GET /stale?n=70 HTTP/1.1' ], 'what a culprit did');
is($timer->{phase}, 'a timer', 'the last one that was refused comes first');
like($stale->{last} - time, qr/^-?\d$/, 'when it was refused last');

# Chunks and variables may have any name.
$nginx->get('/names');
$json = JSON::PP::decode_json($nginx->get('/json')->{content});
is($json->{culprits}[0]{at}, '<b>\x22a\x20\x5C\x0A&:1', 'a chunk name is escaped for the log');
is($json->{culprits}[0]{variable}, 'x\x22} 5\x0Ay', 'a variable name, too');
my $html = $nginx->get('/status', headers => { Accept => 'text/html' })->{content};
like($html, qr{<td class=at>&lt;b>\\x22a\\x20\\x5C\\x0A&amp;:1<}, 'and again for HTML');
unlike($html, qr{<script|https?:|url\(}, 'the page loads nothing and runs no script');
like($html, qr{<th class=n>$_\b}, "the page has worker $_") for $nginx->workers;

check_prometheus($nginx->get('/prometheus')->{content});

# Read by Prometheus' own client library.
sub check_prometheus ($text) {
    my %type;
    for my $line (split /\n/, $text) {
        if ($line =~ /^# TYPE (\S+) (counter|gauge)$/) {
            my ($name, $type) = ($1, $2);
            ok(!$type{$name}, "$name has one TYPE");
            $type{$name} = $type;
            is($name =~ /_total$/ ? 'counter' : 'gauge', $type, "$name has the type that its name says");
        }
        elsif ($line !~ /^# HELP nginx_lua_var_\w+ .+\.$/) {
            my ($name) = $line =~ /^(nginx_lua_var_\w+)(?:\{\w+="(?:[^"\\]|\\.)*"(?:,\w+="(?:[^"\\]|\\.)*")*\})? \d+$/;
            ok($name && $type{$name}, "the sample has a TYPE: $line");
        }
    }
    open my $out, '>', $nginx->root . '/metrics' or die "metrics: $!\n";
    print {$out} $text;
    close $out or die "metrics: $!\n";
    my $parsed = qx{/usr/bin/python3 -c '
import sys
from prometheus_client.parser import text_string_to_metric_families
for family in text_string_to_metric_families(open(sys.argv[1]).read()):
    for sample in family.samples:
        print(sample.name, dict(sample.labels), int(sample.value))
' @{[ $nginx->root ]}/metrics};
    like($parsed, qr/^nginx_lua_var_refused_total \{'reason': 'stale'\} 73$/m, 'prometheus_client: refused');
    like($parsed, qr/^nginx_lua_var_workers \{\} 2$/m,                          'prometheus_client: workers');
    like($parsed, qr/^nginx_lua_var_refused_by_total \{'at': '<b>\\\\x22a\\\\x20\\\\x5C\\\\x0A&:1', 'variable': 'x\\\\x22\} 5\\\\x0Ay', 'reason': 'stale'\} 1$/m,
        'prometheus_client: refused by');
    like($parsed, qr/^nginx_lua_var_refused_by_total \{'at': '[^']+', 'variable': 'args', 'reason': 'stale'\} 2$/m, 'culprits with the same labels are one series');
    is(() = $parsed =~ /'variable': 'args'/g, 1, 'and have one sample');
    like($parsed, qr/^nginx_lua_var_info \{'version': '[\d.]+(?:-git\.\w+)?', 'nginx': 'nginx\/[^']+', 'restore': 'error_page', 'layout': 'agrees'\} 1$/m,
        'prometheus_client: info');
    return;
}

# ---- What is made of the metrics ---------------------------------------------------------

for my $file (map { NgxVarTest::Env::root() . "/nginx-conf/$_" } qw(alerts.yml grafana.json)) {
    my %served = map { ($_ => 1) } $nginx->get('/prometheus')->{content} =~ /^# TYPE (\S+)/gm;
    my @named  = read_file($file) =~ /\b(nginx_lua_var_\w+)/g;
    is(join(' ', grep { !$served{$_} } @named), '', "each metric in $file exists") or next;
    delete @served{@named};
    is(join(' ', sort keys %served), '', "$file has a panel for each") if $file =~ /grafana/;
}
ok(JSON::PP::decode_json(read_file(NgxVarTest::Env::root() . '/nginx-conf/grafana.json')), 'the dashboard is JSON');

SKIP: {
    my ($promtool) = grep { -x } map { "$_/promtool" } split /:/, $ENV{PATH};
    skip 'promtool is not installed', 3 if !$promtool;
    my $alerts = NgxVarTest::Env::root() . '/nginx-conf/alerts.yml';
    like(qx{$promtool check rules $alerts 2>&1}, qr/SUCCESS: 4 rules found/, 'promtool takes the alerts');
    # A culprit that is refused first in the third minute, and again in the thirtieth.
    my $fires = <<'END';
        exp_alerts:
          - exp_labels: { severity: warning, instance: i, at: 'a.lua:1', variable: uri, reason: stale }
            exp_annotations:
              summary: 'a.lua:1 was refused "uri" (stale)'
              description: Lua on i keeps a request past its end, or asks where there is none. The error log names the callers.
END
    my $cases = $nginx->root . '/alerts.test.yml';
    write_file($cases, <<"END" . join '', map { "      - alertname: LuaVarRefused\n        eval_time: $_\n" . (/^(?:4|32)m$/ ? $fires : '') } qw(2m 4m 20m 32m 50m));
rule_files: [$alerts]
tests:
  - interval: 1m
    input_series:
      - series: nginx_lua_var_refused_by_total{instance="i",at="a.lua:1",variable="uri",reason="stale"}
        values: _ _ _ 1x26 2x30
    alert_rule_test:
END
    like(qx{$promtool test rules $cases 2>&1}, qr/SUCCESS/, 'a first refusal raises the alert, and so does a later one');
    like(qx{$promtool check metrics < @{[ $nginx->root ]}/metrics 2>&1}, qr/\A\z/, 'promtool takes the metrics');
}

# ---- Workers come and go -----------------------------------------------------------------

my $counted = stats();
$nginx->reload;
wait_until(NginxServer::TIMEOUT, sub { stats()->{workers} == WORKERS }) or fail('the old workers are gone');
is(stats()->{$_}, $counted->{$_}, "$_ is as before the reload") for $STALE, $OTHER;

# What a killed worker counted stays, and it is no longer listed.
my $pid = $nginx->get('/pid')->{content};
kill KILL => $pid;
wait_until(NginxServer::TIMEOUT, sub {
    my $body = eval { $nginx->get('/json')->{content} } or return 0;
    my $json = JSON::PP::decode_json($body);
    return $json->{workers} == WORKERS && !grep { $_->{pid} == $pid } $json->{by_worker}->@*;
}) or fail('another worker replaces the one that was killed');
is(stats()->{$STALE}, 73, 'what a killed worker counted stays');
ok(wait_until(NginxServer::TIMEOUT, sub { stats()->{live_requests} == 1 }), 'the live requests of a killed worker do not count');

# Without a master nobody takes the row of a killed worker, so it is listed as dead.
my $client = NgxVarTest::Client->new(NginxServer->port);
$client->send('/hold');
$client->read_to(qr/pid \d+\n/);
my ($held) = $client->rest =~ /pid (\d+)\n/;
ok(wait_until(NginxServer::TIMEOUT, sub { stats()->{live_requests} == 2 }), 'the held request is live');
my @others = grep { $_ != $held } $nginx->workers;
kill KILL => $nginx->master, $held;
ok(wait_until(NginxServer::TIMEOUT, sub { !-e "/proc/$held" }), 'the worker of the held request is killed') or diag("$held is not reaped here");
is(stats()->{workers},       1,  'only the other worker is counted');
is(stats()->{live_requests},          1,  'no live request of the killed worker is counted');
is(stats()->{$STALE}, 73, 'what the killed worker counted stays');

kill KILL => @others;
NginxServer->kill_servers;
done_testing;
