package Bench::Worker;

# A nginx of one process, for as long as one benchmark needs it.

use v5.36;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use File::Path qw(make_path remove_tree);
use POSIX qw(WNOHANG);
use Time::HiRes qw(sleep time);

use Bench::Client ();
use NgxVarTest::Nginx ();
use NgxVarTest::Ports ();

our $ROOT   = abs_path(dirname(__FILE__) . '/../../../..');
our $TARGET = "$ROOT/target/bench";
our $NGINX  = $ENV{TEST_NGINX_BINARY} // (-x '/usr/sbin/nginx' ? '/usr/sbin/nginx' : 'nginx');

$ENV{TEST_NGINX_BINARY} //= $NGINX;
our @LUA    = NgxVarTest::Nginx->to_load('ndk_http_module', 'ngx_http_lua_module');
@LUA = map { s{.*/}{$ENV{BENCH_MODULES}/}r } @LUA if $ENV{BENCH_MODULES};
our $MODULE = $ENV{BENCH_SO} // "$ROOT/target/release/libngx_http_lua_var_module.so";

my @ports = NgxVarTest::Ports::reserve(15);
my %running;

# name, and: modules (beside the Lua module), init (Lua), http, server
# (configuration), lua_path, callgrind (1: run in it).
sub start ($class, %options) {
    my $self = $class->launch(%options);
    $self->await;
    return $self;
}

# As start, without waiting until it serves requests.
sub launch ($class, %options) {
    my $self = bless { %options, port => shift @ports }, $class;
    $self->{prefix} = "$TARGET/$self->{name}";
    remove_tree($self->{prefix});
    make_path("$self->{prefix}/logs");
    $self->_write_configuration;

    my @command = ($NGINX, '-p', "$self->{prefix}/", '-c', 'nginx.conf', '-e', 'logs/error.log');
    unshift @command, qw(valgrind --tool=callgrind -q --instr-atstart=no),
        "--callgrind-out-file=$self->{prefix}/callgrind.out"
        if $self->{callgrind};

    defined($self->{pid} = fork) or die "fork: $!\n";
    if (!$self->{pid}) {
        open STDOUT, '>',  "$self->{prefix}/logs/stdout" or die;
        open STDERR, '>&', \*STDOUT                      or die;
        exec @command or die "$command[0]: $!\n";
    }
    $running{$self->{pid}} = $self;
    return $self;
}

sub _write_configuration ($self) {
    my @own  = grep { !/lua_var_module/ || !NgxVarTest::Nginx->is_linked('ngx_http_lua_var_module') }
        @{ $self->{modules} // [] };
    my $load = join "\n", map { "load_module $_;" } @LUA, @own;
    my $path = join ';', "$ROOT/t/bench/lua/?.lua", $self->{lua_path} // (), ';';
    my $http   = $self->{http} // q();
    my $server = $self->{server} // q();
    $server = $server->($self->{port}) if ref $server;
    my $init = $self->{init} // '';

    open my $file, '>', "$self->{prefix}/nginx.conf" or die "nginx.conf: $!\n";
    print $file <<"CONF";
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
    close $file or die "nginx.conf: $!\n";
    return;
}

sub await ($self) {
    my $until = time + 60;
    while (time < $until) {
        my $client = Bench::Client->new($self->{port});
        if ($client && ($client->get('/ready'))[0] == 204) {
            $self->{client} = $client;
            return;
        }
        if (waitpid $self->{pid}, WNOHANG) {
            delete $running{delete $self->{pid}};
            $self->_died('it ended while it started');
        }
        sleep 0.05;
    }
    $self->_died('it did not start in a minute');
}

# The body of the answer to GET $path, which has to be a 200 or the status given.
sub get ($self, $path, $status = 200) {
    $self->send_get($path);
    return $self->receive($path, $status);
}

# The two halves of it.
sub send_get ($self, $path) {
    $self->{client}->send_get($path);
    return;
}

sub receive ($self, $path, $status = undef) {
    my ($code, $body) = eval { $self->{client}->receive } or $self->_died("at $path: $@");
    $self->_died("$path answered $code") if $code != ($status // 200);
    return $body;
}

sub port   ($self) { return $self->{port} }
sub prefix ($self) { return $self->{prefix} }
sub pid    ($self) { return $self->{pid} }

sub connect ($self) {
    return Bench::Client->new($self->{port}) // $self->_died("no connection: $!");
}

# Nanoseconds that the process has been on a CPU.
sub cpu_time ($self) {
    open my $file, '<', "/proc/$self->{pid}/schedstat" or die "schedstat: $!\n";
    return (split ' ', readline $file)[0];
}

sub log_text ($self) {
    open my $file, '<', "$self->{prefix}/logs/error.log" or return '';
    local $/ = undef;
    return readline $file;
}

sub stop ($self) {
    delete $self->{client};
    $self->_end;
    my $log = $self->log_text;
    die "$self->{name}: its error log has: $&\n"
        if $log =~ /^.*\[(?:alert|emerg|crit|error)\].*$/m && !$self->{errors_expected};
    return;
}

sub _end ($self) {
    my $pid = delete $self->{pid} or return;
    delete $running{$pid};
    # Again and again: a signal that comes just before it waits for events is
    # only looked at after the next event.
    do { kill TERM => $pid; sleep 0.01 } until waitpid $pid, WNOHANG;
    push @ports, $self->{port};
    return;
}

sub _died ($self, $how) {
    chomp $how;
    my $log = join '', grep { /\[(?:warn|error|crit|alert|emerg)\]/ } split /^/m, $self->log_text;
    $self->_end;
    open my $file, '<', "$self->{prefix}/logs/stdout";
    my $said = join '', readline $file;
    die "$self->{name}: $how\n$said$log";
}

END {
    my $status = $?;
    $_->_end for values %running;
    $? = $status;
}

1;
