package Test::Nginx::Own::Response;

# Parses a raw HTTP response.
#
# The result is { code, raw_headers, headers => { name => [values] }, body,
# rest, problem, warning }: names are lower case, `rest` follows the response,
# `problem` says what is wrong with it and `warning` what is suspicious; both
# are undef otherwise.

use v5.36;

use Exporter qw(import);

our @EXPORT_OK = qw(parse_response header_value);

sub parse_response ($raw, $options = {}) {
    my $response = {
        code => undef, raw_headers => '', headers => {},
        body => '', rest => '', problem => undef, warning => undef,
    };
    if ($options->{is_http09}) {
        @$response{qw(code body)} = (200, $raw);
        return $response;
    }
    if ($raw !~ /\A(.*?\r?\n)\r?\n/s) {
        $response->{body} = $raw;
        return $response;
    }
    my $content = substr $raw, $+[0];
    $response->{raw_headers} = $1;
    _parse_head($response);
    _parse_body($response, $content, $options->{is_head});
    return $response;
}

# Several headers of a name are one value, as they mean the same.
sub header_value ($response, $name) {
    my $values = $response->{headers}{ lc $name =~ tr/_/-/r } // return undef;
    return join ', ', @$values;
}

sub _parse_head ($response) {
    my ($status, @lines) = split /\r?\n/, $response->{raw_headers};
    if ($status =~ m{\AHTTP/[\d.]+\s+(\d{3})\b}) {
        $response->{code} = $1;
    }
    for my $line (@lines) {
        my ($name, $value) = split /:[ \t]*/, $line, 2;
        push @{ $response->{headers}{ lc $name =~ tr/_/-/r } }, $value // '';
    }
    return;
}

sub _parse_body ($response, $content, $is_head) {
    my $code = $response->{code} // 0;
    if ($code == 204 || $code == 304) {
        $response->{rest} = $content;
        return;
    }
    if ($code == 101) {
        $response->{body} = $content;
        return;
    }

    my $encoding = header_value($response, 'Transfer-Encoding') // '';
    my $length   = header_value($response, 'Content-Length');
    if ($is_head) {
        # Headers describe the body that a GET would have.
        $response->{rest} = $content;
    }
    elsif (lc $encoding eq 'chunked') {
        @$response{qw(body rest problem)} = _decode_chunks($content);
    }
    elsif (defined $length && $length =~ /^\d+$/) {
        if (length $content < $length) {
            $response->{warning} = "the response body is truncated: $length bytes"
                . ' expected, got ' . length $content;
        }
        else {
            $response->{rest} = substr $content, $length, length($content) - $length, '';
        }
        $response->{body} = $content;
    }
    else {
        $response->{body} = $content;
    }
    return;
}

# Returns (body, what follows, problem).
sub _decode_chunks ($content) {
    my $body = '';
    pos($content) = 0;
    while ($content =~ /\G[ \t]*([0-9A-Fa-f]+)[ \t]*(?:;[^\r\n]*)?\r\n/gc) {
        my $size  = hex $1;
        my $start = pos $content;
        if ($size == 0) {
            # Trailers, and the empty line that ends them.
            return $content =~ /\G(?:[^\r\n]+\r\n)*\r\n/gc
                ? ($body, substr($content, pos $content), undef)
                : ($body, '', 'the chunked body has no end');
        }
        if (length($content) < $start + $size + 2) {
            return ($body . substr($content, $start), '', 'the last chunk is truncated');
        }
        $body .= substr $content, $start, $size;
        if (substr($content, $start + $size, 2) ne "\r\n") {
            return ($body, '', 'a chunk is longer than it says');
        }
        pos($content) = $start + $size + 2;
    }
    my $next = substr $content, pos($content) // 0;
    return ($body, '', $next eq '' ? 'the last chunk is missing'
                                   : "not a chunk: $next");
}

1;
