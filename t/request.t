# A handle names one request, from its beginning to its end, and never another.  Everything
# else that may be passed as a request is in request-strangers.t.

use lib 't/lib';
use NgxVarTest;
use Test::Nginx::Socket::Lua 'no_plan';

repeat_each(2);
run_tests();

__DATA__

=== TEST 1: request() returns one opaque userdata for a request
--- config
    location = /t {
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            local req = ngxvar.request()
            ngx.say(type(req), " ", select("#", ngxvar.request()))
            ngx.say(rawequal(req, ngxvar.request()))
            ngx.say((tostring(req):gsub("%d+", "N")))
            ngx.say(tostring(req) == tostring(ngxvar.request()))
            ngx.say(ngxvar.fetch("uri", req), " ", ngxvar.live(req))
            ngx.say(select("#", ngxvar.live(req)))
        }
    }
--- request
GET /t
--- response_body
userdata 1
true
request: N/N
true
/t true
1
--- no_error_log
[error]



=== TEST 2: a request has one handle in all phases
--- config
    location = /t {
        set_by_lua_block $handle { return tostring(require("resty.ngxvar").request()) }
        rewrite_by_lua_block { ngx.ctx.req = require("resty.ngxvar").request() }
        access_by_lua_block { note("access") }
        content_by_lua_block { note("content") ngx.say("ok") }
        header_filter_by_lua_block { note("header_filter") }
        body_filter_by_lua_block { note("body_filter") }
        log_by_lua_block { note("log") }
    }
--- http_config
    init_by_lua_block {
        function note(phase)
            local ngxvar = require "resty.ngxvar"
            local req = ngxvar.request()
            local same = tostring(req) == ngx.var.handle
                         and tostring(req) == tostring(ngx.ctx.req)
                         and ngxvar.fetch("request_uri", ngx.ctx.req) == ngx.var.request_uri
            ngx.log(same and ngx.NOTICE or ngx.ERR, phase, same and " same;" or " differs;")
        end
    }
--- request
GET /t
--- response_body
ok
--- log_level: notice
--- wait: 0.02
--- grep_error_log eval
qr/\w+ same;/
--- grep_error_log_out
access same;
content same;
header_filter same;
body_filter same;
body_filter same;
log same;
--- no_error_log
[error]



=== TEST 3: a stale handle gets nil and "stale request" from every function
--- config
    location = /keep {
        content_by_lua_block {
            kept = require("resty.ngxvar").request()
            ngx.say(require("resty.ngxvar").live(kept))
        }
    }
    location = /use {
        set $own "";
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            local function say(value, ...)
                ngx.say(tostring(value), " ", ...)
            end
            for _, name in ipairs { "uri", "status", "arg_a", "own", "unknown", 1,
                                    "URI", "request_time" }
            do
                say(ngxvar.fetch(name, kept))
            end
            say(ngxvar.set("own", "x", kept))
            say(ngxvar.live(kept))
            ngx.say(ngx.var.own)
        }
    }
--- request eval
["GET /keep", "GET /use"]
--- response_body eval
["true\n", "nil stale request\n" x 9 . "false stale request\n\n"]
--- no_error_log
[error]



=== TEST 4: a handle stays stale when its request's address is used again
--- http_config
    lua_package_path "$TEST_NGINX_LUA_DIR/?.lua;;";
--- config
    location = /t {
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            local c = require("client").connect{ port = $TEST_NGINX_SERVER_PORT }
            local seen = {}
            for i = 1, 100 do
                seen[i] = c:request("/one?n=" .. i).body
            end
            c:close()

            local reused, refused = 0, 0
            for i, req in ipairs(handles) do
                for j = 1, i - 1 do
                    if addresses[j] == addresses[i] then
                        reused = reused + 1
                        break
                    end
                end
                local value, err = ngxvar.fetch("arg_n", req)
                if value == nil and err == "stale request" then
                    refused = refused + 1
                end
            end
            ngx.say("reused: ", reused > 10, ", refused: ", refused)
            for i = 2, 100 do
                if seen[i] ~= i .. " 0 live\n" then
                    ngx.say("request ", i, ": ", seen[i])
                end
            end
        }
    }
    location = /one {
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            local base = require "resty.core.base"
            local req = ngxvar.request()
            local n = tonumber(ngxvar.fetch("arg_n", req))

            if n == 1 then
                handles, addresses = {}, {}
            end

            -- all earlier ones have ended, although this one may have their address
            local live = 0
            for _, other in ipairs(handles) do
                if ngxvar.live(other) or ngxvar.fetch("uri", other) then
                    live = live + 1
                end
            end

            handles[n] = req
            addresses[n] = tostring(base.get_request())
            local line = n .. " " .. live .. (ngxvar.live(req) and " live" or " dead") .. "\n"
            ngx.header.content_length = #line
            ngx.print(line)
        }
    }
--- request
GET /t
--- response_body
reused: true, refused: 100
--- no_error_log
[error]
--- skip_eval
3: # memcheck is slow to hand out an address again, test-guard never does
$ENV{TEST_NGINX_USE_VALGRIND} || $ENV{TEST_NGINX_NO_ADDRESS_REUSE}



=== TEST 5: a handle is the same after every kind of internal redirect
--- config
    location = /exec {
        rewrite_by_lua_block { begin() }
        content_by_lua_block { ngx.exec("/land") }
    }
    location = /named {
        rewrite_by_lua_block { begin() }
        content_by_lua_block { ngx.exec("@land") }
    }
    location = /error_page {
        rewrite_by_lua_block { begin() }
        error_page 503 = /land;
        content_by_lua_block { ngx.exit(503) }
    }
    location = /error_page_named {
        rewrite_by_lua_block { begin() }
        error_page 502 = @land;
        proxy_pass http://127.0.0.1:$TEST_NGINX_PORT1;
    }
    location = /try_files {
        rewrite_by_lua_block { begin() }
        try_files /no/such/file /land;
    }
    location = /rewrite {
        set_by_lua_block $unused { begin() }
        rewrite ^ /land last;
    }
    location = /set_uri {
        rewrite_by_lua_block { begin() ngx.req.set_uri("/land", true) }
    }
    location = /accel {
        rewrite_by_lua_block { begin() }
        proxy_pass http://127.0.0.1:$TEST_NGINX_SERVER_PORT/to_land;
    }
    location = /to_land {
        add_header X-Accel-Redirect /land;
        return 200;
    }
    location = /land { content_by_lua_block { finish() } }
    location @land { content_by_lua_block { finish() } }
--- http_config
    init_by_lua_block {
        local kept = {}

        function begin()
            kept[ngx.var.arg_key] = require("resty.ngxvar").request()
        end

        function finish()
            local ngxvar = require "resty.ngxvar"
            local key = ngxvar.fetch("request_uri"):match("key=(%w+)")
            local req = kept[key]
            ngx.say(ngxvar.live(req), " ", ngxvar.fetch("uri", req) == ngx.var.uri, " ",
                    tostring(req) == tostring(ngxvar.request()))
        end
    }
--- request eval
[map { "GET /$_?key=" . s/_//gr } qw(exec named error_page error_page_named try_files rewrite set_uri accel)]
--- error_code eval
# Lua's ngx.exit(503) stays the status of the page that follows
[200, 200, 503, 200, 200, 200, 200, 200]
--- response_body eval
[("true true true\n") x 8]
--- no_error_log
[alert]



=== TEST 6: subrequests have handles of their own
--- config
    location = /t {
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            parent = ngxvar.request()
            local res = ngx.location.capture("/sub", { args = "a=2" })
            ngx.print(res.body)
            -- back in the parent, whose pool still has the subrequest
            ngx.say(ngxvar.fetch("uri", parent), " ", ngxvar.fetch("arg_a", parent), " ",
                    ngxvar.fetch("uri"), " ", rawequal(parent, ngxvar.request())
                                or tostring(parent) == tostring(ngxvar.request()))
            ngx.say(ngxvar.fetch("uri", child), " ", ngxvar.fetch("arg_a", child))
        }
    }
    location = /sub {
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            child = ngxvar.request()
            ngx.say(tostring(child) ~= tostring(parent))
            ngx.say(ngxvar.fetch("uri", child), " ", ngxvar.fetch("arg_a", child), " ",
                    ngxvar.fetch("request_method", child))
            ngx.say(ngxvar.fetch("uri", parent), " ", ngxvar.fetch("arg_a", parent), " ",
                    ngxvar.live(parent))
        }
    }
    location = /after {
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            ngx.say(ngxvar.live(parent))
            ngx.say(ngxvar.live(child))
        }
    }
--- request eval
["GET /t?a=1", "GET /after"]
--- response_body eval
["true
/sub 2 GET
/t 1 true
/t 1 /t true
/sub 2
", "falsestale request\nfalsestale request\n"]
--- no_error_log
[error]



=== TEST 7: live subrequests each have their own values
--- config
    location = /t {
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            local list = {}
            for i = 1, 40 do list[i] = { "/sub?n=" .. i } end
            handles = {}
            local all = { ngx.location.capture_multi(list) }
            local right, texts = 0, {}
            for i, res in ipairs(all) do
                texts[tostring(handles[i])] = true
                if res.body == "true" and ngxvar.fetch("arg_n", handles[i]) == tostring(i) then
                    right = right + 1
                end
            end
            local different = 0
            for _ in pairs(texts) do different = different + 1 end
            ngx.say(right, " ", different)
        }
    }
    location = /sub {
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            local req = ngxvar.request()
            local n = tonumber(ngxvar.fetch("arg_n"))
            handles[n] = req
            ngx.sleep(0.001)
            ngx.print(tostring(req) == tostring(ngxvar.request())
                      and ngxvar.fetch("arg_n", req) == tostring(n))
        }
    }
--- request
GET /t
--- response_body
40 40
--- no_error_log
[error]



=== TEST 8: a handle of another live request reads that request
--- http_config
    lua_package_path "$TEST_NGINX_LUA_DIR/?.lua;;";
--- config
    location = /t {
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            handle, done = nil, false

            local other = ngx.thread.spawn(require("client").get, "/other?a=2", { version = "1.0" })

            while not handle do ngx.sleep(0.001) end
            ngx.say(ngxvar.fetch("uri", handle), " ", ngxvar.fetch("arg_a", handle), " ",
                    ngxvar.fetch("server_protocol", handle), " ", ngxvar.live(handle))
            ngx.say(ngxvar.fetch("uri"), " ", ngxvar.fetch("arg_a"))

            done = true
            ngx.thread.wait(other)
        }
    }
    location = /other {
        content_by_lua_block {
            handle = require("resty.ngxvar").request()
            while not done do ngx.sleep(0.001) end
        }
    }
--- request
GET /t?a=1
--- response_body
/other 2 HTTP/1.0 true
/t 1
--- no_error_log
[error]



=== TEST 9: in a timer, a handle lives as long as its request
--- config
    location = /t {
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            local req = ngxvar.request()
            local seen

            assert(ngx.timer.at(0, function ()
                seen = ngxvar.fetch("uri", req) .. " " .. tostring(ngxvar.fetch("uri"))
            end))
            while not seen do ngx.sleep(0.001) end
            ngx.say(seen)

            ngx.timer.at(0, function ()
                while ngxvar.live(req) do ngx.sleep(0.001) end
                ngx.log(ngx.NOTICE, "later: ", tostring(ngxvar.fetch("uri", req)), " ",
                        select(2, ngxvar.fetch("uri", req)), ";")
            end)
        }
    }
--- request
GET /t
--- response_body
/t nil
--- log_level: notice
--- wait: 0.1
--- error_log
later: nil stale request;
--- no_error_log
[error]



=== TEST 10: in a timer a handle names no request, and is stale everywhere else
--- config
    location = /t {
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            local base = require "resty.core.base"
            local of_timer, pointer
            local said = {}

            local function add(...)
                for i = 1, select("#", ...) do
                    local is_live, err = ngxvar.live(select(i, ...))
                    local value, refusal = ngxvar.fetch("uri", select(i, ...))
                    said[#said + 1] = tostring(is_live) .. ", " .. err .. ", " .. tostring(value) .. ", " .. refusal
                end
            end

            assert(ngx.timer.at(0, function ()
                of_timer, pointer = ngxvar.request(), base.get_request()
                add(of_timer, ngxvar.request(), pointer)
            end))
            require("ngx.semaphore").new():wait(0.05)
            add(of_timer, pointer)
            ngx.say(table.concat(said, "\n"))
            ngx.say(type(of_timer), " ", tostring(of_timer):sub(1, 9))
        }
    }
--- request
GET /t
--- response_body eval
("false, no variables in this context (TLS handshake, timer or worker start), nil, "
    . "no variables in this context (TLS handshake, timer or worker start)\n") x 3
    . "false, stale request, nil, stale request\n" x 2 . "userdata request: \n"
--- no_error_log
[error]



=== TEST 11: requests that only reach the log phase have handles too
--- config
    log_by_lua_block {
        local ngxvar = require "resty.ngxvar"
        local req, err = ngxvar.request()
        ngx.log(ngx.NOTICE, "bad: ", ngxvar.fetch("status", req), " ",
                tostring(ngxvar.live(req)), " ", ngxvar.fetch("status") == tonumber(ngx.var.status), ";")
    }
--- raw_request eval
"GET / HTTP/1.1\r\nHost: a b\r\n\r\n"
--- error_code: 400
--- ignore_response_body
--- log_level: notice
--- wait: 0.02
--- error_log
bad: 400 true true;



=== TEST 12: many requests at once each have their own handle
--- http_config
    lua_package_path "$TEST_NGINX_LUA_DIR/?.lua;;";
--- config
    location = /t {
        content_by_lua_block {
            local threads = {}
            waiting, go = {}, false
            for i = 1, 15 do
                threads[i] = ngx.thread.spawn(require("client").get, "/wait?n=" .. i)
            end
            local ngxvar = require "resty.ngxvar"
            local count = 0
            while count < 15 do
                count = 0
                for _ in pairs(waiting) do count = count + 1 end
                ngx.sleep(0.001)
            end
            -- all are live: each handle names its own request
            local right = 0
            for n, req in pairs(waiting) do
                if ngxvar.fetch("arg_n", req) == n then right = right + 1 end
            end
            go = true
            for i = 1, 15 do
                local _, response = ngx.thread.wait(threads[i])
                if response.body == tostring(i) then right = right + 1 end
            end
            ngx.say(right)
        }
    }
    location = /wait {
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            local req = ngxvar.request()
            waiting[ngxvar.fetch("arg_n", req)] = req
            while not go do ngx.sleep(0.001) end
            ngx.print(ngxvar.fetch("arg_n", req))
        }
    }
--- request
GET /t
--- response_body
30
--- no_error_log
[error]



=== TEST 13: reading a field of a handle raises an error that names fetch
--- config
    location = /t {
        content_by_lua_block {
            local req = require("resty.ngxvar").request()
            ngx.say((select(2, pcall(function () return req.uri end))))
            ngx.say((select(2, pcall(function () return req.id end))))
            ngx.say((select(2, pcall(function () return req[1] end))))
            ngx.say((select(2, pcall(function () return req[{}] end))))
            ngx.say((pcall(function () req.uri = 1 end)))
        }
    }
--- request
GET /t
--- response_body_like eval
my $no = qr/a request's handle has no/;
qr/\Acontent_by_lua\S+:3: $no "uri": call ngxvar\.fetch\("uri", req\)
content_by_lua\S+:4: $no "id": call ngxvar\.fetch\("id", req\)
content_by_lua\S+:5: $no "1": call ngxvar\.fetch\("1", req\)
content_by_lua\S+:6: $no "table: 0x[0-9a-f]+": call .*
false
\z/
--- no_error_log
[error]



=== TEST 14: the name of a field may be longer than any sentence, with a zero in it
--- config
    location = /t {
        content_by_lua_block {
            local req = require("resty.ngxvar").request()
            for _, name in ipairs { "fetch", "set", "live", "live(req)", "fetch(name, req)" } do
                for _, tail in ipairs { "\0", "\0(", "\0" .. string.rep("x", 5e7) } do
                    local ok, err = pcall(function () return req[name .. tail] end)
                    if ok or not err:find('"' .. name .. '": call ngxvar.fetch("', 1, true) then
                        ngx.say(name, " ", #tail, ": ", tostring(err))
                    end
                end
            end
            ngx.say("done")
        }
    }
--- request
GET /t
--- response_body
done
--- no_error_log
[error]



=== TEST 15: live() without an argument is live(nil): false and a sentence
--- config
    location = /t {
        content_by_lua_block {
            local live = require("resty.ngxvar").live
            local of_nothing, of_nil = { live() }, { live(nil) }
            ngx.say(tostring(of_nothing[1]), " ", tostring(of_nil[1]))
            ngx.say(of_nil[2])
            ngx.say(of_nothing[2] == of_nil[2], " ", select("#", live()), " ", select("#", live(nil)))
            -- compiled
            local count = 0
            for _ = 1, 200 do
                if live() then count = count + 1 end
            end
            ngx.say(count)
        }
    }
--- request
GET /t
--- response_body
false false
bad request: expected a handle from request() or the current request's pointer, got nil: call ngxvar.live(req)
true 2 2
0
--- no_error_log
[error]



=== TEST 16: a clone, which skips the phases, has a handle over HTTP/1 and is refused if nothing proves it live
--- http_config
    lua_package_path "$TEST_NGINX_LUA_DIR/?.lua;;";
    proxy_cache_path $TEST_NGINX_SERVER_ROOT/cache keys_zone=cache:1m;
    init_by_lua_block {
        seen = {}
        function see(phase)
            local ngxvar = require "resty.ngxvar"
            local req, err = ngxvar.request()
            seen[#seen + 1] = phase .. " " .. tostring(ngxvar.fetch("uri")) .. " "
                              .. (err or tostring(ngxvar.fetch("uri", req)))
        end
    }
    upstream origin {
        server 0.0.0.1;
        balancer_by_lua_block {
            see("balancer")
            assert(require("ngx.balancer").set_current_peer("127.0.0.1", $TEST_NGINX_SERVER_PORT))
        }
    }
--- config
    location = /origin { root html; try_files /file =404; }
    location = /slice {
        slice 4;
        proxy_set_header Range $slice_range;
        proxy_pass http://origin/origin;
        header_filter_by_lua_block { if ngx.var.slice_range ~= "bytes=0-3" then see("header") end }
    }
    # cached, and old at once
    location = /aging { content_by_lua_block { ngx.header["X-Accel-Expires"] = "@1" ngx.say("cached") } }
    location = /cached {
        proxy_cache cache;
        proxy_cache_use_stale updating;
        proxy_cache_background_update on;
        proxy_pass http://origin/aging;
    }
    location = /t {
        content_by_lua_block {
            local client = require("client").connect{ port = ngx.var.server_port }
            seen = {}
            ngx.say(client:request("/slice").body, " ", table.concat(seen, ", "))
            local once = "/cached?" .. ngx.now()
            client:request(once)
            seen = {}
            client:request(once)
            local deadline = ngx.now() + 10
            while #seen == 0 and ngx.now() < deadline do ngx.sleep(0.01) end
            ngx.say(table.concat(seen, ", "))
        }
    }
--- user_files
>>> file
12345678
--- request
GET /t
--- response_body
12345678
 balancer /slice /slice, balancer /slice /slice, header /slice /slice, balancer /slice /slice, header /slice /slice
balancer nil stale request
