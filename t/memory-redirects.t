# After very many redirects, of requests, of subrequests and of clients that leave, as many
# requests are live, as many ngx.ctx tables referenced and as much memory in use as before.
#
#   FULL=1 prove t/memory-redirects.t     1 000 000 redirects, else 100 000

use v5.36;
use lib 't/lib';

use NginxServer;
use NgxVarTest::Client ();
use Socket qw(SOL_SOCKET SO_LINGER);
use Test::More;

NginxServer->skip_unless_plain;

# TURN: redirects in one call of redirect(); LEAVE: clients that leave in each round.
use constant { REDIRECTS => $ENV{FULL} ? 1_000_000 : 100_000, TURN => 68, LEAVE => 40 };
my $port = NginxServer->port;
# Bytes by which Lua's tables and malloc vary.  One ngx.ctx table for each redirect would be
# at least 8 MB.
use constant WAVER => 64 * 1024;

my $nginx = NginxServer->new(workers => 1, log_level => 'crit', http => <<'END' =~ s/PORT/$port/r);
    lua_var_ctx_restore all;
    lua_check_client_abort on;
    access_log off;
    keepalive_requests 1000000;
    init_by_lua_block {
        local ffi = require "ffi"
        ngxvar = require "resty.ngxvar"
        semaphore = require "ngx.semaphore"
        pages, wrong, waiting = 0, 0, 0

        ffi.cdef[[
        typedef struct {
            size_t arena, ordblks, smblks, hblks, hblkhd, usmblks, fsmblks,
                   uordblks, fordblks, keepcost;
        } mallinfo2_t;
        mallinfo2_t mallinfo2(void);
        ]]

        -- before a redirect
        function keep() ngx.ctx.of = tostring(ngxvar.request()) end

        -- after a redirect
        function arrive()
            pages = pages + 1
            if ngx.ctx.of ~= tostring(ngxvar.request()) then wrong = wrong + 1 end
        end

        function wait()
            waiting = waiting + 1
            released = released or semaphore.new()
            released:wait(60)
        end

        function figures()
            collectgarbage()
            collectgarbage()
            local heap = ffi.C.mallinfo2()
            local stats = ngxvar.stats()
            local tables = 0
            for _, ctx in pairs(debug.getregistry().ngx_lua_ctx_tables) do
                if type(ctx) == "table" then tables = tables + 1 end
            end
            ngx.say("memory=", tonumber(heap.uordblks + heap.hblkhd) + collectgarbage("count") * 1024,
                    " live=", stats.live_requests, " tables=", tables,
                    " places=", #debug.getregistry().ngx_lua_ctx_tables,
                    " restored=", stats['restored_total{redirect="error_page"}']
                        + stats['restored_total{redirect="other"}'],
                    " pages=", pages, " wrong=", wrong, " waiting=", waiting,
                    " active=", ngx.var.connections_active)
        end
    }

    server {
        listen 127.0.0.1:PORT;

        location = /page { internal; content_by_lua_block { arrive() ngx.print("p") } }
        location @page { content_by_lua_block { arrive() ngx.print("p") } }
        location = /again {
            internal;
            error_page 503 /page;
            rewrite_by_lua_block { arrive() keep() ngx.exit(503) }
        }

        location = /uri { error_page 502 /page; rewrite_by_lua_block { keep() ngx.exit(502) } }
        location = /name { error_page 502 @page; rewrite_by_lua_block { keep() ngx.exit(502) } }
        location = /exec { content_by_lua_block { keep() ngx.exec("/page") } }
        location = /exec-name { content_by_lua_block { keep() ngx.exec("@page") } }
        location = /tried { rewrite_by_lua_block { keep() } try_files /none /page; }
        # two redirects, the second of an error page
        location = /twice { content_by_lua_block { keep() ngx.exec("/again") } }

        # Redirects of subrequests, some at once, then its own. An error in a subrequest
        # of Lua is a result, and no error page.
        location = /captured {
            error_page 502 /page;
            content_by_lua_block {
                keep()
                for _ = 1, 6 do
                    for _, res in ipairs { ngx.location.capture_multi {
                        { "/exec" }, { "/exec-name" }, { "/tried" },
                        { "/exec", { ctx = { of = "shared" } } } } }
                    do
                        if res.body ~= "p" then wrong = wrong + 1 end
                    end
                end
                ngx.exit(502)
            }
        }
        # Error pages of subrequests.
        location = /included {
            ssi on;
            default_type text/html;
            content_by_lua_block {
                ngx.print(('<!--#include virtual="/uri" --><!--#include virtual="/name" -->'):rep(20))
            }
        }

        # Their clients leave while the page waits, as the main request or as a subrequest.
        location = /slow { internal; content_by_lua_block { arrive() wait() ngx.say("s") } }
        location @slow { content_by_lua_block { arrive() wait() ngx.say("s") } }
        location = /left { error_page 502 /slow; rewrite_by_lua_block { keep() ngx.exit(502) } }
        location = /left-exec { content_by_lua_block { keep() ngx.exec("@slow") } }
        location = /left-sub { ssi on; default_type text/html; content_by_lua_block {
            ngx.print('<!--#include virtual="/left" -->') } }
        # Only what is written shows that the client has gone.
        location = /left-unseen {
            lua_check_client_abort off;
            error_page 502 @slow-unseen;
            rewrite_by_lua_block { keep() ngx.exit(502) }
        }
        location @slow-unseen {
            lua_check_client_abort off;
            content_by_lua_block { arrive() wait() ngx.say("s") ngx.flush(true) }
        }
        location = /release { content_by_lua_block { released:post(1000) waiting = 0 ngx.say("ok") } }
        location = /drained { content_by_lua_block { while released:wait(0) do end ngx.say("ok") } }
        location = /figures { content_by_lua_block { figures() } }
    }
END
$nginx->start;
my $client = NgxVarTest::Client->new($port);

sub get ($path) {
    $client->send($path);
    my ($code, $body) = $client->receive or die "no answer to $path\n";
    return $body;
}

sub figures () { return { map { split /=/ } split ' ', get('/figures') } }

# Clients that leave while their pages wait.
sub leave () {
    my @kinds   = qw(/left /left-exec /left-sub /left-unseen);
    my @clients = map { NgxVarTest::Client->new($port) } 1 .. LEAVE;
    $clients[$_]->send($kinds[ $_ % @kinds ]) for 0 .. $#clients;
    $nginx->await('the pages wait', sub { figures()->{waiting} == LEAVE });
    for (@clients) {
        setsockopt $_->socket, SOL_SOCKET, SO_LINGER, pack 'll', 1, 0;
        $_->close;
    }
    get('/release');
    $nginx->await('they are gone', sub { figures()->{active} == 1 });
    get('/drained');
    return;
}

# Rounds until REDIRECTS is reached.
sub redirect ($redirects) {
    my $end = figures()->{pages} + $redirects;
    while ((my $left = $end - figures()->{pages}) > 0) {
        my $rounds = int($left / TURN) + 1;
        for (1 .. ($rounds < 100 ? $rounds : 100)) {
            my $pages = join ' ', map { get($_) } qw(/captured /included /uri /twice);
            die "the pages are $pages\n" if $pages ne 'p ' . 'p' x 40 . ' p p';
        }
        leave();
    }
    return;
}

# The first redirects allocate what stays.
redirect(5_000);
my $before = figures();
redirect(REDIRECTS);
my $after = figures();
my %more  = map { $_ => $after->{$_} - $before->{$_} } keys %$before;
my $said  = join ', ', map { "$_ $before->{$_} -> $after->{$_}" } sort keys %$before;

cmp_ok($more{pages}, '>=', REDIRECTS, 'all were redirected');
is($after->{wrong}, 0, 'each ngx.ctx was the one of its request');
is($more{restored}, $more{pages}, 'each ngx.ctx was restored');
is($after->{live},  $before->{live}, 'no more requests are live');
is($after->{tables}, $before->{tables}, 'no more ngx.ctx tables are referenced');
cmp_ok($after->{places}, '<', 3 * LEAVE, 'the table of references has not grown');
cmp_ok(abs $more{memory}, '<', WAVER, 'no more memory is in use') or diag($said);
note($said);

undef $client;
$nginx->stop_cleanly;
done_testing;
