# make install and make uninstall, and what they do to an nginx that has the module loaded.

use v5.36;
use lib 't/lib';

use File::Path qw(make_path remove_tree);
use NginxServer;
use NgxVarTest::Process qw(is_alive);
use TestingModule ();
use Test::More;
use Traffic;

NginxServer->skip_unless_plain;

my $ROOT = NgxVarTest::Env::root();
my $NAME = 'ngx_http_lua_var_module.so';
my $PORT = NginxServer->port;
my $WORK = "$ROOT/target/install-$$";
my $owner = $$;
END { remove_tree($WORK) if $owner == $$ }
my $MODULE = NginxServer->module;
plan skip_all => 'the module is linked in, there is no file of it' if !defined $MODULE;

# The make that is run here does not get the settings of the one that runs this file.
delete @ENV{qw(MAKEFLAGS MFLAGS MAKEOVERRIDES MAKELEVEL DESTDIR MODULES_DIR)};

# Runs make for the nginx under test; returns its status and output.
sub make (@arguments) {
    my $command = join ' ', map { "'$_'" } @arguments, "NGINX=$ENV{TEST_NGINX_BINARY}";
    my $output  = `exec < /dev/null 2>&1; cd '$ROOT' && make --no-print-directory $command`;
    return ($?, $output);
}

sub makes (@arguments) {
    my ($status, $output) = make(@arguments);
    is($status, 0, "make @arguments") or diag($output);
    return $output;
}

# The inode of the file that the workers have loaded.
sub mapped ($nginx) {
    my %inodes = map { $_ => 1 } map { / (\d+) +\S*\Q$NAME\E/ } map {
        open my $maps, '<', "/proc/$_/maps" or die "/proc/$_/maps: $!";
        readline $maps;
    } $nginx->await_workers;
    return join ' ', sort keys %inodes;
}

sub inode ($file) { return (stat $file)[1] // 'none' }

# ---- Where make install puts the file --------------------------------------------------

my ($own) = `$ENV{TEST_NGINX_BINARY} -V 2>&1` =~ /--modules-path=(\S+)/;
SKIP: {
    skip('this nginx has no --modules-path', 3) if !defined $own;
    my $file = "$WORK/dest$own/$NAME";
    is(makes('install', "SO=$MODULE", "DESTDIR=$WORK/dest"), "$file\n", 'make install says where the file is');
    ok(-s $file, 'the file is among the modules of this nginx');
}

# ---- A file that nginx refuses ---------------------------------------------------------

make_path($WORK);
open my $bad, '>', "$WORK/bad.so" or die "bad.so: $!";
print {$bad} "not a module\n";
close $bad or die "bad.so: $!";
for my $file ("$WORK/bad.so", "$WORK/none.so") {
    my ($status, $output) = make('install', "SO=$file", "MODULES_DIR=$WORK/refused");
    isnt($status, 0, "$file is not installed");
    like($output, qr/run make/, 'make install says what to run first');
}
ok(!-e "$WORK/refused", 'a refused make install makes nothing');

# ---- An nginx that has it loaded -------------------------------------------------------

# Debian and OpenResty load modules by a name relative to the prefix.
my $nginx = NginxServer->new(
    workers => 2,
    modules => [ NginxServer->other_modules, "modules/$NAME" ],
    http    => <<~"END");
        server {
            listen 127.0.0.1:$PORT;
            location = /t {
                content_by_lua_block {
                    local ngxvar = require "resty.ngxvar"
                    local req = ngxvar.request()

                    ngx.sleep(0.001)
                    ngx.say(ngxvar.fetch("arg_id", req), " ", ngxvar.fetch("uri", req), " ok")
                }
            }
        }
        END
my $dir  = $nginx->root . '/modules';
my $file = "$dir/$NAME";
makes('install', "SO=$MODULE", "MODULES_DIR=$dir");
$nginx->start;
is($nginx->get('/t?id=1')->{content}, "1 /t ok\n", 'nginx loads the installed module by its name');

my $warning = qr/\[error\] \S+ lua_var: "\Q$file\E" was replaced; restart nginx/;
$nginx->await_end($nginx->reload);
is(scalar(grep { $_ =~ $warning } $nginx->log_lines), 0, 'a reload with the same file logs no warning');

my @workers = $nginx->await_workers;
my $before  = inode($file);
my $traffic = Traffic->start(port => $PORT, clients => 4, paths => ['/t']);

# The testing build stands for the next release.
my $next = TestingModule::file();
makes('install', "SO=$next", "MODULES_DIR=$dir");
isnt(inode($file), $before, 'a file of its own takes the name');
is(-s $file, -s $next, 'make install has replaced the file');
is_deeply([ glob "$dir/.$NAME* $dir/*" ], [$file], 'and nothing lies beside it');
is($nginx->get('/t?id=2')->{content}, "2 /t ok\n", 'the workers go on');
is_deeply([ sort $nginx->workers ], [ sort @workers ], 'and are the same');

$nginx->await_end($nginx->reload);
is($nginx->get('/t?id=3')->{content}, "3 /t ok\n", 'after a reload, too');
is(scalar(grep { $_ =~ $warning } $nginx->log_lines), 1, 'which says that the old build stays');
is(mapped($nginx), $before, 'and it does');

$nginx->upgrade;
is($nginx->get('/t?id=4')->{content}, "4 /t ok\n", 'after a binary upgrade, too');
is(scalar(grep { $_ =~ $warning } $nginx->log_lines), 1, 'which has nothing to say');
is(mapped($nginx), inode($file), 'for it has loaded the new one');

makes('uninstall', "MODULES_DIR=$dir");
ok(!-e $file, 'the file is gone');
is($nginx->get('/t?id=5')->{content}, "5 /t ok\n", 'the workers go on');
my ($status, $output) = make('uninstall', "MODULES_DIR=$dir");
isnt($status, 0, 'a second time there is nothing to uninstall');

my $result = $traffic->stop;
is("@{ $result->{failed} }", '', 'no request went wrong');
cmp_ok($result->{requests}, '>', 100, "of $result->{requests}");
$nginx->stop_cleanly;
done_testing;
