package Bench::Peers;

# Other modules, measured in the same run when they are given:
#
#   LUA_VAR_SO, LUA_VAR_LUA   lua-var-nginx-module: its .so, the directory that
#                             has resty/ngxvar.lua
#   KONG_SO, KONG_LUA         lua-kong-nginx-module: its .so, the directory that
#                             has resty/kong/var.lua

use v5.36;

use List::Util qw(uniq);

use Bench::Variables ();

# Arguments of Bench::Worker->start, and `reader`, its name in lua/bench.
sub given () {
    my @peers;
    if (my $so = _path('LUA_VAR_SO')) {
        push @peers, {
            name     => 'lua_var',
            reader   => 'lua_var',
            title    => 'lua-var',
            modules  => [$so],
            lua_path => _path('LUA_VAR_LUA') . '/?.lua',
        };
    }
    if (my $so = _path('KONG_SO')) {
        push @peers, {
            name     => 'kong',
            reader   => 'kong',
            title    => 'Kong',
            modules  => [$so],
            lua_path => _path('KONG_LUA') . '/?.lua',
            # Its variables have to be indexed beforehand.
            http => join("\n", map { "lua_kong_load_var_index \$$_;" } grep { $_ ne 'foo' }
                    uniq(Bench::Variables::all(), Bench::Variables::twenty())),
            init => 'require("resty.kong.var").load_indexes()',
        };
    }
    return @peers;
}

sub _path ($name) {
    my $path = $ENV{$name} // '';
    die "$name: no such file: $path\n" if $path ne '' && !-e $path;
    return $path;
}

1;
