# $from_error_page: its value, and the effect of a value that is set by hand.

use v5.36;
use lib 't/lib';
use NgxVarTest;
use Test::Nginx::Socket::Lua 'no_plan';
use CtxWitness;

# The value of error_page begins with a variable, whose value is the argument of the request.
our $BY_VARIABLE = <<'END';
    location = /after {
        rewrite_by_lua_block {
            ngx.log(ngx.WARN, "from: [", ngx.var.from_error_page, "] of [", ngx.var.error_page_uri, "];")
            witness.see("rewrite")
        }
        content_by_lua_block { witness.page() }
    }
    location = /t {
        set $target $arg_to;
        error_page 404 $target;
        post_action /after;
        rewrite_by_lua_block { witness.keep() }
        content_by_lua_block { ngx.exit(404) }
    }
END

repeat_each(2);
run_tests();

__DATA__

=== TEST 1: it is "true" after error_page, else empty
--- http_config
    log_format from '$request_uri: [$from_error_page]';
--- config
    add_header X-From "[$from_error_page]" always;
    access_log $TEST_NGINX_SERVROOT/logs/from.log from;
    error_page 404 /from;
    error_page 403 @from;
    location = /plain { return 200 "[$from_error_page]"; }
    location = /missing { root html; }
    location = /denied { deny all; }
    location = /from { return 200 "[$from_error_page]"; }
    location @from { return 200 "[$from_error_page]"; }
    location = /log {
        # the requests before have been logged, because their connections are closed
        alias $TEST_NGINX_SERVROOT/logs/from.log;
    }
--- request eval
["GET /plain", "GET /missing", "GET /denied", "GET /log"]
--- error_code eval
[200, 404, 403, 200]
--- response_headers eval
["X-From: []", "X-From: [true]", "X-From: [true]", "X-From: []"]
--- response_body_like eval
["^\\[\\]\$", "^\\[true\\]\$", "^\\[true\\]\$",
 "/plain: \\[\\]\n/missing: \\[true\\]\n/denied: \\[true\\]\n\$"]



=== TEST 2: it is "true" in every phase of an error page
--- config
    location = /t {
        error_page 500 /from;
        rewrite_by_lua_block {
            ngx.log(ngx.WARN, "before: [", ngx.var.from_error_page, "]")
            ngx.exit(500)
        }
    }
    location = /from {
        set $in_rewrite $from_error_page;
        rewrite_by_lua_block { assert(ngx.var.from_error_page == "true") }
        access_by_lua_block { assert(ngx.var.from_error_page == "true") }
        content_by_lua_block {
            ngx.say(ngx.var.in_rewrite, " ", ngx.var.from_error_page, " ",
                    require("resty.ngxvar").fetch("from_error_page"))
        }
        header_filter_by_lua_block { ngx.header["X-From"] = ngx.var.from_error_page }
        body_filter_by_lua_block { assert(ngx.var.from_error_page == "true") }
        log_by_lua_block { ngx.log(ngx.WARN, "log: [", ngx.var.from_error_page, "]") }
    }
--- request
GET /t
--- error_code: 500
--- response_headers
X-From: true
--- response_body
true true true
--- error_log
before: []
log: [true]
--- no_error_log
assertion failed



=== TEST 3: "if" and map see it
--- http_config
    map $from_error_page $mapped {
        true    "from an error page";
        default "direct";
    }
--- config
    location = /t {
        if ($from_error_page) { return 200 "$mapped\n"; }
        if ($from_error_page = '') { return 500; }
    }
    error_page 500 =200 /t;
    location = /direct { return 200 "$mapped\n"; }
--- request eval
["GET /t", "GET /direct"]
--- response_body eval
["from an error page\n", "direct\n"]



=== TEST 4: it is empty after redirects other than error pages
--- config
    location = /exec { content_by_lua_block { ngx.exec("/from") } }
    location = /try { root html; try_files /missing @from; }
    location = /rewrite { rewrite ^ /from last; }
    location = /from { return 200 "[$from_error_page]"; }
    location @from { return 200 "[$from_error_page]"; }
--- request eval
["GET /exec", "GET /try", "GET /rewrite"]
--- response_body eval
["[]", "[]", "[]"]



=== TEST 5: it stays "true" when another redirect follows the error page
--- config
    location = /t {
        error_page 404 = /second;
        root html;
    }
    location = /second { content_by_lua_block { ngx.exec("/from") } }
    location = /from { return 200 "[$from_error_page]"; }
--- request
GET /t
--- response_body chop
[true]



=== TEST 6: it is empty again for the next request on the connection
--- config
    location = /missing { error_page 404 /from; root html; }
    location = /from { return 200 "[$from_error_page]"; }
    location = /t {
        content_by_lua_block {
            local c = client.connect{ port = ngx.var.server_port }

            for _ = 1, 3 do
                ngx.say(c:request("/missing").body, " ", c:request("/from").body)
            end

            c:close()
        }
    }
--- request
GET /t
--- response_body
[true] []
[true] []
[true] []



=== TEST 7: it is empty in a subrequest of an error page
--- config
    location = /t {
        error_page 404 /page;
        root html;
    }
    location = /page {
        content_by_lua_block {
            ngx.say(ngx.var.from_error_page)
            ngx.say(ngx.location.capture("/sub").body)
            ngx.say(ngx.var.from_error_page)
        }
    }
    location = /sub { return 200 "[$from_error_page]"; }
--- request
GET /t
--- error_code: 404
--- response_body
true
[]
true



=== TEST 8: it is "true" on the error page of a request that nginx cannot parse
--- http_config
    server {
        listen 127.0.0.1:$TEST_NGINX_PORT1 ssl;
        ssl_certificate     $TEST_NGINX_CERT_DIR/test.crt;
        ssl_certificate_key $TEST_NGINX_CERT_DIR/test.key;
        error_page 497 @from;
        location @from {
            content_by_lua_block {
                ngx.say("[", ngx.var.from_error_page, "] ", next(ngx.ctx) == nil)
            }
        }
    }
--- config
    error_page 400 @from;
    location @from {
        content_by_lua_block {
            ngx.say("[", ngx.var.from_error_page, "] ", next(ngx.ctx) == nil)
        }
    }
    location = /t {
        content_by_lua_block {
            local res = client.get("/", { port = $TEST_NGINX_PORT1 })
            ngx.print(res.status, " ", res.body)

            res = client.get("/", { headers = { ["Content-Length"] = "many" } })
            ngx.print(res.status, " ", res.body)
        }
    }
--- request
GET /t
--- response_body
400 [true] true
400 [true] true



=== TEST 9: a request that sets it to 'true' gets its ngx.ctx back
--- config
    location = /t {
        rewrite_by_lua_block { witness.keep() }
        content_by_lua_block { ngx.exec("/by-hand") }
    }
    location = /by-hand {
        set $from_error_page 'true';
        content_by_lua_block {
            witness.see("content")
            ngx.say("[", ngx.var.from_error_page, "]")
        }
    }
--- request
GET /t
--- response_body
[true]
--- seen: everywhere



=== TEST 10: a request whose Lua sets it to 'true' gets its ngx.ctx back, if the configuration uses it
--- config
    location = /unused { set $from_error_page ''; }
    location = /t {
        rewrite_by_lua_block { witness.keep() }
        content_by_lua_block { ngx.exec("/by-hand") }
    }
    location = /by-hand {
        rewrite_by_lua_block { ngx.var.from_error_page = "true" }
        content_by_lua_block {
            witness.see("content")
            ngx.say("[", ngx.var.from_error_page, "]")
        }
    }
--- request
GET /t
--- response_body
[true]
--- seen: access=same content=same header_filter=same body_filter=same log=same



=== TEST 11: a request that sets it to any other value does not get its ngx.ctx back
--- config
    location = /t {
        error_page 500 /by-hand;
        rewrite_by_lua_block { witness.keep() ngx.exit(500) }
    }
    location = /by-hand {
        set $from_error_page $http_x_value;
        content_by_lua_block {
            witness.see("content")
            ngx.say("[", ngx.var.from_error_page, "]")
        }
    }
--- request eval
["GET /t", "GET /t", "GET /t", "GET /t"]
--- more_headers eval
["X-Value: false", "X-Value: 0", "X-Value: TRUE", "X-Value: true, really"]
--- error_code eval
[500, 500, 500, 500]
--- response_body eval
["[false]\n", "[0]\n", "[TRUE]\n", "[true, really]\n"]
--- seen: rewrite=new access=new content=new header_filter=new body_filter=new log=new



=== TEST 12: an empty value is read back and counts as not set
--- config
    location = /error {
        error_page 500 /by-hand;
        rewrite_by_lua_block { witness.keep() ngx.exit(500) }
    }
    location = /exec {
        rewrite_by_lua_block { witness.keep() }
        content_by_lua_block { ngx.exec("/by-hand") }
    }
    location = /by-hand {
        set $from_error_page '';
        content_by_lua_block {
            witness.see("content")
            ngx.say("[", ngx.var.from_error_page, "] ", witness.seen():match("content=%w+"))
        }
    }
--- request eval
["GET /error", "GET /exec"]
--- error_code eval
[500, 200]
--- response_body eval
["[] content=same\n", "[] content=new\n"]



=== TEST 13: a value that was set before an error page does not count after it
--- config
    location = /t {
        set $from_error_page $http_x_value;
        error_page 500 /by-hand;
        rewrite_by_lua_block {
            witness.keep()
            ngx.header["X-Before"] = "[" .. ngx.var.from_error_page .. "]"
            ngx.exit(500)
        }
    }
    location = /by-hand {
        content_by_lua_block {
            witness.see("content")
            ngx.say("[", ngx.var.from_error_page, "]")
        }
    }
--- request eval
["GET /t", "GET /t", "GET /t"]
--- more_headers eval
["X-Value: false", "X-Value: true", "X-Value:"]
--- error_code eval
[500, 500, 500]
--- response_headers eval
["X-Before: [false]", "X-Before: [true]", "X-Before: []"]
--- response_body eval
["[true]\n", "[true]\n", "[true]\n"]
--- seen: everywhere



=== TEST 14: a value that was set before a chain of error pages does not count after it
--- config
    recursive_error_pages on;
    location = /t {
        error_page 500 /second;
        rewrite_by_lua_block { witness.keep() ngx.exit(500) }
    }
    location = /second {
        set $from_error_page 'false';
        error_page 502 /third;
        rewrite_by_lua_block {
            ngx.header["X-Second"] = ngx.var.from_error_page
            ngx.exit(502)
        }
    }
    location = /third {
        content_by_lua_block {
            witness.see("content")
            ngx.say("[", ngx.var.from_error_page, "]")
        }
    }
--- request
GET /t
--- error_code: 502
--- response_headers
X-Second: false
--- response_body
[true]
--- seen: everywhere



=== TEST 15: 'true' restores nothing with lua_var_ctx_restore off
--- config
    lua_var_ctx_restore off;
    location = /t {
        error_page 500 /by-hand;
        rewrite_by_lua_block { witness.keep() ngx.exit(500) }
    }
    location = /by-hand {
        set $from_error_page 'true';
        content_by_lua_block { witness.page() }
    }
--- request
GET /t
--- error_code: 500
--- response_body
page
--- seen: rewrite=new access=new content=new header_filter=new body_filter=new log=new



=== TEST 16: 'true' set for a whole server restores a lost ngx.ctx and leaves others alone
--- config
    set $from_error_page 'true';
    location = /kept {
        rewrite_by_lua_block { ngx.ctx.a = ngx.ctx }
        content_by_lua_block { ngx.say(rawequal(ngx.ctx.a, ngx.ctx)) }
    }
    location = /nothing {
        content_by_lua_block { ngx.say(next(ngx.ctx) == nil and getmetatable(ngx.ctx) == nil) }
    }
    location = /lost {
        rewrite_by_lua_block { ngx.ctx.a = ngx.ctx }
        content_by_lua_block { ngx.exec("/exec") }
    }
    location = /exec {
        content_by_lua_block { ngx.say(rawequal(ngx.ctx.a, ngx.ctx)) }
    }
--- request eval
["GET /kept", "GET /nothing", "GET /lost"]
--- response_body eval
["true\n", "true\n", "true\n"]



=== TEST 17: APISIX 2.13's own stash of ngx.ctx works beside the module
--- config
    error_page 500 502 503 504 @50x.html;
    location = /apisix {
        set $ctx_ref '';
        set $from_error_page '';
        access_by_lua_block {
            witness.keep()
            require("stash").put()
        }
        proxy_pass http://127.0.0.1:$TEST_NGINX_PORT9;
    }
    location @50x.html {
        set $from_error_page 'true';
        content_by_lua_block { witness.page() }
        header_filter_by_lua_block {
            require("stash").apply()
            witness.see("header_filter")
        }
    }
    location = /t {
        content_by_lua_block {
            witness.reset()

            local c = client.connect{ port = ngx.var.server_port }
            local before = assert(witness.references())

            for _ = 1, 50 do
                c:request("/apisix")
            end

            ngx.say(witness.tally(witness.await(50)))
            ngx.say("references kept: ", assert(witness.references()).used - before.used)
            c:close()
        }
    }
--- user_files
>>> stash.lua
-- Keeps ngx.ctx in a table, and its number in a variable of the request.
local _M = {}
local stashed, last = {}, 0

function _M.put()
    last = last + 1
    stashed[last] = ngx.ctx
    ngx.var.ctx_ref = last
end

function _M.apply()
    local number = tonumber(ngx.var.ctx_ref)

    if number and ngx.var.from_error_page == "true" then
        ngx.ctx = stashed[number]
        stashed[number] = nil
        ngx.var.ctx_ref = ""
    end
end

return _M
--- request
GET /t
--- response_body
50 x rewrite=same access=same content=same header_filter=same body_filter=same log=same
references kept: 0



=== TEST 18: it stays "true" when the error page itself ends in a 302
--- config
    recursive_error_pages on;
    location = /t {
        error_page 500 /page;
        rewrite_by_lua_block { ngx.exit(500) }
    }
    location = /page {
        error_page 503 http://other.test/sorry;
        return 503;
        # the first to ask, of a request that no error page has redirected since
        log_by_lua_block { ngx.log(ngx.WARN, "from: [", ngx.var.from_error_page, "];") }
    }
--- request
GET /t
--- error_code: 302
--- response_headers
Location: http://other.test/sorry
--- error_log
from: [true];



=== TEST 19: a post_action after a 302 of error_page did not come through it
--- config
    location = /after {
        # lua-nginx-module ends a post_action after this phase
        rewrite_by_lua_block {
            ngx.log(ngx.WARN, "from: [", ngx.var.from_error_page, ngx.var.error_page_uri, "];")
            witness.see("rewrite")
        }
    }
    location = /t {
        error_page 404 https://other.test/sorry;
        post_action /after;
        rewrite_by_lua_block { witness.keep() }
        content_by_lua_block { ngx.exit(404) }
    }
--- request
GET /t
--- error_code: 302
--- response_headers
Location: https://other.test/sorry
--- error_log
from: [];
--- seen: rewrite=new log=new



=== TEST 20: a post_action in a named location, after a 302 with variables, neither
--- config
    location @after {
        # lua-nginx-module ends a post_action after this phase
        rewrite_by_lua_block {
            ngx.log(ngx.WARN, "from: [", ngx.var.from_error_page, ngx.var.error_page_uri, "];")
            witness.see("rewrite")
        }
    }
    location = /t {
        error_page 404 https://other.test/sorry?from=$uri;
        post_action @after;
        rewrite_by_lua_block { witness.keep() }
        content_by_lua_block { ngx.exit(404) }
    }
--- request
GET /t
--- error_code: 302
--- response_headers
Location: https://other.test/sorry?from=/t
--- error_log
from: [];
--- seen: rewrite=new log=new



=== TEST 21: a value of error_page that begins with a variable does not redirect when that is a URL
--- config eval: $::BY_VARIABLE
--- request
GET /t?to=https://other.test/
--- error_code: 302
--- grep_error_log eval
qr/(?<=seen: )[\w= ]*(?=;)|from: \[.*?\];/
--- grep_error_log_out
from: [] of [];
rewrite=new log=new



=== TEST 22: a value of error_page that begins with a variable redirects when that is a URI
--- config eval: $::BY_VARIABLE
--- request
GET /t?to=/after
--- error_code: 404
--- response_body
page
--- grep_error_log eval
qr/(?<=seen: )[\w= ]*(?=;)|from: \[.*?\];/
--- grep_error_log_out
from: [true] of [/t];
rewrite=same access=same content=same header_filter=same body_filter=same log=same



=== TEST 23: an error page of a subrequest leaves what its parent has set
--- config
    location = /t {
        default_type text/html;
        set $from_error_page 'by hand';
        add_after_body /sub;
        content_by_lua_block { ngx.say("main") }
        log_by_lua_block { ngx.log(ngx.WARN, "from: [", ngx.var.from_error_page, "];") }
    }
    location = /sub {
        error_page 404 /sub-page;
        return 404;
    }
    location = /sub-page { return 200 "sub\n"; }
--- request
GET /t
--- response_body
main
sub
--- error_log
from: [by hand];
