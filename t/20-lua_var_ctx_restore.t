# The directive lua_var_ctx_restore: after which redirects a request gets its
# ngx.ctx back, where the directive is looked up, and what is left behind.

use v5.36;
use lib 't/lib';
use NgxVarTest;
use Test::Nginx::Socket::Lua 'no_plan';
use CtxWitness;

repeat_each(2);
run_tests();

__DATA__

=== TEST 1: error_page is the default
--- config
    location = /t {
        error_page 500 /page;
        rewrite_by_lua_block { witness.keep() }
        content_by_lua_block { ngx.exit(500) }
    }
--- request
GET /t
--- error_code: 500
--- response_body
page
--- seen: everywhere



=== TEST 2: the first phase that touches ngx.ctx gets it, whichever it is
--- config
    location = /err {
        error_page 502 /page;
        rewrite_by_lua_block { witness.keep() }
        content_by_lua_block { ngx.exit(502) }
    }
    location = /t {
        content_by_lua_block {
            witness.reset()

            local phases = { "rewrite", "access", "content", "header_filter", "body_filter", "log" }

            for i, phase in ipairs(phases) do
                client.get("/err", { headers = { ["X-First"] = phase } })
                ngx.say(witness.await(i)[i])
            end
        }
    }
--- request
GET /t
--- response_body
rewrite=same access=same content=same header_filter=same body_filter=same log=same
access=same content=same header_filter=same body_filter=same log=same
content=same header_filter=same body_filter=same log=same
header_filter=same body_filter=same log=same
body_filter=same log=same
log=same



=== TEST 3: pages without Lua of their own
--- config
    location = /t {
        error_page 500 /empty;
        error_page 502 /static.txt;
        rewrite_by_lua_block { witness.keep() }
        content_by_lua_block { ngx.exit(tonumber(ngx.var.arg_code)) }
    }
    location = /empty { return 200 "empty\n"; }
    location = /static.txt { root html; }
--- user_files
>>> static.txt
static
--- request eval
["GET /t?code=500", "GET /t?code=502"]
--- more_headers eval
["X-First: header_filter", "X-First: header_filter"]
--- error_code eval
[500, 502]
--- response_body eval
["empty\n", "static\n"]
--- seen: header_filter=same body_filter=same log=same



=== TEST 4: a light thread sees it too
--- config
    location = /t {
        error_page 500 /page;
        rewrite_by_lua_block { witness.keep() }
        content_by_lua_block { ngx.exit(500) }
    }
    location = /page {
        content_by_lua_block {
            assert(ngx.thread.wait(ngx.thread.spawn(witness.see, "thread")))
            coroutine.wrap(witness.see)("coroutine")
            ngx.sleep(0)
            witness.page()
        }
    }
--- request
GET /t
--- error_code: 500
--- more_headers
X-First: thread
--- response_body
page
--- seen: thread=same coroutine=same content=same header_filter=same body_filter=same log=same



=== TEST 5: off is what lua-nginx-module does
--- config
    lua_var_ctx_restore off;
    location = /t {
        error_page 500 /page;
        rewrite_by_lua_block { witness.keep() }
        content_by_lua_block { ngx.exit(500) }
    }
--- request
GET /t
--- error_code: 500
--- response_body
page
--- seen: rewrite=new access=new content=new header_filter=new body_filter=new log=new



=== TEST 6: http, server and location
--- http_config
    lua_var_ctx_restore off;
    server {
        listen 127.0.0.1:$TEST_NGINX_PORT1;
        error_page 500 /page;
        location = /t {
            rewrite_by_lua_block { witness.keep() }
            content_by_lua_block { ngx.exit(500) }
        }
        location = /page { content_by_lua_block { witness.page() } }
    }
    server {
        listen 127.0.0.1:$TEST_NGINX_PORT2;
        lua_var_ctx_restore error_page;
        error_page 500 /page;
        error_page 502 /off/page;
        error_page 503 /off/page/on;
        location = /t {
            rewrite_by_lua_block { witness.keep() }
            content_by_lua_block { ngx.exit(tonumber(ngx.var.arg_code)) }
        }
        location = /page { content_by_lua_block { witness.page() } }
        location /off/ {
            lua_var_ctx_restore off;
            location = /off/page { content_by_lua_block { witness.page() } }
            location = /off/page/on {
                lua_var_ctx_restore error_page;
                content_by_lua_block { witness.page() }
            }
        }
    }
--- config
    location = /t {
        content_by_lua_block {
            witness.reset()

            for i, case in ipairs{
                { "http", $TEST_NGINX_PORT1, 500 },
                { "server", $TEST_NGINX_PORT2, 500 },
                { "location", $TEST_NGINX_PORT2, 502 },
                { "location in location", $TEST_NGINX_PORT2, 503 },
            } do
                client.get("/t?code=" .. case[3], { port = case[2] })
                ngx.say(case[1], ": ", witness.await(i)[i]:match("log=%w+"))
            end
        }
    }
--- request
GET /t
--- response_body
http: log=new
server: log=same
location: log=new
location in location: log=same



=== TEST 7: the setting of the location where the request lands counts
--- config
    location = /off-to-on {
        lua_var_ctx_restore off;
        error_page 500 /on;
        rewrite_by_lua_block { witness.keep() }
        content_by_lua_block { ngx.exit(500) }
    }
    location = /on-to-off {
        lua_var_ctx_restore all;
        error_page 500 /off;
        rewrite_by_lua_block { witness.keep() }
        content_by_lua_block { ngx.exit(500) }
    }
    location = /on {
        lua_var_ctx_restore error_page;
        content_by_lua_block { ngx.say("restored: ", ngx.ctx.kept_by ~= nil) }
    }
    location = /off {
        lua_var_ctx_restore off;
        content_by_lua_block { ngx.say("restored: ", ngx.ctx.kept_by ~= nil) }
    }
--- request eval
["GET /off-to-on", "GET /on-to-off"]
--- error_code eval
[500, 500]
--- response_body eval
["restored: true\n", "restored: false\n"]



=== TEST 8: all restores after ngx.exec, try_files, index and X-Accel-Redirect
--- http_config
    server {
        listen 127.0.0.1:$TEST_NGINX_PORT1;
        location / {
            add_header X-Accel-Redirect $arg_to;
            return 200;
        }
    }
--- config
    lua_var_ctx_restore all;
    location = /exec {
        rewrite_by_lua_block { witness.keep() }
        content_by_lua_block { ngx.exec("/page") }
    }
    location = /exec-args {
        rewrite_by_lua_block { witness.keep() }
        content_by_lua_block { ngx.exec("/page", { a = 1 }) }
    }
    location = /exec-in-rewrite {
        rewrite_by_lua_block { witness.keep() ngx.exec("/page") }
    }
    location = /exec-in-access {
        access_by_lua_block { witness.keep() ngx.exec("/page") }
    }
    location = /exec-named {
        rewrite_by_lua_block { witness.keep() }
        content_by_lua_block { ngx.exec("@page") }
    }
    location = /try-files {
        root html;
        rewrite_by_lua_block { witness.keep() }
        try_files /missing /page;
    }
    location = /try-files-named {
        root html;
        rewrite_by_lua_block { witness.keep() }
        try_files /missing @page;
    }
    location = /dir/ {
        root html;
        index page;
        rewrite_by_lua_block { witness.keep() }
    }
    location = /dir/page { content_by_lua_block { witness.page() } }
    location = /accel {
        rewrite_by_lua_block { witness.keep() }
        proxy_pass http://127.0.0.1:$TEST_NGINX_PORT1/?to=/page;
    }
    location = /accel-named {
        rewrite_by_lua_block { witness.keep() }
        proxy_pass http://127.0.0.1:$TEST_NGINX_PORT1/?to=@page;
    }
--- user_files
>>> dir/page
a file, for the index module to find
--- request eval
[map "GET $_", qw(/exec /exec-args /exec-in-rewrite /exec-in-access /exec-named
                  /try-files /try-files-named /dir/ /accel /accel-named)]
--- response_body eval
[("page\n") x 10]
--- seen: everywhere



=== TEST 9: error_page restores after none of them
--- http_config
    server {
        listen 127.0.0.1:$TEST_NGINX_PORT1;
        location / {
            add_header X-Accel-Redirect $arg_to;
            return 200;
        }
    }
--- config
    lua_var_ctx_restore error_page;
    location = /exec {
        rewrite_by_lua_block { witness.keep() }
        content_by_lua_block { ngx.exec("/page") }
    }
    location = /exec-named {
        rewrite_by_lua_block { witness.keep() }
        content_by_lua_block { ngx.exec("@page") }
    }
    location = /try-files {
        root html;
        rewrite_by_lua_block { witness.keep() }
        try_files /missing /page;
    }
    location = /dir/ {
        root html;
        index page;
        rewrite_by_lua_block { witness.keep() }
    }
    location = /dir/page { content_by_lua_block { witness.page() } }
    location = /accel {
        rewrite_by_lua_block { witness.keep() }
        proxy_pass http://127.0.0.1:$TEST_NGINX_PORT1/?to=/page;
    }
--- user_files
>>> dir/page
a file, for the index module to find
--- request eval
[map "GET $_", qw(/exec /exec-named /try-files /dir/ /accel)]
--- response_body eval
[("page\n") x 5]
--- seen: rewrite=new access=new content=new header_filter=new body_filter=new log=new



=== TEST 10: off restores after none of them either
--- config
    lua_var_ctx_restore off;
    location = /exec {
        rewrite_by_lua_block { witness.keep() }
        content_by_lua_block { ngx.exec("/page") }
    }
    location = /try-files {
        root html;
        rewrite_by_lua_block { witness.keep() }
        try_files /missing @page;
    }
--- request eval
["GET /exec", "GET /try-files"]
--- response_body eval
["page\n", "page\n"]
--- seen: rewrite=new access=new content=new header_filter=new body_filter=new log=new



=== TEST 11: all includes error_page
--- config
    lua_var_ctx_restore all;
    location = /t {
        error_page 500 @page;
        rewrite_by_lua_block { witness.keep() }
        content_by_lua_block { ngx.exit(500) }
    }
--- request
GET /t
--- error_code: 500
--- response_body
page
--- seen: everywhere



=== TEST 12: a table that a location assigns wins
--- config
    location = /t {
        error_page 500 /own;
        rewrite_by_lua_block { witness.keep() }
        content_by_lua_block { ngx.exit(500) }
    }
    location = /own {
        rewrite_by_lua_block { ngx.ctx = { own = "own" } }
        content_by_lua_block { ngx.say(ngx.ctx.own, " ", ngx.ctx.kept_by) }
    }
--- request
GET /t
--- error_code: 500
--- response_body
own nil
--- seen: access=other header_filter=other body_filter=other log=other



=== TEST 13: a table that a location assigns after it got the old one wins too
--- config
    location = /t {
        error_page 500 /own;
        rewrite_by_lua_block { witness.keep() }
        content_by_lua_block { ngx.exit(500) }
    }
    location = /own {
        rewrite_by_lua_block {
            witness.see("rewrite")
            ngx.ctx = { own = "own" }
        }
        content_by_lua_block { ngx.say(ngx.ctx.own, " ", ngx.ctx.kept_by) }
    }
--- request
GET /t
--- error_code: 500
--- response_body
own nil
--- seen: rewrite=same access=other header_filter=other body_filter=other log=other



=== TEST 14: the table assigned last is the one that is restored
--- config
    location = /t {
        recursive_error_pages on;
        error_page 500 /own;
        rewrite_by_lua_block { ngx.ctx.old = "old" }
        content_by_lua_block { ngx.exit(500) }
    }
    location = /own {
        recursive_error_pages on;
        error_page 502 /last;
        rewrite_by_lua_block { ngx.ctx = { own = "own" } }
        content_by_lua_block { ngx.exit(502) }
    }
    location = /last {
        content_by_lua_block { ngx.say(ngx.ctx.own, " ", ngx.ctx.old) }
    }
--- request
GET /t
--- error_code: 502
--- response_body
own nil



=== TEST 15: without restore, the table of the location before is the one that is restored
--- config
    location = /t {
        recursive_error_pages on;
        error_page 500 /off;
        rewrite_by_lua_block { ngx.ctx.old = "old" }
        content_by_lua_block { ngx.exit(500) }
    }
    location = /off {
        lua_var_ctx_restore off;
        recursive_error_pages on;
        error_page 502 /last;
        rewrite_by_lua_block { ngx.ctx.off = "off" }
        content_by_lua_block { ngx.exit(502) }
    }
    location = /last {
        content_by_lua_block { ngx.say(ngx.ctx.off, " ", ngx.ctx.old) }
    }
--- request
GET /t
--- error_code: 502
--- response_body
off nil



=== TEST 16: a table made after ngx.exec is restored, not the one before
--- config
    location = /t {
        rewrite_by_lua_block { ngx.ctx.old = "old" }
        content_by_lua_block { ngx.exec("/fails") }
    }
    location = /fails {
        error_page 500 /last;
        rewrite_by_lua_block { ngx.ctx.new = "new" }
        content_by_lua_block { ngx.exit(500) }
    }
    location = /last {
        content_by_lua_block { ngx.say(ngx.ctx.new, " ", ngx.ctx.old) }
    }
--- request
GET /t
--- error_code: 500
--- response_body
new nil



=== TEST 17: a request without a ctx gets a fresh one, whatever others have
--- config
    location = /with {
        error_page 502 /page;
        rewrite_by_lua_block { witness.keep() }
        content_by_lua_block { ngx.exit(502) }
    }
    location = /without {
        error_page 502 /fresh;
        content_by_lua_block { ngx.exit(502) }
    }
    location = /fresh {
        content_by_lua_block {
            ngx.print(next(ngx.ctx) == nil and getmetatable(ngx.ctx) == nil and "fresh" or "used")
            ngx.ctx.used = true
        }
    }
    location = /t {
        content_by_lua_block {
            local c = client.connect{ port = ngx.var.server_port }
            local results = {}

            witness.reset()

            for i = 1, 50 do
                results[#results + 1] = c:request("/with").body:gsub("\n", "")
                results[#results + 1] = c:request("/without").body
            end

            c:close()
            ngx.say(witness.tally(results))
            ngx.say(witness.tally(witness.await(50)))
        }
    }
--- request
GET /t
--- response_body
50 x fresh
50 x page
50 x rewrite=same access=same content=same header_filter=same body_filter=same log=same



=== TEST 18: hundreds of requests free each reference once, and keep no table
--- config
    location = /err {
        recursive_error_pages on;
        error_page 502 /again;
        rewrite_by_lua_block {
            ngx.header["X-Ctx"] = next(ngx.ctx) == nil and "fresh" or "used"
            witness.keep()
        }
        content_by_lua_block { ngx.exit(502) }
    }
    location = /again {
        recursive_error_pages on;
        error_page 503 @page;
        content_by_lua_block { ngx.exit(503) }
    }
    location = /t {
        content_by_lua_block {
            witness.reset()

            local before = assert(witness.references())
            local alive = witness.alive()
            local connections = {}
            local results = {}

            -- in parallel, so that references are not freed in the order they are taken
            local function run(c, count)
                for i = 1, count do
                    local res = c:request("/err")
                    results[#results + 1] = res.headers["x-ctx"]
                end
            end

            local threads = {}

            for i = 1, 5 do
                connections[i] = client.connect{ port = ngx.var.server_port }
                threads[i] = ngx.thread.spawn(run, connections[i], 60)
            end

            for _, thread in ipairs(threads) do
                assert(ngx.thread.wait(thread))
            end

            ngx.say(witness.tally(results))
            ngx.say(witness.tally(witness.await(300)))

            local after = assert(witness.references())

            ngx.say("references kept: ", after.used - before.used)
            ngx.say("tables kept: ", witness.alive() - alive)

            for _, c in ipairs(connections) do
                c:close()
            end
        }
    }
--- request
GET /t
--- response_body
300 x fresh
300 x rewrite=same access=same rewrite=same access=same content=same header_filter=same body_filter=same log=same
references kept: 0
tables kept: 0
