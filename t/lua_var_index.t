# lua_var_index: which names it takes, and where it may be.  What becomes of prefixed names that
# the configuration defines is in fetch-definitions.t.

use v5.36;
use lib 't/lib';
use NgxVarTest;
use Test::Nginx::Socket::Lua 'no_plan';
use RefusedConfiguration;

repeat_each(1);     # a configuration is read once
run_tests();

__DATA__

=== TEST 1: lua_var_index refuses a name without its $
--- http_config
    lua_var_index uri;
--- refused
invalid variable name "uri"



=== TEST 2: lua_var_index refuses a $ without a name
--- http_config
    lua_var_index $;
--- refused
invalid variable name "$"



=== TEST 3: lua_var_index refuses one bad name among good ones
--- http_config
    lua_var_index $uri args;
--- refused
invalid variable name "args"



=== TEST 4: lua_var_index refuses characters that no name has
--- http_config
    lua_var_index "$uri!";
--- refused
invalid variable name "$uri!"



=== TEST 5: lua_var_index refuses two variables in one argument
--- http_config
    lua_var_index $uri$args;
--- refused
invalid variable name "$uri$args"



=== TEST 6: lua_var_index takes a variable twice, in one directive and in two
--- http_config
    lua_var_index $uri $http_x $uri;
    lua_var_index $args $http_x;
--- config
    location = /t { content_by_lua_block { ngx.say(require("resty.ngxvar").fetch("http_x")) } }
--- request
GET /t
--- more_headers
X: x
--- response_body
x



=== TEST 7: lua_var_index refuses a prefix alone
--- http_config
    lua_var_index $http_;
--- refused
unknown "http_" variable in "lua_var_index"



=== TEST 8: lua_var_index refuses an unknown variable and names the directive's line
--- http_config
    lua_var_index $uri
                  $no_such $args;
    map $uri $unused { default 1; }
--- config
    location = /t { return 200; }
--- must_die
--- suppress_stderr
--- error_log eval
[qr/\[emerg\] .*unknown "no_such" variable in "lua_var_index" in \S+nginx\.conf:\d+$/m]
--- grep_error_log eval: qr/nginx\.conf:\d+/
--- grep_error_log_out eval
# the next line is the map's, which is long before the end of http {}
qr/\Anginx\.conf:(?:[12]\d)\n\z/



=== TEST 9: lua_var_index refuses an unknown prefix
--- http_config
    lua_var_index $htttp_x;
--- refused
unknown "htttp_x" variable in "lua_var_index"



=== TEST 10: lua_var_index is refused without a name
--- http_config
    lua_var_index;
--- refused
invalid number of arguments in "lua_var_index" directive



=== TEST 11: lua_var_index is refused outside http
--- main_config
    lua_var_index $uri;
--- refused
"lua_var_index" directive is not allowed here



=== TEST 12: lua_var_index is refused in server
--- config
    lua_var_index $uri;
--- refused
"lua_var_index" directive is not allowed here



=== TEST 13: lua_var_index is refused in location
--- config
    location = /t { lua_var_index $uri; }
--- refused
"lua_var_index" directive is not allowed here



=== TEST 14: lua_var_index is refused in upstream
--- http_config
    upstream up {
        server 127.0.0.1:$TEST_NGINX_PORT1;
        lua_var_index $uri;
    }
--- refused
"lua_var_index" directive is not allowed here



=== TEST 15: lua_var_index takes variables of each kind, also those defined after it
--- http_config
    lua_var_index $uri $host $status $mapped;
    lua_var_index $own;
    lua_var_index $http_x_a $arg_b $cookie_c $sent_http_x_d $upstream_http_x_e
                  $http_none $arg_none $cookie_none;
    lua_var_index $from_error_page $captured;
    map $uri $mapped { default "mapped from $uri"; }
--- config
    set $own "own value";
    location ~ ^/t/(?<captured>.+) {
        add_header X-D 4;
        proxy_pass http://127.0.0.1:$server_port/up;
        log_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            local req = ngxvar.request()

            for name in ([[uri host status mapped own http_x_a arg_b cookie_c sent_http_x_d
                           upstream_http_x_e http_none arg_none cookie_none
                           from_error_page captured]]):gmatch("%S+") do
                local value = ngxvar.fetch(name)

                assert(ngxvar.fetch(name, req) == value)
                assert(ngxvar.fetch(name:upper()) == value)
                assert((ngxvar.getter(name)(req)) == value)

                local text = ngx.var[name]

                if name == "status" then
                    assert(value == 200 and text == "200")
                else
                    assert(value == text)
                end

                ngx.log(ngx.WARN, "listed: ", name, "=", tostring(value), ";")
            end
        }
    }
    location = /up {
        add_header X-E 5;
        return 200 "good\n";
    }
--- request
GET /t/one?b=2
--- more_headers
X-A: 1
Cookie: c=3
--- response_body
good
--- grep_error_log eval: qr/(?<=listed: )[^;]*/
--- grep_error_log_out
uri=/t/one
host=localhost
status=200
mapped=mapped from /t/one
own=own value
http_x_a=1
arg_b=2
cookie_c=3
sent_http_x_d=4
upstream_http_x_e=5
http_none=nil
arg_none=nil
cookie_none=nil
from_error_page=
captured=one
--- no_error_log
[error]



=== TEST 16: lua_var_index takes a hundred names
--- http_config eval
"lua_var_index " . CORE::join(' ', map { "\$arg_a$_" } 1 .. 100) . ";"
--- config
    location = /t {
        content_by_lua_block {
            local fetch = require("resty.ngxvar").fetch
            local sum = 0
            for i = 1, 100 do
                sum = sum + fetch("arg_a" .. i)
            end
            ngx.say(sum, " ", tostring(fetch("arg_a101")))
        }
    }
--- request eval
"GET /t?" . CORE::join '&', map { "a$_=$_" } 1 .. 100
--- response_body
5050 nil



=== TEST 17: lua_var_index takes a name in upper case for the same variable
--- http_config
    lua_var_index $Http_X_A $Own;
--- config
    set $own "own value";
    location = /t {
        content_by_lua_block {
            local fetch = require("resty.ngxvar").fetch
            ngx.say(fetch("http_x_a"), " ", fetch("own"))
        }
    }
--- request
GET /t
--- more_headers
X-A: 1
--- response_body
1 own value



=== TEST 18: lua_var_index takes the same name in two cases for one variable
--- http_config
    lua_var_index $http_x $HTTP_X;
--- config
    location = /t { content_by_lua_block { ngx.say(require("resty.ngxvar").fetch("http_x")) } }
--- request
GET /t
--- more_headers
X: x
--- response_body
x
