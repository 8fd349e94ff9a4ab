# ssl_ctx(): what Lua left in a connection's TLS handshake, and never another connection's.
# A connection's address is used again, and so is a table that handshake Lua assigns to ngx.ctx
# more than once.

use v5.36;
use lib 't/lib';
use NgxVarTest;
use Test::Nginx::Socket::Lua 'no_plan';

# $TEST_NGINX_PORT1 speaks TLS and runs the block's `handshake`, $TEST_NGINX_PORT2 runs no Lua
# in the handshake.
add_block_preprocessor(sub ($block) {
    my $handshake = $block->handshake // return;
    my $listener = sub ($port, $lua) {
        return <<"END";
    server {
        listen 127.0.0.1:\$TEST_NGINX_PORT$port ssl http2;
        ssl_certificate     \$TEST_NGINX_CERT_DIR/test.crt;
        ssl_certificate_key \$TEST_NGINX_CERT_DIR/test.key;
        $lua
        location / { content_by_lua_block { ngx.say(left()) } }
        location = /assigned {
            content_by_lua_block {
                -- the first use makes a table, which has a reference before another is assigned
                ngx.ctx.used = true
                ngx.ctx = { name = "assigned" }
                ngx.say(left())
            }
        }
    }
END
    };
    $block->set_value(http_config => <<"END" . $listener->(1, $handshake) . $listener->(2, ''));
    lua_package_path "\$TEST_NGINX_LUA_DIR/?.lua;;";
    lua_var_ssl_ctx off;
    @{[ $block->http_config // '' ]}
    init_by_lua_block {
        client = require "client"
        -- a table that several handshakes use
        shared = { name = "shared" }

        -- what ssl_ctx() returns here, as text
        function left()
            local ctx = require("resty.ngxvar").ssl_ctx()
            return ctx and ctx.name .. " " .. tostring(ctx.n) or "nothing"
        end

        function connect(port, session)
            return client.connect{ port = port, tls = true, session = session }
        end

        -- Ends the connection, first on nginx's side, so that the next one gets its address.
        function finish(c)
            local body = c:request("/", { headers = { Connection = "close" } }).body
            c:await_close()
            c:close()
            return (body:gsub("\\n", ""))
        end

        -- How many connections find something that no Lua of theirs has left, out of ten that
        -- open(session) opens. Each gets the address of one that has just ended, while
        -- another one whose handshake assigned the same table is open.
        function foreign(open)
            local found = 0

            for _ = 1, 10 do
                local ended = connect(\$TEST_NGINX_PORT1)
                local open_one = connect(\$TEST_NGINX_PORT1)

                assert(finish(ended) == "shared nil")

                local c = open(open_one.session)

                if finish(c) ~= "nothing" then
                    found = found + 1
                end

                assert(finish(open_one) == "shared nil")
            end

            return found
        end
    }
END
    $block->set_value(request => 'GET /t');
    $block->set_value(no_error_log => '[error]');
});

repeat_each(2);
run_tests();

__DATA__

=== TEST 1: two connections whose handshakes assigned one table: the later one ends first
--- handshake
        ssl_certificate_by_lua_block { ngx.ctx = shared }
--- config
    location = /t {
        content_by_lua_block {
            local first = connect($TEST_NGINX_PORT1)
            local second = connect($TEST_NGINX_PORT1)

            ngx.print(first:request("/").body, second:request("/").body)
            ngx.say(finish(second))
            ngx.print(first:request("/").body)
            ngx.say(finish(first))
        }
    }
--- response_body
shared nil
shared nil
shared nil
shared nil
shared nil



=== TEST 2: the same, and the first one ends first
--- handshake
        ssl_certificate_by_lua_block { ngx.ctx = shared }
--- config
    location = /t {
        content_by_lua_block {
            local first = connect($TEST_NGINX_PORT1)
            local second = connect($TEST_NGINX_PORT1)

            ngx.say(finish(first))
            ngx.print(second:request("/").body)
            ngx.say(finish(second))
        }
    }
--- response_body
shared nil
shared nil
shared nil



=== TEST 3: a connection to a listener without Lua in the handshake finds nothing
--- handshake
        ssl_certificate_by_lua_block { ngx.ctx = shared }
--- config
    location = /t {
        content_by_lua_block {
            ngx.say(foreign(function () return connect($TEST_NGINX_PORT2) end))
        }
    }
--- response_body
0



=== TEST 4: a connection whose session is resumed without Lua finds nothing
--- handshake
        ssl_certificate_by_lua_block {
            runs = runs + 1
            ngx.ctx = shared
        }
        ssl_protocols TLSv1.2;
--- config
    location = /t {
        content_by_lua_block {
            runs = 0
            ngx.say(foreign(function (session) return connect($TEST_NGINX_PORT1, session) end))
            -- two of the three connections each time
            ngx.say(runs)
        }
    }
--- response_body
0
20



=== TEST 5: a connection whose handshake Lua leaves no ngx.ctx finds nothing
--- handshake
        ssl_certificate_by_lua_block { if not is_quiet then ngx.ctx = shared end }
--- config
    location = /t {
        content_by_lua_block {
            ngx.say(foreign(function ()
                is_quiet = true
                local c = connect($TEST_NGINX_PORT1)
                is_quiet = false
                return c
            end))
        }
    }
--- response_body
0



=== TEST 6: streams of HTTP/2 connections find what their own handshake left
--- handshake
        ssl_client_hello_by_lua_block {
            count = (count or 0) + 1
            ngx.ctx.name, ngx.ctx.n = "own", count
        }
--- config
    location = /t {
        content_by_lua_block {
            local uris = {}
            for i = 1, 10 do uris[i] = "/?" .. i end

            count = 0

            -- of an open connection whose number is another
            local other = connect($TEST_NGINX_PORT1)

            for n = 2, 5 do
                local want = { [("own %d\n"):format(n):rep(10)] = true }
                local bodies = client.http2(uris, { port = $TEST_NGINX_PORT1, tls = true })
                ngx.say(want[bodies] or bodies)
                bodies = client.http2(uris, { port = $TEST_NGINX_PORT2, tls = true })
                ngx.say(bodies == ("nothing\n"):rep(10) or bodies)
            end

            ngx.say(finish(other))
        }
    }
--- response_body eval
"true\n" x 8 . "own 1\n"



=== TEST 7: streams of an HTTP/2 connection without Lua in the handshake find nothing of another's table
--- handshake
        ssl_certificate_by_lua_block { ngx.ctx = shared }
--- config
    location = /t {
        content_by_lua_block {
            local uris = {}
            for i = 1, 10 do uris[i] = "/?" .. i end

            for _ = 1, 5 do
                local ended = connect($TEST_NGINX_PORT1)
                local ended_too = connect($TEST_NGINX_PORT1)
                local open = connect($TEST_NGINX_PORT1)

                finish(ended)
                finish(ended_too)

                local bodies = client.http2(uris, { port = $TEST_NGINX_PORT2, tls = true })
                ngx.say(bodies == ("nothing\n"):rep(10) or bodies)
                ngx.say(client.http2(uris, { port = $TEST_NGINX_PORT1, tls = true }) == ("shared nil\n"):rep(10))
                finish(open)
            end
        }
    }
--- response_body eval
"true\n" x 10



=== TEST 8: handshakes that assign a common table first, then one of their own
--- handshake
        ssl_certificate_by_lua_block {
            shared.n = (shared.n or 0) + 1
            ngx.ctx = shared
            ngx.ctx = { name = "own", n = shared.n }
        }
--- config
    location = /t {
        content_by_lua_block {
            local open = {}

            shared.n = 0

            for i = 1, 6 do
                open[i] = connect($TEST_NGINX_PORT1)
            end

            for _, i in ipairs{ 2, 4, 1 } do
                ngx.say(finish(open[i]))
            end

            for i = 7, 9 do
                open[i] = connect($TEST_NGINX_PORT1)
            end

            for _, i in ipairs{ 9, 3, 5, 6, 7, 8 } do
                ngx.say(finish(open[i]))
            end
        }
    }
--- response_body eval
CORE::join '', map { "own $_\n" } 2, 4, 1, 9, 3, 5 .. 8



=== TEST 9: a request whose ngx.ctx has the reference that an ended handshake had finds nothing
--- handshake
        ssl_certificate_by_lua_block { ngx.ctx = { name = "handshake" } }
--- config
    location = /t {
        content_by_lua_block {
            for _ = 1, 3 do
                ngx.say(finish(connect($TEST_NGINX_PORT1)))

                local c = connect($TEST_NGINX_PORT2)

                ngx.print(c:request("/assigned").body)
                c:close()
            end
        }
    }
--- response_body
handshake nil
nothing
handshake nil
nothing
handshake nil
nothing



=== TEST 10: what is known of a connection is forgotten when its reference is used again
--- handshake
        ssl_certificate_by_lua_block { ngx.ctx = { name = "handshake" } }
--- config
    location = /t {
        content_by_lua_block {
            local function upvalue(f, wanted)
                for n = 1, 60 do
                    local name, value = debug.getupvalue(f, n)
                    if name == wanted then return value end
                end
            end

            local function known()
                local core = upvalue(require("resty.ngxvar").ssl_ctx, "core")
                local n = 0
                for _ in pairs(upvalue(core.ssl_ctx, "ref_of")) do n = n + 1 end
                return n
            end

            finish(connect($TEST_NGINX_PORT1))
            local before = known()
            for _ = 1, 10 do finish(connect($TEST_NGINX_PORT1)) end
            ngx.say(before > 0, " ", known() - before)
        }
    }
--- response_body
true 0
