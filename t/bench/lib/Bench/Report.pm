package Bench::Report;

# The report as tables.

use v5.36;
use utf8;

use List::Util qw(max min);

use Bench::Handlers  ();
use Bench::Requests  ();
use Bench::Stats     qw(median);
use Bench::Variables ();

sub text ($run) {
    return join "\n", _machine($run), _handlers($run), _requests($run),
        $run->{loops} ? (_loops($run), _jit_off($run), _table($run)) : (), _lines($run);
}

# Only how LuaJIT compiles what calls the library, for .ci/matrix.
sub loops ($run) { return join "\n", _machine($run), _loops($run), _jit_off($run) }

sub _machine ($run) {
    return join '', map { sprintf "%-24s %s\n", @$_ } @{ $run->{machine} };
}

# Rows of cells under a heading, each column as wide as it needs; the first is
# aligned to the left. Columns that are empty everywhere are left out.
sub _grid ($heading, @rows) {
    my @used = grep {
        my $column = $_;
        grep { ($_->[$column] // '') ne '' } @rows[ 1 .. $#rows ]
    } 0 .. $#{ $rows[0] };
    my @width = map {
        my $column = $_;
        max map { length($_->[$column] // '') } @rows
    } @used;
    my $text = "$heading\n\n";
    for my $row (@rows) {
        my @cells = map {
            my $left = $_ == 0 ? '-' : '';
            sprintf "%$left$width[$_]s", $row->[ $used[$_] ] // ''
        } 0 .. $#used;
        $text .= '  ' . join('   ', @cells) =~ s/\s+\z//r . "\n";
    }
    return $text;
}

sub _time ($case) {
    return '' if !$case;
    return sprintf '%.1f ±%2.0f%%', $case->{ns}{median}, 100 * $case->{ns}{spread};
}

# "yes" when a reader's loops are each one loop of machine code.
sub _compiled ($case) {
    return '' if !$case;
    return $case->{compiled} eq 'loop' ? 'yes' : $case->{compiled};
}

sub _ratio ($one, $other) {
    return '' if !$one || !$other;
    return sprintf '%.2f', $one->{ns}{median} / $other->{ns}{median};
}

sub _loops ($run) {
    my $loops = $run->{loops};
    my ($ours, $stock) = @$loops{qw(module stock)};
    my @peers = @{ $run->{peers} };

    my @rows = ([
        'one read, compiled loop', 'to ngx.var', 'fetch', 'compiled', 'ngx.var',
        (map { $_->{title} } @peers), 'patched ngx.var',
    ]);
    for my $name (Bench::Variables::all(), 'set') {
        my ($fetch, $var) = ($ours->{"fetch $name"}, $stock->{"ngx.var $name"});
        push @rows, [
            $name, _ratio($fetch, $var), _time($fetch), _compiled($fetch), _time($var),
            (map { _time($loops->{ $_->{name} }{"$_->{reader} $name"}) } @peers),
            _time($loops->{patched}{"ngx.var $name"}),
        ];
    }
    my @ctx = map { $_->{'ngx.ctx key'} } $ours, $stock;
    push @rows, [ 'ngx.ctx', _ratio(@ctx), _time($ctx[0]), _compiled($ctx[0]), _time($ctx[1]) ];
    return _grid('Compiled loops: nanoseconds, medians ± half the distance of the quartiles', @rows);
}

sub _jit_off ($run) {
    my $cases = $run->{loops}{'jit-off'};
    my @rows  = ([ 'one read, interpreted', 'to ngx.var', 'fetch', 'ngx.var' ]);
    for my $name (Bench::Variables::all(), 'set') {
        my ($fetch, $var) = map { $cases->{"$_ $name"} } qw(fetch ngx.var);
        push @rows, [ $name, _ratio($fetch, $var), _time($fetch), _time($var) ];
    }
    return _grid('The JIT off: nanoseconds', @rows);
}

# The median, and the least and the most.
sub _spread (@counts) {
    return '' if !@counts;
    return sprintf '%.0f (%.0f–%.0f)', median(@counts), min(@counts), max(@counts);
}

sub _handlers ($run) {
    my $handlers = $run->{handlers};
    my @shapes   = @Bench::Handlers::SHAPES;
    my %title    = (
        ours      => 'fetch, with a handle',
        current   => 'fetch, without one',
        reader    => 'reader',
        'ngx.var' => 'ngx.var',
        patched   => 'ngx.var, patched',
        map { $_->{reader} => $_->{title} } @{ $run->{peers} },
    );
    my @rows = ([ 'instructions per read', map { ($_, 'of request') } @shapes ]);
    for my $reader ('ngx.var', (map { $_->{reader} } @{ $run->{peers} }), qw(patched current ours reader)) {
        push @rows, [
            $title{$reader},
            map {
                my $of = $handlers->{$reader}{$_};
                $of ? (_spread(@{ $of->{reads} }), sprintf '%.0f %%', 100 * median(@{ $of->{share} }))
                    : ('', '');
            } @shapes,
        ];
    }
    return _grid('Twenty different variables in one handler: instructions per read above a bare ngx.say, '
            . 'and the share of the whole request; median of five fresh workers (least to most)', @rows);
}

sub _requests ($run) {
    my $requests = $run->{requests};
    my @rows     = ([ 'instructions', 'with', 'without', 'more' ]);
    my @titles   = (
        [ 'return 200: the module',             qw(plain-module plain-stock) ],
        [ 'a bare ngx.say: the module',         qw(say-module say-stock) ],
        [ 'Lua makes a ngx.ctx: the module',    qw(ctx-module ctx-stock) ],
        [ 'a handler: request()',               qw(handle-module no-handle-module) ],
        [ 'an error page: ngx.ctx restored',    qw(error-module lost-stock) ],
        [ 'an error page: stashed by hand',     qw(by-hand-stock lost-stock) ],
    );
    for (@titles) {
        my ($title, @kinds) = @$_;
        push @rows, [ $title, (map { _spread(@{ $requests->{$_} }) } @kinds),
            sprintf '%+.0f', Bench::Requests::more($requests, @kinds) ];
    }
    return _grid('Whole requests, with something and without it; median of three fresh workers '
            . '(least to most)', @rows);
}

sub _table ($run) {
    my $table = $run->{table};
    my @live  = sort { $a <=> $b } keys %{ (values %{ $table->{cost} })[0] };
    my @rows  = ([ 'with this many live', @live ]);
    for my $what (sort keys %{ $table->{cost} }) {
        push @rows, [ $what, map { sprintf '%.1f', $table->{cost}{$what}{$_} } @live ];
    }
    return _grid('The registry: nanoseconds', @rows)
        . sprintf "  the longest of %d insertions while it grows: %.1f µs "
        . "(%.1f µs in the quietest single run)\n",
        $live[-1], $table->{worst} / 1000, $table->{worst_once} / 1000;
}

sub _lines ($run) {
    my @lines = @{ $run->{lines} };
    my $text  = "The lines of the table\n\n";
    my $n     = 0;
    for my $line (@lines) {
        $text .= sprintf "  %2d %s %-52s at most %s\n     %s%s\n", ++$n,
            $line->{reached} ? '✓' : '✗', $line->{title}, $line->{limit}, '  ', $line->{measured};
    }
    my @missed = grep { !$_->{reached} } @lines;
    $text .= "\n";
    $text .= join '', 'not reached:', map({ "\n  $_->{title}: $_->{measured}" } @missed), "\n\n"
        if @missed;
    return $text . sprintf "reached %d of %d\n", @lines - @missed, scalar @lines;
}

1;
