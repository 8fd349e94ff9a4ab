# What the library reads of a header leaves nothing behind: when Lua changes the header after
# that, nginx's own variable is the new one, also where the configuration uses it.

use v5.36;
use lib 't/lib';
use NgxVarTest;
use Test::Nginx::Socket::Lua 'no_plan';

# A way to read is the block's `way`.
add_block_preprocessor(sub ($block) {
    my $way = $block->way // return;
    $block->set_value(http_config => <<"EOC");
    log_format response '\$sent_http_content_type|\$sent_http_cache_control|\$sent_http_link|'
                        '\$sent_http_location|\$sent_http_last_modified|\$sent_http_x_own';
    init_by_lua_block {
        local ngxvar = require "resty.ngxvar"

        local function read(name, req)
            $way
        end

        -- Reads these variables twice, because the first time the library may look them up.
        function read_all(names, suffix)
            local said = {}

            for i, name in ipairs(names) do
                local value = read(name, ngxvar.request())
                local want = suffix and suffix .. "-" .. name

                if value ~= read(name, ngxvar.request()) or want and value ~= want then
                    ngx.log(ngx.ERR, name, ": ", value)
                end
            end
        end
    }
    server {
        listen 127.0.0.1:\$TEST_NGINX_PORT1;
        location / {
            return 200 "\$http_x_1|\$http_x_2|\$http_x_3|\$http_x_4|\$http_x_5|\$http_x_6|\$http_x_7";
        }
    }
EOC
    $block->set_value(config => <<'EOC');
    location = /request {
        rewrite_by_lua_block {
            local headers = { http_host = "Host", http_user_agent = "User-Agent", http_cookie = "Cookie",
                              http_x_forwarded_for = "X-Forwarded-For", http_referer = "Referer",
                              content_type = "Content-Type", http_x_own = "X-Own" }
            local names = { "http_host", "http_user_agent", "http_cookie", "http_x_forwarded_for",
                            "http_referer", "content_type", "http_x_own" }

            read_all(names, "old")

            for _, suffix in ipairs{ "new", "newer" } do
                for name, header in pairs(headers) do
                    ngx.req.set_header(header, suffix .. "-" .. name)
                end

                read_all(names, suffix)
            end
        }
        proxy_set_header X-1 $http_host;
        proxy_set_header X-2 $http_user_agent;
        proxy_set_header X-3 $http_cookie;
        proxy_set_header X-4 $http_x_forwarded_for;
        proxy_set_header X-5 $http_referer;
        proxy_set_header X-6 $content_type;
        proxy_set_header X-7 $http_x_own;
        proxy_pass http://127.0.0.1:$TEST_NGINX_PORT1;
    }
    location = /response {
        access_log $TEST_NGINX_SERVROOT/logs/response.log response;
        content_by_lua_block {
            local headers = { sent_http_content_type = "Content-Type", sent_http_cache_control = "Cache-Control",
                              sent_http_link = "Link", sent_http_location = "Location",
                              sent_http_last_modified = "Last-Modified", sent_http_x_own = "X-Own" }
            local names = {}

            for name in pairs(headers) do
                names[#names + 1] = name
            end

            read_all(names)

            for _, suffix in ipairs{ "old", "new" } do
                for name, header in pairs(headers) do
                    ngx.header[header] = suffix .. "-" .. name
                end

                read_all(names, suffix)
            end

            ngx.print("sent")
        }
        # after the headers were sent, nothing changes them
        log_by_lua_block { read_all{ "sent_http_content_type" } }
    }
    location = /log { alias $TEST_NGINX_SERVROOT/logs/response.log; }
EOC
    $block->set_value(more_headers => <<'END');
Host: old-http_host
User-Agent: old-http_user_agent
Cookie: old-http_cookie
X-Forwarded-For: old-http_x_forwarded_for
Referer: old-http_referer
Content-Type: old-content_type
X-Own: old-http_x_own
END
    $block->set_value(request => [ 'GET /request', 'GET /response', 'GET /log' ]);
    $block->set_value(response_body_like => [
        '^' . join('\|', map { "newer-$_" } qw(http_host http_user_agent http_cookie http_x_forwarded_for
                                               http_referer content_type http_x_own)) . '$',
        '^sent$',
        # the first line is that of the first round
        '\A(?:' . join('\|', map { "new-sent_http_$_" } qw(content_type cache_control link location
                                                        last_modified x_own)) . '\n)+\z',
    ]);
    $block->set_value(no_error_log => '[error]');
});

repeat_each(1);
run_tests();

__DATA__

=== TEST 1: fetch
--- way
return ngxvar.fetch(name)



=== TEST 2: fetch with a handle
--- way
return ngxvar.fetch(name, req)



=== TEST 3: a getter
--- way
return ngxvar.getter(name)(req)



=== TEST 4: a reader
--- way
return (ngxvar.reader{ name }(req))



=== TEST 5: a reader's table
--- way
return ngxvar.reader{ name }:table(req)[name]
