# getter(name), setter(name): fetch and set with a name.

use lib 't/lib';
use NgxVarTest;
use Test::Nginx::Socket::Lua 'no_plan';

add_block_preprocessor(sub {
    my ($block) = @_;
    my $http = $block->http_config // '';
    $block->set_value(http_config => <<'EOC' . ($block->in_init // '') . "    }\n$http");
    lua_package_path "$TEST_NGINX_LUA_DIR/?.lua;;";
    init_by_lua_block {
        ngxvar = require "resty.ngxvar"

        -- What a call gives, as text: the values and their number, or the error.
        local function all_of(ok, ...)
            local said = { tostring(ok), select("#", ...) }

            for i = 1, select("#", ...) do
                local value = select(i, ...)
                said[#said + 1] = type(value) .. " " .. tostring(value):gsub("^[^:]*:%d+: ", "")
            end

            return table.concat(said, ", ")
        end

        -- Calls both, as `what` says; what differs is printed.
        local count = 0

        function same(what, one, other, ...)
            local a, b = all_of(pcall(one, ...)), all_of(pcall(other, ...))

            if a ~= b then
                ngx.say(what, ": ", a, " and ", b)
            end

            count = count + 1
        end

        function counted()
            local n = count
            count = 0
            return n
        end
EOC
    $block->set_value(no_error_log => '[error]');
});

repeat_each(2);
run_tests();

__DATA__

=== TEST 1: a getter gives what fetch gives, for every kind of variable and of request
--- http_config
    lua_var_log_refused off;
    map $arg_a $mapped { default "mapped $arg_a"; }
--- config
    location = /keep { content_by_lua_block { kept = ngxvar.request() } }
    location ~ "^/(t)$" {
        set $own "own";
        content_by_lua_block {
            local req = ngxvar.request()
            local strangers = require("strangers").all()

            for _, name in ipairs {
                "uri", "args", "host", "scheme", "https", "remote_addr", "request_method",
                "server_protocol", "server_port", "status", "request_length", "bytes_sent", "own",
                "mapped", "arg_a", "http_host", "http_none", "unknown", "cookie_a",
                "connection_requests", "upstream_response_time", "from_error_page",
                "URI", "Http_Host", "ARG_a", "", "a b", "uri\0", "arg_", ("x"):rep(5000),
            } do
                local get = ngxvar.getter(name)
                local function fetch(...) return ngxvar.fetch(name, ...) end

                for _ = 1, 2 do
                    same(name, get, fetch, req)
                    same(name .. ", current", get, fetch)
                    same(name .. ", nil", get, fetch, nil)
                    same(name .. ", pointer", get, fetch, require("resty.core.base").get_request())
                    same(name .. ", stale", get, fetch, kept)
                end

                for _, stranger in ipairs(strangers) do
                    same(name .. ", " .. stranger.label, get, fetch, stranger.value)
                end
            end

            ngx.say(counted() > 4000)
        }
    }
--- request eval
["GET /keep", "GET /t?a=1"]
--- more_headers
Cookie: a=1
--- response_body eval
["", "true\n"]



=== TEST 2: a setter gives what set gives, and assigns what it assigns
--- http_config
    lua_var_log_refused off;
    map $uri $loose { default "x"; }
--- config
    location = /keep { content_by_lua_block { kept = ngxvar.request() } }
    location = /t {
        set $own "";
        content_by_lua_block {
            local req = ngxvar.request()

            for _, name in ipairs { "own", "OWN", "args", "uri", "host", "nope", "loose", "http_x" } do
                local put = ngxvar.setter(name)

                for _, value in ipairs { "text", "", 5, true, ("\0\255"):rep(50000), false } do
                    value = value or nil

                    local function assign(f, ...)
                        local ok, err = f(...)
                        local now = ngx.var[name]

                        if ok then
                            ngx.var[name] = "1"
                        end

                        return ok, err, now
                    end

                    for _, request in ipairs { req, false, kept, "a string" } do
                        same(name .. ", " .. tostring(request),
                             function (...) return assign(put, ...) end,
                             function (...) return assign(ngxvar.set, name, ...) end, value, request or nil)
                    end
                end
            end

            ngx.say(counted())
        }
    }
--- request eval
["GET /keep", "GET /t?a=1"]
--- response_body eval
["", "192\n"]



=== TEST 3: what is no name raises an error at the caller's line
--- config
    location = /t { content_by_lua_file html/t.lua; }
--- user_files
>>> t.lua
for _, f in ipairs { ngxvar.getter, ngxvar.setter } do
    for _, name in ipairs { 1, true, {}, print, 1LL, false } do
        local ok, err = pcall(function ()
            local made = f(name or nil)
            return made
        end)
        ngx.say(tostring(ok), " ", err:match("t%.lua:%d+: .*"))
    end
end
--- request
GET /t
--- response_body eval
CORE::join '', map {
    my $made = $_;
    map { "false t.lua:4: bad variable name: expected string, got $_: call ngxvar.$made(name)\n" }
        qw(number boolean table function cdata nil);
} qw(getter setter)



=== TEST 4: made in init_by_lua they work in all phases
--- in_init
        local get_uri, get_own, put_own = ngxvar.getter("uri"), ngxvar.getter("own"), ngxvar.setter("own")

        function note(phase)
            local req = ngxvar.request()
            put_own(get_own(req) .. phase:sub(1, 1), req)
            ngx.log(ngx.NOTICE, phase, ": ", get_uri(req), " ", get_own(), ";")
        end

        -- init_by_lua has no request
        nothing = { get_uri(nil) }
--- config
    location = /t {
        set $own "own";
        rewrite_by_lua_block { note("rewrite") }
        access_by_lua_block { note("access") }
        content_by_lua_block { note("content") ngx.say(tostring(nothing[1]), " ", nothing[2]) }
        header_filter_by_lua_block { note("header_filter") }
        log_by_lua_block { note("log") }
    }
--- request
GET /t
--- response_body
nil no request found
--- log_level: notice
--- grep_error_log eval
qr/\w+: \/t \w+;/
--- grep_error_log_out
rewrite: /t ownr;
access: /t ownra;
content: /t ownrac;
header_filter: /t ownrach;
log: /t ownrachl;
