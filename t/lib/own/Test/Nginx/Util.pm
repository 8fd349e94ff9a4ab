package Test::Nginx::Util;

# The settings of a test run: package variables with upstream's names (test
# files read some of them), their defaults from the environment, and the
# functions a .t file changes them with before it calls run_tests().

use v5.36;

use Carp qw(croak);
use Exporter qw(import);
use File::Spec ();
use Test::More ();

our $VERSION = '0.33';    # the upstream version whose format this follows

our @EXPORT = qw(
    add_block_preprocessor add_cleanup_handler add_response_body_check
    add_test_cleanup_handler bail_out check_accum_error_log config_preamble
    env_to_nginx html_dir is_str log_level master_off master_on
    master_process_enabled no_long_string no_nginx_manager no_root_location
    no_shuffle repeat_each run_tests server_addr server_name server_port
    server_port_for_client server_root timeout use_hup
    worker_connections workers
);

# Modes of a run.
our $UseHup         = $ENV{TEST_NGINX_USE_HUP};
our $UseHttp2       = $ENV{TEST_NGINX_USE_HTTP2};
our $UseValgrind    = $ENV{TEST_NGINX_USE_VALGRIND};
our $CheckLeak      = $ENV{TEST_NGINX_CHECK_LEAK};
our $NoNginxManager = $ENV{TEST_NGINX_NO_NGINX_MANAGER};
our $NoShuffle      = $ENV{TEST_NGINX_NO_SHUFFLE};
our $NoClean        = $ENV{TEST_NGINX_NO_CLEAN};
our $FastShutdown   = $ENV{TEST_NGINX_FAST_SHUTDOWN};
our $Verbose        = $ENV{TEST_NGINX_VERBOSE};
our $RepeatEach     = 1;
our $NoLongString;
our $CheckAccumErrLog = $ENV{TEST_NGINX_CHECK_ACCUM_ERR_LOG};

# What nginx.conf says.
our $NginxBinary       = $ENV{TEST_NGINX_BINARY} || 'nginx';
our $LoadModules       = $ENV{TEST_NGINX_LOAD_MODULES};
our $Workers           = 1;
our $WorkerConnections = 64;
our $LogLevel          = $ENV{TEST_NGINX_LOG_LEVEL}      || 'debug';
our $MasterProcessEnabled = $ENV{TEST_NGINX_MASTER_PROCESS} || 'off';
our $EventType         = $ENV{TEST_NGINX_EVENT_TYPE};
our $PostponeOutput    = $ENV{TEST_NGINX_POSTPONE_OUTPUT};
our $ConfigPreamble    = '';
our $NoRootLocation;
our @EnvToNginx;
our $FilterHttpConfig;

# Where nginx listens and how long a client waits for it.
our $ServerAddr = '127.0.0.1';
our $ServerName = 'localhost';
our $ServerPort = $ENV{TEST_NGINX_SERVER_PORT} || $ENV{TEST_NGINX_PORT} || 1984;
our $ServerPortForClient = $ENV{TEST_NGINX_CLIENT_PORT} || $ServerPort;
our $Timeout    = $ENV{TEST_NGINX_TIMEOUT} || 3;

# How long a line may take from the end of the response to error.log, where
# no condition tells that it will not come (no_error_log).
our $LogDelay = 3 * ($ENV{TEST_NGINX_SLEEP} || 0.015);

our $ServRoot = $ENV{TEST_NGINX_SERVROOT} || File::Spec->rel2abs('t/servroot');
our $LogDir     = "$ServRoot/logs";
our $ErrLogFile = "$LogDir/error.log";
our $AccLogFile = "$LogDir/access.log";
our $PidFile    = "$LogDir/nginx.pid";
our $HtmlDir    = "$ServRoot/html";
our $ConfDir    = "$ServRoot/conf";
our $ConfFile   = "$ConfDir/nginx.conf";

$ENV{TEST_NGINX_SERVER_ROOT} = $ServRoot;
$ENV{TEST_NGINX_SERVER_PORT} //= $ServerPort;

# Registered by test files.
our @BlockPreprocessors;
our @TestCleanupHandlers;
our @CleanupHandlers;
our @ResponseBodyChecks;

# Run after nginx has stopped and before its logs are removed.
our @LogRemovalHandlers;

# A function with an argument sets the variable, and without one reads it.
for my $accessor (
    [ log_level              => \$LogLevel ],
    [ server_addr            => \$ServerAddr ],
    [ server_name            => \$ServerName ],
    [ server_port            => \$ServerPort ],
    [ server_port_for_client => \$ServerPortForClient ],
    [ timeout                => \$Timeout ],
    [ worker_connections     => \$WorkerConnections ],
    [ workers                => \$Workers ],
) {
    my ($name, $variable) = @$accessor;
    no strict 'refs';
    *$name = sub {
        $$variable = $_[0] if @_;
        return $$variable;
    };
}

# The slope of a leak is measured over one round, in one process.
sub repeat_each (@args) {
    $RepeatEach = $args[0] if @args && !$CheckLeak;
    return $RepeatEach;
}

sub master_process_enabled (@args) {
    if (@args && !$CheckLeak) {
        $MasterProcessEnabled = $args[0] ? 'on' : 'off';
    }
    return $MasterProcessEnabled;
}

sub master_on ()             { master_process_enabled(1); return }
sub master_off ()            { master_process_enabled(0); return }
sub no_shuffle ()            { $NoShuffle = 1;        return }
sub no_long_string ()        { $NoLongString = 1;     return }
sub no_root_location ()      { $NoRootLocation = 1;   return }
sub no_nginx_manager ()      { $NoNginxManager = 1;   return }
sub use_hup ()               { $UseHup = 1;           return }
sub check_accum_error_log () { $CheckAccumErrLog = 1; return }
sub config_preamble ($text)  { $ConfigPreamble = $text; return }
sub html_dir ()              { return $HtmlDir }
sub server_root ()           { return $ServRoot }

sub env_to_nginx (@variables) {
    croak 'env_to_nginx: no arguments' if !@variables;
    for my $variable (@variables) {
        croak "env_to_nginx: bad value: $variable"
            if $variable !~ /^[A-Za-z_]/ || $variable =~ /\n/;
        push @EnvToNginx, $variable;
    }
    return;
}

# Callable with a block, `add_block_preprocessor { ... }`, as upstream's; the
# prototype says so.  The last one registered runs first.
sub add_block_preprocessor : prototype(&) { unshift @BlockPreprocessors, $_[0]; return }
sub add_test_cleanup_handler ($code) { unshift @TestCleanupHandlers, $code; return }
sub add_cleanup_handler ($code)      { unshift @CleanupHandlers, $code;     return }
sub add_response_body_check ($code)  { push @ResponseBodyChecks, $code;     return }

sub is_str ($got, $expected, $name) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return ref $expected eq 'Regexp'
        ? Test::More::like($got, $expected, $name)
        : Test::Base::is($got, $expected, $name);
}

sub bail_out (@reason) {
    require Test::Nginx::Own::Run;
    Test::Nginx::Own::Run::clean_up();
    Test::More::BAIL_OUT(join '', @reason);
    return;
}

sub run_tests () {
    require Test::Nginx::Own::Run;
    Test::Nginx::Own::Run::run_blocks();
    return;
}

# Files and processes go even when a test file dies half way.
my $owner_pid = $$;
END {
    local ($?, $!);
    if ($$ == $owner_pid && $INC{'Test/Nginx/Own/Run.pm'}) {
        Test::Nginx::Own::Run::finish();
    }
}

1;
