package Test::Nginx::Own::Client;

# One request on one connection: writes the packets and reads until the server
# closes.

use v5.36;

use Errno qw(EAGAIN EINTR);
use Exporter qw(import);
use IO::Select ();
use IO::Socket::INET ();
use Test::More ();
use Time::HiRes qw(sleep time);

use Test::Nginx::Own::Config qw(uses_http2);
use Test::Nginx::Own::Curl qw(exchange_by_curl);
use Test::Nginx::Own::Nginx ();
use Test::Nginx::Own::Text qw(parse_seconds);
use Test::Nginx::Util ();

our @EXPORT_OK = qw(exchange);

use constant READ_SIZE => 65_536;

# Returns the raw response; '' after a failure, which is reported here.
sub exchange ($block, $request) {
    return exchange_by_curl($block, $request) if uses_http2($block);

    my $timeout = parse_seconds(scalar $block->timeout) // $Test::Nginx::Util::Timeout;
    my $socket  = _connect($block, $timeout) or return '';
    my $state   = {
        block    => $block,
        socket   => $socket,
        timeout  => $timeout,
        received => '',
        ended    => 0,
    };

    for my $n (0 .. $#{ $request->{packets} }) {
        my $packet = $request->{packets}[$n];
        my $delay  = $packet->{delay} // parse_seconds(
            $n > 0 ? scalar $block->raw_request_middle_delay : undef);
        sleep $delay if $delay;
        _send($state, $packet->{text});
        last if $state->{ended};
    }
    _shut_down($state);
    _receive($state) until $state->{ended};
    close $socket;
    return $state->{received};
}

# nginx listens before it goes to the background, so that waiting is for the
# rare case of valgrind; a dead nginx is not waited for.
sub _connect ($block, $timeout) {
    my $address  = ($block->server_addr_for_client // $Test::Nginx::Util::ServerAddr)
        =~ s/\s+//gr;
    my $deadline = time + $timeout;
    while (1) {
        my $socket = IO::Socket::INET->new(
            PeerAddr => $address,
            PeerPort => $Test::Nginx::Util::ServerPortForClient,
            Proto    => 'tcp',
            Timeout  => $timeout,
        );
        if ($socket) {
            $socket->blocking(0);
            return $socket;
        }
        my $error = $!;
        if (time > $deadline || !(Test::Nginx::Own::Nginx::is_running()
                || $Test::Nginx::Util::NoNginxManager)) {
            Test::More::fail($block->name . " - cannot connect to nginx: $error");
            return undef;
        }
        sleep 0.02;
    }
}

# Reads meanwhile, so that a server that answers early cannot block both.
sub _send ($state, $text) {
    local $SIG{PIPE} = 'IGNORE';
    my $socket = $state->{socket};
    my $offset = 0;
    while ($offset < length $text && !$state->{ended}) {
        my $ready = _select($state, 1) or return;
        _read_available($state) if $ready->{read};
        next if !$ready->{write} || $state->{ended};

        my $count = syswrite $socket, $text, length($text) - $offset, $offset;
        if (defined $count) {
            $offset += $count;
        }
        elsif ($! != EAGAIN && $! != EINTR) {
            # The server no longer reads; what it has answered counts.
            return;
        }
    }
    return;
}

sub _receive ($state) {
    my $ready = _select($state, 0) or return;
    _read_available($state) if $ready->{read};
    return;
}

sub _read_available ($state) {
    while (1) {
        my $count = sysread $state->{socket}, my $buffer, READ_SIZE;
        if (!defined $count) {
            next   if $! == EINTR;
            return if $! == EAGAIN;
            _note_if_verbose($state, "read: $!");
        }
        if (!$count) {
            $state->{ended} = 1;
            return;
        }
        $state->{received} .= $buffer;
    }
}

# The timeout is for the time between two events, not for the whole exchange.
sub _select ($state, $is_writing) {
    my $set = IO::Select->new($state->{socket});
    my ($readable, $writable) = IO::Select->select(
        $set, $is_writing ? $set : undef, undef, $state->{timeout});
    return { read => scalar @$readable, write => scalar @{ $writable // [] } }
        if $readable;

    return { read => 0, write => 0 } if $!{EINTR};
    $state->{ended} = 1;
    if (!defined scalar $state->{block}->abort) {
        Test::More::fail($state->{block}->name . ' - the client socket timed out'
            . " after $state->{timeout} s");
    }
    return undef;
}

# `--- shutdown` ends one direction after all is sent; by default, writing.
sub _shut_down ($state) {
    my $how = $state->{block}->shutdown;
    return if !defined $how || $state->{ended};
    shutdown $state->{socket}, $how =~ /(\d)/ ? $1 : 1;
    return;
}

sub _note_if_verbose ($state, $text) {
    Test::More::diag($state->{block}->name . " - $text") if $Test::Nginx::Util::Verbose;
    return;
}

1;
