# A request whose slot is occupied, but whose memory no longer looks like that request: it is
# refused before anything else of it is read.  src/validation.rs.
#
# nginx damages no request so, except that it sets the pool to NULL before it destroys it.  Lua
# overwrites the members that are compared, reads, and restores them.

use v5.36;
use lib 't/lib';
use NginxHeaders;
use NgxVarTest;
use Test::Nginx::Socket::Lua 'no_plan';

my %of = NginxHeaders::numbers(map { $_ => "offsetof(ngx_http_request_t, $_)" } qw(signature connection pool));
my $offsets = join ', ', map { "$_ = $of{$_}" } sort keys %of;

add_block_preprocessor(sub ($block) {
    $block->set_value(http_config => <<"END" . <<'END');
    init_by_lua_block {
        local offset_of = { $offsets }
END
        local ffi = require "ffi"
        local C = ffi.C
        local get_request = require("resty.core.base").get_request
        ngxvar = require "resty.ngxvar"
        uri = ngxvar.getter("uri")
        own = ngxvar.getter("own")
        set_own = ngxvar.setter("own")

        ffi.cdef "int ngx_http_lua_var_ffi_uri(ngx_http_request_t *r, ngx_str_t *uri);"

        local text = ffi.new("ngx_str_t")

        local function ways(handle)
            local r = get_request()
            return {
                { "live", ngxvar.live(handle) },
                { "fetch", ngxvar.fetch("uri", handle) },
                { "fetch, set variable", ngxvar.fetch("own", handle) },
                { "fetch, pointer", ngxvar.fetch("uri", r) },
                { "fetch, current", ngxvar.fetch("uri") },
                { "getter", uri(handle) },
                { "getter, set variable", own(handle) },
                { "set", ngxvar.set("own", "changed", handle) },
                { "setter", set_own("changed", handle) },
                { "C", C.ngx_http_lua_var_ffi_uri(r, text) == 0 and "/t" or nil },
            }
        end

        -- the result of each way while the member at an offset is overwritten
        function damaged(ctype, member, value)
            local handle = ngxvar.request()
            local at = ffi.cast("char *", get_request()) + offset_of[member]
            local place = ffi.cast(ctype .. "*", at)
            local right = place[0]

            -- names are resolved before that
            uri(handle)
            own(handle)

            place[0] = value
            local ok, answers = pcall(ways, handle)
            place[0] = right

            assert(ok, answers)
            for _, answer in ipairs(answers) do
                if answer[2] then
                    ngx.say(answer[1], ": ", answer[2])
                end
            end
            ngx.say("own: ", ngx.var.own, ", live: ", ngxvar.live(handle))
        end
    }
END
    $block->set_value(request => 'GET /t');
});

repeat_each(2);
run_tests();

__DATA__

=== TEST 1: an unchanged request is read
--- config
    location = /t {
        set $own "own";
        content_by_lua_block { damaged("uint32_t", "signature", 0x50545448) }
    }
--- response_body
live: true
fetch: /t
fetch, set variable: own
fetch, pointer: /t
fetch, current: /t
getter: /t
getter, set variable: own
set: true
setter: true
C: /t
own: changed, live: true
--- no_error_log
[error]



=== TEST 2: a request with another signature is refused
--- config
    location = /t {
        set $own "own";
        content_by_lua_block { damaged("uint32_t", "signature", 0) }
    }
--- response_body
own: own, live: true
--- no_error_log
[error]



=== TEST 3: a request with another connection is refused
--- config
    location = /t {
        set $own "own";
        content_by_lua_block {
            local another = require("ffi").new("char[1024]")
            damaged("void *", "connection", another)
        }
    }
--- response_body
own: own, live: true
--- no_error_log
[error]



=== TEST 4: a request whose pool is being destroyed is refused
--- config
    location = /t {
        set $own "own";
        content_by_lua_block { damaged("void *", "pool", nil) }
    }
--- response_body
own: own, live: true
--- no_error_log
[error]
