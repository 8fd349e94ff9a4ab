package NginxHeaders;

# Evaluates C expressions with the headers of the nginx under test:
#
#     my %of = NginxHeaders::numbers(states => 'offsetof(ngx_http_request_t, upstream_states)');
#
# The headers are those that the module is built against: NGINX_SOURCE_DIR and
# NGINX_BUILD_DIR, as for cargo, else the tree that `make` configured.

use v5.36;

use File::Temp ();

use NgxVarTest::Env ();

sub numbers (%expressions) {
    my $root = NgxVarTest::Env::root();
    local $ENV{NGINX_BIN} = NgxVarTest::Env::nginx();
    chomp(my ($tree, $objs) = map { scalar qx{"$root/build/nginx-tree" $_} } qw(path objs));
    -f "$objs/ngx_auto_config.h" or die "no configured nginx in $objs: run `make`\n";

    my $dir   = File::Temp->newdir(DIR => "$root/target");
    my @names = sort keys %expressions;
    open my $out, '>', "$dir/numbers.c" or die "$dir/numbers.c: $!\n";
    print {$out} "#include <ngx_config.h>\n#include <ngx_core.h>\n#include <ngx_http.h>\n",
        "#include <stdio.h>\nint main(void) {\n",
        (map { qq(printf("$_ %zu\\n", (size_t) ($expressions{$_}));\n) } @names), "return 0; }\n";
    close $out or die "$dir/numbers.c: $!\n";

    my @include = map { "-I$_" } $objs, grep { -d } "$tree/src/core", "$tree/src/event",
        "$tree/src/event/modules", "$tree/src/event/quic", "$tree/src/os/unix", "$tree/src/http",
        "$tree/src/http/modules", "$tree/src/http/v2", "$tree/src/http/v3";
    system(split(' ', $ENV{CC} // 'cc'), '-w', @include, '-o', "$dir/numbers", "$dir/numbers.c") == 0
        or die "the headers in $tree do not compile\n";
    my %number = map { split } qx{"$dir/numbers"};
    keys %number == @names or die "no numbers from the headers in $tree\n";
    return %number;
}

1;
