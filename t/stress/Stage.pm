package Stage;

# A nginx for t/bin/fuzz, t/bin/soak and t/bin/limits: its own prefix under
# target/, its own ports on 127.0.0.1, started, watched and stopped by pid.

use v5.36;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use File::Path qw(make_path remove_tree);
use POSIX ();

use lib map { dirname(__FILE__) . "/../lib$_" } '', '/own';

use lib dirname(__FILE__);

use NgxVarTest::Cert ();
use NgxVarTest::Ports ();
use NgxVarTest::Valgrind ();
use Test::Nginx::Own::Process qw(children is_alive resident_kb stop_process wait_until);
use TestingModule ();

my $ROOT = abs_path(dirname(__FILE__) . '/../..');
my $PORTS = 10;

# What a program leaves behind when it ends in whatever way: nothing.
my @stages;
my $owner_pid = $$;
END {
    local ($?, $!);
    if ($$ == $owner_pid) {
        $_->close for @stages;
    }
}
for my $signal (qw(INT TERM HUP)) {
    $SIG{$signal} = sub { exit 130 };
}
$SIG{PIPE} = 'IGNORE';

# name: of the program; single: one process, no workers; config: text of nginx.conf, in which $PORT1 to $PORT9,
# $ROOT, $PREFIX and $CERT_DIR are filled in, and ${USER} is `user …;` or nothing;
# fill: what else is filled in.
sub new ($class, %options) {
    TestingModule::modules();    # may choose another nginx
    my $self = bless {
        %options,
        prefix  => "$ROOT/target/$options{name}-$$",
        ports   => [ NgxVarTest::Ports::reserve($PORTS) ],
        nginx   => $ENV{TEST_NGINX_BINARY} // _find_nginx(),
        read_to => 0,
    }, $class;
    push @stages, $self;
    remove_tree($self->{prefix});
    make_path(map { "$self->{prefix}/$_" } qw(conf logs valgrind));
    $self->_set_up_valgrind if $ENV{TEST_NGINX_USE_VALGRIND};
    $self->write_config(%{ $self->{fill} // {} });
    return $self;
}

sub _find_nginx {
    my ($found) = grep { -x } map { "$_/nginx" } '/usr/sbin', split /:/, $ENV{PATH};
    return $found // die "there is no nginx: apt-get install nginx\n";
}

sub root ($self)          { return $ROOT }
sub prefix ($self)        { return $self->{prefix} }
sub port ($self, $n)      { return $self->{ports}[$n] }
sub is_valgrind ($self)   { return !!$self->{valgrind} }

# Writes nginx.conf; %also is filled in besides what `new` names.
sub write_config ($self, %also) {
    my %value = (
        ROOT     => $ROOT,
        PREFIX   => $self->{prefix},
        CERT_DIR => NgxVarTest::Cert::make_once("$ROOT/target/test-cert"),
        # Workers that keep root's name can write where the prefix is.
        USER     => $> == 0 ? 'user root;' : '',
        (map { ("PORT$_" => $self->{ports}[$_]) } 1 .. $PORTS - 1),
        %also,
    );
    my $text = $self->{config} =~ s/\$\{?([A-Z][A-Z_]*[0-9]?)\b\}?/$value{$1} \/\/ $&/ger;
    my $load = '';
    for my $module (TestingModule::modules()) {
        -f $module or die "the module $module does not exist: run `make testing`\n";
        $load .= "load_module $module;\n";
    }
    _write("$self->{prefix}/conf/nginx.conf", $load . NgxVarTest::Nginx->http2($text));
    return;
}

sub _write ($file, $text) {
    open my $out, '>', $file or die "$file: $!\n";
    print {$out} $text;
    close $out or die "$file: $!\n";
    return;
}

# For what is read and written where it must not be; the suite looks for leaks.
sub _set_up_valgrind ($self) {
    $ENV{TEST_NGINX_USE_VALGRIND} = '--leak-check=no' if $ENV{TEST_NGINX_USE_VALGRIND} =~ /^\d+$/;
    NgxVarTest::Valgrind::set_up("$self->{prefix}/valgrind", "$ROOT/t/lib/valgrind.supp");
    $self->{valgrind} = [ 'valgrind', '-q', split ' ', $ENV{TEST_NGINX_USE_VALGRIND} ];
    return;
}

sub _command ($self) {
    my @valgrind = @{ $self->{valgrind} // [] };
    return (@valgrind, $self->{nginx}, '-p', $self->{prefix}, '-c', 'conf/nginx.conf',
        '-e', 'logs/error.log');
}

sub start ($self) {
    # What it says goes to its log as well.
    my $pid = fork // die "fork: $!\n";
    if ($pid == 0) {
        open STDERR, '>', '/dev/null';
        { exec { ($self->_command)[0] } $self->_command }
        POSIX::_exit(127);
    }
    waitpid $pid, 0;
    die "nginx does not start:\n", $self->log_text if $? != 0;
    wait_until(60, sub { $self->master && ($self->{single} || $self->workers) })
        or die "nginx has no worker:\n", $self->log_text;
    return;
}

# The pid of the master that is in charge, from its pid file.
sub master ($self) {
    open my $in, '<', "$self->{prefix}/logs/nginx.pid" or return;
    my ($pid) = (readline($in) // '') =~ /^(\d+)/ or return;
    $self->{masters}{$pid} = 1;
    return $pid;
}

# All masters there ever were, and that still run.
sub masters ($self) {
    $self->master;
    return grep { is_alive($_) } keys %{ $self->{masters} };
}

sub workers ($self) {
    my $master = $self->master or return;
    return children($master);
}

sub log_text ($self) {
    open my $in, '<', "$self->{prefix}/logs/error.log" or return '';
    local $/;
    return <$in> // '';
}

# Lines of the error log since the last call that match.
sub new_log_lines ($self, $pattern) {
    open my $in, '<', "$self->{prefix}/logs/error.log" or return;
    seek $in, $self->{read_to}, 0;
    my @lines = grep { $_ =~ $pattern } <$in>;
    $self->{read_to} = tell $in;
    return @lines;
}

# Kilobytes that the workers hold.
sub resident ($self) {
    my $sum = 0;
    for my $pid ($self->workers) {
        $sum += resident_kb($pid) // 0;
    }
    return $sum;
}

# Asks nginx to end. Returns false when it had to be killed.
sub stop ($self) {
    my $clean = 1;
    for my $master ($self->masters) {
        $clean &&= stop_process($master, 30, 'TERM');
    }
    return $clean;
}

sub valgrind_reports ($self) { return NgxVarTest::Valgrind::take_reports() }

sub close ($self) {
    return if $self->{closed}++;
    $self->stop;
    remove_tree($self->{prefix}, { error => \my $ignored }) if !$ENV{TEST_NGINX_NO_CLEAN};
    return;
}

1;
