# lua_var_ctx_restore: after which redirects a request gets its ngx.ctx back, in which
# phases, and which location's setting counts.

use v5.36;
use lib 't/lib';
use NgxVarTest;
use Test::Nginx::Socket::Lua 'no_plan';
use CtxWitness;

# Redirects other than error pages: what makes each, in a location whose ngx.ctx is kept.
my %REDIRECT = (
    '/exec'            => 'content_by_lua_block { ngx.exec("/page") }',
    '/exec-args'       => 'content_by_lua_block { ngx.exec("/page", { a = 1 }) }',
    '/exec-named'      => 'content_by_lua_block { ngx.exec("@page") }',
    '/exec-in-access'  => 'access_by_lua_block { ngx.exec("/page") }',
    '/exec-in-rewrite' => 'rewrite_by_lua_block { witness.keep() ngx.exec("/page") }',
    '/try-files'       => 'root html; try_files /missing /page;',
    '/try-files-named' => 'root html; try_files /missing @page;',
    '/dir/'            => 'root html; index page;',
    '/accel'           => 'proxy_pass http://127.0.0.1:$TEST_NGINX_PORT1/?to=/page;',
    '/accel-named'     => 'proxy_pass http://127.0.0.1:$TEST_NGINX_PORT1/?to=@page;',
);

# With `redirects` a block requests these, with this `setting`.
add_block_preprocessor(sub ($block) {
    my $seen = $block->seen;
    $block->set_value(seen => join ' ', map { "$_=new" } qw(rewrite access content header_filter body_filter log))
        if defined $seen && $seen =~ /^nowhere\s*$/;

    my @uris = split ' ', $block->redirects // return;
    my $keep = 'rewrite_by_lua_block { witness.keep() }';
    $block->set_value(config => join "\n", $block->setting // '',
        (map { "location = $_ { " . ($REDIRECT{$_} =~ /rewrite_by_lua/ ? '' : $keep) . " $REDIRECT{$_} }" } @uris),
        'location = /dir/page { content_by_lua_block { witness.page() } }');
    $block->set_value(http_config => <<'END');
    server {
        listen 127.0.0.1:$TEST_NGINX_PORT1;
        location / {
            add_header X-Accel-Redirect $arg_to;
            return 200;
        }
    }
END
    # a file, for the index module to find
    $block->set_value(user_files => ">>> dir/page\n");
    $block->set_value(request => [ map { "GET $_" } @uris ]);
    $block->set_value(response_body => [ ("page\n") x @uris ]);
});

repeat_each(2);
run_tests();

__DATA__

=== TEST 1: the default restores ngx.ctx after an error page
--- config
    location = /t {
        error_page 500 /page;
        rewrite_by_lua_block { witness.keep() }
        content_by_lua_block { ngx.exit(500) }
    }
--- request
GET /t
--- error_code: 500
--- response_body
page
--- seen: everywhere



=== TEST 2: whichever phase uses ngx.ctx first gets the restored table
--- config
    location = /err {
        error_page 502 /page;
        rewrite_by_lua_block { witness.keep() }
        content_by_lua_block { ngx.exit(502) }
    }
    location = /t {
        content_by_lua_block {
            witness.reset()

            local phases = { "rewrite", "access", "content", "header_filter", "body_filter", "log" }

            for i, phase in ipairs(phases) do
                client.get("/err", { headers = { ["X-First"] = phase } })
                ngx.say(witness.await(i)[i])
            end
        }
    }
--- request
GET /t
--- response_body
rewrite=same access=same content=same header_filter=same body_filter=same log=same
access=same content=same header_filter=same body_filter=same log=same
content=same header_filter=same body_filter=same log=same
header_filter=same body_filter=same log=same
body_filter=same log=same
log=same



=== TEST 3: ngx.ctx is restored on pages without Lua of their own
--- config
    location = /t {
        error_page 500 /empty;
        error_page 502 /static.txt;
        rewrite_by_lua_block { witness.keep() }
        content_by_lua_block { ngx.exit(tonumber(ngx.var.arg_code)) }
    }
    location = /empty { return 200 "empty\n"; }
    location = /static.txt { root html; }
--- user_files
>>> static.txt
static
--- request eval
["GET /t?code=500", "GET /t?code=502"]
--- more_headers eval
["X-First: header_filter", "X-First: header_filter"]
--- error_code eval
[500, 502]
--- response_body eval
["empty\n", "static\n"]
--- seen: header_filter=same body_filter=same log=same



=== TEST 4: a light thread gets the same table
--- config
    location = /t {
        error_page 500 /page;
        rewrite_by_lua_block { witness.keep() }
        content_by_lua_block { ngx.exit(500) }
    }
    location = /page {
        content_by_lua_block {
            assert(ngx.thread.wait(ngx.thread.spawn(witness.see, "thread")))
            coroutine.wrap(witness.see)("coroutine")
            ngx.sleep(0)
            witness.page()
        }
    }
--- request
GET /t
--- error_code: 500
--- more_headers
X-First: thread
--- response_body
page
--- seen: thread=same coroutine=same content=same header_filter=same body_filter=same log=same



=== TEST 5: off restores nothing
--- config
    lua_var_ctx_restore off;
    location = /t {
        error_page 500 /page;
        rewrite_by_lua_block { witness.keep() }
        content_by_lua_block { ngx.exit(500) }
    }
--- request
GET /t
--- error_code: 500
--- response_body
page
--- seen: nowhere



=== TEST 6: the directive is inherited from http and server, and overridden in location
--- http_config
    lua_var_ctx_restore off;
    server {
        listen 127.0.0.1:$TEST_NGINX_PORT1;
        error_page 500 /page;
        location = /t {
            rewrite_by_lua_block { witness.keep() }
            content_by_lua_block { ngx.exit(500) }
        }
        location = /page { content_by_lua_block { witness.page() } }
    }
    server {
        listen 127.0.0.1:$TEST_NGINX_PORT2;
        lua_var_ctx_restore error_page;
        error_page 500 /page;
        error_page 502 /off/page;
        error_page 503 /off/page/on;
        location = /t {
            rewrite_by_lua_block { witness.keep() }
            content_by_lua_block { ngx.exit(tonumber(ngx.var.arg_code)) }
        }
        location = /page { content_by_lua_block { witness.page() } }
        location /off/ {
            lua_var_ctx_restore off;
            location = /off/page { content_by_lua_block { witness.page() } }
            location = /off/page/on {
                lua_var_ctx_restore error_page;
                content_by_lua_block { witness.page() }
            }
        }
    }
--- config
    location = /t {
        content_by_lua_block {
            witness.reset()

            for i, case in ipairs{
                { "http", $TEST_NGINX_PORT1, 500 },
                { "server", $TEST_NGINX_PORT2, 500 },
                { "location", $TEST_NGINX_PORT2, 502 },
                { "location in location", $TEST_NGINX_PORT2, 503 },
            } do
                client.get("/t?code=" .. case[3], { port = case[2] })
                ngx.say(case[1], ": ", witness.await(i)[i]:match("log=%w+"))
            end
        }
    }
--- request
GET /t
--- response_body
http: log=new
server: log=same
location: log=new
location in location: log=same



=== TEST 7: the setting of the location where the request lands counts
--- config
    location = /off-to-on {
        lua_var_ctx_restore off;
        error_page 500 /on;
        rewrite_by_lua_block { witness.keep() }
        content_by_lua_block { ngx.exit(500) }
    }
    location = /on-to-off {
        lua_var_ctx_restore all;
        error_page 500 /off;
        rewrite_by_lua_block { witness.keep() }
        content_by_lua_block { ngx.exit(500) }
    }
    location = /on {
        lua_var_ctx_restore error_page;
        content_by_lua_block { ngx.say("restored: ", ngx.ctx.kept_by ~= nil) }
    }
    location = /off {
        lua_var_ctx_restore off;
        content_by_lua_block { ngx.say("restored: ", ngx.ctx.kept_by ~= nil) }
    }
--- request eval
["GET /off-to-on", "GET /on-to-off"]
--- error_code eval
[500, 500]
--- response_body eval
["restored: true\n", "restored: false\n"]



=== TEST 8: all restores after ngx.exec, try_files, index and X-Accel-Redirect
--- setting: lua_var_ctx_restore all;
--- redirects
/exec /exec-args /exec-in-rewrite /exec-in-access /exec-named /try-files /try-files-named /dir/ /accel /accel-named
--- seen: everywhere



=== TEST 9: error_page does not restore after ngx.exec, try_files, index and X-Accel-Redirect
--- setting: lua_var_ctx_restore error_page;
--- redirects
/exec /exec-named /try-files /dir/ /accel
--- seen: nowhere



=== TEST 10: off does not restore after other redirects
--- setting: lua_var_ctx_restore off;
--- redirects
/exec /try-files-named
--- seen: nowhere



=== TEST 11: all restores after error pages
--- config
    lua_var_ctx_restore all;
    location = /t {
        error_page 500 @page;
        rewrite_by_lua_block { witness.keep() }
        content_by_lua_block { ngx.exit(500) }
    }
--- request
GET /t
--- error_code: 500
--- response_body
page
--- seen: everywhere



=== TEST 12: the default does not restore after ngx.exec, try_files and index
--- redirects
/exec /try-files-named /dir/
--- seen: nowhere
