# The short form of `make nothing`: loading the module without using it changes no response
# and no line of a log. The sites are in t/stress/Site/.
#
#   TEST_NOTHING_SEED=17    another random site and other requests

use v5.36;
use lib 't/lib';
use NgxVarTest::Nginx ();
use Test::More;

plan skip_all => 'the module is linked in: there is no nginx without it to compare with'
    if NgxVarTest::Nginx->is_linked('ngx_http_lua_var_module');
plan skip_all => 'of `make test` only: it starts its nginx itself'
    if grep { $ENV{"TEST_NGINX_$_"} } qw(USE_HUP CHECK_LEAK USE_VALGRIND);

my $seed   = $ENV{TEST_NOTHING_SEED} // 7;
my @output = `t/bin/nothing --short $seed 1 2>&1`;
my $status = $?;

is($status, 0, "loading the module changes no response and no log (seed $seed)");
like($output[-1], qr/: [1-9]\d* sites, [1-9]\d* runs with [1-9]\d* connections, [1-9]\d* lines logged, .* 0 differences$/,
    'figures');
note(@output);
diag(@output) if $status;

done_testing();
