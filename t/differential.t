# fetch and the getters agree with ngx.var: for every variable of nginx and its
# modules (t/lib/differential.lua), for requests of every shape (t/lib/shapes.lua),
# in every phase.  Variables that the configuration uses are indexed, and nginx caches most
# of their values, so everything is checked with all of them indexed and with few.

use lib 't/lib';
use NgxVarTest;
use NgxVarTest::File qw(read_file);
use Test::Nginx::Socket::Lua 'no_plan';

my $has_ipv6 = NgxVarTest::Ports::has_ipv6();
$ENV{TEST_NGINX_LISTEN_IPV6} = $has_ipv6 ? "listen [::1]:$ENV{TEST_NGINX_PORT5};" : '';
$ENV{TEST_NGINX_IPV6} = $has_ipv6 ? $ENV{TEST_NGINX_PORT5} : 'nil';

# A map of all variables that every supported nginx knows, so that they are indexed.
my $index_all = do {
    my $text = read_file(NgxVarTest::Env::lib_dir() . '/differential.lua');
    my ($groups) = $text =~ /^_M\.groups = \{(.*?)^    nothing/ms or die 'no groups';
    $groups =~ s/--.*//g;
    # memcheck reports these when they are indexed: their modules leave one bit of a value
    # uninitialised, which getters read with its neighbours and mask
    $groups =~ s/\b(?:geo|split|mapped)\b//g if $ENV{TEST_NGINX_USE_VALGRIND};
    my %newer = map { $_ => 1 } qw(proxy_protocol_tlv_alpn ssl_client_v_remain);
    my @names = grep { !$newer{$_} } map { split } $groups =~ /(?:\[\[|")([\w\s]+)(?:\]\]|")/g;
    'map "' . join('', map { "\${$_}" } @names) . '" $all_of_them { default ""; }';
};

# Common to all blocks: each request is checked in all phases.
add_block_preprocessor(sub {
    my ($block) = @_;
    $block->set_value(http_config => ($block->indexed ? $index_all : '') . <<'EOC');
    lua_package_path "$TEST_NGINX_LUA_DIR/?.lua;;";
    init_by_lua_block { D = require "differential" }

    server_rewrite_by_lua_block { D.check("server_rewrite") }
    rewrite_by_lua_block { D.check("rewrite") }
    access_by_lua_block { D.check("access") }
    header_filter_by_lua_block { D.check("header_filter") }
    body_filter_by_lua_block { D.check("body_filter") }
    log_by_lua_block { D.check("log") }

    geo $geo { default far; 127.0.0.1 near; 10.0.0.0/8 private; }
    map $uri $mapped { default "mapped $uri"; /s "s"; }
    map $arg_a $fresh_map { volatile; default "fresh $arg_a"; }
    split_clients "$request_uri" $split { 50% a; * b; }
    set_real_ip_from 127.0.0.1;
    set_real_ip_from 1.2.3.4;
    real_ip_header X-Nothing;
    underscores_in_headers on;
    ssl_certificate     $TEST_NGINX_CERT_DIR/test.crt;
    ssl_certificate_key $TEST_NGINX_CERT_DIR/test.key;

    server {
        listen 127.0.0.1:$TEST_NGINX_PORT1;
        $TEST_NGINX_LISTEN_IPV6
        listen unix:$TEST_NGINX_SERVROOT/logs/shape.sock;
        listen 127.0.0.1:$TEST_NGINX_PORT2 ssl;
        listen 127.0.0.1:$TEST_NGINX_PORT3 proxy_protocol;
        listen 127.0.0.1:$TEST_NGINX_PORT4 http2;
        server_name shape.test alias.test;
        include $TEST_NGINX_HTML_DIR/locations.conf;
    }
    server {
        listen 127.0.0.1:$TEST_NGINX_PORT1;
        listen 127.0.0.1:$TEST_NGINX_PORT2 ssl;
        server_name ~^(?<named>\w+)\.shape\.test$;
        include $TEST_NGINX_HTML_DIR/locations.conf;
    }
    server {
        listen 127.0.0.1:$TEST_NGINX_PORT6;
        server_name "";
        real_ip_header X-Real-IP;
        include $TEST_NGINX_HTML_DIR/locations.conf;
    }
    server {
        listen 127.0.0.1:$TEST_NGINX_PORT7 proxy_protocol;
        real_ip_header proxy_protocol;
        include $TEST_NGINX_HTML_DIR/locations.conf;
    }
EOC

    my $one_in = ($block->sparse // 1) * ($ENV{TEST_NGINX_USE_VALGRIND} ? 20 : 1);

    my $compiled = $block->compiled ? 'D.compare_compiled()' : '';

    $block->set_value(config => <<'EOC' =~ s/ONE_IN/$one_in/gr =~ s/COMPILED/$compiled/r);
    location = /t {
        content_by_lua_block {
            D.sparse(ONE_IN)
            COMPILED
            local phases, bad = require("shapes").run(D, {
                plain = $TEST_NGINX_PORT1, ipv6 = $TEST_NGINX_IPV6,
                unix = "unix:$TEST_NGINX_SERVROOT/logs/shape.sock", tls = $TEST_NGINX_PORT2,
                proxy = $TEST_NGINX_PORT3, h2 = $TEST_NGINX_PORT4,
                realip = $TEST_NGINX_PORT6, proxy_realip = $TEST_NGINX_PORT7,
            })
            ngx.say(phases)
            ngx.say("different: ", bad)

            -- was there something to compare?  (With indices, the first phase says.)
            if not ngx.var.all_of_them and D.is_dense() then
                ngx.say("never set: ", D.never_set("core", "tcpinfo", "own"))
            end
        }
    }
EOC

    $block->set_value(user_files => <<'EOC');
>>> locations.conf
keepalive_timeout 60 60;
set $own "own value";
set $memcached_key "key";
set $auth_value "";
set_by_lua_block $unused { D.check("set") }
root html;
location /s {
    client_body_buffer_size 8k;
    content_by_lua_block {
        -- which some versions of lua-nginx-module refuse for HTTP/2 without a length
        pcall(ngx.req.read_body)
        D.check("content")
        ngx.header["X-Test"] = "sent"
        ngx.header["Cache-Control"] = { "no-cache", "no-store" }
        ngx.header["Link"] = "</>; rel=home"
        ngx.say("some content")
        D.check("content, sent")
    }
}
location /small { client_max_body_size 1k; content_by_lua_block { ngx.req.read_body() } }
location = /return { return 200 "returned"; }
location = /gzip { gzip on; gzip_min_length 1; default_type text/html; return 200 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"; }
location = /stub_status { stub_status; }
location = /deny { deny all; }
>>> file.txt
text of the file
>>> dir/index.html
index
EOC

    $block->set_value(request => 'GET /t');
    $block->set_value(timeout => $ENV{TEST_NGINX_USE_VALGRIND} ? '120s' : '30s');
    $block->set_value(no_error_log => '[alert]');
    my $never_set = $block->indexed || $one_in > 1 ? '' : "never set: arg_none cookie_none "
        . "http_none sent_http_none sent_trailer_none sent_trailer_x\n";

    $block->set_value(response_body => <<'EOC' . $never_set);
server_rewrite set rewrite access content header_filter body_filter content, sent log: all others
server_rewrite set rewrite access content header_filter content, sent log: HEAD
header_filter body_filter log: TRACE; HTTP/2, no host; empty Host; plain HTTP to the TLS port; 400, no Host; 400, two Hosts; 400, bad Host; 400, no colon; 400, bad header; 400, bad method; 400, nonsense; 400, header too long; 400, bad length; 414; 505; 501
server_rewrite set rewrite access content content, sent header_filter body_filter log: HTTP/0.9; HTTP/1.0; HTTP/1.0 with a host; HTTP/1.0, keepalive; absolute URI, HTTP/1.0; TLS, HTTP/1.0
server_rewrite set rewrite access header_filter body_filter log: 404; 405; a file; a range of a file; not modified; a redirect; an index; stub_status
server_rewrite set header_filter body_filter log: 413; return; gzip
server_rewrite set rewrite header_filter body_filter log: deny
log: left in the request line; left in the headers
server_rewrite set rewrite access log: left in the body
different: 
EOC
});

repeat_each(1);
run_tests();

__DATA__

=== TEST 1: all variables agree with ngx.var



=== TEST 2: all variables agree with ngx.var when all are indexed
--- indexed: 1



=== TEST 3: all variables agree with ngx.var when all are indexed and few are cached
--- indexed: 1
--- sparse: 6
--- skip_eval
3: # memcheck gets only such blocks
$ENV{TEST_NGINX_USE_VALGRIND}



=== TEST 4: all variables agree with ngx.var in compiled code
--- compiled: 1
--- sparse: 8
--- skip_eval
3: # memcheck would have to follow thousands of traces
$ENV{TEST_NGINX_USE_VALGRIND}



=== TEST 5: all variables agree with ngx.var in compiled code when all are indexed
--- compiled: 1
--- indexed: 1
--- sparse: 8
--- skip_eval
3: # memcheck would have to follow thousands of traces
$ENV{TEST_NGINX_USE_VALGRIND}
