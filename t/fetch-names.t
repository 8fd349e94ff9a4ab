# fetch(name): which names there are, and the errors for others.

use lib 't/lib';
use NgxVarTest;
use Test::Nginx::Socket::Lua 'no_plan';

repeat_each(2);
run_tests();

__DATA__

=== TEST 1: http_, arg_, cookie_ and sent_http_ read headers, arguments and cookies
--- config
    location = /t {
        content_by_lua_block {
            local fetch = require("resty.ngxvar").fetch
            ngx.header["X-Sent"] = "sent value"
            for _, name in ipairs { "http_x_one", "http_x_two", "http_user_agent",
                                    "http_cookie", "arg_a", "arg_empty", "arg_none",
                                    "arg_b-c", "cookie_first", "cookie_second",
                                    "cookie_none", "sent_http_x_sent",
                                    "sent_http_x_none", "sent_http_content_type" }
            do
                local value = fetch(name)
                ngx.say(name, ": ", tostring(value), value == ngx.var[name]
                            and "" or " but ngx.var says " .. tostring(ngx.var[name]))
            end
        }
    }
--- request
GET /t?a=1%202&A=3&empty=&b-c=4
--- more_headers
X-One: one
User-Agent: tester
Cookie: first=1; second="two words"
--- response_body
http_x_one: one
http_x_two: nil
http_user_agent: tester
http_cookie: first=1; second="two words"
arg_a: 1%202
arg_empty: 
arg_none: nil
arg_b-c: 4
cookie_first: 1
cookie_second: "two words"
cookie_none: nil
sent_http_x_sent: sent value
sent_http_x_none: nil
sent_http_content_type: text/plain
--- no_error_log
[error]



=== TEST 2: upstream_http_, upstream_cookie_, upstream_trailer_ and sent_trailer_ read the upstream's
--- http_config
    server {
        listen 127.0.0.1:$TEST_NGINX_PORT1;
        location / {
            add_header X-Up "from upstream";
            add_header Set-Cookie "up=cookie value; path=/";
            return 200 "upstream\n";
        }
    }
--- config
    location = /t {
        proxy_pass http://127.0.0.1:$TEST_NGINX_PORT1;
        header_filter_by_lua_block {
            local fetch = require("resty.ngxvar").fetch
            local seen = {}
            for i, name in ipairs { "upstream_http_x_up", "upstream_http_none",
                                    "upstream_cookie_up", "upstream_trailer_x",
                                    "sent_trailer_x", "upstream_status" }
            do
                seen[i] = tostring(fetch(name))
                assert(fetch(name) == ngx.var[name], name)
            end
            ngx.header["X-Seen"] = table.concat(seen, "|")
        }
    }
--- request
GET /t
--- response_headers
X-Seen: from upstream|nil|cookie value|nil|nil|200
--- no_error_log
[error]



=== TEST 3: unset and unknown variables are nil, empty ones empty
--- config
    location = /t {
        set $empty "";
        if ($arg_never) { set $unset "x"; }
        content_by_lua_block {
            local fetch = require("resty.ngxvar").fetch
            for _, name in ipairs { "empty", "unset", "unknown", "", "remote_user",
                                    "http_", "arg_", "cookie_", "upstream_http_",
                                    "sent_http_", "a b", "$uri", "uri\0", "uri ",
                                    "args\0x", ("x"):rep(5000), "args" }
            do
                ngx.say(name:sub(1, 20):gsub("%z", "\\0") .. ": ",
                        tostring(fetch(name)), " ", select("#", fetch(name)), " ",
                        fetch(name) == ngx.var[name])
            end
        }
    }
--- request
GET /t
--- response_body
empty:  1 true
unset:  1 true
unknown: nil 1 true
: nil 1 true
remote_user: nil 1 true
http_: nil 1 true
arg_: nil 1 true
cookie_: nil 1 true
upstream_http_: nil 1 true
sent_http_: nil 1 true
a b: nil 1 true
$uri: nil 1 true
uri\0: nil 1 true
uri : nil 1 true
args\0x: nil 1 true
xxxxxxxxxxxxxxxxxxxx: nil 1 true
args: nil 1 true
--- no_error_log
[alert]



=== TEST 4: numbers read captures
--- config
    location ~ "^/(t)(/opt)?/(?<last>.+)$" {
        content_by_lua_block {
            local fetch = require("resty.ngxvar").fetch
            for _, n in ipairs { 1, 2, 3, 4, 0, -1, 1.9, 100, -1e9, 2^31 - 1 } do
                ngx.say(n, ": ", tostring(fetch(n)), " ", select("#", fetch(n)), " ",
                        fetch(n) == ngx.var[n])
            end
            -- numbers that are no int: ngx.var's conversion of them is undefined
            for _, n in ipairs { 1e300, -1e300, 0/0, 1/0, -1/0, 2^40, 2^62, 2^63 } do
                assert(fetch(n) == nil, n)
            end
            ngx.say("last: ", fetch("last"), " ", tostring(fetch("1")), " ",
                    fetch("1") == ngx.var["1"])
        }
    }
--- request
GET /t/a%20b
--- response_body
1: t 1 true
2:  1 true
3: a b 1 true
4: nil 1 true
0: nil 1 true
-1: nil 1 true
1.9: t 1 true
100: nil 1 true
-1000000000: nil 1 true
2147483647: nil 1 true
last: a b nil true
--- no_error_log
[error]



=== TEST 5: captures are those of the last regular expression, or nil
--- config
    location = /t {
        access_by_lua_block {
            local fetch = require("resty.ngxvar").fetch
            ngx.ctx.seen = tostring(fetch(1))
        }
        rewrite ^/nothing - break;
        content_by_lua_block { ngx.say(ngx.ctx.seen) }
    }
    location = /u {
        if ($arg_a ~ "^(.)(.)") { set $unused 1; }
        if ($arg_b ~ "^.(.)") { set $unused 1; }
        content_by_lua_block {
            local fetch = require("resty.ngxvar").fetch
            ngx.say(tostring(fetch(1)), " ", tostring(fetch(2)), " ",
                    fetch(1) == ngx.var[1], " ", fetch(2) == ngx.var[2])
        }
    }
--- request eval
["GET /t", "GET /u?a=12&b=34"]
--- response_body eval
["nil\n", "4 nil true true\n"]
--- no_error_log
[error]



=== TEST 6: names are matched without regard to case
--- config
    location = /t {
        set $Mixed "mixed";
        content_by_lua_block {
            local fetch = require("resty.ngxvar").fetch
            for _, name in ipairs { "URI", "Request_Method", "HTTP_X_ONE", "ARG_a",
                                    "Mixed", "mixed", "STATUS", "REQUEST_LENGTH",
                                    "http_" .. ("X"):rep(300) }
            do
                local value = fetch(name)
                ngx.say(name:sub(1, 20), ": ", type(value), " ",
                        tostring(value) == ngx.var[name] or
                        value == tonumber(ngx.var[name]))
            end
        }
    }
--- request
GET /t?a=2
--- more_headers eval
"X-One: one\n" . 'X' x 300 . ": long"
--- response_body
URI: string true
Request_Method: string true
HTTP_X_ONE: string true
ARG_a: string true
Mixed: string true
mixed: string true
STATUS: number true
REQUEST_LENGTH: number true
http_XXXXXXXXXXXXXXX: string true
--- no_error_log
[error]



=== TEST 7: a name that is no string or number raises the error of ngx.var
--- config
    location = /t {
        content_by_lua_block {
            local fetch = require("resty.ngxvar").fetch
            local ffi = require "ffi"

            local function sentence(f, ...)
                local ok, err = pcall(f, ...)
                return tostring(ok) .. " " .. err:gsub("^.*:%d+: ", "")
            end

            local function by_var(name)
                local value = ngx.var[name]
                return value
            end

            -- the text of ngx.var, and then more
            local function begins(text, with) return text:sub(1, #with + 1) == with .. ":" end

            for _, name in ipairs { true, false, {}, print, ngx.null,
                                    coroutine.create(function () end), 1LL,
                                    ffi.new("char[4]", "uri") }
            do
                ngx.say(type(name), ": ", sentence(fetch, name), ", ",
                        begins(sentence(fetch, name), sentence(by_var, name)))
            end
            ngx.say("nil: ", sentence(fetch, nil), ", ",
                    begins(sentence(fetch, nil), sentence(by_var, nil)))
            ngx.say("none: ", sentence(fetch))
        }
    }
--- request
GET /t
--- response_body
boolean: false bad variable name: expected string or number, got boolean: call ngxvar.fetch(name, req), true
boolean: false bad variable name: expected string or number, got boolean: call ngxvar.fetch(name, req), true
table: false bad variable name: expected string or number, got table: call ngxvar.fetch(name, req), true
function: false bad variable name: expected string or number, got function: call ngxvar.fetch(name, req), true
userdata: false bad variable name: expected string or number, got userdata: call ngxvar.fetch(name, req), true
thread: false bad variable name: expected string or number, got thread: call ngxvar.fetch(name, req), true
cdata: false bad variable name: expected string or number, got cdata: call ngxvar.fetch(name, req), true
cdata: false bad variable name: expected string or number, got cdata: call ngxvar.fetch(name, req), true
nil: false bad variable name: expected string or number, got nil: call ngxvar.fetch(name, req), true
none: false bad variable name: expected string or number, got no value: call ngxvar.fetch(name, req)
--- no_error_log
[error]



=== TEST 8: the error about a name points at the caller's line
--- config
    location = /t {
        content_by_lua_file html/t.lua;
    }
--- user_files
>>> t.lua
local fetch = require("resty.ngxvar").fetch
local ok, err = pcall(function ()
    fetch({})
end)
ngx.say(err:match("t%.lua:%d+: .*"))
--- request
GET /t
--- response_body
t.lua:3: bad variable name: expected string or number, got table: call ngxvar.fetch(name, req)
--- no_error_log
[error]



=== TEST 9: the string metatable has no influence on names
--- config
    location = /t {
        content_by_lua_block {
            -- Lua may change the metatable of strings
            local mt = getmetatable("")
            local index = mt.__index
            mt.__index = function () error("touched") end
            local ok, value = pcall(require("resty.ngxvar").fetch, "uri")
            mt.__index = index
            ngx.say(ok, " ", value)
        }
    }
--- request
GET /t
--- response_body
true /t
--- no_error_log
[error]



=== TEST 10: variables of third-party modules are read
--- main_config eval
"load_module " . NgxVarTest::Nginx->file("ngx_http_brotli_filter_module") . ";"
--- config
    brotli on;
    brotli_min_length 1;
    brotli_types *;
    location = /t {
        return 200 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
        log_by_lua_block {
            local fetch = require("resty.ngxvar").fetch
            ngx.log(ngx.NOTICE, "ratio: ", fetch("brotli_ratio"), " ",
                    fetch("brotli_ratio") == ngx.var.brotli_ratio)
        }
    }
--- request
GET /t
--- more_headers
Accept-Encoding: br
--- ignore_response_body
--- log_level: notice
--- wait: 0.02
--- error_log eval
qr/ratio: \d+\.\d+ true/
--- skip_eval
3: # this nginx has no brotli
!-e NgxVarTest::Nginx->file('ngx_http_brotli_filter_module')



=== TEST 11: an argument cannot have "&" in its name
--- config
    location = /t {
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            local req = ngxvar.request()
            -- ngx.var of this name would kill the worker: nginx's ngx_http_arg takes
            -- the end of the name for the end of the value, and gets a length below 0
            local name = "arg_b&a"
            ngx.say(tostring(ngxvar.fetch(name)), " ", tostring(ngxvar.fetch(name, req)), " ",
                    tostring(ngxvar.getter(name)(req)))
        }
    }
--- request
GET /t?b&a=2
--- response_body
nil nil nil
--- no_error_log
[error]



=== TEST 12: long names with the same beginning and end are different variables
--- config
    location = /t {
        set $beginning_one_the_ending "one";
        set $beginning_two_the_ending "two";
        content_by_lua_block {
            local fetch = require("resty.ngxvar").fetch

            for _, part in ipairs { "one", "two", "six" } do
                local name = "beginning_" .. part .. "_the_ending"
                ngx.say(part, ": ", tostring(fetch(name)))
            end
        }
    }
--- request
GET /t
--- response_body
one: one
two: two
six: nil
