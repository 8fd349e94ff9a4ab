# Without lua-nginx-module: what is left is $from_error_page.

use v5.36;
use lib 't/lib';

BEGIN {
    # Only this module.
    require NgxVarTest::Env;
    if (NgxVarTest::Nginx->is_linked('ngx_http_lua_module')) {
        require Test::More;
        Test::More::plan(skip_all => 'the Lua module is linked in');
    }
    $ENV{TEST_NGINX_LOAD_MODULES} //= NgxVarTest::Env::built_module();
    $ENV{TEST_NGINX_LOAD_MODULES} = NgxVarTest::Env::module();
}

use NgxVarTest;
use Test::Nginx::Socket 'no_plan';
use NginxServer;

# The pages that most blocks are redirected to.
add_block_preprocessor(sub ($block) {
    my $config = $block->config // return;
    for my $page ('= /page', '@page') {
        next if index($config, "location $page ") >= 0;
        $config .= qq[    location $page { return 200 "[\$from_error_page] \$uri?\$args\\n"; }\n];
    }
    $block->set_value(config => $config);
    $block->set_value(request => 'GET /t') if !defined $block->request;
    $block->set_value(no_error_log => '[error]') if !defined $block->error_log;
});

log_level('info');
repeat_each(2);
run_tests();

# The log of nginx -t, a start, a request, a reload and a stop.
{
    my $port  = NginxServer->port(9);
    my $nginx = NginxServer->new(http => <<"END");
        lua_var_ctx_restore all;
        server {
            listen 127.0.0.1:$port;
            error_page 500 /page;
            location / { return 500; }
            location = /page { return 200 "[\$from_error_page]"; }
        }
END
    my ($status, $output) = $nginx->test;
    is($status, 0, 'nginx -t passes');
    my $warning = "[warn] lua_var: ngx_http_lua_module is not loaded, so lua_var_ctx_restore does nothing\n";
    is(join('', map { s/^nginx: //r } grep { !/syntax is ok|test is successful/ } split /^/, $output), $warning,
        'and says which directives do nothing');

    my $said = sub {
        return join '', map { s/version [\d.]\S*, built for \S+,/version V, built for N,/r }
            map { /(\[\w+\]) \S+ (lua_var.*\n)/ ? "$1 $2" : () } $nginx->log_lines;
    };
    my $notice = "[notice] lua_var: version V, built for N, layout agrees, lua_var_ctx_restore all\n";
    my $line = $warning . $notice
        . "[info] lua_var: ngx_http_lua_module is not loaded, only the module's variables are served\n";
    my $all = $line . $line;
    $nginx->start;
    is($nginx->get('/t', port => $port)->{content}, '[true]', '$from_error_page is "true" on an error page');
    # `nginx -t` wrote to the same log
    is($said->(), $all, 'the notice at the start says that the Lua module is not loaded');
    $nginx->reload;
    is($nginx->get('/t', port => $port)->{content}, '[true]', '$from_error_page is "true" on an error page after a reload');
    is($said->(), $all . $line, 'the notice comes again with a reload');
    $nginx->stop_cleanly;
}

__DATA__

=== TEST 1: $from_error_page is empty without an error
--- config
    location = /t { return 200 "[$from_error_page]\n"; }
--- response_body
[]



=== TEST 2: it is "true" after error_page to a URI
--- config
    error_page 500 /page;
    location = /t { return 500; }
--- error_code: 500
--- response_body
[true] /page?



=== TEST 3: it is "true" after error_page to a URI with arguments, which arrive
--- config
    error_page 500 /page?a=1&b=2;
    location = /t { return 500; }
--- error_code: 500
--- response_body
[true] /page?a=1&b=2



=== TEST 4: it is "true" after error_page to a URI with variables
--- config
    set $name page;
    error_page 500 /$name?$args&uri=$uri;
    location = /t { return 500; }
--- request
GET /t?a=1
--- error_code: 500
--- response_body
[true] /page?a=1&uri=/t



=== TEST 5: it is "true" after error_page to a variable
--- config
    set $page /page;
    error_page 500 $page;
    location = /t { return 500; }
--- error_code: 500
--- response_body
[true] /page?



=== TEST 6: it is "true" in a named location
--- config
    error_page 500 @page;
    location = /t { return 500; }
--- request
GET /t?a=1
--- error_code: 500
--- response_body
[true] /t?a=1



=== TEST 7: it is "true" in a named location that a variable chooses
--- config
    set $name page;
    error_page 500 @$name;
    location = /t { return 500; }
--- error_code: 500
--- response_body
[true] /t?



=== TEST 8: it is "true" after any code
--- config
    error_page 500 =202 /page;
    location = /t { return 500; }
--- error_code: 202
--- response_body
[true] /page?



=== TEST 9: it is "true" when the page sends its own code
--- config
    error_page 500 = /page;
    location = /t { return 500; }
--- error_code: 200
--- response_body
[true] /page?



=== TEST 10: it is empty when error_page redirects the client elsewhere
--- config
    error_page 500 http://127.0.0.1:$server_port/page;
    location = /t { return 500; add_header X-From "[$from_error_page]" always; }
--- error_code: 302
--- response_headers
X-From: []
--- response_body_like: 302 Found



=== TEST 11: it is empty when error_page has no entry for the code
--- config
    error_page 502 /page;
    location = /t { return 500; add_header X-From "[$from_error_page]" always; }
--- error_code: 500
--- response_headers
X-From: []
--- response_body_like: 500 Internal



=== TEST 12: error_page counts at every level of the configuration
--- http_config
    error_page 500 /page?level=http;
    server {
        listen 127.0.0.1:$TEST_NGINX_PORT1;
        location / { return 500; }
        location = /page { return 200 "[$from_error_page] $args\n"; }
    }
    server {
        listen 127.0.0.1:$TEST_NGINX_PORT2;
        error_page 500 /page?level=server;
        location / { return 500; }
        location /outer {
            error_page 500 /page?level=outer;
            location /outer/inner { return 500; }
            location /outer/own { error_page 500 /page?level=own; return 500; }
        }
        location = /page { return 200 "[$from_error_page] $args\n"; }
    }
--- config
    proxy_intercept_errors off;
    location = /http { proxy_pass http://127.0.0.1:$TEST_NGINX_PORT1/; }
    location /server/ { proxy_pass http://127.0.0.1:$TEST_NGINX_PORT2/; }
--- request eval
["GET /http", "GET /server/x", "GET /server/outer/inner", "GET /server/outer/own"]
--- error_code eval
[500, 500, 500, 500]
--- response_body eval
["[true] level=http\n", "[true] level=server\n", "[true] level=outer\n", "[true] level=own\n"]



=== TEST 13: of several entries the first for a code counts
--- config
    error_page 500 502 504 /page?first;
    error_page 403 404 @page;
    error_page 404 /page?second;
    location = /t { return 500; }
    location = /404 { return 404; }
    location = /403 { return 403; }
--- request eval
["GET /t", "GET /404", "GET /403?a"]
--- error_code eval
[500, 404, 403]
--- response_body eval
["[true] /page?first\n", "[true] /404?\n", "[true] /403?a\n"]



=== TEST 14: error_page in an if block counts
--- config
    location = /t {
        error_page 500 /page?outside;
        if ($arg_a) {
            error_page 500 /page?inside;
            return 500;
        }
        return 500;
    }
--- request eval
["GET /t", "GET /t?a=1"]
--- error_code eval
[500, 500]
--- response_body eval
["[true] /page?outside\n", "[true] /page?inside\n"]



=== TEST 15: error_page counts for limit_except
--- config
    error_page 403 /page?denied;
    location = /t {
        limit_except GET { deny all; }
        return 204;
    }
    location = /limited {
        error_page 403 =200 /page;
        limit_except POST { deny all; }
        root html;
    }
--- request
GET /limited
--- error_code: 200
--- response_body
[true] /page?
--- error_log: access forbidden by rule



=== TEST 16: it is "true" in a chain of error pages
--- config
    recursive_error_pages on;
    error_page 500 /second;
    error_page 502 /third;
    error_page 404 @page;
    location = /t { return 500; }
    location = /second { return 502; add_header X-Second always; }
    location = /third { return 404; }
--- error_code: 404
--- response_body
[true] /third?



=== TEST 17: it is "true" when a page fails without recursive_error_pages
--- config
    error_page 500 /second;
    error_page 502 /page;
    location = /t { return 500; }
    location = /second { add_header X-From "[$from_error_page]" always; return 502; }
--- error_code: 502
--- response_headers
X-From: [true]
--- response_body_like: 502 Bad Gateway



=== TEST 18: it is empty when the client asks for the page itself
--- config
    error_page 500 /page;
    location = /t { return 500; }
--- request
GET /page
--- response_body
[] /page?



=== TEST 19: it is empty after other internal redirects
--- config
    location = /rewrite { rewrite ^ /second; }
    location = /try_files { try_files /none /second; }
    location = /index/ { root html; index none /second; }
    location = /second { return 200 "[$from_error_page] $uri\n"; }
--- request eval
["GET /rewrite", "GET /try_files", "GET /index/"]
--- response_body eval
["[] /second\n", "[] /second\n", "[] /second\n"]
--- user_files
>>> index/other



=== TEST 20: it stays "true" after an internal redirect from an error page
--- config
    error_page 500 /second;
    location = /t { return 500; }
    location = /second { try_files /none /third; }
    location = /third { return 200 "[$from_error_page] $uri\n"; }
--- error_code: 500
--- response_body
[true] /third



=== TEST 21: it is "true" when an upstream is down
--- config
    error_page 502 /page;
    location = /t { proxy_pass http://127.0.0.1:$TEST_NGINX_PORT1; }
--- error_code: 502
--- response_body
[true] /page?
--- error_log: connect() failed



=== TEST 22: it is "true" after an intercepted error of an upstream only
--- http_config
    server {
        listen 127.0.0.1:$TEST_NGINX_PORT1;
        location / { add_header X-Up 1 always; return 503 "from the upstream\n"; }
    }
--- config
    error_page 503 /page;
    location = /t {
        proxy_intercept_errors on;
        proxy_pass http://127.0.0.1:$TEST_NGINX_PORT1;
    }
    location = /through { proxy_pass http://127.0.0.1:$TEST_NGINX_PORT1; }
--- request eval
["GET /t", "GET /through"]
--- error_code eval
[503, 503]
--- response_body eval
["[true] /page?\n", "from the upstream\n"]



=== TEST 23: it is "true" when a file is missing
--- config
    error_page 404 /page;
    location = /t { root html; }
--- error_code: 404
--- response_body
[true] /page?
--- error_log: No such file or directory



=== TEST 24: it is "true" when a body is too large
--- config
    error_page 413 =200 /page;
    location = /t { client_max_body_size 1; proxy_pass http://127.0.0.1:$TEST_NGINX_PORT1; }
--- request
POST /t
two
--- error_code: 200
--- response_body
[true] /page?
--- error_log: client intended to send too large body



=== TEST 25: it is "true" in a subrequest's error page and empty in its parent
--- config
    location = /t {
        ssi on;
        ssi_types text/plain;
        default_type text/plain;
        root $TEST_NGINX_HTML_DIR;
        try_files /main.txt =404;
    }
    location = /sub {
        error_page 500 =200 /page;
        return 500;
    }
--- user_files
>>> main.txt
<!--# include virtual="/sub" wait="yes" -->main [<!--# echo var="from_error_page" default="none" -->]
--- response_body
[true] /page?
main []



=== TEST 26: it is empty in a subrequest of an error page
--- config
    error_page 500 =200 /main.txt;
    location = /t { return 500; }
    location = /main.txt {
        ssi on;
        ssi_types text/plain;
        root $TEST_NGINX_HTML_DIR;
    }
    location = /sub { return 200 "sub [$from_error_page]\n"; }
--- user_files
>>> main.txt
<!--# include virtual="/sub" wait="yes" -->main [<!--# echo var="from_error_page" default="none" -->]
--- response_body
sub []
main [true]



=== TEST 27: set overrides it
--- config
    location = /t {
        set $from_error_page "by hand";
        return 200 "[$from_error_page]\n";
    }
--- response_body
[by hand]



=== TEST 28: set in an error page overrides it
--- config
    error_page 500 /second;
    location = /t { return 500; }
    location = /second {
        set $from_error_page "";
        return 200 "[$from_error_page]\n";
    }
--- error_code: 500
--- response_body
[]



=== TEST 29: a value set before an error page does not count after it
--- config
    error_page 500 /page;
    location = /t {
        set $from_error_page "by hand";
        return 500;
    }
--- error_code: 500
--- response_body
[true] /page?



=== TEST 30: it is empty again for the next request on the connection
--- config
    error_page 500 /page;
    location = /t { return 500; }
    location = /u { return 200 "[$from_error_page]\n"; }
    error_page 502 =200 /page;
    location = /v { return 502; }
--- pipelined_requests eval
["GET /v", "GET /u", "GET /v?a", "GET /u"]
--- error_code eval
[200, 200, 200, 200]
--- response_body eval
["[true] /page?\n", "[]\n", "[true] /page?\n", "[]\n"]



=== TEST 31: map, if and add_header see it
--- http_config
    map $from_error_page $came { default no; true yes; }
--- config
    error_page 500 =200 /second;
    location = /t { return 500; }
    location = /second {
        add_header X-From $from_error_page;
        set $how "direct";
        if ($from_error_page) { set $how "redirected"; }
        return 200 "$came $how\n";
    }
--- request eval
["GET /t", "GET /second"]
--- response_body eval
["yes redirected\n", "no direct\n"]



=== TEST 32: the access log has it
--- http_config
    log_format from "$uri [$from_error_page]";
--- config
    error_page 500 =200 /page;
    location = /t { return 500; }
    location = /page {
        access_log logs/from.log from;
        return 200 "page\n";
    }
    location = /log { root $TEST_NGINX_SERVROOT/logs; try_files /from.log =404; }
--- request eval
["GET /t", "GET /page", "GET /log"]
--- response_body_like eval
["page", "page", qr{\A(?:/page \[true\]\n/page \[\]\n)+\z}]



=== TEST 33: it is "true" on the error page of a request that cannot be parsed
--- config
    error_page 400 /page;
    error_page 414 /page;
    location = /t { return 204; }
--- raw_request eval
"GET /t HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n"
--- error_code: 400
--- response_body
[true] /page?
--- no_error_log
[crit]



=== TEST 34: lua_var_ctx_restore is accepted without effect
--- http_config
    lua_var_ctx_restore off;
--- config
    lua_var_ctx_restore error_page;
    set $own 1;
    location = /t { lua_var_ctx_restore all; return 200 "$own $uri\n"; }
--- response_body
1 /t



=== TEST 35: it is "true" when auth_request fails
--- config
    error_page 403 /page;
    error_page 401 @page;
    location = /t {
        auth_request /auth;
        root html;
    }
    location = /auth { return 403; }
    location = /u {
        auth_request /auth401;
        root html;
    }
    location = /auth401 { return 401; }
--- request eval
["GET /t", "GET /u?a"]
--- error_code eval
[403, 401]
--- response_body eval
["[true] /page?\n", "[true] /u?a\n"]
