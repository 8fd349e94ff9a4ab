# Which table a request gets back as its ngx.ctx when there are several or none, and that
# no reference is left afterwards.

use v5.36;
use lib 't/lib';
use NgxVarTest;
use Test::Nginx::Socket::Lua 'no_plan';
use CtxWitness;

repeat_each(2);
run_tests();

__DATA__

=== TEST 1: a table that a location assigns replaces the restored one
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



=== TEST 2: a table that a location assigns after ngx.ctx was restored replaces it
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



=== TEST 3: the table assigned last is the one that is restored
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



=== TEST 4: without restore, the table of the location before is the one that is restored
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



=== TEST 5: a table made after ngx.exec is restored, not the one before
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



=== TEST 6: a table that was assigned and never read is restored
--- config
    lua_var_ctx_restore all;
    location = /t {
        content_by_lua_block {
            ngx.ctx = { own = "own" }
            ngx.exec("/in-page")
        }
    }
    location = /in-page { content_by_lua_block { ngx.say(ngx.ctx.own) } }
--- request
GET /t
--- response_body
own



=== TEST 7: a request without ngx.ctx gets a new table, whatever other requests have
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



=== TEST 8: hundreds of requests free each reference once and leave no table behind
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
