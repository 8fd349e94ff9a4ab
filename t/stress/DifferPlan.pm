package DifferPlan;

# A random configuration, what Lua does in it, and requests to it: t/bin/differ.
#
# All choices are rand(), which the caller seeds.

use v5.36;

use Exporter qw(import);
use File::Basename qw(dirname);
use NgxVarTest::File qw(read_file);

our @EXPORT_OK = qw(plan);

sub below ($n) { return int rand $n }
sub one_of (@list) { return $list[ below(scalar @list) ] }
sub chance ($percent) { return below(100) < $percent }
sub some ($most, @list) { return map { one_of(@list) } 1 .. below($most + 1) }

# Variables of nginx, and of the modules in Debian's.
my @BUILT_IN = qw(
    args binary_remote_addr body_bytes_sent bytes_sent content_length content_type
    document_root document_uri host hostname https is_args limit_rate nginx_version pid pipe
    query_string realpath_root remote_addr remote_user request request_body request_completion
    request_filename request_length request_method request_uri scheme server_addr server_name
    server_port server_protocol status uri
    upstream_status upstream_addr upstream_cache_status proxy_host proxy_port
    proxy_add_x_forwarded_for realip_remote_addr invalid_referer modern_browser ancient_browser msie
    http2 gzip_ratio from_error_page
);

# Those that the steps change.
my @MOVING = qw(remote_addr remote_addr binary_remote_addr realip_remote_addr host args uri request_method
    content_length content_type request_body remote_user status document_uri query_string);

# What the module reads without nginx's handlers, so without caching in the request: the rows of
# src/variable/field.rs, and captures.
my $FIELDS    = read_file(dirname(__FILE__) . '/../../src/variable/field.rs');
my @TRACELESS = (0 .. 3, map { /\w+/g } $FIELDS =~ /^ +\w+ \[("[^\]]+)\] (?:text|number)\b/mg);

# These depend on the time or the connection, so they differ between modes and are compared
# only where they are read.
my @FLEETING = qw(
    connection connection_requests msec remote_port request_time request_id time_iso8601 time_local
    upstream_response_time upstream_header_time upstream_connect_time realip_remote_port
    upstream_response_length upstream_bytes_received connection_time
);

my @HEADERS = qw(host user_agent referer via cookie x_forwarded_for x_real_ip x y content_type accept
    content_length connection authorization);
my @SENT = qw(content_type content_length location last_modified connection keep_alive
    transfer_encoding cache_control link x set_cookie);
my @PREFIXED = (
    (map { "http_$_" } @HEADERS),
    (map { "sent_http_$_" } @SENT),
    (map { "arg_$_" } qw(a b x empty A %41 a-b none)),
    (map { "cookie_$_" } qw(a b x none)),
    (map { "upstream_http_$_" } qw(x content_type server set_cookie)),
    qw(upstream_cookie_a sent_trailer_x),
);
# Those that nginx defines by name.
my @HEADERS_BY_NAME = (
    (map { "http_$_" } qw(host user_agent referer via cookie x_forwarded_for)),
    (map { "sent_http_$_" } qw(content_type content_length location last_modified connection keep_alive
        transfer_encoding cache_control link)),
);
# Prefixed and built-in names that the configuration may redefine.
my @DEFINED_PREFIXED = qw(arg_x arg_a cookie_x cookie_a http_x http_y sent_http_x upstream_http_x);
my @REDEFINED = qw(args limit_rate from_error_page);
my @OWN = map { "own$_" } 0 .. 3;
my @MAPPED = map { "map$_" } 0 .. 4;

my @WORDS = ('', 'a', '1', 'two words', '/l1', 'x=1&y=2', 'a=1', '%41', "\xe9\xff", '127.0.0.1',
    '10.1.2.3', 'example.test', 'Example.TEST:81', '0', 'true', 'on', 'long-' . 'z' x 300);

# A value in a configuration or in Lua.
sub quoted ($text) {
    $text =~ s/([\\"])/\\$1/g;
    return qq("$text");
}

sub lua ($text) {
    return '"' . $text =~ s/([^ -~]|["\\])/sprintf '\\%03d', ord $1/ger . '"';
}

# Variables that may be read in this configuration.
sub _names ($self) { return (@BUILT_IN, @PREFIXED, $self->{own}->@*, qw(no_such_variable)) }

sub _name ($self) {
    return chance(25) ? one_of($self->{own}->@*)
        : chance(40) ? one_of(@PREFIXED, @DEFINED_PREFIXED)
        : chance(30) ? one_of(@MOVING) : one_of(@BUILT_IN);
}

# A text of the configuration, with names that are always known.
sub _value ($self) {
    my @parts = map { chance(70) ? '${' . $self->_configured . '}' : one_of(qw(a /l1 - x=1 1)) } 1 .. 1 + below(3);
    return join '', @parts;
}

sub _configured ($self) {
    my @known = (
        (grep { !/[%-]|A/ } @BUILT_IN, grep { /\A[a-z_]+\z/ } @PREFIXED),
        ($self->{own}->@*) x 4, (@MOVING) x 2,
    );
    my %not = map { $_ => 1 } $self->{not}->@*;
    return one_of(grep { !$not{$_} } @known);
}

sub _used ($self) {
    my @names = (@BUILT_IN, @DEFINED_PREFIXED, (grep { /\A\w+\z/ } @PREFIXED), $self->{own}->@*);
    my %seen;
    my @some = grep { !$seen{ lc $_ }++ } map { one_of(@names) } 1 .. below(25);
    return @some ? "    log_format used '" . join(' ', map { "\$$_" } map { lc } @some) . "';\n" : '';
}

# Maps, geos and splits.
sub _definitions ($self) {
    my $text = '';
    my %redefined = map { $_ => 1 } grep { chance(15) } @REDEFINED;
    my @targets = (
        (grep { chance(70) } @MAPPED),
        (grep { chance(15) } @DEFINED_PREFIXED),
        (sort keys %redefined),
    );
    # Each may use only those before it, so that none uses itself.
    $self->{not} = [ @targets, @OWN, 'query_string', 'is_args', 'request', 'limit_rate' ];
    $self->{own} = [ @OWN ];
    for my $name (@targets) {
        my $kind = below(10);
        if ($kind < 7) {
            my $source = $self->_value;
            my $volatile = chance(25) ? ' volatile;' : '';
            my $values = join '', map {
                my $from = one_of('a', '1', '/l0', '127.0.0.1', '~^/l(\d)', '~*a', '""', '200', '"a=1"', '~(?<cap>x)');
                my $to = $from =~ /\\d/ && chance(50) ? '"re $1"' : '"' . $self->_value . '"';
                $from =~ s/\A~(?!\*?\^|\*|\()/~/;
                " $from $to;"
            } some(3, 1);
            my %once;
            $values = join '', grep { my ($from) = /^ (\S+)/; !$once{$from}++ } map { " $_;" } grep { length } map { s/^ //r } split /;/, $values;
            $text .= "    map \"$source\" \$$name {$volatile default \"" . $self->_value . "\";$values }\n";
        }
        elsif ($kind < 9) {
            my $source = chance(50) ? '$' . one_of(qw(remote_addr http_x_real_ip arg_a realip_remote_addr)) . ' ' : '';
            $source = '' if grep { $source eq "\$$_ " } @targets;
            $text .= "    geo $source\$$name { default far; 127.0.0.0/8 near; 10.0.0.0/8 private; }\n";
        }
        else {
            # not of a value with a port, which differs between modes
            my $source = join '', map { "\${$_}" } one_of(qw(request_uri http_user_agent)), one_of(qw(request_method http_referer));
            $text .= "    split_clients \"$source\" \$$name { 30% one; 30% \"\"; * \"rest\"; }\n";
        }
        $self->{not} = [ grep { $_ ne $name } $self->{not}->@* ];
        push $self->{own}->@*, $name;
    }
    $self->{not} = [];
    $self->{own} = [ @OWN, @targets ];
    return $text;
}

my $settable = sub { one_of(@OWN, @OWN, @DEFINED_PREFIXED, 'args', 'limit_rate', 'from_error_page') };

sub _set ($self, $indent) {
    my $name = $settable->();
    $self->{is_set}{$name} = 1;
    return qq($indent) . "set \$$name \"" . ($name eq 'limit_rate' ? one_of('', '0', '100m') : $self->_value) . "\";\n";
}

sub _realip ($self, $indent) {
    return '' if !chance(30);
    return $indent . 'set_real_ip_from ' . one_of('127.0.0.1', '127.0.0.0/8', '0.0.0.0/0') . ";\n"
        . $indent . 'real_ip_header ' . one_of('X-Real-IP', 'X-Forwarded-For', 'X') . ";\n"
        . (chance(50) ? $indent . "real_ip_recursive on;\n" : '');
}

sub _error_pages ($self, $indent) {
    my $text = '';
    for (1 .. below(3)) {
        my $code = one_of('404', '404 403', '500 502', '400', '405', '403');
        my $answer = one_of('', '', ' =', ' =200', ' =503');
        my $to = one_of('/e0', '/e1', '/e0?x=$arg_a', '/e1?$args', '/e0$uri', '/e1?own=${own0}&m=' . '${own1}',
            '@named', '/e0?', 'http://other.test/$uri', '/none');
        $text .= "${indent}error_page $code$answer $to;\n";
    }
    $text .= "${indent}recursive_error_pages on;\n" if chance(20);
    return $text;
}

sub _rewrites ($self, $indent) {
    my $text = '';
    for (1 .. below(2)) {
        my $to = one_of('/l$1', '/l1?z=$arg_a', '/l2/$args', '/l3?', '/l0/${own0}');
        my $flag = one_of('last', 'break', 'last', '');
        $text .= $indent . 'rewrite ' . one_of('^/r(.*)', '^/l(\d)/r', '/again(.?)') . " $to $flag;\n";
    }
    if (chance(25)) {
        my $condition = one_of('$arg_a', '$arg_a = 1', '$http_x ~ "(\w)"', '$request_method = POST', '$own0 = a',
            '$cookie_a', '$remote_addr ~ "^(\d+)"');
        $text .= "${indent}if ($condition) { " . $self->_set('') =~ s/\n//r
            . (chance(15) ? ' return 404;' : '') . " }\n";
    }
    return $text;
}

# Lua code of a step, as far as $phase allows it.
sub _action ($self, $phase) {
    my @any = (
        sub {
            my $name = $settable->();
            # a small value would make nginx slow
            my $value = $name eq 'limit_rate' ? one_of('', '0', '100m', 'odd') : one_of(@WORDS);
            'D.assign(' . lua($name) . ', ' . lua($value) . ')'
        },
        sub { 'ngx.var.' . one_of(@OWN) . ' = ' . lua(one_of(@WORDS)) },
        sub { 'ngx.ctx.x = ' . below(9) },
    );
    my @request = (
        sub { 'ngx.req.set_uri(' . lua(one_of('/l1', '/l2/x', '/l0/%41', "/l3/\xe9", '/r1')) . ')' },
        sub { 'ngx.req.set_uri_args(' . lua(one_of('a=2', '', 'a&b=%00', 'x=set&x=two', "\xff=\xfe", 'A=up')) . ')' },
        sub { 'ngx.req.set_uri_args({ a = { 1, "two" }, ["b c"] = true, x = "' . below(99) . '" })' },
        sub { 'ngx.req.set_method(ngx.HTTP_' . one_of(qw(GET POST PUT HEAD DELETE OPTIONS)) . ')' },
        sub { 'ngx.req.read_body() ngx.req.set_body_data(' . lua(one_of(grep { length } @WORDS)) . ')' },
        sub { 'ngx.req.read_body()' },
        ($self->{clears}
            ? sub { 'ngx.req.clear_header(' . lua(one_of('Cookie', 'X', 'User-Agent', 'X-Forwarded-For', 'Y', 'Via')) . ')' }
            : (sub {
                my $header = one_of('Host', 'User-Agent', 'Cookie', 'X', 'Y', 'X-Real-IP', 'X-Forwarded-For', 'Referer',
                    'Via', 'Content-Type', 'Accept', 'Authorization');
                my $value = one_of('', 'one', 'a=1; x=2', 'a=set', '10.9.9.9', 'Set.Host.TEST:8', "\xe9 x", 'Basic dTpw');
                chance(20) && $header ne 'Host'
                    ? 'ngx.req.set_header(' . lua($header) . ', { ' . lua($value) . ', "second" })'
                    : 'ngx.req.set_header(' . lua($header) . ', ' . lua($value) . ')'
            }) x 3),
    );
    my @response = (
        sub { 'ngx.header[' . lua(one_of('X', 'Cache-Control', 'Link', 'Content-Type', 'Location', 'Set-Cookie', 'Last-Modified'))
            . '] = ' . one_of('"sent"', '{ "one", "two" }', 'nil', '"Thu, 01 Jan 1970 00:00:01 GMT"', '"text/plain"') },
        sub { 'ngx.status = ' . one_of(200, 201, 404, 500) },
    );
    my $target = sub {
        my $n = $self->{at} + 1 + below(2);
        ($n < 6 ? "/l$n" : '/e0') . one_of('', '', '?a=exec', '/x?b=2&x=sub')
    };
    my @leave = (
        sub { 'ngx.exec(' . lua(one_of($target->(), $target->(), '@named')) . ')' },
        sub { 'ngx.exit(' . one_of(404, 403, 500, 200) . ')' },
    );
    my @capture = (sub {
        my @options = grep { chance(40) }
            'args = { a = "captured" }', 'method = ngx.HTTP_' . one_of(qw(POST PUT GET)), 'body = "sub body"',
            one_of('share_all_vars = true', 'copy_all_vars = true', 'always_forward_body = true', 'vars = { own0 = "sub" }');
        'D.capture(' . lua($target->()) . ', { ' . join(', ', @options) . ' })'
    });

    my @can = $phase eq 'log' || $phase eq 'body_filter' || $phase eq 'set' ? @any
        : $phase eq 'header_filter' ? (@any, @response)
        : $phase eq 'content' ? (@any, @request, @request, @response, @capture, @leave)
        : (@any, @request, @request, @response, chance(70) ? @capture : @leave);
    return join ' ', map { one_of(@can)->() } 1 .. 1 + below(2);
}

sub _read ($self) {
    return '{ ' . join(', ', map {
        chance(4) ? one_of(0 .. 3) : lua(chance(10) ? one_of(@FLEETING) : $self->_name)
    } 1 .. below(7)) . ' }';
}

# Adds a step to the plan; returns its number.
sub _step ($self, $phase) {
    my %fleeting = map { $_ => 1 } @FLEETING;
    my $say = join ', ', map { lua($self->_name) } 1 .. 6;
    my $action = chance(85) ? $self->_action($phase) : '';
    push $self->{steps}->@*, '{ before = ' . $self->_read . ', after = ' . $self->_read . ",\n"
        . "      say = { $say },\n      action = function () $action end }";
    return scalar $self->{steps}->@*;
}

sub _hook ($self, $indent, $phase) {
    return $indent . "${phase}_by_lua_block { D.step(\"MODE\", " . $self->_step($phase) . ") }\n";
}

sub _location ($self, $n) {
    my $in = ' ' x 12;
    $self->{at} = $n;
    my $text = '        location /l' . $n . " {\n";
    $text .= $self->_realip($in) . $self->_error_pages($in);
    $text .= $self->_set($in) for 1 .. below(2);
    $text .= $self->_rewrites($in) if chance(30);
    for my $phase (qw(rewrite access header_filter body_filter log)) {
        $text .= $self->_hook($in, $phase) if chance(25);
    }
    $text .= "${in}add_header X-Added \"" . $self->_value . "\" always;\n" if chance(40);
    my $kind = below(20);
    $text .= $kind < 11 ? $in . 'content_by_lua_block { D.content("MODE", ' . $self->_step('content') . ") }\n"
        : $kind < 13 ? $in . 'return ' . one_of(200, 200, 404, 500) . ' "' . $self->_value . "\\n\";\n"
        : $kind < 17 ? $in . 'proxy_pass ' . one_of('http://up', 'http://up/given', 'http://up$request_uri') . ";\n"
            . (chance(40) ? $in . 'proxy_set_header X "' . $self->_value . "\";\n" : '')
        : $kind < 18 ? "${in}try_files /none /file.txt =404;\n"
        : $kind < 19 ? "${in}deny all;\n"
        : "${in}root html;\n";
    return $text . "        }\n";
}

sub _server ($self) {
    my $in = ' ' x 8;
    my $text = "    server {\n        listen 127.0.0.1:PORT;\n        access_log logs/MODE.log seen;\n"
        . "        server_name " . one_of('""', 'example.test', '~^(?<named>\w+)\.test$', 'a.test b.test') . ";\n"
        . "        root html;\n";
    $text .= "        set \$$_ \"\";\n" for @OWN;
    $text .= $self->_set($in) for 1 .. below(4);
    $text .= $self->_realip($in) . $self->_error_pages($in) . $self->_rewrites($in);
    $text .= "        add_header X-Seen \"" . $self->_value . "\" always;\n" if chance(60);
    $self->{at} = 5;    # so that redirects lead to an error page
    for my $phase (qw(server_rewrite rewrite access header_filter body_filter log)) {
        $text .= $self->_hook($in, $phase) if chance(30);
    }
    $text .= "        set_by_lua_block \$own3 { D.step(\"MODE\", " . $self->_step('set') . ") return \"by Lua\" }\n" if chance(30);
    $text .= $self->_location($_) for 0 .. 5;
    $self->{at} = 5;
    $text .= "        location /e0 { content_by_lua_block { D.content(\"MODE\", " . $self->_step('content_of_page') . ") } }\n"
        . '        location /e1 { ' . $self->_set('') =~ s/\n/ /r . 'return 200 "' . $self->_value . "\\n\"; }\n"
        . "        location \@named { " . (chance(50)
            ? "content_by_lua_block { D.content(\"MODE\", " . $self->_step('content_of_page') . ") }"
            : 'return 200 "named ' . $self->_value . '\n";') . " }\n";
    return $text . "    }\n";
}

# ---- Requests ----

sub _request ($self, $is_last) {
    my $path = one_of('/l0', '/l1', '/l2', '/l3', '/l4', '/l5', '/r1', '/l0/r', '/none', '/', '/file.txt', '/l0/%41b/../c',
        '//l1', '/l1/again', '/e0', "/l2/\xe9");
    my $args = one_of('', '', '?', '?a=1', '?a=1&b=2&x=3', '?A=upper', '?a&b', '?x=%00%ff', "?a=\xff\xe9", '?=&&a==1',
        '?empty=&a=1&a=2', '?a=' . 'y' x 500, '?%41=1;b=2', '?a-b=1#frag', '?arg_a=1');
    my $method = one_of('GET', 'GET', 'GET', 'HEAD', 'POST', 'PUT', 'OPTIONS', 'DELETE', 'FOO');
    my $version = one_of('1.1', '1.1', '1.1', '1.0');
    my @lines;
    my $host = below(10);
    push @lines, 'Host: ' . one_of('example.test', 'a.test', 'Example.TEST:81', 'here') if $host < 7;
    push @lines, 'Host: ' . one_of('', '[::1]', 'a..b', '.', "x\x01") if $host == 7;
    push @lines, 'Host: a.test', 'Host: b.test' if $host == 8 && chance(30);
    my %header = (
        'X' => [ 'one', '', "\xe9\xff", '1' ], 'Y' => [ 'y' ], 'X-Real-IP' => [ '10.1.2.3', 'bad', '1.2.3.4:99' ],
        'X-Forwarded-For' => [ '9.9.9.9', '10.0.0.1, 127.0.0.1', '' ], 'Cookie' => [ 'a=1', 'a=1; b=2; x=3', 'x', 'a=2' ],
        'User-Agent' => [ 'differ', 'MSIE 6.0' ], 'Referer' => [ 'http://a.test/' ], 'Via' => [ '1.1 x' ],
        'Content-Type' => [ 'text/plain' ], 'Accept' => [ '*/*', '' ], 'Authorization' => [ 'Basic YTpi', 'x' ],
    );
    for my $name (sort keys %header) {
        next if !chance(35);
        my $times = $name =~ /^(?:X|Cookie|X-Forwarded-For|Via|Y)$/ && chance(35) ? 1 + below(3) : 1;
        push @lines, "$name: " . one_of($header{$name}->@*) for 1 .. $times;
    }
    # headers in any order
    @lines = map { $_->[1] } sort { $a->[0] <=> $b->[0] } map { [ rand, $_ ] } @lines;
    my $body = '';
    if ($method =~ /^(?:POST|PUT|FOO)$/) {
        $body = one_of('', 'body', 'a=1&b=2', "\0\xff", 'w' x 3000);
        if ($version eq '1.1' && chance(25)) {
            push @lines, 'Transfer-Encoding: chunked';
            $body = (length $body ? sprintf("%x\r\n%s\r\n", length $body, $body) : '') . "0\r\n\r\n";
        }
        else {
            push @lines, 'Content-Length: ' . length $body;
        }
    }
    push @lines, 'Connection: ' . ($is_last ? 'close' : 'keep-alive')
        if $is_last ? $version eq '1.1' : $version eq '1.0' && chance(80);
    return join("\r\n", "$method $path$args HTTP/$version", @lines, '', '') . $body;
}

# The requests of one connection, the last of which closes it.
sub _connection ($self) {
    my $n = 1 + below(4);
    return join '', map { $self->_request($_ == $n) } 1 .. $n;
}

# A plan: http (a part of the configuration), server (with MODE and PORT in it), lua (the
# steps), requests (the bytes for each connection).
sub plan ($connections) {
    my $self = bless { steps => [], own => [], not => [], clears => chance(25) }, __PACKAGE__;
    my $http = $self->_definitions;
    my $jit  = one_of('', '', 'jit.off()', 'jit.opt.start("hotloop=2", "hotexit=2")');
    $http .= $self->_used if chance(70);
    my @logged = map { $self->_configured } 1 .. 4 + below(8);
    $http .= '    log_format seen "$request_method $request_uri $status ' . join('|', map { "\${$_}" } @logged) . "\";\n";
    $http .= $self->_realip('    ');
    my $server = $self->_server;
    # A prefixed name that set, map or geo defines is cached after stock ngx.var has read it, too.
    my %is_defined = (%{ $self->{is_set} // {} }, map { $_ => 1 } $self->{own}->@*, @HEADERS_BY_NAME);
    my @traceless = (@OWN, grep { !$is_defined{$_} } map { lc } @TRACELESS, @PREFIXED, @DEFINED_PREFIXED);
    my $lua = "local D = ...\n$jit\nfor name in ([[" . join(' ', @traceless)
        . "]]):gmatch(\"%S+\") do D.is_traceless[name] = true end\nreturn {\n    "
        . join(",\n    ", $self->{steps}->@*) . ",\n}\n";
    return {
        http     => $http,
        server   => $server,
        lua      => $lua,
        requests => [ map { $self->_connection } 1 .. $connections ],
    };
}

1;
