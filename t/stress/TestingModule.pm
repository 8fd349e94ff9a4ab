package TestingModule;

# The build of the module that has the hooks of src/testing.rs (`make testing`),
# for the tests that need them.

use v5.36;

use NgxVarTest::Env ();
use NgxVarTest::Nginx ();

my $FILE = NgxVarTest::Env::root() . '/target/testing/release/libngx_http_lua_var_module.so';

# What nginx has to load: TEST_NGINX_LOAD_MODULES, this build in place of another.
# TEST_NGINX_TESTING_MODULE names one that is elsewhere.
# An nginx that has the module linked in has another nginx with this build beside it
# (.ci/linked-nginx), which takes its place.
sub modules {
    NgxVarTest::Env::set_nginx();
    if (NgxVarTest::Nginx->is_linked('ngx_http_lua_var_module')) {
        $ENV{TEST_NGINX_BINARY} .= '-testing' unless $ENV{TEST_NGINX_BINARY} =~ /-testing\z/;
        return split ' ', $ENV{TEST_NGINX_LOAD_MODULES} // '';
    }
    my @others = grep { !/lua_var_module\.so\z/ } split ' ', $ENV{TEST_NGINX_LOAD_MODULES}
        // join ' ', NgxVarTest::Env::lua_modules();
    return (@others, file());
}

sub file { return $ENV{TEST_NGINX_TESTING_MODULE} // $FILE }

1;
