# fetch(name): the values it returns.  Names are in fetch-names.t, places without a
# request or without variables in fetch-contexts.t.  What a request argument may be is
# in request*.t; that values follow the request is in differential*.t.

use lib 't/lib';
use NgxVarTest;
use Test::Nginx::Socket::Lua 'no_plan';

repeat_each(2);
run_tests();

__DATA__

=== TEST 1: the library is found without lua_package_path, and has all its functions
--- http_config
    lua_package_path "/nowhere/?.lua;;";
--- config
    location = /t {
        content_by_lua_block {
            local names = {}
            for name, value in pairs(require "resty.ngxvar") do
                names[#names + 1] = name .. " " .. type(value)
            end
            table.sort(names)
            ngx.say(table.concat(names, "\n"))
        }
    }
--- request
GET /t
--- response_body
_BUILD string
_VERSION string
enable_patch function
fetch function
getter function
live function
patch_ngx_var function
reader function
request function
set function
setter function
ssl_ctx function
stats function
--- no_error_log
[error]



=== TEST 2: strings are those of ngx.var
--- http_config
    map $arg_a $mapped { one "mapped one"; default "mapped"; }
    geo $geo { default far; 127.0.0.1 near; }
    split_clients "$request_uri" $split { 100% "all"; }
--- config
    location = /t {
        set $own "own value";
        content_by_lua_block {
            local fetch = require("resty.ngxvar").fetch
            for _, name in ipairs { "uri", "document_uri", "request_uri", "args",
                                    "query_string", "is_args", "host", "scheme",
                                    "request_method", "server_protocol",
                                    "remote_addr", "server_port", "server_name",
                                    "server_addr", "https", "own", "mapped", "geo",
                                    "split", "from_error_page", "nginx_version" }
            do
                local value, err = fetch(name)
                if name == "server_port" then
                    assert(value == "$TEST_NGINX_SERVER_PORT")
                    value = "PORT"
                elseif name == "nginx_version" then
                    assert(value:match("^%d+%.%d+%.%d+$"))
                    value = "VERSION"
                end
                ngx.say(name, ": ", type(value), " ", value, " ", tostring(err))
            end
        }
    }
--- request
GET /%74?a=one&b=
--- response_body
uri: string /t nil
document_uri: string /t nil
request_uri: string /%74?a=one&b= nil
args: string a=one&b= nil
query_string: string a=one&b= nil
is_args: string ? nil
host: string localhost nil
scheme: string http nil
request_method: string GET nil
server_protocol: string HTTP/1.1 nil
remote_addr: string 127.0.0.1 nil
server_port: string PORT nil
server_name: string localhost nil
server_addr: string 127.0.0.1 nil
https: string  nil
own: string own value nil
mapped: string mapped one nil
geo: string near nil
split: string all nil
from_error_page: string  nil
nginx_version: string VERSION nil
--- no_error_log
[error]



=== TEST 3: numbers of the request are Lua numbers
--- config
    location = /t {
        content_by_lua_block {
            local fetch = require("resty.ngxvar").fetch

            ngx.status = 201
            ngx.sleep(0.05)
            local time = fetch("request_time")
            ngx.say("request_time: ", type(time), " ",
                    time >= 0.04 and time < 5, " ",
                    time * 1000 % 1 < 1e-6 or time * 1000 % 1 > 1 - 1e-6)

            ngx.say("status: ", type(fetch("status")), " ", fetch("status"))

            local length = #ngx.req.raw_header() + 5
            ngx.req.read_body()
            ngx.say("request_length: ", type(fetch("request_length")), " ",
                    fetch("request_length") == length)

            ngx.say("bytes_sent: ", type(fetch("bytes_sent")), " ",
                    fetch("bytes_sent") == 0)
            ngx.flush(true)
            ngx.say("after a flush: ", fetch("bytes_sent") > 100, " ",
                    fetch("bytes_sent") == tonumber(ngx.var.bytes_sent))
        }
    }
--- request
POST /t
12345
--- error_code: 201
--- response_body
request_time: number true true
status: number 201
request_length: number true
bytes_sent: number true
after a flush: true true
--- no_error_log
[error]



=== TEST 4: status is right before the response, while it is sent, and in the log phase
--- config
    location = /t {
        set_by_lua_block $before { return require("resty.ngxvar").fetch("status") + 0 }
        return 204;
        header_filter_by_lua_block {
            local fetch = require("resty.ngxvar").fetch
            ngx.header["X-Status"] = ngx.var.before .. " " .. fetch("status")
            ngx.status = 202
        }
        log_by_lua_block {
            local status = require("resty.ngxvar").fetch("status")
            ngx.log(ngx.NOTICE, "in the log: ", type(status), " ", status)
        }
    }
--- request
GET /t
--- error_code: 202
--- response_headers
X-Status: 0 204
--- log_level: notice
--- wait: 0.02
--- error_log
in the log: number 202
--- no_error_log
[error]



=== TEST 5: upstream times are nil without an upstream
--- config
    location = /t {
        content_by_lua_block {
            local fetch = require("resty.ngxvar").fetch
            for _, what in ipairs { "response", "header", "connect" } do
                ngx.say(select("#", fetch("upstream_" .. what .. "_time")), " ",
                        tostring(fetch("upstream_" .. what .. "_time")))
            end
            ngx.say(tostring(fetch("upstream_addr")), " ",
                    tostring(fetch("upstream_status")), " ",
                    tostring(fetch("upstream_http_server")))
        }
    }
--- request
GET /t
--- response_body
1 nil
1 nil
1 nil
nil nil nil
--- no_error_log
[error]



=== TEST 6: upstream times are summed over slow attempts
--- http_config
    upstream servers {
        server 127.0.0.1:$TEST_NGINX_PORT1 max_fails=0;
        server 127.0.0.1:$TEST_NGINX_PORT2 max_fails=0;
        server 127.0.0.1:$TEST_NGINX_PORT3 max_fails=0;
        server 127.0.0.1:$TEST_NGINX_PORT4 max_fails=0 backup;
    }
    server {
        listen 127.0.0.1:$TEST_NGINX_PORT2;
        listen 127.0.0.1:$TEST_NGINX_PORT3;
        location / { content_by_lua_block { ngx.sleep(0.06) ngx.exit(502) } }
    }
    server {
        listen 127.0.0.1:$TEST_NGINX_PORT4;
        location / { content_by_lua_block { ngx.sleep(0.03) ngx.say("here") } }
    }
--- config
    location = /t {
        proxy_pass http://servers;
        proxy_next_upstream error http_502;
        log_by_lua_block {
            local fetch = require("resty.ngxvar").fetch

            for _, what in ipairs { "response", "header", "connect" } do
                local name = "upstream_" .. what .. "_time"
                local sum, n = 0, 0
                for number in ngx.var[name]:gmatch("[^, ]+") do
                    sum, n = sum + (tonumber(number) or 0), n + 1
                end
                local value = fetch(name)
                -- equal but for the last bit of a double
                ngx.log(ngx.NOTICE, what, ": ", type(value), " of ", n, ", ",
                        math.abs(value - sum) < 1e-9 and "right" or
                            "wrong: " .. value .. " for " .. ngx.var[name],
                        what == "connect" and "" or value >= 0.12 and ", slow" or ", fast")
            end
            ngx.log(ngx.NOTICE, "status: ", type(fetch("upstream_status")), " ",
                    fetch("upstream_status") == ngx.var.upstream_status)
        }
    }
--- request
GET /t
--- response_body
here
--- log_level: notice
--- wait: 0.02
--- grep_error_log eval
qr/(?:response|header|connect): number of \d, [a-z]+(?:: [^,]*)?(?:, (?:slow|fast))?|status: \w+ \w+/
--- grep_error_log_out
response: number of 4, right, slow
header: number of 4, right, slow
connect: number of 4, right
status: string true



=== TEST 7: upstream times of two upstreams are summed across an internal redirect
--- http_config
    upstream first {
        server 127.0.0.1:$TEST_NGINX_PORT1 max_fails=0;
        server 127.0.0.1:$TEST_NGINX_PORT2 max_fails=0;
    }
    upstream second { server 127.0.0.1:$TEST_NGINX_PORT3 max_fails=0; }
    server {
        listen 127.0.0.1:$TEST_NGINX_PORT1;
        listen 127.0.0.1:$TEST_NGINX_PORT2;
        location / { content_by_lua_block { ngx.sleep(0.05) ngx.exit(503) } }
    }
    server {
        listen 127.0.0.1:$TEST_NGINX_PORT3;
        location / { content_by_lua_block { ngx.sleep(0.03) ngx.say("here") } }
    }
--- config
    location = /t {
        proxy_pass http://first;
        proxy_next_upstream http_503;
        proxy_intercept_errors on;
        error_page 503 = @second;
    }
    location @second {
        proxy_pass http://second;
        log_by_lua_block {
            local fetch = require("resty.ngxvar").fetch
            for _, what in ipairs { "response", "header" } do
                local text = ngx.var["upstream_" .. what .. "_time"]
                local a, b, c = text:match("^([%d.]+), ([%d.]+) : ([%d.]+)$")
                local sum = fetch("upstream_" .. what .. "_time")
                ngx.log(ngx.NOTICE, what, ": ",
                        math.abs(a + b + c - sum) < 1e-9 and sum >= 0.12
                            and "right;" or "wrong: " .. sum .. " for " .. text)
            end
        }
    }
--- request
GET /t
--- response_body
here
--- log_level: notice
--- wait: 0.02
--- grep_error_log eval
qr/(?:response|header): (?:right;|wrong:.*)/
--- grep_error_log_out
response: right;
header: right;



=== TEST 8: an attempt without a time counts as 0
--- config
    location = /t {
        proxy_pass http://127.0.0.1:$TEST_NGINX_PORT1;
        error_page 502 = @down;
    }
    location @down {
        content_by_lua_block {
            local fetch = require("resty.ngxvar").fetch
            for _, what in ipairs { "header", "connect" } do
                local name = "upstream_" .. what .. "_time"
                ngx.say(what, ": ", ngx.var[name], " ", tostring(fetch(name)))
            end
            ngx.say(type(fetch("upstream_response_time")))
        }
    }
--- request
GET /t
--- response_body
header: - 0
connect: - 0
number
--- no_error_log
[alert]



=== TEST 9: each fetch reads the current value
--- config
    location = /t {
        content_by_lua_block {
            local fetch = require("resty.ngxvar").fetch
            ngx.say(fetch("uri"), " ", fetch("arg_a"), " ", tostring(fetch("http_x")))
            ngx.req.set_uri("/other")
            ngx.req.set_uri_args("a=2")
            ngx.req.set_header("X", "set")
            ngx.say(fetch("uri"), " ", fetch("arg_a"), " ", tostring(fetch("http_x")))
            ngx.req.clear_header("X")
            ngx.req.set_method(ngx.HTTP_PUT)
            ngx.say(tostring(fetch("http_x")), " ", fetch("request_method"))
        }
    }
--- request
GET /t?a=1
--- response_body
/t 1 nil
/other 2 set
nil PUT
--- no_error_log
[error]



=== TEST 10: values may have any bytes
--- config
    location ~ ^/t {
        content_by_lua_block {
            local fetch = require("resty.ngxvar").fetch
            ngx.say(fetch("uri") == "/t\1\255\r\n", " ", #fetch("uri"), " ",
                    fetch("uri") == ngx.var.uri)
            ngx.say(fetch("binary_remote_addr") == "\127\0\0\1")
            ngx.say(#fetch("http_x"), " ", fetch("http_x") == ngx.var.http_x)
        }
    }
--- request
GET /t%01%FF%0D%0A
--- more_headers eval
"X: " . "\xff\x80" x 2000
--- error_code: 200
--- response_body
true 6 true
true
4000 true
--- no_error_log
[error]



=== TEST 11: a value that nginx has cached is read, as by ngx.var
--- http_config
    map $arg_a $kept { default "kept $arg_a"; }
    map "$remote_addr$host$scheme$request_uri$server_name$kept" $uses { default "x"; }
--- config
    location = /t {
        content_by_lua_block {
            local fetch = require("resty.ngxvar").fetch
            ngx.say(ngx.var.uses)                       -- nginx evaluates them all
            ngx.req.set_header("Host", "other.test")
            ngx.req.set_uri_args("a=2")
            ngx.say(fetch("host"), " ", fetch("kept"))
            ngx.say(fetch("host") == ngx.var.host, " ", fetch("kept") == ngx.var.kept)
        }
    }
    location = /u {
        content_by_lua_block {
            local fetch = require("resty.ngxvar").fetch
            ngx.say(fetch("host"))                      -- nothing was kept yet
            ngx.req.set_header("Host", "other.test")
            ngx.req.set_uri_args("a=2")
            ngx.say(fetch("host"), " ", fetch("kept"))
            ngx.say(fetch("host") == ngx.var.host, " ", fetch("kept") == ngx.var.kept)
        }
    }
--- request eval
["GET /t?a=1", "GET /u?a=1"]
--- response_body eval
# Of the cached values, lua-nginx-module drops only $host when it sets the header.
["x\nother.test kept 1\ntrue true\n", "localhost\nother.test kept 2\ntrue true\n"]
--- no_error_log
[error]



=== TEST 12: a cached value is read although its source has changed
--- http_config
    map "$remote_addr" $uses { default "x"; }
--- config
    location = /t {
        set_real_ip_from 127.0.0.1;
        real_ip_header X-Real-IP;
        rewrite_by_lua_block {
            if ngx.var.arg_early then
                ngx.ctx.early = ngx.var.remote_addr     -- before realip sets it
            end
        }
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            local req = ngxvar.request()
            local stock, is_same = ngx.var.remote_addr, true
            for _ = 1, 200 do
                is_same = is_same and ngxvar.fetch("remote_addr") == stock
                          and ngxvar.fetch("remote_addr", req) == stock
            end
            ngx.say(stock, " ", is_same)
        }
    }
--- request eval
["GET /t?early=1", "GET /t"]
--- more_headers
X-Real-IP: 1.2.3.4
--- response_body eval
["127.0.0.1 true\n", "1.2.3.4 true\n"]
--- no_error_log
[error]
