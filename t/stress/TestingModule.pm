package TestingModule;

# The build of the module that has the hooks of src/testing.rs (`make testing`),
# for the tests that need them.

use v5.36;

use NgxVarTest::Env ();

my $FILE = NgxVarTest::Env::root() . '/target/testing/release/libngx_http_lua_var_module.so';

# What nginx has to load: TEST_NGINX_LOAD_MODULES, this build in place of another.
# TEST_NGINX_TESTING_MODULE names one that is elsewhere.
sub modules {
    my @others = grep { !/lua_var_module\.so\z/ } split ' ', $ENV{TEST_NGINX_LOAD_MODULES}
        // join ' ', NgxVarTest::Env::lua_modules();
    return (@others, file());
}

sub file { return $ENV{TEST_NGINX_TESTING_MODULE} // $FILE }

1;
