# The short form of `make fuzz`: hostile arguments at every function of the module.
# The cases are in t/stress/; the last line of its output has the result.

use v5.36;
use Test::More;

# Neither reloads nor memory per request are its subject.
plan skip_all => "of `make test` and `make test-valgrind` only"
    if $ENV{TEST_NGINX_USE_HUP} || $ENV{TEST_NGINX_CHECK_LEAK};

my $cases = $ENV{TEST_NGINX_USE_VALGRIND} ? 1_000 : 10_000;
my @output = do {
    local $ENV{FUZZ_CASES} = $ENV{FUZZ_CASES} // $cases;
    `t/bin/fuzz 2>&1`;
};
my $status = $?;

is($status, 0, 't/bin/fuzz finds nothing wrong');
like($output[-1], qr/, \d+ cases in .* 0 wrong; .* 0 live at the end; .* deaths 0$/, 't/bin/fuzz prints its figures');
note(@output);
diag(@output) if $status;

done_testing();
