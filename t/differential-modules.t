# As differential.t, for the variables that need a module at work: upstreams, caches, TLS with
# client certificates, limits, and so on.

use lib 't/lib';
use NgxVarTest;
use Test::Nginx::Socket::Lua 'no_plan';

# A map of the variables that this file is about, so that they are indexed.
my $index_all = 'map "' . join('', map { "\${$_}" } qw(
    upstream_addr upstream_bytes_received upstream_bytes_sent upstream_cache_status
    upstream_connect_time upstream_header_time upstream_http_content_length
    upstream_http_server upstream_response_length upstream_response_time
    upstream_status proxy_add_x_forwarded_for proxy_host proxy_port ssl_cipher
    ssl_client_cert ssl_client_escaped_cert ssl_client_fingerprint ssl_client_i_dn
    ssl_client_s_dn ssl_client_serial ssl_client_v_end ssl_client_v_start
    ssl_client_verify ssl_protocol ssl_server_name ssl_session_id
    ssl_session_reused ssl_alpn_protocol limit_conn_status limit_req_status
    secure_link secure_link_expires slice_range uid_got uid_set invalid_referer
    modern_browser msie gzip_ratio date_gmt fastcgi_script_name fastcgi_path_info
    request_time bytes_sent status sent_trailer_x remote_user http2 request_length
)) . '" $all_of_them { default ""; }';

add_block_preprocessor(sub {
    my ($block) = @_;
    my ($index, $one_in, $compiled) = @{ {
        plain    => ['', 1, ''],
        indexed  => [$index_all, 1, ''],
        sparse   => [$index_all, 4, ''],
        compiled => [$index_all, 8, 'D.compare_compiled()'],
    }->{ $block->mode } };

    $one_in *= 20 if $ENV{TEST_NGINX_USE_VALGRIND};

    $block->set_value(http_config => "$index\n" . <<'EOC');
    lua_package_path "$TEST_NGINX_LUA_DIR/?.lua;;";
    init_by_lua_block { D = require "differential" }

    server_rewrite_by_lua_block { D.check("server_rewrite") }
    rewrite_by_lua_block { D.check("rewrite") }
    access_by_lua_block { D.check("access") }
    header_filter_by_lua_block { D.check("header_filter") }
    body_filter_by_lua_block { D.check("body_filter") }
    log_by_lua_block { D.check("log") D.logged(ngx.var.request_uri) }

    limit_req_zone $binary_remote_addr zone=requests:64k rate=1r/m;
    limit_req_zone $binary_remote_addr zone=delayed:64k rate=50r/s;
    limit_conn_zone $binary_remote_addr zone=connections:64k;
    proxy_cache_path $TEST_NGINX_HTML_DIR/cache keys_zone=cache:64k;
    ssl_certificate         $TEST_NGINX_CERT_DIR/test.crt;
    ssl_certificate_key     $TEST_NGINX_CERT_DIR/test.key;
    ssl_session_cache       shared:sessions:128k;
    map $http_user_agent $fresh_map { volatile; default other; ~(?<named>tes)ter "$named"; }
    geo $geo { ranges; default none; 127.0.0.0-127.0.0.9 local; }
    geo $arg_ip $mapped { default none; 10.0.0.0/8 ten; proxy 127.0.0.1; }
    proxy_http_version 1.1;
    proxy_next_upstream_tries 3;

    upstream attempts {
        server 127.0.0.1:$TEST_NGINX_PORT1 max_fails=0;
        server 127.0.0.1:$TEST_NGINX_PORT2 max_fails=0;
        server 127.0.0.1:$TEST_NGINX_PORT3 max_fails=0 backup;
    }
    upstream all_down { server 127.0.0.1:$TEST_NGINX_PORT1; server 127.0.0.1:$TEST_NGINX_PORT7; }
    upstream balanced {
        server 0.0.0.1;
        balancer_by_lua_block {
            assert(require("ngx.balancer").set_current_peer("127.0.0.1", $TEST_NGINX_PORT3))
            D.check("balancer")
        }
        keepalive 4;
    }

    server {
        listen 127.0.0.1:$TEST_NGINX_PORT2;
        location / { content_by_lua_block { ngx.sleep(0.01) ngx.exit(502) } }
    }
    server {
        listen 127.0.0.1:$TEST_NGINX_PORT3;
        location / {
            add_header X-Cookie "c";
            add_header Set-Cookie "none=upstream cookie; path=/";
            return 200 "from the upstream";
        }
        location = /file.txt { root html; }
        location = /redirect { return 302 http://127.0.0.1:$TEST_NGINX_PORT3/; }
    }
    # client certificates, sessions, HTTP/2 by ALPN
    server {
        listen 127.0.0.1:$TEST_NGINX_PORT4 ssl http2;
        ssl_client_certificate $TEST_NGINX_CERT_DIR/test.crt;
        ssl_verify_client optional;
        ssl_protocols TLSv1.2 TLSv1.3;
        location / { return 200 "tls"; }
        location = /verified { if ($ssl_client_verify != SUCCESS) { return 403; } return 200 "verified"; }
        # a gRPC service for empty messages only
        location = /grpc {
            content_by_lua_block {
                ngx.header["Content-Type"] = "application/grpc"
                D.check("content")
                ngx.print("\0\0\0\0\0")
            }
            add_trailer grpc-status 0;
        }
    }

    server {
        listen 127.0.0.1:$TEST_NGINX_PORT5;
        root html;
        set $own "own";
        set $auth_value "";

        location = /attempts { proxy_pass http://attempts; proxy_next_upstream error http_502; }
        location = /all_down { proxy_pass http://all_down; error_page 502 = /after_502; }
        location = /after_502 { proxy_pass http://127.0.0.1:$TEST_NGINX_PORT3/; }
        location = /balanced { proxy_pass http://balanced; proxy_set_header Connection ""; }
        location = /buffering { proxy_pass http://127.0.0.1:$TEST_NGINX_PORT3/; proxy_buffering off; }
        location = /cached {
            proxy_cache cache;
            proxy_cache_valid 200 1h;
            proxy_pass http://127.0.0.1:$TEST_NGINX_PORT3/;
            proxy_ignore_headers Set-Cookie;
        }
        location = /slice {
            slice 4;
            proxy_set_header Range $slice_range;
            proxy_pass http://127.0.0.1:$TEST_NGINX_PORT3/file.txt;
        }
        location = /timeout { proxy_read_timeout 20ms; proxy_pass http://127.0.0.1:$TEST_NGINX_PORT6; }
        location = /resolved { set $backend 127.0.0.1:$TEST_NGINX_PORT3; proxy_pass http://$backend/; }
        location = /proxy_redirect { proxy_pass http://127.0.0.1:$TEST_NGINX_PORT3/redirect; }
        location = /tls { proxy_pass https://127.0.0.1:$TEST_NGINX_PORT4; proxy_ssl_session_reuse off; }
        location = /tls_sni {
            proxy_pass https://127.0.0.1:$TEST_NGINX_PORT4;
            proxy_ssl_server_name on;
            proxy_ssl_name sni.test;
            proxy_ssl_protocols TLSv1.2;
            proxy_ssl_session_reuse on;
        }
        location = /tls_client {
            proxy_pass https://127.0.0.1:$TEST_NGINX_PORT4/verified;
            proxy_ssl_certificate     $TEST_NGINX_CERT_DIR/test.crt;
            proxy_ssl_certificate_key $TEST_NGINX_CERT_DIR/test.key;
            proxy_ssl_protocols TLSv1.3;
        }
        location = /grpc { grpc_pass grpcs://127.0.0.1:$TEST_NGINX_PORT4; }
        location ~ ^/fastcgi {
            fastcgi_split_path_info ^(/fastcgi\.php)(/.*)$;
            fastcgi_index index.php;
            fastcgi_pass 127.0.0.1:$TEST_NGINX_PORT1;
            fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;
            error_page 502 = @failed;
        }
        location = /uwsgi { uwsgi_pass 127.0.0.1:$TEST_NGINX_PORT1; error_page 502 = @failed; }
        location = /scgi { scgi_pass 127.0.0.1:$TEST_NGINX_PORT1; error_page 502 = @failed; }
        location = /memcached {
            set $memcached_key "a key";
            memcached_pass 127.0.0.1:$TEST_NGINX_PORT1;
            error_page 502 = @failed;
        }
        location @failed { content_by_lua_block { D.check("content") ngx.say("failed") } }

        location = /limited { limit_req zone=requests; }
        location = /delayed { limit_req zone=delayed burst=5; content_by_lua_block { D.check("content") } }
        location = /connections { limit_conn connections 1; content_by_lua_block { D.check("content") } }
        location = /secure {
            secure_link $arg_md5,$arg_expires;
            secure_link_md5 "$secure_link_expires$uri secret";
            content_by_lua_block { D.check("content") ngx.say(ngx.var.secure_link) }
        }
        location = /userid { userid on; userid_name uid; content_by_lua_block { D.check("content") ngx.say("u") } }
        location = /referer { valid_referers none blocked server_names *.good.test; content_by_lua_block { D.check("content") } }
        location = /browser {
            modern_browser gecko 1.0.0;
            ancient_browser MSIE;
            content_by_lua_block { D.check("content") }
        }
        location = /gzip { gzip on; gzip_min_length 1; gzip_types *; content_by_lua_block { ngx.print(("a"):rep(1000)) } }
        location = /basic { auth_basic "x"; auth_basic_user_file $TEST_NGINX_HTML_DIR/users; content_by_lua_block { D.check("content") } }
        location = /trailer { add_trailer X "trailer $own"; content_by_lua_block { ngx.say("x") } }
        location = /ssi { ssi on; ssi_types *; content_by_lua_block { ngx.print('<!--# config timefmt="%H:%M" --><!--# echo var="date_local" --><!--# echo var="date_gmt" -->') } }
        location /dav/ { dav_methods PUT DELETE MKCOL; create_full_put_path on; }
        location = /rate { limit_rate 100k; limit_rate_after 1k; content_by_lua_block { D.check("content") ngx.say("x") } }
        location = /root { root $TEST_NGINX_HTML_DIR/$arg_dir; content_by_lua_block { D.check("content") } }
        location = /charset { charset utf-8; expires 1h; content_by_lua_block { ngx.header["Content-Type"] = "text/html" ngx.say("x") } }
    }
EOC
    $block->set_value(config => <<"EOC");
    location = /t { content_by_lua_file html/driver.lua; }
EOC
    $block->set_value(user_files => <<"EOD" . <<'EOC');
>>> driver.lua
D.sparse($one_in)
$compiled
EOD
local cases = {
    { "/attempts" }, { "/attempts?again" }, { "/all_down" }, { "/balanced" }, { "/balanced?kept" },
    { "/buffering" }, { "/cached", "miss" }, { "/cached", "hit" }, { "/slice" },
    { "/slice", "Range: bytes=2-7" }, { "/timeout" }, { "/resolved" }, { "/proxy_redirect" },
    { "/tls" }, { "/tls_sni" }, { "/tls_sni?reused" }, { "/tls_client" }, { "/grpc", "TE: trailers" },
    { "/fastcgi.php/path/info?a=1" }, { "/fastcgi/" }, { "/uwsgi" }, { "/scgi" }, { "/memcached" },
    { "/limited" }, { "/limited?again" }, { "/delayed" }, { "/delayed?again" },
    { "/connections" }, { "/secure" }, { "/secure?md5=x&expires=1" },
    { "/secure?expires=4102444800&md5=" .. ngx.encode_base64(ngx.md5_bin("4102444800/secure secret"))
                                               :gsub("+", "-"):gsub("/", "_"):gsub("=", "") },
    { "/userid" }, { "/userid?got", "Cookie: uid=fwAAAWU=" }, { "/userid?good", "Cookie: uid=fwAAAV9k/2YAAAAAAwMCAgA=" },
    { "/referer" }, { "/referer?bad", "Referer: http://bad.test/" }, { "/referer?good", "Referer: http://www.good.test/" },
    { "/browser", "User-Agent: Mozilla/5.0 (X11; rv:1.9) Gecko/20100101" },
    { "/browser?old", "User-Agent: MSIE 5.0" }, { "/gzip", "Accept-Encoding: gzip" }, { "/basic" },
    { "/basic?user", "Authorization: Basic dXNlcjpwYXNz" }, { "/basic?wrong", "Authorization: Basic dXNlcjp4" },
    { "/trailer", "TE: trailers" }, { "/ssi" }, { "/dav/a/b.txt", method = "PUT", body = "written" },
    { "/dav/a/b.txt", method = "DELETE" }, { "/rate" }, { "/root?dir=dir" }, { "/charset" },
}
local bad, phases = {}, {}
for _, case in ipairs(cases) do
    local body = case.body or ""
    D.begin(case[1])
    local c = require("client").connect{ port = $TEST_NGINX_PORT5 }
    c:send((case.method or "GET") .. " " .. case[1] .. " HTTP/1.1\r\nHost: modules.test\r\n"
           .. (case[2] and case[2]:find(":") and case[2] .. "\r\n" or "")
           .. "User-Agent: tester\r\nConnection: close\r\nContent-Length: " .. #body
           .. "\r\n\r\n" .. body)
    c:read_to_end()
    c:close()
    D.await_log()
    local line = D.finish()
    if line:find("\n", 1, true) then bad[#bad + 1] = line end
end
ngx.say("different: ", table.concat(bad, "\n"))
if not ngx.var.all_of_them and D.is_dense() then
    -- was there something to compare?
    ngx.say("never set: ", D.never_set("upstream", "modules", "ssl"))
end
>>> file.txt
text of the file
>>> users
user:{PLAIN}pass
>>> dir/index.html
index
EOC
    $block->set_value(request => 'GET /t');
    $block->set_value(timeout => $ENV{TEST_NGINX_USE_VALGRIND} ? '120s' : '30s');
    $block->set_value(no_error_log => '[alert]');

    # NGX_HTTP_VAR_NOHASH: ngx.var cannot find them by name unless they are indexed, as
    # OpenResty indexes those of proxy.  No client here sends early data.
    my $of_proxy = NgxVarTest::Nginx->vendor eq 'openresty' ? ''
        : 'proxy_add_x_forwarded_for proxy_host proxy_port ';
    my $no_hash = $of_proxy . 'fastcgi_path_info '
        . 'fastcgi_script_name gzip_ratio secure_link secure_link_expires slice_range ssl_early_data';
    $block->set_value(response_body => "different: \n"
        . ($block->mode eq 'plain' && $one_in == 1 ? "never set: $no_hash\n" : ''));
});

repeat_each(1);
run_tests();

__DATA__

=== TEST 1: variables of modules agree with ngx.var
--- mode: plain



=== TEST 2: variables of modules agree with ngx.var when all are indexed
--- mode: indexed



=== TEST 3: variables of modules agree with ngx.var when all are indexed and few are cached
--- mode: sparse
--- skip_eval
3: # memcheck gets only such blocks
$ENV{TEST_NGINX_USE_VALGRIND}



=== TEST 4: variables of modules agree with ngx.var in compiled code
--- mode: compiled
--- skip_eval
3: # memcheck would have to follow thousands of traces
$ENV{TEST_NGINX_USE_VALGRIND}
