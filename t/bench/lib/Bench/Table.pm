package Bench::Table;

# The cost of the registry alone (table/src/main.rs), with one to a million live requests.

use v5.36;

use Bench::Worker ();

# { what => { live => ns } }, and { worst, worst_once } of one insertion while
# the registry grows.
sub run ($progress) {
    my $root = $Bench::Worker::ROOT;
    $progress->('the registry: building');
    my @cargo = (
        'cargo', 'build', '--release', '--quiet', '--locked', '--offline',
        '--manifest-path', "$root/t/bench/table/Cargo.toml",
        '--target-dir',    "$Bench::Worker::TARGET/table",
    );
    system(@cargo) == 0 or die "the registry's benchmark does not build\n";

    $progress->('the registry: running');
    open my $run, '-|', "$Bench::Worker::TARGET/table/release/table" or die "table: $!\n";
    my (%result, %worst);
    while (my $line = readline $run) {
        my ($what, $live, $ns) = split /\t/, $line;
        if   ($what =~ /^worst/) { $worst{$what} = $ns + 0 }
        else                     { $result{$what}{$live} = $ns + 0 }
    }
    close $run or die "the registry gave a wrong answer\n";
    return { cost => \%result, %worst };
}

1;
