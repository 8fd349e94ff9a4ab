package Test::Nginx::Own::Text;

# Small conversions of section texts.

use v5.36;

use Exporter qw(import);
use NgxVarTest::Ports ();
use Test::Nginx::Util ();

our @EXPORT_OK = qw(
    expand_env expand_ports for_request parse_seconds patterns_of
    header_lines printable random_ports_reset
);

my %random_ports;    # TEST_NGINX_RAND_PORT_<n> of the current block

sub random_ports_reset { %random_ports = (); return }

# Replaces $TEST_NGINX_<NAME> by the environment's value.  A variable that is
# not set ends the run: an empty string would test something else.
sub expand_env ($text, $name) {
    return $text if !defined $text || ref $text;
    $text =~ s{\$(TEST_NGINX_[_A-Z0-9]+)}{ _variable($1, $name) }ge;
    return $text;
}

sub _variable ($variable, $name) {
    if ($variable =~ /^TEST_NGINX_RAND_PORT_\d+$/) {
        state @ports = NgxVarTest::Ports::reserve(15);
        return $random_ports{$variable} //= $ports[ keys %random_ports ]
            // Test::Nginx::Util::bail_out("$name - more than @{[ scalar @ports ]} random ports");
    }
    return $ENV{$variable}
        // Test::Nginx::Util::bail_out("$name - no environment variable $variable");
}

# Expected texts may also name the port by upstream's variable names.
sub expand_ports ($text) {
    return $text if !defined $text || ref $text;
    $text =~ s/\$ServerPort\b/$Test::Nginx::Util::ServerPort/g;
    $text =~ s/\$ServerPortForClient\b/$Test::Nginx::Util::ServerPortForClient/g;
    return $text;
}

# The part of a section that belongs to one request.  With several requests
# the section has to be an array, one element each.
sub for_request ($value, $index, $is_many, $name) {
    return $value->[ $is_many ? $index : 0 ] if ref $value eq 'ARRAY';
    return $value if !$is_many;
    return Test::Nginx::Util::bail_out(
        "$name - several requests need arrays of expected results");
}

# "50ms", "1.5s" or "2" in seconds.
sub parse_seconds ($text) {
    return undef if !defined $text;
    $text =~ s/^\s+|\s+$//g;
    return $text =~ s/(?<=[\d.])ms$// ? $text / 1000
         : $text =~ s/(?<=[\d.])s$//r;
}

# Log patterns: each line of a text is a substring, a qr// is a regex, and an
# array may have both.
sub patterns_of ($section) {
    return if !defined $section;
    return ref $section eq 'ARRAY' ? @$section
         : ref $section            ? $section
         :                           split /\n+/, $section;
}

# "Name: value" lines as [name, value]; "! Name" (the header is absent) as
# [name, undef].
sub header_lines ($text) {
    my @headers;
    for my $line (split /\n/, $text) {
        $line =~ s/^\s+|\s+$//g;
        next if $line eq '';
        if ($line =~ /^!\s*(.+)$/) {
            push @headers, [ $1, undef ];
            next;
        }
        my ($key, $value) = split /\s*:\s*/, $line, 2;
        push @headers, [ $key, $value // '' ];
    }
    return @headers;
}

sub printable ($text) {
    return $text
        =~ s/\r/\\r/gr
        =~ s/\n/\\n/gr
        =~ s/([^\x20-\x7e])/sprintf '\\x%02x', ord $1/ger;
}

1;
