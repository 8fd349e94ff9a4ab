package Exchange;

# What one client says on one connection, and all that it gets back, as bytes.
# HTTP/1.0 and 1.1 are spoken here, also what is no good HTTP; HTTP/2 by curl, without
# bodies of requests: when nginx answers before it has one, what curl makes of it varies.
#
#     Exchange->new(port => 8080, requests => [ { uri => '/' }, ... ])
#
# Options: tls; h2; lead (bytes before the first request, a PROXY protocol header);
# at_once (all requests are written before the first response is read).
#
# A request: uri, method, version (1.0 or 1.1), host (undef: no Host), headers (a
# list of names and values), body, chunked; or raw, the bytes themselves.  The
# connection closes after the last one.

use v5.36;

use IO::Select ();
use IO::Socket::INET ();
use IO::Socket::SSL ();

use constant TIMEOUT => 30;    # seconds; only a failing test waits that long

sub new ($class, %options) { return bless { requests => [], %options }, $class }

sub size ($self) { return scalar @{ $self->{requests} } }

# One line for the reader.
sub title ($self) {
    my $how = join ', ', 'port ' . $self->{port}, grep { $self->{$_} } qw(tls h2 lead at_once);
    my @names = map { _name($_) } @{ $self->{requests} };
    splice @names, 3, @names, '...' if @names > 4;
    return "$how: " . join ' | ', @names;
}

sub _name ($request) {
    my $raw = $request->{raw};
    return join ' ', $request->{method} // 'GET', _short($request->{uri}) if !defined $raw;
    return 'raw ' . _short($raw =~ s/[\r\n]+/ /gr);
}

sub _short ($text) { return length $text > 70 ? substr($text, 0, 67) . '...' : $text }

# Does it.  The requests are numbered from $number on, in a header, for the access
# log; $dir is for what curl has to read.
sub perform ($self, $number, $dir) {
    return $self->{h2} ? $self->_by_curl($number, $dir) : $self->_by_socket($number);
}

# What was sent, request by request, for the reader of a difference.
sub texts ($self, $number) { return map { _bytes($_, $number++, 0) } @{ $self->{requests} } }

sub _bytes ($request, $number, $is_last) {
    return $request->{raw} if defined $request->{raw};

    my $version = $request->{version} // '1.1';
    my @headers = ('X-N' => $number, @{ $request->{headers} // [] });
    my $host    = exists $request->{host} ? $request->{host} : 'a.test';
    unshift @headers, Host => $host if defined $host;
    if    ($version eq '1.1' && $is_last)  { push @headers, Connection => 'close' }
    elsif ($version eq '1.0' && !$is_last) { push @headers, Connection => 'keep-alive' }

    my $body = $request->{body};
    if (defined $body && $request->{chunked}) {
        push @headers, 'Transfer-Encoding' => 'chunked';
        $body = join '', (map { sprintf "%x\r\n%s\r\n", length, $_ } $body =~ /(.{1,100})/gs), "0\r\n\r\n";
    }
    elsif (defined $body) {
        push @headers, 'Content-Length' => length $body;
    }
    my $text = join ' ', $request->{method} // 'GET', $request->{uri}, "HTTP/$version\r\n";
    while (my ($name, $value) = splice @headers, 0, 2) {
        $text .= "$name: $value\r\n";
    }
    return "$text\r\n" . ($body // '');
}

sub _by_socket ($self, $number) {
    my $type = $self->{tls} ? 'IO::Socket::SSL' : 'IO::Socket::INET';
    my $socket = $type->new(
        PeerAddr        => "127.0.0.1:$self->{port}",
        Timeout         => TIMEOUT,
        SSL_verify_mode => 0,
    ) or return "cannot connect: $@\n";

    local $SIG{PIPE} = 'IGNORE';
    my @requests = @{ $self->{requests} };
    my @bytes    = map { _bytes($requests[$_], $number + $_, $_ == $#requests) } 0 .. $#requests;
    $bytes[0] = ($self->{lead} // '') . $bytes[0];
    @bytes = join '', @bytes if $self->{at_once};

    my ($all, $buffer) = ('', '');
    while (defined(my $text = shift @bytes)) {
        _write($socket, $text);
        last if !@bytes;
        my $response = _one_response($socket, \$buffer, (shift @requests)->{method} // 'GET');
        $all .= $response;
    }
    1 while _read_more($socket, \$buffer);
    return $all . $buffer;
}

# Over TLS it goes by pieces. What does not come back says enough if it fails.
sub _write ($socket, $text) {
    while ($text ne '') {
        my $written = $socket->syswrite($text) or return;
        substr $text, 0, $written, '';
    }
    return;
}

# Reads until one response is complete, or the connection ends.
sub _one_response ($socket, $buffer, $method) {
    # In front of it may be what does not belong there: Lua that makes a POST of a HEAD
    # request gets a body sent.
    while ($$buffer !~ m{HTTP/1\.\d \d+.*?\r\n\r\n}s) {
        _read_more($socket, $buffer) or return _take($buffer, length $$buffer);
    }
    my ($head, $status) = $$buffer =~ m{\A(.*?HTTP/1\.\d (\d+).*?\r\n\r\n)}s;
    if ($status =~ /\A1/) {
        return _take($buffer, length $head) . _one_response($socket, $buffer, $method);
    }

    my $end = length $head;
    if ($method eq 'HEAD' || $status == 204 || $status == 304) { }
    elsif ($head =~ /^Content-Length: (\d+)/mi) {
        $end += $1;
    }
    elsif ($head =~ /^Transfer-Encoding: chunked/mi) {
        my $size;
        do {
            while (substr($$buffer, $end) !~ /\A([0-9a-f]+)\r\n/i) {
                _read_more($socket, $buffer) or return _take($buffer, length $$buffer);
            }
            substr($$buffer, $end) =~ /\A([0-9a-f]+)\r\n/i;
            $size = hex $1;
            $end += length($1) + 2 + $size + 2;
        } while ($size && length $$buffer >= $end || $size && _fill($socket, $buffer, $end));
    }
    else {
        1 while _read_more($socket, $buffer);
        $end = length $$buffer;
    }
    _fill($socket, $buffer, $end);
    return _take($buffer, $end);
}

sub _fill ($socket, $buffer, $size) {
    while (length $$buffer < $size) {
        _read_more($socket, $buffer) or return 0;
    }
    return 1;
}

sub _take ($buffer, $size) { return substr $$buffer, 0, $size, '' }

# False at the end of the connection, however it ends.
sub _read_more ($socket, $buffer) {
    my $is_pending = $socket->can('pending') && $socket->pending;
    if (!$is_pending && !IO::Select->new($socket)->can_read(TIMEOUT)) {
        $$buffer .= "\n(nothing more in @{[TIMEOUT]} seconds)\n";
        return 0;
    }
    return $socket->sysread($$buffer, 65536, length $$buffer);
}

# All of them on one connection, one after the other.
sub _by_curl ($self, $number, $dir) {
    my @parts;
    for my $request (@{ $self->{requests} }) {
        my $method  = $request->{method} // 'GET';
        my @headers = ('X-N' => $number++, 'User-Agent' => 'curl', Expect => '',
            @{ $request->{headers} // [] });
        push @headers, Host => $request->{host} // 'a.test';
        my $scheme = $self->{tls} ? 'https' : 'http';
        my @options = (
            [ url => "$scheme://127.0.0.1:$self->{port}$request->{uri}" ],
            ($method eq 'HEAD' ? ['head'] : [ request => $method ]),
            (defined $request->{body} ? [ 'data-binary' => '' ] : ()),
            [ 'max-time' => TIMEOUT ],
            (map { [$_] } qw(silent include insecure path-as-is globoff)),
            [ $self->{tls} ? 'http2' : 'http2-prior-knowledge' ],
            [ 'write-out' => '\n[%{http_version} %{http_code} %{exitcode}]\n' ],
        );
        while (my ($name, $value) = splice @headers, 0, 2) {
            push @options, [ header => $value eq '' ? "$name:" : "$name: $value" ];
        }
        push @parts, join '', map { @$_ == 1 ? "$_->[0]\n" : sprintf "%s = \"%s\"\n", @$_ } @options;
    }
    my $file = "$dir/curl";
    open my $out, '>', $file or die "$file: $!\n";
    print {$out} join "next\n", @parts;
    close $out or die "$file: $!\n";

    open my $in, '-|', 'curl', '--disable', '--config', $file or die "curl: $!\n";
    binmode $in;
    local $/;
    my $all = readline $in;
    close $in;
    return $all // '';
}

1;
