package Site::ErrorPages;

# A site with every form of error_page: each target at each place for the directive, and
# each source of an error with some of the targets.

use v5.36;

use Dice ();
use Exchange ();
use Site ();

our $CODES = '400 401 403 404 405 412 413 416 500 502 503 504';

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
        '/dead', '= /dead', '/fails', '/fails-too', '= /fails-too', '/loop', '/loop-to-500', '/denied', '/rewritten', '/cycle',
        '/tried', '/moved', '= /moved', '/lua-page', '= /lua-page', '/auth-401', '= /auth-500',
        '@dead', '@fails', '@nowhere', '@rewritten', '@proxied', '= @proxied',
        '"/page with a space"', '/page%20x?y=%20', '/a/../page', '//page', '"/page#f"', '/page?x#f',
        '/page?x=$arg_x&c=$cookie_x', '/page?$http_x_forwarded_for',
    );
}

# Whether $args is empty or unset after this target depends on nginx's stack, because
# ngx_http_split_args sets only the length where there is no "?".
sub is_vague ($target) {
    return $target =~ /^(?:=\d* )?"?[^\@]*\$/ && $target !~ /\?|:/;
}

# Sources of errors: a location, and the requests to it if not a plain GET.
sub sources ($codes_and_target) {
    my $page = "error_page $codes_and_target;";
    return (
        [ "$page return 404;" ],
        [ "$page return 503 'a text';" ],
        [ "$page deny all;" ],
        [ "$page auth_basic closed; auth_basic_user_file users;" ],
        (map { [ "$page auth_request /auth-$_;" ] } 401, 403, 500),
        [ "$page proxy_pass http://127.0.0.1:$Site::PORT{dead};" ],
        [ "$page proxy_pass http://127.0.0.1:$Site::PORT{dead};",
            method => 'POST', body => 'a body', headers => [ 'Content-Type' => 'text/x' ] ],
        [ "$page proxy_pass http://127.0.0.1:$Site::PORT{upstream}/cut?x;" ],
        (map { [ "$page proxy_intercept_errors on; proxy_pass http://127.0.0.1:$Site::PORT{upstream}/status/$_;" ] }
            302, 401, 404, 503),
        [ "$page proxy_pass http://127.0.0.1:$Site::PORT{upstream}/status/404;" ],
        [ "$page proxy_next_upstream error http_503; proxy_pass http://retried/status/503; proxy_intercept_errors on;" ],
        [ "$page root html;" ],
        [ "$page alias html/a.txt;", method => 'POST', body => 'x=1' ],
        [ "$page alias html/a.txt;", headers => [ 'If-Match' => '"other"' ] ],
        [ "$page alias html/a.txt;", headers => [ 'If-Unmodified-Since' => 'Mon, 01 Jan 2001 00:00:00 GMT' ] ],
        [ "$page alias html/a.txt;", headers => [ Range => 'bytes=99999-' ] ],
        [ "$page client_max_body_size 10; proxy_pass http://127.0.0.1:$Site::PORT{upstream};",
            method => 'POST', body => 'b' x 200 ],
        [ "$page client_max_body_size 10; proxy_pass http://127.0.0.1:$Site::PORT{upstream};",
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
        [ Site::lua("$page rewrite_by_lua_block { ngx.exit(503) }\n") ],
        [ Site::lua("$page access_by_lua_block { ngx.exit(ngx.HTTP_FORBIDDEN) }\n") ],
        [ Site::lua("$page content_by_lua_block { ngx.exit(404) }\n") ],
        [ Site::lua("$page content_by_lua_block { ngx.status = 404 ngx.exit(404) }\n") ],
        [ Site::lua("$page content_by_lua_block { error('on purpose') }\n") ],
        [ Site::lua("$page content_by_lua_block { ngx.say('said') ngx.exit(500) }\n") ],
        [ Site::lua("$page root html; header_filter_by_lua_block { if ngx.status == 200 then ngx.exit(502) end }\n") ],
        [ Site::lua("$page rewrite_by_lua_block { ngx.exec('/denied') }\n") ],
        [ Site::lua("$page access_by_lua_block { ngx.sleep(0.001) ngx.exit(404) }\n") ],
    );
}

# Every form, at every place, and every source of an error.
sub make ($class, $seed) {
    my $dice    = Dice->new($seed);
    my @targets = targets();
    my @codes   = grep { $_ != 444 && !($_ >= 494 && $_ <= 499) } 430 .. 599;
    die "more targets than codes\n" if @targets > @codes;
    my $with_codes = sub ($line) { join "\n    ", map { sprintf $line, $codes[$_], $targets[$_] } 0 .. $#targets };

    my %server;    # name: [ text, requests ]
    my $add = sub ($server, $uri, $text, %request) {
        push @{ $server{$server}[0] }, $text;
        push @{ $request{headers} }, 'X-Vague' => 1 if is_vague(delete $request{target});
        push @{ $server{$server}[1] }, { host => $server, uri => $uri, %request };
    };
    for my $i (0 .. $#targets) {
        my ($code, $target) = ($codes[$i], $targets[$i]);
        for my $server (qw(http.test server.test)) {
            $add->($server, "/code/$code?go=1", "location = /code/$code { return $code; }",
                target => $target);
        }
        my $regex = 'location ~ "^/%s/(?<n>\w+)/(\w*)$" { %s }';
        $add->('location.test', "/l$i/one/two?x=1", sprintf($regex, "l$i", "error_page 404 $target; return 404;"),
            target => $target);
        $add->('location.test', "/f$i", "location /f$i { error_page 404 403 500 $target; root html; }",
            target => $target);
        $add->('if.test', "/i$i/one/two", sprintf($regex, "i$i",
            "error_page 404 /fails; if (\$uri) { error_page 404 $target; return 404; }"), target => $target);
        $add->('if.test', "/j$i?go=yes",
            "location /j$i { if (\$arg_go) { error_page 404 $target; } root html; }", target => $target);
    }
    # Each source gets some targets in turn, so that all pairs occur over the seeds.
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
                $add->($server, "$name?x=$n", "location $name {\n$text\n        }", @request,
                    target => $target);
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
@{[ Site::listens() ]}
        server_name $name;
        access_log logs/access.log seen;
        $own
@{[ Site::pages() ]}
        $locations
    }
END
    }
    # 414 and other errors before a location is found.
    my $early = $dice->pick('/page', '@named', '/proxied', '=200 /page?x=$args', '= /page?x=1', '/err.html',
        'http://elsewhere.test/$remote_addr');
    my $http = <<"END";
@{[ Site::maps() ]}
@{[ Site::log_format(@Site::VARIABLES, @Site::OWN) ]}
    large_client_header_buffers 4 1k;
    real_ip_header X-Real-IP;
    set_real_ip_from 127.0.0.1;
    @{[ $with_codes->('error_page %d %s;') ]}
    server {
@{[ Site::listens(' default_server') ]}
        server_name a.test;
        access_log logs/access.log seen;
        set \$v '';
        set \$w '';
        error_page 400 414 494 497 405 $early;
@{[ Site::pages() ]}
        location / { root html; }
    }
$servers
@{[ Site::upstream('access_log logs/access.log seen;') ]}
END

    my @exchanges = (Site::bad_requests($dice));
    # Requests at the address of one whose error page failed.
    for my $uri (qw(/page?x=1 /sub?x=1 /include.html?x=1 /lua-page?x=1)) {
        push @exchanges, map { Exchange->new(port => $Site::PORT{plain}, requests => $_) }
            [ { uri => '/loop-to-500?x=1' }, { uri => $uri }, { uri => '/loop-to-500' } ], [ { uri => $uri } ];
    }
    for my $name (sort keys %server) {
        my @requests = @{ $server{$name}[1] };
        for my $request (@requests) {
            push @{ $request->{headers} }, 'X-Real-IP' => $dice->pick(qw(10.1.2.3 192.0.2.1 2001:db8::1)) if $dice->one_in(3);
            $request->{method} //= $dice->pick(qw(GET GET GET GET HEAD POST DELETE));
        }
        while (my @some = splice @requests, 0, 12) {
            push @exchanges, Site::on_any_port($dice, @some);
        }
    }
    return { name => 'every form of error_page', http => $http, exchanges => \@exchanges, ctx => 0 };
}

1;
