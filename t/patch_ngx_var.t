# patch_ngx_var(): the module reads ngx.var.  Values and errors have to be those of
# lua-resty-core's ngx.var.

use lib 't/lib';
use NgxVarTest;
use Test::Nginx::Socket::Lua 'no_plan';

# Under memcheck each request is checked with fewer variables.
$ENV{TEST_NGINX_ONE_IN} = $ENV{TEST_NGINX_USE_VALGRIND} ? 20 : 1;

add_block_preprocessor(sub {
    my ($block) = @_;
    $block->set_value(http_config => <<'EOC'
    lua_package_path "$TEST_NGINX_LUA_DIR/?.lua;;";
    init_by_lua_block {
        -- lua-resty-core's own reader
        stock_index = getmetatable(ngx.var).__index
        stock_newindex = getmetatable(ngx.var).__newindex
        D = require "differential"
        require("resty.ngxvar").patch_ngx_var()
        patched = getmetatable(ngx.var).__index ~= stock_index
        require("resty.ngxvar").patch_ngx_var()     -- once is enough
        D.compare_patched()
EOC
        . ($block->init_by_lua // '') . "    }\n" . ($block->http_config // ''));
});

# Every phase of every request is checked, for the requests of t/lib/shapes.lua.
our $SHAPES = <<'END';
    server_rewrite_by_lua_block { D.check("server_rewrite") }
    rewrite_by_lua_block { D.check("rewrite") }
    access_by_lua_block { D.check("access") }
    header_filter_by_lua_block { D.check("header_filter") }
    body_filter_by_lua_block { D.check("body_filter") }
    log_by_lua_block { D.check("log") }
    map "$host$remote_addr$scheme$own$uri$args$bytes_sent$status$request_time$content_length" $uses { default "x"; }
    server {
        listen 127.0.0.1:$TEST_NGINX_PORT1;
        set $own "own";
        root html;
        location /s {
            content_by_lua_block {
                ngx.req.read_body()
                D.check("content")
                ngx.say(ngx.var.uses)
                D.check("content, sent")
            }
        }
    }
END

repeat_each(2);
run_tests();

__DATA__

=== TEST 1: values are the strings of stock ngx.var
--- config
    location ~ "^/(t)$" {
        set $own "own";
        content_by_lua_block {
            ngx.say(patched)
            for _, name in ipairs { "uri", "args", "status", "request_time", "request_length",
                                    "bytes_sent", "msec", "connection", "own", "arg_a", "http_host",
                                    "http_none", "unknown", "URI", "Arg_A", "", "server_port",
                                    "upstream_response_time", 1, 2, 3, 0, -1, "1" }
            do
                local value = ngx.var[name]
                ngx.say(name, ": ", type(value), " ", value == stock_index(ngx.var, name))
            end
        }
    }
--- request
GET /t?a=1
--- response_body
true
uri: string true
args: string true
status: string true
request_time: string true
request_length: string true
bytes_sent: string true
msec: string true
connection: string true
own: string true
arg_a: string true
http_host: string true
http_none: nil true
unknown: nil true
URI: string true
Arg_A: string true
: nil true
server_port: string true
upstream_response_time: nil true
1: string true
2: nil true
3: nil true
0: nil true
-1: nil true
1: nil true
--- no_error_log
[error]



=== TEST 2: the table ngx.var is still empty
--- config
    location = /t {
        content_by_lua_block {
            -- a name is looked up as it is written, in a constant and in a variable
            local name = "uri"
            ngx.say(ngx.var.uri, ngx.var[name], ngx.var["u" .. "ri"])
            ngx.say(rawget(ngx.var, "uri") == nil, " ", next(ngx.var) == nil)
        }
    }
--- request
GET /t
--- response_body
/t/t/t
true true
--- no_error_log
[error]



=== TEST 3: errors are those of stock ngx.var, at the same line
--- config
    location = /t {
        content_by_lua_file html/t.lua;
    }
--- user_files
>>> t.lua
local function by_var(name) local value = ngx.var[name] return value end
local function by_stock(name) local value = stock_index(ngx.var, name) return value end

for _, name in ipairs { true, false, {}, print, ngx.null, 1LL, coroutine.create(by_var) } do
    local ok, err = pcall(by_var, name)
    local ok2, err2 = pcall(by_stock, name)
    err2 = err2:gsub(":2:", ":1:")
    ngx.say(type(name), ": ", ok, " ", err:match("t%.lua:1: .*") or err, " ", ok == ok2 and err == err2)
end
local ok, err = pcall(by_var, nil)
ngx.say("nil: ", ok, " ", err:match("t%.lua:1: .*") or err)
--- request
GET /t
--- response_body
boolean: false t.lua:1: bad variable name true
boolean: false t.lua:1: bad variable name true
table: false t.lua:1: bad variable name true
function: false t.lua:1: bad variable name true
userdata: false t.lua:1: bad variable name true
cdata: false t.lua:1: bad variable name true
thread: false t.lua:1: bad variable name true
nil: false t.lua:1: bad variable name
--- no_error_log
[error]



=== TEST 4: assignments work as with stock ngx.var
--- config
    location = /t {
        set $own "before";
        content_by_lua_block {
            ngx.var.own = "after"
            ngx.say(ngx.var.own)
            ngx.var.own = nil
            ngx.say(tostring(ngx.var.own))
            ngx.var.args = "a=2"
            ngx.say(ngx.var.arg_a)
            local ok, err = pcall(function () ngx.var.uri = "/x" end)
            ngx.say(ok, " ", (err:gsub("^.*:%d+: ", "")))
            ok, err = pcall(function () ngx.var.nope = "x" end)
            ngx.say(ok, " ", err:match('variable "nope" not found'))
        }
    }
--- request
GET /t?a=1
--- response_body
after
nil
2
false variable "uri" not changeable
false variable "nope" not found
--- no_error_log
[error]



=== TEST 5: in init_by_lua the error is that of stock ngx.var
--- config
    location = /t { content_by_lua_block { ngx.say(from_init) } }
--- init_by_lua
        local function sentence(f, ...)
            local ok, err = pcall(f, ...)
            return tostring(ok) .. " " .. tostring(err):gsub("^.*:%d+: ", "")
        end
        local function by_var(name) local value = ngx.var[name] return value end
        local function by_stock(name) local value = stock_index(ngx.var, name) return value end
        from_init = sentence(by_var, "uri") .. ", " .. tostring(sentence(by_var, "uri") == sentence(by_stock, "uri"))
                    .. "\n" .. sentence(by_var, 1) .. ", " .. tostring(sentence(by_var, 1) == sentence(by_stock, 1))
--- request
GET /t
--- response_body
false no request found, true
false no request found, true
--- no_error_log
[error]



=== TEST 6: at worker start, in timers and handshakes the error is that of stock ngx.var
--- http_config
    init_worker_by_lua_block {
        local function sentence(f, ...)
            local ok, err = pcall(f, ...)
            return tostring(ok) .. " " .. tostring(err):gsub("^.*:%d+: ", "")
        end
        local function by_var(name) local value = ngx.var[name] return value end
        local function by_stock(name) local value = stock_index(ngx.var, name) return value end
        function said()
            local all = {}
            for _, name in ipairs { "uri", "URI", "own", "none", 1 } do
                all[#all + 1] = sentence(by_var, name)
                all[#all + 1] = tostring(sentence(by_var, name) == sentence(by_stock, name))
            end
            return table.concat(all, " ")
        end
        at_start = said()
        ngx.timer.at(0, function () in_timer = said() end)
    }
    server {
        listen 127.0.0.1:$TEST_NGINX_PORT1 ssl;
        ssl_certificate     $TEST_NGINX_CERT_DIR/test.crt;
        ssl_certificate_key $TEST_NGINX_CERT_DIR/test.key;
        ssl_certificate_by_lua_block { in_handshake = said() }
    }
--- config
    location = /t {
        content_by_lua_block {
            require("client").connect{ port = $TEST_NGINX_PORT1, tls = true }
            ngx.say(at_start)
            ngx.say(at_start == in_timer, " ", at_start == in_handshake)
        }
    }
--- request
GET /t
--- response_body
false API disabled in the current context true false API disabled in the current context true false API disabled in the current context true false API disabled in the current context true false API disabled in the current context true
true true
--- no_error_log
[error]



=== TEST 7: every variable agrees with stock ngx.var in every phase
--- http_config eval: $main::SHAPES
--- config
    location = /t {
        content_by_lua_block {
            D.sparse($TEST_NGINX_ONE_IN)
            local _, bad = require("shapes").run(D, { plain = $TEST_NGINX_PORT1 })
            ngx.say("different: ", bad)
        }
    }
--- request
GET /t
--- response_body eval
"different: \n"
--- no_error_log
[alert]



=== TEST 8: every variable agrees with stock ngx.var in compiled code
--- http_config eval: $main::SHAPES
--- config
    location = /t {
        content_by_lua_block {
            D.compare_compiled()
            D.sparse(8 * $TEST_NGINX_ONE_IN)
            local _, bad = require("shapes").run(D, { plain = $TEST_NGINX_PORT1 })
            ngx.say("different: ", bad)
        }
    }
--- request
GET /t
--- response_body eval
"different: \n"
--- no_error_log
[alert]
--- skip_eval
3: # memcheck would have to follow thousands of traces
$ENV{TEST_NGINX_USE_VALGRIND}



=== TEST 9: compiled code reads, refuses and raises as interpreted code
--- config
    location = /t {
        set $own "0";
        content_by_lua_block {
            local wrong = 0
            for i = 1, 1000 do
                ngx.var.own = i
                if ngx.var.own ~= tostring(i) then wrong = wrong + 1 end
                ngx.req.set_header("X", i)
                if ngx.var.http_x ~= tostring(i) then wrong = wrong + 1 end
                if ngx.var.none ~= nil or ngx.var.uri ~= "/t" or ngx.var.STATUS ~= "000" then
                    wrong = wrong + 1
                end
            end
            ngx.say(wrong)

            for i = 1, 300 do
                local ok, err = pcall(function () return (ngx.var[i == 300 and {} or "uri"]) end)
                if i == 300 then ngx.say(ok, " ", (err:gsub("^.*:%d+: ", ""))) end
            end

            local said
            ngx.timer.at(0, function ()
                for i = 1, 300 do
                    local ok, err = pcall(function () return (ngx.var.uri) end)
                    if ok then said = "served" end
                    said = said or err
                end
            end)
            while not said do ngx.sleep(0.001) end
            ngx.say((said:gsub("^.*:%d+: ", "")))
        }
    }
--- request
GET /t
--- response_body
0
false bad variable name
API disabled in the current context
--- no_error_log
[error]



=== TEST 10: ngx.var reads the current request in subrequests and after redirects
--- config
    location = /sub { content_by_lua_block { ngx.say(ngx.var.uri, " ", ngx.var.arg_a) } }
    location = /u {
        content_by_lua_block {
            local body = ngx.location.capture("/sub?a=2").body
            ngx.print(body, ngx.var.uri, " ", ngx.var.arg_a, "\n")
        }
    }
    location = /v { content_by_lua_block { ngx.exec("/land?a=3") } }
    location = /land { content_by_lua_block { ngx.say(ngx.var.uri, " ", ngx.var.arg_a) } }
--- request eval
["GET /u?a=1", "GET /v?a=1"]
--- response_body eval
["/sub 2\n/u 1\n", "/land 3\n"]
--- no_error_log
[error]



=== TEST 11: assignment stores what stock ngx.var stores
--- config
    location = /t {
        set $own "own";
        set $other "";
        content_by_lua_block {
            ngx.say(getmetatable(ngx.var).__newindex ~= stock_newindex)
            local function both(name, value)
                ngx.var[name] = value
                local mine = tostring(stock_index(ngx.var, name))
                stock_newindex(ngx.var, name, "between")
                stock_newindex(ngx.var, name, value)
                ngx.say(name, " = ", tostring(value), ": ", mine, " ", mine == tostring(stock_index(ngx.var, name)))
            end
            both("own", "text")
            both("OWN", "upper")
            both("own", 12.5)
            both("own", true)
            both("own", "")
            both("args", "b=2")
            both("own", nil)
        }
    }
--- request
GET /t?a=1
--- response_body
true
own = text: text true
OWN = upper: upper true
own = 12.5: 12.5 true
own = true: true true
own = :  true
args = b=2: b=2 true
own = nil: nil true
--- no_error_log
[error]



=== TEST 12: assignment raises the errors of stock ngx.var
--- init_by_lua
        local ok, err = pcall(function () ngx.var.own = "x" end)
        from_init = tostring(ok) .. " " .. tostring(err)
--- config
    location = /t {
        content_by_lua_block {
            local function same(name, value)
                local ok, err = pcall(function () ngx.var[name] = value end)
                local ok2, err2 = pcall(function () stock_newindex(ngx.var, name, value) end)
                err, err2 = tostring(err):gsub("^.-:%d+: ", ""), tostring(err2):gsub("^.-:%d+: ", "")
                ngx.say(tostring(ok), " ", err == err2, " ", (err:gsub("\n.*", "")))
            end
            ngx.say((from_init:gsub("^false .-:%d+: ", "false ")))
            same("uri", "x")
            same("no_such", "x")
            same(1, "x")
            same(nil, "x")
            same("own", {})
        }
    }
--- request
GET /t
--- response_body_like eval
qr/\Afalse no request found\nfalse true variable "uri" not changeable\nfalse true variable "no_such" not found for writing.*\nfalse true bad variable name\nfalse true bad variable name\n(?:false|true) true .*\n\z/
--- no_error_log
[alert]



=== TEST 13: compiled assignments work
--- config
    location = /t {
        set $own "own";
        content_by_lua_block {
            local bad = 0
            for i = 1, 500 do
                ngx.var.own = i
                if ngx.var.own ~= tostring(i) then bad = bad + 1 end
            end
            ngx.say(bad)
        }
    }
--- request
GET /t
--- response_body
0
--- no_error_log
[error]
