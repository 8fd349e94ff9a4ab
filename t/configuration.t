# What the directives take and refuse, and the notice at a start: src/conf/.  lua_var_index is
# in lua_var_index.t, what lua_var_ctx_restore does in lua_var_ctx_restore.t.

use v5.36;
use lib 't/lib';

use File::Copy qw(copy);
use File::Temp qw(tempdir);

use NgxVarTest;
use Test::Nginx::Socket::Lua 'no_plan';
use NginxServer;
use RefusedConfiguration;

# lua-var-nginx-module has the same module name as this one.  nginx compares these names,
# not file names, so a copy of this module stands for it.
my $module = NgxVarTest::Env::module();
my $dir    = tempdir(DIR => NgxVarTest::Env::root() . '/target', CLEANUP => 1);
$ENV{TEST_NGINX_MODULE}       = $module // '';
$ENV{TEST_NGINX_OTHER_MODULE} = "$dir/ngx_http_lua_var_module.so";
!defined $module or copy($module, $ENV{TEST_NGINX_OTHER_MODULE}) or die "$module: $!";

repeat_each(1);     # a configuration is read once
run_tests();

# A start logs one notice, with the build and lua_var_ctx_restore.
{
    my ($version) = `cat Cargo.toml` =~ /^version = "(.*)"$/m;
    my ($nginx_version) = `$ENV{TEST_NGINX_BINARY} -v 2>&1` =~ m{version: (\S+)};
    my $nginx = NginxServer->new;
    my %said  = (
        ''                             => 'error_page',
        'lua_var_ctx_restore OFF;'     => 'off',
        'lua_var_ctx_restore all;'     => 'all',
        'server { lua_var_ctx_restore all; }' => 'error_page',
    );
    for my $http (sort keys %said) {
        $nginx->configure(http => "$http server { listen 127.0.0.1:" . NginxServer->port(9) . '; }');
        $nginx->new_log_lines;
        $nginx->test;
        is(scalar(() = $nginx->new_log_lines(qr/lua_var: version/)), 1, "nginx -t logs a notice of the version: $http");
        $nginx->start;
        my @lines = $nginx->new_log_lines(qr/lua_var: /);
        is(scalar @lines, 1, "a start logs one notice of the version: $http");
        my $rest = "version $version, built for $nginx_version, layout agrees, lua_var_ctx_restore $said{$http}";
        like($lines[0] // '', qr/\[notice\] \S+ lua_var: \Q$rest\E\n/, "the notice has the settings: $http");
        $nginx->stop;
    }
    $nginx->stop_cleanly;
}

# lua_var_ctx_restore has no effect with lua_code_cache off: one warning, and only when the
# directive is written.
{
    my $nginx  = NginxServer->new;
    my $listen = 'listen 127.0.0.1:' . NginxServer->port(9) . ';';
    my $off    = 'lua_code_cache off;';
    my %said   = (
        "lua_var_ctx_restore all; $off server { $listen location /a { } }" => 'a server',
        "server { $listen $off lua_var_ctx_restore error_page; }"          => 'a server',
        "lua_var_ctx_restore all; server { $listen location /a { $off location /a/b { } } }" =>
            'location "/a"',
        "$off server { $listen location /a { lua_var_ctx_restore all; } location /b { } }" =>
            'location "/a"',
        "server { $listen location \@a { $off lua_var_ctx_restore all; } location /b { $off } }" =>
            'location "@a"',
        "$off server { $listen }"                                    => undef,
        "$off server { $listen lua_var_ctx_restore off; }"           => undef,
        "lua_var_ctx_restore all; server { $listen }"                => undef,
        "lua_var_ctx_restore all; lua_code_cache on; server { $listen }" => undef,
        "lua_var_ctx_restore all; server { $listen location /a { lua_var_ctx_restore off; $off } }" =>
            undef,
    );
    for my $http (sort keys %said) {
        $nginx->configure(http => $http);
        my ($status, $output) = $nginx->test;
        is($status, 0, "nginx -t passes: $http");
        my @lines = $output =~ /(lua_var: .*)/g;
        my $place = $said{$http};
        is("@lines", defined $place ? "lua_var: lua_var_ctx_restore does nothing in $place: with "
            . 'lua_code_cache off, each internal redirect has a Lua VM of its own' : '',
            "nginx -t warns only where lua_var_ctx_restore has no effect: $http");
    }
}

# A Lua module that lacks functions which this module calls.
SKIP: {
    skip('the Lua module is linked in', 2) if NgxVarTest::Nginx->is_linked('ngx_http_lua_module');
    chomp(my $old_lua = `t/bin/old-lua-module`);
    my $nginx = NginxServer->new(modules => [ $old_lua, $module ], http => 'server { }');
    my ($status, $output) = $nginx->test;
    isnt($status, 0, 'nginx -t refuses a Lua module that is too old');
    like($output, qr/\[emerg\] ngx_http_lua_module is too old for ngx_http_lua_var_module: it lacks \w+ in /,
        'nginx -t says which function it lacks');
}

__DATA__

=== TEST 1: lua_var_ctx_restore refuses an unknown value
--- config
    lua_var_ctx_restore maybe;
--- refused
invalid value "maybe" in "lua_var_ctx_restore" directive, it must be "off", "error_page" or "all"



=== TEST 2: lua_var_ctx_restore refuses an empty value
--- config
    location = /t { lua_var_ctx_restore ""; }
--- refused
invalid value "" in "lua_var_ctx_restore" directive, it must be "off", "error_page" or "all"



=== TEST 3: lua_var_ctx_restore refuses a value that begins like a known one
--- config
    location = /t { lua_var_ctx_restore error_pages; }
--- refused
invalid value "error_pages" in "lua_var_ctx_restore" directive, it must be "off", "error_page" or "all"



=== TEST 4: lua_var_ctx_restore is refused twice in http
--- http_config
    lua_var_ctx_restore off;
    lua_var_ctx_restore off;
--- refused
"lua_var_ctx_restore" directive is duplicate



=== TEST 5: lua_var_ctx_restore is refused twice in server
--- config
    lua_var_ctx_restore off;
    lua_var_ctx_restore all;
--- refused
"lua_var_ctx_restore" directive is duplicate



=== TEST 6: lua_var_ctx_restore is refused twice in location
--- config
    location = /t {
        lua_var_ctx_restore error_page;
        lua_var_ctx_restore all;
    }
--- refused
"lua_var_ctx_restore" directive is duplicate



=== TEST 7: lua_var_ctx_restore is refused without a value
--- config
    lua_var_ctx_restore;
--- refused
invalid number of arguments in "lua_var_ctx_restore" directive



=== TEST 8: lua_var_ctx_restore is refused with two values
--- config
    lua_var_ctx_restore off all;
--- refused
invalid number of arguments in "lua_var_ctx_restore" directive



=== TEST 9: lua_var_ctx_restore is refused outside http
--- main_config
    lua_var_ctx_restore off;
--- refused
"lua_var_ctx_restore" directive is not allowed here



=== TEST 10: lua_var_ctx_restore is refused in upstream
--- http_config
    upstream up {
        server 127.0.0.1:$TEST_NGINX_PORT1;
        lua_var_ctx_restore off;
    }
--- refused
"lua_var_ctx_restore" directive is not allowed here



=== TEST 11: lua_var_ctx_restore is refused in an if of a server
--- config
    if ($uri) { lua_var_ctx_restore off; }
--- refused
"lua_var_ctx_restore" directive is not allowed here



=== TEST 12: lua_var_ctx_restore is refused in an if of a location
--- config
    location = /t {
        if ($uri) { lua_var_ctx_restore off; }
    }
--- refused
"lua_var_ctx_restore" directive is not allowed here



=== TEST 13: lua_var_ctx_restore is refused in limit_except
--- config
    location = /t {
        limit_except GET { lua_var_ctx_restore off; }
    }
--- refused
"lua_var_ctx_restore" directive is not allowed here



=== TEST 14: lua_var_ctx_restore takes every value at every level
--- http_config
    lua_var_ctx_restore all;
    server { listen 127.0.0.1:$TEST_NGINX_PORT1; lua_var_ctx_restore error_page; }
    server { listen 127.0.0.1:$TEST_NGINX_PORT2; lua_var_ctx_restore all; }
--- config
    lua_var_ctx_restore off;
    location /t {
        lua_var_ctx_restore off;
        location = /t {
            lua_var_ctx_restore error_page;
            return 200 "good\n";
        }
        location ~ ^/t/x {
            lua_var_ctx_restore all;
            if ($uri) { return 204; }
            limit_except GET { deny all; }
        }
    }
    location @named { lua_var_ctx_restore ALL; return 204; }   # as nginx takes values
--- request
GET /t
--- response_body
good
--- no_error_log
[error]



=== TEST 15: the module is refused beside lua-var-nginx-module
--- main_config
    load_module $TEST_NGINX_OTHER_MODULE;
--- refused
module "ngx_http_lua_var_module" is already loaded
--- skip_eval
3: # there is no file of a module that is linked in
!$ENV{TEST_NGINX_MODULE}



=== TEST 16: the module is refused when it is loaded twice
--- main_config
    load_module $TEST_NGINX_MODULE;
--- refused
module "ngx_http_lua_var_module" is already loaded
--- skip_eval
3: # there is no file of a module that is linked in
!$ENV{TEST_NGINX_MODULE}



=== TEST 17: a map may take the name $from_error_page
--- http_config
    map $uri $from_error_page { default "mine"; }
--- config
    location = /t { return 200 "[$from_error_page]\n"; }
--- request
GET /t
--- response_body
[mine]



=== TEST 18: lua_var_log_refused refuses an unknown level
--- http_config
    lua_var_log_refused crit;
--- refused
invalid value "crit" in "lua_var_log_refused" directive, it must be "off", or "info", "notice", "warn" or "error" and a rate



=== TEST 19: lua_var_log_refused refuses a rate with off
--- http_config
    lua_var_log_refused off rate=1r/s;
--- refused
invalid value "off" in "lua_var_log_refused" directive, it must be "off", or "info", "notice", "warn" or "error" and a rate



=== TEST 20: lua_var_log_refused refuses rate=0r/s
--- http_config
    lua_var_log_refused warn rate=0r/s;
--- refused
invalid rate "rate=0r/s" in "lua_var_log_refused" directive, it must look like "rate=10r/s"



=== TEST 21: lua_var_log_refused refuses rate=r/s
--- http_config
    lua_var_log_refused warn rate=r/s;
--- refused
invalid rate "rate=r/s" in "lua_var_log_refused" directive, it must look like "rate=10r/s"



=== TEST 22: lua_var_log_refused refuses rate=-1r/s
--- http_config
    lua_var_log_refused warn rate=-1r/s;
--- refused
invalid rate "rate=-1r/s" in "lua_var_log_refused" directive, it must look like "rate=10r/s"



=== TEST 23: lua_var_log_refused refuses rate=+1r/s
--- http_config
    lua_var_log_refused warn rate=+1r/s;
--- refused
invalid rate "rate=+1r/s" in "lua_var_log_refused" directive, it must look like "rate=10r/s"



=== TEST 24: lua_var_log_refused refuses rate=1r/m
--- http_config
    lua_var_log_refused warn rate=1r/m;
--- refused
invalid rate "rate=1r/m" in "lua_var_log_refused" directive, it must look like "rate=10r/s"



=== TEST 25: lua_var_log_refused refuses 1r/s without rate=
--- http_config
    lua_var_log_refused warn 1r/s;
--- refused
invalid rate "1r/s" in "lua_var_log_refused" directive, it must look like "rate=10r/s"



=== TEST 26: lua_var_log_refused refuses a rate that does not fit
--- http_config
    lua_var_log_refused warn rate=99999999999999999999r/s;
--- refused
invalid rate "rate=99999999999999999999r/s" in "lua_var_log_refused" directive, it must look like "rate=10r/s"



=== TEST 27: lua_var_log_refused is refused twice
--- http_config
    lua_var_log_refused warn;
    lua_var_log_refused off;
--- refused
"lua_var_log_refused" directive is duplicate



=== TEST 28: lua_var_log_refused is refused in a server
--- config
    lua_var_log_refused warn;
--- refused
"lua_var_log_refused" directive is not allowed here



=== TEST 29: lua_var_trace_handles refuses what is neither on nor off
--- http_config
    lua_var_trace_handles yes;
--- refused
invalid value "yes" in "lua_var_trace_handles" directive, it must be "on" or "off"



=== TEST 30: lua_var_log_refused takes rate=10/s, and lua_var_trace_handles off
--- http_config
    lua_var_log_refused notice rate=10/s;
    lua_var_trace_handles off;
--- config
    location = /t { return 200 "fine\n"; }
--- request
GET /t
--- response_body
fine



=== TEST 31: lua_var_status refuses an unknown format
--- config
    location = /t { lua_var_status xml; }
--- refused
invalid value "xml" in "lua_var_status" directive, it must be "text", "json", "prometheus" or "html"



=== TEST 32: lua_var_status is refused twice
--- config
    location = /t { lua_var_status; lua_var_status json; }
--- refused
"lua_var_status" directive is duplicate



=== TEST 33: lua_var_status is refused outside a location
--- config
    lua_var_status;
--- refused
"lua_var_status" directive is not allowed here



=== TEST 34: lua_var_ssl_ctx refuses an unknown value
--- config
    lua_var_ssl_ctx on;
--- refused
invalid value "on" in "lua_var_ssl_ctx" directive, it must be "inherit" or "off"



=== TEST 35: lua_var_ssl_ctx is refused twice
--- config
    lua_var_ssl_ctx off;
    lua_var_ssl_ctx off;
--- refused
"lua_var_ssl_ctx" directive is duplicate



=== TEST 36: lua_var_ssl_ctx is refused in a location
--- config
    location = /t { lua_var_ssl_ctx off; }
--- refused
"lua_var_ssl_ctx" directive is not allowed here



=== TEST 37: lua_var_replace refuses an unknown library
--- http_config
    lua_var_replace resty.core;
--- refused
invalid value "resty.core" in "lua_var_replace" directive, it must be "resty.ctxdump"
