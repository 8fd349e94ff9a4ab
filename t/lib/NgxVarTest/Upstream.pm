package NgxVarTest::Upstream;

# Wraps functions of Test::Nginx::Util, which upstream calls by name at run time, where it has
# no extension point.

use v5.36;

use Scalar::Util qw(set_prototype);
use NgxVarTest::File qw(read_file write_file);
use NgxVarTest::Guard ();
use NgxVarTest::Process ();

sub adapt {
    # Called after the old nginx was stopped and before its logs are removed,
    _before(setup_server_root => \&NgxVarTest::Guard::before_log_removal);

    # and this one, at the very end, after the last nginx was stopped.
    _before(check_prev_block_shutdown_error_log =>
        sub { NgxVarTest::Guard::before_log_removal() if ${^GLOBAL_PHASE} eq 'END' });

    _after(write_config_file => \&_correct_listen);

    # Upstream takes a zombie for a running nginx and waits until it is reaped, which in a
    # container can take seconds for each block.
    _wrap(is_running => sub ($) { return \&NgxVarTest::Process::is_alive });
    return;
}

# Upstream listens on every address; the tests stay on the loopback.  It also
# writes "http2 on;" for nginx since 1.19.9, which knows it since 1.25.1.
sub _correct_listen (@) {
    my $file = $Test::Nginx::Util::ConfFile;
    my $port = $Test::Nginx::Util::ServerPort;
    my $config = read_file($file);
    $config =~ s/^(\s+listen\s+)(?=$port\b)/${1}127.0.0.1:/mg;
    if ($Test::Nginx::Util::NginxVersion < 1.025001) {
        $config =~ s/^(\s+listen\s+\S+[^;\n]*);\s*http2 on;/$1 http2;/mg;
    }

    write_file($file, $config);
    return;
}

sub _before ($name, $hook) {
    _wrap($name, sub ($original) {
        return sub { $hook->(); goto &$original };
    });
    return;
}

sub _after ($name, $hook) {
    _wrap($name, sub ($original) {
        return sub { &$original; $hook->(); return };
    });
    return;
}

sub _wrap ($name, $make) {
    no strict 'refs';
    no warnings qw(redefine prototype);
    my $slot     = "Test::Nginx::Util::$name";
    my $original = \&$slot;
    my $wrapped  = $make->($original);
    set_prototype(\&$wrapped, prototype $original);
    *$slot = $wrapped;
    return;
}

1;
