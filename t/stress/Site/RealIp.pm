package Site::RealIp;

# A small site about the client's address: realip by each header and by PROXY protocol, at
# each level, and what depends on the address and the host, with the variables indexed or not.

use v5.36;

use Dice ();
use Exchange ();
use Site ();

my %PORT = %Site::PORT;

# Marks of Lua start at the beginning of a line.
sub _location ($name, $text) {
    return "        location /$name {\n" . ($text =~ s/^(?=[^#\s])/            /mgr) . "\n        }\n";
}

# Locations that depend on the address.
sub _witnesses {
    my $shown = Site::show(qw(remote_addr realip_remote_addr host server_name https server_port
        uri args request_method m_addr m_host m_all g_addr split proxy_add_x_forwarded_for));
    return {
        shown   => qq(return 200 "$shown\\n";),
        header  => qq(add_header X-Show "$shown" always; root html; try_files /a.txt =404;),
        allow   => 'allow 10.0.0.0/8; deny all; root html; try_files /a.txt =404;',
        deny    => 'deny 127.0.0.1; root html; try_files /a.txt =404; error_page 403 /page;',
        mapped  => 'if ($m_addr = local) { return 403; } return 200 "not local $host\n";',
        set     => 'set $v "$remote_addr $m_addr"; rewrite ^ /page?v=$v last;',
        proxied => 'proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header Host $host;'
            . " proxy_set_header X-Real-IP \$remote_addr; proxy_pass http://127.0.0.1:$PORT{upstream};",
        balanced => 'proxy_pass http://balanced;',
        dead    => "proxy_pass http://127.0.0.1:$PORT{dead}; error_page 502 =200 /page?by=\$remote_addr;",
        page    => 'error_page 404 @named; return 404;',
        auth    => 'auth_request /auth-address; root html; try_files /a.txt =404;',
        ssi     => 'ssi on; root html; try_files /include.html =404;',
        rewritten => Site::lua('            rewrite_by_lua_block { ngx.req.set_header("Host", "lua.test") }' . "\n")
            . qq(            return 200 "$shown\\n";),
        said    => Site::lua("            content_by_lua_block { ngx.say(ngx.var.remote_addr, ' ', ngx.var.m_addr, ' ', ngx.var.host) }\n"),
    };
}

# With $is_indexed, maps and an access log index the variables; without, they are read by name
# only.
sub make ($class, $seed, $is_indexed) {
    my $dice = Dice->new($seed);
    my $from = 'set_real_ip_from 127.0.0.1;';
    my %real_ip = (
        'plain.test'    => '',
        'real.test'     => "$from real_ip_header X-Real-IP;",
        'forwarded.test' => "$from set_real_ip_from 10.0.0.0/8; real_ip_header X-Forwarded-For; real_ip_recursive on;",
        'proxy.test'    => "$from real_ip_header proxy_protocol;",
        'location.test' => '',
    );
    my %witness = %{ _witnesses() };
    my @names   = $is_indexed ? sort keys %witness : qw(said ssi page);
    my $log     = $is_indexed ? 'access_log logs/access.log seen;' : '';
    my $servers = '';
    for my $name (sort keys %real_ip) {
        my $local     = $name eq 'location.test' ? "$real_ip{'real.test'}\n" : '';
        my $locations = join '', map { _location($_, $local . $witness{$_}) } @names;
        my $default   = $name eq 'plain.test' ? ' default_server' : '';
        my $pages     = $is_indexed ? Site::pages() : <<~'END';
                    location = /sub { return 200 "sub"; }
                    location = /page { ssi on; root html; try_files /echo.html =404; }
                    location @named { ssi on; root html; try_files /echo.html =404; }
            END
        $servers .= <<"END";
    server {
@{[ Site::listens($default) ]}
        server_name $name;
        $log
        $real_ip{$name}
        set \$v '';
        set \$w '';
$pages
$locations
    }
END
    }
    my $own = $is_indexed ? Site::maps() . Site::log_format(@Site::VARIABLES, @Site::OWN) . Site::upstream($log) : '';

    my @exchanges;
    for my $server ($is_indexed ? sort keys %real_ip : qw(real.test proxy.test location.test)) {
        for my $name (@names) {
            my %request = (
                uri     => "/$name?x=1",
                host    => $server,
                headers => [ 'X-Real-IP' => '10.1.2.3', 'X-Forwarded-For' => '192.0.2.1, 10.3.3.3' ],
            );
            if ($server eq 'proxy.test') {
                push @exchanges, Exchange->new(port => $PORT{proxy_protocol}, requests => [ \%request ],
                    lead => "PROXY TCP4 10.9.8.7 192.0.2.9 1234 80\r\n");
            }
            else {
                push @exchanges, Exchange->new(port => $PORT{plain}, requests => [ \%request, { %request } ]);
            }
        }
    }
    return {
        name      => 'realip, variables ' . ($is_indexed ? 'indexed' : 'by name'),
        http      => "$own$servers",
        exchanges => [ $dice->shuffle(@exchanges) ],
        ctx       => 0,
    };
}

1;
