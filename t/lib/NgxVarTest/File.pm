package NgxVarTest::File;

# Whole files, and logs that grow.

use v5.36;

use Exporter qw(import);

our @EXPORT_OK = qw(read_file write_file new_lines);

# The bytes of a file; none when there is no such file.
sub read_file ($file) {
    open my $in, '<:raw', $file or return '';
    local $/;
    return readline($in) // '';
}

sub write_file ($file, @bytes) {
    open my $out, '>:raw', $file or die "$file: $!\n";
    print {$out} @bytes;
    close $out or die "$file: $!\n";
    return;
}

# The complete lines of a file from a position on; moves the position behind them.  A
# file that has become shorter is read from its start.
sub new_lines ($file, $position) {
    open my $in, '<:raw', $file or return;
    $$position = 0 if -s $in < ($$position // 0);
    seek $in, $$position // 0, 0;
    my @lines;
    while (defined(my $line = readline $in)) {
        last if $line !~ /\n\z/;
        push @lines, $line;
        $$position += length $line;
    }
    return @lines;
}

1;
