package NgxVarTest::Curl;

# The curl command, for what NgxVarTest::Client does not speak: HTTP/2.
#
#     my @lines = NgxVarTest::Curl::run([ '--http2', $url ], [ '--http2', $other_url ]);

use v5.36;

# A command line of curl.  Each transfer is a list of arguments; they run one after another
# and share connections.
sub command (@transfers) {
    my @command = ('curl', '--disable');
    for my $transfer (@transfers) {
        push @command, '--next' if @command > 2;
        push @command, qw(--silent --insecure --noproxy *), @$transfer;
    }
    return @command;
}

# What curl writes, as lines.
sub run (@transfers) {
    open my $curl, '-|', command(@transfers) or die "curl: $!\n";
    binmode $curl;
    my @lines = readline $curl;
    close $curl;
    return @lines;
}

1;
