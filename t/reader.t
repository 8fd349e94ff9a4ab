# reader(names): many variables of one request, in order or by name.

use lib 't/lib';
use NgxVarTest;
use Test::Nginx::Socket::Lua 'no_plan';

our $HTTP = <<'END';
    lua_package_path "$TEST_NGINX_LUA_DIR/?.lua;;";
    lua_var_log_refused off;
    map $arg_a $mapped { default "mapped $arg_a"; }
    init_by_lua_block {
        local ngxvar = require "resty.ngxvar"
        NAMES = { "uri", "Status", "request_method", "http_user_agent", "ARG_a", "cookie_c", "sent_http_x",
                  "none", "own", "mapped", "request_time", "upstream_response_time", "http_none", "msec",
                  "server_port", "from_error_page" }
        -- made before variables exist
        early = ngxvar.reader(NAMES)

        -- several reads in one call, because the first one resolves the names
        local function pack(...)
            return { n = select("#", ...), ... }
        end

        -- where it differs from fetch
        function compare(read, req)
            local late, bad = ngxvar.reader(NAMES), {}
            for _, reader in ipairs { read, late } do
                local values = pack(reader(req))
                local by_name = reader:table(req)
                local filled = reader:table(req, { none = 1, other = 2 })
                if values.n ~= #NAMES then bad[#bad + 1] = values.n .. " values" end
                for i, name in ipairs(NAMES) do
                    local want = ngxvar.fetch(name, req)
                    if values[i] ~= want or by_name[name] ~= want or filled[name] ~= want then
                        bad[#bad + 1] = name .. ": " .. tostring(values[i]) .. " " .. tostring(by_name[name])
                                        .. " " .. tostring(filled[name]) .. ", fetch " .. tostring(want)
                    end
                end
                if filled.other ~= 2 then bad[#bad + 1] = "other" end
            end
            return #bad == 0 and "right" or table.concat(bad, "\n")
        end
    }
END

add_block_preprocessor(sub {
    my ($block) = @_;
    $block->set_value(http_config  => $main::HTTP . ($block->http_config // ''));
    $block->set_value(no_error_log => '[error]') if !defined $block->error_log;
});

repeat_each(2);
run_tests();

__DATA__

=== TEST 1: a reader reads what fetch reads, in all phases and for each form of a request
--- config
    location = /t {
        set $own "own";
        rewrite_by_lua_block { ngx.ctx.said = { compare(early) } }
        access_by_lua_block { table.insert(ngx.ctx.said, compare(early, require("resty.ngxvar").request())) }
        content_by_lua_block {
            local said = ngx.ctx.said
            table.insert(said, compare(early, require("resty.core.base").get_request()))
            ngx.header.x = "x"
            table.insert(said, compare(early, nil))
            ngx.say(table.concat(said, "\n"))
        }
        log_by_lua_block { ngx.log(ngx.NOTICE, "log: ", compare(early)) }
    }
--- request
GET /t?a=1
--- more_headers
Cookie: c=cookie
User-Agent: agent
--- response_body
right
right
right
right
--- error_log
log: right



=== TEST 2: numbers are Lua numbers, and an unset variable leaves nil in its place
--- config
    location = /t {
        content_by_lua_block {
            local read = require("resty.ngxvar").reader { "none", "request_length", "uri", "http_none" }
            local a, b, c, d = read()
            ngx.say(tostring(a), " ", type(b), " ", c, " ", tostring(d), " ", select("#", read()))
            local t = { none = 1 }
            ngx.say(rawequal(read:table(nil, t), t), " ", tostring(t.none), " ", t.uri)
        }
    }
--- request
GET /t
--- response_body
nil number /t nil 4
true nil /t



=== TEST 3: a reader sees changes, compiled and interpreted
--- config
    location = /t {
        content_by_lua_block {
            local read = require("resty.ngxvar").reader { "args", "arg_a", "http_b" }
            for _, jitted in ipairs { true, false } do
                if jitted then jit.on() else jit.off() end
                for i = 1, 300 do
                    ngx.req.set_uri_args("a=" .. i)
                    ngx.req.set_header("B", "b" .. i)
                    local args, a, b = read()
                    if args ~= "a=" .. i or a ~= tostring(i) or b ~= "b" .. i then
                        ngx.say(i, ": ", args, " ", a, " ", b)
                    end
                end
            end
            jit.on()
            ngx.say("done")
        }
    }
--- request
GET /t
--- response_body
done



=== TEST 4: a stale handle, and what is no request, get nil and the reason
--- config
    location = /keep { content_by_lua_block { package.loaded.kept = require("resty.ngxvar").request() } }
    location = /t {
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            local read = ngxvar.reader { "uri", "host" }
            local kept = package.loaded.kept
            local count = ngxvar.stats()['refused_total{reason="stale"}']

            ngx.say(select("#", read(kept)), select(2, read(kept)), " ", select(2, read:table(kept)))
            -- once for all of its names
            ngx.say(ngxvar.stats()['refused_total{reason="stale"}'] - count)
            ngx.say(select(2, read("a string")))

            local strangers = require "strangers"
            ngx.say(strangers.refused(function (req) return read(req) end), " ",
                    strangers.refused(function (req) return read:table(req) end))
        }
    }
--- request eval
["GET /keep", "GET /t"]
--- response_body eval
["", "2stale request stale request\n3\nbad request: expected a handle from request() or the current request's pointer, got string: call ngxvar.fetch(name, req)\nrefused refused\n"]



=== TEST 5: in a timer a reader gets nil and the reason
--- config
    location = /t {
        content_by_lua_block {
            local read, said = require("resty.ngxvar").reader { "uri" }
            ngx.timer.at(0, function () said = select(2, read()) end)
            repeat ngx.sleep(0.005) until said
            ngx.say(said)
        }
    }
--- request
GET /t
--- response_body
no variables in this context (TLS handshake, timer or worker start)



=== TEST 6: what a reader cannot be made of raises an error
--- config
    location = /t {
        content_by_lua_block {
            local reader = require("resty.ngxvar").reader
            local many = {}
            for i = 1, 65 do many[i] = "uri" end
            for _, names in ipairs { {}, { "uri", 1 }, { true }, many, "uri", 1 } do
                ngx.say((select(2, pcall(reader, names))))
            end
            ngx.say((select(2, pcall(reader))))
            ngx.say((select(2, pcall(function () reader { 1 } end))):match("^content_by_lua%S*:%d+: ") ~= nil)

            many[65] = nil
            ngx.say(select("#", reader(many)()), " ", (select(64, reader(many)())))

            local read = reader { "uri" }
            ngx.say((select(2, pcall(read.table, read, nil, 1))))
        }
    }
--- request
GET /t
--- response_body
bad argument to reader(): expected 1 to 64 names, got 0
bad argument to reader(): expected a name as number 2, got number
bad argument to reader(): expected a name as number 1, got boolean
bad argument to reader(): expected 1 to 64 names, got 65
bad argument to reader(): expected a list of names, got string: call ngxvar.reader { "uri", "host" }
bad argument to reader(): expected a list of names, got number: call ngxvar.reader { "uri", "host" }
bad argument to reader(): expected a list of names, got nil: call ngxvar.reader { "uri", "host" }
true
64 /t
bad argument to read:table(): expected a table to fill, got number



=== TEST 7: a reader keeps its names when the list changes
--- config
    location = /t {
        content_by_lua_block {
            local names = { "HTTP_" .. ("x"):rep(40), "arg_" .. ("y"):rep(40) }
            local read = require("resty.ngxvar").reader(names)
            local key = names[2]
            names[1], names[2] = nil, nil
            for i = 1, 50 do collectgarbage() end
            for i = 1, 100 do local junk = ("z"):rep(i) end
            local one, two = read()
            ngx.say(one, " ", two, " ", read:table()[key])
        }
    }
--- request eval
"GET /t?" . ('y' x 40) . "=two"
--- more_headers eval
('x' x 40) . ": one"
--- response_body
one two two



=== TEST 8: keys are the names as they were given
--- config
    location = /t {
        content_by_lua_block {
            local t = require("resty.ngxvar").reader { "URI", "uri", "Http_Host" }:table()
            ngx.say(t.URI, " ", t.uri, " ", t.Http_Host, " ", tostring(t.http_host))
        }
    }
--- request
GET /t
--- response_body
/t /t localhost nil



=== TEST 9: read.table() with a dot raises an error that names read:table
--- config
    location = /keep { content_by_lua_block { package.loaded.kept = require("resty.ngxvar").request() } }
    location = /t {
        content_by_lua_block {
            local ngxvar = require "resty.ngxvar"
            local read = ngxvar.reader { "uri" }
            local arguments = {
                { n = 0 }, { n = 1, package.loaded.kept }, { n = 1, ngxvar.request() }, { n = 1 },
                { n = 2, nil, {} }, { n = 1, {} }, { n = 1, require("resty.core.base").get_request() },
                { n = 1, "uri" },
            }

            for i, list in ipairs(arguments) do
                local ok, err = pcall(function () return (read.table(unpack(list, 1, list.n))) end)

                if ok or not tostring(err):find("^content_by_lua%S*:%d+: .*read:table") then
                    ngx.say(i, ": ", tostring(err))
                end
            end

            ngx.say(read:table().uri, " ", read.table(read).uri, " ", read:table(ngxvar.request()).uri)
        }
    }
--- request eval
["GET /keep", "GET /t"]
--- response_body eval
["", "/t /t /t\n"]
