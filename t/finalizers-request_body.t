# A finalizer replaces the body of the request while it is read.
#
# The value of $request_body is nginx's buffer, and ngx.req.set_body_data frees the one that an
# earlier call has made.  The collector may run a finalizer that calls it before the string is
# made of the value.  The string has to be one of the two bodies then, as a whole.

use v5.36;
use lib 't/lib';

use NgxVarTest::Nginx ();

BEGIN {
    # memcheck sees reads of freed memory that happen to give the right bytes, as
    # AddressSanitizer does; it does not run in qemu-user
    my $is_there = grep { -x "$_/valgrind" } split /:/, $ENV{PATH};
    my $is_other = grep { $ENV{"TEST_NGINX_$_"} } qw(USE_HUP CHECK_LEAK USE_ASAN);
    $ENV{TEST_NGINX_USE_VALGRIND} ||= '--leak-check=no'
        if $is_there && !$is_other && !NgxVarTest::Nginx->is_emulated;
}

use NgxVarTest;
use Test::Nginx::Socket::Lua 'no_plan';

# Each way reads the body, where a finalizer is due at the first allocation, at the second, …
add_block_preprocessor(sub ($block) {
    my $jit = $block->jit;
    $block->set_value(http_config => <<"EOC");
    lua_package_path "\$TEST_NGINX_LUA_DIR/?.lua;;";
    init_by_lua_block { jit.$jit() }
EOC
    $block->set_value(config => <<'EOC');
    client_body_buffer_size 16k;
    location = /t {
        content_by_lua_block {
            local ffi = require "ffi"
            local ngxvar = require "resty.ngxvar"
            local new = ffi.typeof("int[1]")

            local mt = getmetatable(ngx.var)
            local stock, stock_new = mt.__index, mt.__newindex
            ngxvar.patch_ngx_var()
            local patched = mt.__index
            mt.__index, mt.__newindex = stock, stock_new

            ngx.req.read_body()

            local req = ngxvar.request()
            local get = ngxvar.getter("request_body")
            local read = ngxvar.reader{ "uri", "request_body", "host", "request_body" }
            local ways = {
                fetch = function () return ngxvar.fetch("request_body") end,
                handle = function () return ngxvar.fetch("request_body", req) end,
                upper = function () return ngxvar.fetch("REQUEST_BODY", req) end,
                getter = function () return get(req) end,
                ["ngx.var"] = function () return patched(ngx.var, "request_body") end,
                reader = function () return (select(2, read(req))) end,
                again = function () return (select(4, read(req))) end,
                table = function () return read:table(req).request_body end,
            }
            local sizes = { 10, 5000, 50000, 200000 }
            local bad, during = {}, 0

            for name, way in pairs(ways) do
                for _, size in ipairs(sizes) do
                    for allocations = 0, 6 do
                        local old, other = ("o"):rep(size), ("n"):rep(size + 1000)
                        -- the last of a chain of finalizers replaces the body
                        local left, is_replaced = allocations, false

                        local function finalize()
                            if left > 0 then
                                left = left - 1
                                ffi.gc(new(), finalize)
                            else
                                is_replaced = true
                                ngx.req.set_body_data(other)
                            end
                        end

                        ngx.req.set_body_data(old)
                        way()
                        collectgarbage()
                        collectgarbage("stop")
                        ffi.gc(new(), finalize)
                        collectgarbage("setpause", 0)
                        collectgarbage("setstepmul", 1e6)
                        collectgarbage("restart")

                        local body = way()

                        collectgarbage("setpause", 200)
                        collectgarbage("setstepmul", 200)
                        during = during + (is_replaced and 1 or 0)

                        while not is_replaced do
                            collectgarbage()
                        end

                        if body ~= old and body ~= other then
                            bad[#bad + 1] = name .. ", " .. size .. " bytes, after " .. allocations
                                            .. ": " .. #tostring(body)
                        end
                    end
                end
            end

            ngx.say(#bad == 0 and "right" or table.concat(bad, "\n"))
            ngx.say(during > 0)
        }
    }
EOC
    $block->set_value(request => "POST /t\nbody");
    $block->set_value(response_body => "right\ntrue\n");
    $block->set_value(no_error_log => '[error]');
    $block->set_value(timeout => '60s');
});

repeat_each(1);
no_long_string();
run_tests();

__DATA__

=== TEST 1: interpreted
--- jit: off



=== TEST 2: compiled
--- jit: on
