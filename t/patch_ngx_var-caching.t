# Patched ngx.var caches in the request what stock ngx.var caches, so that a later read gets
# the same value either way.  fetch caches nothing that it reads without nginx's handlers, and no
# header; another handler's value is cached as after any first read.

use lib 't/lib';
use NgxVarTest;
use Test::Nginx::Socket::Lua 'no_plan';

add_block_preprocessor(sub {
    my ($block) = @_;
    $block->set_value(http_config => <<'EOC' . ($block->http_config // ''));
    lua_package_path "$TEST_NGINX_LUA_DIR/?.lua;;";
    init_by_lua_block {
        ways = require "ways"

        -- reads a variable in the way that $arg_way names; "none" does not read
        function read(name)
            local way = stock_of[ngx.var.arg_way] or ways.ways[ngx.var.arg_way]
            if way then way(name, require("resty.ngxvar").request()) end
        end
        stock_of = { stock = ways.stock }
    }
EOC
    $block->set_value(no_error_log => '[error]');
});

repeat_each(2);
run_tests();

__DATA__

=== TEST 1: patched ngx.var caches an address that realip changes later, as stock does
--- http_config
    map $remote_addr $mapped { default "mapped $remote_addr"; }
    server_rewrite_by_lua_block { read("remote_addr") }
--- config
    location = /u {
        set_real_ip_from 127.0.0.1;
        real_ip_header X-Real-IP;
        content_by_lua_block { ngx.say(ngx.var.mapped, ", ", ngx.var.remote_addr) }
    }
--- request eval
[map { "GET /u?way=$_" } qw(stock patched fetch getter none)]
--- more_headers
X-Real-IP: 1.2.3.4
--- response_body eval
["mapped 127.0.0.1, 127.0.0.1\n", "mapped 127.0.0.1, 127.0.0.1\n",
 map { "mapped 1.2.3.4, 1.2.3.4\n" } 1 .. 3]



=== TEST 2: an upstream time that is read early is not cached
--- http_config
    log_format times "$arg_way: $upstream_response_time $upstream_header_time $upstream_connect_time";
    server {
        listen 127.0.0.1:$TEST_NGINX_PORT1;
        location / {
            content_by_lua_block {
                ngx.header["Content-Length"] = 5
                ngx.print("a")
                ngx.flush(true)
                ngx.sleep(0.03)
                ngx.print("bcde")
            }
        }
    }
--- config
    location = /u {
        access_log $TEST_NGINX_SERVROOT/logs/times.log times;
        proxy_pass http://127.0.0.1:$TEST_NGINX_PORT1;
        header_filter_by_lua_block { read("upstream_response_time") }
    }
    location = /t {
        access_log off;
        content_by_lua_block {
            local path = "$TEST_NGINX_SERVROOT/logs/times.log"
            local ways = { "stock", "patched", "fetch", "getter", "none" }
            local before = io.open(path) or io.open("/dev/null")
            local at = before:seek("end")
            before:close()

            for _, way in ipairs(ways) do
                require("client").get("/u?way=" .. way, { version = "1.0" })
            end

            local text
            repeat
                ngx.sleep(0.005)
                local file = assert(io.open(path))
                file:seek("set", at)
                text = file:read("*a")
                file:close()
            until select(2, text:gsub("\n", "\n")) == #ways

            for _, way in ipairs(ways) do
                local ms = text:match(way .. ": 0%.(%d+)")
                ngx.say(way, ": ", tonumber(ms) >= 20 and "all of it" or "until the header")
            end
        }
    }
--- request
GET /t
--- response_body
stock: all of it
patched: all of it
fetch: all of it
getter: all of it
none: all of it



=== TEST 3: $host is read anew after Lua changed the Host header
--- http_config
    map $host $mapped { default "mapped $host"; }
--- config
    location = /u {
        content_by_lua_block {
            read("host")
            ngx.req.set_header("Host", "another.host.test")
            ngx.say(ngx.var.mapped)
        }
    }
--- request eval
[map { "GET /u?way=$_" } qw(stock patched fetch getter none)]
--- more_headers
Host: first.test
--- response_body eval
[("mapped another.host.test\n") x 5]



=== TEST 4: patched ngx.var caches headers that nginx defines by name, no other headers, and no cookies
--- http_config
    map "$http_x $cookie_a $http_user_agent $http_via" $mapped { default "$http_x $cookie_a $http_user_agent $http_via"; }
--- config
    location = /u {
        content_by_lua_block {
            for name in ("http_x cookie_a http_user_agent http_via"):gmatch("%S+") do read(name) end
            ngx.req.set_header("X", "2")
            ngx.req.set_header("Cookie", "a=2")
            ngx.req.set_header("User-Agent", "2")
            ngx.req.set_header("Via", "2")
            ngx.say(ngx.var.mapped)
        }
    }
--- request eval
[map { "GET /u?way=$_" } qw(stock patched fetch getter none)]
--- more_headers
X: 1
Cookie: a=1
User-Agent: 1
Via: 1
--- response_body eval
[map({ "2 2 1 1\n" } 1 .. 2), map({ "2 2 2 2\n" } 1 .. 3)]



=== TEST 5: reading a map caches what it uses, whoever reads it
--- http_config
    map $http_x $inner { default "inner $http_x"; }
    map $http_x $fresh { volatile; default "fresh $http_x"; }
    map $http_y $outer { default "$inner, $fresh, $http_x"; }
--- config
    location = /u {
        content_by_lua_block {
            read("inner")
            read("fresh")
            ngx.req.set_header("X", "changed")
            ngx.say(ngx.var.outer)
        }
    }
--- request eval
[map { "GET /u?way=$_" } qw(stock patched none)]
--- more_headers
X: first
--- response_body eval
[map({ "inner first, fresh first, first\n" } 1 .. 2), "inner changed, fresh changed, changed\n"]



=== TEST 6: each variable of nginx's core is cached as stock does when the request changes
--- http_config
    map "$request_method$uri$args$request_filename$document_root$host$scheme$https$is_args" $a { default ""; }
    map "$server_name$server_addr$server_port$server_protocol$remote_addr$remote_port$content_length" $b { default ""; }
    map "$content_type$request_uri$query_string$document_uri$connection$connection_requests$nginx_version" $c { default ""; }
    map "$hostname$pid$http_host$http_user_agent$http_referer$http_cookie$http_x_forwarded_for" $d { default ""; }
    map "$sent_http_content_type$limit_rate$binary_remote_addr$remote_user$request_body$status$msec$pipe" $e { default ""; }
--- config
    location = /u {
        set $seen "";
        content_by_lua_block {
            local names = "request_method uri args request_filename document_root host scheme https is_args "
                .. "server_name server_addr server_port server_protocol remote_addr remote_port content_length "
                .. "content_type request_uri query_string document_uri connection connection_requests nginx_version "
                .. "hostname http_host http_user_agent http_referer http_cookie http_x_forwarded_for "
                .. "sent_http_content_type limit_rate binary_remote_addr remote_user request_body status pipe"
            ngx.req.read_body()

            local function all(reader)
                for name in names:gmatch("%S+") do reader(name) end
            end

            all(read)
            ngx.req.set_method(ngx.HTTP_PUT)
            ngx.req.set_uri("/changed")
            ngx.req.set_uri_args("changed=1")
            for _, name in ipairs { "Host", "User-Agent", "Referer", "Cookie", "X-Forwarded-For",
                                    "Content-Type", "Authorization" }
            do
                ngx.req.set_header(name, name == "Authorization" and "Basic Yzpk" or "changed.test")
            end
            ngx.req.set_body_data("changed body")
            ngx.var.limit_rate = 12345
            ngx.header["Content-Type"] = "changed/type"
            ngx.status = 201
            ngx.send_headers()
            all(function (name) ngx.say(name, ": ", (ways.stock(name))) end)
        }
    }
    location = /t {
        content_by_lua_block {
            local function ask(way)
                local response = require("client").get("/u?way=" .. way, {
                    method = "POST", version = "1.0", body = "first",
                    headers = {
                        Host = "first.test", Cookie = "a=1", Referer = "first", ["User-Agent"] = "first",
                        ["X-Forwarded-For"] = "1.1.1.1", Authorization = "Basic YTpi", ["Content-Type"] = "a/b",
                    },
                })
                local lines = {}
                for name, value in response.body:gmatch("([%l_]+): ([^\n]*)") do
                    lines[#lines + 1] = { name, value }
                end
                return lines
            end
            local same = { remote_port = true, connection = true }
            local by_handler = {}
            for name in ("content_length remote_user request_body"):gmatch("%S+") do
                by_handler[name] = true
            end

            -- expects both to agree, except for variables of handlers if `but` is true
            local function compare(one, other, but)
                local a, b = ask(one), ask(other)
                if #a == 0 or #a ~= #b then ngx.say(#a, " and ", #b, " lines") end
                for i = 1, #a do
                    -- the arguments have the way, and connections differ
                    local x, y = a[i][2]:gsub("way=%l+", "way"), b[i][2]:gsub("way=%l+", "way")
                    if x ~= y and not same[a[i][1]] and not (but and by_handler[a[i][1]]) then
                        ngx.say(a[i][1], ": ", one, " ", x, ", ", other, " ", y)
                    end
                end
            end

            compare("stock", "patched")
            compare("none", "fetch", true)
            compare("none", "getter", true)
            ngx.say("compared")
        }
    }
--- request
GET /t
--- response_body
compared



=== TEST 7: a no-cacheable variable that has an index is read anew after the request changed
--- config
    # gives them indices
    set $used "$uri $args";
    location = /u {
        content_by_lua_block {
            read("uri")
            read("args")
            ngx.req.set_uri("/changed")
            ngx.req.set_uri_args("b=2")
            ngx.say(ngx.var.uri, " ", ngx.var.args)
        }
    }
--- request eval
[map { "GET /u?way=$_" } qw(stock patched fetch getter none)]
--- response_body eval
[("/changed b=2\n") x 5]
