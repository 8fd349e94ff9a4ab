# The library in code that LuaJIT compiles.  Its functions are C functions, so that a trace ends at
# each call and another one begins after it; what is compiled gives the same values.

use lib 't/lib';
use NgxVarTest;
use Test::Nginx::Socket::Lua 'no_plan';

add_block_preprocessor(sub {
    my ($block) = @_;
    $block->set_value(http_config => <<'EOC' . ($block->http_config // ''));
    lua_package_path "$TEST_NGINX_LUA_DIR/?.lua;;";
EOC
    $block->set_value(no_error_log => '[error]');
});

repeat_each(2);
run_tests();

__DATA__

=== TEST 1: LuaJIT compiles what is between the calls, and gives nothing up
--- config
    location = /t {
        set $own "own";
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            local traces = require "traces"
            local fetch, set, live, request = ngxvar.fetch, ngxvar.set, ngxvar.live, ngxvar.request
            local get, put = ngxvar.getter("uri"), ngxvar.setter("own")
            local read = ngxvar.reader{ "uri", "host" }
            local req = request()
            local by_name = setmetatable({}, { __index = function (_, name)
                local value = fetch(name, req)
                return value
            end })

            for what, f in pairs {
                fetch = function () for i = 1, 1000 do fetch("uri") end end,
                handle = function () for i = 1, 1000 do fetch("uri", req) end end,
                number = function () for i = 1, 1000 do fetch("status", req) end end,
                none = function () for i = 1, 1000 do fetch("none", req) end end,
                several = function ()
                    for i = 1, 500 do
                        local a, b, c = fetch("uri"), fetch("host", req), fetch("arg_a")
                    end
                end,
                index = function () for i = 1, 1000 do local uri = by_name.uri end end,
                set = function () for i = 1, 1000 do set("own", "x", req) end end,
                live = function () for i = 1, 1000 do live(req) end end,
                request = function () for i = 1, 1000 do request() end end,
                getter = function () for i = 1, 1000 do get(req) end end,
                setter = function () for i = 1, 1000 do put("y", req) end end,
                reader = function () for i = 1, 500 do read(req) end end,
                table = function () for i = 1, 500 do read:table(req) end end,
            } do
                local report = traces.of(f)

                if report ~= "stitched" then
                    ngx.say(what, ": ", report)
                end
            end

            ngx.say("done")
        }
    }
--- request
GET /t?a=1
--- response_body
done



=== TEST 2: a handler that runs often is not given up
--- http_config
    init_by_lua_block {
        local ngxvar = require "resty.ngxvar"
        local fetch, get = ngxvar.fetch, ngxvar.getter("args")
        local read = ngxvar.reader{ "uri", "host", "status" }

        -- straight-line code
        function handler()
            local req = ngxvar.request()
            local entry = { fetch("uri", req), fetch("host"), fetch("arg_a"), fetch("http_x"), get(req) }

            entry.all = read:table(req)
            entry.uri = read(req)
            ngxvar.set("own", "x", req)

            return #entry
        end

        -- the function and what it calls that is written in Lua, by file and line
        function given_up()
            local util, vmdef = require "jit.util", require "jit.vmdef"
            local bad = {}

            for _, f in ipairs { handler, get, ngxvar.setter("own"), read.table, getmetatable(read).__call,
                                 ngxvar.fetch, ngxvar.set, ngxvar.request, ngxvar.reader }
            do
                local pc = 0
                local is_lua = debug.getinfo(f, "S").what ~= "C"

                while is_lua and util.funcbc(f, pc) do
                    local op = bit.band(util.funcbc(f, pc), 0xff)

                    -- the opcodes of loops and functions that LuaJIT does not try again
                    if vmdef.bcnames:sub(op * 6 + 1, op * 6 + 6):find("^I[FLI]%u") then
                        bad[#bad + 1] = util.funcinfo(f, pc).loc
                    end

                    pc = pc + 1
                end
            end

            return #bad == 0 and "nothing" or table.concat(bad, ", ")
        end
    }
--- config
    location = /t {
        set $own "own";
        content_by_lua_block {
            for _ = 1, 5000 do
                assert(handler() == 5)
            end

            ngx.say(given_up())
        }
    }
--- request
GET /t?a=1
--- more_headers
X: x
--- response_body
nothing



=== TEST 3: a compiled loop sees a value change
--- http_config
    init_by_lua_block { require("resty.ngxvar").patch_ngx_var() }
--- config
    location = /t {
        set $own "0";
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            local req = ngxvar.request()
            local getters, put = {}, ngxvar.setter("own")
            local methods = { [0] = ngx.HTTP_GET, ngx.HTTP_POST, ngx.HTTP_PUT }
            local method_names = { [0] = "GET", "POST", "PUT" }
            local wrong = 0

            for _, name in ipairs { "request_method", "own", "status", "host", "http_x", "args", "arg_a" } do
                getters[name] = ngxvar.getter(name)
            end

            local function check(name, want)
                if ngxvar.fetch(name) ~= want or ngxvar.fetch(name, req) ~= want
                   or getters[name](req) ~= want
                then
                    wrong = wrong + 1
                end
            end

            for i = 1, 1000 do
                ngx.req.set_method(methods[i % 3])
                check("request_method", method_names[i % 3])
                ngx.var.own = tostring(i)
                check("own", tostring(i))
                put("s" .. i, req)
                check("own", "s" .. i)
                ngxvar.set("own", "t" .. i)
                check("own", "t" .. i)
                ngx.status = 200 + i % 2
                check("status", 200 + i % 2)
                ngx.req.set_header("Host", "host" .. i)
                ngx.req.set_header("X", "x" .. i)
                check("host", "host" .. i)
                check("http_x", "x" .. i)
                ngx.req.set_uri_args("a=" .. i)
                check("args", "a=" .. i)
                check("arg_a", tostring(i))

                if ngx.var.arg_a ~= tostring(i) or ngx.var.own ~= "t" .. i then
                    wrong = wrong + 1
                end
            end

            ngx.say(wrong)
        }
    }
--- request
GET /t?a=1
--- response_body
0



=== TEST 4: a compiled loop sees the time go on
--- config
    location = /t {
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            local req = ngxvar.request()

            for _, name in ipairs { "msec", "request_time" } do
                local first, changed = ngxvar.fetch(name, req), false

                for _ = 1, 2e6 do
                    ngx.update_time()

                    if ngxvar.fetch(name, req) ~= first then
                        changed = true
                        break
                    end
                end

                ngx.say(name, " ", changed)
            end
        }
    }
--- request
GET /t
--- response_body
msec true
request_time true



=== TEST 5: compiled code refuses what is no request
--- config
    location = /t {
        set $own "value";
        content_by_lua_block {
            jit.opt.start("hotloop=2", "hotexit=2")

            local ngxvar = require "resty.ngxvar"
            local refused = require("strangers").refused
            local req = ngxvar.request()

            for _ = 1, 100 do
                ngxvar.fetch("uri", req)
                ngxvar.set("own", "value", req)
            end

            ngx.say("fetch: ", refused(function (x) return ngxvar.fetch("uri", x) end, 8))
            ngx.say("set: ", refused(function (x) return ngxvar.set("own", "x", x) end, 8))
            ngx.say(ngx.var.own)
            jit.opt.start("hotloop=56", "hotexit=10")
        }
    }
--- request
GET /t
--- response_body
fetch: refused
set: refused
value



=== TEST 6: an error raised in compiled code has the same text
--- config
    location = /t {
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            local req = ngxvar.request()
            local said = {}
            -- the last of each kind comes long after the loop was compiled
            local function try(what, f, ...)
                for i = 1, 1000 do f("uri", req) end
                local ok, a, b = pcall(f, ...)
                ngx.say(what, ": ", tostring(ok), " ", tostring(a):gsub("^.*:%d+: ", ""), " ",
                        tostring(b):sub(1, 11))
            end
            try("no name", ngxvar.fetch, nil, req)
            try("a table for a name", ngxvar.fetch, {}, req)
            try("a table for a request", ngxvar.fetch, "uri", {})
            try("false for a request", ngxvar.fetch, "uri", false)
            try("nil for a request", ngxvar.fetch, "uri", nil)
            try("a number for a name", ngxvar.fetch, 1, req)
        }
    }
--- request
GET /t
--- response_body
no name: false bad variable name: expected string or number, got nil: call ngxvar.fetch(name, req) nil
a table for a name: false bad variable name: expected string or number, got table: call ngxvar.fetch(name, req) nil
a table for a request: true nil bad request
false for a request: true nil bad request
nil for a request: true /t nil
a number for a name: true nil nil
--- no_error_log
[error]



=== TEST 7: reading a value again allocates no Lua memory, compiled or not
--- config
    location = /t {
        set $own "own value";
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            local req = ngxvar.request()
            local names = { "uri", "args", "host", "scheme", "remote_addr", "request_method",
                            "status", "request_length", "bytes_sent", "own", "arg_a", "http_host",
                            "none", "server_name", "server_protocol" }

            -- compiled anew each time: a shared loop would run out of traces
            local function growth(f)
                return assert(loadstring([[
                    local f = ...
                    for _ = 1, 2000 do f() end
                    collectgarbage()
                    collectgarbage("stop")
                    local before = collectgarbage("count")
                    for _ = 1, 100000 do f() end
                    local grown = collectgarbage("count") - before
                    collectgarbage("restart")
                    return grown < 64 and "flat" or grown .. " KB"
                ]]))(f)
            end

            for _, name in ipairs(names) do
                local fetch = ngxvar.fetch
                local by_fetch = growth(function () return (fetch(name, req)) end)
                local without = growth(function () return (fetch(name)) end)
                if by_fetch ~= "flat" or without ~= "flat" then
                    ngx.say(name, ": ", by_fetch, ", of the current ", without)
                end
            end

            jit.off()
            for _, name in ipairs(names) do
                local fetch = ngxvar.fetch
                local by_fetch = growth(function () return (fetch(name, req)) end)
                local without = growth(function () return (fetch(name)) end)
                if by_fetch ~= "flat" or without ~= "flat" then
                    ngx.say(name, ", not compiled: ", by_fetch, ", of the current ", without)
                end
            end
            jit.on()
            ngx.say("done")
        }
    }
--- request
GET /t?a=1
--- response_body
done
--- skip_eval
3: # millions of calls
$ENV{TEST_NGINX_USE_VALGRIND}



=== TEST 8: reading a value again allocates nothing in the request's pool
--- config
    location = /t {
        set $own "own value";
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            local req = ngxvar.request()
            local fetch = ngxvar.fetch

            -- resident pages of this process
            local function resident()
                local file = io.open("/proc/self/statm")
                local pages = file:read("*l"):match("^%d+ (%d+)")
                file:close()
                return tonumber(pages)
            end

            -- a loop of its own for each, as above
            local function growth(f)
                return assert(loadstring([[
                    local f, resident = ...
                    for _ = 1, 1000 do f() end
                    collectgarbage()
                    local before = resident()
                    for _ = 1, 100000 do f() end
                    return (resident() - before) * 4
                ]]))(f, resident)
            end

            -- an allocation would be seen: each read of ngx.var takes 16 bytes of the pool
            ngx.say("ngx.var: ", growth(function () return (ngx.var.own) end) >= 0
                                 and growth(function () return (ngx.var.http_host) end) > 1000)

            for _, name in ipairs { "uri", "args", "host", "scheme", "remote_addr", "status",
                                    "request_method", "request_length", "bytes_sent", "own",
                                    "arg_a", "http_host", "none", "request_time" }
            do
                local sum = growth(function () return (fetch(name, req)) end)
                            + growth(function () return (fetch(name)) end)
                if sum > 600 then ngx.say(name, ": ", sum, " KB") end
            end
            ngx.say("done")
        }
    }
--- request
GET /t?a=1
--- response_body
ngx.var: true
done
--- skip_eval
3: # memcheck keeps what is freed and has memory of its own, as qemu has
$ENV{TEST_NGINX_USE_VALGRIND} || NgxVarTest::Nginx->is_emulated
