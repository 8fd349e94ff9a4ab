# The short form of `make differ`: random configurations and requests, in which every way
# to read a variable is compared with stock ngx.var.
#
#   DIFFER_SEED=17    another seed; `make differ` takes a new one each time

use v5.36;
use Test::More;

plan skip_all => 'of `make test` only: it starts and stops its nginx itself, often'
    if grep { $ENV{"TEST_NGINX_$_"} } qw(USE_HUP CHECK_LEAK USE_VALGRIND);

my $rounds = $ENV{DIFFER_ROUNDS} // 50;
my $seed   = $ENV{DIFFER_SEED} // 1;
my @output = do {
    local $ENV{DIFFER_MOST} = 3;
    `t/bin/differ $seed $rounds 2>&1`;
};
my $status = $?;

is($status, 0, "every way to read agrees with stock ngx.var (seed $seed)");
like($output[-1],
    qr/seed $seed, $rounds configurations, [1-9]\d* requests, [1-9]\d* reads compared in .* 0 rounds differed; 0 not started,/,
    'figures');
note(@output);
diag(@output) if $status;

done_testing();
