package Test::Nginx::Own::Check::Result;

# One test of a block, by the context $check that Test::Nginx::Own::Run makes.

use v5.36;

use Exporter qw(import);
use Test::More ();

our @EXPORT_OK = qw(report);

# Calls the test with its full name, or skips it in a dry run.
sub report ($check, $what, $test) {
    my $name = "$check->{name} - $what";
    $name .= " (request $check->{index})" if $check->{is_many};
    $name .= " (round $check->{round})"   if $check->{round};
    if ($check->{dry_run}) {
        Test::More->builder->skip("$name: $check->{dry_run}");
        return;
    }
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    $test->($name);
    return;
}

1;
