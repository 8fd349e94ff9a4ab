package Dice;

# Random choices that a seed repeats, on every Perl: George Marsaglia's xorshift64.

use v5.36;

sub new ($class, $seed) {
    my $self = bless { state => ($seed * 2 + 1) ^ 0x9E37_79B9 }, $class;
    # The first numbers of neighbouring seeds are alike.
    $self->below(2) for 1 .. 20;
    return $self;
}

# A number from 0 to $limit - 1.
sub below ($self, $limit) {
    my $x = $self->{state};
    $x ^= $x << 13;
    $x ^= $x >> 7;
    $x ^= $x << 17;
    $self->{state} = $x;
    return ($x >> 11) % $limit;
}

# True with a probability of 1 in $n.
sub one_in ($self, $n) { return $self->below($n) == 0 }

sub pick ($self, @from) { return $from[ $self->below(scalar @from) ] }

sub shuffle ($self, @list) {
    for my $i (reverse 1 .. $#list) {
        my $j = $self->below($i + 1);
        @list[ $i, $j ] = @list[ $j, $i ];
    }
    return @list;
}

# At most $most of these, in random order.
sub some ($self, $most, @from) {
    my $count = $self->below($most + 1);
    @from = $self->shuffle(@from);
    return @from[ 0 .. ($count < @from ? $count : @from) - 1 ];
}

1;
