# A storm of refusals from more places than the table of culprits has room for, in four
# workers, with a reload and a killed worker in the middle: the table stays bounded, and
# nothing is lost or counted twice. REFUSALS=1000000 makes it longer.

use v5.36;
use lib 't/lib';

use JSON::PP ();
use NginxServer;
use NgxVarTest::Client ();
use NgxVarTest::Process qw(wait_until);
use Test::More;

NginxServer->skip_unless_plain;

use constant { WORKERS => 4, PLACES => 200, CULPRITS => 64 };
use constant PER_REQUEST => 5000;
use constant REQUESTS => int(($ENV{REFUSALS} // 200_000) / PER_REQUEST);

my $STALE = 'refused_total{reason="stale"}';
my $PORT  = NginxServer->port;
my $PLACES = PLACES;

my $nginx = NginxServer->new(workers => WORKERS, http => <<"END");
    init_by_lua_block {
        local text = "local fetch, handle = ... local v = fetch('uri', handle) return v"
        places = {}
        for n = 1, $PLACES do places[n] = assert(loadstring(text, "=place" .. n)) end
    }
    server {
        listen 127.0.0.1:$PORT reuseport;
        location = /json { lua_var_status json; }
        location = /storm {
            content_by_lua_block {
                local fetch, n = require("resty.ngxvar").fetch, #places
                local handle = require("ffi").cast("void *", 4096)
                for i = 0, ngx.var.arg_n - 1 do places[i % n + 1](fetch, handle) end
                ngx.say("done")
            }
        }
    }
END
$nginx->start;
ok($nginx->await_workers, 'nginx starts');

sub status () { return JSON::PP::decode_json($nginx->get('/json')->{content}) }

my $done = 0;

# So many requests at the same time; returns how many were answered.
sub storm ($requests) {
    my @clients = map { my $client = NgxVarTest::Client->new($PORT); $client->send('/storm?n=' . PER_REQUEST); $client }
        1 .. $requests;
    return scalar grep { $_->read_to(qr/done\n/) } @clients;
}

my $quarter = int(REQUESTS / 4);
$done += storm($quarter);
is($done, $quarter, 'the storm is answered');

$nginx->reload;
$done += storm($quarter);
wait_until(NginxServer::TIMEOUT, sub { status()->{workers} == WORKERS }) or fail('the old workers are gone');
is($done, 2 * $quarter, 'while nginx reloads, too');

is(status()->{$STALE}, $done * PER_REQUEST, 'each refusal is counted once');

# One that is killed in the middle leaves some of its refusals.
my @clients = map { my $client = NgxVarTest::Client->new($PORT); $client->send('/storm?n=' . PER_REQUEST); $client }
    1 .. $quarter;
kill KILL => ($nginx->workers)[0];
my $answered = grep { $_->read_to(qr/done\n/) } @clients;
wait_until(NginxServer::TIMEOUT, sub { eval { status()->{workers} } == WORKERS }) or fail('the killed worker is replaced');
$done += $answered;
my $now = status();
cmp_ok($now->{$STALE}, '>=', $done * PER_REQUEST, 'what the workers counted that were not killed');
cmp_ok($now->{$STALE}, '<=', ($done + $quarter - $answered) * PER_REQUEST, 'and no more than there was');

$done = storm($quarter);
is(status()->{$STALE} - $now->{$STALE}, $done * PER_REQUEST, 'afterwards each is counted once again');

my $culprits = status()->{culprits};
is(scalar @$culprits, CULPRITS + 1, 'the table is full and no larger');
my $sum = 0;
$sum += $_->{count} for @$culprits;
# The figure of a process is counted first.
my $missing = status()->{$STALE} - $sum;
ok($missing == 0 || $missing == 1, 'the culprits and the figure agree') or diag("$missing are missing");
my %counts = map { ($_->{at} => $_->{count}) } @$culprits;
ok(delete $counts{other}, 'the rest is counted together');
my ($least, $most) = (sort { $a <=> $b } values %counts)[0, -1];
cmp_ok($most - $least, '<=', 1, 'all places that have an entry are counted alike');

# One line a second for each culprit, however many workers there are.
my $lines = () = $nginx->log_text =~ /lua_var: place1:1 read "uri"/g;
cmp_ok($lines, '>', 0, 'the storm is in the log');
cmp_ok($lines, '<=', 2 + time - $^T, 'at most once a second');

# When the workers have ended, every refusal was in a line or counted by one.
my $all = status()->{$STALE};
$nginx->stop;
my $told = 0;
for my $line (grep { /lua_var: \S+ (?:\S+ )?(?:read|Lua code)/ } $nginx->log_lines) {
    $told += $line =~ /, (\d+) more since the last line/ ? $1 : 0;
    $told++ if $line =~ / of pointer /;
}
is($told, $all - $missing, 'the lines account for all that the culprits have');
done_testing;
