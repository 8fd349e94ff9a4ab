# A prefix within another one: the longest that a name begins with reads it, as in nginx
# (ngx_http_get_variable). No module at hand has one, so t/hooks/testing.rs defines arg_nested_.

use v5.36;
use lib 't/lib';

BEGIN {
    require TestingModule;
    $ENV{TEST_NGINX_LOAD_MODULES} = join ' ', TestingModule::modules();
}

use NgxVarTest;
use Test::Nginx::Socket::Lua 'no_plan';

repeat_each(2);
run_tests();

__DATA__

=== TEST 1: the longest prefix reads a name
--- config
    location = /t {
        content_by_lua_block {
            local fetch = require("resty.ngxvar").fetch
            for _, name in ipairs{ "arg_nested_a", "arg_nested", "arg_a" } do
                ngx.say(name, ": ", ngx.var[name], " ", fetch(name), " ", fetch(name))
            end
        }
    }
--- request
GET /t?a=1&nested=2&nested_a=3
--- response_body
arg_nested_a: nested nested nested
arg_nested: 2 2 2
arg_a: 1 1 1
--- no_error_log
[error]
