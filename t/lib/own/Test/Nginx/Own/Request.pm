package Test::Nginx::Own::Request;

# The requests of a block, ready to be sent: completed by version, headers and
# Content-Length, and cut into the packets the block asks for.
#
# A request is { packets => [ { text, delay } ... ], is_head => bool }.

use v5.36;

use Exporter qw(import);
use Test::Nginx::Own::Text qw(expand_env);
use Test::Nginx::Util ();

our @EXPORT_OK = qw(requests_of);

sub requests_of ($block) {
    my $raw = $block->raw_request;
    return _request(map { { text => $_ } } ref $raw ? @$raw : $raw) if defined $raw;

    my $pipelined = $block->pipelined_requests;
    return _pipelined($block, $pipelined) if defined $pipelined;

    my $request = $block->request;
    return if !defined $request;
    my @requests = ref $request ? @$request : _without_comments($request);
    return map { _completed($block, $_, $requests[$_]) } 0 .. $#requests;
}

sub _request (@packets) {
    my $text = join '', map { $_->{text} } @packets;
    return { packets => \@packets, is_head => scalar $text =~ /\A\s*HEAD\s/ };
}

# Comment lines may stand before the request line.
sub _without_comments ($text) {
    return $text =~ s/\A(?:\s+|#[^\n]*\n)+//r;
}

# All on one connection and in one packet; only the last closes it.
sub _pipelined ($block, $requests) {
    my $name = $block->name;
    Test::Nginx::Util::bail_out("$name - pipelined_requests has to be an array")
        if ref $requests ne 'ARRAY';

    my $all = '';
    for my $index (0 .. $#$requests) {
        my $text = expand_env($requests->[$index], $name);
        my $connection = $index == $#$requests ? 'close' : 'keep-alive';
        $all .= join '', _complete($block, $index, $connection, $text);
    }
    return _request({ text => $all });
}

# One element of `request`: a text, or an array of packets, each a text or
# { value => text, delay_before => seconds }.
sub _completed ($block, $index, $spec) {
    my @packets = map { ref ? { text => $_->{value}, delay => $_->{delay_before} }
                            : { text => $_ } }
        ref $spec eq 'ARRAY' ? @$spec : $spec;

    my @texts = _complete($block, $index, 'close', map { $_->{text} } @packets);
    $packets[$_]{text} = $texts[$_] for 0 .. $#packets;
    return _request(@packets);
}

# "METHOD [uri [version]]" and perhaps a body, as packets, in and the bytes of
# an HTTP request, cut at the corresponding places, out.
sub _complete ($block, $index, $connection, @packets) {
    my $text = join '', @packets;
    $text =~ /\A(\s*(\S+)(?:[ ]+(\S+))?(?:[ ]+(\S+))?[ ]*\r?(?:\n|\z))/
        or Test::Nginx::Util::bail_out($block->name,
            " - not a request line 'METHOD [uri [version]]': $text");
    my ($line, $method, $uri, $version) = ($1, $2, $3 // '/', $4 // 'HTTP/1.1');

    my $body_start = length $line;
    my ($headers, $is_verbatim) = _headers($block, $index, $connection);
    my @edits;
    if ($body_start < length $text && !$is_verbatim) {
        # The layout of the section is no part of the body.
        my $body = substr $text, $body_start;
        my ($before, $after) = $body =~ /\A(\s*)(?:.*\S)?(\s*)\z/s;
        push @edits, [ $body_start, length $before, '' ],
            [ length($text) - length $after, length $after, '' ];
        $headers .= 'Content-Length: '
            . (length($body) - length($before) - length($after)) . "\r\n";
    }
    unshift @edits, [ 0, $body_start, "$method $uri $version\r\n$headers\r\n" ];
    return _edit_packets(\@packets, \@edits);
}

# The headers, and whether the body is sent as it is: chunked, or with a
# length of the block's own.
sub _headers ($block, $index, $connection) {
    my $more = $block->more_headers // '';
    if (ref $more eq 'ARRAY') {
        $more = $more->[$index] // Test::Nginx::Util::bail_out($block->name,
            " - more_headers has no element for request $index");
    }

    my $own = '';
    for my $line (grep { !/^\s*#/ } split /\n+/, $more) {
        my ($key, $value) = split /:\s*/, $line, 2;
        $own .= "$key: " . ($value // '') . "\r\n";
    }

    my $headers = '';
    $headers .= "Host: $Test::Nginx::Util::ServerName\r\n" if $own !~ /^Host:/mi;
    $headers .= "Connection: $connection\r\n" if $own !~ /^Connection/mi;
    my $is_verbatim = $own =~ /^Transfer-Encoding: chunked\r$/mi
        || $own =~ /^Content-Length:/m;
    return ($headers . $own, $is_verbatim);
}

# Applies edits [offset, length, replacement], in order and not overlapping,
# to the joined packets.  A cut between packets keeps its place in the text;
# one inside a replaced stretch moves behind the replacement.
sub _edit_packets ($packets, $edits) {
    my $text = join '', @$packets;

    my @cuts;
    my $at = 0;
    push @cuts, $at += length for @$packets;
    pop @cuts;

    my @moved = @cuts;
    my $shift = 0;
    for my $edit (@$edits) {
        my ($offset, $length, $new) = @$edit;
        for my $n (0 .. $#cuts) {
            next if $cuts[$n] <= $offset && !($cuts[$n] == 0 && $offset == 0);
            my $inside = $cuts[$n] < $offset + $length;
            $moved[$n] = $inside ? $offset + $shift + length $new
                                 : $moved[$n] + length($new) - $length;
        }
        substr($text, $offset + $shift, $length) = $new;
        $shift += length($new) - $length;
    }

    my @result;
    my $start = 0;
    for my $end (@moved, length $text) {
        push @result, substr $text, $start, $end - $start;
        $start = $end;
    }
    return @result;
}

1;
