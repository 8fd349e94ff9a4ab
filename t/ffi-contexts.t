# Calls every function that the module exports for FFI in every context in which Lua runs,
# with the current request: where there are no variables all of them refuse, and the worker
# survives.  The arguments of the library's own follow the declarations in src/shim/ffi.h, so that
# a new function is called too.

use v5.36;
use lib 't/lib';
use NgxVarTest;
use NgxVarTest::File qw(read_file);
use Test::Nginx::Socket::Lua 'no_plan';

# Functions that are declared in t/lib/lua_var_c.lua.
our %functions = (
    (map { ("ngx_http_lua_var_ffi_$_" => [ 'request', 'buffer' ]) }
        qw(uri host remote_addr scheme request_time)),
    ngx_http_lua_var_ffi_upstream_response_time => [ 'request', 'buffer', 'number' ],
);

sub kind ($parameter) {
    return 'request' if $parameter =~ /ngx_http_request_t\s*\*/;
    return 'buffer'  if $parameter =~ /\*/;
    return 'number';
}

# Those of the library's own, if there are any.
my $file   = NgxVarTest::Env::root() . '/src/shim/ffi.h';
my $header = -f $file ? read_file($file) : '';
while ($header =~ /\b(ngx_http_lua_var_ffi_\w+)\s*\(([^)]*)\)\s*;/g) {
    my ($name, $parameters) = ($1, $2);
    $functions{$name} = [ map { kind($_) } split /\s*,\s*/, $parameters ];
}
$ENV{TEST_NGINX_FUNCTIONS} = join ', ',
    map { "$_ = { " . join(', ', map { qq("$_") } $functions{$_}->@*) . ' }' } sort keys %functions;

# When the module is linked in, nginx exports its functions.
my $module = NgxVarTest::Env::module() // NgxVarTest::Env::nginx();
my @exported = sort `nm -D --defined-only $module` =~ /(ngx_http_lua_var_ffi_\w+)/g;
is("@exported", join(' ', sort keys %functions), 'every function that is exported is called');

add_block_preprocessor(sub ($block) {
    my $init = $block->in_init // '';
    $block->set_value(http_config => <<"EOC" . ($block->http_config // ''));
    lua_package_path "\$TEST_NGINX_LUA_DIR/?.lua;;";
    init_by_lua_block {
        C = require "ffi_contexts"
        C.functions = { \$TEST_NGINX_FUNCTIONS }
        $init
    }
EOC
    $block->set_value(no_error_log => '[error]');
});

repeat_each(2);
run_tests();

__DATA__

=== TEST 1: all functions refuse in init_by_lua
--- in_init: said = C.refuse()
--- config
    location = /t { content_by_lua_block { ngx.say(said) } }
--- request
GET /t
--- response_body
refused



=== TEST 2: all functions refuse in init_worker_by_lua, and its request afterwards
--- http_config
    init_worker_by_lua_block { said = C.refuse() }
--- config
    location = /t { content_by_lua_block { ngx.say(said, ", later ", C.refuse_all(C.seen)) } }
--- request
GET /t
--- response_body
refused, later refused



=== TEST 3: all functions refuse in a timer, with and without a handle and a ngx.ctx
--- config
    location = /t {
        content_by_lua_block {
            local said = {}

            local function in_timer(label, before)
                assert(ngx.timer.at(0, function ()
                    before()
                    local text = C.refuse()
                    -- ngx.ctx has to be there still
                    said[#said + 1] = label .. ": " .. text .. " " .. tostring(ngx.ctx.id)
                end))
                local n = #said
                while #said == n do ngx.sleep(0.001) end
                ngx.say(said[#said], ", later ", C.refuse_all(C.seen))
            end

            local request = require("resty.ngxvar").request

            in_timer("nothing", function () end)
            in_timer("handle", function () request() end)
            in_timer("ctx", function () ngx.ctx.id = 1 end)
            in_timer("handle, ctx", function () request() ngx.ctx.id = 2 end)
            in_timer("ctx, handle", function () ngx.ctx.id = 3 request() end)
            in_timer("assigned", function () request() ngx.ctx = { id = 4 } end)
        }
    }
--- request
GET /t
--- response_body
nothing: refused nil, later refused
handle: refused nil, later refused
ctx: refused 1, later refused
handle, ctx: refused 2, later refused
ctx, handle: refused 3, later refused
assigned: refused 4, later refused



=== TEST 4: a timer with a handle and a ngx.ctx has lost none
--- config
    location = /t {
        content_by_lua_block {
            local ffi = require "ffi"
            local get_request = require("resty.core.base").get_request
            local lost

            require "resty.ngxvar"
            assert(ngx.timer.at(0, function ()
                require("resty.ngxvar").request()
                ngx.ctx.id = "mine"
                lost = ffi.C.ngx_http_lua_var_ffi_ctx_lost(get_request(), 0)
            end))
            while not lost do ngx.sleep(0.001) end
            ngx.say(lost)
        }
    }
--- request
GET /t
--- response_body
0
--- skip_eval
3: # no such function is exported
!$main::functions{ngx_http_lua_var_ffi_ctx_lost}



=== TEST 5: all functions refuse in a TLS handshake, and its request afterwards
--- http_config
    server {
        listen 127.0.0.1:$TEST_NGINX_PORT1 ssl;
        ssl_certificate     $TEST_NGINX_CERT_DIR/test.crt;
        ssl_certificate_key $TEST_NGINX_CERT_DIR/test.key;
        ssl_client_hello_by_lua_block { ngx.ctx.id = 1 hello = C.refuse() }
        ssl_certificate_by_lua_block {
            ngx.ctx.id = 1
            certificate = C.refuse() .. " " .. ngx.ctx.id
            in_handshake = C.seen
        }
        location / {
            content_by_lua_block {
                ngx.say("hello: ", hello, ", certificate: ", certificate, ", later: ",
                        C.refuse_all(in_handshake))
            }
        }
    }
--- config
    location = /t {
        content_by_lua_block {
            ngx.print(require("client").get("/", { port = $TEST_NGINX_PORT1, tls = true }).body)
        }
    }
--- request
GET /t
--- response_body
hello: refused, certificate: refused 1, later: refused



=== TEST 6: all functions serve in every phase and leave the request as it was
--- http_config
    server_rewrite_by_lua_block { C.serve() }
    rewrite_by_lua_block { C.serve() }
    access_by_lua_block { C.serve() }
    header_filter_by_lua_block { C.serve() }
    body_filter_by_lua_block { C.serve() }
    log_by_lua_block { C.serve() }
--- config
    set_by_lua_block $unused { C.serve() }
    location = /t {
        content_by_lua_block {
            C.serve()
            ngx.say(C.report())
            ngx.eof()
            C.serve()
        }
    }
--- request eval
["GET /t?a=1", "GET /t?a=1"]
--- response_body_like eval
[ "^served in .*server_rewrite set rewrite access content\n\$",
  "^served in server_rewrite set rewrite access content header_filter (?:body_filter )+content log server_rewrite" ]



=== TEST 7: all functions serve in a subrequest, in its subrequest, and after both
--- config
    location = /inner { content_by_lua_block { C.serve() ngx.say("inner") } }
    location = /sub {
        content_by_lua_block {
            C.serve()
            ngx.print(ngx.location.capture("/inner?b=2").body)
            C.serve()
        }
        header_filter_by_lua_block { C.serve() }
        body_filter_by_lua_block { C.serve() }
    }
    location = /t {
        content_by_lua_block {
            C.serve()
            ngx.print(ngx.location.capture("/sub?a=1").body)
            C.serve()
            ngx.say(C.report():match("served"))
        }
    }
--- request
GET /t
--- response_body
inner
served



=== TEST 8: all functions serve after internal redirects and in a balancer
--- http_config
    upstream balanced {
        server 0.0.0.1;
        balancer_by_lua_block {
            C.serve()
            assert(require("ngx.balancer").set_current_peer("127.0.0.1", $TEST_NGINX_PORT1))
        }
    }
    server {
        listen 127.0.0.1:$TEST_NGINX_PORT1;
        location / { return 200 "balanced\n"; }
    }
--- config
    error_page 404 /balanced;
    location = /t { access_by_lua_block { ngx.ctx.id = 1 C.serve() ngx.exec("/u") } }
    location = /u { rewrite_by_lua_block { C.serve() ngx.exec("@v") } }
    location @v { content_by_lua_block { C.serve() ngx.exit(404) } }
    location = /balanced {
        rewrite_by_lua_block { C.serve() }
        proxy_pass http://balanced;
        header_filter_by_lua_block { C.serve() ngx.header["X-Said"] = C.report():match("served") }
    }
--- request
GET /t
--- error_code: 404
--- response_body
balanced
--- response_headers
X-Said: served
