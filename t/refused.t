# What a refusal writes to the error log: lua_var_log_refused, lua_var_trace_handles.

use lib 't/lib';
use NgxVarTest;
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

        -- the limit uses ngx.time()
        function app.next_second()
            local second = ngx.time()
            repeat ngx.sleep(0.02) until ngx.time() ~= second
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

=== TEST 1: the line names the function, the handle, when its request ended, and the Lua
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
qr{\[warn\] .*? lua_var: fetch "scheme" refused: stale request, handle \d+/\d+, whose request ended \d+\.\d\d\ds ago, while request \d+/\d+ was running, in content_by_lua\*, at init_by_lua\S*:\d+ in read\(\), called at init_by_lua\S*:\d+ in log_entry\(\), called at content_by_lua\S*:2, client: 127\.0\.0\.1, server: \S+, request: "GET /t\?a=1 HTTP/1\.1"}



=== TEST 2: one line is logged a second, and the next one counts those left out
--- config
    location = /t {
        content_by_lua_block {
            local app = require "app"
            app.stale()

            app.next_second()
            for i = 1, 1000 do app.read("uri", app.kept) end
            app.next_second()
            app.read("host", app.kept)
            ngx.say("done")
        }
    }
--- request
GET /t
--- response_body
done
--- grep_error_log eval: qr/lua_var: fetch "\w+"(?:.* \(\d+ more were not logged\))?/
--- grep_error_log_out eval
qr/\Alua_var: fetch "uri"\nlua_var: fetch "host" .* \(999 more were not logged\)\n\z/



=== TEST 3: lua_var_log_refused sets level and rate
--- http_config
    lua_var_log_refused error rate=3r/s;
--- config
    location = /t {
        content_by_lua_block {
            local app = require "app"
            app.stale()

            app.next_second()
            for i = 1, 10 do app.read("uri", app.kept) end
            ngx.say("done")
        }
    }
--- request
GET /t
--- response_body
done
--- grep_error_log eval: qr/\[error\] .*lua_var: fetch/
--- grep_error_log_out eval
qr/\A(?:\[error\] .*lua_var: fetch\n){3}\z/



=== TEST 4: lua_var_log_refused off logs nothing
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



=== TEST 5: with lua_var_trace_handles the line says where the handle was made
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
qr{refused: stale request, handle \d+/\d+, whose request ended \d+\.\d\d\ds ago, made \d+s ago at content_by_lua\S*:3 for "GET /keep HTTP/1\.\d", while}



=== TEST 6: with lua_var_trace_handles compiled code records where it makes a handle
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
qr{refused: stale request, handle \d+/\d+, .* made \d+s ago at init_worker_by_lua\S*:6 for "GET /compiled HTTP}



=== TEST 7: set, getters, setters and pointers of other requests are logged, interpreted and compiled
--- http_config
    lua_var_log_refused warn rate=1000r/s;
--- config
    location = /t {
        content_by_lua_block {
            local app = require "app"
            app.stale()
            local ngxvar = require "resty.ngxvar"
            local get, set = ngxvar.getter("Host"), ngxvar.setter("args")

            ngxvar.set("args", "a", app.kept)
            set("a", app.kept)
            get(app.kept)
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
--- grep_error_log eval: qr/lua_var: .*? at content_by_lua\S*:\d+/
--- grep_error_log_out eval
sub at {
    my ($asked, $line, $given) = (@_, 'handle \d+/\d+, whose request ended \S+ ago');
    return qr{lua_var: \Q$asked\E refused: stale request, $given, while request \d+/\d+ was running, in content_by_lua\*, at content_by_lua\S*:$line\n};
}
my @first = (at('set "args"', 7), at('set "args"', 8), at('fetch "host"', 9), at('fetch of a capture', 10));
my ($loop, $pointer) = (at('fetch "host"', 12), at('fetch "uri"', 14, 'pointer 0*1267'));
my $all = CORE::join '', @first, "(?:$loop){300}", $pointer;
qr/\A$all\z/



=== TEST 8: reading in a timer is logged as without variables
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
qr{lua_var: fetch "uri" refused: no variables in this context \(TLS handshake, timer or worker start\), in a timer, at content_by_lua\S*:\d+, context: ngx\.timer}



=== TEST 9: live(), unset variables and bad requests are not logged
--- config
    location = /t {
        content_by_lua_block {
            local app = require "app"
            local ngxvar = require "resty.ngxvar"

            ngx.say(tostring(ngxvar.live(app.kept)))
            ngx.say((app.read("uri", ngxvar.request())))
            ngx.say((app.read("no_such_variable", ngxvar.request())))
            ngx.say((select(2, app.read("uri", "a string"))))
        }
    }
--- request
GET /t
--- response_body_like eval
qr/\Afalse\n\/t\nnil\nbad request: /
--- no_error_log eval: qr{lua_var: (?!version)}



=== TEST 10: refusals of lua-var-nginx-module's C functions have their names
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
qr{lua_var: ngx_http_lua_var_ffi_uri refused: stale request, pointer 0*1267, called over FFI, so that the calling Lua code is not known}



=== TEST 11: when the slot has had other requests since, the line says how long ago at least
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
qr{refused: stale request, handle \d+/\d+, whose request ended more than \d+\.\d\d\ds ago, while}



=== TEST 12: control characters in a name do not forge a line
--- config
    location = /t {
        content_by_lua_block {
            local app = require "app"
            app.stale()

            app.read('arg_a"\n2026/11/25 [emerg] \\x\255' .. ("b"):rep(100), app.kept)
            ngx.say("done")
        }
    }
--- request
GET /t
--- response_body
done
--- error_log eval
qr{lua_var: fetch "arg_a\\x22\\x0A2026/11/25 \[emerg\] \\x5Cx\\xFFb{30,40}" refused: stale request, handle}
--- no_error_log
[alert]



=== TEST 13: the line has a coroutine's Lua and its resumer's, and of a light thread its own
--- http_config
    lua_var_log_refused warn rate=100r/s;
    lua_var_trace_handles on;
--- config
    location = /t {
        content_by_lua_block {
            local app = require "app"
            local req = app.stale()
            coroutine.wrap(function ()
                ngx.say((app.log_entry(req)))
            end)()
            ngx.thread.wait(ngx.thread.spawn(function ()
                ngx.say((app.log_entry(req)))
            end))
            -- a coroutine in another one
            coroutine.wrap(function ()
                coroutine.wrap(function () ngx.say((app.log_entry(req))) end)()
            end)()
            -- while a light thread waits, either of the two may have resumed the coroutine
            local waiting = ngx.thread.spawn(coroutine.yield)
            coroutine.wrap(function () ngx.say((app.log_entry(req))) end)()
            ngx.thread.wait(waiting)
        }
    }
--- request
GET /t
--- response_body
nil stale request
nil stale request
nil stale request
nil stale request
--- grep_error_log eval
qr{made \d+s ago at .*?, client}
--- grep_error_log_out eval
my $to_read = qr{made \d+s ago at content_by_lua\S*:3 for .*, at init_by_lua\S* in read\(\), called at init_by_lua\S* in log_entry\(\)};
my $of = qr{, in a coroutine resumed at content_by_lua\S*};
qr{\A$to_read, called at content_by_lua\S*:5$of:6, client
$to_read, called at content_by_lua\S*:8, client
$to_read, called at content_by_lua\S*:12$of:13, client
$to_read, called at content_by_lua\S*:16, client
\z}
