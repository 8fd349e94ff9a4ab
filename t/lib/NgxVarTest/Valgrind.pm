package NgxVarTest::Valgrind;

# TEST_NGINX_USE_VALGRIND: "1" for the options below, or more options to add
# to them.  Both implementations run `valgrind -q <that variable> nginx`, so
# the options are put there; -q makes every non-empty log file an error.

use v5.36;

my $log_dir;

sub set_up ($dir, $suppressions) {
    $log_dir = $dir;
    my $extra = $ENV{TEST_NGINX_USE_VALGRIND};
    $extra = '' if $extra =~ /^\d+$/;

    $ENV{TEST_NGINX_USE_VALGRIND} = join ' ',
        '--tool=memcheck --leak-check=full --show-possibly-lost=no',
        '--keep-debuginfo=yes --num-callers=50 --gen-suppressions=all',
        "--log-file=$dir/%p.log",
        (-f $suppressions ? "--suppressions=$suppressions" : ()),
        $extra;
    return;
}

# The text of all reports since the last call; empty without valgrind.
sub take_reports {
    return '' if !defined $log_dir;

    # Files are read on from where the last call ended: under HUP the same
    # process keeps writing.
    state %read_to;
    my $reports = '';
    for my $file (glob "$log_dir/*.log") {
        open my $in, '<', $file or next;
        seek $in, $read_to{$file} // 0, 0;
        $reports .= do { local $/; readline $in } // '';
        $read_to{$file} = tell $in;
    }
    return $reports;
}

1;
