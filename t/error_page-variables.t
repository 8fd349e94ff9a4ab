# $error_page_uri, $error_page_args, $error_page_method and $error_page_status: what the
# request was before the first error_page.

use lib 't/lib';
use NgxVarTest;
use Test::Nginx::Socket::Lua 'no_plan';

our $COMMON = <<'END';
    map $error_page_uri $mapped { default "none"; ~^/(.*) "was $1"; }
    map $error_page_status $volatile_status { volatile; default $error_page_status; }
END

add_block_preprocessor(sub {
    my ($block) = @_;
    return if defined $block->alone;
    $block->set_value(http_config => $main::COMMON . ($block->http_config // ''));
    $block->set_value(config => $block->config . <<'END');
    location = /page {
        return 200 "$error_page_method $error_page_uri $error_page_args $error_page_status, $request_method $uri, $mapped\n";
    }
END
});

repeat_each(2);
run_tests();

__DATA__

=== TEST 1: $error_page_method, _uri, _args and _status are those before the error page
--- config
    location = /t { error_page 404 /page; return 404; }
--- request
GET /t?a=1&b
--- error_code: 404
--- response_body
GET /t a=1&b 404, GET /page, was t



=== TEST 2: they are right for another method, without arguments, and for an encoded URI
--- config
    location /t { error_page 404 /page; return 404; }
--- request
POST /t/%41%20b
a=1
--- error_code: 404
--- response_body
POST /t/A b  404, GET /page, was t/A b



=== TEST 3: $error_page_status is the error's status although error_page sends another
--- config
    location = /ok { error_page 404 403 =200 /page; return 403; }
    location = /other { error_page 502 =503 /page; return 502; }
    location = /page2 { add_header X-Status $error_page_status always; return 204; }
    location = /any { error_page 500 = /page2; return 500; }
--- request eval
["GET /ok", "GET /other", "GET /any"]
--- error_code eval
[200, 503, 204]
--- response_headers_like eval
["", "", "X-Status: 500"]
--- response_body eval
["GET /ok  403, GET /page, was ok\n", "GET /other  502, GET /page, was other\n", ""]



=== TEST 4: they are right in a named location, and for a URI with variables
--- config
    error_page 404 @named;
    location = /t { return 404; }
    location @named { return 200 "$error_page_uri $error_page_status $uri\n"; }
    location = /v { set $to page; error_page 410 =200 /$to?x=$arg_a; return 410; }
--- request eval
["GET /t", "GET /v?a=1"]
--- error_code eval
[404, 200]
--- response_body eval
["/t 404 /t\n", "GET /v a=1 410, GET /page, was v\n"]



=== TEST 5: after several error pages they are those of the first error
--- config
    recursive_error_pages on;
    location = /t { error_page 404 /second?s=1; return 404; }
    location = /second { error_page 403 =200 /page; return 403; }
--- request
GET /t?a=1
--- response_body
GET /t a=1 404, GET /page, was t



=== TEST 6: they are empty without an error, after other redirects, after a 302, and without a page
--- config
    location = /moved { rewrite ^ /page last; }
    location = /exec { content_by_lua_block { ngx.exec("/page") } }
    location = /away { error_page 404 http://127.0.0.1/; add_header X "[$error_page_uri]" always; return 404; }
    location = /plain { add_header X "[$error_page_status]" always; return 404; }
--- request eval
["GET /page", "GET /moved", "GET /exec", "GET /away", "GET /plain"]
--- error_code eval
[200, 200, 200, 302, 404]
--- response_headers_like eval
["", "", "", 'X: \[\]', 'X: \[\]']
--- response_body_like eval
["^   , GET /page, none\n", "^   , GET /page, none\n", "^   , GET /page, none\n", "302 Found", "404 Not Found"]



=== TEST 7: a subrequest has its own
--- config
    location = /t {
        default_type text/html;
        add_after_body /inner;
        content_by_lua_block { ngx.say("main") }
        log_by_lua_block { ngx.log(ngx.NOTICE, "main: [", ngx.var.error_page_uri, "]") }
    }
    location = /inner { error_page 404 /page; return 404; }
--- request
GET /t
--- response_body
main
GET /inner  404, GET /page, was inner
--- error_log
main: []



=== TEST 8: fetch, getters and ngx.var read them in every phase of the error page
--- config
    location = /t {
        error_page 404 /lua;
        access_by_lua_block {
            ngx.ctx.before = tostring(require("resty.ngxvar").fetch("error_page_uri"))
            ngx.exit(404)
        }
    }
    location = /lua {
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            local req = ngxvar.request()
            local get = ngxvar.getter("error_page_uri")
            ngx.say("before [", ngx.ctx.before, "]")
            for i = 1, 200 do assert(get(req) == "/t") end
            ngx.say(ngxvar.fetch("error_page_uri", req), " ", get(req), " ", ngx.var.error_page_uri, " ",
                    ngxvar.fetch("error_page_status"), " ", ngxvar.fetch("error_page_method"), " ",
                    ngxvar.fetch("error_page_args"))
        }
        log_by_lua_block {
            ngx.log(ngx.NOTICE, "log: ", require("resty.ngxvar").fetch("error_page_uri"))
        }
    }
    location = /unused { return 200 "$error_page_uri$error_page_status$error_page_method$error_page_args"; }
--- request
GET /t?q
--- error_code: 404
--- response_body
before []
/t /t /t 404 GET q
--- error_log
log: /t



=== TEST 9: Lua reads them although the configuration names none of them
--- alone
--- http_config
    init_by_lua_block {
        function all(read)
            local texts = {}
            for i, name in ipairs { "method", "uri", "args", "status" } do
                texts[i] = tostring(read("error_page_" .. name))
            end
            return table.concat(texts, " ")
        end
    }
--- config
    location = /t {
        error_page 404 /lua;
        return 404;
    }
    location = /lua {
        rewrite_by_lua_block { ngx.ctx.first = all(function (name) return ngx.var[name] end) }
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            local req = ngxvar.request()
            ngx.say(ngx.ctx.first)
            ngx.say(all(ngxvar.fetch))
            ngx.say(all(function (name) return ngxvar.fetch(name, req) end))
            ngx.say(all(function (name) return ngxvar.getter(name)(req) end))
            ngx.say(all(function (name) return ngxvar.reader{ name }(req) end))
            ngx.say(all(function (name) return ngxvar.reader{ name }:table(req)[name] end))
        }
        log_by_lua_block { ngx.log(ngx.NOTICE, "log: ", all(require("resty.ngxvar").fetch), ";") }
    }
--- request
POST /t?a=1&b
--- error_code: 404
--- response_body eval
"POST /t a=1&b 404\n" x 6
--- error_log
log: POST /t a=1&b 404;
