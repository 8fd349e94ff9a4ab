# The built-in prefixes: cookies, arguments and headers (src/variable/read.rs). Each is read in all
# ways, which have to agree with ngx.var, and its value is printed.

use lib 't/lib';
use NgxVarTest;
use Test::Nginx::Socket::Lua 'no_plan';

add_block_preprocessor(sub {
    my ($block) = @_;
    $block->set_value(http_config => ($block->http_config // '') . <<'EOC');
    init_by_lua_block {
        local ngxvar = require "resty.ngxvar"
        local getters = setmetatable({}, { __index = function (self, name)
            local get = ngxvar.getter(name)
            self[name] = get
            return get
        end })

        -- "name: value", and which ways disagree with ngx.var; read twice, because the
        -- second read uses what the first has looked up
        function show(name)
            local want, handle = ngx.var[name], ngxvar.request()
            local text = { name, ": ", tostring(want) }

            for _ = 1, 2 do for way, value in pairs({
                fetch = ngxvar.fetch(name, handle) or "nil",
                current = ngxvar.fetch(name) or "nil",
                upper = ngxvar.fetch(name:upper(), handle) or "nil",
                mixed = ngxvar.fetch((name:gsub("_.*", string.upper)), handle) or "nil",
                getter = getters[name](handle) or "nil",
            }) do
                if value ~= (want or "nil") then
                    text[#text + 1] = "; " .. way .. ": " .. tostring(value)
                end
            end end

            return table.concat(text)
        end

        function show_all(names)
            for name in names:gmatch("%S+") do
                ngx.say(show(name))
            end
        end
    }
EOC
});

repeat_each(2);
run_tests();

__DATA__

=== TEST 1: cookies are found as nginx finds them
--- config
    location = /t {
        content_by_lua_block {
            show_all("cookie_a cookie_b cookie_c cookie_d cookie_e cookie_empty cookie_spaced cookie_last cookie_las cookie_")
        }
    }
--- request
GET /t
--- more_headers
Cookie: a=1; b="two words";c=3=3; A=4;d; e=5; empty=; spaced =  six ; last=7
--- response_body
cookie_a: 1
cookie_b: "two words"
cookie_c: 3=3
cookie_d: nil
cookie_e: 5
cookie_empty: 
cookie_spaced: six 
cookie_last: 7
cookie_las: nil
cookie_: nil



=== TEST 2: a cookie without a value hides its namesake after it, as it does for nginx
--- config
    location = /t {
        content_by_lua_block { show_all("cookie_a cookie_b cookie_c cookie_d") }
    }
--- request
GET /t
--- more_headers
Cookie: a;a=1;b ;b=2; c =3; ab; b=4; d; x; d=5
--- response_body
cookie_a: nil
cookie_b: 4
cookie_c: 3
cookie_d: 5



=== TEST 3: cookies with commas are read as this version of nginx reads them
--- config
    location = /t {
        content_by_lua_block {
            for name in ("cookie_a cookie_b cookie_c cookie_d"):gmatch("%S+") do
                local shown = show(name)
                ngx.say(shown:find("; %a+: ") and shown or name .. ": equal")
            end
        }
    }
--- request
GET /t
--- more_headers
Cookie: a=1,b=2; c=3, d=4; b=5
--- response_body
cookie_a: equal
cookie_b: equal
cookie_c: equal
cookie_d: equal



=== TEST 4: every Cookie header is searched
--- config
    location = /t {
        content_by_lua_block { show_all("cookie_a cookie_b cookie_c cookie_d cookie_long_name") }
    }
--- request
GET /t
--- more_headers
Cookie: a=1
Cookie: b=2; a=3
Cookie: 
Cookie: c=4
--- response_body
cookie_a: 1
cookie_b: 2
cookie_c: 4
cookie_d: nil
cookie_long_name: nil



=== TEST 5: cookies follow what Lua changes
--- config
    location = /t {
        content_by_lua_block {
            ngx.say(show("cookie_a"))
            ngx.req.set_header("Cookie", "a=2; b=3")
            show_all("cookie_a cookie_b")
            ngx.req.set_header("Cookie", { "b=4", "a=5" })
            show_all("cookie_a cookie_b")
            ngx.req.clear_header("Cookie")
            show_all("cookie_a cookie_b")
        }
    }
--- request
GET /t
--- more_headers
Cookie: a=1
--- response_body
cookie_a: 1
cookie_a: 2
cookie_b: 3
cookie_a: 5
cookie_b: 4
cookie_a: nil
cookie_b: nil



=== TEST 6: response headers are read as they are added, changed and removed
--- config
    location = /t {
        content_by_lua_block {
            local header = ngx.header
            local names = "sent_http_x_one sent_http_x_two sent_http_x_on sent_http_"

            local lines = { }
            local function look()
                for name in names:gmatch("%S+") do
                    lines[#lines + 1] = show(name)
                end
            end

            look()
            header["X-One"] = "1"
            header["X_TWO"] = "2"
            look()
            header["X-One"] = "one"
            header["X_TWO"] = nil
            look()
            ngx.print(table.concat(lines, "\n"), "\n")
        }
    }
--- request
GET /t
--- response_body
sent_http_x_one: nil
sent_http_x_two: nil
sent_http_x_on: nil
sent_http_: nil
sent_http_x_one: 1
sent_http_x_two: 2
sent_http_x_on: nil
sent_http_: nil
sent_http_x_one: one
sent_http_x_two: nil
sent_http_x_on: nil
sent_http_: nil



=== TEST 7: repeated headers are read as this version of nginx reads them
--- config
    location = /up {
        content_by_lua_block { ngx.header["X-Up"] = { "1", "2" } ngx.say("up") }
    }
    location = /t {
        proxy_pass http://127.0.0.1:$TEST_NGINX_SERVER_PORT/up;
        header_filter_by_lua_block {
            ngx.header["X-Sent"] = { "3", "4" }
            local bad = ""
            for name in ("http_x_more sent_http_x_sent upstream_http_x_up"):gmatch("%S+") do
                local shown = show(name)
                bad = bad .. (shown:find("; %a+: ") and shown or "")
                      .. (ngx.var[name] or "unset"):sub(1, 1)
            end
            ngx.header["X-Shown"] = bad
        }
    }
--- request
GET /t
--- more_headers
X-More: 5
X-More: 6
--- response_headers
X-Shown: 531



=== TEST 8: upstream headers are those of the upstream that was asked last
--- config
    location = /first { add_header X-Up first; add_header X-Only first; return 503 "first"; }
    location = /second { add_header X-Up second; return 200 "second"; }
    location = /t {
        access_by_lua_block { ngx.ctx.seen = show("upstream_http_x_up") }
        proxy_pass http://127.0.0.1:$TEST_NGINX_SERVER_PORT/first;
        proxy_intercept_errors on;
        error_page 503 = /again;
        add_header X-Never 1;
    }
    location = /again {
        proxy_pass http://127.0.0.1:$TEST_NGINX_SERVER_PORT/second;
        access_by_lua_block { ngx.ctx.before = show("upstream_http_x_up") }
        header_filter_by_lua_block {
            ngx.header["X-Seen"] = table.concat({
                ngx.ctx.seen, ngx.ctx.before, show("upstream_http_x_up"),
                show("upstream_http_x_only"), show("upstream_http_"),
                show("upstream_http_content_length"),
            }, " | ")
        }
    }
--- request
GET /t
--- response_headers
X-Seen: upstream_http_x_up: nil | upstream_http_x_up: nil | upstream_http_x_up: second | upstream_http_x_only: nil | upstream_http_: nil | upstream_http_content_length: 6
--- response_body chomp
second



=== TEST 9: headers that nginx keeps pointers to are read through changes by Lua
# $http_host is read again and again; the others are in nginx's own log format, so
# that it keeps their first values.
--- config
    location = /t {
        content_by_lua_block {
            local names = "http_host http_user_agent http_referer"

            ngx.say(show("http_host"))
            if ngx.var.arg_do == "set" then
                ngx.req.set_header("User-Agent", "other")
                ngx.req.set_header("Host", "other.test")
                ngx.req.set_header("Referer", "there")
            elseif ngx.var.arg_do == "clear" then
                ngx.req.clear_header("User-Agent")
                ngx.req.clear_header("Referer")
                ngx.req.clear_header("Host")
            end
            show_all(names)
        }
    }
--- request eval
["GET /t", "GET /t?do=set", "GET /t?do=clear"]
--- more_headers
User-Agent: test
Host: first.test
--- response_body eval
["http_host: first.test
http_host: first.test
http_user_agent: test
http_referer: nil
", "http_host: first.test
http_host: other.test
http_user_agent: other
http_referer: there
", "http_host: first.test
http_host: nil
http_user_agent: nil
http_referer: nil
"]



=== TEST 10: prefixed variables that the configuration uses are read
--- http_config
    log_format uses '$cookie_a $arg_a $http_x_a $sent_http_x_a $upstream_http_x_a';
--- config
    location = /t {
        set $all "$cookie_b $arg_b $http_x_b $sent_http_x_b $http_user_agent $http_host";
        content_by_lua_block {
            local names = "cookie_a cookie_b arg_a arg_b http_x_a http_x_b http_user_agent http_host"

            show_all(names)
            ngx.req.set_header("Cookie", "b=3; a=4")
            ngx.req.set_header("X-A", "5")
            ngx.req.set_header("X-B", "6")
            ngx.req.set_uri_args("b=7&a=8")
            ngx.req.set_header("User-Agent", "other")
            ngx.req.set_header("Host", "other.test")
            show_all(names)
        }
    }
--- request
GET /t?a=1&b=2
--- more_headers
User-Agent: test
Host: first.test
Cookie: a=1; b=2
X-A: 1
X-B: 2
--- response_body
cookie_a: 1
cookie_b: 2
arg_a: 1
arg_b: 2
http_x_a: 1
http_x_b: 2
http_user_agent: test
http_host: first.test
cookie_a: 4
cookie_b: 3
arg_a: 8
arg_b: 7
http_x_a: 5
http_x_b: 6
http_user_agent: test
http_host: first.test
