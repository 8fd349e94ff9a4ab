package NgxVarTest::Process;

# Starts processes, signals them by their ids, and reads /proc.

use v5.36;

use Exporter qw(import);
use IO::Handle ();
use List::Util qw(min);
use POSIX qw(WNOHANG);
use Time::HiRes qw(sleep time);

use NgxVarTest::File qw(read_file);

our @EXPORT_OK = qw(
    spawn wait_until is_alive children title resident_kb stop_process);

use constant {
    POLL_INTERVAL => 0.01,
    SIGNAL_AGAIN  => 0.5,
};

# Starts a program, or code in a copy of this process, with an empty standard input.
# It writes to the file `output`; without one, where this process writes.  Returns its
# pid.  Code that dies has the status 1.
sub spawn ($what, $output = undef) {
    my $pid = fork // die "fork: $!\n";
    return $pid if $pid;

    # Ctrl-C is for the parent, which then stops this process.
    POSIX::setsid();
    # A shell lets its background jobs ignore INT, which would be inherited.
    @SIG{qw(HUP INT QUIT TERM PIPE)} = ('DEFAULT') x 5;
    open STDIN, '<', '/dev/null' or POSIX::_exit(126);
    if (defined $output) {
        open STDOUT, '>',  $output  or POSIX::_exit(126);
        open STDERR, '>&', \*STDOUT or POSIX::_exit(126);
    }
    if (ref $what eq 'CODE') {
        my $ok = eval { $what->(); 1 };
        print STDERR $@ if !$ok;
        STDOUT->flush;
        # Not exit: END blocks are for the process that was copied.
        POSIX::_exit($ok ? 0 : 1);
    }
    { exec { $what->[0] } @$what }
    POSIX::_exit(127);
}

# Polls a condition; returns its last value.
sub wait_until ($seconds, $condition) {
    my $deadline = time + $seconds;
    while (1) {
        my $value = $condition->();
        return $value if $value || time >= $deadline;
        sleep POLL_INTERVAL;
    }
}

# A zombie is dead; a child of this process is reaped on the way.
sub is_alive ($pid) {
    waitpid $pid, WNOHANG;
    return read_file("/proc/$pid/stat") =~ /\) [^ZX] / ? 1 : 0;
}

sub children ($pid) { return split ' ', read_file("/proc/$pid/task/$pid/children") }

sub title ($pid) {
    my $is_emulated = (readlink("/proc/$pid/exe") // '') =~ m{/qemu-};
    my $text = $is_emulated ? _emulated_arguments($pid) : read_file("/proc/$pid/cmdline");
    return $text =~ tr/\0/ /r;
}

# nginx writes its title over its arguments.  Those of a program that runs in qemu-user are at
# the top of the stack that qemu made for it, behind the name of the processor;
# /proc/PID/cmdline has qemu's own.
sub _emulated_arguments ($pid) {
    my ($top) = read_file("/proc/$pid/maps") =~ m{-([0-9a-f]+) rw-p .*\n.*/ld-linux-} or return '';
    open my $memory, '<:raw', "/proc/$pid/mem" or return '';
    no warnings 'portable';
    sysseek $memory, hex($top) - 65536, 0;
    sysread $memory, my $strings, 65536;
    return ($strings // '') =~ m{(?<![\w/-])aarch64\0(.*?)\0\0}s ? $1 : '';
}

# undef when the process has ended.
sub resident_kb ($pid) {
    return read_file("/proc/$pid/status") =~ /^VmRSS:\s+(\d+) kB/m ? $1 : undef;
}

# Asks a process to end, by each of the signals in turn, until it and the
# children it had are gone.  Returns false when only KILL helped.
sub stop_process ($pid, $seconds, @signals) {
    my @family = ($pid, children($pid));
    my $gone   = sub { !grep { is_alive($_) } @family };

    for my $signal (@signals) {
        my $deadline = time + $seconds;
        while ((my $left = $deadline - time) > 0) {
            # More than once: an nginx without a master process may notice a signal
            # that comes just before it waits for events only after the next event.
            kill $signal => $pid if is_alive($pid);
            return 1 if wait_until(min($left, SIGNAL_AGAIN), $gone);
        }
    }
    kill KILL => grep { is_alive($_) } @family;
    wait_until(5, $gone);
    return 0;
}

1;
