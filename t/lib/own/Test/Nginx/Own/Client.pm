package Test::Nginx::Own::Client;

# One request on one connection: writes the packets and reads until the server
# closes.

use v5.36;

use Exporter qw(import);
use List::Util qw(max);
use Test::More ();
use Time::HiRes qw(sleep);

use NgxVarTest::Client ();
use NgxVarTest::Nginx ();
use Test::Nginx::Own::Config qw(uses_http2);
use Test::Nginx::Own::Curl qw(exchange_by_curl);
use Test::Nginx::Own::Text qw(parse_seconds);
use Test::Nginx::Util ();

our @EXPORT_OK = qw(exchange);

# Returns the raw response; '' after a failure, which is reported here.
sub exchange ($block, $request) {
    return exchange_by_curl($block, $request) if uses_http2($block);

    my $name    = $block->name;
    my $timeout = parse_seconds(scalar $block->timeout) // $Test::Nginx::Util::Timeout;
    # In qemu-user, a block may take as long as those that do not say how long.
    $timeout = max($timeout, $Test::Nginx::Util::Timeout)
        if NgxVarTest::Nginx->is_emulated && !defined scalar $block->abort;
    my $client  = eval {
        NgxVarTest::Client->new(
            $Test::Nginx::Util::ServerPortForClient,
            address => ($block->server_addr_for_client // $Test::Nginx::Util::ServerAddr)
                =~ s/\s+//gr,
            timeout => $timeout,
        );
    };
    if (!$client) {
        Test::More::fail("$name - nginx is there: $@");
        return '';
    }

    for my $n (0 .. $#{ $request->{packets} }) {
        my $packet = $request->{packets}[$n];
        my $delay  = $packet->{delay} // parse_seconds(
            $n > 0 ? scalar $block->raw_request_middle_delay : undef);
        sleep $delay if $delay;
        $client->write($packet->{text}) or last;
    }
    _shut_down($block, $client);
    my $response = $client->read_to_end;

    # The timeout is for the time between two events, not for the whole exchange.
    if ($client->end eq 'timeout' && !defined scalar $block->abort) {
        Test::More::fail("$name - the client socket timed out after $timeout s");
    }
    elsif ($client->end ne 'closed' && $Test::Nginx::Util::Verbose) {
        Test::More::diag("$name - read: ", $client->end);
    }
    $client->close;
    return $response;
}

# `--- shutdown` ends one direction after all is sent; by default, writing.
sub _shut_down ($block, $client) {
    my $how = $block->shutdown;
    return if !defined $how || $client->end;
    shutdown $client->socket, $how =~ /(\d)/ ? $1 : 1;
    return;
}

1;
