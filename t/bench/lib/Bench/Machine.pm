package Bench::Machine;

# The machine and the versions that the figures were measured with.

use v5.36;

use POSIX ();

use Bench::Worker ();
use NgxVarTest::Env ();
use NgxVarTest::File qw(read_file);

# Pairs of name and text, in the order to print them.
sub describe () {
    my $cpuinfo = read_file('/proc/cpuinfo');
    my ($model) = $cpuinfo =~ /^model name\s*:\s*(.*)/m;
    my $cpus    = () = $cpuinfo =~ /^processor/mg;
    my ($load)  = read_file('/proc/loadavg') =~ /^(\S+)/;
    my ($nginx) = qx{${\ NgxVarTest::Env::nginx()} -v 2>&1} =~ m{nginx version: (?:nginx/)?(\S+)};
    my $commit  = qx{git -C $Bench::Worker::ROOT describe --always --dirty 2>/dev/null};
    chomp $commit;

    my $asked = Bench::Worker->start(
        name    => 'versions',
        modules => [$Bench::Worker::MODULE],
        server  => <<'CONF',
            location = /versions {
                content_by_lua_block {
                    ngx.say(jit.version, "\n", ngx.config.ngx_lua_version, "\n",
                            require("resty.core").version, "\n",
                            require("resty.ngxvar")._VERSION)
                }
            }
CONF
    );
    my ($luajit, $ngx_lua, $core, $ours) = split /\n/, $asked->get('/versions');
    $asked->stop;
    return (
        [ machine  => sprintf '%s, %d CPUs, load %s at the start', $model // 'unknown', $cpus, $load ],
        [ kernel   => join ' ', (POSIX::uname())[ 0, 2, 4 ] ],
        [ nginx    => $nginx ],
        [ 'lua-nginx-module', sprintf '%d.%d.%d', map { int } $ngx_lua / 1e6, $ngx_lua / 1e3 % 1e3,
            $ngx_lua % 1e3 ],
        [ 'lua-resty-core', $core ],
        [ LuaJIT => $luajit ],
        [ 'ngx_http_lua_var_module', $commit ? "$ours ($commit)" : $ours ],
    );
}

1;
