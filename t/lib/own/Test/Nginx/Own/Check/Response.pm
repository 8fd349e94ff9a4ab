package Test::Nginx::Own::Check::Response;

# The sections about a response: error_code*, raw_response_headers_*,
# response_headers*, response_body*.
#
# Every check takes the context $check that Test::Nginx::Own::Run makes.

use v5.36;

use Digest::MD5 ();
use Digest::SHA ();
use Exporter qw(import);
use JSON::PP ();
use Test::More ();

use NgxVarTest::File qw(write_file);
use Test::Nginx::Own::Check::Result qw(report);
use Test::Nginx::Own::Response qw(header_value);
use Test::Nginx::Own::Text qw(expand_env expand_ports for_request header_lines printable);
use Test::Nginx::Util qw(is_str);

our @EXPORT_OK = qw(check_response);

sub check_response ($check, $response) {
    _check_code($check, $response);
    _check_raw_headers($check, $response);
    _check_headers($check, $response);
    _filter_body($check, $response);
    _check_body($check, $response);
    return;
}

# The section's value for the current request.
sub _expected ($check, $section) {
    my $value = $check->{block}->$section;
    return undef if !defined $value;
    return for_request($value, $check->{index}, $check->{is_many}, $check->{name});
}

sub _has ($check, $section) { return defined scalar $check->{block}->$section }

# Without any of the sections, the code has to be 200.
sub _check_code ($check, $response) {
    my $code = $response->{code} // '';
    report($check, 'status code', sub ($name) {
        return Test::More::like($code, qr/@{[ _expected($check, 'error_code_like') ]}/sm, $name)
            if _has($check, 'error_code_like');
        my $expected = _expected($check, 'error_code') // 200;
        Test::More::is($code, $expected =~ s/\s+//gr, $name);
    });
    return;
}

sub _check_raw_headers ($check, $response) {
    if (_has($check, 'raw_response_headers_like')) {
        my $pattern = _expected($check, 'raw_response_headers_like');
        report($check, 'raw_response_headers_like', sub ($name) {
            Test::More::like($response->{raw_headers}, qr/$pattern/s, $name);
        });
    }
    if (_has($check, 'raw_response_headers_unlike')) {
        my $pattern = _expected($check, 'raw_response_headers_unlike');
        report($check, 'raw_response_headers_unlike', sub ($name) {
            Test::More::unlike($response->{raw_headers}, qr/$pattern/s, $name);
        });
    }
    return;
}

sub _check_headers ($check, $response) {
    my $is_exact = _has($check, 'response_headers');
    my $section  = $is_exact ? 'response_headers' : 'response_headers_like';
    return if !_has($check, $section);

    for my $header (header_lines(_expected($check, $section))) {
        my ($key, $value) = @$header;
        my $actual = header_value($response, $key) // '';
        if (!defined $value) {
            report($check, "no header $key", sub ($name) {
                # Upper and lower case count, as with upstream.
                Test::More::unlike($response->{raw_headers}, qr/^\s*\Q$key\E\s*:/m, $name);
            });
        }
        elsif ($is_exact) {
            report($check, "header $key", sub ($name) {
                Test::More::is($actual, expand_ports($value), $name);
            });
        }
        else {
            report($check, "header $key like", sub ($name) {
                Test::More::like($actual, qr/^$value$/, $name);
            });
        }
    }
    return;
}

sub _check_body ($check, $response) {
    my $body = $response->{body};
    if (my $file = $check->{block}->write_resp_body_file) {
        write_file($file =~ s/\s+\z//r, $body);
    }

    if (_has($check, 'response_body')) {
        _check_exact_body($check, $body);
    }
    elsif (_has($check, 'response_body_like')) {
        _check_body_pattern($check, $body, 'response_body_like', \&Test::More::like);
    }
    elsif (_has($check, 'response_body_unlike')) {
        _check_body_pattern($check, $body, 'response_body_unlike', \&Test::More::unlike);
    }

    for my $code (@Test::Nginx::Util::ResponseBodyChecks) {
        $code->($check->{block}, $body, $check->{index}, $check->{round}, $check->{dry_run});
    }
    return;
}

sub _check_exact_body ($check, $body) {
    my $expected = _expected($check, 'response_body');
    $expected = expand_env(expand_ports($expected), $check->{name});
    $body     = _sorted_json($body) if _has($check, 'response_body_json_sort');
    report($check, 'response_body', sub ($name) { is_str($body, $expected, $name) });
    return;
}

sub _check_body_pattern ($check, $body, $section, $compare) {
    my $pattern = expand_ports(_expected($check, $section));
    report($check, $section, sub ($name) {
        $compare->($body, qr/$pattern/s, "$name (" . printable($body) . ')');
    });
    return;
}

sub _sorted_json ($text) {
    my $json = JSON::PP->new->canonical->loose;
    my $data = eval { $json->decode($text) } // return $text;
    return $json->encode($data) . "\n";
}

my %FILTER = (
    md5_hex  => \&Digest::MD5::md5_hex,
    sha1_hex => \&Digest::SHA::sha1_hex,
    length   => sub ($text) { length $text },
    uc       => sub ($text) { uc $text },
    lc       => sub ($text) { lc $text },
    ucfirst  => sub ($text) { ucfirst $text },
    lcfirst  => sub ($text) { lcfirst $text },
);

# response_body_filters: names or code, for all requests or, as an array of
# arrays, for each.
sub _filter_body ($check, $response) {
    my $filters = $check->{block}->response_body_filters // return;
    my @filters = !ref $filters           ? split(' ', $filters)
                : ref $filters ne 'ARRAY' ? $filters
                :                           @$filters;
    if (ref $filters[0] eq 'ARRAY') {
        my $own = $filters[ $check->{index} ] // Test::Nginx::Util::bail_out(
            "$check->{name} - response_body_filters lacks request $check->{index}");
        @filters = @$own;
    }
    for my $filter (@filters) {
        my $code = ref $filter ? $filter : $FILTER{$filter} // Test::Nginx::Util::bail_out(
            "$check->{name} - response_body_filters: no filter '$filter'");
        $response->{body} = $code->($response->{body});
    }
    return;
}

1;
