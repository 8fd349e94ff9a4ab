# ngx.ctx across error_page: every kind of target, every place for the directive,
# and subrequests.

use v5.36;
use lib 't/lib';
use NgxVarTest;
use Test::Nginx::Socket::Lua 'no_plan';
use CtxWitness;

repeat_each(2);
run_tests();

__DATA__

=== TEST 1: a URI with arguments gets ngx.ctx and the arguments
--- config
    location = /t {
        error_page 500 /target?a=1&b=two;
        rewrite_by_lua_block { witness.keep() ngx.exit(500) }
    }
    location = /target {
        content_by_lua_block {
            witness.see("content")
            ngx.say(ngx.var.uri, " ", ngx.var.args)
        }
    }
--- request
GET /t?c=3
--- error_code: 500
--- response_body
/target a=1&b=two
--- seen: everywhere



=== TEST 2: a URI with variables gets ngx.ctx and their values
--- config
    set $target /target;
    location = /inside {
        error_page 500 /$arg_name?status=$status&from=$uri;
        rewrite_by_lua_block { witness.keep() ngx.exit(500) }
    }
    location = /whole {
        error_page 500 $target;
        rewrite_by_lua_block { witness.keep() ngx.exit(500) }
    }
    location = /args-in-variable {
        set $with_args /target?in=variable;
        error_page 500 $with_args;
        access_by_lua_block { witness.keep() ngx.exit(500) }
    }
    location = /target {
        content_by_lua_block {
            witness.see("content")
            -- without arguments nginx leaves args.data uninitialised, which memcheck reports
            ngx.say(ngx.var.uri, " ", ngx.var.is_args == "" and "" or ngx.var.args)
        }
    }
--- request eval
["GET /inside?name=target", "GET /whole", "GET /args-in-variable"]
--- error_code eval
[500, 500, 500]
--- response_body eval
["/target status=500&from=/inside\n", "/target \n", "/target in=variable\n"]
--- seen: everywhere



=== TEST 3: a named location, also by a variable, gets ngx.ctx
--- config
    location = /named {
        error_page 500 @page;
        rewrite_by_lua_block { witness.keep() ngx.exit(500) }
    }
    location = /variable {
        error_page 500 @$arg_name;
        rewrite_by_lua_block { witness.keep() ngx.exit(500) }
    }
--- request eval
["GET /named", "GET /variable?name=page"]
--- error_code eval
[500, 500]
--- response_body eval
["page\n", "page\n"]
--- seen: everywhere



=== TEST 4: each page of a chain of error pages gets ngx.ctx
--- config
    recursive_error_pages on;
    location = /t {
        error_page 500 /second;
        rewrite_by_lua_block { witness.keep() ngx.exit(500) }
    }
    location = /second {
        error_page 502 @third;
        proxy_pass http://127.0.0.1:$TEST_NGINX_PORT9;
    }
    location @third {
        error_page 403 /page;
        access_by_lua_block { witness.see("access") ngx.exit(403) }
    }
--- request
GET /t
--- error_code: 403
--- response_body
page
--- seen: rewrite=same access=same rewrite=same access=same everywhere



=== TEST 5: the last page of a chain gets ngx.ctx although no other used it
--- config
    recursive_error_pages on;
    location = /t {
        error_page 500 /second;
        rewrite_by_lua_block { witness.keep() ngx.exit(500) }
    }
    location = /second {
        error_page 502 @third;
        proxy_pass http://127.0.0.1:$TEST_NGINX_PORT9;
    }
    location @third {
        error_page 404 /page;
        root html;
    }
--- request
GET /t
--- more_headers
X-First: content
--- error_code: 404
--- response_body
page
--- seen: content=same header_filter=same body_filter=same log=same



=== TEST 6: an error page that fails itself keeps ngx.ctx
--- config
    location = /t {
        error_page 500 /second;
        rewrite_by_lua_block { witness.keep() ngx.exit(500) }
    }
    location = /second {
        error_page 502 /page;
        proxy_pass http://127.0.0.1:$TEST_NGINX_PORT9;
    }
--- request
GET /t
--- error_code: 502
--- response_body_like: 502 Bad Gateway
--- seen: rewrite=same access=same header_filter=same body_filter=same log=same



=== TEST 7: a chain that nginx ends for its length keeps ngx.ctx
--- config
    recursive_error_pages on;
    error_page 500 /t;
    location = /t {
        rewrite_by_lua_block {
            if not ngx.req.is_internal() then
                witness.keep()
            end

            ngx.exit(500)
        }
    }
--- request
GET /t
--- error_code: 500
--- response_body_like: 500 Internal Server Error
--- error_log
rewrite or internal redirection cycle
--- seen: header_filter=same body_filter=same log=same



=== TEST 8: error_page with =200, and with =, gets ngx.ctx
--- config
    rewrite_by_lua_block {
        if not ngx.req.is_internal() then
            return witness.keep()
        end

        witness.see("rewrite")
    }
    location = /code {
        error_page 500 =200 /page;
        access_by_lua_block { ngx.exit(500) }
    }
    location = /code-named {
        error_page 500 =201 @page;
        access_by_lua_block { ngx.exit(500) }
    }
    location = /own {
        error_page 404 = /page;
        root html;
    }
    location = /own-named {
        error_page 502 = @page;
        proxy_pass http://127.0.0.1:$TEST_NGINX_PORT9;
    }
--- request eval
["GET /code", "GET /code-named", "GET /own", "GET /own-named"]
--- error_code eval
[200, 201, 200, 200]
--- response_body eval
[("page\n") x 4]
--- seen: everywhere



=== TEST 9: HEAD, and a method that becomes GET, keep ngx.ctx
--- config
    location = /t {
        error_page 500 /page;
        rewrite_by_lua_block { witness.keep() ngx.exit(500) }
    }
--- request eval
["HEAD /t", "PUT /t\nbody"]
--- more_headers eval
["X-First: log", "X-First: log"]
--- error_code eval
[500, 500]
--- response_body eval
["", "page\n"]
--- seen: log=same



=== TEST 10: inherited and overridden error pages get ngx.ctx
--- http_config
    error_page 500 502 503 /from-http;
    server {
        listen 127.0.0.1:$TEST_NGINX_PORT1;
        location = /t {
            rewrite_by_lua_block { witness.keep() ngx.exit(500) }
        }
        location = /from-http {
            content_by_lua_block { witness.see("content") ngx.say("http") }
        }
    }
--- config
    error_page 500 502 /from-server;
    error_page 503 @from-server;
    location /outer {
        rewrite_by_lua_block { witness.keep() ngx.exit(tonumber(ngx.var.arg_code)) }
        location /outer/own {
            error_page 500 /from-location;
            location /outer/own/inner { }
        }
    }
    location = /from-server {
        content_by_lua_block { witness.see("content") ngx.say("server") }
    }
    location @from-server {
        content_by_lua_block { witness.see("content") ngx.say("server, named") }
    }
    location = /from-location {
        content_by_lua_block { witness.see("content") ngx.say("location") }
    }
    location = /http {
        proxy_pass http://127.0.0.1:$TEST_NGINX_PORT1/t;
    }
    location = /t {
        content_by_lua_block {
            witness.reset()

            for i, uri in ipairs{
                "/http", "/outer?code=500", "/outer?code=503",
                "/outer/own?code=500", "/outer/own/inner?code=500", "/outer/own?code=502",
            } do
                local body = client.get(uri).body
                local seen = witness.await(i)[i]

                ngx.say(body:match("[^\r\n]+"), ": ", seen:match("log=%w+") or "no redirect")
            end
        }
    }
--- request
GET /t
--- response_body
http: log=same
server: log=same
server, named: log=same
location: log=same
location: log=same
<html>: no redirect



=== TEST 11: error pages in if blocks get ngx.ctx
--- config
    location = /page-in-if {
        rewrite_by_lua_block { witness.keep() }
        if ($arg_fail) {
            error_page 500 /page;
        }
        access_by_lua_block { ngx.exit(500) }
    }
    location = /inherited {
        error_page 404 /page;
        root html;
        if ($arg_fail) {
            root html/other;
        }
        rewrite_by_lua_block { witness.keep() }
    }
    location = /proxy {
        error_page 502 @page;
        if ($arg_fail) {
            proxy_pass http://127.0.0.1:$TEST_NGINX_PORT9;
        }
        rewrite_by_lua_block { witness.keep() }
    }
--- request eval
["GET /page-in-if?fail=1", "GET /inherited?fail=1", "GET /proxy?fail=1"]
--- error_code eval
[500, 404, 502]
--- response_body eval
["page\n", "page\n", "page\n"]
--- seen: everywhere



=== TEST 12: error pages of limit_except get ngx.ctx
--- config
    location = /t {
        error_page 403 /page;
        rewrite_by_lua_block { witness.keep() }
        limit_except GET { deny all; }
        content_by_lua_block { ngx.say("allowed") }
    }
    location = /proxy {
        error_page 502 @page;
        rewrite_by_lua_block { witness.keep() }
        limit_except GET { proxy_pass http://127.0.0.1:$TEST_NGINX_PORT9; }
        return 200 "allowed";
    }
--- request eval
["POST /t", "POST /proxy"]
--- error_code eval
[403, 502]
--- response_body eval
["page\n", "page\n"]
--- seen: everywhere



=== TEST 13: a 302 to another host is no internal redirect
--- config
    location /t/ {
        rewrite_by_lua_block { witness.keep() ngx.exit(500) }
        header_filter_by_lua_block {
            ngx.header["X-From"] = "[" .. ngx.var.from_error_page .. "]"
        }
        log_by_lua_block {
            ngx.log(ngx.WARN, "from: [", ngx.var.from_error_page, "]; ",
                    ngx.ctx.kept_by and "not lost" or "lost")
        }
        location = /t/plain { error_page 500 http://other.test/sorry; }
        location = /t/code { error_page 500 =301 https://other.test/sorry; }
        location = /t/variable { error_page 500 http://$arg_host/sorry; }
    }
--- request eval
["GET /t/plain", "GET /t/code", "GET /t/variable?host=other.test"]
--- error_code eval
[302, 301, 302]
--- response_headers eval
["Location: http://other.test/sorry\nX-From: []", "Location: https://other.test/sorry\nX-From: []",
 "Location: http://other.test/sorry\nX-From: []"]
--- error_log
from: []; not lost
--- no_error_log
gets its ngx.ctx back



=== TEST 14: a subrequest's error page gets its own ngx.ctx, and its parent keeps its
--- config
    addition_types *;
    location = /t {
        add_after_body /sub;
        rewrite_by_lua_block { ngx.ctx.of_parent = "parent" }
        content_by_lua_block { ngx.say("body") }
        log_by_lua_block {
            ngx.log(ngx.WARN, "in the log phase: ", ngx.ctx.of_parent, " ", ngx.ctx.kept_by)
        }
    }
    location = /sub {
        error_page 500 /sub-page;
        rewrite_by_lua_block { witness.keep() ngx.exit(500) }
    }
    location = /sub-page {
        content_by_lua_block {
            witness.see("content")
            ngx.say(witness.seen())
        }
    }
--- request
GET /t
--- response_body
body
rewrite=same content=same
--- error_log
in the log phase: parent nil



=== TEST 15: a parent that shared its ngx.ctx with subrequests gets it on its error page
--- config
    location = /t {
        error_page 503 /page;
        content_by_lua_block {
            witness.keep()
            ngx.location.capture("/sub")
            ngx.location.capture_multi{
                { "/sub", { ctx = ngx.ctx } },
                { "/sub", { ctx = ngx.ctx } },
            }
            ngx.exit(503)
        }
    }
    location = /sub {
        rewrite_by_lua_block {
            ngx.ctx.of_subrequest = true
            ngx.exit(500)
        }
    }
--- request
GET /t
--- error_code: 503
--- response_body
page
--- seen: everywhere



=== TEST 16: a subrequest that shares its parent's ngx.ctx gets it on its error page
# ngx.location.capture returns errors without error pages, so ngx.exec is used.
--- config
    lua_var_ctx_restore all;
    location = /t {
        content_by_lua_block {
            local ctx = { of_parent = true }
            local other = ngx.location.capture("/sub")
            local res = ngx.location.capture("/sub", { ctx = ctx })

            ngx.say(other.body, " ", res.body, " ", rawequal(ctx, ctx.in_page))
        }
    }
    location = /sub {
        # This Lua does not touch ngx.ctx, so that only C refers to it.
        content_by_lua_block { ngx.exec("/in-page") }
    }
    location = /in-page {
        content_by_lua_block {
            ngx.ctx.in_page = ngx.ctx
            ngx.print(ngx.ctx.of_parent)
        }
    }
--- request
GET /t
--- response_body
nil true true



=== TEST 17: a handle is the same and valid on the error page
--- config
    location = /t {
        error_page 500 /own-page;
        rewrite_by_lua_block {
            ngx.ctx.handle = require("resty.ngxvar").request()
            ngx.exit(500)
        }
    }
    location = /own-page {
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"

            ngx.say(tostring(ngx.ctx.handle) == tostring(ngxvar.request()))
            ngx.say(ngxvar.live(ngx.ctx.handle), " ", ngxvar.fetch("uri", ngx.ctx.handle))
        }
    }
--- request
GET /t
--- error_code: 500
--- response_body
true
true /own-page
