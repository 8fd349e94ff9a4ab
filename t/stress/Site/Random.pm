package Site::Random;

# A site and requests that a seed makes.

use v5.36;

use Dice ();
use Site ();
use Site::ErrorPages ();

my @LUA_READS = qw(remote_addr realip_remote_addr host args uri request_uri request_method status
    http_x_a http_x_forwarded_for http_cookie arg_x cookie_x m_addr m_all m_volatile v server_port
    scheme https sent_http_content_type upstream_status limit_rate g_addr split request_body);

sub _lua_reading ($dice) {
    return join q( .. "," .. ), map { "tostring(ngx.var.$_)" } $dice->pick(@LUA_READS), $dice->some(5, @LUA_READS);
}

# Lua for a phase.
sub _lua_phase ($dice, $ctx) {
    my $read  = _lua_reading($dice);
    my @early = (
        qq(ngx.req.set_header("X-Lua", $read)),
        qq(ngx.req.set_header("X-A", "lua")),
        qq(ngx.req.set_header("Host", "lua.test")),
        q(ngx.req.set_header("X-Forwarded-For", {"10.7.7.7", "10.7.7.8"})),
        q(ngx.req.set_uri_args({ x = "lua" })),
        q(ngx.req.set_uri_args("x=1&y")),
        q(if ngx.var.arg_go then ngx.req.set_method(ngx.HTTP_POST) end),
        qq(ngx.var.v = $read),
        q(ngx.req.read_body()),
        q(ngx.req.read_body() ngx.var.w = tostring(ngx.req.get_body_data())),
        q(ngx.sleep(0.001)),
        q(ngx.ctx.mine = ngx.var.uri ngx.var.v = ngx.ctx.mine),
        q(ngx.ctx = { mine = ngx.var.host }),
        q(if ngx.var.arg_go == "exit" then ngx.exit(503) end),
        q(if ngx.var.arg_go == "exec" then return ngx.exec("/page", "from=lua") end),
        q(if ngx.var.arg_go == "named" then return ngx.exec("@named") end),
        q(if ngx.var.arg_go == "redirect" then return ngx.redirect("/page?" .. tostring(ngx.var.args)) end),
        q(if ngx.var.arg_go == "raise" then error("on purpose") end),
        # not in a subrequest, which would recurse without end
        map { "if not ngx.is_subrequest then $_ end" }
            qq(local res = ngx.location.capture("/sub?x=capture", { vars = { v = "captured" } })
                ngx.req.set_header("X-Lua", res.status .. res.body:gsub("\\n", " "))),
            q(local res = ngx.location.capture("/proxied/status/404", { share_all_vars = true })
                ngx.var.w = res.body:sub(1, -2)),
            q(local a, b = ngx.location.capture_multi({ { "/missing" }, { "/lua-page", { args = { n = 1 } } } })
                ngx.var.w = a.status .. b.body:sub(1, -2)),
            q(local res = ngx.location.capture("/include.html", { copy_all_vars = true, method = ngx.HTTP_POST, body = "b" })
                ngx.var.w = res.status),
    );
    push @early, (q(ngx.ctx.n = (ngx.ctx.n or 0) + 1 ngx.var.w = ngx.ctx.n)) x 3 if $ctx;
    my $code = join "\n            ", $dice->some(3, @early);
    my $last = $ctx ? ', ngx.ctx.n' : '';

    my $phase = $dice->pick(qw(set rewrite rewrite access content header_filter body_filter log));
    return "        set_by_lua_block \$v { return $read }\n" if $phase eq 'set';
    return "        ${phase}_by_lua_block {\n            $code\n        }\n" if $phase =~ /^(?:rewrite|access)$/;
    return "        content_by_lua_block {\n            $code\n            ngx.say($read$last)\n"
        . "            ngx.print(ngx.status, ' ', ngx.req.http_version())\n        }\n" if $phase eq 'content';
    return "        header_filter_by_lua_block {\n            ngx.header['X-Show'] = $read\n"
        . "            ngx.header.content_length = nil\n        }\n" if $phase eq 'header_filter';
    return "        header_filter_by_lua_block { ngx.header.content_length = nil }\n"
        . "        body_filter_by_lua_block { if ngx.arg[1] ~= '' then ngx.arg[1] = ngx.arg[1] .. $read end }\n"
        if $phase eq 'body_filter';
    return "        log_by_lua_block { ngx.log(ngx.WARN, $read$last) }\n";
}

sub _some_error_pages ($dice) {
    return join '', map { "        error_page $_;\n" } map {
        join(' ', $dice->pick($Site::ErrorPages::CODES, '404', '502 503 504', '401 403', '500', '400 412 413 416', '302')) . ' '
            . $dice->pick(grep { !Site::ErrorPages::is_vague($_) } Site::ErrorPages::targets())
    } $dice->some(3, 1 .. 3);
}

sub _real_ip ($dice) {
    my $from = join "\n        ", map { "set_real_ip_from $_;" } '127.0.0.1', $dice->some(2, qw(10.0.0.0/8 198.51.100.0/24));
    my $recursive = $dice->pick(qw(on off));
    my $header = $dice->pick(qw(X-Real-IP X-Real-IP X-Forwarded-For X-Forwarded-For proxy_protocol X-A));
    return "        $from\n        real_ip_header $header;\n        real_ip_recursive $recursive;\n";
}

# Directives that nearly any location may have.
sub _ingredients ($dice, $site, $beside = '') {
    my $shown = Site::show($dice->some(5, @{ $site->{names} }));
    my @all = (
        (sub { _real_ip($dice) }) x 3,
        (sub { _some_error_pages($dice) }) x 4,
        sub { "        recursive_error_pages on;\n" },
        sub { "        add_header X-Show \"$shown\" always;\n" },
        sub { "        set \$v \"$shown\";\n" },
        sub { "        set \$w \$m_all;\n" },
        sub { "        set \$args \"x=set&\$args\";\n" },
        sub { "        set \$limit_rate 0;\n" },
        sub { "        set \$arg_x set-\$arg_x;\n" },
        sub { "        set \$cookie_x \$host;\n" },
        sub { "        set \$http_x_a \$uri;\n" },
        sub { "        if (\$m_addr = local) { add_header X-Local yes; }\n" },
        sub { "        if (\$args = '') { set \$v no-args; }\n" },
        sub { "        if (\$arg_go = exit) { return 403; }\n" },
        sub { "        if (\$http_x_a) { error_page 404 502 /page?if; set \$w if; }\n" },
        sub { "        if (\$remote_addr ~ \"^(\\d+)\\.\") { set \$v \"net \$1\"; }\n" },
        sub { "        gzip on; gzip_min_length 1; gzip_types *; gzip_http_version 1.0; gzip_proxied any;\n" },
        sub { "        sub_filter_types *; sub_filter page \"p \$remote_addr\"; sub_filter_once off;\n" },
        sub { "        addition_types *; add_after_body /sub;\n" },
        sub { "        charset utf-8;\n" },
        sub { "        chunked_transfer_encoding off;\n" },
        sub { "        keepalive_timeout 0;\n" },
        sub { "        client_max_body_size 100;\n" },
        sub { "        absolute_redirect off;\n" },
        sub { "        server_name_in_redirect on; port_in_redirect off;\n" },
        sub { "        default_type text/html;\n" },
        sub { "        etag off; if_modified_since before;\n" },
        sub { "        mirror /mirror;\n" },
        sub { "        auth_request /auth-" . $dice->pick(qw(200 200 401 address)) . "; auth_request_set \$w \$remote_addr;\n" },
        sub { "        satisfy any; allow 10.0.0.0/8; deny all; auth_basic closed; auth_basic_user_file users;\n" },
        sub { "        " . $dice->pick('allow 10.0.0.0/8; deny all', 'deny 127.0.0.1', 'allow 127.0.0.1; deny all') . ";\n" },
        sub { "        lingering_close always; lingering_timeout 1s;\n" },
        sub { "        error_log logs/error.log error;\n" },
        sub { "        limit_except GET HEAD { deny 127.0.0.1; }\n" },
        (sub { Site::lua(_lua_phase($dice, $site->{ctx})) }) x 10,
    );
    # A directive that is twice in one block is an error.
    my %seen = map { $_ => 1 } _directives($beside);
    my $text = '';
    for my $make ($dice->some(6, @all)) {
        my $block      = $make->();
        my @directives = _directives($block);
        next if grep { $seen{$_} } @directives;
        $seen{$_} = 1 for @directives;
        $text .= $block;
    }
    return $text;
}

# Removes directives that a block has already and may have only once.
sub _directives ($text) {
    return grep { !/^(?:error_page|set_real_ip_from|set|if|add_header|allow|deny|proxy_set_header|rewrite|return|location)$/ }
        $text =~ /(?:^ {8}|; )([a-z_]+)(?= )/mg;
}

# Locations: their content, and URIs below them.
sub _contents ($dice, $site) {
    my $shown = Site::show($dice->some(8, @{ $site->{names} }));
    my $up    = "http://127.0.0.1:$Site::PORT{upstream}";
    my @set   = ('        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;',
        '        proxy_set_header X-Real-IP $remote_addr;', '        proxy_set_header Host $host;',
        '        proxy_set_header X-Args $m_args;', '        proxy_http_version 1.1;',
        '        proxy_pass_request_headers off;', '        proxy_buffering off;', '        proxy_pass_request_body off;');
    my $set = join "\n", $dice->some(4, @set);
    return (
        [ "        return 200 \"$shown\\n\";", '' ],
        [ "        root html; rewrite ^/l\\d+(/.*) \$1 break;", qw(/a.txt /missing /dir /dir/ /err.html /) ],
        [ "        root html; rewrite ^/l\\d+(/.*) \$1 break; ssi on;", qw(/echo.html /include.html /err.html /missing) ],
        [ "$set\n        proxy_pass $up/;", qw(/x /status/404 /a.txt /accel /accel-named /cut) ],
        [ "$set\n        proxy_pass http://balanced/;", qw(/x /status/503 /a.txt /x?port=1) ],
        [ "$set\n        proxy_pass http://retried/;", qw(/x /status/503 /accel) ],
        [ "$set\n        proxy_intercept_errors on; proxy_pass $up/;", qw(/status/404 /status/503 /status/302 /status/401) ],
        [ "$set\n        proxy_pass http://127.0.0.1:$Site::PORT{dead};", '' ],
        [ "        set \$to $Site::PORT{upstream};\n$set\n        proxy_pass http://127.0.0.1:\$to/\$v\$is_args\$args;", '' ],
        [ "        rewrite ^ /page?by=rewrite " . $dice->pick(qw(last last redirect permanent)) . ";", qw(/x) ],
        [ "        rewrite ^/l\\d+/(.*)\$ /\$1? last;", qw(/page /proxied /missing /include.html /dir) ],
        [ "        rewrite ^ \$m_volatile last;", '' ],
        [ "        root html; try_files \$uri /nothing " . $dice->pick('/page?tried=$args', '@named', '=404', '=502', '/lua-page') . ';', qw(/x) ],
        [ "        root html; index nothing.html \$v.html /page;", qw(/) ],
        [ "        internal;", '' ],
        [ "        return " . $dice->pick('301 /page', '302 $scheme://$host/$m_addr', '303 https://elsewhere.test/',
            '403', '404', '410 gone', '444', '500', '503 "$remote_addr"', '204', '418 "$m_all"') . ';', '' ],
        [ "        root html;", '' ],
        [ "        empty_gif;", '' ],
    );
}

sub make ($class, $seed) {
    my $dice = Dice->new($seed);
    my $site = { name => "random site of seed $seed" };
    # How many variables the access log and the locations use, which indexes them.
    my $indexed = $dice->pick(qw(all all few none));
    $site->{ctx} = $dice->one_in(3);
    my @names = $indexed eq 'few' ? $dice->some(4, grep { $_ ne 'bytes_sent' } @Site::VARIABLES) : (@Site::VARIABLES, @Site::OWN);
    $site->{names} = $indexed eq 'none' ? ['http_x_n'] : [ @Site::VARIABLES, @Site::OWN ];

    my $log = $indexed eq 'none' ? '' : 'access_log logs/access.log seen;';
    my $foreign = !$dice->one_in(6) ? '' : '    ' . $dice->pick(
        'map $http_x_a $args { default "mapped=1"; }', 'geo $args { default geo=1; }',
        'map $uri $limit_rate { default 0; }', 'map $http_host $args { default ""; }',
        'split_clients "$remote_addr" $args { * split=1; }') . "\n";
    my $prefixed = join '', map { "    map \$uri \$$_ { default \"mapped \$uri\"; ~page \"\"; }\n" }
        $dice->one_in(4) ? $dice->some(2, qw(http_x_b arg_y cookie_y sent_http_x_b upstream_http_x_b)) : ();

    my @uris = qw(/page /page/x /sub /internal /proxied /dead /fails /fails-too /loop /loop-to-500 /denied /rewritten /cycle
        /tried /moved /echo.html /include.html /dir /missing /lua-page /auth-401);
    my $locations = '';
    for my $n (0 .. 5 + $dice->below(8)) {
        my ($content, @below) = @{ $dice->pick(_contents($dice, $site)) };
        my $text = _ingredients($dice, $site, $content);
        my $inner = !$dice->one_in(4) ? '' : do {
            push @below, '/inner/x';
            my $served = $dice->pick("        root html;\n", "        return 404;\n");
            my $nested = _ingredients($dice, $site, $served);
            "        location /l$n/inner/ {\n$nested$served        }\n";
        };
        $locations .= "        location /l$n {\n$text$content\n$inner        }\n";
        push @uris, map { "/l$n$_" } @below, @below;
    }
    my $at_server = _ingredients($dice, $site);
    my $at_other  = _ingredients($dice, $site);
    # Directives that a server may not have.
    for ($at_server, $at_other) {
        s/^ {8}limit_except .*\n//mg;
        s/^ {8}if \(.*(?:add_header|error_page).*\n//mg;
        s/^ {8}content_by_lua_block \{\n.*?^ {8}\}\n//msg;
    }
    my $real_ip = $dice->one_in(2) ? _real_ip($dice) : '';
    my $http_errors = $dice->one_in(3) ? _some_error_pages($dice) : '';
    my $maps = Site::maps();

    $site->{http} = <<"END";
$maps$foreign$prefixed@{[ $log ? Site::log_format(@names) : '' ]}    large_client_header_buffers 4 1k;
$real_ip$http_errors
@{[ Site::lua("    lua_thread_cache_max_entries 0;\n") ]}    server {
@{[ Site::listens(' default_server') ]}
        server_name a.test;
        $log
        set \$v '';
        set \$w '';
$at_server
@{[ Site::pages() ]}
$locations
    }
    server {
@{[ Site::listens() ]}
        server_name b.test ~^(?<sub>\\w+)\\.c\\.test\$;
        $log
$at_other
@{[ Site::pages() ]}
        location / { root html; }
    }
@{[ Site::upstream($log) ]}
END

    my @exchanges;
    for (1 .. 24) {
        my @requests = map { _random_request($dice, @uris) } 0 .. $dice->below(4);
        push @exchanges, Site::on_any_port($dice, @requests);
    }
    my @bad = Site::bad_requests($dice);
    push @exchanges, map { $dice->pick(@bad) } 1 .. 3;
    $site->{exchanges} = [ $dice->shuffle(@exchanges) ];
    return $site;
}

sub _random_request ($dice, @uris) {
    my $uri  = $dice->pick(@uris);
    my $args = $dice->pick('', '', '', '?', '?x=1', '?x=10.1.1.1&y=2', '?X=big&x', '?go=exit', '?go=exec', '?go=named',
        '?go=redirect', '?go=raise', '?go=1', '?a=%20b&x=%41', '?x=' . 'q' x 300);
    $uri .= $uri =~ /\?/ ? $args =~ s/^\?/&/r : $args;
    my %request = (
        uri    => $uri,
        method => $dice->pick(qw(GET GET GET GET GET HEAD HEAD POST POST PUT OPTIONS)),
        host   => $dice->pick(qw(a.test a.test a.test b.test d.c.test A.TEST a.test. unknown.test), "a.test:$Site::PORT{plain}"),
    );
    if ($request{method} =~ /^P/) {
        $request{body} = $dice->pick('', 'x=1&y=2', 'b' x 150, 'b' x 20_000);
        # How much of a long body nginx reads before an error varies.
        $request{chunked} = length $request{body} < 200 && $dice->one_in(3) ? 1 : 0;
    }
    my @headers = (
        [ 'X-Real-IP'       => $dice->pick(qw(10.1.2.3 192.0.2.1 2001:db8::1 nonsense 127.0.0.1)) ],
        [ 'X-Real-IP'       => $dice->pick(qw(10.1.2.4 198.51.100.7)) ],
        [ 'X-Forwarded-For' => $dice->pick('10.1.2.3', '192.0.2.1, 10.3.3.3', '198.51.100.1, 127.0.0.1') ],
        [ 'X-Forwarded-For' => $dice->pick('10.1.2.5', '203.0.113.9') ],
        [ 'X-A'             => $dice->pick('a', '10.8.8.8', 'with space') ],
        [ Cookie            => $dice->pick('x=1', 'y=2; x=3', 'none') ],
        [ Cookie            => $dice->pick('x=4', 'z') ],
        [ 'User-Agent'      => $dice->pick('one', 'two/2', 'MSIE 5') ],
        [ Referer           => 'http://a.test/from' ],
        [ Via               => '1.1 somebody' ],
        [ 'Accept-Encoding' => 'gzip' ],
        [ 'Accept-Encoding' => 'gzip' ],
        [ 'If-Match'        => '"other"' ],
        [ 'If-None-Match'   => '*' ],
        [ 'If-Modified-Since' => 'Fri, 14 Jul 2017 02:40:00 GMT' ],
        [ Range             => $dice->pick('bytes=0-4', 'bytes=-5', 'bytes=99999-', 'bytes=0-1,4-5') ],
        [ Authorization     => $dice->pick('Basic dTpw', 'Basic dTp4', 'Bearer x') ],
        [ 'Content-Type'    => 'application/x-www-form-urlencoded' ],
        [ Expect            => '100-continue' ],
    );
    $request{headers} = [ map { @$_ } $dice->some(5, @headers) ];
    return \%request;
}

1;
