# Finalizers where LuaJIT calls Lua back.
#
# A Lua function that listens to LuaJIT's events allocates, so that the collector runs in the
# middle of the event, and with it finalizers written in Lua.  When LuaJIT begins to record a
# trace, a finalizer that leaves a compiled trace replaces the parent of the new one, and the
# worker dies.  So the library listens to nothing.

use v5.36;
use lib 't/lib';
use NgxVarTest;
use Test::Nginx::Socket::Lua 'no_plan';

add_block_preprocessor(sub ($block) {
    $block->set_value(http_config => <<"EOC");
    init_by_lua_block {
        local before = {}

        for event, listener in pairs(debug.getregistry()._VMEVENTS or {}) do
            before[event] = listener
        end

        ngxvar = require "resty.ngxvar"

        -- what changed, as text
        function listeners()
            local now, changed = debug.getregistry()._VMEVENTS or {}, {}

            for event, listener in pairs(now) do
                if before[event] ~= listener then
                    changed[#changed + 1] = "event " .. tostring(event) .. ": " .. tostring(listener)
                end
            end

            for event in pairs(before) do
                if now[event] == nil then
                    changed[#changed + 1] = "event " .. tostring(event) .. ": gone"
                end
            end

            changed[#changed + 1] = debug.gethook() and "a hook"

            return #changed == 0 and "none" or table.concat(changed, ", ")
        end
    }
EOC
    return if defined $block->config;
    $block->set_value(config => <<"EOC");
    location = /t {
        content_by_lua_block {
            local ffi = require "ffi"
            local new = ffi.typeof("struct { int n; }")

            -- an object with a compiled finalizer, which is garbage at once
            local function leave_garbage(k)
                local finalizer = loadstring([[
                    local sum = 0
                    for i = 1, 100 do sum = sum + i end
                    return sum
                ]])

                finalizer()

                if k % 2 == 0 then
                    ffi.gc(new(), finalizer)
                else
                    getmetatable(newproxy(true)).__gc = finalizer
                end
            end

            -- each check of the collector is a whole cycle
            local step, pause = collectgarbage("setstepmul", 1e6), collectgarbage("setpause", 0)

            for k = 1, 20 do
                local loop = loadstring([[
                    local sum = 0
                    for i = 1, 300 do sum = sum + i end
                    return sum
                ]])

                collectgarbage()
                collectgarbage("stop")
                leave_garbage(k)
                collectgarbage("restart")

                local sum = loop()

                if sum ~= 45150 then
                    ngx.say("sum ", sum)
                end
            end

            collectgarbage("setstepmul", step)
            collectgarbage("setpause", pause)
            ngx.say("done, listeners: ", listeners())
        }
    }
EOC
    $block->set_value(request => [ ('GET /t') x 10 ]);
    $block->set_value(response_body => [ ("done, listeners: none\n") x 10 ]);
});

repeat_each(1);
no_long_string();
run_tests();

__DATA__

=== TEST 1: a finalizer may run when LuaJIT begins a trace
--- no_error_log
[error]



=== TEST 2: nothing of the library listens to LuaJIT's events
--- config
    location = /t {
        set $own "own";
        content_by_lua_block {
            local read = ngxvar.reader{ "uri", "status" }
            local get, set = ngxvar.getter("uri"), ngxvar.setter("own")

            for i = 1, 200 do
                local req = ngxvar.request()

                assert(ngxvar.fetch("uri") == "/t" and ngxvar.fetch("uri", req) == "/t")
                assert(get(req) == "/t" and set("x", req) and ngxvar.set("own", "y", req))
                assert(read(req) == "/t" and read:table(req).uri == "/t" and ngxvar.live(req))
            end

            ngxvar.ssl_ctx()
            ngxvar.stats()
            ngxvar.patch_ngx_var()
            ngxvar.enable_patch(true)
            ngx.say(listeners())
        }
    }
--- request
GET /t
--- response_body
none
--- no_error_log
[error]



=== TEST 3: a listener of somebody else's stays, and gets its events
--- config
    location = /t {
        content_by_lua_block {
            local count = 0
            local function listener() count = count + 1 end

            jit.attach(listener, "trace")

            local loop = loadstring([[
                local ngxvar = ngxvar
                for i = 1, 300 do ngxvar.fetch("uri") end
            ]])

            loop()
            jit.attach(listener)    -- detaches it
            ngx.say(count > 0, " ", listeners())
        }
    }
--- request
GET /t
--- response_body
true none
--- no_error_log
[error]
