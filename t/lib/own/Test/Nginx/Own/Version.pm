package Test::Nginx::Own::Version;

# Versions of nginx and OpenSSL, from `nginx -V`.

use v5.36;

use Exporter qw(import);
use version ();
use Test::Nginx::Util ();

our @EXPORT_OK = qw(nginx_version openssl_version compare_versions);

sub nginx_version {
    state $version = _find(qr{/(\d+\.\d+\.\d+)})
        // Test::Nginx::Util::bail_out(
            "$Test::Nginx::Util::NginxBinary -V does not tell its version");
    return $version;
}

# undef when nginx was built without OpenSSL.
sub openssl_version {
    state $version = _find(qr{built with OpenSSL (\d+\.\d+\.\d+)});
    return $version;
}

# Whether "$left $operator $right" holds, with one of < <= > >=.
sub compare_versions ($left, $operator, $right) {
    my $order = version->parse("v$left") <=> version->parse("v$right");
    return $operator eq '<'  ? $order < 0
         : $operator eq '<=' ? $order <= 0
         : $operator eq '>'  ? $order > 0
         :                     $order >= 0;
}

sub _find ($pattern) {
    state $text = qx{\Q$Test::Nginx::Util::NginxBinary\E -V 2>&1};
    return $text =~ $pattern ? $1 : undef;
}

1;
