package Bench::Variables;

# The names in variables.txt.

use v5.36;

use Bench::Worker ();

my (@names, @twenty, %line_of);

sub _read () {
    my $path = "$Bench::Worker::ROOT/t/bench/variables.txt";
    open my $file, '<', $path or die "$path: $!\n";
    while (my $text = readline $file) {
        my ($line, @more) = split ' ', $text;
        next if !defined $line || $line =~ /^#/;
        push @{ $line eq 'twenty' ? \@twenty : \@names }, @more;
        next if $line eq 'twenty';
        $line_of{$_} = $line for @more;
    }
    return;
}
_read();

sub all () { return @names }

# The names that a handler reads once each.
sub twenty () { return @twenty }

# The names of a line.
sub of ($line) {
    return grep { $line_of{$_} eq $line } @names;
}

1;
