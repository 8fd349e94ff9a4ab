# Which definition of a name counts: its own before that of its prefix, the configuration's
# before nginx's.  Each name is read in all ways, which have to agree with stock ngx.var, and
# its value is printed.

use lib 't/lib';
use NgxVarTest;
use Test::Nginx::Socket::Lua 'no_plan';

add_block_preprocessor(sub {
    my ($block) = @_;
    $block->set_value(http_config => <<'EOC' . ($block->http_config // ''));
    lua_package_path "$TEST_NGINX_LUA_DIR/?.lua;;";
    init_by_lua_block {
        ways = require "ways"
        show_all = ways.say_all
    }
EOC
    $block->set_value(no_error_log => '[error]');
});

repeat_each(2);
run_tests();

__DATA__

=== TEST 1: indexed request headers that nginx defines by name have all values
--- http_config
    log_format uses '$http_x_forwarded_for $http_cookie $http_host $http_user_agent $http_referer '
                    '$http_via $http_x_plain';
--- config
    location = /t {
        content_by_lua_block {
            show_all("http_x_forwarded_for http_cookie http_host http_user_agent http_referer http_via http_x_plain")
        }
    }
--- request
GET /t
--- more_headers
X-Forwarded-For: 1.1.1.1
Cookie: a=1
User-Agent: test
X-Plain: one
Referer: there
X-Forwarded-For: 2.2.2.2
Cookie: b=2
Via: 1.1 somewhere
--- response_body_like chop
\Ahttp_x_forwarded_for: 1\.1\.1\.1, 2\.2\.2\.2
http_cookie: a=1; b=2
http_host: \S+
http_user_agent: test
http_referer: there
http_via: 1\.1 somewhere
http_x_plain: one
\z



=== TEST 2: indexed request headers that were not sent are nil
--- http_config
    log_format uses '$http_x_forwarded_for $http_cookie $http_user_agent $http_referer $http_via';
--- config
    location = /t {
        content_by_lua_block {
            show_all("http_x_forwarded_for http_cookie http_user_agent http_referer http_via")
        }
    }
--- raw_request eval
"GET /t HTTP/1.0\r\n\r\n"
--- response_body
http_x_forwarded_for: nil
http_cookie: nil
http_user_agent: nil
http_referer: nil
http_via: nil



=== TEST 3: indexed response headers that nginx defines by name are read as they are sent
--- http_config
    log_format uses '$sent_http_content_type $sent_http_content_length $sent_http_location '
                    '$sent_http_last_modified $sent_http_connection $sent_http_keep_alive '
                    '$sent_http_transfer_encoding $sent_http_cache_control $sent_http_link';
--- config
    keepalive_timeout 60 60;
    location = /t {
        content_by_lua_block {
            local c = require("client").connect{ port = $TEST_NGINX_SERVER_PORT }
            ngx.print(c:request("/kept").body)
            c:close()
        }
    }
    location = /kept {
        content_by_lua_block {
            local names = "sent_http_content_type sent_http_content_length sent_http_location "
                          .. "sent_http_last_modified sent_http_connection sent_http_keep_alive "
                          .. "sent_http_transfer_encoding sent_http_cache_control sent_http_link"
            ngx.header["Cache-Control"] = { "no-cache", "no-store" }
            ngx.header["Link"] = { "</a>; rel=a", "</b>; rel=b" }
            ngx.header["Last-Modified"] = "Thu, 01 Jan 1970 00:00:01 GMT"
            ngx.header["Content-Type"] = "text/x-test"
            ngx.send_headers()
            show_all(names)
        }
    }
--- request
GET /t
--- response_body
sent_http_content_type: text/x-test
sent_http_content_length: nil
sent_http_location: nil
sent_http_last_modified: Thu, 01 Jan 1970 00:00:01 GMT
sent_http_connection: keep-alive
sent_http_keep_alive: timeout=60
sent_http_transfer_encoding: chunked
sent_http_cache_control: no-cache, no-store
sent_http_link: </a>; rel=a, </b>; rel=b



=== TEST 4: a prefixed name that the configuration uses is the set's that defines it
--- http_config
    log_format uses '$arg_x $cookie_x $http_x $sent_http_x $upstream_http_x $arg_y $cookie_y '
                    '$http_y';
--- config
    location = /t {
        set $arg_x "set arg";
        set $cookie_x "set cookie";
        set $http_x "set header";
        set $sent_http_x "set sent";
        set $upstream_http_x "set upstream";
        content_by_lua_block {
            show_all("arg_x cookie_x http_x sent_http_x upstream_http_x arg_y cookie_y http_y")
            ngx.var.arg_x = "assigned"
            ngx.req.set_uri_args("x=3&y=4")
            ngx.req.set_header("X", "5")
            ngx.req.set_header("Y", "6")
            show_all("arg_x http_x arg_y http_y")
        }
    }
--- request
GET /t?x=1&y=2
--- more_headers
Cookie: x=1; y=2
X: 1
Y: 2
--- response_body
arg_x: set arg
cookie_x: set cookie
http_x: set header
sent_http_x: set sent
upstream_http_x: set upstream
arg_y: 2
cookie_y: 2
http_y: 2
arg_x: assigned
http_x: set header
arg_y: 4
http_y: 6



=== TEST 5: a prefixed name that map or geo defines is read through it, indexed or not
--- http_config
    map $uri $arg_m { default "map of $uri"; }
    map $uri $http_m { volatile; default "fresh map of $uri"; }
    geo $cookie_m { default far; 127.0.0.1 near; }
    split_clients "$uri" $sent_http_m { * "split"; }
    map $uri $arg_n { default "not indexed"; }
    log_format uses '$arg_m $http_m $cookie_m $sent_http_m';
--- config
    location = /t {
        content_by_lua_block { show_all("arg_m http_m cookie_m sent_http_m arg_n") }
    }
--- request
GET /t?m=1&n=1
--- more_headers
Cookie: m=1
M: 1
--- response_body
arg_m: map of /t
http_m: fresh map of /t
cookie_m: near
sent_http_m: split
arg_n: not indexed



=== TEST 6: prefixed names that the configuration uses do not change how ngx.ctx is restored
--- http_config
    log_format uses '$http_host $http_user_agent $http_cookie $uri $host';
--- config
    location = /t {
        access_by_lua_block { ngx.ctx.id = "mine" ngx.exit(500) }
        error_page 500 = /page;
    }
    location = /page {
        content_by_lua_block { ngx.say(ngx.ctx.id) show_all("http_host uri host") }
    }
--- raw_request eval
"GET /t HTTP/1.0\r\nHost: a.test\r\n\r\n"
--- error_code: 500
--- response_body
mine
http_host: a.test
uri: /page
host: a.test



=== TEST 7: a map may redefine $args
--- http_config
    map $uri $args { default "map of $uri"; /u ""; }
--- config
    location = /t {
        content_by_lua_block {
            show_all("args query_string is_args arg_a uri")
            ngx.req.set_uri_args("a=2")
            show_all("args query_string is_args arg_a")
        }
    }
--- request
GET /t?a=1
--- response_body
args: map of /t
query_string: a=1
is_args: ?
arg_a: 1
uri: /t
args: map of /t
query_string: a=2
is_args: ?
arg_a: 2



=== TEST 8: ngx.ctx is restored in a worker's first request although a map redefines $args
--- http_config
    map $uri $args { volatile; default "map of $uri"; }
    log_format uses '$args $query_string';
--- config
    location = /t {
        set $uses "$args $query_string";
        access_by_lua_block { ngx.ctx.id = "mine" ngx.exit(500) }
        error_page 500 = /page?b=2;
    }
    location = /page {
        content_by_lua_block {
            ngx.say(ngx.ctx.id)
            show_all("uses args query_string")
        }
    }
--- request
GET /t?a=1
--- error_code: 500
--- response_body
mine
uses: map of /t a=1
args: map of /page
query_string: b=2



=== TEST 9: a geo may redefine $args
--- http_config
    geo $args { default far; 127.0.0.1 near; }
--- config
    location = /t {
        content_by_lua_block { show_all("args query_string") }
    }
--- request
GET /t?a=1
--- response_body
args: near
query_string: a=1



=== TEST 10: other built-in names may be redefined
--- http_config
    map $uri $limit_rate { default "rate of $uri"; }
    map $uri $from_error_page { default "page of $uri"; }
--- config
    location = /t {
        content_by_lua_block { show_all("limit_rate from_error_page") }
    }
--- request
GET /t
--- response_body
limit_rate: rate of /t
from_error_page: page of /t



=== TEST 11: headers that repeat are joined when the configuration uses none that the layout check reads
--- http_config
    log_format uses '$http_x_forwarded_for $http_cookie $http_via';
--- config
    location = /t {
        content_by_lua_block { show_all("http_x_forwarded_for http_cookie http_via") }
    }
--- request
GET /t
--- more_headers
X-Forwarded-For: 1.1.1.1
Cookie: a=1
X-Forwarded-For: 2.2.2.2
Cookie: b=2
--- response_body
http_x_forwarded_for: 1.1.1.1, 2.2.2.2
http_cookie: a=1; b=2
http_via: nil
