package TestingModule;

# The build of the module that has the hooks of t/hooks/testing.rs (`make testing`),
# for the tests that need them.

use v5.36;

use NgxVarTest::Env ();
use NgxVarTest::Nginx ();

my $FILE = NgxVarTest::Env::root() . '/target/testing/release/libngx_http_lua_var_module.so';

# What nginx has to load: TEST_NGINX_LOAD_MODULES, with this build of the module, or with
# TEST_NGINX_TESTING_MODULE.  For an nginx that has the module linked in, sets
# TEST_NGINX_BINARY to the nginx with this build beside it (.ci/linked-nginx).
sub modules {
    if (NgxVarTest::Nginx->is_linked('ngx_http_lua_var_module')) {
        $ENV{TEST_NGINX_BINARY} = NgxVarTest::Env::nginx() =~ s/(?:-testing)?\z/-testing/r;
        return NgxVarTest::Env::modules();
    }
    my @others = defined $ENV{TEST_NGINX_LOAD_MODULES}
        ? NgxVarTest::Env::other_modules() : NgxVarTest::Env::lua_modules();
    return (@others, file());
}

sub file { return $ENV{TEST_NGINX_TESTING_MODULE} // $FILE }

1;
