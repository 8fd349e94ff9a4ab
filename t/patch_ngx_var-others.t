# patch_ngx_var() beside another library's patch of ngx.var, as Kong has one: called before,
# after, and both.  Values, errors and assignments are those of stock ngx.var, and the module
# serves what both could serve, in either order.

use v5.36;
use lib 't/lib';
use NgxVarTest;
use Test::Nginx::Socket::Lua 'no_plan';

my $OURS = 'require("resty.ngxvar").patch_ngx_var()';
my %ORDERS = (
    before => "$OURS other.patch()",
    after  => "other.patch() $OURS",
    twice  => "$OURS other.patch() $OURS",
    around => "other.patch() $OURS other.patch()",
);

# The section `order` has the calls; the content is the same in each block.
add_block_preprocessor(sub ($block) {
    my $order = $ORDERS{ $block->order } // die 'no such order';

    $block->set_value(http_config => <<"END" . ($block->http_config // ''));
    lua_package_path "\$TEST_NGINX_LUA_DIR/?.lua;;";
    map \$uri \$mapped { volatile; default "mapped \$arg_n"; }
    map \$uri \$cached { default "cached \$arg_n"; }
    init_by_lua_block {
        other = require "other_patch"
        stock = other.stock_index
        $order

        names = { "uri", "own", "host", "http_x", "http_none", "request_time", "mapped", "cached",
                  "args", "arg_n", "arg_none", "scheme", "status", "request_method", "unknown",
                  "URI", "Own", "", "connection", 1, 2, -1, "1" }

        function differences()
            for _, name in ipairs(names) do
                local value, is = stock(ngx.var, name), ngx.var[name]
                if not rawequal(value, is) then
                    ngx.say(tostring(name), ": ", tostring(is), " for ", tostring(value))
                end
            end
            local function fails(name) return ngx.var[name] end
            for _, name in ipairs { true, false, {}, print } do
                local ok, err = pcall(fails, name)
                local stock_ok, stock_err = pcall(stock, ngx.var, name)
                if ok ~= stock_ok or err:gsub("^.-:%d+: ", "") ~= stock_err:gsub("^.-:%d+: ", "") then
                    ngx.say(tostring(name), ": ", err, " for ", stock_err)
                end
            end
        end

        function assign()
            local var = ngx.var
            var.own = "first"
            ngx.say(var.own, " ", stock(var, "own"))
            var.own = 2
            ngx.say(var.own, " ", stock(var, "own"))
            var.own = nil
            ngx.say(var.own, " ", stock(var, "own"))
            var.second = "second"
            ngx.say(var.second, " ", stock(var, "second"))
            for _, name in ipairs { "uri", "unknown", "connection" } do
                ngx.say(name, " ", (pcall(function () var[name] = "x" end)))
            end
            var.of_another = "assigned"
            ngx.say(var.of_another)
            var.of_another = "only here"
        end
    }
END
    $block->set_value(config => <<'END');
    set $own "own";
    set $second "";
    add_header X-Cached $cached;     # so that it is an indexed variable
    location = /t {
        content_by_lua_block {
            -- the first access may be of any kind
            if ngx.var.arg_first == "write" then ngx.var.own = "own" end

            for round, set_mode in ipairs { jit.off, jit.on } do
                set_mode()
                for _ = 1, 100 do differences() end
                assign()
                ngx.var.own = "own"
            end

            -- it is cached as by stock ngx.var
            ngx.say(ngx.var.cached, ", ", ngx.var.mapped)
            ngx.req.set_uri_args("n=2&a=b")
            ngx.req.set_header("X", "changed")
            differences()
            ngx.say(ngx.var.cached, ", ", ngx.var.mapped, ", ", ngx.var.args, ", ", ngx.var.http_x)
            ngx.say(ngx.var.of_another, ", ", stock(ngx.var, "of_another"))

            -- which of both serves
            other.read, other.assigned, other.passed_on = {}, {}, {}
            jit.off() jit.flush()
            local t = { ngx.var.uri, ngx.var.own, ngx.var.host, ngx.var.http_x, ngx.var.scheme }
            ngx.var.own = "mine"
            ngx.say(next(other.read), " ", next(other.assigned), " ", next(other.passed_on))
            jit.on()
        }
    }
END
    $block->set_value(request => [ 'GET /t?n=1', 'GET /t?n=1&first=write', 'GET /t?n=1' ]);
    $block->set_value(more_headers => "X: x\nUser-Agent: test");
    my $assigned = <<'END';
first first
2 2
nil nil
second second
uri false
unknown false
connection false
assigned
END
    my $body = $assigned x 2 . <<'END';
cached 1, mapped 1
cached 1, mapped 2, n=2&a=b, changed
only here, nil
nil nil nil
END
    $block->set_value(response_body => [ ($body) x 3 ]);
    $block->set_value(no_error_log  => '[error]');
});

repeat_each(2);
run_tests();

__DATA__

=== TEST 1: a patch before the other one keeps both
--- order: before



=== TEST 2: a patch after the other one keeps both
--- order: after



=== TEST 3: a patch before and after the other one keeps both
--- order: twice



=== TEST 4: a patch between two of the other one keeps both
--- order: around
