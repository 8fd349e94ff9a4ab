# A handle or pointer of a request that ended stays refused when its address and its slot
# are another request's.  t/lib/reuse.lua tries every function with all that was kept, and
# counts how often a new request had the address.

use v5.36;
use lib 't/lib';

BEGIN {
    # By default valgrind does not hand out freed memory again, which this file needs.
    if (my $valgrind = $ENV{TEST_NGINX_USE_VALGRIND}) {
        my $options = $valgrind =~ /^\d+$/ ? '' : $valgrind;
        $ENV{TEST_NGINX_USE_VALGRIND} = "$options --freelist-vol=0";
    }
    # nor does AddressSanitizer
    $ENV{ASAN_OPTIONS} = 'quarantine_size_mb=0:thread_local_quarantine_size_kb=0';
}

use NgxVarTest;
use Test::Nginx::Socket::Lua 'no_plan';

add_block_preprocessor(sub ($block) {
    return if !defined $block->config;
    my $server = $block->reuse_server // '';
    $block->set_value(http_config => <<"END");
    lua_package_path "\$TEST_NGINX_LUA_DIR/?.lua;;";
    init_by_lua_block {
        client = require "client"
        reuse = require "reuse"
    }
    server {
        listen 127.0.0.1:\$TEST_NGINX_PORT1;
        listen 127.0.0.1:\$TEST_NGINX_PORT2 ssl http2;
        ssl_certificate     \$TEST_NGINX_CERT_DIR/test.crt;
        ssl_certificate_key \$TEST_NGINX_CERT_DIR/test.key;
        set \$own "";
        set \$family \$request_id;     # one id for the whole request
        log_by_lua_block { reuse.ended() }
        keepalive_requests 10000;

        location /one {
            content_by_lua_block {
                reuse.both()
                ngx.say("one")
            }
        }
        $server
    }
END
    $block->set_value(request => 'GET /t');
    $block->set_value(no_error_log => ['[error]']) if !defined $block->no_error_log;
});

repeat_each(2);
run_tests();

__DATA__

=== TEST 1: HTTP/1.1 requests on one connection refuse what was kept of earlier ones
--- config
    location = /t {
        content_by_lua_block {
            local c = client.connect{ port = $TEST_NGINX_PORT1 }
            for id = 1, 30 do
                c:request("/one/" .. id, { headers = { ["X-Secret"] = "secret " .. id } })
            end
            c:close()
            reuse.tell()
        }
    }
--- response_body
kept: 30
tried: yes
at an address in use again: yes
in a slot in use again: yes



=== TEST 2: HTTP/1.1 over TLS refuses what was kept of earlier requests and of the handshake
--- reuse_server
    ssl_certificate_by_lua_block { reuse.keep() }
--- config
    location = /t {
        content_by_lua_block {
            for i = 1, 5 do
                local c = client.connect{ port = $TEST_NGINX_PORT2, tls = true }
                for id = 1, 8 do
                    c:request("/one/" .. id)
                end
                c:close()
            end
            reuse.tell()
        }
    }
--- response_body
kept: 45
tried: yes
at an address in use again: yes
in a slot in use again: yes



=== TEST 3: HTTP/1.1 requests on separate connections refuse what was kept of earlier ones
--- config
    location = /t {
        content_by_lua_block {
            for id = 1, 25 do
                client.get("/one/" .. id, { port = $TEST_NGINX_PORT1 })
            end
            reuse.tell()
        }
    }
--- response_body
kept: 25
tried: yes
at an address in use again: yes
in a slot in use again: yes



=== TEST 4: pipelined requests refuse what was kept of earlier ones
--- config
    location = /t {
        content_by_lua_block {
            local c = client.connect{ port = $TEST_NGINX_PORT1 }
            local requests = {}
            for id = 1, 25 do
                requests[id] = client.request_text("/one/" .. id)
            end
            c:send(table.concat(requests))
            for id = 1, 25 do
                c:response()
            end
            c:close()
            reuse.tell()
        }
    }
--- response_body
kept: 25
tried: yes
at an address in use again: yes
in a slot in use again: yes



=== TEST 5: HTTP/2 streams one after another refuse what was kept of earlier ones
--- config
    location = /t {
        content_by_lua_block {
            local uris = {}
            for id = 1, 15 do uris[id] = "/one/" .. id end
            client.http2_in_turn(uris, { port = $TEST_NGINX_PORT2 })
            reuse.tell()
        }
    }
--- response_body
kept: 15
tried: yes
at an address in use again: yes
in a slot in use again: yes



=== TEST 6: HTTP/2 streams at once refuse what was kept of an earlier connection's
--- config
    location = /t {
        content_by_lua_block {
            local uris = {}
            for id = 1, 8 do
                uris[id] = "/one/" .. id
            end
            for _ = 1, 3 do
                client.http2(uris, { port = $TEST_NGINX_PORT2, tls = true })
            end
            reuse.tell()
        }
    }
--- response_body
kept: 24
tried: yes
at an address in use again: yes
in a slot in use again: yes



=== TEST 7: redirects and error pages leave a request's own handle valid
--- reuse_server
    location = /error {
        error_page 502 /one/after_error;
        rewrite_by_lua_block { reuse.both() }
        proxy_pass http://127.0.0.1:$TEST_NGINX_PORT3;
    }
    location = /exec {
        rewrite_by_lua_block { reuse.both() }
        content_by_lua_block { ngx.exec("/one/after_exec") }
    }
--- config
    location = /t {
        content_by_lua_block {
            local c = client.connect{ port = $TEST_NGINX_PORT1 }
            for i = 1, 12 do
                c:request("/error")
                c:request("/exec")
            end
            c:close()
            reuse.tell()
        }
    }
--- response_body
kept: 24
tried: yes
at an address in use again: yes
in a slot in use again: yes
--- no_error_log
[alert]



=== TEST 8: requests that only reach the log phase, or whose clients left, are refused later
--- reuse_server
    error_page 400 =200 /one/bad;
    location = /leave {
        content_by_lua_block {
            reuse.both()
            package.loaded.waits = true
            ngx.sleep(10)
        }
        lua_check_client_abort on;
        log_by_lua_block { reuse.ended() package.loaded.waits = false }
    }
--- config
    location = /t {
        content_by_lua_block {
            local function await(value)
                while package.loaded.waits ~= value do
                    ngx.sleep(0.001)
                end
            end

            for i = 1, 10 do
                local c = client.connect{ port = $TEST_NGINX_PORT1 }
                c:request("/one/" .. i)
                c:send("GET /bad HTTP/1.1\r\nHost: localhost\r\nbad header\r\n\r\n")
                c:response()
                c:close()

                c = client.connect{ port = $TEST_NGINX_PORT1 }
                c:send(client.request_text("/leave"))
                await(true)
                c:close()
                await(false)
            end
            reuse.tell()
        }
    }
--- response_body
kept: 30
tried: yes
at an address in use again: yes
in a slot in use again: yes



=== TEST 9: subrequests, which use their parent's pool, are refused later
--- reuse_server
    location = /parent {
        content_by_lua_block {
            reuse.both()
            -- one after another, and two at once
            local same_family = { share_all_vars = true }
            ngx.location.capture("/one/sub", same_family)
            ngx.location.capture_multi{ { "/one/sub", same_family }, { "/one/sub", same_family } }
            ngx.say("parent")
        }
    }
--- config
    location = /t {
        content_by_lua_block {
            local c = client.connect{ port = $TEST_NGINX_PORT1 }
            for i = 1, 8 do
                c:request("/parent")
            end
            c:close()
            reuse.tell()
        }
    }
--- response_body
kept: 32
tried: yes
at an address in use again: yes
in a slot in use again: yes



=== TEST 10: timers, which have fake requests, are refused later
--- config
    location = /t {
        content_by_lua_block {
            local ran = 0
            for i = 1, 25 do
                ngx.timer.at(0, function ()
                    reuse.try()
                    reuse.keep()
                    ran = ran + 1
                end)
                while ran < i do
                    ngx.sleep(0)
                end
            end
            reuse.tell()
        }
    }
--- response_body
kept: 25
tried: yes
at an address in use again: yes
in a slot in use again: yes



=== TEST 11: compiled loops refuse what was kept of earlier requests
--- reuse_server
    location /loop {
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            local get_uri = package.loaded.get_uri or ngxvar.getter("uri")
            package.loaded.get_uri = get_uri

            local handle = ngxvar.request()
            local first = package.loaded.first or handle
            local uri = ngx.var.uri
            local wrong, refused = 0, 0

            for i = 1, 300 do
                if get_uri(handle) ~= uri or ngxvar.fetch("uri", handle) ~= uri then
                    wrong = wrong + 1
                end

                if first ~= handle then
                    local by_getter, why = get_uri(first)
                    local by_fetch, why_not = ngxvar.fetch("uri", first)

                    if by_getter or by_fetch or why ~= "stale request" or why_not ~= why then
                        wrong = wrong + 1
                    else
                        refused = refused + 1
                    end
                end
            end

            package.loaded.first = first
            ngx.print(wrong, " ", refused)
        }
    }
--- config
    location = /t {
        content_by_lua_block {
            package.loaded.first = nil
            local c = client.connect{ port = $TEST_NGINX_PORT1 }
            for id = 1, 10 do
                ngx.say(c:request("/loop/" .. id).body)
            end
            c:close()
        }
    }
--- response_body eval
"0 0\n" . "0 300\n" x 9



=== TEST 12: a stale handle is refused while another live request has its address
--- reuse_server
    location = /keep { content_by_lua_block { handle = require("resty.ngxvar").request() pointer = require("resty.core.base").get_request() ngx.say("kept") } }
    location = /stay {
        content_by_lua_block {
            local ffi = require "ffi"
            local here = require("resty.core.base").get_request()
            ngx.say(ffi.cast("uintptr_t", here) == ffi.cast("uintptr_t", pointer))
            ngx.flush(true)
            stranger = require("resty.ngxvar").request()
            while not done do
                ngx.sleep(0.001)
            end
        }
    }
    location = /try {
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            local function say(what, value, why)
                ngx.say(what, ": ", tostring(value), ", ", tostring(why))
            end
            say("handle", ngxvar.fetch("uri", handle))
            say("getter", ngxvar.getter("uri")(handle))
            say("live", ngxvar.live(handle))
            say("pointer", ngxvar.fetch("uri", pointer))
            say("set", ngxvar.set("own", "x", pointer))
            say("live pointer", ngxvar.live(pointer))
            -- only its own handle is valid
            say("stranger", ngxvar.fetch("uri", stranger))
        }
    }
--- config
    location = /t {
        content_by_lua_block {
            local c, answer
            -- mostly at the first try
            for i = 1, 20 do
                done = false
                c = client.connect{ port = $TEST_NGINX_PORT1 }
                c:request("/keep")
                c:send(client.request_text("/stay"))
                -- the headers, a chunk's size, and the line
                local read = c.sock:receiveuntil("\r\n\r\n")
                read()
                c.sock:receive("*l")
                answer = c.sock:receive("*l")
                if answer == "true" then
                    break
                end
                done = true
                c:close()
            end
            ngx.say("in use again: ", answer)
            ngx.print(client.get("/try", { port = $TEST_NGINX_PORT1 }).body)
            done = true
            c:close()
        }
    }
--- response_body
in use again: true
handle: nil, stale request
getter: nil, stale request
live: false, stale request
pointer: nil, stale request
set: nil, stale request
live pointer: false, stale request
stranger: /stay, nil



=== TEST 13: the C functions read the request that is at the address now
--- reuse_server
    location /c {
        content_by_lua_block {
            local ffi = require "ffi"
            local here = require("resty.core.base").get_request()
            pcall(ffi.cdef, "int ngx_http_lua_var_ffi_uri(ngx_http_request_t *r, ngx_str_t *uri);")

            pointer = pointer or here
            local out = ffi.new("ngx_str_t[1]")
            local rc = ffi.C.ngx_http_lua_var_ffi_uri(pointer, out)
            local uri = ffi.string(out[0].data, out[0].len)

            if ffi.cast("uintptr_t", pointer) == ffi.cast("uintptr_t", here) then
                ngx.print(rc == 0 and uri == ngx.var.uri and "here" or "wrong")
            else
                ngx.print(rc == -1 and uri == "" and "refused" or "wrong")
            end
        }
    }
--- config
    location = /t {
        content_by_lua_block {
            local count = { here = 0, refused = 0, wrong = 0 }
            pointer = nil
            local c = client.connect{ port = $TEST_NGINX_PORT1 }
            for id = 1, 10 do
                local answer = c:request("/c/" .. id).body
                count[answer] = count[answer] + 1
            end
            -- a second connection has another address
            local other = client.connect{ port = $TEST_NGINX_PORT1 }
            for id = 11, 20 do
                local answer = other:request("/c/" .. id).body
                count[answer] = count[answer] + 1
            end
            other:close()
            c:close()
            ngx.say("wrong: ", count.wrong, ", in use again: ", count.here > 1)
        }
    }
--- response_body
wrong: 0, in use again: true
