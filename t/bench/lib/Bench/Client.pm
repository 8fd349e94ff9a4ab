package Bench::Client;

# One keepalive connection to a worker.

use v5.36;

use IO::Socket::INET ();

# What every request carries, so that http_* and cookie_* variables have values.
my $HEADERS = join "\r\n",
    'Host: bench.test', 'User-Agent: ngxvar-bench', 'X-Custom: some-header',
    'Cookie: c=some-cookie', '', '';

sub new ($class, $port) {
    my $socket = IO::Socket::INET->new(
        PeerAddr => '127.0.0.1',
        PeerPort => $port,
        Timeout  => 10,
    ) or return;
    $socket->autoflush;
    return bless { socket => $socket, port => $port }, $class;
}

# Sends a request and does not wait.
sub send_get ($self, $path) {
    print { $self->{socket} } "GET $path HTTP/1.1\r\n$HEADERS";
    return $self;
}

# Status and body of the next response.
sub receive ($self) {
    my $socket = $self->{socket};
    my $status = readline $socket;
    my ($code) = ($status // '') =~ m{^HTTP/1\.1 (\d+)}
        or die "no response on port $self->{port}\n";
    my ($length, $chunked, $close);
    while (defined(my $line = readline $socket)) {
        last if $line eq "\r\n";
        $length  = $1 if $line =~ /^Content-Length: (\d+)/i;
        $chunked = 1  if $line =~ /^Transfer-Encoding: chunked/i;
        $close   = 1  if $line =~ /^Connection: close/i;
    }
    my $body = $chunked ? $self->_chunks : $self->_bytes($length // 0);
    if ($close) {
        my $again = (ref $self)->new($self->{port})
            or die "cannot connect to port $self->{port}\n";
        $self->{socket} = $again->{socket};
    }
    return ($code, $body);
}

sub get ($self, $path) {
    return $self->send_get($path)->receive;
}

sub _bytes ($self, $length) {
    my $body = '';
    while (length $body < $length) {
        read $self->{socket}, $body, $length - length $body, length $body
            or die "short response on port $self->{port}\n";
    }
    return $body;
}

sub _chunks ($self) {
    my $body = '';
    while (1) {
        my $line = readline($self->{socket}) // die "short response\n";
        my $size = hex($line =~ s/\s+\z//r);
        $body .= $self->_bytes($size);
        readline $self->{socket};
        return $body if !$size;
    }
}

1;
