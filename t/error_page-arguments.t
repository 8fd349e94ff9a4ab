# After error_page, a request has the arguments that it would have without this module.
# The module's hook (src/error_page.rs) turns every error_page value into one with variables,
# which nginx splits in another way: without arguments it leaves r->args.data unset.

use lib 't/lib';
use NgxVarTest;
use Test::Nginx::Socket::Lua 'no_plan';

repeat_each(2);

add_block_preprocessor(sub {
    my ($block) = @_;
    my $error_page = $block->error_page // '/land';
    my $location = <<'EOC';
    location = /land { content_by_lua_block { say() } }
    location @land { content_by_lua_block { say() } }
    # other work leaves other bytes on the stack
    location = /upstream { error_page 502 ERROR_PAGE; proxy_pass http://127.0.0.1:$TEST_NGINX_PORT1; }
    location = /return { error_page 503 ERROR_PAGE; return 503; }
    location = /lua { error_page 503 ERROR_PAGE; content_by_lua_block { ngx.exit(503) } }
    location = /deny { error_page 403 ERROR_PAGE; deny all; }
    location = /none { error_page 404 ERROR_PAGE; root html; }
    # nginx ends the chain when the module's hook has run for one redirect more
    location = /chain { recursive_error_pages on; error_page 404 /chain; return 404; }
    location = /try { root html; try_files /none /land?a=2; }
EOC
    $block->set_value(http_config => <<'EOC');
    init_by_lua_block {
        function say()
            local fetch = require("resty.ngxvar").fetch
            ngx.say(tostring(ngx.var.args), " ", tostring(fetch("args")), " [",
                    ngx.var.is_args, "] ", tostring(ngx.var.arg_a), " ",
                    next(ngx.req.get_uri_args()) or "no arguments")
        end
    }
    map $uri $with_variable { default /land; }
EOC
    $block->set_value(config => $location =~ s/ERROR_PAGE/= $error_page/gr);
    return if defined $block->request;
    $block->set_value(request =>
        [map { "GET /$_?a=1" } qw(upstream return deny none)]);
    $block->set_value(response_body => [($block->want) x 4]);
});

run_tests();

__DATA__

=== TEST 1: after error_page to a URI without arguments there are none
--- error_page chomp
/land
--- want
nil nil [] nil no arguments



=== TEST 2: after error_page to a URI with arguments they are those
--- error_page chomp
/land?a=2
--- want
a=2 a=2 [?] 2 a



=== TEST 3: after error_page to a URI that ends in a question mark they are empty
--- error_page chomp
/land?
--- want
  [] nil no arguments



=== TEST 4: in a named location the request's arguments stay
--- error_page chomp
@land
--- want
a=1 a=1 [?] 1 a



=== TEST 5: arguments in a variable are taken from it
--- error_page chomp
/land?b=$arg_a
--- want
b=1 b=1 [?] nil b



=== TEST 6: a redirect that nginx did not make takes no arguments from a later request
--- request eval
["GET /chain", "GET /try?a=1"]
--- error_code eval
[500, 200]
--- response_body_like eval
["500 Internal Server Error", '\Aa=2 a=2 \[\?\] 2 a\n\z']
