# The short form of `make soak`: all kinds of requests at once, with reloads and an upgrade.
# The checks in each request are in t/stress/soak.lua.

use v5.36;
use Test::More;

plan skip_all => 'of `make test` only: it reloads by itself, and valgrind cannot keep up'
    if grep { $ENV{"TEST_NGINX_$_"} } qw(USE_HUP CHECK_LEAK USE_VALGRIND);

my @output = do {
    local $ENV{SOAK_S} = $ENV{SOAK_S} // 5;
    `t/bin/soak 2>&1`;
};
my $status = $?;

is($status, 0, 't/bin/soak finds nothing wrong');
like($output[-1],
    qr/[1-9]\d* requests .* [1-9]\d* redirects restored, [1-9]\d* stale handles refused, 0 foreign, 0 slots live .* [1-9]\d* reloads, 1 upgrade, .* deaths 0$/,
    'figures');
note(@output);
diag(@output) if $status;

done_testing();
