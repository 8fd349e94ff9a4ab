package Test::Nginx::Own::Curl;

# Requests by the curl command: HTTP/2, and the command line that `--- curl`
# prints.

use v5.36;

use Exporter qw(import);
use Test::More ();

use NgxVarTest::Curl ();
use NgxVarTest::File qw(read_file write_file);
use NgxVarTest::Process qw(spawn);
use Test::Nginx::Own::Config qw(uses_http2);
use Test::Nginx::Own::Text qw(parse_seconds);
use Test::Nginx::Util ();

our @EXPORT_OK = qw(exchange_by_curl shell_command);

sub exchange_by_curl ($block, $request) {
    my $name    = $block->name;
    my @command = _command($block, $request);
    my ($body, $errors) = map { "$Test::Nginx::Util::LogDir/curl.$_" } qw(response stderr);
    unlink $body, $errors;
    waitpid spawn([ @command, '--output', $body, '--stderr', $errors ]), 0;
    my ($response, $message) = map { read_file($_) } $body, $errors;
    return $response if $response ne '' || defined scalar $block->abort;
    my $expected = $block->curl_error;
    if (defined $expected) {
        my $pattern = ref $expected ? $expected : qr/\Q@{[ $expected =~ s{\s+\z}{}r ]}\E/;
        Test::More::like($message, $pattern, "$name - curl_error") if $message !~ $pattern;
        return '';
    }
    Test::More::fail("$name - curl has no response: $message");
    return '';
}

sub shell_command ($block, $request) {
    return join ' ', map { m{^[-\w./:=@]+$} ? $_ : "'" . s/'/'\\''/gr . "'" }
        _command($block, $request);
}

sub _command ($block, $request) {
    my $text = join '', map { $_->{text} } @{ $request->{packets} };
    my ($head, $body) = split /\r\n\r\n/, $text, 2;
    my ($line, @headers) = split /\r\n/, $head;
    my ($method, $uri, $version) = split ' ', $line;
    my $timeout = parse_seconds(scalar $block->timeout) // $Test::Nginx::Util::Timeout;
    my $address = $block->server_addr_for_client // $Test::Nginx::Util::ServerAddr;
    my $protocol = ($block->curl_protocol // 'http') =~ s/\s+//gr;

    # Headers that curl adds and this harness does not.
    my @options = ('-i', '-S', map { ('-H', "$_:") } qw(User-Agent Accept Host));
    push @options, '--http2-prior-knowledge' if uses_http2($block);
    push @options, '-0' if ($version // '') eq 'HTTP/1.0';
    push @options, $method eq 'HEAD' ? '-I' : $method eq 'GET' ? () : ('-X', $method);

    # In HTTP/2 there is no Connection; the length is curl's to say.
    push @options, map { ('-H', $_) } grep { !/^(?:Connection|Content-Length):/i } @headers;
    if (defined $body && $body ne '') {
        push @options, '-H', 'Content-Type:' if !grep { /^Content-Type:/i } @headers;
        push @options, '--data-binary', '@' . _body_file($body);
    }
    push @options, '--connect-timeout', $timeout, '--max-time', $timeout;
    push @options, split ' ', $block->curl_options // '';
    return NgxVarTest::Curl::command([ @options,
        "$protocol://$address:$Test::Nginx::Util::ServerPortForClient$uri" ]);
}

sub _body_file ($body) {
    my $file = "$Test::Nginx::Util::HtmlDir/curl.data.bin";
    write_file($file, $body);
    return $file;
}

1;
