package Test::Nginx::Own::Process;

# Processes by their ids, from /proc.

use v5.36;

use Exporter qw(import);
use POSIX qw(WNOHANG);
use Time::HiRes qw(sleep time);

our @EXPORT_OK = qw(wait_until is_alive children title resident_kb stop_process);

use constant POLL_INTERVAL => 0.01;

# Polls a condition; returns its last value.
sub wait_until ($seconds, $condition) {
    my $deadline = time + $seconds;
    while (1) {
        my $value = $condition->();
        return $value if $value || time >= $deadline;
        sleep POLL_INTERVAL;
    }
}

# A zombie is dead; a child of ours is reaped on the way.
sub is_alive ($pid) {
    waitpid $pid, WNOHANG;
    open my $in, '<', "/proc/$pid/stat" or return 0;
    return (readline($in) // '') =~ /\) [^ZX] / ? 1 : 0;
}

sub children ($pid) {
    open my $in, '<', "/proc/$pid/task/$pid/children" or return;
    return split ' ', readline($in) // '';
}

sub title ($pid) {
    open my $in, '<', "/proc/$pid/cmdline" or return '';
    local $/;
    return (readline($in) // '') =~ tr/\0/ /r;
}

sub resident_kb ($pid) {
    open my $in, '<', "/proc/$pid/status" or return undef;
    while (<$in>) {
        return $1 if /^VmRSS:\s+(\d+) kB/;
    }
    return undef;
}

# Asks a process to end, by each of the signals in turn, until it and the
# children it had are gone.  Returns false when only KILL helped.
sub stop_process ($pid, $seconds, @signals) {
    my @family = ($pid, children($pid));
    my $gone   = sub { !grep { is_alive($_) } @family };

    for my $signal (@signals) {
        kill $signal, $pid;
        return 1 if wait_until($seconds, $gone);
    }
    kill KILL => grep { is_alive($_) } @family;
    wait_until(5, $gone);
    return 0;
}

1;
