package NgxVarTest::Ports;

# A block of free ports for this process.
#
# The first port of a block is a lock: it stays bound as long as the process
# lives, so two suites that probe the same block at the same moment cannot
# both get it, whatever directory or container mount they run from.

use v5.36;

use IO::Socket::INET ();
use IO::Socket::IP ();
use Socket qw(SOMAXCONN);

# Below the kernel's ephemeral range (32768-60999), so that no outgoing
# connection takes a port between the probe and nginx's bind.
use constant {
    FIRST_PORT => 10_240,
    LAST_PORT  => 32_767,
    BLOCK_SIZE => 16,
};

my @locks;

# At most 15 ports that no other call gets.
sub reserve ($count, $random = 0) {
    my $blocks = int((LAST_PORT - FIRST_PORT + 1) / BLOCK_SIZE);
    my $start  = $random ? int rand $blocks : $$ % $blocks;

    for my $step (0 .. $blocks - 1) {
        my $base  = FIRST_PORT + (($start + $step) % $blocks) * BLOCK_SIZE;
        my @ports = map { $base + $_ } 1 .. $count;

        my $lock = _bind($base) or next;
        next if grep { !is_free($_) } @ports;
        push @locks, $lock;
        return @ports;
    }
    die 'no block of ', $count + 1, ' free ports between ', FIRST_PORT,
        ' and ', LAST_PORT, "\n";
}

sub is_free ($port) { return !!_bind($port) }

# Whether this machine has ::1 to listen on.
sub has_ipv6 { return !!IO::Socket::IP->new(LocalHost => '::1', LocalPort => 0, Listen => 1) }

# Binds without SO_REUSEADDR, so a port in any use at all is refused, and to
# the wildcard address, so a listener on another address counts as well.
sub _bind ($port) {
    return IO::Socket::INET->new(
        LocalAddr => '0.0.0.0',
        LocalPort => $port,
        Proto     => 'tcp',
    );
}

1;
