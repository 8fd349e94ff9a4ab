package NgxVarTest::Env;

# The defaults of the TEST_NGINX_* environment.  A value set by the caller is
# never overridden, except that TEST_NGINX_RANDOMIZE is consumed here (ports
# and server root are always unique, see NgxVarTest::Ports).

use v5.36;

use Cwd qw(abs_path);
use File::Basename qw(basename dirname);
use File::Path qw(make_path remove_tree);
use List::Util qw(first);

use NgxVarTest::Cert ();
use NgxVarTest::Nginx ();
use NgxVarTest::Ports ();
use NgxVarTest::Valgrind ();

my $LIB_DIR  = abs_path(dirname(__FILE__) . '/..');
my $ROOT     = abs_path("$LIB_DIR/../..");
my $TARGET   = "$ROOT/target";

# Directories made for this process, to be removed at its end.
my @own_dirs;

sub lib_dir { return $LIB_DIR }
sub root    { return $ROOT }

# The nginx to start: TEST_NGINX_BINARY, or the one that is installed.
sub nginx {
    return $ENV{TEST_NGINX_BINARY} if $ENV{TEST_NGINX_BINARY};
    for my $dir ('/usr/sbin', split /:/, $ENV{PATH}) {
        return "$dir/nginx" if -x "$dir/nginx";
    }
    return '/usr/sbin/nginx';
}

# What nginx has to load, in the usual order: NDK, Lua, this module.
sub modules { return split ' ', $ENV{TEST_NGINX_LOAD_MODULES} // '' }

# This module's file among them, undef when it is linked in; and the others.
sub module        { return first { _is_this_module($_) } modules() }
sub other_modules { return grep { !_is_this_module($_) } modules() }

sub _is_this_module ($file) { return basename($file) =~ /lua_var/ }

# The module as `make` builds it, for the tests unless TEST_NGINX_MODULE names another.
sub built_module { return $ENV{TEST_NGINX_MODULE} // "$TARGET/release/libngx_http_lua_var_module.so" }

# The files of the Lua module and of what it needs, unless they are linked in.
sub lua_modules {
    return NgxVarTest::Nginx->to_load('ndk_http_module', 'ngx_http_lua_module');
}

# The pair of test.crt and test.key for tests with TLS, made once per checkout.
sub cert_dir { return NgxVarTest::Cert::make_once("$TARGET/test-cert") }

sub set_defaults {
    $ENV{TEST_NGINX_BINARY} = nginx();
    # `make test` names the module that was built for this nginx.
    $ENV{TEST_NGINX_MODULE} = built_module();
    $ENV{TEST_NGINX_LOAD_MODULES} //= join ' ', lua_modules(),
        NgxVarTest::Nginx->is_linked('ngx_http_lua_var_module') ? () : $ENV{TEST_NGINX_MODULE};

    make_path($TARGET);
    _choose_servroot();
    _choose_ports();
    $ENV{TEST_NGINX_CERT_DIR} //= cert_dir();
    $ENV{TEST_NGINX_LUA_DIR} = $LIB_DIR;

    if ($ENV{TEST_NGINX_USE_VALGRIND}) {
        my $log_dir = _own_dir("$TARGET/valgrind-$$");
        make_path($log_dir);
        NgxVarTest::Valgrind::set_up($log_dir, "$LIB_DIR/valgrind.supp");
    }
    # Seconds; only a failing test waits that long. Test::Nginx's own 3 are too few for a block
    # with twenty TLS handshakes on a loaded machine.
    $ENV{TEST_NGINX_TIMEOUT} //= NgxVarTest::Nginx->is_emulated ? 300 : 30;
    return;
}

sub remove_files {
    return if $ENV{TEST_NGINX_NO_CLEAN};
    remove_tree(@own_dirs, { error => \my $ignored });
    return;
}

sub _choose_servroot {
    $ENV{TEST_NGINX_SERVROOT} //= _own_dir("$TARGET/servroot-$$");
    $ENV{TEST_NGINX_HTML_DIR} //= "$ENV{TEST_NGINX_SERVROOT}/html";
    return;
}

# Registers a per-process directory, after removing what a killed process with the same pid
# left there.
sub _own_dir ($dir) {
    remove_tree($dir);
    push @own_dirs, $dir;
    return $dir;
}

sub _choose_ports {
    my $random = delete $ENV{TEST_NGINX_RANDOMIZE};
    my ($server_port, @extra) = NgxVarTest::Ports::reserve(10, $random);

    $ENV{TEST_NGINX_SERVER_PORT} //= $ENV{TEST_NGINX_PORT} // $server_port;
    $ENV{TEST_NGINX_PORT} //= $ENV{TEST_NGINX_SERVER_PORT};
    for my $n (1 .. @extra) {
        $ENV{"TEST_NGINX_PORT$n"} //= $extra[ $n - 1 ];
    }
    return;
}

1;
