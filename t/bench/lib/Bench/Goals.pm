package Bench::Goals;

# The limits of the module's figures, and whether this run is within them.
#
# Each line is { title, limit, measured (text), reached, parts }, where parts are
# the readings that have to be within their limits: { value, limit, text }.

use v5.36;
use utf8;

use List::Util qw(all max reduce);

use Bench::Requests  ();
use Bench::Stats     qw(median);
use Bench::Variables ();

# Everything that was measured: { handlers, requests, memory, refused }, and { loops,
# table } if it was timed, too.
sub lines ($run) {
    return map {
        my ($title, $limit, @parts) = @$_;
        {
            title    => $title,
            limit    => $limit,
            parts    => \@parts,
            measured => join('; ', map { $_->{text} } @parts),
            reached  => (all { $_->{value} <= $_->{limit} } @parts) ? 1 : 0,
        }
    } (
        _handlers_line($run->{handlers}),
        _request_lines($run->{requests}),
        _memory_line($run->{memory}),
        _refused_lines($run->{refused}),
        $run->{loops} ? _timed_lines($run) : (),
    );
}

# A line is [title, limit, parts ...].

sub _timed_lines ($run) {
    my $loops = $run->{loops};
    return (
        _registry_line($run->{table}),
        _kong_line($loops),
        _ratio_line($loops, 'ngx.var in a compiled loop, patched', 0.5, patched => 'ngx.var'),
        [
            'set(name, value, req) in a compiled loop', '0.5 of ngx.var.x = v',
            _part(_ns($loops, module => 'fetch set') / _ns($loops, stock => 'ngx.var set'), 0.5, 'of it'),
        ],
        [
            'fetch by a handle while other requests got theirs', '1.25 of fetch by the last handle',
            _part(_ns($loops, module => 'fetch uri-busy') / _ns($loops, module => 'fetch uri'), 1.25, 'of it'),
        ],
        _ctx_line($loops),
        _jit_off_line($loops),
    );
}

sub _handlers_line ($handlers) {
    return if !$handlers->{kong};
    return [
        'twenty different variables in one handler, by fetch', q(0.65 of Kong's read by index),
        map {
            my ($ours, $kong) = map { median(@{ $_->{reads} }) } $handlers->{ours}{$_}, $handlers->{kong}{$_};
            _part($ours / $kong, 0.65, "($_)")
        } qw(straight entry),
    ];
}

sub _request_lines ($of) {
    my @above = (
        [ 'return 200, more than without the module',  150, qw(plain-module plain-stock) ],
        [ 'a bare ngx.say, likewise',                  180, qw(say-module say-stock) ],
        [ 'Lua makes a ngx.ctx, likewise',             200, qw(ctx-module ctx-stock) ],
        [ 'request(), more than without it',           200, qw(handle-module no-handle-module) ],
        [ 'error page with restore, above one that loses the ngx.ctx', 800, qw(error-module lost-stock) ],
    );
    return (
        map {
            my ($title, $limit, $with, $without) = @$_;
            my $more = Bench::Requests::more($of, $with, $without);
            [ $title, "$limit instructions",
                { value => $more, limit => $limit, text => sprintf '%+.0f', $more } ]
        } @above
    ), [
        'error page with restore, against stashing by hand', '1.0 of its instructions',
        _part(median(@{ $of->{'error-module'} }) / median(@{ $of->{'by-hand-stock'} }), 1, 'of them'),
    ];
}

sub _memory_line ($memory) {
    return [
        'memory for a live request', '96 bytes, none of it lost',
        {   value => $memory->{bytes}, limit => 96,
            text => sprintf '%.0f bytes with %d live', @$memory{qw(bytes requests)},
        },
        # Less than one chunk of slots in all.
        {   value => $memory->{kept}, limit => 1,
            text => sprintf '%.0f more bytes when as many come again', $memory->{kept},
        },
    ];
}

# The cost with lua_var_log_refused warn, as a multiple of that with off.
sub _refused_lines ($refused) {
    my @lines = (
        [ fetched => 'fetch, nothing refused, with lua_var_log_refused', 1.01 ],
        [ refused => 'a refusal that is left out of the log',            2 ],
    );
    return map {
        my ($what, $title, $limit) = @$_;
        my ($warn, $off) = @{ $refused->{$what} }{qw(warn off)};
        [ $title, "$limit of off", _part($warn / $off, $limit, sprintf 'of off, %.0f instructions', $off) ];
    } @lines;
}

# The cost with the most live requests, as a multiple of that with one.
sub _registry_line ($table) {
    my $cost = $table->{cost};
    return [
        'the registry with 1 to 1 000 000 live requests', '2 times what it takes with one',
        _worst_of(
            2, 'times',
            map { [ $_, (max values %{ $cost->{$_} }) / $cost->{$_}{1} ] } sort keys %$cost
        ),
    ];
}

# Kong reads from nginx's cache.
sub _kong_line ($loops) {
    return if !$loops->{kong};
    return [
        'fetch of what is in the request, in a compiled loop', q(1.0 of Kong's read by index),
        _worst_of(
            1, q(of Kong's),
            map { [ $_, _ns($loops, module => "fetch $_") / _ns($loops, kong => "kong $_") ] }
                Bench::Variables::of('request')
        ),
    ];
}

sub _ratio_line ($loops, $title, $limit, $worker, $reader) {
    return [
        $title, "$limit of stock",
        _worst_of(
            $limit, 'of stock',
            map { [ $_, _ns($loops, $worker => "$reader $_") / _ns($loops, stock => "ngx.var $_") ] }
                Bench::Variables::all()
        ),
    ];
}

sub _ctx_line ($loops) {
    my $ratio = _ns($loops, module => 'ngx.ctx key') / _ns($loops, stock => 'ngx.ctx key');
    return [ 'ngx.ctx read, nothing to restore', '1.03 of stock', _part($ratio, 1.03, 'of stock') ];
}

sub _jit_off_line ($loops) {
    return [
        'fetch and set with the JIT off', '0.25 of ngx.var',
        _worst_of(
            0.25, 'of ngx.var',
            map { [ $_, _ns($loops, 'jit-off', "fetch $_") / _ns($loops, 'jit-off', "ngx.var $_") ] }
                Bench::Variables::all(), 'set'
        ),
    ];
}

# Median nanoseconds of a worker's case.
sub _ns ($loops, $worker, $case) {
    my $measured = $loops->{$worker}{$case} or die "$worker: $case was not measured\n";
    return $measured->{ns}{median};
}

sub _part ($value, $limit, $what) {
    return { value => $value, limit => $limit, text => sprintf '%.2f %s', $value, $what };
}

# The worst of [name, value] pairs.
sub _worst_of ($limit, $what, @pairs) {
    my $worst = reduce { $a->[1] >= $b->[1] ? $a : $b } @pairs;
    my $over  = grep { $_->[1] > $limit } @pairs;
    my $part  = _part($worst->[1], $limit, "$what ($worst->[0])");
    $part->{text} .= sprintf ', %d of %d over', $over, scalar @pairs if $over;
    return $part;
}

1;
