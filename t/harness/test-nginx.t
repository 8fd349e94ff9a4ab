# The test harness itself: every section and function of the format that the
# project's tests use, with both implementations of Test::Nginx.  What has to
# fail is in test-nginx-failures.t.

use v5.36;
use lib 't/lib';

BEGIN {
    # Independent of the project's module.
    require NgxVarTest::Env;
    $ENV{TEST_NGINX_LOAD_MODULES} = join ' ', NgxVarTest::Env::lua_modules();
    $ENV{HARNESS_FROM_PERL} = 'from perl';
}

use NgxVarTest log_refused => 0;
use Test::Nginx::Socket::Lua 'no_plan';

repeat_each(2);
no_shuffle();
env_to_nginx('HARNESS_FROM_PERL', 'HARNESS_VALUE=value');
add_block_preprocessor(sub ($block) {
    return if !defined $block->echo;
    $block->set_value(config => "location = /t { return 200 '" . $block->echo . "'; }");
    $block->set_value(request => 'GET /t');
});

my $body_checks = 0;
add_response_body_check(sub ($block, $body, $index, $round, $dry_run) { $body_checks++ });

run_tests();

ok($body_checks > 0, 'add_response_body_check');
like(server_root(), qr{/target/servroot-\d+\z}, 'the server root belongs to this process');
is(html_dir(), server_root() . '/html', 'html_dir');
is(server_port(), $ENV{TEST_NGINX_SERVER_PORT}, 'server_port');
is(repeat_each(), $ENV{TEST_NGINX_CHECK_LEAK} ? 1 : 2, 'repeat_each');
isnt($ENV{"TEST_NGINX_PORT$_"}, server_port(), "TEST_NGINX_PORT$_") for 1 .. 9;

__DATA__

=== TEST 1: a request and an exact body
--- config
    location = /t {
        content_by_lua_block { ngx.say(ngx.req.get_method(), " ", ngx.var.arg_a, " ", ngx.var.http_host) }
    }
--- request
    GET /t?a=1
--- response_body
GET 1 localhost
--- error_code: 200
--- no_error_log
[error]



=== TEST 2: a block without config goes on with the configuration of the block before
--- request
GET /t?a=2
--- response_body
GET 2 localhost
--- skip_eval
2: # Upstream stops nginx after each block then.
$ENV{TEST_NGINX_USE_VALGRIND} && $INC{'NgxVarTest/Upstream.pm'}



=== TEST 3: a block made by a preprocessor
--- echo chomp
made here
--- response_body chomp
made here



=== TEST 4: variables of the environment in every kind of configuration
--- main_config
    env HARNESS_PORT=$TEST_NGINX_SERVER_PORT;
--- http_config
    server {
        listen 127.0.0.1:$TEST_NGINX_PORT1;
        location / { return 200 "second server\n"; }
    }
    map $host $from_http { default "http $TEST_NGINX_PORT1"; }
--- config
    location = /t {
        content_by_lua_block {
            ngx.say(os.getenv("HARNESS_PORT") == "$TEST_NGINX_SERVER_PORT")
            ngx.say(ngx.var.from_http == "http " .. $TEST_NGINX_PORT1)
            ngx.say(os.getenv("HARNESS_FROM_PERL"), ", ", os.getenv("HARNESS_VALUE"))
            ngx.say(io.open("$TEST_NGINX_HTML_DIR/index.html") ~= nil)
            ngx.say(io.open("$TEST_NGINX_SERVROOT/conf/nginx.conf") ~= nil)
            ngx.print(ngx.location.capture("/second").body)
        }
    }
    location = /second { proxy_pass http://127.0.0.1:$TEST_NGINX_PORT1; }
--- request
GET /t
--- response_body
true
true
from perl, value
true
true
second server



=== TEST 5: the port, in an expected body
--- config
    location = /t { return 200 "$server_port\n"; }
--- request
GET /t
--- response_body
$TEST_NGINX_SERVER_PORT



=== TEST 6: post_main_config comes after http
--- config
    location = /t { return 204; }
--- post_main_config
    thread_pool harness threads=2;
--- request
GET /t
--- error_code: 204



=== TEST 7: server_name
--- config
    location = /t { return 200 "$server_name\n"; }
--- server_name chomp
harness.test
--- request
GET /t
--- response_body
harness.test



=== TEST 8: the root location and index.html
--- config
--- request
GET /
--- response_body_like: It works!



=== TEST 9: TLS with the certificate of the suite
--- http_config
    server {
        listen 127.0.0.1:$TEST_NGINX_PORT2 ssl;
        ssl_certificate     $TEST_NGINX_CERT_DIR/test.crt;
        ssl_certificate_key $TEST_NGINX_CERT_DIR/test.key;
        location / { return 200 "$scheme\n"; }
    }
--- config
    location = /t {
        proxy_pass https://127.0.0.1:$TEST_NGINX_PORT2;
        proxy_ssl_verify on;
        proxy_ssl_name localhost;
        proxy_ssl_trusted_certificate $TEST_NGINX_CERT_DIR/test.crt;
    }
--- request
GET /t
--- response_body
https



=== TEST 10: a random port
--- http_config
    server {
        listen 127.0.0.1:$TEST_NGINX_RAND_PORT_1;
        location / { return 200 "random\n"; }
    }
--- config
    location = /t { proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1; }
--- request
GET /t
--- response_body
random



=== TEST 11: a body, whose length is added, and comments before the request
--- config
    location = /t {
        content_by_lua_block {
            ngx.req.read_body()
            ngx.say(ngx.var.http_content_length, ": ", ngx.req.get_body_data())
        }
    }
--- request
    # a comment
    POST /t
hello world
--- response_body
11: hello world



=== TEST 12: several requests
--- config
    location = /t {
        content_by_lua_block {
            ngx.req.read_body()
            ngx.header["X-N"] = ngx.var.arg_n
            ngx.status = 200 + ngx.var.arg_n
            ngx.say(ngx.req.get_body_data() or ngx.var.http_x_a or "none")
        }
    }
--- request eval
["POST /t?n=0\nbody", "GET /t?n=1", [["POST /t?n=2\nna", "me=foo"]]->[0]]
--- more_headers eval
["", "X-A: header one", "X-A: unused"]
--- error_code eval
[200, 201, 202]
--- response_headers eval
["X-N: 0", "X-N: 1", "X-N: 2"]
--- response_body eval
["body\n", "header one\n", "name=foo\n"]



=== TEST 13: packets with a delay
--- config
    location = /t {
        content_by_lua_block {
            local before = ngx.now()
            ngx.req.read_body()
            ngx.update_time()
            ngx.say(ngx.req.get_body_data(), " ", ngx.now() - before > 0.1)
        }
    }
--- request eval
[["POST /t\nna", { value => "me=foo", delay_before => 0.2 }]]
--- response_body
name=foo true



=== TEST 14: pipelined requests on one connection
--- config
    location = /t {
        content_by_lua_block { ngx.say(ngx.var.connection_requests, " ", ngx.var.http_connection, " ", ngx.var.http_x_a) }
    }
--- pipelined_requests eval
["GET /t", "GET /t", "GET /t"]
--- more_headers eval
["X-A: 1", "X-A: 2", "X-A: 3"]
--- response_body eval
["1 keep-alive 1\n", "2 keep-alive 2\n", "3 close 3\n"]



=== TEST 15: more_headers replaces Host and Connection
--- config
    location = /t {
        content_by_lua_block { ngx.say(ngx.var.http_host, " ", ngx.var.http_connection, " ", ngx.var.http_x_empty) }
    }
--- more_headers
Host: other.test
# not a header
Connection: Close
X-Empty:
--- request
GET /t HTTP/1.0
--- response_body eval
"other.test Close \n"



=== TEST 16: a chunked request is sent as it stands
--- config
    location = /t {
        content_by_lua_block { ngx.req.read_body() ngx.say(ngx.req.get_body_data()) }
    }
--- more_headers
Transfer-Encoding: chunked
--- request eval
"POST /t
5\r
hello\r
0\r
\r
"
--- response_body
hello



=== TEST 17: HEAD
--- config
    location = /t { return 200 "12345"; }
--- request
HEAD /t
--- response_headers
Content-Length: 5
--- response_body:



=== TEST 18: raw_request
--- config
    location = /t { return 200 "$http_x_raw\n"; }
--- raw_request eval
"GET /t HTTP/1.1\r\nHost: a\r\nX-Raw: yes\r\nConnection: close\r\n\r\n"
--- response_body
yes



=== TEST 19: raw_request in pieces
--- config
    location = /t { return 200 "$http_x_raw\n"; }
--- raw_request eval
["GET /t HTTP/1.1\r\nHost: a\r\nX-R", "aw: yes\r\nConnection: close\r\n\r\n"]
--- raw_request_middle_delay
0.05
--- response_body
yes



=== TEST 20: HTTP/0.9
--- config
    location = /t { return 200 "old\n"; }
--- raw_request eval
"GET /t\r\n"
--- http09
--- response_body
old



=== TEST 21: HTTP/2
--- config
    location = /t {
        content_by_lua_block { ngx.req.read_body() ngx.say(ngx.var.server_protocol, " ", ngx.var.http_x_a, " ", ngx.req.get_body_data()) }
    }
--- http2
--- more_headers
X-A: a
--- request
POST /t
body
--- response_headers
content-type: text/plain
--- response_body
HTTP/2.0 a body
--- skip_eval
3: # Upstream does not wait for a slow start then.
$ENV{TEST_NGINX_USE_VALGRIND} && $INC{'NgxVarTest/Upstream.pm'}



=== TEST 22: user_files as text
--- config
    location = /t.lua { content_by_lua_file html/t.lua; }
--- user_files
>>> t.lua
ngx.say("from a file, port $TEST_NGINX_SERVER_PORT")
>>> dir/b.txt 199801171935.33
b
--- request eval
["GET /t.lua", "GET /dir/b.txt"]
--- response_headers eval
["! Last-Modified", "Last-Modified: Sat, 17 Jan 1998 19:35:33 GMT"]
--- response_body eval
["from a file, port $ENV{TEST_NGINX_SERVER_PORT}\n", "b\n"]



=== TEST 23: user_files as data
--- config
--- user_files eval
[["a.bin", "\0\1\xff"], ["empty.txt", ""]]
--- request eval
["GET /a.bin", "GET /empty.txt"]
--- response_body eval
["\0\1\xff", ""]



=== TEST 24: patterns for a body
--- config
    location = /t { return 200 "abc 123\n"; }
--- request
GET /t
--- response_body_like: ^\w+ \d+$



=== TEST 25: patterns that a body must not match
--- config
    location = /t { return 200 "abc 123\n"; }
--- request
GET /t
--- response_body_unlike: [4-9]



=== TEST 26: a regex object as a body
--- config
    location = /t { return 200 "abc 123\n"; }
--- request
GET /t
--- response_body eval
qr/^abc \d+\n\z/



=== TEST 27: body filters
--- config
    location = /t { return 200 "abc"; }
--- request
GET /t
--- response_body_filters eval
[\&CORE::uc, sub { "<$_[0]>" }, "md5_hex", "length"]
--- response_body chomp
32



=== TEST 28: sorted JSON
--- config
    location = /t { return 200 '{"b":1,"a":[2]}'; }
--- request
GET /t
--- response_body_json_sort
--- response_body
{"a":[2],"b":1}



=== TEST 29: headers: equal, joined and absent
--- config
    location = /t {
        add_header X-A one;
        add_header X-A two;
        return 200 "";
    }
--- request
GET /t
--- response_headers
X-A: one, two
! X-B
Connection: close



=== TEST 30: headers: patterns
--- config
    location = /t {
        add_header X-A one;
        return 200 "";
    }
--- request
GET /t
--- response_headers_like
X-A: o.e
Server: (?:nginx|openresty)/[\d.]+
--- raw_response_headers_like: ^HTTP/1\.1 200 OK\r\n.*X-A: one\r\n
--- raw_response_headers_unlike: X-B



=== TEST 31: status codes
--- config
    location = /t { return $arg_code; }
--- request eval
["GET /t?code=404", "GET /t?code=503"]
--- error_code_like eval
["^40[34]\$", '^5\d\d$']
--- response_body_like eval
["404 Not Found", "503 Service Temporarily Unavailable"]
--- skip_eval: 4: 1



=== TEST 32: a status code by pattern
--- config
    location = /t { return 418; }
--- request
GET /t
--- error_code_like: ^4\d\d$



=== TEST 33: error_log by lines, and a line of the log phase
--- config
    location = /t {
        content_by_lua_block { ngx.log(ngx.WARN, "first [line]") ngx.say("ok") }
        log_by_lua_block { ngx.log(ngx.WARN, "second (line)") }
    }
--- request
GET /t
--- response_body
ok
--- error_log
first [line]
second (line)
--- no_error_log
[error]
third line



=== TEST 34: error_log by patterns
--- config
    location = /t {
        content_by_lua_block { ngx.log(ngx.WARN, "value ", 42) ngx.say("ok") }
    }
--- request
GET /t
--- response_body
ok
--- error_log eval
[qr/value \d+,/, "[warn]"]
--- no_error_log eval
[qr/value [a-z]/, "[error]"]



=== TEST 35: error_log of a timer, after the response
--- config
    location = /t {
        content_by_lua_block {
            ngx.timer.at(0.1, function() ngx.log(ngx.WARN, "the timer fired") end)
            ngx.say("ok")
        }
    }
--- request
GET /t
--- response_body
ok
--- wait: 0.2
--- error_log: the timer fired



=== TEST 36: grep_error_log, different in each round
--- http_config
    lua_shared_dict harness 1m;
--- config
    location = /t {
        content_by_lua_block {
            local n = ngx.shared.harness:incr("grep36", 1, 0)
            ngx.log(ngx.WARN, "round: ", n, "!")
            ngx.log(ngx.WARN, "round: ", n * 10, "!")
            ngx.say("ok")
        }
    }
--- request
GET /t
--- response_body
ok
--- grep_error_log eval
qr/round: \d+/
--- grep_error_log_out eval
["round: 1\nround: 10\n", "round: 2\nround: 20\n"]



=== TEST 37: grep_error_log, the same in all rounds
--- config
    location = /t {
        content_by_lua_block { ngx.log(ngx.WARN, "needle") ngx.say("ok") }
    }
--- request
GET /t
--- response_body
ok
--- grep_error_log: needle
--- grep_error_log_out
needle



=== TEST 38: a configuration that must be refused
--- config
    no_such_directive;
--- must_die
--- suppress_stderr
--- error_log
unknown directive "no_such_directive"
--- no_error_log
[crit]



=== TEST 39: must_die with an exit code, in http_config
--- http_config
    init_by_lua_block { error("no start today") }
--- config
--- must_die: 1
--- suppress_stderr
--- error_log
no start today



=== TEST 40: a response that does not arrive in time
--- config
    location = /t { content_by_lua_block { ngx.sleep(0.5) ngx.say("late") } }
--- request
GET /t
--- timeout: 100ms
--- abort
--- ignore_response
--- no_error_log
[error]



=== TEST 41: init runs once, before the rounds
--- config
    location = /t {
        content_by_lua_block {
            for line in io.lines("$TEST_NGINX_HTML_DIR/made.txt") do ngx.say(line) end
        }
    }
--- init
open my $out, '>>', html_dir() . '/made.txt' or die $!;
print $out "once\n";
close $out;
--- request
GET /t
--- response_body
once



=== TEST 42: skipped always
--- SKIP
--- config
    no_such_directive;
--- request
GET /t



=== TEST 43: skipped by the nginx version
--- config
    no_such_directive;
--- request
GET /t
--- skip_nginx: 2: >= 1.0.0



=== TEST 44: not skipped by the nginx version
--- config
    location = /t { return 204; }
--- request
GET /t
--- skip_nginx: 1: < 1.0.0: too old
--- error_code: 204



=== TEST 45: skipped by one of two versions
--- config
    no_such_directive;
--- request
GET /t
--- skip_nginx2: 2: < 1.0.0 or >= 1.0.1: whatever



=== TEST 46: skipped by the OpenSSL version
--- config
    no_such_directive;
--- request
GET /t
--- skip_openssl: 2: >= 0.9.8: newer than old



=== TEST 47: skipped by Perl code
--- config
    no_such_directive;
--- request
GET /t
--- skip_eval: 2: $^O eq 'linux'



=== TEST 48: the client shuts down its sending side
--- config
    lua_check_client_abort on;
    location = /t {
        content_by_lua_block {
            ngx.on_abort(function() ngx.log(ngx.WARN, "client gone") ngx.exit(499) end)
            ngx.sleep(2)
        }
    }
--- request eval
# After the request, because nginx might see both in one event.
[["GET /t\n", { value => '', delay_before => 0.2 }]]
--- shutdown: 1
--- ignore_response
--- error_log
client gone



=== TEST 49: log_level of a block
--- config
    location = /t {
        content_by_lua_block { ngx.log(ngx.NOTICE, "quiet") ngx.log(ngx.ERR, "loud") ngx.say("ok") }
    }
--- log_level: error
--- request
GET /t
--- response_body
ok
--- error_log
loud
--- no_error_log
quiet



=== TEST 50: access_log
--- config
    location = /t { return 204; }
--- request
GET /t?seen=1
--- error_code: 204
--- access_log
GET /t?seen=1
--- no_access_log
GET /unseen



=== TEST 51: lines of the shutdown
--- config
    location = /t { return 204; }
--- request
GET /t
--- error_code: 204
--- shutdown_error_log eval
$ENV{TEST_NGINX_USE_VALGRIND} ? [] : ["exit"]
--- no_shutdown_error_log
never written



=== TEST 52: an alert that the block allows
--- config
    location = /t {
        content_by_lua_block { ngx.log(ngx.ALERT, "on purpose") ngx.say("ok") }
    }
--- request
GET /t
--- response_body
ok
--- error_log
[alert]
--- allow_alert
: on purpose,
another (reason|cause)



=== TEST 53: "[alert]" inside of a line is no alert
--- config
    location = /t {
        content_by_lua_block { ngx.log(ngx.WARN, "nginx: [alert] [emerg]") ngx.say("ok") }
    }
--- request
GET /t
--- response_body
ok
--- no_error_log
[error]



=== TEST 54: line numbers in messages
--- main_config
    env HARNESS_LINE=1;
--- http_config
    init_by_lua_block { ngx.log(ngx.NOTICE, "in http_config") }
--- config
    location = /t {
        content_by_lua_block { ngx.log(ngx.NOTICE, "in config") ngx.say("ok") }
    }
--- request
GET /t
--- response_body
ok
--- grep_error_log eval
qr/nginx\.conf:\d+\).*in \w+/
--- grep_error_log_out eval
["nginx.conf:28):1: in http_config\nnginx.conf:44):1: in config\n", "nginx.conf:44):1: in config\n"]



=== TEST 55: an error_log of its own
--- config
    location = /t {
        content_by_lua_block { ngx.log(ngx.WARN, "elsewhere") ngx.say("ok") }
    }
--- error_log_file: $TEST_NGINX_SERVROOT/logs/other.log
--- request
GET /t
--- response_body
ok
--- no_error_log
elsewhere



=== TEST 56: todo
--- config
    location = /t { return 204; }
--- request
GET /t
--- todo: 1: not yet
