package Bench::Worker;

# An nginx of one process, for as long as one benchmark needs it.

use v5.36;

use parent 'NgxVarTest::Server';

use File::Path qw(make_path remove_tree);

use NgxVarTest::Client ();
use NgxVarTest::Env ();
use NgxVarTest::File qw(write_file);
use NgxVarTest::Nginx ();
use NgxVarTest::Ports ();

our $ROOT   = NgxVarTest::Env::root();
our $TARGET = "$ROOT/target/bench";

our @LUA = $ENV{BENCH_MODULES}
    ? map { "$ENV{BENCH_MODULES}/$_" } qw(ndk_http_module.so ngx_http_lua_module.so)
    : NgxVarTest::Env::lua_modules();
our $MODULE = $ENV{BENCH_SO} // NgxVarTest::Env::built_module();

# Headers of every request, so that http_* and cookie_* variables have values.
my @HEADERS = (
    'Host' => 'bench.test', 'User-Agent' => 'ngxvar-bench', 'X-Custom' => 'some-header',
    'Cookie' => 'c=some-cookie',
);

# The URI and the headers of a request like which there was none before: of the twenty variables
# (variables.txt), those about the arguments, User-Agent, Cookie and X-Custom have other values
# each time, of the same length.
sub vary ($path) {
    my $id = sub { sprintf '%08d', int rand 1e8 };
    return (
        sprintf('%s?id=%s&page=%04d', $path, $id->(), int rand 1e4),
        'Host'       => 'bench.test',
        'User-Agent' => 'ngxvar-bench/' . $id->(),
        'X-Custom'   => 'trace-' . $id->(),
        'Cookie'     => 'c=session-' . $id->(),
    );
}

my @ports = NgxVarTest::Ports::reserve(15);

# name, and: modules (beside the Lua module), init (Lua), http, server
# (configuration), lua_path, callgrind (1: run in it).
sub start ($class, %options) { return $class->launch(%options)->await_ready }

# As start, without waiting until it serves requests.
sub launch ($class, %options) {
    my $prefix = "$TARGET/$options{name}";
    my $self   = $class->SUPER::new(
        %options,
        prefix        => $prefix,
        conf          => 'nginx.conf',
        is_foreground => 1,
        port          => shift @ports,
    );
    remove_tree($prefix);
    make_path("$prefix/logs");
    $self->_write_configuration;
    $self->{under} = [
        qw(valgrind --tool=callgrind -q --instr-atstart=no),
        "--callgrind-out-file=$prefix/callgrind.out",
    ] if $self->{callgrind};
    return $self->SUPER::launch;
}

sub _write_configuration ($self) {
    # When the module is linked in there is no file to load, and no nginx without it.
    my @ours = NgxVarTest::Nginx->is_linked('ngx_http_lua_var_module') ? () : @{ $self->{modules} // [] };
    my $load = join "\n", map { "load_module $_;" } @LUA, @ours;
    my $path = join ';', "$ROOT/t/bench/lua/?.lua", $self->{lua_path} // (), ';';
    my $http   = $self->{http} // q();
    my $server = $self->{server} // q();
    $server = $server->($self->{port}) if ref $server;
    my $init = $self->{init} // '';

    write_file("$self->{prefix}/nginx.conf", <<"CONF");
$load
daemon off;
master_process off;
pid logs/nginx.pid;
worker_rlimit_nofile 20000;
events { worker_connections 16384; }
http {
    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 600;
    client_body_temp_path logs/body; proxy_temp_path logs/proxy;
    fastcgi_temp_path logs/fastcgi; uwsgi_temp_path logs/uwsgi; scgi_temp_path logs/scgi;
    lua_package_path "$path";
    init_by_lua_block {
        BENCH = { root = "$ROOT", target = "$TARGET", seed = $self->{port} + ${\ int rand 1e6 } }
        $init
    }
    $http
    map \$uri \$mapped { default mapped-else; /bench/loop mapped-loop; }
    server {
        listen 127.0.0.1:$self->{port} backlog=16384;
        server_name bench.test;
        location = /ready { return 204; }
        $server
    }
}
CONF
    return;
}

sub await_ready ($self) {
    my ($status) = $self->await_start;
    $self->_died('it does not start') if $status;
    $self->{client} = $self->connect;
    $self->get('/ready', 204);
    return $self;
}

# Sends GET $path; returns the body of the response, which has to have the status.
sub get ($self, $path, $status = 200) {
    $self->send_get($path);
    return $self->receive($path, $status);
}

# The two halves of get.
sub send_get ($self, $path, @headers) {
    $self->{client}->send($path, @headers);
    return;
}

sub receive ($self, $path, $status = undef) {
    my ($code, $body, $head) = $self->{client}->receive or $self->_died("no answer to $path");
    $self->_died("$path answered $code") if $code != ($status // 200);
    $self->{client} = $self->connect if $head =~ /^Connection: close/mi;
    return $body;
}

sub port ($self) { return $self->{port} }

# Opens one more connection.
sub connect ($self) {
    return eval { NgxVarTest::Client->new($self->{port}, headers => \@HEADERS) } // $self->_died($@);
}

# Nanoseconds that the process has been on a CPU.
sub cpu_time ($self) {
    open my $file, '<', '/proc/' . $self->pid . '/schedstat' or die "schedstat: $!\n";
    return (split ' ', readline $file)[0];
}

sub stop ($self, @how) {
    delete $self->{client};
    push @ports, delete $self->{port} if $self->{port};
    $self->SUPER::stop(@how);
    die "$self->{name}: its error log has: $&\n"
        if !@how && $self->log_text =~ /^.*\[(?:alert|emerg|crit|error)\].*$/m;
    return 1;
}

sub _died ($self, $how) {
    chomp $how;
    my $log = join '', grep { /\[(?:warn|error|crit|alert|emerg)\]/ } $self->log_lines;
    die "$self->{name}: $how\n", $self->output, $log;
}

1;
