# ngx.ctx across ngx_http_filter_finalize_request(), which clears it in the
# middle of a header filter.  Of nginx's own modules the not-modified filter
# calls it, for a 412, and lua-nginx-module for ngx.exit() in a header filter.

use v5.36;
use lib 't/lib';
use NgxVarTest;
use Test::Nginx::Socket::Lua 'no_plan';
use CtxWitness;

repeat_each(2);
run_tests();

__DATA__

=== TEST 1: a 412 of the not-modified filter keeps ngx.ctx
--- config
    error_page 412 /page;
    location = /static.txt {
        root html;
        rewrite_by_lua_block { witness.keep() }
    }
--- user_files
>>> static.txt 199801171935.33
static
--- request eval
["GET /static.txt", "GET /static.txt"]
--- more_headers eval
['If-Match: "another"', "If-Unmodified-Since: Thu, 01 Jan 1998 00:00:00 GMT"]
--- error_code eval
[412, 412]
--- response_body eval
["page\n", "page\n"]
--- seen: everywhere



=== TEST 2: each kind of target of a 412 gets ngx.ctx
--- config
    location = /named.txt {
        error_page 412 @page;
        root html;
        rewrite_by_lua_block { witness.keep() }
    }
    location = /code.txt {
        error_page 412 =418 /page?with=args;
        root html;
        rewrite_by_lua_block { witness.keep() }
    }
    location = /variable.txt {
        error_page 412 /$arg_target;
        root html;
        access_by_lua_block { witness.keep() }
    }
--- user_files
>>> named.txt
static
>>> code.txt
static
>>> variable.txt
static
--- request eval
["GET /named.txt", "GET /code.txt", "GET /variable.txt?target=page"]
--- more_headers
If-Match: "another"
--- error_code eval
[412, 418, 412]
--- response_body eval
["page\n", "page\n", "page\n"]
--- seen: everywhere



=== TEST 3: the log phase gets ngx.ctx when it is the first to use it
--- config
    location = /static.txt {
        error_page 412 /page;
        root html;
        rewrite_by_lua_block { witness.keep() }
    }
--- user_files
>>> static.txt
static
--- request
GET /static.txt
--- more_headers
If-Match: "another"
X-First: log
--- error_code: 412
--- response_body
page
--- seen: log=same



=== TEST 4: a ngx.ctx that only nginx's C code refers to is kept
# Lua may call lua-nginx-module's C function itself instead of using ngx.ctx.
--- config
    location = /static.txt {
        error_page 412 /page;
        root html;
        rewrite_by_lua_block { require("by_c").set{ by_c = "by C" } }
    }
    location = /page {
        content_by_lua_block { ngx.say(ngx.ctx.by_c) }
        log_by_lua_block { ngx.log(ngx.WARN, "in the log phase: ", ngx.ctx.by_c) }
    }
--- user_files
>>> static.txt
static
--- request
GET /static.txt
--- more_headers
If-Match: "another"
--- error_code: 412
--- response_body
by C
--- error_log
in the log phase: by C



=== TEST 5: ngx.exit in a header filter keeps ngx.ctx
--- config
    location = /static.txt {
        error_page 502 /page;
        root html;
        rewrite_by_lua_block { witness.keep() }
        header_filter_by_lua_block { ngx.exit(502) }
    }
    location = /named.txt {
        error_page 403 @page;
        root html;
        rewrite_by_lua_block { witness.keep() }
        header_filter_by_lua_block { ngx.exit(403) }
    }
--- user_files
>>> static.txt
not sent
>>> named.txt
not sent
--- request eval
["GET /static.txt", "GET /named.txt"]
--- error_code eval
[502, 403]
--- response_body eval
["page\n", "page\n"]
--- seen: everywhere



=== TEST 6: a ngx.ctx made in the header filter is kept
--- config
    location = /static.txt {
        error_page 502 /page;
        root html;
        header_filter_by_lua_block { witness.keep() ngx.exit(502) }
    }
--- user_files
>>> static.txt
not sent
--- request
GET /static.txt
--- error_code: 502
--- response_body
page
--- seen: everywhere



=== TEST 7: an error page that itself ends in a filter keeps ngx.ctx
--- config
    recursive_error_pages on;
    location = /t {
        error_page 500 =200 /static.txt;
        rewrite_by_lua_block { witness.keep() ngx.exit(500) }
    }
    location = /static.txt {
        error_page 503 /page;
        root html;
        header_filter_by_lua_block { ngx.exit(503) }
    }
--- user_files
>>> static.txt
not sent
--- request
GET /t
--- error_code: 503
--- response_body
page
--- seen: rewrite=same access=same everywhere



=== TEST 8: a Lua error in an error page's header filter ends the request, up to its log phase
--- config
    location = /t {
        error_page 500 /static.txt;
        rewrite_by_lua_block { witness.keep() ngx.exit(500) }
    }
    location = /static.txt {
        root html;
        header_filter_by_lua_block { error("on purpose") }
    }
--- user_files
>>> static.txt
not sent
--- request
GET /t
--- more_headers
X-First: log
--- ignore_response
--- error_log
on purpose
--- seen: log=same



=== TEST 9: with lua_var_ctx_restore off ngx.ctx is lost
--- config
    lua_var_ctx_restore off;
    location = /static.txt {
        error_page 412 /page;
        root html;
        rewrite_by_lua_block { witness.keep() }
    }
--- user_files
>>> static.txt
static
--- request
GET /static.txt
--- more_headers
If-Match: "another"
--- error_code: 412
--- response_body
page
--- seen: rewrite=new access=new content=new header_filter=new body_filter=new log=new



=== TEST 10: with lua_var_ctx_restore all ngx.ctx is restored without an error_page too
--- config
    location = /static.txt {
        lua_var_ctx_restore all;
        root html;
        rewrite_by_lua_block { ngx.ctx.kept = ngx.ctx }
        header_filter_by_lua_block { ngx.header["X-From"] = "[" .. ngx.var.from_error_page .. "]" }
        log_by_lua_block {
            ngx.log(ngx.WARN, "in the log phase: ", ngx.ctx.kept and rawequal(ngx.ctx, ngx.ctx.kept))
        }
    }
--- user_files
>>> static.txt
static
--- request
GET /static.txt
--- more_headers
If-Match: "another"
--- error_code: 412
--- response_headers
X-From: []
--- error_log
in the log phase: true



=== TEST 11: a 302 to another host restores nothing
--- config
    location = /static.txt {
        error_page 412 http://other.test/;
        root html;
        rewrite_by_lua_block { ngx.ctx.kept = "kept" }
        header_filter_by_lua_block { ngx.header["X-From"] = "[" .. ngx.var.from_error_page .. "]" }
        log_by_lua_block { ngx.log(ngx.WARN, "in the log phase: ", ngx.ctx.kept) }
    }
--- user_files
>>> static.txt
static
--- request
GET /static.txt
--- more_headers
If-Match: "another"
--- error_code: 302
--- response_headers
Location: http://other.test/
X-From: []
--- error_log
in the log phase: nil



=== TEST 12: many such requests among others keep their own ngx.ctx
# nginx closes the connection after such a request, so the others have their own.
--- config
    location = /static.txt {
        error_page 412 /page;
        root html;
        rewrite_by_lua_block { witness.keep() }
    }
    location = /t {
        content_by_lua_block {
            witness.reset()

            local before = assert(witness.references())
            local c = client.connect{ port = ngx.var.server_port }
            local bodies = {}

            for _ = 1, 60 do
                local failed = client.get("/static.txt", { headers = { ["If-Match"] = '"another"' } })
                local served = c:request("/static.txt")

                table.insert(bodies, failed.body:sub(1, -2) .. ", " .. served.body:sub(1, -2))
            end

            c:close()

            local seen = witness.await(120)

            for i, line in ipairs(seen) do
                seen[i] = line == "" and "not redirected" or line
            end

            ngx.say(witness.tally(bodies))
            ngx.say(witness.tally(seen))
            ngx.say("references kept: ", assert(witness.references()).used - before.used)
        }
    }
--- user_files
>>> static.txt
static
--- request
GET /t
--- response_body
60 x page, static
60 x not redirected
60 x rewrite=same access=same content=same header_filter=same body_filter=same log=same
references kept: 0
