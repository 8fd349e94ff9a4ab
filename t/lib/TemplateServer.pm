package TemplateServer;

# An nginx whose whole nginx.conf is a template, with the module's testing build: its
# own prefix below target/, its own ports on 127.0.0.1.  Its methods are those of
# NgxVarTest::Server.

use v5.36;

use File::Path qw(make_path remove_tree);

use parent 'NgxVarTest::Server';

use NgxVarTest::Env ();
use NgxVarTest::File qw(write_file);
use NgxVarTest::Ports ();
use NgxVarTest::Process qw(wait_until);
use NgxVarTest::Signals ();
use NgxVarTest::Valgrind ();
use NgxVarTest::Nginx ();
use TestingModule ();

my $ROOT  = NgxVarTest::Env::root();
my $PORTS = 10;

# Nothing is left behind, however the program ends.
my @servers;
my $owner_pid = $$;
END {
    local ($?, $!);
    if ($$ == $owner_pid) {
        $_->close for @servers;
    }
}
NgxVarTest::Signals::set_up(130);

# name: part of the prefix; single: one process, no workers; config: text of nginx.conf, in
# which $PORT1 to $PORT9, $ROOT, $PREFIX and $CERT_DIR are filled in, and ${USER} is
# `user …;` or nothing; fill: what else is filled in.
sub new ($class, %options) {
    TestingModule::modules();    # may choose another nginx
    my $prefix = "$ROOT/target/$options{name}-$$";
    my $self   = $class->SUPER::new(
        %options,
        prefix => $prefix,
        ports  => [ NgxVarTest::Ports::reserve($PORTS) ],
    );
    push @servers, $self;
    remove_tree($prefix);
    make_path(map { "$prefix/$_" } qw(conf logs valgrind));
    $self->_set_up_valgrind if $ENV{TEST_NGINX_USE_VALGRIND};
    $self->write_config(%{ $self->{fill} // {} });
    return $self;
}

sub port ($self, $n)    { return $self->{ports}[$n] }
sub is_valgrind ($self) { return !!@{ $self->{under} } }

# Writes nginx.conf; %also has more names to fill in.
sub write_config ($self, %also) {
    my %value = (
        ROOT     => $ROOT,
        PREFIX   => $self->prefix,
        CERT_DIR => NgxVarTest::Env::cert_dir(),
        # Workers that stay root can write below the prefix.
        USER     => $> == 0 ? 'user root;' : '',
        (map { ("PORT$_" => $self->port($_)) } 1 .. $PORTS - 1),
        %also,
    );
    my $text = $self->{config} =~ s/\$\{?([A-Z][A-Z_]*[0-9]?)\b\}?/$value{$1} \/\/ $&/ger;
    my $load = '';
    for my $module (TestingModule::modules()) {
        -f $module or die "the module $module does not exist: run `make testing`\n";
        $load .= "load_module $module;\n";
    }
    write_file($self->path($self->{conf}), $load, NgxVarTest::Nginx->http2($text));
    return;
}

# For invalid reads and writes only, because the suite looks for leaks.
sub _set_up_valgrind ($self) {
    $ENV{TEST_NGINX_USE_VALGRIND} = '--leak-check=no' if $ENV{TEST_NGINX_USE_VALGRIND} =~ /^\d+$/;
    NgxVarTest::Valgrind::set_up($self->prefix . '/valgrind', "$ROOT/t/lib/valgrind.supp");
    $self->{under} = [ 'valgrind', '-q', split ' ', $ENV{TEST_NGINX_USE_VALGRIND} ];
    return;
}

sub start ($self) {
    $self->SUPER::start;
    wait_until($self->START_TIMEOUT, sub { $self->{single} || $self->workers })
        or die "nginx has no worker:\n", $self->log_text;
    return $self;
}

sub valgrind_reports ($self) { return NgxVarTest::Valgrind::take_reports() }

sub close ($self) {
    return if $self->{closed}++;
    $self->stop;
    remove_tree($self->prefix, { error => \my $ignored }) if !$ENV{TEST_NGINX_NO_CLEAN};
    return;
}

1;
