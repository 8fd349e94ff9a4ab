# Every allocation that the module makes while it serves requests fails in turn.  Requests
# are served all the same, functions return the reason, nothing is left behind, and the next
# request works.

use v5.36;
use lib 't/lib';

BEGIN {
    require TestingModule;
    $ENV{TEST_NGINX_LOAD_MODULES} = join ' ', TestingModule::modules();
}

use NgxVarTest;
use Test::Nginx::Socket::Lua 'no_plan';

add_block_preprocessor(sub ($block) {
    $block->set_value(http_config => <<"END" . ($block->http_config // ''));
    lua_package_path "\$TEST_NGINX_LUA_DIR/?.lua;;";
    init_by_lua_block { memory = require "memory"; client = require "client" }
END
    $block->set_value(config => <<"END" . $block->config) if defined $block->config;
    set \$own "own";
    location = /report { content_by_lua_block { memory.report() } }
    location = /bare { return 200 "bare\\n"; }
    location = /fill { content_by_lua_block { memory.fill_from_here() } }
    location = /hold { content_by_lua_block { memory.hold() } }
END
    $block->set_value(request => 'GET /t') if !defined $block->request;
    if (defined(my $body = $block->response_body)) {
        $block->set_value(response_body => $body =~ s{(all|no handle) of (\S+)\n}{ report($1 eq 'all', $2) }ger);
    }
});

# What memory.report() says for a request of this URI, with a handle or without.
sub report ($has_handle, $uri) {
    my ($request, $by_handle, $live) = $has_handle
        ? ('a handle', $uri, 'true') : ('no memory for the request', '-', 'true');
    return <<"END";
fetch: $uri
request: $request
by handle: $by_handle
by pointer: $uri
live: $live
set: changed
ctx: $uri
END
}

worker_connections(1024);
no_long_string();
repeat_each(2);
run_tests();

__DATA__

=== TEST 1: with memory everything works, as the blocks below compare with
--- config
    location = /t { content_by_lua_block { ngx.print(memory.get("/report")) } }
--- response_body
200 all of /report
--- no_error_log
[error]



=== TEST 2: a request without memory for its slot is registered when there is memory
--- config
    location = /t {
        content_by_lua_block {
            ngx.print(memory.during(memory.SLOT, 0, false, function ()
                return memory.get("/report")
            end))
        }
    }
--- response_body
200 all of /report
--- error_log
lua_var: request not registered: out of memory; it has no handle, may be refused as stale, and loses its ngx.ctx in a redirect



=== TEST 3: a request that never has memory for its slot is served without a handle
--- config
    location = /t {
        content_by_lua_block {
            ngx.print(memory.during(memory.SLOT, 0, true, function ()
                return memory.get("/report")
            end))
            ngx.say("and then")
            ngx.print(memory.get("/report"))
        }
    }
--- response_body
200 no handle of /report
and then
200 all of /report
--- error_log
lua_var: request not registered: out of memory



=== TEST 4: a registered request stays registered when memory runs out
--- config
    location = /t {
        content_by_lua_block {
            local handle = require("resty.ngxvar").request()

            memory.during(memory.SLOT, 0, true, function ()
                memory.during(memory.CHUNK, 0, true, memory.report)
            end)
            ngx.say(tostring(handle) == tostring(require("resty.ngxvar").request()))
        }
    }
--- response_body
all of /t
true
--- no_error_log
[error]



=== TEST 5: the error page of an unregistered request loses ngx.ctx, as without the module
--- config
    location = /err {
        error_page 500 /page;
        content_by_lua_block { ngx.ctx.kept = "kept"; ngx.exit(500) }
    }
    location = /page {
        content_by_lua_block {
            ngx.say("page, ", ngx.ctx.kept or "no ctx", ", ",
                    require("resty.ngxvar").fetch("from_error_page") == "true")
        }
    }
    location = /t {
        content_by_lua_block {
            ngx.print(memory.during(memory.SLOT, 0, true, function ()
                return memory.get("/err")
            end))
            ngx.print(memory.get("/err"))
        }
    }
--- response_body
500 page, no ctx, false
500 page, kept, true
--- error_log
lua_var: request not registered: out of memory



=== TEST 6: a request that the hook registers has its ngx.ctx on the error page
--- config
    location = /err {
        error_page 500 /page;
        content_by_lua_block {
            ngx.ctx.kept = "kept"
            memory.recover()
            ngx.exit(500)
        }
    }
    location = /page {
        content_by_lua_block {
            ngx.say("page, ", ngx.ctx.kept or "no ctx", ", ",
                    require("resty.ngxvar").fetch("from_error_page"))
        }
    }
    location = /t {
        content_by_lua_block {
            ngx.print(memory.during(memory.SLOT, 0, true, function ()
                return memory.get("/err")
            end))
        }
    }
--- response_body
500 page, kept, true
--- error_log
lua_var: request not registered: out of memory



=== TEST 7: requests without memory for a slot are served without a handle
--- config
    location = /t {
        content_by_lua_block {
            local empty = memory.fill()

            ngx.print(memory.during(memory.CHUNK, 0, true, function ()
                return memory.get("/report")
            end))
            ngx.say("and then")
            ngx.print(memory.get("/report"))
            empty()
        }
    }
--- response_body
200 no handle of /report
and then
200 all of /report
--- error_log
lua_var: request not registered: out of memory



=== TEST 8: requests work without memory for more buckets
--- config
    location = /t {
        content_by_lua_block {
            local empty = memory.fill()

            ngx.print(memory.during(memory.CHUNK, 1, true, function ()
                return memory.get("/report")
            end))
            ngx.print(memory.get("/report"))
            empty()
        }
    }
--- response_body
200 all of /report
200 all of /report
--- no_error_log
[error]



=== TEST 9: a worker without memory for the registry serves requests without handles
--- http_config
    init_worker_by_lua_block { memory.fail(memory.CHUNK, 0, true) }
--- config
    location = /t {
        content_by_lua_block {
            -- in the second round the worker has had some
            local had = memory.capacity() > 0
            local body = memory.get("/report")
            local wanted = had and "request: a handle" or "request: no memory for the request"

            ngx.say(body:find(wanted, 1, true) ~= nil)
            ngx.say(body:match("set: .*"))
            memory.recover()
            ngx.print(memory.get("/report"))
            memory.fail(memory.CHUNK, 0, true)
        }
    }
--- response_body
true
set: changed
ctx: /report

200 all of /report



=== TEST 10: a subrequest without memory is served, and nothing proves to Lua that it is live
--- config
    location = /outer {
        content_by_lua_block {
            memory.fail(memory.SLOT, 0, true)
            local res = ngx.location.capture("/report")
            ngx.print(res.body)
            memory.report()
        }
    }
    location = /t {
        content_by_lua_block {
            ngx.print(memory.during(memory.SLOT, -1, true, function ()
                return memory.get("/outer")
            end))
        }
    }
--- response_body
200 fetch: nil
request: stale request
by handle: -
by pointer: stale request
live: stale request
set: nil
ctx: /report
all of /outer
--- error_log
lua_var: request not registered: out of memory



=== TEST 11: a timer needs no memory, because its handle names no request
--- config
    location = /t {
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            local lines

            memory.during(memory.SLOT, 0, true, function ()
                local done = require("ngx.semaphore").new()

                ngx.timer.at(0, function ()
                    local req, err = ngxvar.request()

                    lines = { type(req), tostring(err), tostring(ngxvar.live(req)),
                              select(2, ngxvar.fetch("uri", req)) }
                    done:post()
                end)
                done:wait(10)
            end)
            ngx.say(table.concat(lines, ", "))
        }
    }
--- response_body
userdata, nil, false, no variables in this context (TLS handshake, timer or worker start)
--- no_error_log
[error]



=== TEST 12: a request that is only logged, and one without Lua, are served without memory
--- config
    location = /t {
        content_by_lua_block {
            ngx.say(memory.during(memory.SLOT, 0, true, function ()
                local c = client.connect{ port = tonumber(ngx.var.server_port) }

                c:send("BAD\r\n\r\n")
                return c:response().status
            end))
            ngx.print(memory.during(memory.SLOT, 0, true, function ()
                return memory.get("/bare")
            end))
            ngx.print(memory.get("/bare"))
        }
    }
--- response_body
400
200 bare
200 bare
--- error_log
lua_var: request not registered: out of memory



=== TEST 13: set() without memory leaves the old value
--- config
    location = /t {
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"

            local function set(value)
                return memory.during(memory.POOL, 0, true, function ()
                    local done, err = ngxvar.set("own", value)
                    return tostring(done) .. ", " .. tostring(err)
                end)
            end

            ngx.say(set("lost"))
            ngx.say(ngx.var.own)
            ngx.say(ngxvar.set("own", "new"), ", ", ngx.var.own)
            ngx.say(set("lost"), ", ", ngxvar.fetch("own"))
        }
    }
--- response_body
nil, no memory
own
true, new
nil, no memory, new
--- no_error_log
[error]



=== TEST 14: set() through a set handler reports each allocation that fails
--- config
    location = /t {
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"

            for after = 0, 2 do
                ngx.say(after, ": ", memory.during(memory.POOL, after, true, function ()
                    local done, err = ngxvar.set("args", "b=2")
                    return tostring(done) .. ", " .. tostring(err)
                end), ", ", ngx.var.args)
            end
        }
    }
--- request
GET /t?a=1
--- response_body
0: nil, no memory, a=1
1: nil, no memory, a=1
2: true, nil, b=2
--- no_error_log
[error]



=== TEST 15: a refused set() without memory still returns nil and a string
--- config
    location = /t {
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"

            for _, name in ipairs { "unknown", "uri" } do
                ngx.say(memory.during(memory.POOL, 0, true, function ()
                    local done, err = ngxvar.set(name, "x")
                    return tostring(done) .. ", " .. type(err)
                end))
            end
        }
    }
--- response_body
nil, string
nil, string
--- no_error_log
[error]



=== TEST 16: a setter without memory leaves the old value
--- config
    location = /t {
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            local handle = ngxvar.request()
            local set = ngxvar.setter("own")

            assert(set("first", handle))
            ngx.say(memory.during(memory.POOL, 0, true, function ()
                local done, err = set("lost", handle)
                return tostring(done) .. ", " .. tostring(err)
            end))
            ngx.say(ngx.var.own)
            ngx.say(set("second", handle), ", ", ngx.var.own)
        }
    }
--- response_body
nil, no memory
first
true, second
--- no_error_log
[error]



=== TEST 17: after requests of every kind all slots are free again
--- config
    lua_check_client_abort on;
    location = /err {
        error_page 502 /report;
        content_by_lua_block { ngx.ctx.kept = 1; ngx.exit(502) }
    }
    location = /captures {
        content_by_lua_block {
            for _ = 1, 20 do
                ngx.location.capture_multi { { "/report" }, { "/bare" }, { "/err" } }
            end
            ngx.say("captured")
        }
    }
    location = /sleep { content_by_lua_block { ngx.say("asleep"); ngx.flush(true); ngx.sleep(100) } }
    location = /t {
        content_by_lua_block {
            local before = memory.live()
            local port = tonumber(ngx.var.server_port)
            local kept = client.connect{ port = port }

            for _ = 1, 20 do
                kept:request("/report")
                kept:request("/err")
                memory.get("/captures")
            end

            -- requests whose clients leave
            local sleepers = {}

            for i = 1, 50 do
                sleepers[i] = client.connect{ port = port }
                sleepers[i]:send(client.request_text("/sleep"))
            end

            client.wait_until(function () return memory.live() >= before + 50 end)

            for i = 1, 50 do
                sleepers[i]:close()
            end

            for _ = 1, 100 do
                ngx.timer.at(0, function () require("resty.ngxvar").request() end)
            end

            kept:close()
            client.wait_until(function () return memory.live() == before end)
            ngx.say(before, " live before and after")
        }
    }
--- response_body
1 live before and after
--- no_error_log
[error]



=== TEST 18: where the kernel reads nothing for the process, connections are searched
--- config
    location = /t {
        content_by_lua_block {
            ngx.print(memory.during(memory.SLOT, 0, true, function ()
                memory.fail(memory.PEEK, 0, true)
                return memory.get("/report")
            end))
            memory.fail(memory.PEEK, 0, true)
            local done, made, err = require("ngx.semaphore").new()
            ngx.timer.at(0, function ()
                made, err = require("resty.ngxvar").request()
                done:post()
            end)
            done:wait(10)
            memory.recover()
            ngx.say(type(made), " ", err)
        }
    }
--- response_body
200 no handle of /report
userdata nil
