package Sites;

# Configurations for `make nothing`, each with what clients ask of it: one with every
# form of error_page there is, and random ones.
#
# A site is { name, http, exchanges, ctx }.  In `http`, what is between #LUA and #END
# needs the Lua module.  `ctx` is true when Lua reads a ngx.ctx from before an error
# page, which the module gives back unless it is told not to.

use v5.36;

use List::Util qw(shuffle);

use Dice ();
use Exchange ();
use NginxServer ();

# What listens where.  Nothing listens on the last one.
my %PORT = map { state $n = 0; $_ => NginxServer->port($n++) }
    qw(plain proxy_protocol tls_h2 h2 upstream tls);
$PORT{dead} = NginxServer->port(9);

# What the same request has twice the same of.
my @VARIABLES = qw(
    remote_addr realip_remote_addr binary_remote_addr host http_host server_name server_addr
    server_port scheme https uri document_uri args query_string is_args request_uri request
    request_method request_filename document_root server_protocol status bytes_sent
    body_bytes_sent request_length request_completion connection_requests content_type
    content_length remote_user nginx_version hostname limit_rate request_body
    http_user_agent http_referer http_cookie http_x_forwarded_for http_x_real_ip http_x_a http_via
    arg_x arg_go cookie_x cookie_y proxy_add_x_forwarded_for proxy_host proxy_port
    proxy_protocol_addr proxy_protocol_server_addr sent_http_content_type sent_http_connection
    sent_http_location sent_http_content_length sent_http_last_modified sent_http_etag
    sent_http_transfer_encoding sent_http_x_show upstream_status upstream_addr
    upstream_response_length upstream_http_x_up upstream_http_content_type http2
);

# Those of the configuration's own.
my @OWN = qw(m_addr m_args m_host m_uri m_method m_status m_all m_volatile m_xff g_addr g_arg split v w);

sub lua ($text) { return "#LUA\n$text#END\n" }

# The configuration for an nginx that has the Lua module, or has it not.
sub text ($site, $has_lua) {
    return $has_lua ? $site->{http} =~ s/^#(?:LUA|END)\n//mgr
        : $site->{http} =~ s/^#LUA\n.*?^#END\n//msgr;
}

sub show (@names) { return join ' ', map { "$_=\$$_" } @names }

# ---- What all sites have. ------------------------------------------------------------

# Files below html/.
sub files ($root) {
    my $echo = join "\n", map { qq(<!--# echo var="$_" default="unset" -->) }
        qw(remote_addr realip_remote_addr host server_name https args uri request_method
           request_uri http_x_a arg_x cookie_x http_cookie http_x_forwarded_for QUERY_STRING);
    my %file = (
        'index.html'     => "index\n",
        'err.html'       => "a page for errors\n",
        'a.txt'          => join('', map { "line $_ of a text that can be compressed\n" } 1 .. 60),
        'dir/index.html' => "the index of a directory\n",
        'echo.html'      => "$echo\n",
        'include.html'   => qq(<!--# set var="s" value="\$remote_addr" --><!--# include virtual="/sub?x=ssi" -->)
            . qq(<!--# if expr="\$args = /x/" -->x<!--# else -->no x<!--# endif --> <!--# echo var="s" -->)
            . qq(<!--# include virtual="/missing" --><!--# include virtual="/page?in=ssi" wait="yes" -->\n),
    );
    mkdir "$root/html/dir";
    for my $name (keys %file) {
        open my $out, '>', "$root/html/$name" or die "$name: $!\n";
        print {$out} $file{$name};
        close $out or die "$name: $!\n";
        utime 1_500_000_000, 1_500_000_000, "$root/html/$name" or die "$name: $!\n";
    }
    open my $out, '>', "$root/conf/users" or die "users: $!\n";
    print {$out} "u:{PLAIN}p\n";
    return;
}

# Maps and the like, at the level of http.
sub _maps {
    my $long = 'z' x 2000;
    return <<"END";
    variables_hash_max_size 4096;
    map_hash_bucket_size 256;
    map \$remote_addr \$m_addr { default other; 127.0.0.1 local; ~^10\\. ten; ~^2 \$host; }
    map \$args \$m_args { default "\$args"; "" none; ~x=(?<cap>\\w+) "x is \$cap"; }
    map \$host \$m_host { hostnames; default no; .a.test a; b.test b; }
    map \$uri \$m_uri { default other; ~^/page page; /sub sub; }
    map \$request_method \$m_method { default other; GET get; POST post; }
    map \$status \$m_status { default other; ~^[23] good; ~^5 bad; }
    map "\$remote_addr:\$host:\$m_args" \$m_all { default "\$m_addr+\$m_host"; }
    map \$uri\$is_args\$args \$m_volatile { volatile; default "\$uri?\$args"; }
    map \$http_x_forwarded_for \$m_xff { default many; "" none; }
    geo \$g_addr { default world; 127.0.0.0/8 loop; 10.0.0.0/8 ten; 2001:db8::/32 doc; }
    geo \$arg_x \$g_arg { default none; 10.0.0.0/8 ten; }
    split_clients "\$remote_addr\$http_user_agent" \$split { 30% a; 30% b; * c; }
    map \$uri \$empty { default ""; }
    map \$uri \$target { default page; }
    map \$uri \$target_uri { default /page; }
    map \$uri \$target_args { default "/page?in=variable"; }
    map \$uri \$target_named { default \@named; }
    map \$uri \$target_url { default http://elsewhere.test/x; }
    map \$uri \$long_uri { default "/page/$long"; }
    map \$uri \$long_args { default "/page?$long"; }
    upstream balanced {
        server 127.0.0.1:$PORT{upstream};
@{[ lua(<<"LUA") ]}        keepalive 4;
        balancer_by_lua_block {
            local balancer = require "ngx.balancer"
            local _ = ngx.var.remote_addr
            assert(balancer.set_current_peer("127.0.0.1", tonumber(ngx.var.arg_port) or $PORT{upstream}))
        }
LUA
    }
    upstream retried {
        server 127.0.0.1:$PORT{dead} max_fails=0;
        server 127.0.0.1:$PORT{upstream} backup;
    }
END
}

# What every proxy_pass here goes to.
sub _upstream ($log) {
    my $status = join "\n        ", map {
        my $redirect = $_ == 302 ? ' http://elsewhere.test/up' : $_ == 204 ? '' : qq( "up $_\\n");
        "location = /status/$_ { add_header X-Up $_ always; return $_$redirect; }"
    } 200, 204, 302, 400, 401, 403, 404, 500, 502, 503, 504;
    return <<"END";
    server {
        listen 127.0.0.1:$PORT{upstream};
        server_name upstream.test;
        $log
        $status
        location = /accel { add_header X-Accel-Redirect /page?in=accel; return 200 "not seen"; }
        location = /accel-named { add_header X-Accel-Redirect \@named; return 200 "not seen"; }
        location = /a.txt { root html; add_header X-Up file; }
        location = /cut { return 444; }
        location / {
            add_header X-Up yes;
            return 200 "up \$request_method \$request_uri host=\$host addr=\$remote_addr xff=\$http_x_forwarded_for real=\$http_x_real_ip lua=\$http_x_lua cookie=\$http_cookie length=\$http_content_length connection=\$http_connection\\n";
        }
    }
END
}

# Where error pages and other internal redirects go to, in the servers for clients.
sub _pages ($dice) {
    my $seen = show(qw(uri args request_uri request_method status remote_addr realip_remote_addr
        host m_addr m_args m_all m_volatile http_x_a arg_x v));
    my $lua = lua(<<"LUA");
        location = /lua-page {
            content_by_lua_block {
                ngx.say("lua ", ngx.var.uri, " ", ngx.var.args or "unset", " ", ngx.status, " ",
                        ngx.var.remote_addr, " ", ngx.req.get_method(), " ", ngx.req.is_internal())
            }
        }
LUA
    return <<"END";
        location = /page { return 200 "page $seen\\n"; }
        location /page/ { return 200 "below page $seen\\n"; }
        location = /sub { return 200 "[sub $seen]"; }
        location = /internal { internal; return 200 "internal $seen\\n"; }
        location = /proxied { proxy_pass http://127.0.0.1:$PORT{upstream}; }
        location /proxied/ { proxy_pass http://127.0.0.1:$PORT{upstream}/; }
        location = /dead { proxy_pass http://127.0.0.1:$PORT{dead}; }
        location = /fails { error_page 500 =200 /page?after=fails; return 500; }
        location = /fails-too { error_page 503 /fails; return 503; }
        location = /loop { error_page 404 /loop; return 404; }
        location = /denied { deny all; }
        location = /rewritten { rewrite ^ /page?in=rewrite last; }
        location = /cycle { rewrite ^ /cycle last; }
        location = /tried { root html; try_files /nothing /page?in=try; }
        location = /moved { return 302 /page; }
        location = /echo.html { root html; ssi on; }
        location = /include.html { root html; ssi on; gzip on; }
        location = /err.html { root html; }
        location /dir { root html; }
        location = /auth-200 { return 204; }
        location = /auth-401 { add_header WWW-Authenticate Basic always; return 401; }
        location = /auth-403 { return 403; }
        location = /auth-500 { return 500; }
        location = /auth-address { if (\$m_addr = local) { return 204; } return 403; }
        location = /mirror { log_subrequest off; return 200; }
        location \@named { return 200 "named $seen\\n"; }
        location \@fails { error_page 500 /page?after=named; return 500; }
        location \@dead { proxy_pass http://127.0.0.1:$PORT{dead}; }
        location \@proxied { proxy_pass http://127.0.0.1:$PORT{upstream}; }
        location \@rewritten { rewrite ^ /page?in=named last; }
$lua
END
}

sub _listens ($dice, $default = '') {
    return <<"END";
        listen 127.0.0.1:$PORT{plain}$default;
        listen 127.0.0.1:$PORT{proxy_protocol} proxy_protocol;
        listen 127.0.0.1:$PORT{tls_h2} ssl http2;
        listen 127.0.0.1:$PORT{h2} http2;
        listen 127.0.0.1:$PORT{tls} ssl;
        ssl_certificate     $ENV{TEST_NGINX_CERT_DIR}/test.crt;
        ssl_certificate_key $ENV{TEST_NGINX_CERT_DIR}/test.key;
END
}

sub _log_format (@names) {
    return qq(    log_format seen '\$http_x_n|@{[ show(@names) ]}';\n);
}

# ---- Forms of error_page. ------------------------------------------------------------

# What follows the codes.
sub targets {
    my ($x, $y) = ('x' x 2000, 'y' x 2000);
    return (
        '/page', '=200 /page', '=403 /page', '=503 /page', '=204 /page', '=302 /page', '= /page',
        '@named', '=200 @named', '=404 @named', '= @named',
        '/page?x=1', '=200 /page?x=1&y=2', '= /page?x=1', '/page?$args', '/page?from=$uri&args=$args', '/page?',
        '/page/$remote_addr', '/page/$host?u=$request_uri&a=$m_addr', '/page/$status',
        '/$target', '=200 /$target', '= /$target', '$target_uri', '=200 $target_uri', '= $target_uri',
        '$target_args', '=200 $target_args', '@$target', '=200 @$target', '$target_named', '$target_url',
        '=301 $target_url',
        '$empty', '=200 $empty', '= $empty', '/page$empty', '/page?$empty', '@$empty',
        '/page/$1', '/page/$1/$2?c=$2', '/page/$cap',
        'http://elsewhere.test/page', '=301 http://elsewhere.test/', '=302 http://elsewhere.test/',
        '=303 http://elsewhere.test/', '=307 http://elsewhere.test/', '=308 http://elsewhere.test/',
        '=200 http://elsewhere.test/', '=404 http://elsewhere.test/', '= http://elsewhere.test/',
        'https://$host$request_uri', '=301 https://$host$uri?$args', '$scheme://$host/$remote_addr',
        'page', '=301 page?x=1', '$empty/page',
        "/page?long=$x", "/page/$y", "=200 /page/\$target?$x", '$long_uri', '=200 $long_uri', '$long_args',
        "http://elsewhere.test/$x",
        '/missing', '=200 /missing', '/err.html', '=200 /err.html', '/dir/', '/dir', '/echo.html', '/include.html',
        '/internal', '/proxied', '=200 /proxied/status/404', '= /proxied/status/503', '= /proxied', '/proxied/accel',
        '/dead', '= /dead', '/fails', '/fails-too', '= /fails-too', '/loop', '/denied', '/rewritten', '/cycle',
        '/tried', '/moved', '= /moved', '/lua-page', '= /lua-page', '/auth-401', '= /auth-500',
        '@dead', '@fails', '@nowhere', '@rewritten', '@proxied', '= @proxied',
        '"/page with a space"', '/page%20x?y=%20', '/a/../page', '//page', '"/page#f"', '/page?x#f',
        '/page?x=$arg_x&c=$cookie_x', '/page?$http_x_forwarded_for',
    );
}

# Where errors come from: a location of this server, and what else has to be asked.
# Each with what has to be sent, if that is not a plain GET.
sub sources ($codes_and_target) {
    my $page = "error_page $codes_and_target;";
    return (
        [ "$page return 404;" ],
        [ "$page return 503 'a text';" ],
        [ "$page deny all;" ],
        [ "$page auth_basic closed; auth_basic_user_file users;" ],
        (map { [ "$page auth_request /auth-$_;" ] } 401, 403, 500),
        [ "$page proxy_pass http://127.0.0.1:$PORT{dead};" ],
        [ "$page proxy_pass http://127.0.0.1:$PORT{dead};",
            method => 'POST', body => 'a body', headers => [ 'Content-Type' => 'text/x' ] ],
        [ "$page proxy_pass http://127.0.0.1:$PORT{upstream}/cut?x;" ],
        (map { [ "$page proxy_intercept_errors on; proxy_pass http://127.0.0.1:$PORT{upstream}/status/$_;" ] }
            302, 401, 404, 503),
        [ "$page proxy_pass http://127.0.0.1:$PORT{upstream}/status/404;" ],
        [ "$page proxy_next_upstream error http_503; proxy_pass http://retried/status/503; proxy_intercept_errors on;" ],
        [ "$page root html;" ],
        [ "$page alias html/a.txt;", method => 'POST', body => 'x=1' ],
        [ "$page alias html/a.txt;", headers => [ 'If-Match' => '"other"' ] ],
        [ "$page alias html/a.txt;", headers => [ 'If-Unmodified-Since' => 'Mon, 01 Jan 2001 00:00:00 GMT' ] ],
        [ "$page alias html/a.txt;", headers => [ Range => 'bytes=99999-' ] ],
        [ "$page client_max_body_size 10; proxy_pass http://127.0.0.1:$PORT{upstream};",
            method => 'POST', body => 'b' x 200 ],
        [ "$page client_max_body_size 10; proxy_pass http://127.0.0.1:$PORT{upstream};",
            method => 'POST', body => 'b' x 200, chunked => 1 ],
        [ "$page rewrite ^ /cycle;" ],
        [ "$page limit_except GET { deny all; } return 200 'got';", method => 'PUT', body => 'x' ],
        [ "$page limit_except POST { auth_basic closed; auth_basic_user_file users; } root html;" ],
        [ "$page root html; try_files /nothing =404;" ],
        [ "$page internal;" ],
        [ "$page if (\$request_method = GET) { error_page 404 =200 /page?if; return 404; }" ],
        [ "$page if (\$request_method = GET) { return 403; }" ],
        [ "$page if (\$request_method = GET) { set \$v in-if; } root html;" ],
        [ "$page autoindex off; alias html/;" ],
        [ lua("$page rewrite_by_lua_block { ngx.exit(503) }\n") ],
        [ lua("$page access_by_lua_block { ngx.exit(ngx.HTTP_FORBIDDEN) }\n") ],
        [ lua("$page content_by_lua_block { ngx.exit(404) }\n") ],
        [ lua("$page content_by_lua_block { ngx.status = 404 ngx.exit(404) }\n") ],
        [ lua("$page content_by_lua_block { error('on purpose') }\n") ],
        [ lua("$page content_by_lua_block { ngx.say('said') ngx.exit(500) }\n") ],
        [ lua("$page root html; header_filter_by_lua_block { if ngx.status == 200 then ngx.exit(502) end }\n") ],
        [ lua("$page rewrite_by_lua_block { ngx.exec('/denied') }\n") ],
        [ lua("$page access_by_lua_block { ngx.sleep(0) ngx.exit(404) }\n") ],
    );
}

my $CODES = '400 401 403 404 405 412 413 416 500 502 503 504';

sub _quoted ($target) { return $target }

# Every form, at every place, and every source of an error.
sub error_pages ($class, $seed) {
    my $dice    = Dice->new($seed);
    my @targets = targets();
    my @codes   = grep { $_ != 444 && !($_ >= 494 && $_ <= 499) } 430 .. 599;
    die "more targets than codes\n" if @targets > @codes;
    my $with_codes = sub ($line) { join "\n    ", map { sprintf $line, $codes[$_], $targets[$_] } 0 .. $#targets };

    my %server;    # name: [ text, requests ]
    my $add = sub ($server, $uri, $text, %request) {
        push @{ $server{$server}[0] }, $text;
        push @{ $server{$server}[1] }, { host => $server, uri => $uri, %request };
    };
    for my $i (0 .. $#targets) {
        my ($code, $target) = ($codes[$i], $targets[$i]);
        for my $server (qw(http.test server.test)) {
            $add->($server, "/code/$code?go=1", "location = /code/$code { return $code; }");
        }
        my $regex = 'location ~ "^/%s/(?<n>\w+)/(\w*)$" { %s }';
        $add->('location.test', "/l$i/one/two?x=1", sprintf $regex, "l$i", "error_page 404 $target; return 404;");
        $add->('location.test', "/f$i", "location /f$i { error_page 404 403 500 $target; root html; }");
        $add->('if.test', "/i$i/one/two", sprintf $regex, "i$i",
            "error_page 404 /fails; if (\$uri) { error_page 404 $target; return 404; }");
        $add->('if.test', "/j$i?go=yes",
            "location /j$i { if (\$arg_go) { error_page 404 $target; } root html; }");
    }
    # For every source the targets in turn, so that each meets each, over the seeds.
    my $turn = $dice->below(scalar @targets);
    for my $recursive (qw(on off)) {
        my $server = "recursive-$recursive.test";
        my $n = 0;
        for my $round (1 .. 4) {
            for my $source (sources("$CODES TARGET")) {
                my ($text, @request) = @$source;
                my $target = $targets[ $turn++ % @targets ];
                my $name = '/s' . $n++;
                $text = "        $text" if $text !~ /^#LUA/;
                $text =~ s/TARGET/$target/g;
                $add->($server, "$name?x=$n", "location $name {\n$text\n        }", @request);
            }
        }
    }

    my $servers = '';
    for my $name (sort keys %server) {
        my $own = $name eq 'server.test' ? $with_codes->('    error_page %d %s;') : '';
        $own .= 'recursive_error_pages on;' if $name eq 'recursive-on.test';
        my $locations = join "\n        ", @{ $server{$name}[0] };
        $servers .= <<"END";
    server {
@{[ _listens($dice) ]}
        server_name $name;
        access_log logs/access.log seen;
        $own
@{[ _pages($dice) ]}
        $locations
    }
END
    }
    # 414 and what else comes before a location is found.
    my $early = $dice->pick(qw(/page @named /proxied =200 /page?x=$args /lua-page http://elsewhere.test/$remote_addr));
    my $http = <<"END";
@{[ _maps() ]}
@{[ _log_format(@VARIABLES, @OWN) ]}
    large_client_header_buffers 4 1k;
    real_ip_header X-Real-IP;
    set_real_ip_from 127.0.0.1;
    @{[ $with_codes->('error_page %d %s;') ]}
    server {
@{[ _listens($dice, ' default_server') ]}
        server_name a.test;
        access_log logs/access.log seen;
        set \$v '';
        set \$w '';
        error_page 400 414 494 497 405 $early;
@{[ _pages($dice) ]}
        location / { root html; }
    }
$servers
@{[ _upstream('access_log logs/access.log seen;') ]}
END

    my @exchanges = (_bad_requests($dice));
    for my $name (sort keys %server) {
        my @requests = @{ $server{$name}[1] };
        for my $request (@requests) {
            push @{ $request->{headers} }, 'X-Real-IP' => $dice->pick(qw(10.1.2.3 192.0.2.1 2001:db8::1)) if $dice->one_in(3);
            $request->{method} //= $dice->pick(qw(GET GET GET GET HEAD POST DELETE));
        }
        while (my @some = splice @requests, 0, 12) {
            push @exchanges, _on_any_port($dice, @some);
        }
    }
    return { name => 'every form of error_page', http => $http, exchanges => \@exchanges, ctx => 0 };
}

# ---- Exchanges. ----------------------------------------------------------------------

# What is no request at all, or too much of one.
sub _bad_requests ($dice) {
    my $long  = 'l' x 1500;
    my @plain = (
        "GET /$long HTTP/1.1\r\nHost: a.test\r\n\r\n",
        "GET /page HTTP/1.1\r\nHost: a.test\r\nX-Long: $long\r\n\r\n",
        "GET /page HTTP/1.1\r\n\r\n",
        "GET /page HTTP/1.1\r\nHost: a b\r\n\r\n",
        "GET /page HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\n\r\n",
        "GET /page HTTP/1.1\r\nHost: a.test\r\nContent-Length: x\r\n\r\n",
        "GET /../x HTTP/1.1\r\nHost: a.test\r\n\r\n",
        "GET /%zz HTTP/1.1\r\nHost: a.test\r\n\r\n",
        "GET /page HTTP/3.7\r\nHost: a.test\r\n\r\n",
        "NO GOOD\r\n\r\n",
        "get /page HTTP/1.1\r\nHost: a.test\r\n\r\n",
        "GET /page\r\n",
        "\x16\x03\x01\x00\r\n\r\n",
        "TRACE /page HTTP/1.1\r\nHost: a.test\r\n\r\n",
        "GET http://b.test/page?x=1 HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n",
        "POST /page HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: odd\r\nConnection: close\r\n\r\n",
        "PUT /page HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\nzz\r\n",
    );
    my @exchanges = map { Exchange->new(port => $PORT{plain}, requests => [ { raw => $_ } ]) } @plain;
    push @exchanges,
        # HTTP on the port for HTTPS, and no PROXY protocol where it has to be
        Exchange->new(port => $PORT{tls},    requests => [ { uri => '/page' } ]),
        Exchange->new(port => $PORT{tls_h2}, requests => [ { uri => '/page' } ]),
        Exchange->new(port => $PORT{proxy_protocol}, requests => [ { uri => '/page' } ]),
        Exchange->new(port => $PORT{tls}, tls => 1, requests => [ { raw => $dice->pick(@plain) } ]),
        Exchange->new(port => $PORT{h2}, h2 => 1, requests => [ { uri => "/$long" }, { uri => '/page' } ]);
    return @exchanges;
}

sub _proxy_header ($dice) {
    my $client = $dice->pick(qw(10.9.8.7 127.0.0.1 198.51.100.4));
    return $dice->pick(
        "PROXY TCP4 $client 192.0.2.9 1234 80\r\n",
        "PROXY TCP4 $client 192.0.2.9 1234 80\r\n",
        "PROXY TCP6 2001:db8::7 2001:db8::8 1234 80\r\n",
        "PROXY UNKNOWN\r\n",
        # version 2, TCP over IPv4
        "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" . pack('C8 n2', 10, 9, 8, 7, 192, 0, 2, 9, 1234, 80),
    );
}

# Some requests on one connection, of a kind that the dice choose.
sub _on_any_port ($dice, @requests) {
    my $kind = $dice->pick(qw(plain plain plain plain old at_once proxy_protocol proxy_protocol tls tls_h2 h2));
    # curl knows better than some of what is asked of it
    $kind = 'plain' if $kind =~ /h2/ && grep { $_->{chunked} || exists $_->{host} && !defined $_->{host} } @requests;

    my @of = (requests => \@requests, port => $PORT{ $kind =~ /^(?:old|at_once)$/ ? 'plain' : $kind });
    if ($kind eq 'old') {
        $_ = { %$_, version => '1.0', chunked => 0 } for @requests;
    }
    return Exchange->new(@of, $kind =~ /^tls/ ? (tls => 1) : (), $kind =~ /h2/ ? (h2 => 1) : (),
        $kind eq 'at_once' ? (at_once => 1) : (),
        $kind eq 'proxy_protocol' ? (lead => _proxy_header($dice)) : ());
}

# ---- Random sites. -------------------------------------------------------------------

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
        q(ngx.req.set_header("X-Forwarded-For", {"10.7.7.7", "10.7.7.8"})),
        q(ngx.req.set_uri_args({ x = "lua" })),
        q(ngx.req.set_uri_args("x=1&y")),
        q(if ngx.var.arg_go then ngx.req.set_method(ngx.HTTP_POST) end),
        qq(ngx.var.v = $read),
        q(ngx.req.read_body()),
        q(ngx.req.read_body() ngx.var.w = tostring(ngx.req.get_body_data())),
        q(ngx.sleep(0)),
        q(ngx.sleep(0.001)),
        q(ngx.ctx.mine = ngx.var.uri ngx.var.v = ngx.ctx.mine),
        q(ngx.ctx = { mine = ngx.var.host }),
        q(if ngx.var.arg_go == "exit" then ngx.exit(503) end),
        q(if ngx.var.arg_go == "exec" then return ngx.exec("/page", "from=lua") end),
        q(if ngx.var.arg_go == "named" then return ngx.exec("@named") end),
        q(if ngx.var.arg_go == "redirect" then return ngx.redirect("/page?" .. tostring(ngx.var.args)) end),
        q(if ngx.var.arg_go == "raise" then error("on purpose") end),
        qq(local res = ngx.location.capture("/sub?x=capture", { vars = { v = "captured" } })
            ngx.req.set_header("X-Lua", res.status .. res.body:gsub("\\n", " "))),
        q(local res = ngx.location.capture("/proxied/status/404", { share_all_vars = true }) ngx.var.w = res.body:sub(1, -2)),
        q(local a, b = ngx.location.capture_multi({ { "/missing" }, { "/lua-page", { args = { n = 1 } } } })
            ngx.var.w = a.status .. b.body:sub(1, -2)),
        q(local res = ngx.location.capture("/include.html", { copy_all_vars = true, method = ngx.HTTP_POST, body = "b" }) ngx.var.w = res.status),
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
        . "        body_filter_by_lua_block { if ngx.arg[2] then ngx.arg[1] = (ngx.arg[1] or '') .. $read end }\n"
        if $phase eq 'body_filter';
    return "        log_by_lua_block { ngx.log(ngx.WARN, $read$last) }\n";
}

sub _some_error_pages ($dice) {
    return join '', map { "        error_page $_;\n" } map {
        join(' ', $dice->pick($CODES, '404', '502 503 504', '401 403', '500', '400 412 413 416', '302')) . ' '
            . $dice->pick(targets())
    } $dice->some(3, 1 .. 3);
}

sub _real_ip ($dice) {
    my $from = join "\n        ", map { "set_real_ip_from $_;" } '127.0.0.1', $dice->some(2, qw(10.0.0.0/8 198.51.100.0/24));
    my $recursive = $dice->pick(qw(on off));
    my $header = $dice->pick(qw(X-Real-IP X-Real-IP X-Forwarded-For X-Forwarded-For proxy_protocol X-A));
    return "        $from\n        real_ip_header $header;\n        real_ip_recursive $recursive;\n";
}

# What may stand in nearly any location, beside what is there.
sub _ingredients ($dice, $site, $beside = '') {
    my $shown = show($dice->some(5, @{ $site->{names} }));
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
        (sub { lua(_lua_phase($dice, $site->{ctx})) }) x 10,
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

# Those of a block that it can have once only.
sub _directives ($text) {
    return grep { !/^(?:error_page|set_real_ip_from|set|if|add_header|allow|deny|proxy_set_header|rewrite|return|location)$/ }
        $text =~ /(?:^ {8}|; )([a-z_]+)(?= )/mg;
}

# Locations: what serves them, and URIs below them that are of interest.
sub _contents ($dice, $site) {
    my $shown = show($dice->some(8, @{ $site->{names} }));
    my $up    = "http://127.0.0.1:$PORT{upstream}";
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
        [ "$set\n        proxy_pass http://127.0.0.1:$PORT{dead};", '' ],
        [ "        set \$to $PORT{upstream};\n$set\n        proxy_pass http://127.0.0.1:\$to/\$v\$is_args\$args;", '' ],
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

sub random ($class, $seed) {
    my $dice = Dice->new($seed);
    my $site = { name => "random site of seed $seed" };
    # `bare`: nothing that makes nginx index a variable, where it can be helped.
    my $style = $dice->pick(qw(indexed indexed bare few));
    $site->{ctx} = $dice->one_in(3);
    my @names = $style eq 'few' ? $dice->some(4, @VARIABLES) : (@VARIABLES, @OWN);
    $site->{names} = $style eq 'bare' ? ['http_x_n'] : [ @VARIABLES, @OWN ];

    my $log = $style eq 'bare' ? '' : 'access_log logs/access.log seen;';
    my $foreign = !$dice->one_in(6) ? '' : '    ' . $dice->pick(
        'map $http_x_a $args { default "mapped=1"; }', 'geo $args { default geo=1; }',
        'map $uri $limit_rate { default 0; }', 'map $http_host $args { default ""; }',
        'split_clients "$remote_addr" $args { * split=1; }') . "\n";
    my $prefixed = join '', map { "    map \$uri \$$_ { default \"mapped \$uri\"; ~page \"\"; }\n" }
        $dice->one_in(4) ? $dice->some(2, qw(http_x_b arg_y cookie_y http_via sent_http_x_b)) : ();

    my @uris = qw(/page /page/x /sub /internal /proxied /dead /fails /fails-too /loop /denied /rewritten /cycle
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
    # Of a server only what may stand there.
    for ($at_server, $at_other) {
        s/^ {8}limit_except .*\n//mg;
        s/^ {8}if \(.*(?:add_header|error_page).*\n//mg;
        s/^ {8}content_by_lua_block \{\n.*?^ {8}\}\n//msg;
    }
    my $real_ip = $dice->one_in(2) ? _real_ip($dice) : '';
    my $http_errors = $dice->one_in(3) ? _some_error_pages($dice) : '';
    my $maps = _maps();

    $site->{http} = <<"END";
$maps$foreign$prefixed@{[ $log ? _log_format(@names) : '' ]}    large_client_header_buffers 4 1k;
$real_ip$http_errors
@{[ lua("    lua_thread_cache_max_entries 0;\n") ]}    server {
@{[ _listens($dice, ' default_server') ]}
        server_name a.test;
        $log
        set \$v '';
        set \$w '';
$at_server
@{[ _pages($dice) ]}
$locations
    }
    server {
@{[ _listens($dice) ]}
        server_name b.test ~^(?<sub>\\w+)\\.c\\.test\$;
        $log
$at_other
@{[ _pages($dice) ]}
        location / { root html; }
    }
@{[ _upstream($log) ]}
END

    my @exchanges;
    for (1 .. 24) {
        my @requests = map { _random_request($dice, @uris) } 0 .. $dice->below(4);
        push @exchanges, _on_any_port($dice, @requests);
    }
    my @bad = _bad_requests($dice);
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
        host   => $dice->pick(qw(a.test a.test a.test b.test d.c.test A.TEST a.test. unknown.test), "a.test:$PORT{plain}"),
    );
    if ($request{method} =~ /^P/) {
        $request{body} = $dice->pick('', 'x=1&y=2', 'b' x 150, 'b' x 20_000);
        $request{chunked} = $dice->one_in(4) ? 1 : 0;
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
