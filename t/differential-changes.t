# As differential.t, before and after each change of a request (t/lib/changes.lua), through
# every kind of redirect and in every kind of subrequest.

use lib 't/lib';
use NgxVarTest;
use Test::Nginx::Socket::Lua 'no_plan';

# A map of the variables that a change could touch, so that they are indexed.  (Not all of
# them under memcheck, see differential.t.)
my $index_all = 'map "' . join('', map { "\${$_}" } grep { !/^(?:geo|mapped)\z/ || !$ENV{TEST_NGINX_USE_VALGRIND} } qw(
    uri document_uri request_uri args query_string is_args arg_a arg_empty host
    server_name scheme request_method request request_filename document_root
    realpath_root http_host http_user_agent http_cookie http_referer http_via
    http_x_forwarded_for http_x_long http_x_empty http_accept cookie_a content_type
    content_length request_body request_body_file request_length remote_addr
    remote_user binary_remote_addr realip_remote_addr status bytes_sent
    body_bytes_sent request_time msec sent_http_x_test sent_http_content_type
    sent_http_location sent_http_last_modified sent_http_cache_control
    sent_http_content_length sent_http_transfer_encoding sent_http_connection
    limit_rate own mapped fresh_map geo from_error_page invalid_referer msie
    proxy_add_x_forwarded_for request_completion named server_port connection
    connection_requests https server_protocol time_local
)) . '" $all_of_them { default ""; }';

# Common to all blocks.
my $common = <<'EOC';
    lua_package_path "$TEST_NGINX_LUA_DIR/?.lua;;";
    init_worker_by_lua_block {
        -- sends a request to each of the URIs, and reports on it
        function run(port)
            for _, uri in ipairs(uris) do
                uri = uri .. "?a=1"
                D.begin(uri)
                local c = require("client").connect{ port = port }
                c:send("POST " .. uri .. " HTTP/1.1\r\nHost: change.test\r\nUser-Agent: before\r\n"
                       .. "Cookie: a=before; b=before\r\nX-Forwarded-For: 1.1.1.1\r\nX-Real-IP: 10.0.0.1\r\n"
                       .. "Content-Type: text/x-body\r\nContent-Length: 9\r\nConnection: close\r\n\r\nsome body")
                c:read_to_end()
                c:close()
                ngx.say(D.await("log"))
            end
        end
    }

    header_filter_by_lua_block { D.check("header_filter") }
    body_filter_by_lua_block { D.check("body_filter") }
    log_by_lua_block { D.check("log") }

    geo $geo { default far; 127.0.0.1 near; 10.0.0.0/8 private; }
    map $uri $mapped { default "mapped $uri"; }
    map $arg_a $fresh_map { volatile; default "fresh $arg_a"; }
    set_real_ip_from 127.0.0.1;
EOC

# Each list of changes runs in the phases that allow it.
my $changes = <<'EOC';
    init_by_lua_block {
        D = require "differential"
        apply = require("changes").apply
        uris = { "/set", "/rewrite", "/access", "/content", "/header_filter",
                 "/body_filter", "/log" }
    }
    server {
        listen 127.0.0.1:$TEST_NGINX_PORT1;
        set $own "own";
        root html;
        server_rewrite_by_lua_block { D.check("server_rewrite") }
        if ($uri ~ "^/(?<named>.*)") { set $unused ""; }
        location / { content_by_lua_block { D.check("content") } }
        location = /set {
            set_by_lua_block $unused { apply(D, "set", "variables") }
            content_by_lua_block { D.check("content") ngx.say("set") }
        }
        location = /rewrite {
            rewrite_by_lua_block { apply(D, "rewrite", "request", "variables") }
            access_by_lua_block { D.check("access") }
            content_by_lua_block { D.check("content") ngx.say("rewrite") }
        }
        location = /access {
            rewrite_by_lua_block { D.check("rewrite") }
            access_by_lua_block { apply(D, "access", "request", "variables") }
            content_by_lua_block { D.check("content") ngx.say("access") }
        }
        location = /content {
            content_by_lua_block { apply(D, "content", "request", "variables", "response", "sending") }
        }
        location = /header_filter {
            content_by_lua_block { D.check("content") ngx.say("header_filter") }
            header_filter_by_lua_block { apply(D, "header_filter", "variables", "response") }
        }
        location = /body_filter {
            content_by_lua_block { ngx.say("body_filter") ngx.say("more") }
            body_filter_by_lua_block { apply(D, "body_filter", "variables") }
        }
        location = /log {
            content_by_lua_block { ngx.say("log") }
            log_by_lua_block { apply(D, "log", "variables") }
        }
        location = /sub {
            content_by_lua_block {
                D.check("sub")
                ngx.var.own = "of the subrequest"
                ngx.req.set_header("Cookie", "a=sub")
                D.check("sub", "changed")
                ngx.print("sub")
            }
        }
    }
EOC

# Internal redirects, and subrequests.
my $redirects = <<'EOC';
    init_by_lua_block {
        D = require "differential"
        apply = require("changes").apply
        uris = { "/exec", "/exec_args", "/exec_named", "/rewrite_last", "/rewrite_break",
                 "/rewrite_args", "/set_uri_jump", "/if", "/error_page", "/error_page_named",
                 "/error_page_302", "/down", "/intercept", "/accel", "/try_files",
                 "/try_named", "/dir/", "/regex/part/file.txt", "/alias/file.txt",
                 "/captures", "/auth", "/auth_denied", "/mirror", "/addition", "/ssi",
                 "/satisfy", "/limit_except", "/return_url", "/internal", "/too_large" }
    }
    server {
        listen 127.0.0.1:$TEST_NGINX_PORT1;
        set $own "own";
        set $auth_value "";
        root html;
        server_rewrite_by_lua_block { D.check("server_rewrite") }
        rewrite_by_lua_block { D.check("rewrite") }
        access_by_lua_block { D.check("access") }

        location / { content_by_lua_block { D.check("content") ngx.say("default") } }
        location = /land { content_by_lua_block { D.check("land") ngx.say("landed") } }
        location @land {
            set $own "in a named location";
            content_by_lua_block { D.check("@land") ngx.say("landed") }
        }
        location = /exec { content_by_lua_block { D.check("content") ngx.exec("/land") } }
        location = /exec_args { content_by_lua_block { ngx.exec("/land", { a = "exec ed" }) } }
        location = /exec_named { access_by_lua_block { ngx.exec("@land") } }
        location = /rewrite_last { rewrite ^/(.*)_(?<named>.*)$ /land?rewritten=$1&b=$named last; }
        location = /rewrite_break { rewrite ^ /file.txt? break; content_by_lua_block { D.check("content") } }
        location = /rewrite_args { rewrite ^ /land? last; }
        location = /set_uri_jump { rewrite_by_lua_block { ngx.req.set_uri("/land", true) } }
        location = /if {
            if ($arg_a ~ "(.)") { set $own "in an if: $1"; }
            if ($own) { add_header X-Test $own; root html/dir; }
            content_by_lua_block { D.check("content") }
        }
        location = /error_page {
            error_page 503 = /land?from=error_page;
            content_by_lua_block { ngx.exit(503) }
        }
        location = /error_page_named { error_page 403 @land; deny all; }
        location = /error_page_302 { error_page 404 =302 http://elsewhere.test/; return 404; }
        location = /down { error_page 502 = @land; proxy_pass http://127.0.0.1:$TEST_NGINX_PORT2; }
        location = /intercept {
            proxy_intercept_errors on;
            error_page 500 /land;
            proxy_pass http://127.0.0.1:$TEST_NGINX_PORT3/500;
        }
        location = /accel { proxy_pass http://127.0.0.1:$TEST_NGINX_PORT3/accel; }
        location = /try_files { try_files /no/file /land?a=tried; }
        location = /try_named { try_files /no/file @land; }
        location /dir/ { index none.html index.html; }
        location ~ ^/regex/(?<named>\w+)/(.*)$ { alias html/$2; }
        location /alias/ { alias html/; }
        location = /captures {
            rewrite_by_lua_block {
                for i = 1, 3 do
                    ngx.location.capture("/sub?a=" .. i, { method = ngx.HTTP_POST, body = "x" })
                    D.check("rewrite")
                end
            }
            content_by_lua_block {
                ngx.location.capture_multi { { "/sub", { share_all_vars = true } },
                                             { "/sub", { copy_all_vars = true } },
                                             { "/proxied" } }
                D.check("content")
                ngx.say("ok")
            }
        }
        location = /sub {
            content_by_lua_block {
                D.check("sub")
                ngx.var.own = "of the subrequest"
                ngx.print("sub")
            }
        }
        location = /proxied { proxy_pass http://127.0.0.1:$TEST_NGINX_PORT3; }
        location = /auth {
            auth_request /allowed;
            auth_request_set $auth_value $upstream_http_x_auth;
            content_by_lua_block { D.check("content") ngx.say(ngx.var.auth_value) }
        }
        location = /auth_denied { auth_request /denied; error_page 401 = @land; }
        location = /allowed { proxy_pass http://127.0.0.1:$TEST_NGINX_PORT3; }
        location = /denied { return 401; }
        location = /mirror {
            mirror /mirrored;
            content_by_lua_block { D.check("content") ngx.say("ok") }
        }
        location = /mirrored { content_by_lua_block { D.check("mirrored") } }
        location = /addition {
            add_before_body /sub;
            add_after_body /sub?a=after;
            addition_types *;
            content_by_lua_block { D.check("content") ngx.say("ok") }
        }
        location = /ssi {
            ssi on;
            ssi_types *;
            content_by_lua_block { ngx.say('<!--# set var="own" value="ssi" --><!--# include virtual="/sub?a=ssi" -->') }
        }
        location = /satisfy {
            satisfy any;
            deny all;
            access_by_lua_block { D.check("access") }
            content_by_lua_block { D.check("content") }
        }
        location = /limit_except { limit_except GET { deny all; } error_page 403 = /land; }
        location = /return_url { return 307 /elsewhere; }
        location = /internal { internal; }
        location = /too_large {
            client_max_body_size 1;
            error_page 413 = /land;
        }
    }
    server {
        listen 127.0.0.1:$TEST_NGINX_PORT3;
        header_filter_by_lua_block { }
        body_filter_by_lua_block { }
        log_by_lua_block { }
        location / { add_header X-Auth "yes"; return 200 "upstream"; }
        location = /500 { return 500; }
        location = /accel {
            add_header X-Accel-Redirect "/land?a=accel";
            add_header X-Accel-Limit-Rate 100000;
            return 200;
        }
    }
EOC

# The phases that each request was checked in, and no difference.
my %expected = (changes => <<'EOC', redirects => <<'EOC');
/set?a=1: server_rewrite set content header_filter body_filter log
/rewrite?a=1: server_rewrite rewrite access content header_filter body_filter log
/access?a=1: server_rewrite rewrite access content header_filter body_filter log
/content?a=1: server_rewrite content header_filter body_filter sub log
/header_filter?a=1: server_rewrite content header_filter body_filter log
/body_filter?a=1: server_rewrite header_filter body_filter log
/log?a=1: server_rewrite header_filter body_filter log
EOC
/exec?a=1: server_rewrite rewrite access content land header_filter body_filter log
/exec_args?a=1: server_rewrite rewrite access land header_filter body_filter log
/exec_named?a=1: server_rewrite rewrite access @land header_filter body_filter log
/rewrite_last?a=1: server_rewrite rewrite access land header_filter body_filter log
/rewrite_break?a=1: server_rewrite rewrite access content header_filter body_filter log
/rewrite_args?a=1: server_rewrite rewrite access land header_filter body_filter log
/set_uri_jump?a=1: server_rewrite rewrite access land header_filter body_filter log
/if?a=1: server_rewrite rewrite access content header_filter body_filter log
/error_page?a=1: server_rewrite rewrite access land header_filter body_filter log
/error_page_named?a=1: server_rewrite rewrite access @land header_filter body_filter log
/error_page_302?a=1: server_rewrite header_filter body_filter log
/down?a=1: server_rewrite rewrite access @land header_filter body_filter log
/intercept?a=1: server_rewrite rewrite access land header_filter body_filter log
/accel?a=1: server_rewrite rewrite access land header_filter body_filter log
/try_files?a=1: server_rewrite rewrite access land header_filter body_filter log
/try_named?a=1: server_rewrite rewrite access @land header_filter body_filter log
/dir/?a=1: server_rewrite rewrite access header_filter body_filter log
/regex/part/file.txt?a=1: server_rewrite rewrite access header_filter body_filter log
/alias/file.txt?a=1: server_rewrite rewrite access header_filter body_filter log
/captures?a=1: server_rewrite rewrite sub header_filter body_filter access content log
/auth?a=1: server_rewrite rewrite header_filter access content body_filter log
/auth_denied?a=1: server_rewrite rewrite header_filter access @land body_filter log
/mirror?a=1: server_rewrite rewrite access content header_filter body_filter mirrored log
/addition?a=1: server_rewrite rewrite access content header_filter body_filter sub log
/ssi?a=1: server_rewrite rewrite access header_filter body_filter sub log
/satisfy?a=1: server_rewrite rewrite access content header_filter body_filter log
/limit_except?a=1: server_rewrite rewrite access land header_filter body_filter log
/return_url?a=1: server_rewrite header_filter body_filter log
/internal?a=1: server_rewrite header_filter body_filter log
/too_large?a=1: server_rewrite rewrite access land header_filter body_filter log
EOC

add_block_preprocessor(sub {
    my ($block) = @_;
    my %what = (changes => $changes, redirects => $redirects);
    my $mode = $block->mode;
    my $one_in = ($mode eq 'sparse' ? 4 : 1) * ($ENV{TEST_NGINX_USE_VALGRIND} ? 20 : 1);

    $block->set_value(http_config => ($mode eq 'plain' ? '' : $index_all) . $common . $what{ $block->what });
    $block->set_value(config => <<"EOC");
    location = /t {
        content_by_lua_block {
            D.sparse($one_in)
            run(\$TEST_NGINX_PORT1)
        }
    }
EOC
    $block->set_value(user_files => ">>> file.txt\ntext of the file\n>>> dir/index.html\nindex\n");
    $block->set_value(request => 'GET /t');
    $block->set_value(timeout => $ENV{TEST_NGINX_USE_VALGRIND} ? '120s' : '30s');
    $block->set_value(no_error_log => '[alert]');
    $block->set_value(response_body => $expected{ $block->what });
});

repeat_each(1);
run_tests();

__DATA__

=== TEST 1: fetch agrees with ngx.var after each change of a request
--- what: changes
--- mode: plain



=== TEST 2: with every variable indexed, fetch agrees with ngx.var after each change
--- what: changes
--- mode: indexed



=== TEST 3: with few values cached before, fetch agrees with ngx.var after each change
--- what: changes
--- mode: sparse
--- skip_eval
3: # memcheck gets only such blocks
$ENV{TEST_NGINX_USE_VALGRIND}



=== TEST 4: fetch agrees with ngx.var in redirects and subrequests
--- what: redirects
--- mode: plain



=== TEST 5: with every variable indexed, fetch agrees with ngx.var in redirects and subrequests
--- what: redirects
--- mode: indexed



=== TEST 6: with few values cached before, fetch agrees with ngx.var in redirects and subrequests
--- what: redirects
--- mode: sparse
--- skip_eval
3: # memcheck gets only such blocks
$ENV{TEST_NGINX_USE_VALGRIND}
