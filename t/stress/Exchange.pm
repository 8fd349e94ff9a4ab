package Exchange;

# What one client sends on one connection, and all that it receives, as bytes.  HTTP/1.0 and
# 1.1 are made here, because some of it is no valid HTTP.  HTTP/2 is left to curl, without
# request bodies, because curl's output varies when nginx answers before it has read one.
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

use List::Util qw(pairs);

use NgxVarTest::Client ();
use NgxVarTest::Curl ();

use constant TIMEOUT => 30;    # seconds; only a failing test waits that long

sub new ($class, %options) { return bless { requests => [], %options }, $class }

sub size ($self) { return scalar @{ $self->{requests} } }

# One line that describes it.
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

# Sends the requests, and returns the responses.  A header numbers the requests from $number
# on, for the access log.
sub perform ($self, $number) {
    return $self->{h2} ? $self->_by_curl($number) : $self->_by_socket($number);
}

# The bytes of each request, to show beside a difference.
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
    my $client = eval { NgxVarTest::Client->new($self->{port}, tls => $self->{tls}) } // return $@;
    my @requests = @{ $self->{requests} };
    my @bytes    = map { _bytes($requests[$_], $number + $_, $_ == $#requests) } 0 .. $#requests;
    $bytes[0] = ($self->{lead} // '') . $bytes[0];
    @bytes = join '', @bytes if $self->{at_once};

    my $all = '';
    while (defined(my $text = shift @bytes)) {
        # When this fails, the missing response shows it.
        $client->write($text);
        last if !@bytes;
        $client->receive((shift @requests)->{method} // 'GET');
        $all .= $client->taken;
    }
    $all .= $client->read_to_end;
    return $client->end eq 'timeout' ? "$all\n(nothing more)\n" : $all;
}

# All requests on one connection, one after the other.
sub _by_curl ($self, $number) {
    my @transfers;
    for my $request (@{ $self->{requests} }) {
        my $method  = $request->{method} // 'GET';
        my @headers = ('X-N' => $number++, 'User-Agent' => 'curl', Expect => '',
            @{ $request->{headers} // [] });
        push @headers, Host => $request->{host} // 'a.test';
        my $scheme = $self->{tls} ? 'https' : 'http';
        push @transfers, [
            ($method eq 'HEAD' ? '--head' : ('--request', $method)),
            (defined $request->{body} ? ('--data-binary', '') : ()),
            '--max-time', TIMEOUT, qw(--include --path-as-is --globoff),
            $self->{tls} ? '--http2' : '--http2-prior-knowledge',
            '--write-out', '\n[%{http_version} %{http_code} %{exitcode}]\n',
            (map { ('--header', $_->[1] eq '' ? "$_->[0]:" : "$_->[0]: $_->[1]") } pairs @headers),
            "$scheme://127.0.0.1:$self->{port}$request->{uri}",
        ];
    }
    return join '', NgxVarTest::Curl::run(@transfers);
}

1;
