package NgxVarTest::Cert;

# A self-signed certificate for tests with TLS, made once per checkout.

use v5.36;

use File::Path qw(make_path remove_tree);
use POSIX ();

# Several test files may start at once, so the pair is made aside and appears
# by a rename: a reader sees both files or none.
sub make_once ($dir) {
    return $dir if -f "$dir/test.crt" && -f "$dir/test.key";

    my $draft = "$dir.$$";
    make_path($draft);
    my @command = (
        qw(openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj /CN=localhost),
        '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1',
        '-keyout', "$draft/test.key", '-out', "$draft/test.crt",
    );
    my $log = "$draft/openssl.log";
    my $status = _run_logged($log, @command);
    if ($status != 0) {
        my $output = _slurp($log);
        remove_tree($draft);
        die "cannot make the test certificate (openssl status $status): $output";
    }
    unlink $log;

    # Fails when another process was first; its pair is as good as this one.
    rename $draft, $dir or remove_tree($draft);
    return $dir;
}

sub _run_logged ($log, @command) {
    my $pid = fork // die "fork: $!";
    if ($pid == 0) {
        open STDOUT, '>',  $log     or POSIX::_exit(126);
        open STDERR, '>&', \*STDOUT or POSIX::_exit(126);
        { exec { $command[0] } @command }
        POSIX::_exit(127);
    }
    waitpid $pid, 0;
    return $?;
}

sub _slurp ($file) {
    open my $in, '<', $file or return '';
    local $/;
    return <$in> // '';
}

1;
