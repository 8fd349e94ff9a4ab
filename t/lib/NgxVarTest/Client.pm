package NgxVarTest::Client;

# A connection to an nginx on this machine, on which one request follows another:
# HTTP/1.1, with TLS or without.  For HTTP/2 see NgxVarTest::Curl.
#
#     my $client = NgxVarTest::Client->new($port);     # dies when it cannot connect
#     my ($status, $body, $head) = $client->get('/uri', 'X-A' => 'b');
#
#     my $response = NgxVarTest::Client->ask($port, '/uri');    # on its own connection
#     $response->{status}, $response->{content}, $response->{headers}{'x-a'}

use v5.36;

use List::Util qw(pairs);
use Socket qw(
    inet_aton pack_sockaddr_in pack_sockaddr_un MSG_DONTWAIT MSG_NOSIGNAL PF_INET PF_UNIX
    SO_RCVTIMEO SO_SNDTIMEO SOCK_STREAM SOL_SOCKET);

use constant {
    TIMEOUT   => 30,        # seconds; only a failing test waits that long
    READ_SIZE => 65_536,
};

# $port: a port, or the path of a unix socket.  tls: 1 for TLS; address, if not 127.0.0.1;
# timeout: seconds to wait for the next bytes; headers: names and values, for each request
# that has none of its own.
sub new ($class, $port, %options) {
    my $address = $options{address} // '127.0.0.1';
    my $timeout = $options{timeout} // TIMEOUT;
    my $is_path = $port =~ m{/};
    my $cannot  = 'cannot connect to ' . ($is_path ? $port : "$address:$port");

    # Not IO::Socket, which is slow when thousands connect.
    CORE::socket(my $socket, $is_path ? PF_UNIX : PF_INET, SOCK_STREAM, 0) or die "$cannot: $!\n";
    my $seconds = pack 'l!l!', int $timeout, ($timeout - int $timeout) * 1e6;
    setsockopt $socket, SOL_SOCKET, $_, $seconds for SO_RCVTIMEO, SO_SNDTIMEO;
    my $peer = $is_path ? pack_sockaddr_un($port) : pack_sockaddr_in($port, inet_aton($address));
    until (connect $socket, $peer) {
        # A signal does not end the attempt.
        last if $!{EISCONN};
        die "$cannot: $!\n" if !$!{EINTR} && !$!{EALREADY};
    }
    if ($options{tls}) {
        require IO::Socket::SSL;
        $socket = IO::Socket::SSL->start_SSL($socket, SSL_verify_mode => 0, Timeout => $timeout)
            or die "$cannot with TLS: ", IO::Socket::SSL::errstr(), "\n";
    }
    return bless { %options, socket => $socket, timeout => $timeout,
        buffer => '', taken => '' }, $class;
}

sub socket ($self) { return $self->{socket} }

# Why nothing more can be read: "closed", "timeout" or an error.
sub end ($self) { return $self->{end} // '' }

# The bytes of the last response.
sub taken ($self) { return $self->{taken} }

# Bytes that were read and belong to no response yet.
sub rest ($self) { return $self->{buffer} }

sub close ($self) { return CORE::close($self->{socket}) }

# ---- Bytes -----------------------------------------------------------------------------

# Sends bytes, and reads meanwhile, because nginx may answer before it has read all.  False
# when nginx no longer reads.
sub write ($self, $bytes) {
    my $socket = $self->{socket};
    return $self->_write_tls($bytes) if $self->{tls};
    while (length $bytes && !$self->{end}) {
        my ($readable, $writable) = ('', '');
        vec($_, fileno $socket, 1) = 1 for $readable, $writable;
        my $count = select $readable, $writable, undef, $self->{timeout};
        next if $count < 0;
        if (!$count) {
            $self->{end} = 'timeout';
            return 0;
        }
        $self->_read if vec $readable, fileno $socket, 1;
        next if !vec($writable, fileno $socket, 1) || $self->{end};

        my $sent = CORE::send $socket, $bytes, MSG_DONTWAIT | MSG_NOSIGNAL;
        if    (defined $sent)            { substr $bytes, 0, $sent, '' }
        elsif (!$!{EAGAIN} && !$!{EINTR}) { return 0 }
    }
    return !length $bytes;
}

sub _write_tls ($self, $bytes) {
    local $SIG{PIPE} = 'IGNORE';
    while (length $bytes) {
        my $sent = $self->{socket}->syswrite($bytes) or return 0;
        substr $bytes, 0, $sent, '';
    }
    return 1;
}

# Reads what has arrived, or waits; false at the end of the connection.
sub _read ($self) {
    while (!$self->{end}) {
        my $count = $self->{tls}
            ? $self->{socket}->sysread($self->{buffer}, READ_SIZE, length $self->{buffer})
            : sysread $self->{socket}, $self->{buffer}, READ_SIZE, length $self->{buffer};
        return 1 if $count;
        next if !defined $count && $!{EINTR};
        $self->{end} = defined $count ? 'closed' : $!{EAGAIN} ? 'timeout' : "$!";
    }
    return 0;
}

# Reads until the buffer matches; false when the connection ends before.
sub read_to ($self, $pattern) {
    while ($self->{buffer} !~ $pattern) {
        $self->_read or return 0;
    }
    return 1;
}

# All that comes until the connection ends.
sub read_to_end ($self) {
    1 while $self->_read;
    return $self->_take(length $self->{buffer});
}

sub _take ($self, $bytes) {
    while (length $self->{buffer} < $bytes) {
        $self->_read or return;
    }
    my $part = substr $self->{buffer}, 0, $bytes, '';
    $self->{taken} .= $part;
    return $part;
}

# ---- Requests --------------------------------------------------------------------------

# Sends a GET with these headers, and with Host, if it is not among them.
sub send ($self, $uri, @headers) { return $self->send_request('GET', $uri, undef, @headers) }

sub send_request ($self, $method, $uri, $body, @headers) {
    @headers = @{ $self->{headers} // [] } if !@headers;
    my @lines = map { "$_->[0]: $_->[1]" } pairs @headers;
    unshift @lines, 'Host: localhost' if !grep { /^Host:/i } @lines;
    push @lines, 'Content-Length: ' . length $body if defined $body;
    return $self->write(join "\r\n", "$method $uri HTTP/1.1", @lines, '', $body // '');
}

# The next response: its status, its body, and its head as text.  Nothing when the
# connection ended before it was complete.
sub receive ($self, $method = 'GET') {
    my ($status, $head);
    $self->{taken} = '';
    do {
        # Bytes may precede it: nginx sends a body when Lua turns a HEAD request into a POST.
        my $response = qr{\A.*?HTTP/1\.[01] (\d+).*?\r\n\r\n}s;
        $self->read_to($response) or return;
        ($status) = $self->{buffer} =~ $response;
        $head = $self->_take($+[0]);
        $head =~ s/\r\n\z//;
    } while $status < 200;

    my $body = $method eq 'HEAD' || $status == 204 || $status == 304 ? ''
        : $head =~ /^Transfer-Encoding: chunked/mi ? $self->_take_chunks
        : $head =~ /^Content-Length: (\d+)/mi      ? $self->_take($1)
        :                                            $self->_take_to_end;
    return defined $body ? ($status, $body, $head) : ();
}

sub _take_chunks ($self) {
    my $body = '';
    while (1) {
        $self->read_to(qr/\A[0-9a-f]+\r\n/i) or return;
        my $size = hex $self->_take(index($self->{buffer}, "\r\n") + 2) =~ s/\r\n//r;
        my $part = $self->_take($size + 2) // return;
        return $body if $size == 0;
        $body .= substr $part, 0, $size;
    }
}

sub _take_to_end ($self) {
    my $body = $self->read_to_end;
    return $self->end eq 'closed' ? $body : undef;
}

sub get ($self, $uri, @headers) {
    $self->send($uri, @headers) or return;
    return $self->receive;
}

# After a request: sends a line, and returns the line that answers it.
sub talk ($self, $line) {
    $self->write("$line\n") or return;
    $self->read_to(qr/\n/) or return;
    return $self->{buffer} =~ s/\A(.*)\n// ? $1 : undef;
}

# One request on a connection of its own, and its response: status, content, and
# headers by their names in lower case.  Options: method, headers (a hash), content;
# others are of `new`.  Without a response the status is 599, and the content says why.
sub ask ($class, $port, $uri, %options) {
    my ($method, $headers, $content) = delete @options{qw(method headers content)};
    my ($status, $body, $head) = eval {
        my $client = $class->new($port, %options);
        $client->send_request($method // 'GET', $uri, $content,
            %{ { Host => $port =~ m{/} ? 'localhost' : "127.0.0.1:$port", Connection => 'close', %{ $headers // {} } } });
        my @response = $client->receive($method // 'GET');
        @response ? @response : die 'no response: ', $client->end, "\n";
    };
    return { status => 599, content => $@, headers => {} } if !defined $status;

    my %header;
    while ($head =~ /^([^:\r\n]+): *(.*?)\r?$/mg) {
        push @{ $header{ lc $1 } }, $2;
    }
    return {
        status  => $status,
        content => $body,
        headers => { map { $_ => join ', ', @{ $header{$_} } } keys %header },
    };
}

1;
