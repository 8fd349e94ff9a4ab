# How LuaJIT compiles the library, and that a value read again needs no memory.

use lib 't/lib';
use NgxVarTest;
use Test::Nginx::Socket::Lua 'no_plan';

# memcheck reports a bit that the map module leaves uninitialised in its values, which
# getters read with its neighbours and mask.
$ENV{TEST_NGINX_KEPT_MAP} = $ENV{TEST_NGINX_USE_VALGRIND} ? 'false' : 'true';

add_block_preprocessor(sub {
    my ($block) = @_;
    $block->set_value(http_config => <<'EOC' . ($block->http_config // ''));
    lua_package_path "$TEST_NGINX_LUA_DIR/?.lua;;";
EOC
});

repeat_each(2);
run_tests();

__DATA__

=== TEST 1: getters compile to a loop, with nothing left out
--- config
    location ~ "^/(t)$" {
        set $own "own value";
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            local traces = require "traces"
            local req = ngxvar.request()
            for _, name in ipairs { "uri", "document_uri", "request_uri", "args", "query_string",
                                    "host", "server_name", "scheme", "https", "remote_addr",
                                    "request_method", "server_protocol", "server_port", "status",
                                    "request_time", "request_length", "bytes_sent", "connection",
                                    "connection_requests", "msec", "own", "arg_a", "http_host",
                                    "http_user_agent", "cookie_a", "http_x" }
            do
                local get = ngxvar.getter(name)
                local value = get(req)      -- finds out where the variable is
                local last
                local report = traces.of(function ()
                    for i = 1, 1000 do
                        last = get(req)
                    end
                end)
                if report ~= "loop" or last ~= ngxvar.fetch(name, req) or last ~= value
                   and name ~= "request_time" and name ~= "msec"
                then
                    ngx.say(name, ": ", report, " ", tostring(last))
                end
            end
            ngx.say("done")
        }
    }
--- request
GET /t?a=1
--- more_headers
User-Agent: tester
Cookie: a=1
X: x
--- response_body
done
--- no_error_log
[error]



=== TEST 2: the first use of a getter, and of one of another name, compile too
--- config
    location = /t {
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            local traces = require "traces"
            for _, name in ipairs { "uri", "host", "http_host", "arg_a" } do
                local get = ngxvar.getter(name)
                local report = traces.of(function ()
                    local req = ngxvar.request()
                    for i = 1, 1000 do
                        if get(req) == "no" then return end
                    end
                end)
                ngx.say(name, ": ", report)
            end
        }
    }
--- request
GET /t?a=1
--- response_body
uri: loop
host: loop
http_host: loop
arg_a: loop
--- no_error_log
[error]



=== TEST 3: getters of unset values compile
--- config
    location = /t {
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            local traces = require "traces"
            local req = ngxvar.request()
            for _, name in ipairs { "args", "arg_none", "http_none", "cookie_none",
                                    "no_such_variable", "upstream_addr" }
            do
                local get = ngxvar.getter(name)
                get(req)
                local last = 1
                local report = traces.of(function ()
                    for i = 1, 1000 do last = get(req) end
                end)
                ngx.say(name, ": ", report, " ", tostring(last))
            end
        }
    }
--- request
GET /t
--- response_body
args: loop nil
arg_none: loop nil
http_none: loop nil
cookie_none: loop nil
no_such_variable: loop nil
upstream_addr: loop nil
--- no_error_log
[error]



=== TEST 4: getters of cached values compile
--- http_config
    map $uri $mapped { default "mapped"; }
    map "$host$remote_addr$scheme$mapped$bytes_sent" $uses { default "x"; }
--- config
    location = /t {
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            local traces = require "traces"
            local req = ngxvar.request()
            for _, when in ipairs { "not yet kept", "kept" } do
                for _, name in ipairs { "host", "remote_addr", "scheme" } do
                    local get = ngxvar.getter(name)
                    get(req)
                    local report = traces.of(function ()
                        for i = 1, 1000 do get(req) end
                    end)
                    ngx.say(name, ", ", when, ": ", report)
                end
                local value = ngx.var.uses
            end
            if $TEST_NGINX_KEPT_MAP then
                local get = ngxvar.getter("mapped")
                get(req)
                ngx.say("mapped: ", traces.of(function ()
                    for i = 1, 1000 do get(req) end
                end))
            end
        }
    }
--- request
GET /t
--- response_body eval
"host, not yet kept: loop
remote_addr, not yet kept: loop
scheme, not yet kept: loop
host, kept: loop
remote_addr, kept: loop
scheme, kept: loop
" . ($ENV{TEST_NGINX_KEPT_MAP} eq 'true' ? "mapped: loop\n" : "")
--- no_error_log
[error]



=== TEST 5: fetch with a handle, setters and request() compile
--- config
    location = /t {
        set $own "own";
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            local traces = require "traces"
            local req = ngxvar.request()
            local fetch = ngxvar.fetch
            for _, name in ipairs { "uri", "own", "arg_a", "http_host", "status", "none" } do
                ngx.say("fetch ", name, ": ", traces.of(function ()
                    for i = 1, 1000 do fetch(name, req) end
                end))
            end
            local put = ngxvar.setter("own")
            put("x", req)
            ngx.say("setter: ", traces.of(function ()
                for i = 1, 1000 do put("y", req) end
            end), " ", ngx.var.own)
        }
    }
--- request
GET /t?a=1
--- response_body
fetch uri: loop
fetch own: loop
fetch arg_a: loop
fetch http_host: loop
fetch status: loop
fetch none: loop
setter: loop y
--- no_error_log
[error]



=== TEST 6: patched ngx.var compiles
--- http_config
    init_by_lua_block { require("resty.ngxvar").patch_ngx_var() }
--- config
    location = /t {
        set $own "own";
        content_by_lua_block {
            local traces = require "traces"
            local var = ngx.var
            for _, name in ipairs { "uri", "own", "arg_a", "http_host", "status", "none" } do
                ngx.say(name, ": ", traces.of(function ()
                    for i = 1, 1000 do local value = var[name] end
                end))
            end
        }
    }
--- request
GET /t?a=1
--- response_body
uri: loop
own: loop
arg_a: loop
http_host: loop
status: loop
none: loop
--- no_error_log
[error]



=== TEST 7: an error raised in compiled code has the same text
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
no name: false bad variable name: expected string or number, got nil nil
a table for a name: false bad variable name: expected string or number, got table: it is ngxvar.fetch(name, req), with a dot nil
a table for a request: true nil bad request
false for a request: true nil bad request
nil for a request: true /t nil
a number for a name: true nil nil
--- no_error_log
[error]



=== TEST 8: reading a value again allocates no Lua memory, compiled or not
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
                local get = ngxvar.getter(name)
                local fetch = ngxvar.fetch
                local by_getter = growth(function () return (get(req)) end)
                local by_fetch = growth(function () return (fetch(name, req)) end)
                local without = growth(function () return (fetch(name)) end)
                if by_getter ~= "flat" or by_fetch ~= "flat" or without ~= "flat" then
                    ngx.say(name, ": getter ", by_getter, ", fetch ", by_fetch, ", of the current ",
                            without)
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
--- timeout: 20s
--- no_error_log
[error]
--- skip_eval
3: # millions of calls
$ENV{TEST_NGINX_USE_VALGRIND}



=== TEST 9: reading a value again allocates nothing in the request's pool
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
                local get = ngxvar.getter(name)
                local sum = growth(function () return (get(req)) end)
                            + growth(function () return (fetch(name, req)) end)
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
--- timeout: 20s
--- no_error_log
[error]
--- skip_eval
3: # memcheck keeps what is freed, and has memory of its own
$ENV{TEST_NGINX_USE_VALGRIND}



=== TEST 10: a listener to other events of LuaJIT's does not pass for one to traces
--- http_config
    init_by_lua_block {
        assert(not package.loaded["resty.ngxvar"])
        local bit = require "bit"
        local registry = debug.getregistry()
        local errfin = bit.lshift(0x12d93888, 3)    -- LuaJIT's own, since 2023
        registry._VMEVENTS = registry._VMEVENTS or {}
        registry._VMEVENTS[errfin] = registry._VMEVENTS[errfin] or function () end
        require "resty.ngxvar"
    }
--- config
    location = /t {
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            local traces = require "traces"
            local req = ngxvar.request()
            local fetch = ngxvar.fetch
            ngx.say("fetch: ", traces.of(function ()
                for i = 1, 1000 do fetch("uri", req) end
            end))
        }
    }
--- request
GET /t
--- response_body
fetch: loop
--- no_error_log
[error]



=== TEST 11: a getter is resolved although another's trace runs it
--- config
    location = /t {
        set $one 1;
        set $two 2;
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            local req = ngxvar.request()

            -- from the interpreter, so that the trace is the getter's own
            local function call(get, times)
                for _ = 1, times do
                    get(req)
                end
            end
            jit.off(call)

            local function is_resolved(get)
                for i = 1, 20 do
                    local name, value = debug.getupvalue(get, i)
                    if name == "is_resolved" then
                        return value
                    end
                end
            end

            for _, names in ipairs { { "one", "two" }, { "uri", "args" }, { "status", "msec" } } do
                call(ngxvar.getter(names[1]), 1000)
                local get = ngxvar.getter(names[2])
                call(get, 1000)
                ngx.say(names[2], ": ", is_resolved(get))
            end
        }
    }
--- request
GET /t?a=1
--- response_body
two: true
args: true
msec: true
--- no_error_log
[error]



=== TEST 12: the interpreter is never told that a trace is recorded
--- config
    location = /t {
        content_by_lua_block {
            require "resty.ngxvar"
            local is_recorded = require("resty.ngxvar.trace").is_recorded

            -- often enough for LuaJIT to make a trace of is_recorded(), if it could
            local function told()
                local times = 0
                for _ = 1, 1000 do
                    if is_recorded() then
                        times = times + 1
                    end
                end
                return times
            end
            jit.off(told)

            ngx.say(told(), " ", told())
        }
    }
--- request
GET /t
--- response_body
0 0
--- no_error_log
[error]
