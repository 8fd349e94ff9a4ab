# getter(name), setter(name): src/lua/resty/ngxvar/getters.lua.  differential*.t compares getters
# with ngx.var, and jit.t checks that they compile.

use lib 't/lib';
use NgxVarTest;
use Test::Nginx::Socket::Lua 'no_plan';

add_block_preprocessor(sub {
    my ($block) = @_;
    $block->set_value(http_config => <<'EOC' . ($block->http_config // ''));
    lua_package_path "$TEST_NGINX_LUA_DIR/?.lua;;";
EOC
});

repeat_each(2);
run_tests();

__DATA__

=== TEST 1: getters return the values and types that fetch returns
--- config
    location = /t {
        set $own "own";
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            local req = ngxvar.request()
            for _, name in ipairs { "uri", "args", "host", "scheme", "https", "remote_addr",
                                    "request_method", "server_protocol", "server_port",
                                    "status", "request_length", "bytes_sent", "own", "arg_a",
                                    "http_host", "http_none", "unknown", "cookie_a",
                                    "connection_requests", "upstream_response_time" }
            do
                local value, err = ngxvar.getter(name)(req)
                ngx.say(name, ": ", type(value), " ", tostring(value) == tostring(ngxvar.fetch(name)),
                        " ", tostring(err), " ", select("#", ngxvar.getter(name)(req)))
            end
        }
    }
--- request
GET /t?a=1
--- more_headers
Cookie: a=1
--- response_body
uri: string true nil 1
args: string true nil 1
host: string true nil 1
scheme: string true nil 1
https: string true nil 1
remote_addr: string true nil 1
request_method: string true nil 1
server_protocol: string true nil 1
server_port: string true nil 1
status: number true nil 1
request_length: number true nil 1
bytes_sent: number true nil 1
own: string true nil 1
arg_a: string true nil 1
http_host: string true nil 1
http_none: nil true nil 1
unknown: nil true nil 1
cookie_a: string true nil 1
connection_requests: string true nil 1
upstream_response_time: nil true nil 1
--- no_error_log
[error]



=== TEST 2: getter takes names as fetch does
--- config
    location = /t {
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            local req = ngxvar.request()
            for _, name in ipairs { "URI", "Http_Host", "ARG_a", "", "a b", "uri\0", "arg_",
                                    ("x"):rep(5000) }
            do
                ngx.say(name:sub(1, 9):gsub("%z", "\\0") .. ": ",
                        tostring(ngxvar.getter(name)(req)), " ",
                        ngxvar.getter(name)(req) == ngx.var[name])
            end
            local function sentence(f, ...)
                local ok, err = pcall(f, ...)
                return tostring(ok) .. " " .. err
            end
            for _, f in ipairs { ngxvar.getter, ngxvar.setter } do
                for _, name in ipairs { 1, true, {}, print, 1LL } do
                    ngx.say(type(name), ": ", (sentence(f, name):gsub(" .*:%d+:", "")))
                end
                ngx.say("nil: ", (sentence(f, nil):gsub(" .*:%d+:", "")))
            end
        }
    }
--- request
GET /t?a=1
--- response_body
URI: /t true
Http_Host: localhost true
ARG_a: 1 true
: nil true
a b: nil true
uri\0: nil true
arg_: nil true
xxxxxxxxx: nil true
number: false bad variable name: expected string, got number
boolean: false bad variable name: expected string, got boolean
table: false bad variable name: expected string, got table
function: false bad variable name: expected string, got function
cdata: false bad variable name: expected string, got cdata
nil: false bad variable name: expected string, got nil
number: false bad variable name: expected string, got number
boolean: false bad variable name: expected string, got boolean
table: false bad variable name: expected string, got table
function: false bad variable name: expected string, got function
cdata: false bad variable name: expected string, got cdata
nil: false bad variable name: expected string, got nil
--- no_error_log
[error]



=== TEST 3: the error about a bad name points at the caller's line
--- config
    location = /t { content_by_lua_file html/t.lua; }
--- user_files
>>> t.lua
local ngxvar = require "resty.ngxvar"
local ok, err = pcall(function ()
    local get = ngxvar.getter({})
    return get
end)
ngx.say(err:match("t%.lua:%d+: .*"))
--- request
GET /t
--- response_body
t.lua:3: bad variable name: expected string, got table
--- no_error_log
[error]



=== TEST 4: a getter made in init_by_lua works in all phases
--- http_config
    init_by_lua_block {
        get_uri = require("resty.ngxvar").getter("uri")
        get_own = require("resty.ngxvar").getter("own")
        get_arg = require("resty.ngxvar").getter("arg_a")
        get_host = require("resty.ngxvar").getter("host")
        function note(phase)
            local req = require("resty.ngxvar").request()
            ngx.log(ngx.NOTICE, phase, ": ", get_uri(req), " ", get_own(req), " ", get_arg(req),
                    " ", get_host(req), ";")
        end
        -- init_by_lua has no request
        nothing = { get_uri(nil) }
    }
    map $own $uses { default $host; }
--- config
    location = /t {
        set $own "own";
        rewrite_by_lua_block { note("rewrite") }
        access_by_lua_block { note("access") }
        content_by_lua_block { note("content") ngx.say(tostring(nothing[1]), " ", type(nothing[2])) }
        header_filter_by_lua_block { note("header_filter") }
        log_by_lua_block { note("log") }
    }
--- request
GET /t?a=1
--- response_body
nil string
--- log_level: notice
--- wait: 0.02
--- grep_error_log eval
qr/\w+: \S+ \S+ \S+ \S+;/
--- grep_error_log_out
rewrite: /t own 1 localhost;
access: /t own 1 localhost;
content: /t own 1 localhost;
header_filter: /t own 1 localhost;
log: /t own 1 localhost;
--- no_error_log
[error]



=== TEST 5: a stale handle gets nil and "stale request", one without variables nil and the reason
--- http_config
    init_worker_by_lua_block { from_worker_start = require("resty.ngxvar").request() }
--- config
    location = /keep { content_by_lua_block { kept = require("resty.ngxvar").request() } }
    location = /use {
        set $own "own";
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            for _, name in ipairs { "uri", "host", "status", "own", "arg_a", "msec", "unknown",
                                    "upstream_response_time", "request_method" }
            do
                local get = ngxvar.getter(name)
                -- stale on a getter's first call, and after it has read another request
                for _ = 1, 2 do
                    local value, err = get(kept)
                    local value2, err2 = get(from_worker_start)
                    if value ~= nil or err ~= "stale request" or value2 ~= nil
                       or err2 ~= "stale request"
                    then
                        ngx.say(name, ": ", tostring(value), " ", err, " ",
                                tostring(value2), " ", err2)
                    end
                    if get(ngxvar.request()) ~= ngxvar.fetch(name) then
                        ngx.say(name, " is wrong")
                    end
                end
            end

            local get, value, err = ngxvar.getter("uri")
            ngx.timer.at(0, function () value, err = get(ngxvar.request()) end)
            while not err do ngx.sleep(0.001) end
            ngx.say(tostring(value), " ", err)

            -- compiled code; $msec needs nothing of the request
            get, err = ngxvar.getter("msec"), nil
            ngx.timer.at(0, function ()
                value, err = require("recorded").get(get, ngxvar.request())
                err = err or "no error"
            end)
            while not err do ngx.sleep(0.001) end
            ngx.say(tostring(value), " ", err)
        }
    }
--- request eval
["GET /keep", "GET /use"]
--- response_body eval
["", "nil no variables in this context (TLS handshake, timer or worker start)\n" x 2]
--- no_error_log
[error]



=== TEST 6: what is no request gets nil and the reason
--- config
    location ~ "^/(t)$" {
        set $own "value";
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            local refused = require("strangers").refused
            for _, name in ipairs { "uri", "host", "status", "request_time", "own", "arg_a",
                                    "http_host", "unknown", "upstream_response_time",
                                    "server_port", "msec", "request_method" }
            do
                local fresh, used = ngxvar.getter(name), ngxvar.getter(name)
                used(ngxvar.request())
                ngx.say(name, ": ", refused(function (req) return fresh(req) end), " ",
                        refused(function (req) return used(req) end))
            end
            local put = ngxvar.setter("own")
            ngx.say("setter: ", refused(function (req) return put("changed", req) end))
            ngx.say(ngx.var.own)
        }
    }
--- request
GET /t?a=1
--- response_body
uri: refused refused
host: refused refused
status: refused refused
request_time: refused refused
own: refused refused
arg_a: refused refused
http_host: refused refused
unknown: refused refused
upstream_response_time: refused refused
server_port: refused refused
msec: refused refused
request_method: refused refused
setter: refused
value
--- no_error_log
[error]



=== TEST 7: compiled getters refuse what is no request
--- config
    location = /t {
        set $own "value";
        content_by_lua_block {
            jit.opt.start("hotloop=2", "hotexit=2")
            local ngxvar = require "resty.ngxvar"
            local refused = require("strangers").refused
            for _, name in ipairs { "uri", "status", "own", "arg_a" } do
                local get = ngxvar.getter(name)
                local req = ngxvar.request()
                for _ = 1, 100 do get(req) end
                ngx.say(name, ": ", refused(function (x) return get(x) end, 8))
            end
            local put = ngxvar.setter("own")
            for _ = 1, 100 do put("value", ngxvar.request()) end
            ngx.say("setter: ", refused(function (x) return put("changed", x) end, 8))
            ngx.say(ngx.var.own)

            -- fetch is another function in compiled code, too
            local req = ngxvar.request()
            for _ = 1, 100 do ngxvar.fetch("uri", req) end
            ngx.say("fetch: ", refused(function (x) return ngxvar.fetch("uri", x) end, 8))
            ngx.say("set: ", refused(function (x) return ngxvar.set("own", "x", x) end, 8))
            jit.opt.start("hotloop=56", "hotexit=10")
        }
    }
--- request
GET /t?a=1
--- response_body
uri: refused
status: refused
own: refused
arg_a: refused
setter: refused
value
fetch: refused
set: refused
--- no_error_log
[error]



=== TEST 8: forged handles are refused
--- config
    location = /t {
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            local ffi = require "ffi"
            local bit = require "bit"
            local req = ngxvar.request()
            local getters = {}
            for i, name in ipairs { "uri", "own", "status", "arg_a", "host" } do
                getters[i] = ngxvar.getter(name)
            end
            local refused, wrong = 0, 0
            for n = 0, 31 do
                local one = bit.lshift(1, n)
                for _, forged in ipairs {
                    ffi.new("ngx_http_lua_var_handle_t", bit.bxor(req.id, one), req.generation),
                    ffi.new("ngx_http_lua_var_handle_t", req.id, bit.bxor(req.generation, one)) }
                do
                    for _, get in ipairs(getters) do
                        local value, err = get(forged)
                        if value == nil and err == "stale request" then
                            refused = refused + 1
                        else
                            wrong = wrong + 1
                        end
                    end
                end
            end
            for _, id in ipairs { 2^22 - 1, 2^22, 2^22 + 1, 2^31, 2^32 - 1 } do
                for _, generation in ipairs { 0, 1, 2^32 - 1 } do
                    local value, err = getters[1](ffi.new("ngx_http_lua_var_handle_t", id, generation))
                    if value == nil and err == "stale request" then refused = refused + 1 end
                end
            end
            ngx.say(refused, " ", wrong)
        }
    }
--- request
GET /t
--- response_body
335 0
--- no_error_log
[error]



=== TEST 9: a compiled loop sees a value change
--- config
    location = /t {
        set $own "0";
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            local req = ngxvar.request()
            local get_method = ngxvar.getter("request_method")
            local get_own, get_status = ngxvar.getter("own"), ngxvar.getter("status")
            local get_host, get_x = ngxvar.getter("host"), ngxvar.getter("http_x")
            local get_args, get_arg = ngxvar.getter("args"), ngxvar.getter("arg_a")
            local put = ngxvar.setter("own")
            local fetch = ngxvar.fetch
            local wrong = 0
            local methods = { [0] = ngx.HTTP_GET, ngx.HTTP_POST, ngx.HTTP_PUT }
            local names = { [0] = "GET", "POST", "PUT" }

            for i = 1, 1000 do
                ngx.req.set_method(methods[i % 3])
                if get_method(req) ~= names[i % 3] or fetch("request_method", req) ~= names[i % 3] then
                    wrong = wrong + 1
                end
                ngx.var.own = tostring(i)
                if get_own(req) ~= tostring(i) or fetch("own", req) ~= tostring(i) then
                    wrong = wrong + 1
                end
                put("s" .. i, req)
                if get_own(req) ~= "s" .. i or ngx.var.own ~= "s" .. i then
                    wrong = wrong + 1
                end
                ngx.status = 200 + i % 2
                if get_status(req) ~= 200 + i % 2 or fetch("status", req) ~= 200 + i % 2 then
                    wrong = wrong + 1
                end
                ngx.req.set_header("Host", "host" .. i)
                ngx.req.set_header("X", "x" .. i)
                if get_host(req) ~= "host" .. i or get_x(req) ~= "x" .. i
                   or fetch("host", req) ~= "host" .. i or fetch("http_x", req) ~= "x" .. i
                then
                    wrong = wrong + 1
                end
                ngx.req.set_uri_args("a=" .. i)
                if get_args(req) ~= "a=" .. i or get_arg(req) ~= tostring(i)
                   or fetch("args", req) ~= "a=" .. i or fetch("arg_a", req) ~= tostring(i)
                then
                    wrong = wrong + 1
                end
            end
            ngx.say(wrong)
        }
    }
--- request
GET /t?a=1
--- response_body
0
--- error_code: 200
--- no_error_log
[error]



=== TEST 10: a compiled loop sees $request_time grow
--- config
    location = /t {
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            local req = ngxvar.request()
            for _, name in ipairs { "msec", "request_time" } do
                local get = ngxvar.getter(name)
                local first, changed = get(req), false
                for _ = 1, 2e6 do
                    ngx.update_time()
                    if get(req) ~= first then
                        changed = true
                        break
                    end
                end
                ngx.say(name, " ", changed)
            end
        }
    }
--- request
GET /t
--- response_body
msec true
request_time true
--- no_error_log
[error]



=== TEST 11: one getter reads many requests, and refuses those that ended
--- config
    location = /t {
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            getters = {}
            for i, name in ipairs { "arg_n", "args", "request_uri", "http_x", "own" } do
                getters[i] = ngxvar.getter(name)
            end
            handles = {}
            local list = {}
            for i = 1, 30 do list[i] = { "/sub?n=" .. i } end
            ngx.location.capture_multi(list)
            local right = 0
            for i, handle in ipairs(handles) do
                if getters[1](handle) == tostring(i) and getters[2](handle) == "n=" .. i
                   and getters[5](handle) == "own " .. i
                then
                    right = right + 1
                end
            end
            ngx.say(right)
        }
    }
    location = /sub {
        set $own "own $arg_n";
        content_by_lua_block { handles[tonumber(ngx.var.arg_n)] = require("resty.ngxvar").request() }
    }
    location = /after {
        set $own "after";
        content_by_lua_block {
            local live = 0
            for _, handle in ipairs(handles) do
                for _, get in ipairs(getters) do
                    if get(handle) ~= nil then live = live + 1 end
                end
            end
            ngx.say(live, " ", getters[5](require("resty.ngxvar").request()))
        }
    }
--- request eval
["GET /t", "GET /after"]
--- response_body eval
["30\n", "0 after\n"]
--- no_error_log
[error]



=== TEST 12: setters set what set() sets, and return what it returns
--- http_config
    map $uri $loose { default "x"; }
--- config
    location = /t {
        set $own "";
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            local req = ngxvar.request()
            local put = ngxvar.setter("OWN")
            ngx.say(put("text", req), " ", ngx.var.own)
            ngx.say(put("", req), " [", ngx.var.own, "]")
            ngx.say(put(5, req), " ", ngx.var.own)
            ngx.say(put(true, req), " ", ngx.var.own)
            ngx.say(put(nil, req), " ", tostring(ngx.var.own))
            ngx.say(put(("\0\255"):rep(50000), req), " ", ngx.var.own == ("\0\255"):rep(50000))
            ngx.say(ngxvar.setter("args")("a=2", req), " ", ngx.var.arg_a, " ", ngx.var.args)
            ngx.say(ngxvar.setter("limit_rate")("1m", req), " ", ngx.var.limit_rate)
            for _, name in ipairs { "uri", "host", "nope", "loose", "http_x" } do
                local ok, err = ngxvar.setter(name)("x", req)
                local ok2, err2 = ngxvar.set(name, "x", req)
                ngx.say(name, ": ", tostring(ok), " ", ok == ok2 and err == err2)
            end
        }
    }
--- request
GET /t?a=1
--- response_body
true text
true []
true 5
true true
true nil
true true
true 2 a=2
true 1048576
uri: nil true
host: nil true
nope: nil true
loose: nil true
http_x: nil true
--- no_error_log
[error]



=== TEST 13: a setter whose first handle was stale serves the next one
--- config
    location = /keep { content_by_lua_block { kept = require("resty.ngxvar").request() } }
    location = /use {
        set $own "before";
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            local put, get = ngxvar.setter("own"), ngxvar.getter("own")
            ngx.say(select(2, put("x", kept)), ", ", select(2, get(kept)))
            local req = ngxvar.request()
            ngx.say(put("after", req), " ", get(req), " ", ngx.var.own)
        }
    }
--- request eval
["GET /keep", "GET /use"]
--- response_body eval
["", "stale request, stale request\ntrue after after\n"]
--- no_error_log
[error]



=== TEST 14: getters accept the current request's pointer and refuse another's
--- config
    location = /t {
        set $own "mine";
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            local base = require "resty.core.base"
            local get = ngxvar.getter("own")
            ngx.say(get(base.get_request()))
            ngx.say(get(ngxvar.request()))
            parent = base.get_request()
            ngx.print(ngx.location.capture("/sub").body)
        }
    }
    location = /sub {
        set $own "sub";
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            local value, err = ngxvar.getter("own")(parent)
            ngx.say(tostring(value), " ", err)
        }
    }
--- request
GET /t
--- response_body
mine
mine
nil stale request
--- no_error_log
[error]



=== TEST 15: getters read the value that nginx has cached
--- http_config
    map $arg_a $kept { default "kept $arg_a"; }
    map "$remote_addr$host$scheme$request_uri$server_name$kept" $uses { default "x"; }
--- config
    location = /t {
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            local req = ngxvar.request()
            local get_host, get_kept = ngxvar.getter("host"), ngxvar.getter("kept")
            ngx.say(ngx.var.uses)                       -- nginx evaluates them all
            ngx.req.set_header("Host", "other.test")
            ngx.req.set_uri_args("a=2")
            ngx.say(get_host(req), " ", get_kept(req))
            ngx.say(get_host(req) == ngx.var.host, " ", get_kept(req) == ngx.var.kept)
        }
    }
    location = /u {
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            local req = ngxvar.request()
            local get_host, get_kept = ngxvar.getter("host"), ngxvar.getter("kept")
            ngx.say(get_host(req))                      -- nothing was kept yet
            ngx.req.set_header("Host", "other.test")
            ngx.req.set_uri_args("a=2")
            ngx.say(get_host(req), " ", get_kept(req))
            ngx.say(get_host(req) == ngx.var.host, " ", get_kept(req) == ngx.var.kept)
        }
    }
--- request eval
["GET /t?a=1", "GET /u?a=1"]
--- response_body eval
# Of the cached values, lua-nginx-module drops only $host when it sets the header.
["x\nother.test kept 1\ntrue true\n", "localhost\nother.test kept 2\ntrue true\n"]
--- no_error_log
[error]



=== TEST 16: getters read a cached string although its source member has changed
--- http_config
    map "$remote_addr" $uses { default "x"; }
--- config
    location = /t {
        set_real_ip_from 127.0.0.1;
        real_ip_header X-Real-IP;
        rewrite_by_lua_block {
            if ngx.var.arg_early then
                ngx.ctx.early = ngx.var.remote_addr     -- before realip sets it
            end
        }
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            local req = ngxvar.request()
            local get = ngxvar.getter("remote_addr")
            local stock, is_same = ngx.var.remote_addr, true
            for _ = 1, 200 do
                is_same = is_same and get(req) == stock and ngxvar.fetch("remote_addr", req) == stock
            end
            ngx.say(stock, " ", is_same)
        }
    }
--- request eval
["GET /t?early=1", "GET /t"]
--- more_headers
X-Real-IP: 1.2.3.4
--- response_body eval
["127.0.0.1 true\n", "1.2.3.4 true\n"]
--- no_error_log
[error]
