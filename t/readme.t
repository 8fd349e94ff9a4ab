# Every command, code block, link and file of README.md, docs/ and CONTRIBUTING.md works as they
# show it.  What README says of directives and functions is in readme-reference.t.

use v5.36;
use lib 't/lib';

use File::Basename qw(basename dirname);
use JSON::PP ();
use List::Util qw(uniq);
use Markdown ();
use NginxServer;
use NgxVarTest::Cert ();
use NgxVarTest::Client ();
use NgxVarTest::File qw(read_file write_file);
use NgxVarTest::Process qw(wait_until);
use Test::More;

NginxServer->skip_unless_plain;

my $ROOT   = NgxVarTest::Env::root();
my $SO     = "$ROOT/target/release/libngx_http_lua_var_module.so";
my $README = Markdown->read("$ROOT/README.md");
my $INSTALL = Markdown->read("$ROOT/docs/INSTALL.md");
my $REFERENCE = Markdown->read("$ROOT/docs/REFERENCE.md");
my $TROUBLES  = Markdown->read("$ROOT/docs/TROUBLESHOOTING.md");
my $GUIDE  = Markdown->read("$ROOT/CONTRIBUTING.md");
my $LOAD    = 'load_module modules/ngx_http_lua_var_module.so;';
my $ENABLED = '/etc/nginx/modules-enabled/60-lua-var.conf';
my $OPENRESTY = '/usr/local/openresty/nginx/sbin/nginx';
my $MODULE = NginxServer->module;

# make is run without NGINX=, so for the nginx that is installed.
plan skip_all => "for the nginx that is installed, not $ENV{TEST_NGINX_BINARY}"
    if !defined $MODULE || $MODULE ne $SO;

# The make that is run here does not get the settings of the one that runs this file.
delete @ENV{qw(MAKEFLAGS MFLAGS MAKEOVERRIDES MAKELEVEL T TEST_NGINX)};

# A server that still runs is stopped with the test.
my $serving = 0;
my $demo_output = '';
END { kill INT => $serving if $serving }

# Each kind of block has its test below.
my %blocks    = by_language($README, 'README.md', 'lua nginx sh text');
my %install   = by_language($INSTALL, 'docs/INSTALL.md', 'lua sh yaml');
my %reference = by_language($REFERENCE, 'docs/REFERENCE.md', 'lua nginx');
my %troubles  = by_language($TROUBLES, 'docs/TROUBLESHOOTING.md', 'nginx text');

subtest 'links lead to what is there' => \&check_links;
subtest 'the commands in README.md and docs/ work' => \&check_commands;
subtest 'make demo prints what README shows' => sub { check_demo($blocks{text}[0]) };
subtest "$_ is right" => sub { check_docker($_) } for map { basename($_) } glob "$ROOT/Dockerfile*";
subtest 'the configuration of APISIX is right' => \&check_apisix;
subtest 'nginx says the sentences that are quoted: it does not start' => \&check_refusals;
subtest 'nginx says the sentences that are quoted: it runs' => \&check_said_later;
subtest 'nginx-sys says the sentences that are quoted' => \&check_nginx_sys;
subtest 'the synopsis runs' => sub { check_synopsis(@{ $blocks{nginx} }) };
subtest 'the Lua blocks run' => sub { check_lua(@$_) for $blocks{lua}, $reference{lua} };
subtest 'the log has the lines about a refusal' => \&check_log;
subtest 'the log has the lines about ngx.ctx' => \&check_why;
subtest 'the error pages are served' => \&check_error_pages;
subtest 'the status page is served' => sub { check_status(@{ $reference{nginx} }) };
subtest 'the commands in CONTRIBUTING.md work' => \&check_guide_commands;
subtest 'the files in CONTRIBUTING.md are there' => \&check_guide_files;
done_testing;

# ---- Lines of the log -------------------------------------------------------------------

# Writes a file in which some lines have this text.
sub write_lines ($file, %lines) {
    my $text = '';
    my ($last) = sort { $b <=> $a } keys %lines;
    $text .= ($lines{$_} // '') . "\n" for 1 .. $last;
    open my $out, '>', $file or die "$file: $!\n";
    print {$out} $text;
    close $out or die "$file: $!\n";
    return;
}

# A block of text in one line, without the dots for what is left out.
sub in_one_line ($block) { return $block->{text} =~ s/\s*\n/ /gr =~ s/^\.\.\. | \.\.\. *$| +$//gr }

# The lines that are shown, made by Lua at the places that they name.
sub check_log {
    my ($whole, $part) = map { in_one_line($_) } @{ $troubles{text} };
    my $short = in_one_line($blocks{text}[1]);
    ok(index($whole, $short) > 0, 'README shows a part of the line');
    for my $traces (qw(off on)) {
        my $nginx = NginxServer->new(master => 'off');
        my $root  = $nginx->root;
        mkdir "$root/app" or die "$root/app: $!\n";
        write_lines("$root/app/log.lua",
            3  => 'local _M = {}',
            4  => 'function _M.log_entry(req)',
            5  => 'local scheme = _M.read("scheme", req) return scheme end',
            8  => 'function _M.read(name, req)',
            9  => 'local value = require("resty.ngxvar").fetch(name, req) return value end',
            10 => 'return _M');
        write_lines("$root/handler.lua", 2 => 'local entry = require("app.log").log_entry(kept)', 3 => 'ngx.say(tostring(entry))');
        write_lines("$root/app/access.lua", 22 => 'kept = require("resty.ngxvar").request() ngx.say("kept")');
        $nginx->configure(http => <<"END");
    lua_package_path "$root/?.lua;;";
    lua_var_trace_handles $traces;
    init_by_lua_block { kept = false }
    server {
        listen 127.0.0.1:@{[ NginxServer->port ]};
        location = /keep { content_by_lua_file $root/app/access.lua; }
        location = /t { content_by_lua_file $root/handler.lua; }
    }
END
        $nginx->start;
        $nginx->get('/keep');
        is($nginx->get('/t')->{content}, "nil\n", 'the read is refused');
        # LuaJIT writes only the end of a long path.
        my $path  = qr{(?:\Q$root\E|\.{3}\S*/\Q@{[ basename($root) ]}\E)/};
        my $shape = sub ($text) { $text =~ s{$path}{}gr =~ s/127\.0\.0\.1:\d+/HOST/gr =~ s/\d+(?=[\/: #.]|s ago)/N/gr };
        my $wanted = $shape->($traces eq 'on' ? $part : $whole);
        my ($line) = grep { /lua_var: \S+ read/ } map { s/\n//r } $nginx->log_lines;
        $traces eq 'on'
            ? like($shape->($line // ''), qr/\Q$wanted\E/, 'the line has the part with lua_var_trace_handles')
            : is($shape->($line // '') =~ s{^\S+ \S+}{}r, $wanted =~ s{^\S+ \S+}{}r, 'the line is the one that is shown');
        $nginx->stop_cleanly;
    }
    return;
}

# The lines of the debug log: after an error page, and the table of others.
sub check_why {
    SKIP: {
        skip('nginx is built without debug', 1) if `$ENV{TEST_NGINX_BINARY} -V 2>&1` !~ /--with-debug/;
        my ($page) = grep { /^lua_var: error_page/ } map { $_->{text} } @{ $troubles{text} };
        my ($head, @rows) = Markdown::rows($TROUBLES->section('Why is my ngx.ctx (not) there?')->{text});
        my @wanted = ((split /\n/, $page), map { Markdown::spans($_->[0]) } @rows);
        my $nginx  = NginxServer->new(log_level => 'debug', http => <<~"END");
            server {
                listen 127.0.0.1:@{[ NginxServer->port ]};
                error_page 404 /page;
                access_by_lua_block { ngx.ctx.id = ngx.ctx.id or "mine" }
                location = /lost { content_by_lua_block { ngx.exit(404) } }
                location = /moved { content_by_lua_block { ngx.exec("/page") } }
                location = /off { error_page 404 /page-off; content_by_lua_block { ngx.exit(404) } }
                location = /other { lua_code_cache off; content_by_lua_block { ngx.exit(404) } }
                location = /captured { content_by_lua_block { ngx.location.capture("/lost", { ctx = ngx.ctx }) } }
                location = /page { content_by_lua_block { ngx.say(ngx.ctx.id) } }
                location = /page-off { lua_var_ctx_restore off; content_by_lua_block { ngx.say("off") } }
            }
            END
        $nginx->start;
        $nginx->get("/$_") for qw(lost moved off other captured);
        my @lines = grep { /lua_var:/ } $nginx->log_lines;
        for my $wanted (@wanted) {
            my $pattern = join '.*', map { quotemeta =~ s/\d+/\\d+/gr } split /…/, $wanted;
            $pattern =~ s{request \\d\+\\/\\d\+}{request \\d+/\\d+};
            ok((grep { /$pattern/ } @lines), $wanted);
        }
        # nginx has an alert about lua_code_cache off
        $nginx->stop;
    }
    return;
}

# ---- Error pages -----------------------------------------------------------------------

# The location of lua_var_status, and what it serves to whom.
sub check_status ($location, @more) {
    is(scalar @more, 0, 'there is one block');
    my ($path) = $location->{text} =~ m{location = (\S+)};
    my $port   = NginxServer->port;
    my $nginx  = NginxServer->new(http => "server { listen 127.0.0.1:$port; $location->{text} }");
    $nginx->start;
    my %begins = (
        'text/plain; version=0.0.4' => '# HELP nginx_lua_var_',
        'application/json'          => '{"version":',
        'text/html'                 => '<!doctype html>',
        '*/*'                       => 'version ',
    );
    for my $accept (sort keys %begins) {
        my $served = $nginx->get($path, headers => { Accept => $accept })->{content};
        is(substr($served, 0, length $begins{$accept}), $begins{$accept}, "for $accept");
    }
    my $json = JSON::PP::decode_json($nginx->get($path, headers => { Accept => "application/json" })->{content});
    is(ref $json->{$_}, 'ARRAY', $_) for qw(by_worker culprits);
    $nginx->stop_cleanly;
    return;
}

# The servers that docs/TROUBLESHOOTING.md shows, and what it says of post_action.
sub check_error_pages {
    my ($tls, $backend, @more) = map { $_->{text} } @{ $troubles{nginx} };
    is(scalar @more, 0, 'there are two servers');
    my @port = map { NginxServer->port($_) } 0 .. 3;
    my $nginx = NginxServer->new;
    my $cert  = NgxVarTest::Cert::make_once($nginx->root . '/cert', 'demo', 'demo.test');
    my %ports = (8080 => $port[1], 8081 => $port[2]);
    $backend = $backend =~ s/\b(8080|8081)\b/$ports{$1}/gr;
    $tls     = $tls =~ s/\b8080\b/$port[0]/r =~ s{ demo\.(crt|key);}{ $cert/demo.$1;}gr;
    $nginx->configure(http => <<~"END");
        init_by_lua_block { after = {} }
        $tls
        $backend
        server {
            listen 127.0.0.1:$port[2];
            location / { return 404 "\$http_x_code \$http_x_original_uri"; }
        }
        server {
            listen 127.0.0.1:$port[3];
            set \$x '';
            location = /set { rewrite_by_lua_block { ngx.var.x = "lua" ngx.exit(404) } error_page 404 =200 /x; }
            location = /named { rewrite_by_lua_block { ngx.var.x = "lua" ngx.exit(404) } error_page 404 =200 \@x; }
            location = /x { return 200 "[\$x]"; }
            location \@x { return 200 "[\$x]"; }

            access_by_lua_block { ngx.ctx.id = ngx.ctx.id or ngx.var.uri }
            location = /default { content_by_lua_block { ngx.say("ok") } post_action /after; }
            location = /all { content_by_lua_block { ngx.say("ok") } post_action /after-all; }
            location = /error { content_by_lua_block { ngx.exit(404) } error_page 404 =200 /page; }
            location = /page { content_by_lua_block { ngx.say("ok") } post_action /after; }
            location = /after { access_by_lua_block { table.insert(after, tostring(ngx.ctx.id) .. ngx.var.from_error_page) } content_by_lua_block { } }
            location = /after-all { lua_var_ctx_restore all; access_by_lua_block { table.insert(after, tostring(ngx.ctx.id) .. ngx.var.from_error_page) } content_by_lua_block { } }
            location = /result { content_by_lua_block { ngx.print(table.concat(after, " ")) } }
        }
        END
    $nginx->start;
    my $get = sub ($port, $path) { NgxVarTest::Client->ask($port, $path) };
    my $answer = $get->($port[0], '/secret');
    is("$answer->{status} $answer->{content}", "400 497 at /secret\n", 'plain HTTP to a TLS port');
    is($get->($port[1], '/shop')->{content}, '502 /shop', 'a backend is told what the request was');
    is($get->($port[3], '/set')->{content}, '[]', 'set in server {} runs again for a URI');
    is($get->($port[3], '/named')->{content}, '[lua]', 'and not for a named location');
    $get->($port[3], "/$_") for qw(default all error);
    $nginx->await('post_action', sub { () = $get->($port[3], '/result')->{content} =~ /\S+/g; });
    is($get->($port[3], '/result')->{content}, 'nil /all /errortrue', 'ngx.ctx and $from_error_page in post_action');
    $nginx->stop_cleanly;
    return;
}

# ---- Links and blanks ------------------------------------------------------------------

sub check_links {
    for my $file (glob "$ROOT/*.md $ROOT/docs/*.md") {
        my $name = $file =~ s{^\Q$ROOT\E/}{}r;
        my $document = Markdown->read($file);
        for my $target (uniq grep { !/^https?:/ } $document->links) {
            my ($path, $anchor) = split /#/, $target;
            my $there = $path eq '' ? $file : dirname($file) . "/$path";
            ok(-e $there, "$name: $target");
            ok((grep { $_ eq $anchor } anchors($there)), "$name: $target is a heading") if defined $anchor;
        }
        my @blanks = $document->prose =~ /\@[A-Z]+\@/g;
        is("@blanks", '', "$name has no blanks to be filled in");
    }
    return;
}

# What the headings of a document are linked by.
sub anchors ($file) {
    return map { lc($_->{title}) =~ s/[^\w\- ]//gr =~ tr/ /-/r } Markdown->read($file)->sections;
}

# ---- Commands --------------------------------------------------------------------------

# Every command in a block, and those in the text.
sub check_commands {
    my %forms = (
        'make demo' => \&try_demo,
        'make test' => \&try_test,
        'make run'  => \&try_run,
        'make'      => \&try_build,
        'NGINX_SOURCE_DIR=/path/to/nginx NGINX_BUILD_DIR=/path/to/nginx/objs cargo build --release'
            => \&try_build,
        q(sudo nginx -t -g 'error_log stderr notice;') => \&try_notice,
        'docker build --build-arg LUA_VAR_BUILD="$(build/version)" -t openresty-lua-var .' => \&try_docker,
        # Commands for an operator, which .ci/operator runs in a chroot.
        "echo '$LOAD' | sudo tee $ENABLED"             => in_operator("echo '$LOAD'"),
        "sudo rm $ENABLED"                             => in_operator("by_hand=$ENABLED", 'rm "$by_hand"'),
        'sudo nginx -t && sudo systemctl reload nginx' => in_operator('nginx -t', 'nginx -s reload'),
        'sudo apt install ./target/deb/libnginx-mod-http-lua-var_*.deb' => in_operator('apt install'),
        'sudo apt purge libnginx-mod-http-lua-var' => in_operator('apt purge libnginx-mod-http-lua-var'),
        'sudo kill -USR2 $(cat /run/nginx.pid)'        => in_operator('kill -USR2', '/run/nginx.pid'),
        'sudo kill -QUIT $(cat /run/nginx.pid.oldbin)' => in_operator('kill -QUIT', '/run/nginx.pid.oldbin'),
        # These take minutes, so it is only checked that they could run.
        map { ($_ => undef) } 'sudo make install', 'sudo make uninstall', "make NGINX=$OPENRESTY", "sudo make install NGINX=$OPENRESTY",
            map { "make $_" } qw(bench check deb dist fuzz install matrix mutants nothing setup soak test-hup test-valgrind),
    );
    my @commands = map { commands_of($_) } @{ $blocks{sh} }, @{ $install{sh} };
    push @commands, grep { /^make\b|^(?:apt-get|bash|cargo|curl|prove|sudo) / }
        map { Markdown::spans($_->prose) } $README, $INSTALL, $REFERENCE, $TROUBLES;
    for my $command (uniq @commands) {
        if (!exists $forms{$command}) {
            fail("how to try `$command` is written here");
            next;
        }
        subtest $command => sub {
            my $recipe = $command =~ /^(?:sudo )?make\b/ ? recipe($command) : $command;
            $forms{$command}->($recipe) if $forms{$command};
        };
    }
    return;
}

# Its commands, one a line; a backslash continues on the next line.
sub commands_of ($block) {
    return grep { /^[^#]/ } split /\n/, $block->{text} =~ s/\s*\\\n\s*/ /gr;
}

# The last command that make would run; tests that the target exists.
sub recipe ($command) {
    $command =~ s/^sudo //;
    $command =~ s/\Q$OPENRESTY/$ENV{TEST_NGINX_BINARY}/;
    my ($status, $output) = shell("$command -n");
    is($status, 0, "$command: there is such a target") or diag($output);
    my @lines = split /\n/, $output;
    my @missing = grep { m{/} && !/=/ && !-x "$ROOT/$_" } map { /^(\S+)/ } @lines;
    is("@missing", '', "$command: the scripts that it runs are there");
    return $lines[-1] // '';
}

# The exit status of a command as a shell runs it in the project's directory, and
# all that it writes.
sub shell ($command) {
    my $script = "exec < /dev/null 2>&1\ncd '$ROOT' || exit\n$command";
    open my $out, '-|', 'timeout', '--foreground', 300, 'sh', '-c', $script or die "timeout: $!";
    my $output = do { local $/; readline $out };
    close $out;
    return ($?, $output);
}

# With the module under test.
sub try_demo ($recipe) {
    local @ENV{qw(NGINX MODULE_SO)} = ($ENV{TEST_NGINX_BINARY}, $MODULE);
    my ($status, $output) = shell($recipe);
    is($status, 0, "$recipe: exits with 0") or diag($output);
    $demo_output = $output;
    return;
}

# The lines of the block, in this order; which data a pointer that was kept reads is not certain.
sub check_demo ($block) {
    my $shape = sub ($text) { $text =~ s/data of request \d+|freed request/…/gr =~ s/-{3,}/--/gr =~ s/ +/ /gr };
    my $printed = $shape->($demo_output);
    pos($printed) = 0;
    for my $line (grep { /\S/ } split /\n/, $block->{text}) {
        my $wanted = $shape->($line);
        ok(scalar($printed =~ /^\Q$wanted\E$/mg), $line);
    }
    return;
}

# A dry run, because `make test` would run this file again.
sub try_test ($recipe) {
    like($recipe, qr/^prove /, 'prove is what runs the tests');
    my ($status, $output) = shell("$recipe --dry");
    is($status, 0, "$recipe: runs");
    my @files = grep { m{^t/\S+\.t$} } split /\n/, $output;
    is(in_order(@files), in_order(map { s{^\Q$ROOT\E/}{}r } map { glob "$ROOT/t/$_.t" } '*', '*/*'),
        "$recipe: runs all files of t/");
    return;
}

# Checks that .ci/operator has these words.
sub in_operator (@words) {
    return sub ($command) {
        my $operator = read_file("$ROOT/.ci/operator");
        ok(index($operator, $_) >= 0, $_) for @words;
    };
}

# Starts a command that serves, runs the curl that it suggests, and stops it.
sub try_run ($recipe) {
    local @ENV{qw(NGINX MODULE_SO)} = ($ENV{TEST_NGINX_BINARY}, $MODULE);
    local $SIG{ALRM} = sub { die "$recipe: nothing happens\n" };
    alarm 30;
    $serving = open my $out, '-|', "cd '$ROOT' && exec $recipe 2>&1" or die "sh: $!";
    my $curl = '';
    eval {
        while (my $line = readline $out) {
            ($curl) = $line =~ /^  (curl [^#]*\S)/ and last;
        }
        1;
    } or diag($@);
    alarm 0;
    isnt($curl, '', "$recipe: says what to try") or return;
    my (undef, $answer) = shell("$curl --silent --noproxy '*'");
    isnt($answer, '', "$curl: is answered");

    kill INT => $serving;
    1 while readline $out;
    close $out;
    $serving = 0;
    is($? >> 8, 130, "$recipe: Ctrl-C stops it");
    return;
}

# The module is built already, so cargo has nothing to do.  A command that built something
# else would have.
sub try_build ($command) {
    my ($promised) = $INSTALL->prose =~ /`make` alone builds `([^`]+)`/;
    is($promised, $SO =~ s{^\Q$ROOT\E/}{}r, 'the file is where docs/INSTALL.md says');
    chomp(my $tree = `$ROOT/build/nginx-tree path`);
    $command =~ s{/path/to/nginx(?=[ /])}{$tree}g;
    unlike($command, qr{/path/to}, 'the paths of the example are replaced');

    SKIP: {
        skip('the module is not built, or not of these sources', 2) if !is_built();
        my @before = (stat $SO)[1, 9];
        my ($status, $output) = shell($command);
        my @after = (stat $SO)[1, 9];
        is($status, 0, 'the command builds') or diag($output);
        is("@after", "@before", 'the command has nothing to build') or diag($output);
    }
    return;
}

# Whether cargo would, from the list of sources that it keeps beside the file.
sub is_built {
    open my $in, '<', $SO =~ s/so$/d/r or return 0;
    my ($sources) = do { local $/; readline($in) =~ /^\Q$SO\E: (.*)/ };
    return $sources && -e $SO && !grep { !-e || -M _ < -M $SO } split / /, $sources;
}

# ---- Elsewhere -------------------------------------------------------------------------

# Without Docker: the commands are a shell's, what they run exists, and the file is copied
# to where the last stage loads it from.
sub check_docker ($file) {
    my $text  = read_file("$ROOT/$file");
    my @lines = split /\n/, $text;
    ok(grep({ index($_, "../$file") == 0 } $INSTALL->links), "docs/INSTALL.md links to $file");
    my %known = map { $_ => 1 } qw(ARG FROM RUN ENV COPY WORKDIR);
    is(join(', ', grep { /^(\w+)/ && !$known{$1} } @lines), '', 'the Dockerfile has known instructions only');
    for my $command (map { /^RUN (.*)/ } @lines) {
        my ($status, $output) = shell("sh -n -c '" . $command =~ s/'/'\\''/gr . "'");
        is($status, 0, $command) or diag($output);
        recipe($command) if $command =~ /^make\b/;
    }
    my ($dest) = map { /^RUN make install .*DESTDIR=(\S+)/ } @lines;
    like($text, qr{^COPY --from=build \Q$dest\E /$}m, 'the Dockerfile copies what is installed');
    like($text, qr/^RUN sed -i '1i \Q$LOAD\E'/m, 'the Dockerfile loads the module');
    my @images = $text =~ /^FROM (\S+)/mg;
    is(scalar @images, 2, 'the Dockerfile has two stages');
    is($images[0], $images[1], 'of the same image');
    return;
}

# What the command gives to the Dockerfile is an argument of it.
sub try_docker ($command) {
    my ($argument) = $command =~ /--build-arg (\w+)=/;
    like(read_file("$ROOT/$_"), qr/^ARG $argument$/m, "$_ has $argument") for qw(Dockerfile Dockerfile.alpine);
    return;
}

# With another configuration than the installed one.
sub try_notice ($command) {
    my $nginx = NginxServer->new(log_level => 'error', http => 'server { listen 127.0.0.1:' . NginxServer->port . '; }');
    my $root  = $nginx->root;
    $command =~ s{^sudo nginx}{$ENV{TEST_NGINX_BINARY} -p $root -c $root/conf/nginx.conf};
    my ($status, $output) = shell($command);
    is($status, 0, 'nginx -t') or diag($output);
    for my $section ($README->section('Installation'), $INSTALL->section('How to see that it works')) {
        my ($promised) = map { Markdown::spans($_) } $section->{text} =~ /(`lua_var: version [^`]*`)/;
        my $pattern = quotemeta($promised) =~ s/\d+\\\.\d+\\\.\d+/\\S+/gr;
        like($output, qr/$pattern/, "$section->{title}: the line is in the terminal");
    }
    return;
}

# Apache APISIX puts each snippet where its name says, and starts nginx with -p.
sub check_apisix {
    my $yaml = read_file("$ROOT/nginx-conf/apisix.yaml");
    for my $block (@{ $install{yaml} }) {
        ok($yaml =~ /^\s*\Q$_\E$/m, "nginx-conf/apisix.yaml: $_") for map { s/^\s+//r } split /\n/, $block->{text};
    }
    my %snippet = $yaml =~ /^  (\w+_snippet): \|\n((?:    .*\n)+)/mg;
    is(in_order(keys %snippet), 'http_configuration_snippet http_server_configuration_snippet main_configuration_snippet',
        'the snippets of the file');
    my ($path) = $snippet{main_configuration_snippet} =~ /^ *load_module (.*);$/m;
    like($path, qr{^/}, 'the path is absolute');

    my ($hook) = @{ $install{lua} };
    my ($file) = $hook->{text} =~ m{^-- (\S+/hooks/lua_var_hook\.lua)};
    my ($directory) = $yaml =~ m{^  extra_lua_path: (\S+)/\?\.lua$}m;
    is($file, "$directory/lua_var_hook.lua", 'the hook is where APISIX looks for it');
    my $nginx = NginxServer->new;
    my $root  = $nginx->root;
    mkdir "$root/hooks" or die "$root/hooks: $!\n";
    write_file("$root/hooks/lua_var_hook.lua", $hook->{text});
    $nginx->configure(
        main => join('', map { s/\Q$path/$MODULE/r } $snippet{main_configuration_snippet}),
        modules => [ NginxServer->other_modules ],
        http => <<~"END");
        lua_package_path "$root/hooks/?.lua;;";
        $snippet{http_configuration_snippet}
        init_by_lua_block { require "resty.core" require "lua_var_hook" }
        server {
            listen 127.0.0.1:@{[ NginxServer->port ]};
            $snippet{http_server_configuration_snippet}
            location / { content_by_lua_block { ngx.say(ngx.var.uri) } }
        }
        END
    $nginx->start;
    is($nginx->get('/t')->{content}, "/t\n", 'a request');
    my ($location) = $snippet{http_server_configuration_snippet} =~ /location = (\S+)/;
    like($nginx->get($location)->{content}, qr/^nginx_lua_var_workers 1$/m, 'the figures');
    $nginx->stop_cleanly;
    return;
}

# nginx writes each line that docs/INSTALL.md quotes.
sub check_refusals {
    my ($rows) = said();
    my $nginx = NginxServer->new;
    my @lua   = grep { $_ ne $MODULE } NginxServer->modules;
    my $load  = join '', map { "load_module $_;\n" } NginxServer->modules;
    my $so    = read_file($MODULE);
    my ($number, $signature) = (pack('Q<', version_number()), $so =~ /(\d,\d,\d,[01]{30,40})/);
    cmp_ok(scalar(() = $so =~ /\Q$number/g), '>=', 1, 'the number of the version is in the module');

    # The module as if built for another version.
    my %built = (
        older => $so =~ s/\Q$number/pack('Q<', 1021004)/ger,
        other => $so =~ s/\Q$signature/$signature =~ tr{01}{10}r/ger,
    );
    for my $name (keys %built) {
        open my $out, '>', $nginx->root . "/$name.so" or die "$name.so: $!";
        print {$out} $built{$name};
        close $out or die "$name.so: $!";
    }
    my %refused = (
        'module "…" version'             => { modules => [ @lua, $nginx->root . '/older.so' ] },
        'module "…" is not binary'       => { modules => [ @lua, $nginx->root . '/other.so' ] },
        'dlopen() "…" failed (…: cannot open shared object file: No such file or directory)'
            => { modules => [ @lua, 'modules/none.so' ] },
        'module "ngx_http_lua_var_module" is already loaded' => { modules => [ @lua, $MODULE, $MODULE ] },
        '"load_module" directive is specified too late' => { main => "events {}\n$load", modules => [] },
        '"load_module" directive is not allowed here' => { http => $load, modules => [] },
        "module 'resty.ngxvar' not found" => { modules => \@lua, http => 'init_by_lua_block { require "resty.ngxvar" }' },
        'unknown directive'              => { modules => \@lua, http => 'lua_var_ctx_restore off;' },
        'unknown "from_error_page"'      => { modules => \@lua, http => q{log_format a "$from_error_page";} },
    );
    # The dynamic linker says these for files that root may read, and where it may be read from.
    my @system = ('cannot open shared object file: Permission denied', 'failed to map segment from shared object');
    for my $row (@$rows) {
        my ($line)  = Markdown::spans($row->[0]);
        if (grep { index($line, $_) >= 0 } @system) {
            try_unreadable($nginx, $line, @lua);
            next;
        }
        my ($known) = grep { index($line, $_) == 0 } keys %refused;
        if (!defined $known) { fail("how nginx is made to say it is known: $line"); next }
        $nginx->configure(main => '', http => '', modules => [], %{ delete $refused{$known} });
        # nginx -t does not run init_by_lua
        my ($status, $output) = $known =~ /resty/ ? (eval { $nginx->start; 1 } ? 0 : 1, $@) : $nginx->test;
        isnt($status, 0, "nginx refuses: $line");
        my $pattern = join '.*', map { quotemeta($_) =~ s/\d{7}/\\d{7}/gr } split /…/, $line;
        like($output, qr/\[(?:emerg|error)\] .*$pattern/, $line);
    }
    is(join(', ', keys %refused), '', 'every refusal is quoted');
    return;
}

# The rows of both tables: nginx does not start, nginx runs.
sub said {
    my ($before, $after) = split /^With these, nginx runs/m, $INSTALL->section('What nginx says')->{text};
    return map { my ($head, @rows) = Markdown::rows($_); \@rows } $before, $after;
}

# A file that may not be read, or that is in a file system without programs.
sub try_unreadable ($nginx, $line, @lua) {
    my $dir = $nginx->root . '/mounted';
    mkdir $dir;
    # root without its capabilities reads what it owns, wherever that is, but for this directory
    my ($shell, $before, $after, $as) = $line =~ /Permission denied/
        ? ('sh', ':', "chmod 0 $dir", 'setpriv --bounding-set=-all --inh-caps=-all')
        : ('unshare -m sh', "mount -t tmpfs -o noexec none $dir", ':', '');
    SKIP: {
        skip("$line: only root can do this", 1) if $> != 0;
        $nginx->configure(main => '', http => '', modules => [ @lua, "$dir/module.so" ]);
        my $conf = $nginx->root . '/conf/nginx.conf';
        my (undef, $output) = shell("$shell -c '$before && cp $MODULE $dir/module.so"
            . " && $after && $as $ENV{TEST_NGINX_BINARY} -t -e stderr -p $ROOT/ -c $conf'");
        chmod 0755, $dir;
        skip("$line: not in this container or chroot: $output", 1) if $output =~ /^(?:unshare|mount|setpriv): /m;
        my $pattern = join '.*', map { quotemeta } split /…/, $line;
        like($output, qr/\[emerg\] .*$pattern/, $line);
    }
    return;
}

# What the log says of an nginx that runs.
sub check_said_later {
    my (undef, $rows) = said();
    my ($not_found, undef, $signal) = map {
        my ($line) = Markdown::spans($_->[0]);
        join '\d+', map { quotemeta } split /…/, $line;
    } @$rows;
    my $nginx = NginxServer->new(modules => [ NginxServer->other_modules ], http => <<~"END");
        server {
            listen 127.0.0.1:@{[ NginxServer->port ]};
            location / { content_by_lua_block { ngx.say(require("resty.ngxvar").fetch("uri")) } }
        }
        END
    $nginx->start;
    is($nginx->get('/')->{status}, 500, 'without the module, requiring it is an error');
    ok((grep { /\[error\] .*$not_found/ } $nginx->log_lines), 'the log says so');
    $nginx->stop_cleanly;

    my $port = NginxServer->port;
    my $threads = NginxServer->new;
    write_file($threads->root . '/worker.lua', 'return { read = function () return require("resty.ngxvar").fetch("uri") end }');
    $threads->configure(main => 'thread_pool two threads=2;', http => <<~"END");
        lua_package_path "@{[ $threads->root ]}/?.lua;;";
        server {
            listen 127.0.0.1:$port;
            location / { content_by_lua_block { ngx.say(select(2, ngx.run_worker_thread("two", "worker", "read"))) } }
        }
        END
    $threads->start;
    like($threads->get('/')->{content}, qr/$not_found/, 'in a worker thread, requiring it is an error, too');
    $threads->stop;

    # nginx-conf/lua/resty/ngxvar.lua
    my $path = 'lua_package_path "' . $threads->root . "/?.lua;$ROOT/nginx-conf/lua/?.lua;;\";\n";
    $nginx = NginxServer->new(modules => [ NginxServer->other_modules ], http => $path . $nginx->{http});
    $nginx->start;
    is($nginx->get('/')->{status}, 500, 'with that file, too, it is an error without the module');
    ok((grep { /resty\.ngxvar: ngx_http_lua_var_module is not loaded: add its load_module line/ } $nginx->log_lines),
        'the log says what to do');
    $nginx->stop_cleanly;
    $threads->configure(http => $path . $threads->{http} =~ s/lua_package_path .*//r);
    $threads->start;
    is($threads->get('/')->{content},
        "resty.ngxvar: no request is current in ngx.run_worker_thread: read the variables before, and pass the values\n",
        'so does a worker thread');
    $threads->stop;

    # A file that is as if `cp` had begun to overwrite it.
    my $file = $nginx->root . '/module.so';
    $nginx = NginxServer->new(modules => [ NginxServer->other_modules, "$ROOT/target/overwritten-$$.so" ], http => $nginx->{http});
    write_file("$ROOT/target/overwritten-$$.so", read_file($MODULE));
    $nginx->start;
    is($nginx->get('/t')->{content}, "/t\n", 'an nginx that runs');
    truncate "$ROOT/target/overwritten-$$.so", 0 or die "truncate: $!";
    $nginx->get('/t');
    ok(wait_until(10, sub { scalar grep { /\[alert\] .*$signal/ } $nginx->log_lines }), 'the log says so');
    unlink "$ROOT/target/overwritten-$$.so";
    $nginx->kill_all;
    return;
}

# nginx_version: 1022001 is 1.22.1.
sub version_number {
    my ($major, $minor, $patch) = `$ENV{TEST_NGINX_BINARY} -v 2>&1` =~ m{/(\d+)\.(\d+)\.(\d+)};
    return $major * 1_000_000 + $minor * 1000 + $patch;
}

# nginx-sys' build script runs before the module's, so its errors come first.
sub check_nginx_sys {
    # Only this platform's, because crates of others may not be downloaded.
    my ($platform) = `rustc -vV` =~ /^host: (\S+)/m;
    my ($manifest) = `cd '$ROOT' && cargo metadata --offline --locked --filter-platform $platform --format-version 1`
        =~ m{"([^"]*/nginx-sys-[^"/]*)/Cargo\.toml"};
    my $script = read_file(($manifest // '') . '/build/main.rs') // '';
    my ($text) = $INSTALL->prose =~ /(Without the two variables.*?absolute paths)/;
    my @quoted = grep { /^(?:neither|Invalid)/ } Markdown::spans($text);
    is(scalar @quoted, 2, 'docs/INSTALL.md quotes two sentences');
    # its sentences are broken into lines
    $script =~ s/\s*\\\n\s*/ /g;
    ok(index($script, $_) >= 0, $_) for @quoted;
    return;
}

# ---- The synopsis ----------------------------------------------------------------------

sub check_synopsis (@synopses) {
    is(scalar @synopses, 1, 'there is one nginx block') or return;
    my $text = $synopses[0]{text};
    my ($path, $answer) = $README->prose =~ /A request for `(\S+)` returns `([^`]+)`/
        or return fail('README says what is answered');

    for my $order (orders($text)) {
        my $nginx = pasted($order);
        my $names = join ', ', $order =~ /^(include|load_module) /mg;
        my ($status, $output) = $nginx->test;
        is($status, 0, "nginx -t: $names") or diag($output);
        next if $status;
        $nginx->start;
        is($nginx->get($path)->{content}, "$answer\n", "$path: the answer is the one in README");
        $nginx->stop_cleanly;
    }

    my $without = replace($text, [ "$LOAD\n" => '' ]);
    my $nginx   = pasted($without);
    $nginx->start;
    is($nginx->get($path)->{status}, 500, 'without the module it is an error');
    $nginx->stop_cleanly;

    # Lua that works without the library says what ngx.ctx is.
    my $stock = replace($without,
        [ qq{local ngxvar = require "resty.ngxvar"\n} => '' ],
        [ "local req = ngxvar.request()\n"           => '' ],
        [ 'ngxvar.fetch("uri", req)'                  => 'ngx.var.uri' ],
    );
    $nginx = pasted($stock);
    $nginx->start;
    is($nginx->get($path)->{content}, "/failed for nil\n", 'without the module ngx.ctx.id is nil');
    $nginx->stop_cleanly;
    return;
}

# The configuration with the module's line before and after the one for Lua.
sub orders ($text) {
    my ($lua, $module) = $text =~ /^(include .*\n)(load_module .*\n)/m or die "README: no module is loaded\n";
    return map { replace($text, [ "$lua$module" => $_ ]) } "$lua$module", "$module$lua";
}

# An nginx whose configuration is this text with the paths and the port replaced.
sub pasted ($text) {
    my $nginx = NginxServer->new;
    my $root  = $nginx->root;
    my $temp  = join '', map { "    ${_}_temp_path $root/$_;\n" }
        qw(client_body proxy fastcgi scgi uwsgi);
    my $user  = $> == 0 ? "user root;\n" : '';
    my $port  = NginxServer->port;

    mkdir "$root/conf/modules-enabled" or die "modules-enabled: $!";
    write_file("$root/conf/modules-enabled/lua.conf", map { "load_module $_;\n" } NginxServer->other_modules);
    if (!defined $MODULE) {     # it is linked in
        $text =~ s{^load_module modules/.*\n}{}m;
    }
    elsif ($text =~ m{load_module }) {
        $text = replace($text, [ 'modules/ngx_http_lua_var_module.so' => $MODULE ]);
    }
    $text = replace($text,
        [ 'listen 127.0.0.1:8080;' => "listen 127.0.0.1:$port;" ],
        [ "events {}\n"            => "events {}\npid $root/logs/nginx.pid;\n$user" ],
        [ "http {\n"               => "http {\n$temp" ],
    );
    open my $out, '>', "$root/conf/nginx.conf" or die "nginx.conf: $!";
    print {$out} $text;
    close $out or die "nginx.conf: $!";
    return $nginx;
}

# Replaces texts that have to be there once.
sub replace ($text, @replacements) {
    for my $replacement (@replacements) {
        my ($old, $new) = @$replacement;
        my $count = $text =~ s/\Q$old\E/$new/g;
        die "README has \"$old\" " . ($count || 0) . " times, not once\n" if $count != 1;
    }
    return $text;
}

# ---- Lua blocks ------------------------------------------------------------------------

# Each runs with all before it in one handler, because later ones use what earlier define.
sub check_lua (@scripts) {
    my ($port, $config) = (NginxServer->port, '');
    for my $n (0 .. $#scripts) {
        my $script = join "\n", map { $_->{text} } @scripts[ 0 .. $n ];
        $config .= "location = /$n { content_by_lua_block {\n$script\nngx.print('ran')\n} }\n";
    }
    my $nginx = NginxServer->new(http => "server { listen 127.0.0.1:$port;\n$config }");
    $nginx->start;
    for my $n (0 .. $#scripts) {
        like($nginx->get("/$n")->{content}, qr/^ran\z/m, "the block at line $scripts[$n]{line}");
    }
    is(join('', grep { /\[(?:warn|error)\]/ } $nginx->log_lines), '', 'no warning or error is logged');
    $nginx->stop_cleanly;
    return;
}

# ---- CONTRIBUTING.md -------------------------------------------------------------------

# The table may name a target without `make`.
sub check_guide_commands {
    my ($head, @rows) = Markdown::rows($GUIDE->section('Contributing')->{text});
    my @commands = map { /^make\b/ ? $_ : "make $_" } grep { !/=t\// }
        map { Markdown::spans($_->[0]) } @rows;
    push @commands, grep { /^make\b/ } Markdown::spans($GUIDE->prose);
    cmp_ok(scalar @commands, '>', 10, 'CONTRIBUTING has more than 10 commands');
    recipe($_) for uniq @commands;

    my ($argument) = grep { /^T=/ } Markdown::spans($GUIDE->prose);
    my $file = $argument =~ s/^T=//r;
    my $prove = qr/^prove (?:-j\d+ )?-r/;
    like(recipe("make test $argument") =~ s/ +/ /gr, qr/$prove \Q$file\E$/, "$argument: runs only that file");
    my (undef, $unit) = shell('make test -n');
    my (undef, $one)  = shell("make test $argument -n");
    like($unit, qr{t/unit}, 'make test: runs the unit tests');
    unlike($one, qr{t/unit}, "$argument: does not run the unit tests");
    like(recipe('make test TEST_NGINX=DIR'), qr{^prove -IDIR/lib }, 'TEST_NGINX=DIR: that one is used');
    return;
}

# Every file or directory name exists, except below target/, where commands make files.
sub check_guide_files {
    my @files = uniq
        grep { !m{^target/} }
        grep { m{^[\w./-]+(?:\.(?:rs|c|h|lua|t|md|pm|toml)|/)$} || m{^(?:t|src|nginx-conf)/[\w./-]+$} }
        map { s/^T=//r } map { Markdown::spans($_->prose) } $README, $INSTALL, $REFERENCE, $TROUBLES, $GUIDE;
    cmp_ok(scalar @files, '>', 20, 'CONTRIBUTING has more than 20 files');
    for my $file (@files) {
        ok((grep { -e "$ROOT/$_/$file" } '.', 'src', 'src/lua'), $file);
    }
    check_guide_code();
    return;
}

# Each code block is in the source.
sub check_guide_code {
    my $sources = join '', map { NgxVarTest::Process::read_file($_) } grep { -f }
        map { glob "$ROOT/src/" . '*/' x $_ . '*.*' } 0 .. 3;
    my @blocks  = $GUIDE->blocks;
    cmp_ok(scalar @blocks, '>=', 2, 'code blocks');
    ok(index($sources, $_->{text}) >= 0, "the block at line $_->{line}") for @blocks;
    return;
}

# The code blocks of a document by their language, which have to be these.
sub by_language ($document, $name, $languages) {
    my %by;
    push @{ $by{ $_->{language} } }, $_ for $document->blocks;
    is(in_order(keys %by), $languages, "the kinds of code blocks in $name");
    return %by;
}

# Names, to be compared as a text.
sub in_order (@names) { return join ' ', sort { $a cmp $b } @names }
