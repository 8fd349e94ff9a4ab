package Bench::Report;

# The report as tables.

use v5.36;
use utf8;

use List::Util qw(max);

use Bench::Gateway   ();
use Bench::Stats     qw(median);
use Bench::Variables ();

sub text ($run) {
    return join "\n", _machine($run), _handlers($run), _gateway($run), _requests($run),
        _loops($run), _jit_off($run), _table($run), _lines($run);
}

# Only how LuaJIT compiles the library, for .ci/matrix.
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
        'one read, compiled loop', 'to floor', 'to ngx.var', 'getter', 'compiled', 'ngx.var',
        (map { $_->{title} } @peers), 'patched ngx.var', 'fetch', 'compiled',
    ]);
    for my $floor (qw(F N)) {
        my $title = $floor eq 'F' ? 'floor F (FFI call, ffi.string)' : 'floor N (FFI call, int)';
        push @rows, [ $title, '', '', _time($ours->{"floor $floor"}) ];
    }
    for my $kind (qw(strings values numbers other)) {
        my $floor = $kind eq 'numbers' ? 'N' : 'F';
        for my $name (Bench::Variables::of($kind)) {
            my $getter = $ours->{"getter $name"};
            my $fetch  = $ours->{"fetch $name"};
            push @rows, [
                $name,
                _ratio($getter, $ours->{"floor $floor"}) . " $floor",
                _ratio($getter, $stock->{"ngx.var $name"}),
                _time($getter), _compiled($getter),
                _time($stock->{"ngx.var $name"}),
                (map { _time($loops->{ $_->{name} }{"$_->{reader} $name"}) } @peers),
                _time($loops->{patched}{"ngx.var $name"}),
                _time($fetch), _compiled($fetch),
            ];
        }
    }
    my ($setter, $set, $stock_set)
        = ($ours->{'getter set'}, $ours->{'fetch set'}, $stock->{'ngx.var set'});
    push @rows, [
        'set', '', _ratio($setter, $stock_set), _time($setter), _compiled($setter),
        _time($stock_set),
        (map { _time($loops->{ $_->{name} }{"$_->{reader} set"}) } @peers), '',
        _time($set), _compiled($set),
    ];
    my @ctx = map { $_->{'ngx.ctx key'} } $ours, $stock;
    push @rows, [ 'ngx.ctx', '', _ratio(@ctx), _time($ctx[0]), _compiled($ctx[0]), _time($ctx[1]) ];
    push @rows, [ "$_ unchecked", '', '', _time($ours->{"unchecked $_"}) ] for qw(uri request_length);
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

sub _handlers ($run) {
    my $handlers = $run->{handlers};
    my @shapes   = qw(straight entry loop metatable);
    my %title    = (
        ours      => 'fetch, with a handle',
        current   => 'fetch, without one',
        getter    => 'getter',
        reader    => 'reader',
        'ngx.var' => 'ngx.var',
        patched   => 'ngx.var, patched',
        map { $_->{reader} => $_->{title} } @{ $run->{peers} },
    );
    my @rows = ([ 'instructions per read', map { ($_, 'to ngx.var') } @shapes ]);
    my @readers = ('ngx.var', (map { $_->{reader} } @{ $run->{peers} }),
        qw(patched getter current ours reader));
    for my $reader (@readers) {
        push @rows, [
            $title{$reader},
            map {
                my @of = @{ $handlers->{$reader}{$_} // [] };
                my $stock = median(@{ $handlers->{'ngx.var'}{$_} });
                @of ? (join('/', map { int $_ + 0.5 } sort { $a <=> $b } @of),
                        sprintf '%.2f', median(@of) / $stock)
                    : ('', '');
            } @shapes,
        ];
    }
    return _grid('Twenty different variables in one handler: instructions per read above a bare ngx.say, '
            . 'fresh worker, each restart', @rows);
}

sub _gateway ($run) {
    my $gateway = $run->{gateway};
    my @rows    = ([ 'one request', 'instructions', 'of which reading' ]);
    my @readers = (
        [ constants => 'reading nothing' ],
        [ 'ngx.var' => 'ngx.var' ],
        (map { [ $_->{reader} => $_->{title} ] } @{ $run->{peers} }),
        [ patched => 'ngx.var, patched' ],
        [ ours    => 'fetch, with a handle' ],
    );
    for (@readers) {
        my ($reader, $title) = @$_;
        push @rows, [
            $title,
            join('/', map { int $_ + 0.5 } sort { $a <=> $b } @{ $gateway->{$reader} }),
            $reader eq 'constants' ? '' : sprintf '%.1f %%', 100 * Bench::Gateway::share($gateway, $reader),
        ];
    }
    return _grid('A request as a gateway handles it: thirty variables, ten of them computed, through a table '
            . 'that caches them, in the access, header filter and log phases', @rows);
}

sub _requests ($run) {
    my $requests = $run->{requests};
    my @rows     = ([ 'one request', 'instructions', 'requests/s', 'per second of CPU' ]);
    my @titles   = (
        [ 'plain-module',  'return 200, with the module' ],
        [ 'plain-stock',   'return 200, without' ],
        [ 'ctx-module',    'with a ngx.ctx, with the module' ],
        [ 'ctx-stock',     'with a ngx.ctx, without' ],
        [ 'error-module',  'error page, ngx.ctx restored' ],
        [ 'error-by-hand', 'error page, stashed by hand' ],
        [ 'error-lost',    'error page, ngx.ctx lost' ],
    );
    for (@titles) {
        my ($name, $title) = @$_;
        my $of = $requests->{$name};
        push @rows, [ $title, sprintf('%.0f', $of->{instructions}), _rate($of->{rate}),
            _rate($of->{per_cpu}) ];
    }
    return _grid('Whole requests', @rows);
}

sub _rate ($rate) {
    return '' if !$rate;
    return sprintf '%.0f ±%2.0f%%', $rate->{median}, 100 * $rate->{spread};
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
