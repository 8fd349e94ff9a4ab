package Site;

# The common parts of the configurations of `make nothing`. Each package in Site/ makes one,
# with the requests to it, as { name, http, exchanges, ctx }.
#
# In `http`, lines between #LUA and #END need the Lua module. `ctx` is true when Lua reads
# ngx.ctx after an error page, which the module restores unless it is off.

use v5.36;

use Exchange ();
use NginxServer ();

# Ports by name. Nothing listens on `dead`.
our %PORT = map { state $n = 0; $_ => NginxServer->port($n++) }
    qw(plain proxy_protocol tls_h2 h2 upstream tls);
$PORT{dead} = NginxServer->port(9);

# Variables whose values are the same for the same request.
our @VARIABLES = qw(
    remote_addr realip_remote_addr binary_remote_addr host http_host server_name server_addr
    server_port scheme https uri document_uri args query_string is_args request_uri request
    request_method request_filename document_root server_protocol status bytes_sent
    body_bytes_sent request_length request_completion connection_requests content_type
    content_length remote_user nginx_version hostname limit_rate request_body
    http_user_agent http_referer http_cookie http_x_forwarded_for http_x_real_ip http_x_a http_via http_x_vague
    arg_x arg_go cookie_x cookie_y proxy_add_x_forwarded_for proxy_host proxy_port
    proxy_protocol_addr proxy_protocol_server_addr sent_http_content_type sent_http_connection
    sent_http_location sent_http_content_length sent_http_last_modified sent_http_etag
    sent_http_transfer_encoding sent_http_x_show upstream_status upstream_addr
    upstream_response_length upstream_http_x_up upstream_http_content_type http2
);

# Variables that the configuration defines.
our @OWN = qw(m_addr m_args m_host m_uri m_method m_status m_all m_volatile m_xff g_addr g_arg split v w);

sub lua ($text) { return "#LUA\n$text#END\n" }

# The configuration for an nginx with or without the Lua module.
sub text ($site, $has_lua) {
    return $has_lua ? $site->{http} =~ s/^#(?:LUA|END)\n//mgr
        : $site->{http} =~ s/^#LUA\n.*?^#END\n//msgr;
}

sub show (@names) { return join ' ', map { "$_=\$$_" } @names }

# ---- Common to all sites -------------------------------------------------------------

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
sub maps {
    my $long = 'z' x 2000;
    return <<"END";
    variables_hash_max_size 4096;
    map_hash_bucket_size 256;
    server_names_hash_bucket_size 64;    # the default on x86-64
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
@{[ lua(<<"LUA") ]}    }
        balancer_by_lua_block {
            local balancer = require "ngx.balancer"
            local _ = ngx.var.remote_addr
            assert(balancer.set_current_peer("127.0.0.1", tonumber(ngx.var.arg_port) or $PORT{upstream}))
        }
LUA
    upstream retried {
        server 127.0.0.1:$PORT{dead} max_fails=0;
        server 127.0.0.1:$PORT{upstream} backup;
    }
END
}

# The upstream servers of every proxy_pass.
sub upstream ($log) {
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

# Targets of error pages and other internal redirects.
sub pages {
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
        location = /loop-to-500 { recursive_error_pages on; error_page 404 /loop-to-500; return 404; }
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

sub listens ($default = '') {
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

sub log_format (@names) {
    return qq(    log_format seen '\$http_x_n|@{[ show(@names) ]}';\n);
}

# ---- Exchanges. ----------------------------------------------------------------------

# Bytes that are no valid request, or too large a one.
sub bad_requests ($dice) {
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

sub proxy_header ($dice) {
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

# Some requests on one connection, chosen by the dice.
sub on_any_port ($dice, @requests) {
    my $kind = $dice->pick(qw(plain plain plain plain old at_once proxy_protocol proxy_protocol tls tls_h2 h2));
    # curl refuses or corrects some requests
    $kind = 'plain' if $kind =~ /h2/ && grep { $_->{chunked} || exists $_->{host} && !defined $_->{host} } @requests;

    my @of = (requests => \@requests, port => $PORT{ $kind =~ /^(?:old|at_once)$/ ? 'plain' : $kind });
    if ($kind eq 'old') {
        $_ = { %$_, version => '1.0', chunked => 0 } for @requests;
    }
    return Exchange->new(@of, $kind =~ /^tls/ ? (tls => 1) : (), $kind =~ /h2/ ? (h2 => 1) : (),
        $kind eq 'at_once' ? (at_once => 1) : (),
        $kind eq 'proxy_protocol' ? (lead => proxy_header($dice)) : ());
}

1;
