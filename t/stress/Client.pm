package Client;

# A connection to nginx on which one request follows another.

use v5.36;

use IO::Socket::INET ();

# Over TLS with tls => 1. Dies when it cannot connect.
sub new ($class, $port, %options) {
    my $type = 'IO::Socket::INET';
    if ($options{tls}) {
        require IO::Socket::SSL;
        $type = 'IO::Socket::SSL';
    }
    my $socket = $type->new(
        PeerAddr        => "127.0.0.1:$port",
        Timeout         => 10,
        SSL_verify_mode => 0,
    ) or die "cannot connect to port $port: $@\n";
    return $class->on($socket);
}

# On a connection that is there already.
sub on ($class, $socket) { return bless { socket => $socket, buffer => '' }, $class }

sub socket ($self) { return $self->{socket} }

# Sends a request; %headers besides Host.
sub send ($self, $uri, %headers) {
    my $host = delete $headers{Host} // 'localhost';
    my $text = join "\r\n", "GET $uri HTTP/1.1", "Host: $host",
        (map { "$_: $headers{$_}" } sort keys %headers), '', '';
    return defined $self->{socket}->syswrite($text);
}

# Reads until the buffer matches; false when the connection ends before.
sub read_to ($self, $pattern) {
    while ($self->{buffer} !~ $pattern) {
        $self->{socket}->sysread($self->{buffer}, 65536, length $self->{buffer}) or return 0;
    }
    return 1;
}

sub _take ($self, $bytes) {
    while (length $self->{buffer} < $bytes) {
        $self->{socket}->sysread($self->{buffer}, 65536, length $self->{buffer}) or return;
    }
    return substr $self->{buffer}, 0, $bytes, '';
}

# The response: status, body and the head as text; nothing when the connection ended.
sub receive ($self) {
    $self->read_to(qr/\r\n\r\n/) or return;
    my ($head) = $self->{buffer} =~ s/\A(.*?\r\n)\r\n//s ? $1 : return;
    my ($status) = $head =~ m{\AHTTP/1\.1 (\d+)} or return;
    return ($status, '', $head) if $status == 204 || $status == 304;

    if ($head =~ /^Content-Length: (\d+)/mi) {
        return ($status, $self->_take($1) // return, $head);
    }
    my $body = '';
    while (1) {
        $self->read_to(qr/\A[0-9a-f]+\r\n/i) or return;
        $self->{buffer} =~ s/\A([0-9a-f]+)\r\n//i;
        my $size = hex $1;
        my $part = $self->_take($size + 2) // return;
        return ($status, $body, $head) if $size == 0;
        $body .= substr $part, 0, $size;
    }
}

# A line said, and the line that answers it, after the request.
sub talk ($self, $line) {
    $self->{socket}->syswrite("$line\n") or return;
    $self->read_to(qr/\n/) or return;
    return $self->{buffer} =~ s/\A(.*)\n// ? $1 : undef;
}

sub get ($self, $uri, %headers) {
    $self->send($uri, %headers) or return;
    return $self->receive;
}

sub close ($self) { return $self->{socket}->close }

1;
