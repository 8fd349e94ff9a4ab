# A request that has ended while nginx still closes its connection, which names it: a TLS client
# that does not read lets the "close notify" alert wait. src/nginx/request.rs, has_connection().

use v5.36;
use lib 't/lib';
use NginxServer;
use Test::More;

use constant STEP => 250;    # bytes; the alert waits over a range of about 1000

my $dir  = NgxVarTest::Env::cert_dir();
my $port = NginxServer->port;

# The server of each of these: malloc() maps a pool of 40 MB, and unmaps it when the request ends;
# what was in one of 4 kB is still there.
my %POOL = (NginxServer->port(1) => '40m', NginxServer->port(2) => '4k');

my $nginx = NginxServer->new(http => <<"END" . join '', map { <<"END" } sort keys %POOL);
    server {
        listen 127.0.0.1:$port;
        request_pool_size 16k;
        location = /left {
            content_by_lua_block {
                for _ = 1, 40 do
                    if not require("resty.ngxvar").live(kept) then
                        return ngx.print((select(2, coroutine._resume(left))))
                    end
                    ngx.sleep(0.005)
                end
                ngx.print("live")
            }
        }
    }
END
    server {
        listen 127.0.0.1:$_ ssl sndbuf=4k;
        ssl_certificate     $dir/test.crt;
        ssl_certificate_key $dir/test.key;
        ssl_buffer_size 1k;
        request_pool_size $POOL{$_};
        location / {
            content_by_lua_block {
                local ngxvar = require "resty.ngxvar"
                kept = ngxvar.request()
                left = coroutine._create(function ()
                    while true do
                        local value, err = ngxvar.fetch("uri")
                        coroutine._yield(tostring(value) .. " " .. tostring(err) .. ", "
                                         .. tostring(ngxvar.ssl_ctx()))
                    end
                end)
                coroutine._resume(left)
                ngx.header.content_length = ngx.var.arg_n
                ngx.print(("x"):rep(tonumber(ngx.var.arg_n)))
            }
        }
    }
END
$nginx->start;

# What Lua that outlived the request finds, whose response of so many bytes nobody reads.
sub left ($tls, $bytes) {
    my $client = NgxVarTest::Client->new($tls, tls => 1);
    $client->send("/?n=$bytes", Connection => 'close');
    my $found = eval { $nginx->get('/left')->{content} } // "no response: $@";
    $client->close;
    return $found;
}

for my $tls (sort keys %POOL) {
    # How much the socket takes, so that the request ends.
    my ($ends, $waits) = (0, 1024 * 1024);
    while ($waits - $ends > STEP) {
        my $middle = int(($ends + $waits) / 2);
        if   (left($tls, $middle) eq 'live') { $waits = $middle }
        else                                 { $ends = $middle }
    }
    cmp_ok($ends, '>', 0, "a short response ends the request with a pool of $POOL{$tls}");

    my %found;
    for my $n (-2 .. 30) {
        my $found = left($tls, $waits - $n * STEP);
        $found{$found}++ if $found ne 'live';
    }
    is_deeply([ keys %found ], ['nil stale request, nil'], 'it is stale')
        or diag(explain(\%found));
}

$nginx->stop_cleanly;

done_testing();
