package Bench::Goals;

# The limits of the module's figures, and whether this run is within them.
#
# Each line is { title, limit, measured (text), reached, parts }, where parts are
# the readings that have to be within their limits: { value, limit, text }. The
# worst reading of all variables, shapes and restarts is the one that counts.

use v5.36;
use utf8;

use List::Util qw(all max reduce);

use Bench::Stats     qw(median);
use Bench::Variables ();

# Everything that was measured: { loops, handlers, requests, table, memory, refused }.
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
        _patched_line($run->{loops}, $run->{handlers}),
        _plain_line($run->{requests}),
        _ctx_request_line($run->{requests}),
        _error_page_lines($run->{requests}),
        _memory_line($run->{memory}),
        _registry_line($run->{table}),
        _refused_lines($run->{refused}),
        _floor_lines($run->{loops}),
        _other_line($run->{loops}),
        _kong_line($run->{loops}),
        _set_line($run->{loops}),
        _validation_line($run->{loops}),
        _ctx_line($run->{loops}),
        _jit_off_line($run->{loops}),
    );
}

# A line is [title, limit, parts ...].

sub _floor_lines ($loops) {
    my $module = $loops->{module};
    my @lines  = (
        [ 'strings read from the request', 1.1, 'F', grep { !/^(?:args|query_string)$/ }
                Bench::Variables::of('strings') ],
        # longer than the strings that a getter caches
        [ 'a query string that no read has seen before', 1.1, 'F', qw(args query_string) ],
        [ 'values from a small fixed set', 0.6, 'F', Bench::Variables::of('values') ],
        [ 'numbers',                       1.3, 'N', Bench::Variables::of('numbers') ],
        [ 'headers, arguments and cookies', 1.5, 'F',
            qw(http_x_custom arg_x cookie_c sent_http_x_sent upstream_http_x_up) ],
    );
    return map {
        my ($title, $limit, $floor, @names) = @$_;
        [ "by getter: $title", "$limit $floor", _worst($module, $floor, $limit, @names) ];
    } @lines;
}

sub _other_line ($loops) {
    return [
        'by getter: any other variable', '0.4 of ngx.var',
        _worst_of(
            0.4, 'of ngx.var',
            map { [ $_, _ns($loops, module => "getter $_") / _ns($loops, stock => "ngx.var $_") ] }
                Bench::Variables::of('other')
        ),
    ];
}

# A loop that reads one variable, which Kong reads from nginx's cache.
sub _kong_line ($loops) {
    return if !$loops->{kong};
    return [
        'fetch of one variable in a compiled loop', q(Kong's read by index),
        _worst_of(
            1, q(of Kong's),
            map { [ $_, _ns($loops, module => "fetch $_") / _ns($loops, kong => "kong $_") ] }
                grep { $loops->{kong}{"kong $_"} } Bench::Variables::all()
        ),
    ];
}

# In compiled loops, which setter() is for, as getter() is.  set() is shown beside it, and has
# its limit with the JIT off.
sub _set_line ($loops) {
    my $stock = _ns($loops, stock => 'ngx.var set');
    return [
        'set(name, value)', '0.5 of ngx.var.x = v',
        _part(_ns($loops, module => 'getter set') / $stock, 0.5, 'by setter()'),
        _part(_ns($loops, module => 'fetch set') / $stock,  9e9, 'by set(), not held to it'),
    ];
}

sub _validation_line ($loops) {
    return [
        'validation, against the same read unchecked', '+ 1 ns',
        map {
            my $more = _ns($loops, module => "getter $_") - _ns($loops, module => "unchecked $_");
            { value => $more, limit => 1, text => sprintf '%+.2f ns (%s)', $more, $_ };
        } qw(uri request_length),
    ];
}

sub _ctx_line ($loops) {
    my $ratio = _ns($loops, module => 'ngx.ctx key') / _ns($loops, stock => 'ngx.ctx key');
    return [ 'ngx.ctx read, nothing to restore', '1.03 of stock', _part($ratio, 1.03, 'of stock') ];
}

sub _jit_off_line ($loops) {
    return [
        'all of them with the JIT off', '0.25 of ngx.var',
        _worst_of(
            0.25, 'of ngx.var',
            map { [ $_, _ns($loops, 'jit-off', "fetch $_") / _ns($loops, 'jit-off', "ngx.var $_") ] }
                Bench::Variables::all(), 'set'
        ),
    ];
}

sub _handlers_line ($handlers) {
    # by fetch, by patched ngx.var, and by a reader
    my %limits = (ours => 300, patched => 350, reader => 120);
    my %title  = (ours => 'fetch', patched => 'patched ngx.var', reader => 'reader');
    return map {
        my ($reader, $limit) = ($_, $limits{$_});
        my $of = $handlers->{$reader};
        [
            "twenty different variables in one handler by $title{$reader}, instructions per read",
            "$limit in straight code and for a log entry",
            map {
                my $worst = max @{ $of->{$_} };
                my $held  = $_ eq 'straight' || $_ eq 'entry';
                { value => $worst, limit => $held ? $limit : 9e9, text => sprintf '%.0f (%s)', $worst, $_ };
            } sort keys %$of,
        ];
    } sort keys %limits;
}

sub _patched_line ($loops, $handlers) {
    my $straight = median(@{ $handlers->{patched}{straight} })
        / median(@{ $handlers->{'ngx.var'}{straight} });
    return [
        'ngx.var.x itself, patched', '0.5 of stock',
        _part($straight, 0.5, 'in straight code'),
        _worst_of(
            0.5, 'compiled',
            map { [ $_, _ns($loops, patched => "ngx.var $_") / _ns($loops, stock => "ngx.var $_") ] }
                Bench::Variables::all()
        ),
    ];
}

sub _plain_line ($requests) {
    my ($with, $without) = @$requests{qw(plain-module plain-stock)};
    my $more = $with->{instructions} - $without->{instructions};
    my $lost = 1 - $with->{to_first}{median};
    return [
        'one more request, no Lua (return 200)', '+ 250 instructions, requests/s within 1 %',
        { value => $more, limit => 250, text => sprintf '%+.0f instructions', $more },
        {   value => $lost, limit => 0.01,
            text => sprintf 'requests per second of CPU %+.1f %% ± %.1f', -100 * $lost,
                100 * $with->{to_first}{spread},
        },
    ];
}

sub _ctx_request_line ($requests) {
    my $more = _more($requests, qw(ctx-module ctx-stock));
    return [
        'one more request whose Lua makes a ngx.ctx', '+ 300 instructions',
        { value => $more, limit => 300, text => sprintf '%+.0f instructions', $more },
    ];
}

sub _error_page_lines ($requests) {
    my ($ours, $by_hand) = @$requests{qw(error-module error-by-hand)};
    my $time = 1 / $ours->{to_first}{median};
    my $more = _more($requests, qw(error-module error-lost));
    return [
        'error page with restore, above one that loses the ctx', '+ 800 instructions',
        { value => $more, limit => 800, text => sprintf '%+.0f instructions', $more },
    ], [
        'error page with restore, against stashing by hand', '1.0 of its time',
        _part($ours->{instructions} / $by_hand->{instructions}, 1, 'of the instructions'),
        {   value => $time, limit => 1,
            text => sprintf '%.2f ± %.2f of the time', $time, $ours->{to_first}{spread},
        },
    ];
}

sub _memory_line ($memory) {
    return [
        'memory for a live request', '96 bytes, all given back',
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

sub _more ($requests, $with, $without) {
    return $requests->{$with}{instructions} - $requests->{$without}{instructions};
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

sub _worst ($worker, $floor, $limit, @names) {
    my $least = $worker->{"floor $floor"}{ns}{median};
    return _worst_of($limit, $floor,
        map { [ $_, $worker->{"getter $_"}{ns}{median} / $least ] } @names);
}

1;
