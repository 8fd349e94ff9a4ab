package NgxVarTest::Nginx;

# Properties of the nginx under test, on which the tests' expectations depend.
#
# A module is linked in when the executable exports it; else it has to be loaded from a file.

use v5.36;

use NgxVarTest::Env ();

my (%said, %symbols, %can_yield);

# "nginx" or "openresty", as nginx says it in its Server header.
sub vendor ($class = undef)  { return (_version())[0] }

# (1, 22, 1)
sub version ($class = undef) { return split /[.]/, (_version())[1] }

# Whether it is this version or a newer one: "1.25.1".
sub is_at_least ($class, $wanted) {
    my @wanted = split /[.]/, $wanted;
    my @ours   = $class->version;
    for my $n (0 .. $#wanted) {
        return $ours[$n] > $wanted[$n] if $ours[$n] != $wanted[$n];
    }
    return 1;
}

# What ./configure was called with.
sub arguments ($class = undef) { return _said('-V') =~ /^configure arguments: (.*)/m ? $1 : '' }

sub is_linked ($class, $module) {
    my $nginx = NgxVarTest::Env::nginx();
    $symbols{$nginx} //= { map { /^\S+ [BD] (\w+_module)$/ ? ($1 => 1) : () } qx{nm -D --defined-only '$nginx'} };
    return $symbols{$nginx}{$module} // 0;
}

# Whether nginx is for another processor than this program, so that qemu-user runs it.
sub is_emulated ($class = undef) {
    state $ours = _processor('/proc/self/exe');
    state $its  = _processor(NgxVarTest::Env::nginx()) // $ours;
    return $its ne $ours;
}

# e_machine of an ELF file; undef if it cannot be read.
sub _processor ($file) {
    open my $in, '<:raw', $file or return;
    read $in, my $head, 20;
    return substr $head, 18, 2;
}

# The directory of this nginx's dynamic modules.
sub modules_path ($class = undef) {
    return $1 if $class->arguments =~ /--modules-path=(\S+)/;
    return ($class->arguments =~ /--prefix=(\S+)/ ? $1 : '/usr/local/nginx') . '/modules';
}

# The file of a module that is not linked in.
sub file ($class, $module) { return $class->modules_path . "/$module.so" }

# Whether nginx has the module linked in or can load it.
sub has ($class, $module) { return $class->is_linked($module) || -e $class->file($module) }

# The files to load for these modules: none for those that are linked in.
sub to_load ($class, @modules) {
    return map { $class->file($_) } grep { !$class->is_linked($_) } @modules;
}

# Why HTTP/3 cannot be tested, because nginx or the client lacks it; undef if it can.
sub lacks_http3 ($class = undef) {
    return 'this nginx is built without HTTP/3' if $class->arguments !~ /--with-http_v3_module/;
    return 'qemu-user has no SO_COOKIE' if $class->is_emulated;
    # nginx's worker, which starts the client, has an empty environment
    return 'python3-aioquic is not installed' if system('env -i python3 -c "import aioquic" 2> /dev/null') != 0;
    return undef;
}

# Whether Lua in the TLS handshake may yield, as in ngx.sleep: needs a patch that OpenResty
# and Debian have.  The binary does not say so, so a handshake is tried, without this module.
sub can_yield_in_handshake ($class = undef) {
    my $nginx = NgxVarTest::Env::nginx();
    return $can_yield{$nginx} //= do {
        require NginxServer;
        my $dir    = $ENV{TEST_NGINX_CERT_DIR};
        my $port   = NginxServer->port(9);
        my $server = NginxServer->new(modules => [ NgxVarTest::Env::lua_modules() ], http => <<"END");
            server {
                listen 127.0.0.1:$port ssl;
                ssl_certificate     $dir/test.crt;
                ssl_certificate_key $dir/test.key;
                ssl_certificate_by_lua_block { ngx.sleep(0.001) }
                return 204;
            }
END
        $server->start;
        my $status = eval { $server->get('/', port => $port, tls => 1)->{status} } // 0;
        $server->kill_all;
        $status == 204 ? 1 : 0;
    };
}

# Whether a single process (master_process off) reloads its configuration on HUP; OpenResty's
# exits.
sub reloads_alone ($class) { return $class->vendor ne 'openresty' }

# The configuration with HTTP/2 in the syntax of this nginx.
sub http2 ($class, $text) {
    return $text if !$class->is_at_least('1.25.1');
    return $text =~ s/^(\s*listen [^;\n]*?) http2;/$1; http2 on;/mgr;
}

sub _version { return _said('-v') =~ m{^nginx version: ([\w-]+)/([\d.]+)} ? ($1, $2) : ('nginx', '0') }

sub _said ($option) {
    my $nginx = NgxVarTest::Env::nginx();
    return $said{"$nginx $option"} //= qx{'$nginx' $option 2>&1};
}

1;
