package NgxVarTest::Signals;

# Turns the signals that would kill a test file, or another program that starts nginx,
# into an exit, because only an exit runs the END blocks that stop nginx and remove
# its files.

use v5.36;

use IO::Poll qw(POLLERR POLLOUT);

my @ENDING = qw(HUP INT QUIT TERM);
my $has_ended;
my $exit_status;

sub has_ended { return $has_ended }

# A test file, which may have handlers of its own, exits with 1.  A program gives its status,
# and exits on INT although a shell makes background jobs ignore it.
sub set_up ($status = undef) {
    $exit_status = $status // 1;
    for my $signal (@ENDING) {
        $SIG{$signal} = \&_end if defined $status || !defined $SIG{$signal};
    }
    $SIG{PIPE} //= \&_end_if_output_is_lost;
    return;
}

# Once: `timeout` and terminals signal a process more than once, and a second
# exit would cut the END blocks short.
sub _end (@) {
    @SIG{ @ENDING, 'PIPE' } = ('IGNORE') x (@ENDING + 1);
    $has_ended = 1;
    exit $exit_status;
}

# `prove | head` ends this way.  A client whose server has closed gets the
# signal as well, and goes on.
sub _end_if_output_is_lost (@) {
    for my $handle (*STDOUT, *STDERR) {
        my $poll = IO::Poll->new;
        $poll->mask($handle => POLLOUT);
        $poll->poll(0);
        next if !($poll->events($handle) & POLLERR);

        # Test::Builder, interrupted in a print, would complain.
        open STDERR, '>', '/dev/null';
        _end();
    }
    return;
}

1;
