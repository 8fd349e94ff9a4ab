package NgxVarTest::Cert;

# Self-signed certificates.

use v5.36;

use File::Path qw(make_path remove_tree);

use NgxVarTest::File qw(read_file);
use NgxVarTest::Process qw(spawn);

# Makes NAME.crt and NAME.key in a directory, for a host and 127.0.0.1, unless they exist.
# Returns the directory.
#
# The directory is made under another name and renamed, because several programs may start
# at once: a reader sees both files or none.
sub make_once ($dir, $name = 'test', $host = 'localhost') {
    return $dir if -f "$dir/$name.crt" && -f "$dir/$name.key";

    my $draft = "$dir.$$";
    make_path($draft);
    my $log = "$draft/openssl.log";
    waitpid spawn([
        qw(openssl req -x509 -newkey rsa:2048 -nodes -days 3650),
        '-subj', "/CN=$host", '-addext', "subjectAltName=DNS:$host,IP:127.0.0.1",
        '-keyout', "$draft/$name.key", '-out', "$draft/$name.crt",
    ], $log), 0;
    if ($?) {
        my $output = read_file($log);
        remove_tree($draft);
        die "cannot make the certificate of $host (openssl status $?): $output";
    }
    unlink $log;

    # Fails when another process was first, whose pair is used then.
    rename $draft, $dir or remove_tree($draft);
    return $dir;
}

1;
