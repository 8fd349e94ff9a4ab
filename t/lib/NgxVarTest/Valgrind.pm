package NgxVarTest::Valgrind;

# TEST_NGINX_USE_VALGRIND: "1" for the options below, or more options to add
# to them.  Both implementations run `valgrind -q <that variable> nginx`, so
# the options are put there; -q makes every non-empty log file an error.

use v5.36;

use NgxVarTest::File qw(new_lines);

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

    # Files are read on from where the last call ended, because under HUP the same
    # process keeps writing.
    state %read_to;
    return join '', map { new_lines($_, \$read_to{$_}) } glob "$log_dir/*.log";
}

1;
