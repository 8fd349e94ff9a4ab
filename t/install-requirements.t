# What building needs, and what is said where it is not there: a cargo that is new enough, and
# packages. `make install` of an nginx that has the module linked in needs no cargo.

use v5.36;
use lib 't/lib';

use Cwd qw(abs_path);
use File::Path qw(make_path remove_tree);
use NgxVarTest::Env ();
use NgxVarTest::File qw(read_file write_file);
use Test::More;

my $ROOT = NgxVarTest::Env::root();
my $WORK = "$ROOT/target/install-requirements-$$";
my $owner = $$;
END { remove_tree($WORK) if $owner == $$ }

my ($needed) = read_file("$ROOT/Cargo.toml") =~ /^rust-version = "(.*)"/m;
my $needs = qr/the module needs Rust \Q$needed\E or later \(/;

delete @ENV{qw(MAKEFLAGS MFLAGS MAKEOVERRIDES MAKELEVEL NGX_CARGO RUSTC)};

# Programs of this name, as shell scripts; returns their directory.
sub programs ($name, %scripts) {
    my $dir = "$WORK/$name";
    make_path($dir);
    for my $program (keys %scripts) {
        write_file("$dir/$program", "#!/bin/sh\n$scripts{$program}\n");
        chmod 0755, "$dir/$program" or die "$dir/$program: $!\n";
    }
    return $dir;
}

# A directory with the system's programs that scripts need, and none of cargo, apt-get and sudo.
sub system_without (@names) {
    my %without = map { $_ => 1 } qw(cargo rustc rustup apt-get sudo), @names;
    my $dir     = "$WORK/system-" . join '-', @names;
    make_path($dir);
    for my $program (map { glob "$_/*" } qw(/usr/sbin /usr/bin)) {
        my ($name) = $program =~ m{([^/]+)\z};
        symlink $program, "$dir/$name" if !$without{$name} && !-e "$dir/$name";
    }
    return $dir;
}

my $SYSTEM = system_without();

# The status of a command with this PATH, and all that it writes.
sub run ($command, @path) {
    local $ENV{PATH} = join ':', @path, $SYSTEM;
    my $output = `exec < /dev/null 2>&1; cd '$ROOT' && $command`;
    return ($? >> 8, $output);
}

sub version ($of, $version) { return "echo '$of $version (0 2020-01-01)'" }

# ---- The version of cargo and rustc ----------------------------------------------------

my $good = programs('good', cargo => version('cargo', "$needed.0"), rustc => version('rustc', '1.999.0'));
my ($status, $output) = run('build/cargo', $good);
is($status, 0, "$needed.0 will do");
is($output, "$good/cargo\n", 'its absolute path');

($status, $output) = run("build/cargo $good/cargo");
is($output, "$good/cargo\n", 'a cargo that is not in PATH, with its rustc');

for my $case (
    [ 'no cargo',     programs('none'), qr/^there is no cargo: $needs/ ],
    [ 'an old cargo', programs('old', cargo => version('cargo', '1.65.0'), rustc => version('rustc', '1.65.0')),
        qr{^cargo 1\.65\.0 \(\S+/old/cargo\) is too old: $needs} ],
    [ 'no rustc',     programs('alone', cargo => version('cargo', '1.999.0')), qr/^there is no rustc: $needs/ ],
    [ 'an old rustc', programs('mixed', cargo => version('cargo', '1.999.0'), rustc => version('rustc', '1.84.1')),
        qr{^rustc 1\.84\.1 \(\S+/mixed/rustc\) is too old: $needs} ],
    [ 'a cargo that fails', programs('fails', cargo => 'echo "error: no default toolchain" >&2; exit 1'),
        qr{^\S+/fails/cargo does not run \(error: no default toolchain\): $needs} ],
) {
    my ($name, $dir, $sentence) = @$case;
    my $apt   = programs('apt', 'apt-get' => "touch $WORK/installed", sudo => "touch $WORK/installed");
    my ($rc, $said) = run('build/cargo', $dir);
    is($rc, 1, "$name: build/cargo fails");
    like($said, $sentence, "$name: one sentence says what is needed");
    is($said =~ tr/\n//, 1, "$name: and nothing else is said");
    ($rc, $said) = run('make --no-print-directory', $dir, $apt);
    is($rc, 2, "$name: make fails");
    like($said, $sentence, "$name: with the same sentence");
    ok(!-e "$WORK/installed", "$name: no package is installed");
}

# ---- Packages --------------------------------------------------------------------------

# A system of which no package is installed, seen by a user.
my $debian = programs('debian',
    'apt-get'    => "echo \"apt-get \$*\" >> $WORK/called",
    'dpkg-query' => 'exit 1',
    sudo         => "echo \"sudo \$*\" >> $WORK/called",
    id           => 'echo 1000',
);
($status, $output) = run('build/packages build', $good, $debian);
is($status, 1, 'packages are missing, and nobody is there to ask');
like($output, qr/^the build needs packages that are not installed: build-essential libclang-dev /, 'they are named');
like($output, qr/^install them, for example with: sudo apt-get install build-essential /m, 'and how to install them');
ok(!-e "$WORK/called", 'sudo is not used');

($status, $output) = run('make --no-print-directory setup', $good, $debian);
is($status, 0, 'make setup is what one says to install them');
like(read_file("$WORK/called"), qr/^sudo apt-get update.*\nsudo apt-get install .* build-essential /, 'which sudo does');

my $elsewhere = programs('elsewhere', cc => 'exit 1');
($status, $output) = run('build/packages build', $good, $elsewhere);
is($status, 1, 'no apt-get, and no headers');
like($output, qr/^    the headers of \Q$_\E$/m, "$_ is missing") for qw(PCRE2 OpenSSL zlib);
like($output, qr/^    Alpine   apk add .*\n    Fedora   dnf install /m, 'packages of other systems are named');
unlike($output, qr/not found/, 'no command is missed');

# ---- nginx's own build -----------------------------------------------------------------

# ./configure, as far as it reads config and config.make.
make_path("$WORK/nginx/objs", "$WORK/nginx/auto");
write_file("$WORK/nginx/auto/module", ":\n");
write_file("$WORK/nginx/objs/ngx_auto_config.h", "\n");
write_file("$WORK/nginx/configure", <<"END");
HTTP=YES NGX_OBJS=objs NGX_MAKEFILE=objs/Makefile NGX_AUTOCONF_ERR=objs/autoconf.err
ngx_addon_dir=$ROOT ngx_module_link=ADDON ngx_n=-n ngx_c=
echo 'default: objs/lua_var/release/libngx_http_lua_var_module.a' > \$NGX_MAKEFILE
. $ROOT/config
. $ROOT/config.make
END
my $LIB = "$WORK/nginx/objs/lua_var/release/libngx_http_lua_var_module.a";
sub configure (@path) { return run("cd $WORK/nginx && sh ./configure", @path) }
sub make_nginx (@arguments) { return run("make -s -C $WORK/nginx -f objs/Makefile @arguments") }

($status, $output) = configure("$WORK/old");
is($status, 1, './configure with an old cargo fails');
like($output, qr{^cargo 1\.65\.0 \(\S+/old/cargo\) is too old: $needs}m, 'and says what is needed');

my $cargo = programs('builds',
    cargo => <<"END", rustc => version('rustc', '1.999.0'));
case \$1 in
    --version) echo "cargo 1.999.0" ;;
    *)
        echo "\$*" >> $WORK/built
        [ ! -e $WORK/no-toolchain ] || exit 1
        mkdir -p \${LIB%/*}
        touch \$LIB
        ;;
esac
END
$ENV{LIB} = $LIB;
($status, $output) = configure($cargo);
is($status, 0, './configure finds a cargo') or diag($output);
like($output, qr/^ \+ cargo 1\.999\.0$/m, 'and names it');

# How often cargo built something.
sub builds { return scalar(() = (read_file("$WORK/built") // '') =~ /^rustc /mg) }
($status, $output) = make_nginx();
is($status, 0, 'make, with a PATH that lacks cargo') or diag($output);
is(builds(), 1, 'runs cargo');
like(read_file("$WORK/built"), qr/^rustc --release --locked --lib --crate-type staticlib /, 'for the library');
ok(-e $LIB, 'which is there');

write_file("$WORK/no-toolchain", '');
($status, $output) = make_nginx();
is($status, 0, 'as make install does it, by a user without a toolchain') or diag($output);
is(builds(), 1, 'does not run cargo');

($status, $output) = make_nginx('LUA_VAR_FEATURES=testing');
isnt($status, 0, 'with other features it is not built');
like($output, qr/run "make" before "make install", as the user who has \Q$cargo\E\/cargo/, 'and make says what to do');
is(builds(), 2, 'cargo ran');

unlink "$WORK/no-toolchain";
($status, $output) = make_nginx('LUA_VAR_FEATURES=testing');
is($status, 0, 'with a toolchain it is built');
($status, $output) = make_nginx('LUA_VAR_FEATURES=testing');
is(builds(), 3, 'once');
utime time + 10, time + 10, "$WORK/nginx/objs/ngx_auto_config.h";
make_nginx('LUA_VAR_FEATURES=testing');
is(builds(), 4, 'and again when nginx is configured anew');

# ---- Sources from nginx's repository, where ./configure is auto/configure ----------------

my $nginx = NgxVarTest::Env::nginx();
sub nginx_tree ($verb, @settings) { return run(join ' ', @settings, "NGINX_BIN=$nginx build/nginx-tree $verb") }

my (undef, $configured) = nginx_tree('path');
chomp $configured;
# NGINX_BUILD_DIR of the environment belongs to other sources.
my $cloned = "NGINX_SOURCE_DIR=$WORK/cloned NGINX_BUILD_DIR=";
run("cp -a $configured $WORK/cloned && rm -rf $WORK/cloned/objs && mv $WORK/cloned/configure $WORK/cloned/auto");
($status, $output) = nginx_tree('make', $cloned);
is($status, 0, 'they are configured') or diag($output);
like($output, qr/^configuring the headers of /, 'and said to be');
my (undef, $copied) = nginx_tree('path', $cloned);
chomp $copied;
ok(-f "$copied/objs/ngx_auto_config.h", 'the headers are there');
remove_tree($copied) if $copied ne $configured;

# ---- What a build calls itself ---------------------------------------------------------

my ($version) = read_file("$ROOT/Cargo.toml") =~ /^version = "(.*)"/m;
my $sources = "$WORK/sources";
make_path("$sources/build");
for my $file ('Cargo.toml', 'build/version') {
    write_file("$sources/$file", read_file("$ROOT/$file"));
}
chmod 0755, "$sources/build/version" or die "version: $!\n";
sub calls_itself ($what = '') { return join ' ', run("$sources/build/version $what") }
is(calls_itself(), "0 $version\n", 'without git, though in a directory of this repository: the version');
is(calls_itself('debian'), "0 $version-1\n", 'and for Debian');

SKIP: {
    skip('there is no git', 5) if system('git --version > /dev/null 2>&1') != 0;
    my $git = "cd $sources && git -c user.name=x -c user.email=x\@localhost -c tag.gpgSign=false";
    local $ENV{GIT_COMMITTER_DATE} = '2026-11-29T23:41:00Z';
    is((run("$git init -q && git add . && $git commit -q -m x --no-gpg-sign"))[0], 0, 'a commit');
    chomp(my $commit = `cd $sources && git rev-parse --short=7 HEAD`);
    is(calls_itself(), "0 $version-git.$commit\n", 'a commit without a tag');
    is(calls_itself('debian'), "0 $version~git202611292341.$commit-1\n", 'and for Debian: before the release');
    run("$git tag -a -m x v$version");
    is(calls_itself(), "0 $version\n", 'the commit with the tag');
    is(calls_itself('debian'), "0 $version-1\n", 'and for Debian');
}
done_testing;
