package CtxWitness;

# For test files about ngx.ctx across redirects: adds witness.lua and client.lua to every
# block's http_config, and calls witness.see in every phase of every location that has no
# Lua of its own for that phase.
#
#     use NgxVarTest;
#     use Test::Nginx::Socket::Lua 'no_plan';
#     use CtxWitness;
#
# A block's section `seen` is the line that the witness writes to error.log in
# the log phase.  `everywhere` stands for the same table in each phase of a page.

use v5.36;

my $HTTP_CONFIG = <<"END";
    lua_package_path "\$TEST_NGINX_LUA_DIR/?.lua;\$TEST_NGINX_HTML_DIR/?.lua;;";
    init_by_lua_block {
        witness = require "witness"
        client = require "client"
    }
    rewrite_by_lua_block { witness.see("rewrite") }
    access_by_lua_block { witness.see("access") }
    header_filter_by_lua_block { witness.see("header_filter") }
    body_filter_by_lua_block { witness.see("body_filter") }
    log_by_lua_block { witness.finish() }
END

# The pages that most blocks are redirected to; a block may have its own.
my $PAGE = 'location = /page { content_by_lua_block { witness.page() } }';
my $NAMED_PAGE = 'location @page { content_by_lua_block { witness.page() } }';

my $EVERYWHERE = join ' ', map { "$_=same" }
    qw(rewrite access content header_filter body_filter log);

# A server for streams of one connection: http_config of a block whose Lua calls
# witness.try_streams or witness.leave_streams.
sub stream_server ($directives) {
    return <<"END";
    lua_shared_dict events 64k;
    server {
        $directives
        error_page 500 502 503 /page;
        error_page 504 \@page;
        location = /err {
            rewrite_by_lua_block { witness.keep() ngx.exit(500) }
        }
        location = /error {
            access_by_lua_block { witness.keep() error("on purpose") }
        }
        location = /later {
            rewrite_by_lua_block { witness.keep() ngx.sleep(0.005) ngx.exit(503) }
        }
        location = /refused {
            rewrite_by_lua_block { witness.keep() }
            proxy_pass http://127.0.0.1:\$TEST_NGINX_PORT9;
        }
        location = /named {
            rewrite_by_lua_block { witness.keep() ngx.exit(504) }
        }
        location = /fine { content_by_lua_block { ngx.say(next(ngx.ctx) == nil and "fresh" or "used") } }
        location = /page { content_by_lua_block { witness.stream_page() } }
        location \@page { content_by_lua_block { witness.stream_page() } }

        location = /leave {
            error_page 500 /waits;
            rewrite_by_lua_block { witness.keep() ngx.exit(500) }
        }
        location = /waits {
            lua_check_client_abort on;
            content_by_lua_block {
                ngx.shared.events:incr("arrived", 1, 0)
                ngx.sleep(10)
            }
        }
    }
END
}

Test::Nginx::Util::add_block_preprocessor(sub ($block) {
    # A block without a config uses that of the block before.
    if (defined(my $config = $block->config)) {
        $block->set_value(http_config => $HTTP_CONFIG . ($block->http_config // ''));
        $config .= "    $PAGE\n"       if $config !~ m{location = /page };
        $config .= "    $NAMED_PAGE\n" if $config !~ m{location \@page };
        $block->set_value(config => $config);
    }

    my $seen = $block->seen // return;
    $seen =~ s/\beverywhere\b/$EVERYWHERE/g;
    $seen =~ s/^\s+|\s+$//g;
    $block->set_value(grep_error_log => qr/(?<=seen: )[\w= ]*(?=;)/);
    $block->set_value(grep_error_log_out => $seen eq '' ? '' : "$seen\n");
});

1;
