# set(name, value, req): src/variable/assign.rs.  Its errors and effects are those of
# assigning to ngx.var, with which it is compared.

use lib 't/lib';
use NgxVarTest;
use Test::Nginx::Socket::Lua 'no_plan';

repeat_each(2);
run_tests();

__DATA__

=== TEST 1: a variable defined by set is assigned
--- config
    location = /t {
        set $own "first";
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            ngx.say(ngxvar.set("own", "second"), " ", select("#", ngxvar.set("own", "second")))
            ngx.say(ngx.var.own, " ", ngxvar.fetch("own"))
            ngx.say(ngxvar.set("own", "third", ngxvar.request()), " ", ngx.var.own)
            ngx.say(ngxvar.set("OWN", "fourth"), " ", ngx.var.own, " ", ngxvar.fetch("Own"))
            ngx.say(ngxvar.set("own", ""), " [", ngx.var.own, "] [", ngxvar.fetch("own"), "]")
        }
    }
--- request
GET /t
--- response_body
true 1
second second
true third
true fourth fourth
true [] []
--- no_error_log
[error]



=== TEST 2: a map's variable is assigned, cached or volatile
--- http_config
    map $arg_a $mapped { default "mapped $arg_a"; }
    map $arg_a $fresh { volatile; default "fresh $arg_a"; }
--- config
    location = /t {
        set $uses "$mapped $fresh";
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            for _, name in ipairs { "mapped", "fresh" } do
                ngx.say(ngx.var[name], " ", ngxvar.fetch(name))
                ngx.say(ngxvar.set(name, "by hand"))
                ngx.say(ngx.var[name], " ", ngxvar.fetch(name))
            end
        }
    }
--- request
GET /t?a=1
--- response_body
mapped 1 mapped 1
true
by hand by hand
fresh 1 fresh 1
true
by hand by hand
--- no_error_log
[error]



=== TEST 3: set handlers of $args and $limit_rate are called
--- config
    location = /t {
        set $rate "0";
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            ngx.say(ngxvar.set("args", "a=2&b=3"))
            ngx.say(ngxvar.fetch("args"), " ", ngxvar.fetch("arg_a"), " ", ngx.var.args, " ",
                    ngx.req.get_uri_args().b, " ", ngxvar.fetch("is_args"))
            ngx.say(ngxvar.set("args", ""))
            ngx.say("[", ngxvar.fetch("args"), "] [", ngx.var.args, "] [",
                    ngxvar.fetch("is_args"), "] ", tostring(ngxvar.fetch("arg_a")))
            ngx.say(ngxvar.set("limit_rate", "100k"))
            ngx.say(ngxvar.fetch("limit_rate"), " ", ngx.var.limit_rate)
            -- no size: the handler ignores it
            ngx.say(ngxvar.set("limit_rate", "many"))
            ngx.say(ngxvar.fetch("limit_rate"), " ", ngx.var.limit_rate)
        }
    }
--- request
GET /t?a=1
--- response_body
true
a=2&b=3 2 a=2&b=3 3 ?
true
[] [] [] nil
true
102400 102400
true
102400 102400
--- error_log
invalid $limit_rate "many"
--- no_error_log
[alert]



=== TEST 4: nil unsets a variable
--- http_config
    map $uri $mapped { default "of the map"; }
--- config
    location = /t {
        set $own "own";
        set $uses "$mapped";
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            ngx.say(ngxvar.set("own", nil), " ", tostring(ngxvar.fetch("own")), " ",
                    tostring(ngx.var.own))
            ngx.say(ngxvar.set("own", "again"), " ", ngx.var.own)
            ngx.say(ngxvar.set("own"), " ", tostring(ngxvar.fetch("own")))
            ngx.say(ngxvar.set("own", nil, ngxvar.request()), " ", tostring(ngx.var.own))
            ngx.say(ngxvar.set("args", nil), " [", tostring(ngx.var.args), "] ",
                    ngx.var.args == ngxvar.fetch("args"))
            -- nothing is cached: the map is evaluated, as for ngx.var
            ngx.say(ngxvar.set("mapped", "x"), " ", ngxvar.set("mapped", nil), " ",
                    tostring(ngxvar.fetch("mapped")), " ",
                    ngxvar.fetch("mapped") == ngx.var.mapped)
        }
    }
--- request
GET /t?a=1
--- response_body
true nil nil
true again
true nil
true nil
true [nil] true
true true nil true
--- no_error_log
[error]



=== TEST 5: values are converted by tostring
--- config
    location = /t {
        set $own "";
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            local ffi = require "ffi"

            local values = {
                1, -0.5, 1e100, 2^53, 0/0, true, false, 12LL, ngx.null, print,
                ffi.new("int32_t", 5),
                setmetatable({}, { __tostring = function () return "by hand" end }),
            }

            for _, value in ipairs(values) do
                assert(ngxvar.set("own", value))
                local ours = ngx.var.own
                ngx.var.own = value
                ngx.say(type(value), " ", ours == ngx.var.own, " ",
                        ours == tostring(value))
            end
        }
    }
--- request
GET /t
--- response_body
number true true
number true true
number true true
number true true
number true true
boolean true true
boolean true true
cdata true true
userdata true true
function true true
cdata true true
table true true
--- no_error_log
[error]



=== TEST 6: an error in a __tostring reaches the caller
--- config
    location = /t {
        set $own "before";
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            local function mt(f) return setmetatable({}, { __tostring = f }) end

            ngx.say(pcall(ngxvar.set, "own", mt(function () error("thrown", 0) end)))
            ngx.say((pcall(ngxvar.set, "own", mt(function () return {} end))))
            ngx.say(ngx.var.own)

            -- a __tostring may set the variable itself; its result is set after that
            ngx.say(ngxvar.set("own", mt(function ()
                ngx.var.own = "inner"
                return "outer"
            end)), " ", ngx.var.own)
        }
    }
--- request
GET /t
--- response_body
falsethrown
false
before
true outer
--- no_error_log
[error]



=== TEST 7: a __tostring that yields raises an error
--- config
    location = /t {
        set $own "before";
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            local ok, err = pcall(ngxvar.set, "own", setmetatable({}, {
                __tostring = function () ngx.sleep(0.001) return "late" end,
            }))
            ngx.say(ok, " ", err:match("attempt to yield"), " ", ngx.var.own)
        }
    }
--- request
GET /t
--- response_body
false attempt to yield before
--- no_error_log
[alert]



=== TEST 8: what cannot be assigned gets the errors of ngx.var
--- http_config
    map $uri $mapped { default "x"; }
--- config
    location = /t {
        set $own "";
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            local compared, different = 0, 0

            local function by_var(name, value) ngx.var[name] = value end

            -- an error without its source position
            local function sentence(err)
                return (err:gsub("^.*nginx%.conf:%d+%):%d+: ", ""))
            end

            -- short names only: ngx.var truncates its errors at 256 bytes
            for _, name in ipairs { "uri", "host", "status", "scheme", "remote_addr",
                                    "request_time", "nosuch", "NoSuch", "URI", "",
                                    "http_host", "arg_a", "http_x", "cookie_a", "sent_http_x",
                                    "upstream_http_x", "a b", "mapped", "nginx_version",
                                    ("x"):rep(20), "1" }
            do
                for _, value in ipairs { "x", "", false } do
                    local ok, stock = pcall(by_var, name, value or nil)
                    local ours, err = ngxvar.set(name, value or nil)

                    compared = compared + 1

                    if ok then
                        stock = "true nil"
                    else
                        stock = "nil " .. sentence(stock)
                    end

                    ours = tostring(ours) .. " " .. tostring(err)

                    if ours ~= stock then
                        different = different + 1
                        ngx.say(name, ": ", ours, ", but ngx.var: ", stock)
                    end
                end
            end
            ngx.say(compared, " compared, ", different, " different")
        }
    }
--- request
GET /t?a=1
--- more_headers
Cookie: a=1
--- response_body
63 compared, 0 different
--- no_error_log
[error]



=== TEST 9: the errors say what the variable lacks
--- http_config
    map $uri $loose { default "x"; }
--- config
    location = /t {
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            for _, name in ipairs { "host", "Nope", "loose" } do
                local ok, err = ngxvar.set(name, "x")
                ngx.say(tostring(ok), " ", err)
            end
        }
    }
--- request
GET /t
--- response_body
nil variable "host" not changeable
nil variable "nope" not found for writing; maybe it is a built-in variable that is not changeable or you forgot to use "set $nope '';" in the config file to define it first
nil variable "loose" cannot be assigned a value
--- no_error_log
[error]



=== TEST 10: long names and values work
--- config
    location = /t {
        set $own "";
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            local value = ("\0\255x"):rep(100000)
            ngx.say(ngxvar.set("own", value), " ", ngx.var.own == value, " ",
                    ngxvar.fetch("own") == value)

            local name = ("Long"):rep(1000)
            local ok, err = ngxvar.set(name, "x")
            ngx.say(tostring(ok), " ", err:sub(1, 14), " ", err:find(name:lower(), 1, true) == 11)
        }
    }
--- request
GET /t
--- response_body
true true true
nil variable "long true
--- no_error_log
[error]



=== TEST 11: bad names raise the errors of ngx.var
--- config
    location = /t {
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            local function sentence(f, ...)
                local ok, err = pcall(f, ...)
                return tostring(ok) .. " " .. tostring(err):gsub("^.*:%d+: ", "")
            end
            local function by_var(name) ngx.var[name] = "x" end

            for _, name in ipairs { 1, true, {}, print, 1LL } do
                ngx.say(type(name), ": ", sentence(ngxvar.set, name, "x"), ", ",
                        sentence(ngxvar.set, name, "x"):find(sentence(by_var, name), 1, true) == 1)
            end
            ngx.say("nil: ", sentence(ngxvar.set, nil, "x"))
            ngx.say("none: ", sentence(ngxvar.set))
        }
    }
--- request
GET /t
--- response_body
number: false bad variable name: expected string, got number: call ngxvar.set(name, value, req), true
boolean: false bad variable name: expected string, got boolean: call ngxvar.set(name, value, req), true
table: false bad variable name: expected string, got table: call ngxvar.set(name, value, req), true
function: false bad variable name: expected string, got function: call ngxvar.set(name, value, req), true
cdata: false bad variable name: expected string, got cdata: call ngxvar.set(name, value, req), true
nil: false bad variable name: expected string, got nil: call ngxvar.set(name, value, req)
none: false bad variable name: expected string, got no value: call ngxvar.set(name, value, req)
--- no_error_log
[error]



=== TEST 12: without a request or variables set() returns nil and the reason
--- http_config
    init_by_lua_block {
        local ok, err = require("resty.ngxvar").set("own", "x")
        from_init = tostring(ok) .. " " .. err
    }
    init_worker_by_lua_block {
        local ok, err = require("resty.ngxvar").set("own", "x")
        from_worker = tostring(ok) .. " " .. err
    }
--- config
    location = /t {
        set $own "";
        content_by_lua_block {
            ngx.say(from_init)
            ngx.say(from_worker)
        }
    }
--- request
GET /t
--- response_body
nil no request found
nil no variables in this context (TLS handshake, timer or worker start)
--- no_error_log
[error]



=== TEST 13: another live request's variable is assigned by its handle
--- http_config
    lua_package_path "$TEST_NGINX_LUA_DIR/?.lua;;";
--- config
    location = /t {
        set $own "mine";
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            handle, done = nil, false
            local other = ngx.thread.spawn(require("client").get, "/other")
            while not handle do ngx.sleep(0.001) end
            ngx.say(ngxvar.set("own", "set from outside", handle), " ", ngx.var.own, " ",
                    ngxvar.fetch("own", handle))
            -- the error is allocated in that request's pool, and copied in time
            local _, err = ngxvar.set("nope", "x", handle)
            done = true
            local _, response = ngx.thread.wait(other)
            ngx.say(response.body)
            ngx.say(err:sub(1, 25))
        }
    }
    location = /other {
        set $own "theirs";
        content_by_lua_block {
            handle = require("resty.ngxvar").request()
            while not done do ngx.sleep(0.001) end
            ngx.print(ngx.var.own)
        }
    }
--- request
GET /t
--- response_body
true mine set from outside
set from outside
variable "nope" not found
--- no_error_log
[error]



=== TEST 14: set() works in every phase, and nginx sees the value
--- config
    location = /t {
        set $own "conf";
        rewrite_by_lua_block { require("resty.ngxvar").set("own", ngx.var.own .. " rewrite") }
        access_by_lua_block { require("resty.ngxvar").set("own", ngx.var.own .. " access") }
        content_by_lua_block {
            require("resty.ngxvar").set("own", ngx.var.own .. " content")
            ngx.say("ok")
        }
        header_filter_by_lua_block {
            require("resty.ngxvar").set("own", ngx.var.own .. " header_filter")
        }
        add_header X-Own $own;
        log_by_lua_block {
            require("resty.ngxvar").set("own", ngx.var.own .. " log")
            ngx.log(ngx.NOTICE, "own: ", ngx.var.own, ";")
        }
    }
--- request
GET /t
--- response_body
ok
--- log_level: notice
--- wait: 0.02
--- error_log
own: conf rewrite access content header_filter log;
--- no_error_log
[error]



=== TEST 15: $from_error_page can be set
--- config
    location = /t {
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            ngx.say("[", ngxvar.fetch("from_error_page"), "]")
            ngx.say(ngxvar.set("from_error_page", "true"))
            ngx.say("[", ngxvar.fetch("from_error_page"), "] [", ngx.var.from_error_page, "]")
        }
    }
--- request
GET /t
--- response_body
[]
true
[true] [true]
--- no_error_log
[error]



=== TEST 16: the value is a copy, which outlives the Lua string
--- config
    location = /t {
        set $own "";
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            local req = ngxvar.request()
            local setters = {
                set = function (value) ngxvar.set("own", value) end,
                setter = function (value) ngxvar.setter("own")(value, req) end,
            }

            local function string_of(letter, i)
                return letter:rep(3000) .. i
            end

            -- sets a string that nothing refers to any more, and has others take its memory
            local function is_kept(set, i)
                set(string_of("a", i))
                collectgarbage()
                collectgarbage()
                local others = {}
                for j = 1, 50 do
                    others[j] = string_of("b", i * 100 + j)
                end
                return ngx.var.own == string_of("a", i)
            end

            for name, set in pairs(setters) do
                local kept = 0
                for i = 1, 100 do
                    kept = kept + (is_kept(set, i) and 1 or 0)
                end
                ngx.say(name, ": ", kept)
            end
        }
    }
--- request
GET /t
--- response_body_like chop
^(?:set: 100
setter: 100|setter: 100
set: 100)$
--- no_error_log
[error]



=== TEST 17: an error leaves nothing in the request's memory
--- http_config
    lua_package_path "$TEST_NGINX_LUA_DIR/?.lua;;";
--- config
    set $own "";
    location = /t {
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            local long, resident = ("n"):rep(1000), require "resident"

            local function grown(name)
                local before = resident()
                for _ = 1, 40000 do
                    assert(not ngxvar.set(name, "x"))
                end
                return resident() - before
            end

            ngx.say("unknown: ", grown(long) < 8e6)
            ngx.say("not changeable: ", grown("http_" .. long) < 8e6)
            local _, err = ngxvar.set(long:upper(), "x")
            local _, expected = pcall(function () ngx.var[long:upper()] = "x" end)
            ngx.say(expected:find(err:sub(1, 200), 1, true) ~= nil)
        }
    }
--- request
GET /t
--- response_body
unknown: true
not changeable: true
true
--- no_error_log
[error]
