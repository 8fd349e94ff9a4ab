package Replay;

# Serves one site with several nginx, which differ in the modules they load.  Each gives a
# list of records, to be compared.

use v5.36;

use Exchange ();
use NginxServer ();
use NgxVarTest::File qw(read_file);
use Site ();

# Uses variables that the sites define or use anyway.
my $USES = 'log_format uses "$http_x_forwarded_for $http_cookie $http_host $http_user_agent '
    . '$sent_http_content_type $sent_http_connection $arg_x $cookie_x $http_x_n $uri $args $remote_addr '
    . '$host $status $http_x_a $arg_unheard_of";';

# Which modules are loaded.  All variants of a family have to give the records of its first.
#   lua: the Lua module is loaded; uses: and the configuration has Lua in it;
#   module: this one, before or after the other two;
#   before, after: directives before and after those of the site;
#   long: only in the long form.
my @VARIANTS = (
    { family => 'no Lua', name => 'without' },
    { family => 'no Lua', name => 'with the module', module => 'after' },
    { family => 'no Lua', name => 'with variables that are used', module => 'after', before => $USES, ctx => 'all' },
    { family => 'idle Lua', name => 'without', lua => 1, long => 1 },
    { family => 'idle Lua', name => 'with the module', lua => 1, module => 'after', long => 1 },
    { family => 'Lua', name => 'without', lua => 1, uses => 1 },
    { family => 'Lua', name => 'with the module', lua => 1, uses => 1, module => 'after' },
    { family => 'Lua', name => 'with lua_var_ctx_restore all', lua => 1, uses => 1, module => 'before', ctx => 'all', long => 1 },
    { family => 'Lua', name => 'with variables that are used', lua => 1, uses => 1, module => 'after', before => $USES, long => 1 },
    { family => 'Lua', name => 'with variables that are used, at the end', lua => 1, uses => 1, module => 'before', after => $USES, ctx => 'all' },
);

# The variants by families: a list of lists.
sub families ($class, %options) {
    my (@names, %family);
    for my $variant (@VARIANTS) {
        next if $options{short} && $variant->{long};
        push @names, $variant->{family} if !$family{ $variant->{family} };
        push @{ $family{ $variant->{family} } }, $variant;
    }
    return @family{@names};
}

sub new ($class, $site, %options) {
    return bless { site => $site, firsts => [], reloads => 0, %options }, $class;
}

sub _modules ($variant) {
    my $own = NginxServer->module;
    my @lua = $variant->{lua} ? NginxServer->other_modules : ();
    return @lua if !$variant->{module};
    return $variant->{module} eq 'before' ? ($own, @lua) : (@lua, $own);
}

sub configuration ($self, $variant) {
    my $site = $self->{site};
    my $ctx  = $site->{ctx} ? 'off' : $variant->{ctx};
    return join "\n", ($variant->{before} // ''),
        ($variant->{module} && $ctx ? "lua_var_ctx_restore $ctx;" : ''),
        Site::text($site, $variant->{uses}), ($variant->{after} // '');
}

# The records of one variant.
sub run ($self, $server, $variant) {
    my $root = $server->root;
    unlink "$root/logs/access.log", "$root/logs/error.log";
    $server->configure(modules => [ _modules($variant) ], http => $self->configuration($variant),
        log_level => 'warn');
    $server->start;

    $self->{number}  = 1;
    $self->{records} = [];
    my @exchanges = @{ $self->{site}{exchanges} };
    $self->_perform($server, 'after the start', $_) for @exchanges;
    for my $n (1 .. $self->{reloads}) {
        $server->reload;
        # so that others come first
        push @exchanges, splice @exchanges, 0, @exchanges / 3;
        $self->_perform($server, 'after a reload', $_) for @exchanges;
    }
    for my $n (@{ $self->{firsts} }) {
        $server->renew_worker;
        my $exchange = $self->{site}{exchanges}[$n];
        $self->_perform($server, 'the first of a worker', $exchange);
        $self->_perform($server, 'the second of a worker', $exchange);
    }
    $server->stop;
    $self->_add_logs($root);
    return $self->{records};
}

sub _perform ($self, $server, $when, $exchange) {
    my $number = $self->{number};
    $self->{number} += $exchange->size;
    push @{ $self->{records} }, {
        what     => "$when: " . $exchange->title,
        number   => $number,
        exchange => $exchange,
        text     => _masked($exchange->perform($number)),
    };
    return;
}

# Masks the time, which differs between runs.
sub _masked ($text) {
    my $date = qr/\w{3}, \d\d \w{3} 20[2-9]\d \d\d:\d\d:\d\d GMT/;
    return $text =~ s/^(date: )$date/$1(now)/gmir;
}

# Adds lines of the access log to the exchange that has their number.  The lines of one request
# may come from several servers, in varying order.
sub _add_logs ($self, $root) {
    my %lines;
    for my $line (_lines("$root/logs/access.log")) {
        # HTTP/2 compresses the date to a varying length
        $line =~ s/ bytes_sent=\K\d+/(some)/ if $line =~ / http2=h2/;
        # empty or unset at random, see Site::ErrorPages::is_vague
        $line =~ s/ (?:args|query_string)=\K-?(?= )/(empty or unset)/g if $line =~ / http_x_vague=1/;
        my ($number) = $line =~ /^(\d*)/;
        push @{ $lines{ $number || 0 } }, $line;
    }
    for my $record (@{ $self->{records} }) {
        for my $number ($record->{number} .. $record->{number} + $record->{exchange}->size - 1) {
            my @lines = sort @{ delete $lines{$number} // [] };
            $self->{lines} += @lines;
            $record->{text} .= join '', map { "\nlogged: " . join "\n        ", split /(?<=\S) (?=\w+=)/ } @lines;
        }
    }
    my @rest = sort map { @$_ } values %lines;
    $self->{lines} += @rest;
    # The module warns of its directives that have no effect.
    my @errors = grep { !/\[warn\] lua_var: ngx_http_lua_module is not loaded, so / }
        map { s{^\S+ \S+ (\[\w+\]) \d+#\d+: (?:\*\d+ )?}{$1 }r
            =~ s/(?<=nginx\.conf:)\d+/N/gr } _lines("$root/logs/error.log");
    push @{ $self->{records} },
        { what => 'access log, requests without a number', text => join '', @rest },
        { what => 'error log', text => join '', sort @errors };
    return;
}

sub _lines ($file) { return split /^/, read_file($file) }

# The records in which two lists differ.
sub differences ($class, $one, $other) {
    die "lists of different length\n" if @$one != @$other;
    return grep { $one->[$_]{text} ne $other->[$_]{text} } 0 .. $#$one;
}

# Two records side by side: the first request in which they differ, and the lines that do.
sub side_by_side ($class, $one, $other) {
    my @left  = split /\n/, $one->{text};
    my @right = split /\n/, $other->{text};
    my $text  = "  $one->{what}\n";
    if (!$one->{exchange}) {
        my %more;
        $more{$_}-- for @left;
        $more{$_}++ for @right;
        for my $line (sort grep { $more{$_} } keys %more) {
            my $label = sprintf '%-9s', $more{$line} < 0 ? 'without' : 'with';
            $text .= _indented($label, abs $more{$line} > 1 ? abs($more{$line}) . " x $line" : $line);
        }
        return $text;
    }

    my ($before, $answers, $logged, @shown) = ('', 0);
    for my $i (0 .. (@left > @right ? $#left : $#right)) {
        my ($l, $r) = ($left[$i] // '(nothing)', $right[$i] // '(nothing)');
        if ($l ne $r) {
            push @shown, _indented('without  ', $l), _indented('with     ', $r);
            last if @shown >= 24;
        }
        elsif ($l =~ m{^HTTP/|^logged}) {
            # the next request
            last if @shown;
            $before = _indented('both     ', $l);
            $answers++ if $l =~ /^HTTP/;
            ($logged) = $l =~ /^logged: (\d+)/;
        }
    }
    my $nth = defined $logged ? $logged - $one->{number} : $answers - 1;
    my ($bytes) = ($one->{exchange}->texts($one->{number}))[ $nth < 0 ? 0 : $nth ];
    return join '', $text, _indented('sent     ', split /\r?\n/, $bytes // ''), $before, @shown;
}

sub _indented ($label, @lines) {
    splice @lines, 30, @lines - 30, '...' if @lines > 31;
    return join '', map { "    $label " . _printable($_) . "\n" } @lines;
}

sub _printable ($line) {
    $line =~ s/([^\x20-\x7e])/$1 eq "\r" ? '' : sprintf '\\x%02x', ord $1/ge;
    return length $line > 400 ? substr($line, 0, 300) . " ... (@{[length $line]} bytes)" : $line;
}

1;
