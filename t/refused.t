# What a refusal writes to the error log: lua_var_log_refused, lua_var_trace_handles.

# The table of culprits survives a reload, and a culprit is logged once a second: each block
# starts an nginx of its own.
BEGIN { delete $ENV{TEST_NGINX_USE_HUP} }

use lib 't/lib';
use NgxVarTest log_refused => 0;
use Test::Nginx::Socket::Lua 'no_plan';

# A handle of a request that has ended, and a function to use it in.
our $HTTP = <<'END';
    lua_package_path "$TEST_NGINX_LUA_DIR/?.lua;;";
    init_by_lua_block {
        package.loaded.app = { }
        local app = package.loaded.app

        function app.log_entry(req)
            local value, err = app.read("scheme", req)
            return tostring(value) .. " " .. tostring(err)
        end

        -- a handle of a request that has ended
        function app.stale()
            local client = require("client").connect{ port = ngx.var.server_port }

            client:request("/keep")
            client:close()
            while require("resty.ngxvar").live(app.kept) do ngx.sleep(0.005) end
            return app.kept
        end

        function app.read(name, req)
            local value, err = require("resty.ngxvar").fetch(name, req)
            return value, err
        end
    }
END

our $KEEP = <<'END';
    location = /keep {
        content_by_lua_block {
            local app = require "app"
            app.kept = require("resty.ngxvar").request()
            app.pointer = require("resty.core.base").get_request()
            ngx.say("kept")
        }
    }
END

add_block_preprocessor(sub {
    my ($block) = @_;
    $block->set_value(http_config => $main::HTTP . ($block->http_config // ''));
    $block->set_value(config      => $main::KEEP . $block->config);
});

repeat_each(1);
run_tests();

__DATA__

=== TEST 1: the line names the culprit, what it asked for, whose request that was, and its callers
--- config
    location = /t {
        content_by_lua_block {
            ngx.say((require("app").log_entry(require("app").stale())))
        }
    }
--- request
GET /t?a=1
--- response_body
nil stale request
--- error_log eval
qr{\[error\] .*? lua_var: init_by_lua\S*:\d+ read\(\) read "scheme" of request \d+/\d+, which ended \d+\.\d\d\ds ago \(stale request\), while request \d+/\d+ was running, in content_by_lua\*, called at init_by_lua\S*:\d+ log_entry\(\), called at content_by_lua\S*:2, client: 127\.0\.0\.1, server: \S+, request: "GET /t\?a=1 HTTP/1\.1"}



=== TEST 2: each culprit has one line a second, and what was left out is told without another refusal
--- config
    location = /t {
        content_by_lua_block {
            local app = require "app"
            app.stale()

            for i = 1, 1000 do app.read("uri", app.kept) end
            app.read("host", app.kept)
            ngx.sleep(1.5)
            ngx.say("done")
        }
    }
--- request
GET /t
--- response_body
done
--- grep_error_log eval: qr/read "\w+"(?: of request \S+ which ended \S+ ago)? \(stale request\)(?:.*? \d+ more since the last line)?/
--- grep_error_log_out eval
qr/\Aread "uri" of \S+ \S+ which ended \S+ ago \(stale request\)\nread "host" of \S+ \S+ which ended \S+ ago \(stale request\)\nread "uri" \(stale request\), in content_by_lua\*, 999 more since the last line\n\z/



=== TEST 3: a line counts the refusals since the one before
--- config
    location = /t {
        content_by_lua_block {
            local app = require "app"
            app.stale()

            for i = 1, 10 do app.read("uri", app.kept) end
            -- the timer is not asked, because this one is busy
            local began = ngx.now()
            repeat ngx.update_time() until ngx.now() - began > 1.01
            app.read("uri", app.kept)
            ngx.say("done")
        }
    }
--- request
GET /t
--- response_body
done
--- grep_error_log eval: qr/read "uri"(?:.*? \d+ more since the last line)?/
--- grep_error_log_out eval
qr/\Aread "uri"\nread "uri" of .*, 9 more since the last line\n\z/



=== TEST 4: lua_var_log_refused sets level and rate
--- http_config
    lua_var_log_refused warn rate=10r/s;
--- config
    location = /t {
        content_by_lua_block {
            local app = require "app"
            app.stale()

            for i = 1, 5 do
                app.read("uri", app.kept)
                ngx.sleep(0.05)
            end
            ngx.say("done")
        }
    }
--- request
GET /t
--- response_body
done
--- grep_error_log eval: qr/\[warn\] .*lua_var: \S+ read\(\) read/
--- grep_error_log_out eval
qr/\A(?:\[warn\] .*lua_var: \S+ read\(\) read\n){2,3}\z/



=== TEST 5: lua_var_log_refused off logs nothing
--- http_config
    lua_var_log_refused off;
--- config
    location = /t {
        content_by_lua_block {
            ngx.say((require("app").log_entry(require("app").stale())))
        }
    }
--- request
GET /t
--- response_body
nil stale request
--- no_error_log eval: qr{lua_var: (?!version)}



=== TEST 6: with lua_var_trace_handles the line says where the handle was made
--- http_config
    lua_var_trace_handles on;
--- config
    location = /t {
        content_by_lua_block {
            ngx.say((require("app").log_entry(require("app").stale())))
        }
    }
--- request
GET /t
--- response_body
nil stale request
--- error_log eval
qr{read "scheme" of request \d+/\d+, which ended \d+\.\d\d\ds ago \(stale request\), .*, made \d+\.\d\d\ds ago at content_by_lua\S*:3 for "GET /keep HTTP/1\.\d", client}



=== TEST 7: with lua_var_trace_handles compiled code records where it makes a handle
--- http_config
    lua_var_trace_handles on;
    init_worker_by_lua_block {
        local app, request = package.loaded.app, require("resty.ngxvar").request

        -- called often enough to be compiled from the start
        function app.note()
            app.kept = request()
        end
    }
--- config
    location = /compiled {
        content_by_lua_block {
            local app = require "app"
            app.note()
            ngx.say("noted")
        }
    }
    location = /t {
        content_by_lua_block {
            local app = require "app"
            local client = require("client").connect{ port = ngx.var.server_port }

            for i = 1, 300 do client:request("/compiled") end
            client:close()
            while require("resty.ngxvar").live(app.kept) do ngx.sleep(0.005) end

            ngx.say((app.log_entry(app.kept)))
        }
    }
--- request
GET /t
--- response_body
nil stale request
--- error_log eval
qr{\(stale request\), .*, made \d+\.\d\d\ds ago at init_worker_by_lua\S*:6 for "GET /compiled HTTP}



=== TEST 8: set, captures, getters and pointers of other requests are logged
--- config
    location = /t {
        content_by_lua_block {
            local app = require "app"
            app.stale()
            local ngxvar = require "resty.ngxvar"
            local get = ngxvar.getter("Host")

            ngxvar.set("args", "a", app.kept)
            ngxvar.fetch(1, app.kept)

            for i = 1, 300 do get(app.kept) end

            ngxvar.fetch("uri", require("ffi").cast("void *", 4711))
            ngx.say("done")
        }
    }
--- request
GET /t
--- response_body
done
--- grep_error_log eval: qr/lua_var: .*? in content_by_lua\*/
--- grep_error_log_out eval
sub at {
    my ($line, $asked, $named) = (@_, 'request \d+/\d+, which ended \S+ ago');
    return qr{lua_var: content_by_lua\S*:$line \Q$asked\E of $named \(stale request\), while request \d+/\d+ was running, in content_by_lua\*\n};
}
my $all = CORE::join '', at(7, 'set "args"'), at(8, 'read a capture'), at(10, 'read "Host"'), at(12, 'read "uri"', 'pointer 0x1267');
qr/\A$all/



=== TEST 9: reading in a timer is logged as without variables
--- config
    location = /t {
        content_by_lua_block {
            local done

            ngx.timer.at(0, function ()
                ngx.log(ngx.NOTICE, "timer: ", select(2, require("resty.ngxvar").fetch("uri")))
                done = true
            end)

            repeat ngx.sleep(0.01) until done
            ngx.say("done")
        }
    }
--- request
GET /t
--- response_body
done
--- error_log eval
qr{lua_var: content_by_lua\S*:\d+ read "uri" \(no variables in this context \(TLS handshake, timer or worker start\)\), in a timer, context: ngx\.timer}



=== TEST 10: live() and unset variables are not logged
--- config
    location = /t {
        content_by_lua_block {
            local app = require "app"
            local ngxvar = require "resty.ngxvar"

            ngx.say(tostring(ngxvar.live(app.kept)))
            ngx.say((app.read("uri", ngxvar.request())))
            ngx.say((app.read("no_such_variable", ngxvar.request())))
        }
    }
--- request
GET /t
--- response_body
false
/t
nil
--- no_error_log eval: qr{lua_var: (?!version)}



=== TEST 11: refusals of lua-var-nginx-module's C functions have their names
--- config
    location = /t {
        content_by_lua_block {
            ngx.say((require("lua_var_c").string("uri", require("ffi").cast("void *", 4711))))
        }
    }
--- request
GET /t
--- response_body
-1
--- error_log eval
qr{lua_var: unknown Lua code called ngx_http_lua_var_ffi_uri of pointer 0x1267 \(stale request\), through FFI}



=== TEST 12: when the slot has had other requests since, the line says how long ago at least
--- config
    location = /t {
        content_by_lua_block {
            local app = require "app"
            local first = app.stale()

            for i = 1, 3 do app.stale() end
            ngx.say((app.log_entry(first)))
        }
    }
--- request
GET /t
--- response_body
nil stale request
--- error_log eval
qr{of request \d+/\d+, which ended more than \d+\.\d\d\ds ago \(stale request\), while}



=== TEST 13: names of variables, chunks and functions do not forge a line
--- config
    location = /t {
        content_by_lua_block {
            local app = require "app"
            app.stale()

            app.read('arg_a"\n2026/11/25 [emerg] \\x\255' .. ("b"):rep(100), app.kept)
            local text = [[
                local app = require "app"
                local t = { ["f\n[emerg]"] = function () return (app.read("uri", app.kept)) end }
                local value = t["f\n[emerg]"]()
            ]]
            assert(loadstring(text, "=a chunk\n2026/11/25 [emerg], called at"))()
            assert(loadstring(text:gsub("uri", "host"), "@" .. ("long/"):rep(100)))()
            ngx.say("done")
        }
    }
--- request
GET /t
--- response_body
done
--- error_log eval
[
    qr{read "arg_a\\x22\\x0A2026/11/25 \[emerg\] \\x5Cx\\xFFb{30,40}" of request},
    qr{called at a\\x20chunk\\x0A2026/11/25\\x20\[emerg\],\\x20called\\x20at:2 f\\x0A\[emerg\]\(\), called at a\\x20chunk\S+:3,},
    qr{called at \.\.\.\S{40,60}:2 f\\x0A},
]
--- no_error_log
[alert]



=== TEST 14: the line has a coroutine's Lua and its resumer's, and of a light thread its own
--- http_config
    lua_var_trace_handles on;
--- config
    location = /t {
        content_by_lua_block {
            local app = require "app"
            local req = app.stale()
            coroutine.wrap(function ()
                ngx.say((require("resty.ngxvar").fetch("a", req)))
            end)()
            ngx.thread.wait(ngx.thread.spawn(function ()
                ngx.say((require("resty.ngxvar").fetch("b", req)))
            end))
            -- a coroutine in another one
            coroutine.wrap(function ()
                coroutine.wrap(function () ngx.say((require("resty.ngxvar").fetch("c", req))) end)()
            end)()
            -- while a light thread waits, either of the two may have resumed the coroutine
            local waiting = ngx.thread.spawn(coroutine.yield)
            coroutine.wrap(function () ngx.say((require("resty.ngxvar").fetch("d", req))) end)()
            ngx.thread.wait(waiting)
        }
    }
--- request
GET /t
--- response_body
nil
nil
nil
nil
--- grep_error_log eval
qr{\S+:\d+ read "\w".*?, client}
--- grep_error_log_out eval
my $to = qr{ of request .*? in content_by_lua\*};
my $of = qr{, in a coroutine resumed at content_by_lua\S*};
my $made = qr{, made \S+ ago at content_by_lua\S*:3 for "GET /keep HTTP/1.1", client};
qr{\Acontent_by_lua\S*:5 read "a"$to$of:6$made
content_by_lua\S*:8 read "b"$to$made
content_by_lua\S*:12 read "c"$to$of:13$made
content_by_lua\S*:16 read "d"$to$made
\z}



=== TEST 15: wrong arguments are refused with the mistake, logged and counted
--- config
    location = /t {
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            local req = ngxvar.request()
            local before = ngxvar.stats()['refused_total{reason="bad_argument"}']
            local function say(ok, value, err) ngx.say(tostring(err or value)) end

            say(pcall(ngxvar.fetch, req, "uri"))
            say(pcall(ngxvar.fetch, ngxvar, "uri"))
            say(pcall(ngxvar.set, "args", req, "a"))
            say(pcall(ngxvar.fetch, "uri", ngx.null))
            say(pcall(ngxvar.fetch, "uri", ngx.ctx))
            say(pcall(ngxvar.fetch, "uri", require("ffi").cast("void *", 0)))
            ngx.say(ngxvar.stats()['refused_total{reason="bad_argument"}'] - before)
        }
    }
--- request
GET /t
--- response_body
bad variable name: expected string or number, got userdata: call ngxvar.fetch(name, req)
bad variable name: expected string or number, got table: call ngxvar.fetch(name, req), with a dot
bad request: expected a handle from request() or the current request's pointer, got string: call ngxvar.set(name, value, req)
bad request: expected a handle from request() or the current request's pointer, got a null pointer: call ngxvar.fetch(name, req)
bad request: expected a handle from request() or the current request's pointer, got table: call ngxvar.fetch(name, req)
bad request: expected a handle from request() or the current request's pointer, got cdata: call ngxvar.fetch(name, req)
6
--- error_log eval
[
    qr{lua_var: content_by_lua\S*:7 read \(bad variable name: expected string or number, got userdata: call ngxvar\.fetch\(name, req\)\), while request},
    qr{lua_var: content_by_lua\S*:9 set "args" \(bad request: .*? got string: call ngxvar\.set\(name, value, req\)\), while request},
    qr{lua_var: content_by_lua\S*:10 read "uri" \(bad request: .*? got a null pointer},
]



=== TEST 16: a handle that was made in a TLS handshake says so, and a timer's, too
--- http_config
    server {
        listen 127.0.0.1:$TEST_NGINX_PORT1 ssl;
        ssl_certificate     $TEST_NGINX_CERT_DIR/test.crt;
        ssl_certificate_key $TEST_NGINX_CERT_DIR/test.key;
        ssl_certificate_by_lua_block { package.loaded.app.tls = require("resty.ngxvar").request() }
        location / { return 200 "tls"; }
    }
--- config
    location = /t {
        content_by_lua_block {
            local app = require "app"
            require("client").connect{ port = $TEST_NGINX_PORT1, tls = true }:close()
            ngx.timer.at(0, function () app.timer = require("resty.ngxvar").request() end)
            while not app.timer do ngx.sleep(0.005) end
            ngx.say((app.read("uri", app.tls)))
            ngx.say((app.read("host", app.timer)))
        }
    }
--- request
GET /t
--- response_body
nil
nil
--- error_log eval
[
    qr{read "uri" of no request .*, made in a TLS handshake \(lua_var_ssl_ctx off keeps it from requests\)},
    qr{read "host" of no request .*, made in a timer or at the start of a worker, client},
]



=== TEST 17: where several lines of Lua called request(), the first is named as such
--- http_config
    lua_var_trace_handles on;
--- config
    location = /twice {
        content_by_lua_block {
            local app = require "app"
            local first = require("resty.ngxvar").request()
            app.kept = require("resty.ngxvar").request()
            ngx.say("twice")
        }
    }
    location = /t {
        content_by_lua_block {
            local app = require "app"
            local client = require("client").connect{ port = ngx.var.server_port }
            client:request("/twice")
            client:close()
            while require("resty.ngxvar").live(app.kept) do ngx.sleep(0.005) end
            ngx.say((app.log_entry(app.kept)))
        }
    }
--- request
GET /t
--- response_body
nil stale request
--- error_log eval
qr{, first made \d+\.\d\d\ds ago at content_by_lua\S*:3 for "GET /twice}



=== TEST 18: with lua_var_trace_handles each timer's handle has a place of its own
--- http_config
    lua_var_trace_handles on;
--- config
    location = /t {
        content_by_lua_block {
            local app = require "app"
            local first, second
            ngx.timer.at(0, function () first = require("resty.ngxvar").request() end)
            while not first do ngx.sleep(0.005) end
            ngx.timer.at(0, function () second = require("resty.ngxvar").request() end)
            while not second do ngx.sleep(0.005) end
            ngx.say((app.read("uri", first)))
            ngx.say((app.read("host", second)))
        }
    }
--- request
GET /t
--- response_body
nil
nil
--- error_log eval
[
    qr{read "uri" of no request .*, made in a timer or at the start of a worker \d+\.\d\d\ds ago at content_by_lua\S*:4\b},
    qr{read "host" of no request .*, made in a timer or at the start of a worker \d+\.\d\d\ds ago at content_by_lua\S*:6\b},
]



=== TEST 19: a coroutine that outlived its request is refused, and none of that request is read
--- http_config
    # malloc() maps so much, and unmaps it when the request ends
    request_pool_size 40m;
--- config
    location = /leave {
        content_by_lua_block {
            local app, ngxvar = require "app", require "resty.ngxvar"
            local function say(value, err) return tostring(value) .. " " .. tostring(err) end
            app.kept = ngxvar.request()
            app.left = coroutine._create(function ()
                while true do
                    coroutine._yield(say(ngxvar.fetch("uri", app.kept)), say(ngxvar.fetch("uri")),
                                     say(ngxvar.fetch("arg_a")), say(ngxvar.fetch(1)),
                                     say(ngxvar.set("args", "a")), say(ngxvar.request() ~= nil),
                                     say(ngxvar.ssl_ctx()))
                end
            end)
            ngx.say(table.concat({ select(2, coroutine._resume(app.left)) }, ", "))
        }
    }
    location = /t {
        content_by_lua_block {
            local app = require "app"
            local client = require("client").connect{ port = ngx.var.server_port }
            ngx.print(client:request("/leave").body)
            client:close()
            while require("resty.ngxvar").live(app.kept) do ngx.sleep(0.005) end
            ngx.say(table.concat({ select(2, coroutine._resume(app.left)) }, ", "))
        }
    }
--- request
GET /t
--- response_body
/leave nil, /leave nil, nil nil, nil nil, true nil, true nil, nil nil
nil stale request, nil stale request, nil stale request, nil stale request, nil stale request, false nil, nil nil
--- error_log eval
[
    qr{:\d+ read "uri" of request \d+/\d+, which ended \d+\.\d\d\ds ago \(stale request\)$}m,
    qr{:\d+ read "uri" \(stale request\)},
]
--- no_error_log
[alert]


=== TEST 20: the same, when a connection names something else at the address of that request
--- skip_eval
4: # memcheck and AddressSanitizer do not unmap the memory of a pool
$ENV{TEST_NGINX_USE_VALGRIND} || $ENV{TEST_NGINX_USE_ASAN}
--- http_config
    request_pool_size 40m;
--- config
    location = /leave {
        content_by_lua_block {
            local app, ngxvar = require "app", require "resty.ngxvar"
            local function say(value, err) return tostring(value) .. " " .. tostring(err) end
            app.kept, app.address = ngxvar.request(), require("resty.core.base").get_request()
            app.left = coroutine._create(function ()
                while true do
                    coroutine._yield(say(ngxvar.fetch("uri", app.kept)), say(ngxvar.fetch("uri")),
                                     say(ngxvar.set("args", "a")), say(ngxvar.request() ~= nil),
                                     say(ngxvar.ssl_ctx()))
                end
            end)
            coroutine._resume(app.left)
        }
    }
    location = /t {
        content_by_lua_block {
            local app, ffi = require "app", require "ffi"
            local client = require("client").connect{ port = ngx.var.server_port }
            client:request("/leave")
            client:close()
            while require("resty.ngxvar").live(app.kept) do ngx.sleep(0.005) end

            ffi.cdef"void *mmap(void *, size_t, int, int, int, long);"
            local page = ffi.cast("char *", app.address) - ffi.cast("uintptr_t", app.address) % 4096
            -- PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE
            local memory = ffi.C.mmap(page, 8192, 3, 0x100022, -1, 0)
            assert(memory == page, "that memory is in use")

            local connection = ffi.cast("void ***", require("resty.core.base").get_request())[1]
            local data = connection[0]
            local here = ffi.cast("void **", app.address)
            -- what is there: zeros, a request of another connection, a stream session ("STRM")
            for _, words in ipairs{ { 0, nil }, { 0x50545448, nil }, { 0x4d525453, connection } } do
                ffi.cast("uint32_t *", app.address)[0] = words[1]
                here[1] = words[2]
                connection[0] = app.address
                local results = { select(2, coroutine._resume(app.left)) }
                connection[0] = data
                ngx.say(table.concat(results, ", "))
            end
        }
    }
--- request
GET /t
--- response_body eval
"nil stale request, nil stale request, nil stale request, false nil, nil nil\n" x 3
--- error_log eval
qr{:\d+ read "uri" of request \d+/\d+, which ended \d+\.\d\d\ds ago \(stale request\)$}m
--- no_error_log
[alert]



=== TEST 21: a reader, a getter and a setter are refused to the line that calls them
--- config
    location = /t {
        content_by_lua_block {
            local app, ngxvar = require "app", require "resty.ngxvar"
            local read, get = ngxvar.reader{ "uri", "host" }, ngxvar.getter("scheme")
            local set = ngxvar.setter("args")
            local stale = app.stale()

            ngx.say((select(2, read(stale))))
            ngx.say((select(2, read:table(stale))))
            ngx.say((select(2, get(stale))))
            ngx.say((select(2, set("b", stale))))
        }
    }
--- request
GET /t
--- response_body eval
"stale request\n" x 4
--- error_log eval
[
    qr{lua_var: content_by_lua\S*:7 read "uri" of},
    qr{lua_var: content_by_lua\S*:8 read "uri" of},
    qr{lua_var: content_by_lua\S*:9 read "scheme" of},
    qr{lua_var: content_by_lua\S*:10 set "args" of},
]
--- no_error_log
resty/ngxvar



=== TEST 22: lua_var_trace_handles remembers thousands of handles, and says nothing of a forgotten one
--- http_config
    lua_var_trace_handles on;
    keepalive_requests 100000;
--- config
    location = /other {
        content_by_lua_block { table.insert(package.loaded.client.kept, 1, require("resty.ngxvar").request()) }
    }
    location = /long {
        content_by_lua_block {
            local client = require "client"
            client.long = require("resty.ngxvar").request()
            repeat ngx.sleep(0.001) until client.is_over
            client.long = require("resty.ngxvar").request()
        }
    }
    location = /t {
        content_by_lua_block {
            local ngxvar, client = require "resty.ngxvar", require "client"
            client.kept = {}
            local c, other = client.connect{ port = ngx.var.server_port }, client.connect{ port = ngx.var.server_port }
            other:send(client.request_text("/long", {}))
            client.wait_until(function () return client.long end, "the other request")
            for _ = 1, 3500 do c:request("/other") end
            ngxvar.fetch("uri", client.kept[3000])
            for _ = 1, 4100 do c:request("/other") end
            client.is_over = true
            other:response("GET")
            client.wait_until(function () return not ngxvar.live(client.long) end, "its end")
            ngxvar.fetch("host", client.long)
            ngx.say("done")
        }
    }
--- request
GET /t
--- response_body
done
--- error_log eval
[
    qr{read "uri" of request \d+/\d+, .*\(stale request\).*, made \d+\.\d\d\ds ago at content_by_lua\S*:1 for},
    qr{read "host" of request \d+/\d+, which ended \d+\.\d\d\ds ago \(stale request\)(?!.*made)},
]
