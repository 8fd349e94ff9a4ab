# What the directives take and refuse, and the notice at a start: src/conf/.  README's tables of
# contexts and arguments are tried in readme-reference.t.

use v5.36;
use lib 't/lib';

use File::Copy qw(copy);
use File::Temp qw(tempdir);

use NgxVarTest;
use Test::Nginx::Socket::Lua 'no_plan';
use NginxServer;

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
        # a signal before there are workers may leave one behind
        $nginx->start->await_workers;
        my @lines = $nginx->new_log_lines(qr/lua_var: /);
        is(scalar @lines, 1, "a start logs one notice of the version: $http");
        my $rest = "version $version, built for $nginx_version, layout agrees, lua_var_ctx_restore $said{$http}";
        like($lines[0] =~ s/(?<=version $version)-git\.\w+//r, qr/\[notice\] \S+ lua_var: \Q$rest\E\n/, "the notice has the settings: $http");
        $nginx->stop;
    }
    $nginx->stop_cleanly;
}

# What nginx -t refuses: the place, what is written there, and the only [emerg], before its place.
{
    my $nginx  = NginxServer->new;
    my %places = (
        http     => '%s server { }',
        server   => 'server { %s }',
        location => 'server { location / { %s } }',
    );
    my $rate = 'in "lua_var_log_refused" directive, it must look like "rate=10r/s", at most 1000';
    my @refused = (
        # an enumeration names the values that it knows, or not
        [ server   => 'lua_var_ctx_restore maybe;',       qr/invalid value "maybe".*/ ],
        [ location => 'lua_var_ctx_restore "";',          qr/invalid value "".*/ ],
        [ location => 'lua_var_ctx_restore error_pages;', qr/invalid value "error_pages".*/ ],
        [ location => 'lua_var_status xml;',              qr/invalid value "xml".*/ ],
        [ server   => 'lua_var_ssl_ctx on;',              qr/invalid value "on".*/ ],
        [ http     => 'lua_var_log_refused crit;',        qr/invalid value "crit".*/ ],
        [ http     => 'lua_var_log_refused off rate=1r/s;', '"off" takes no rate in "lua_var_log_refused" directive' ],
        [ http     => 'lua_var_trace_handles yes;', 'invalid value "yes" in "lua_var_trace_handles" directive, it must be "on" or "off"' ],
        (map { [ http => "lua_var_log_refused warn $_;", qq{invalid rate "$_" $rate} ] }
            qw(rate=0r/s rate=1001r/s rate=r/s rate=-1r/s rate=+1r/s rate=1r/m 1r/s rate=99999999999999999999r/s)),
        (map { [ @$_[ 0, 1 ], qq{"$_->[2]" directive is duplicate} ] }
            [ http     => 'lua_var_ctx_restore off; lua_var_ctx_restore off;',        'lua_var_ctx_restore' ],
            [ server   => 'lua_var_ctx_restore off; lua_var_ctx_restore all;',        'lua_var_ctx_restore' ],
            [ location => 'lua_var_ctx_restore error_page; lua_var_ctx_restore all;', 'lua_var_ctx_restore' ],
            [ http     => 'lua_var_log_refused warn; lua_var_log_refused off;',       'lua_var_log_refused' ],
            [ location => 'lua_var_status; lua_var_status json;',                     'lua_var_status' ],
            [ server   => 'lua_var_ssl_ctx off; lua_var_ssl_ctx off;',                'lua_var_ssl_ctx' ]),
        [ http => 'lua_var_replace resty.ctxdump;', 'unknown directive "lua_var_replace"' ],
        [ http => 'lua_var_index $uri;',            'unknown directive "lua_var_index"' ],
    );
    for (@refused) {
        my ($place, $written, $sentence) = @$_;
        $sentence = quotemeta $sentence if !ref $sentence;
        $nginx->configure(http => sprintf $places{$place}, $written);
        my ($status, $output) = $nginx->test;
        my @lines = $output =~ /\[emerg\] (.*)/g;
        isnt($status, 0, "nginx -t refuses $written");
        is(scalar @lines, 1, 'in one line');
        like($lines[0] // '', qr/\A(?:\d+#\d+: )?$sentence in \S+:\d+\z/, 'it says why');
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

=== TEST 1: lua_var_ctx_restore takes every value at every level
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



=== TEST 2: the module is refused beside lua-var-nginx-module
--- main_config
    load_module $TEST_NGINX_OTHER_MODULE;
--- must_die
--- suppress_stderr
--- config
--- error_log
[emerg]
module "ngx_http_lua_var_module" is already loaded in
--- skip_eval
3: # there is no file of a module that is linked in
!$ENV{TEST_NGINX_MODULE}



=== TEST 3: the module is refused when it is loaded twice
--- main_config
    load_module $TEST_NGINX_MODULE;
--- must_die
--- suppress_stderr
--- config
--- error_log
[emerg]
module "ngx_http_lua_var_module" is already loaded in
--- skip_eval
3: # there is no file of a module that is linked in
!$ENV{TEST_NGINX_MODULE}



=== TEST 4: a map may take the name $from_error_page
--- http_config
    map $uri $from_error_page { default "mine"; }
--- config
    location = /t { return 200 "[$from_error_page]\n"; }
--- request
GET /t
--- response_body
[mine]



=== TEST 5: lua_var_log_refused takes rate=10/s, and lua_var_trace_handles off
--- http_config
    lua_var_log_refused notice rate=10/s;
    lua_var_trace_handles off;
--- config
    location = /t { return 200 "fine\n"; }
--- request
GET /t
--- response_body
fine
