package Bench::Stats;

# Medians and their spread.

use v5.36;

use Exporter qw(import);
our @EXPORT_OK = qw(median quantile summary);

sub quantile ($fraction, @values) {
    my @sorted = sort { $a <=> $b } @values or return;
    my $at  = $fraction * $#sorted;
    my $low = int $at;
    return $sorted[$low] if $low == $#sorted;
    return $sorted[$low] + ($at - $low) * ($sorted[$low + 1] - $sorted[$low]);
}

sub median (@values) { return quantile(0.5, @values) }

# The median, and half the distance between the quartiles, as a part of it.
sub summary (@values) {
    my $median = median(@values);
    my $half   = (quantile(0.75, @values) - quantile(0.25, @values)) / 2;
    return { median => $median, spread => $median ? $half / $median : 0 };
}

1;
