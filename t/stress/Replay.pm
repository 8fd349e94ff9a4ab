package Replay;

# One site, served by one nginx after the other, that differ in the modules they
# load.  What comes back from each is a list of records, to be compared.

use v5.36;

use Exchange ();
use NginxServer ();
use NgxVarTest::File qw(read_file);
use Site ();

# Names of variables that the sites use anyway, some of which they define.
my $INDEX = 'lua_var_index $http_x_forwarded_for $http_cookie $http_host $http_user_agent '
    . '$sent_http_content_type $sent_http_connection $arg_x $cookie_x $http_x_n $uri $args $remote_addr '
    . '$host $status $http_x_a $arg_unheard_of;';

# Which modules there are.  What the first of a family gives, all of it have to give.
#   lua: the Lua module is loaded; uses: and the configuration has Lua in it;
#   module: this one, before or after the other two;
#   before, after: what is set for it, in front of the site's own and behind.
#   long: of the long form only.
my @VARIANTS = (
    { family => 'no Lua', name => 'without' },
    { family => 'no Lua', name => 'with the module', module => 'after' },
    { family => 'no Lua', name => 'with lua_var_index', module => 'after', before => $INDEX, ctx => 'all' },
    { family => 'idle Lua', name => 'without', lua => 1, long => 1 },
    { family => 'idle Lua', name => 'with the module', lua => 1, module => 'after', long => 1 },
    { family => 'Lua', name => 'without', lua => 1, uses => 1 },
    { family => 'Lua', name => 'with the module', lua => 1, uses => 1, module => 'after' },
    { family => 'Lua', name => 'with lua_var_ctx_restore all', lua => 1, uses => 1, module => 'before', ctx => 'all', long => 1 },
    { family => 'Lua', name => 'with lua_var_index', lua => 1, uses => 1, module => 'after', before => $INDEX, long => 1 },
    { family => 'Lua', name => 'with lua_var_index at the end', lua => 1, uses => 1, module => 'before', after => $INDEX, ctx => 'all' },
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
        # others are first and early
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

# What differs from run to run: the time.
sub _masked ($text) {
    my $date = qr/\w{3}, \d\d \w{3} 20[2-9]\d \d\d:\d\d:\d\d GMT/;
    return $text =~ s/^(date: )$date/$1(now)/gmir;
}

# Lines of the access log go to the exchange that they belong to by their number.
# Those of one request may be of several servers, in an order that varies.
sub _add_logs ($self, $root) {
    my %lines;
    for my $line (_lines("$root/logs/access.log")) {
        # HTTP/2 compresses the time, to a length that varies
        $line =~ s/ bytes_sent=\K\d+/(some)/ if $line =~ / http2=h2/;
        # and what a request says of itself, see Site::ErrorPages::is_vague
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
    # That a directive of the module's does nothing is the module's to say.
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

# One record as two servers gave it: the first request in which they differ, and the
# lines that do.
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
