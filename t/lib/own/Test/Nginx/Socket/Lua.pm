package Test::Nginx::Socket::Lua;

# Test::Nginx::Socket with TEST_NGINX_INIT_BY_LUA: Lua code that runs first in
# every block's init_by_lua.

use v5.36;

use Test::Nginx::Socket -base;

our $VERSION = $Test::Nginx::Socket::VERSION;

if (my $code = $ENV{TEST_NGINX_INIT_BY_LUA}) {
    Test::Nginx::Socket::set_http_config_filter(sub ($config) {
        return $config if $config =~ /^\s*init_by_lua_file\b/m;
        return $config if $config =~ s/^(\s*init_by_lua_block\s*\{)/$1 $code /m;
        return "init_by_lua_block { $code }\n$config";
    });
}

1;
