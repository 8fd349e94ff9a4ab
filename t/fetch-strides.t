# nginx's array elements may be larger than those that this module was built with, as
# upstream states are in Kong's build: the array has their size.  Here a request gets such an
# array during a read.

use lib 't/lib';
use NgxVarTest;
use NginxHeaders;
use Test::Nginx::Socket::Lua 'no_plan';

my %of = NginxHeaders::numbers(
    states   => 'offsetof(ngx_http_request_t, upstream_states)',
    response => 'offsetof(ngx_http_upstream_state_t, response_time)',
    header   => 'offsetof(ngx_http_upstream_state_t, header_time)',
    connect  => 'offsetof(ngx_http_upstream_state_t, connect_time)',
    state    => 'sizeof(ngx_http_upstream_state_t)',
    array    => 'sizeof(ngx_array_t)',
);
$ENV{TEST_NGINX_OF} = join ', ', map { "$_ = $of{$_}" } sort keys %of;

add_block_preprocessor(sub {
    my ($block) = @_;
    $block->set_value(http_config => ($block->http_config // '') . <<'EOC');
    lua_package_path "$TEST_NGINX_LUA_DIR/?.lua;;";
    init_by_lua_block {
        local ffi = require "ffi"
        local c = require "lua_var_c"
        local ngxvar = require "resty.ngxvar"
        local of = { $TEST_NGINX_OF }

        ffi.cdef[[
            typedef struct {
                char *elts; uint64_t nelts; size_t size; uint64_t nalloc; void *pool;
            } test_array_t;
        ]]
        assert(ffi.sizeof("test_array_t") == of.array)

        local names = { "upstream_response_time", "upstream_header_time", "upstream_connect_time" }

        -- Each time as each way reads it, a line for each.  The elements of the crafted array
        -- have `more` additional bytes, which must not be read.
        function times(attempts, more)
            local r = c.request()
            local size = of.state + more
            local elts = ffi.new("char[?]", size * math.max(#attempts, 1))
            anchor = elts
            ffi.fill(elts, size * #attempts, 0x11)
            for i, attempt in ipairs(attempts) do
                local state = elts + (i - 1) * size
                ffi.cast("int64_t *", state + of.response)[0] = attempt[1]
                ffi.cast("int64_t *", state + of.header)[0] = attempt[2]
                ffi.cast("int64_t *", state + of.connect)[0] = attempt[3]
            end

            local array = ffi.new("test_array_t", { elts, #attempts, size, #attempts, nil })
            local place = ffi.cast("void **", ffi.cast("char *", r) + of.states)
            local before = place[0]
            local lines = {}

            local handle = ngxvar.request()
            local function ask()
                for _, name in ipairs(names) do
                    local _, text = c.time(name, r)
                    lines[#lines + 1] = table.concat({ name:match("_(%l+)_"),
                        tostring(ngxvar.fetch(name)), tostring(ngxvar.fetch(name, handle)),
                        text }, " ")
                end
            end

            place[0] = array
            local ok, err = pcall(ask)
            place[0] = before

            assert(ok, err)
            return table.concat(lines, "\n")
        end
    }
EOC
    $block->set_value(no_error_log => '[error]');
});

repeat_each(2);
run_tests();

__DATA__

=== TEST 1: upstream times of two attempts are summed with nginx's element size
--- config
    location = /t {
        content_by_lua_block {
            local attempts = { { 250, 200, 3 }, { 1301, 300, 4 } }
            for _, more in ipairs { 0, 8, 40, 72, 1000 } do
                ngx.say(more, "\n", times(attempts, more))
            end
        }
    }
--- request
GET /t
--- response_body eval
my $said = "response 1.551 1.551 1.551\nheader 0.5 0.5 0.500\nconnect 0.007 0.007 0.007\n";
CORE::join('', map { "$_\n$said" } 0, 8, 40, 72, 1000)



=== TEST 2: one attempt, and five of which one reached no server, are read with nginx's element size
--- config
    location = /t {
        content_by_lua_block {
            ngx.say(times({ { 250, 200, 3 } }, 40))
            ngx.say(times({ { 1, 1, 1 }, { 10, 10, 10 }, { 100, -1, -1 }, { 1000, 1000, 1000 },
                            { 10000, 10000, 10000 } }, 40))
        }
    }
--- request
GET /t
--- response_body
response 0.25 0.25 0.250
header 0.2 0.2 0.200
connect 0.003 0.003 0.003
response 11.111 11.111 11.111
header 11.011 11.011 11.011
connect 11.011 11.011 11.011



=== TEST 3: without an attempt the element size does not matter
--- config
    location = /t {
        content_by_lua_block {
            ngx.say(times({}, 0) == times({}, 40))
        }
    }
--- request
GET /t
--- response_body
true
