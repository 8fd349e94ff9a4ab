package NginxServer;

# An nginx of a test's own, for what a Test::Nginx block cannot do: reload and
# upgrade it, look at its workers, load other modules.
#
#     use lib 't/lib';
#     use NginxServer;
#     use Test::More;
#
#     my $nginx = NginxServer->new(http => 'server { listen 127.0.0.1:PORT; ... }');
#     $nginx->start;
#     my $response = $nginx->get('/t');       # status, content, headers
#     $nginx->stop_cleanly;                   # tests that the log has no alert
#
# The other methods are those of NgxVarTest::Server.  All files are below target/ and are
# removed at the end.

use v5.36;

use parent 'NgxVarTest::Server';

use File::Path qw(make_path remove_tree);
use Test::More ();

use NgxVarTest::Client ();
use NgxVarTest::Env ();
use NgxVarTest::File qw(write_file);
use NgxVarTest::Signals ();

use constant TIMEOUT => NgxVarTest::Server::TIMEOUT;

my $owner_pid = $$;
my $count     = 0;
my @servers;

# In a test file with Test::Nginx, NgxVarTest does all this.
my $is_alone = !$INC{'NgxVarTest.pm'};
if ($is_alone) {
    NgxVarTest::Signals::set_up();
    NgxVarTest::Env::set_defaults();
}

END {
    if ($$ == $owner_pid) {
        local ($?, $!);
        __PACKAGE__->kill_servers;
        NgxVarTest::Env::remove_files() if $is_alone;
    }
}

# Those of NgxVarTest::Env.
sub modules ($class)       { return NgxVarTest::Env::modules() }
sub module ($class)        { return NgxVarTest::Env::module() }
sub other_modules ($class) { return NgxVarTest::Env::other_modules() }

# Port number N of this process, 0 to 9.
sub port ($class, $n = 0) {
    return $n ? $ENV{"TEST_NGINX_PORT$n"} : $ENV{TEST_NGINX_SERVER_PORT};
}

# For tests that the modes of the suite do not change.
sub skip_unless_plain ($class) {
    for my $mode (qw(USE_HUP USE_VALGRIND CHECK_LEAK)) {
        Test::More::plan(skip_all => "runs its nginx itself, which TEST_NGINX_$mode does not change")
            if $ENV{"TEST_NGINX_$mode"};
    }
    return;
}

# Options: http, main, events (texts of configuration); modules, workers,
# master (on, off), log_level; those of NgxVarTest::Server.
sub new ($class, %options) {
    my $root = NgxVarTest::Env::root() . "/target/servroot-$$-" . ++$count;
    my $self = $class->SUPER::new(
        prefix    => $root,
        modules   => [ $class->modules ],
        master    => 'on',
        log_level => 'info',
        main      => '',
        events    => '',
        http      => '',
        %options,
    );
    remove_tree($root);
    make_path("$root/conf", "$root/logs", "$root/html");
    push @servers, $self;
    $self->configure;
    return $self;
}

sub root ($self) { return $self->prefix }

# Writes the configuration, with these options changed.
sub configure ($self, %options) {
    %$self = (%$self, %options);
    my $root  = $self->root;
    my $load  = join '', map { "load_module $_;\n" } @{ $self->{modules} };
    my $user  = $> == 0 ? "user root;\n" : '';
    my $paths = join '', map { "    ${_}_temp_path $root/$_;\n" }
        qw(client_body proxy fastcgi scgi uwsgi);
    my $http = $self->{http} eq '' ? '' : <<~"END";
        http {
        $paths
            access_log off;
            default_type text/plain;
        $self->{http}
        }
        END

    write_file("$root/conf/nginx.conf", <<~"END");
        worker_processes $self->{workers};
        master_process $self->{master};
        daemon on;
        pid $root/logs/nginx.pid;
        error_log $root/logs/error.log $self->{log_level};
        $user$load$self->{main}
        events {
            worker_connections 256;
            accept_mutex off;
            $self->{events}
        }
        $http
        END
    return;
}

# One request, on a connection of its own: NgxVarTest::Client's `ask`.
sub get ($self, $path, %options) {
    return NgxVarTest::Client->ask(delete $options{port} // $self->port, $path, %options);
}

# A reload that has to fail, with a new line in the log that matches. Meanwhile asks for a path, if there
# is one, because a single process handles signals only after an event.
sub reload_in_vain ($self, $pattern, $path = undef) {
    my $lines  = sub { scalar grep { $_ =~ $pattern } $self->log_lines };
    my $before = $lines->();
    $self->signal('HUP');
    $self->await("a line with $pattern", sub {
        $self->get($path) if defined $path;
        return $lines->() > $before;
    });
    return;
}

# Runs a part of a test, and stops the nginx that it leaves running when it dies.
sub part ($class, $name, $code) {
    Test::More::subtest($name => sub {
        eval { $code->(); 1 } or Test::More::fail("given up: $@");
        $class->kill_servers;
    });
    return;
}

# Without signals QUIT, so that requests end first.
sub stop ($self, $seconds = TIMEOUT, @signals) {
    return $self->SUPER::stop($seconds, @signals ? @signals : 'QUIT');
}

# Stops nginx, and tests that the log has no [alert] or [emerg] but those that a pattern
# allows.
sub stop_cleanly ($self, %options) {
    my $is_clean = $self->stop;
    my @bad      = grep { /\[(?:alert|emerg)\]/ } $self->log_lines;
    if (my $allowed = $options{allow}) {
        @bad = grep { $_ !~ $allowed } @bad;
    }
    splice @bad, 20 if @bad > 20;
    push @bad, "nginx had to be killed\n" if !$is_clean;
    my $name = $options{name} // 'it ends, and the log has no alert';
    Test::More::is(join('', @bad), '', $name);
    remove_tree($self->root) if !$ENV{TEST_NGINX_NO_CLEAN};
    return;
}

# After a test that died: no server is left running.
sub kill_servers ($class) {
    $_->kill_all for @servers;
    return;
}

# Stops nginx and removes its files.
sub kill_all ($self) {
    $self->kill_processes;
    remove_tree($self->root) if !$ENV{TEST_NGINX_NO_CLEAN};
    return;
}

sub kill_processes ($self) { return $self->stop(5, 'TERM') }

1;
