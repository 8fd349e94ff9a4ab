# What README.md says of directives, variables, functions, versions and numbers is
# so.  Its commands and code blocks are in readme.t, what is behind each
# statement in the files of their own.

use v5.36;
use lib 't/lib';

use List::Util qw(uniq);
use Markdown ();
use NginxServer;
use Test::More;

NginxServer->skip_unless_plain;

my $ROOT   = NgxVarTest::Env::root();
my $README = Markdown->read("$ROOT/README.md");
my $PROSE  = $README->prose;
my ($PORT, $TLS_PORT) = map { NginxServer->port($_) } 0, 1;

subtest 'directives' => \&check_directives;
subtest 'lua_var_ctx_restore' => \&check_restore;
subtest 'variables' => \&check_variables;
subtest 'Lua API: syntax' => \&check_syntax;
subtest 'Lua API: statements' => \&check_statements;
subtest 'numbers' => \&check_numbers;
done_testing;

# ---- Directives ------------------------------------------------------------------------

# Where a directive may be, as nginx's documentation calls it: all there is, with DIRECTIVE.
sub contexts {
    return (
        'main'           => { main => 'DIRECTIVE' },
        'events'         => { events => 'DIRECTIVE' },
        'http'           => { http => 'DIRECTIVE' },
        'upstream'       => { http => 'upstream u { server 127.0.0.1; DIRECTIVE }' },
        'server'         => { http => 'server { DIRECTIVE }' },
        'if in server'   => { http => 'server { if ($uri) { DIRECTIVE } }' },
        'location'       => { http => 'server { location / { DIRECTIVE } }' },
        'if in location' => { http => 'server { location / { if ($uri) { DIRECTIVE } } }' },
        'limit_except'   => { http => 'server { location / { limit_except GET { DIRECTIVE } } }' },
    );
}

# Syntax, Default and Context of a directive, as the table of its section has them.
sub table_of ($section) {
    my %table = map { $_->[0] =~ s/\*//gr => $_->[1] } Markdown::rows($section->{text});
    my ($syntax)  = Markdown::spans($table{Syntax});
    my ($default) = Markdown::spans($table{Default});
    my ($name, $arguments) = $syntax =~ /^(\w+) (.*);$/;
    return {
        name      => $name,
        arguments => $arguments,
        default   => $default,
        contexts  => [ split /, /, $table{Context} ],
    };
}

# What its arguments may be.
sub examples ($arguments) {
    return ('$uri', '$uri $args $arg_a') if $arguments eq '$name ...';
    return split / \| /, $arguments;
}

sub check_directives {
    my @directives = map { table_of($_) } $README->sections_of('Directives');
    my %contexts   = contexts();
    my $source     = slurp("$ROOT/src/directives.rs");
    is(in_order(map { $_->{name} } @directives),
        in_order($source =~ /name: sys::name\(c"(lua_var_\w+)"\)/g), 'all of them are there');

    my $nginx = NginxServer->new;
    for my $directive (@directives) {
        my ($name, $arguments) = @$directive{qw(name arguments)};
        my @examples = examples($arguments);
        for my $context (@{ $directive->{contexts} }) {
            accepts($nginx, $context, "$name $_;") for @examples;
            accepts($nginx, $context, $directive->{default}) if defined $directive->{default};
        }
        my %named = map { $_ => 1 } @{ $directive->{contexts} };
        for my $context (grep { !$named{$_} } sort keys %contexts) {
            refuses($nginx, $context, "$name $examples[0];", "\"$name\" directive is not allowed here");
        }

        my ($context) = @{ $directive->{contexts} };
        refuses($nginx, $context, "$name;", "invalid number of arguments in \"$name\" directive");
        refuses($nginx, $context, "$name ${_}x;", "invalid value \"${_}x\"") for grep { !/^\$/ } @examples;
        refuses($nginx, $context, "$name @examples;", "invalid number of arguments in \"$name\" directive")
            if $arguments !~ /\.\.\.$/;
    }

    # What the text of lua_var_index has besides.
    my @names = grep { /^\$\w+$/ } Markdown::spans($README->section('lua_var_index')->{text});
    accepts($nginx, 'http', "lua_var_index @names;");
    refuses($nginx, 'http', 'lua_var_index $no_such_variable;', 'unknown "no_such_variable" variable');
    return;
}

sub status_of ($nginx, $context, $directive) {
    my $options = { contexts() }->{$context} // die "README names the context \"$context\", unknown here\n";
    my %options = map { $_ => $options->{$_} =~ s/DIRECTIVE/$directive/r } keys %$options;
    $nginx->configure(main => '', events => '', http => '', %options);
    return $nginx->test;
}

sub accepts ($nginx, $context, $directive) {
    my ($status, $output) = status_of($nginx, $context, $directive);
    is($status, 0, "$context: $directive") or diag($output);
    return;
}

sub refuses ($nginx, $context, $directive, $sentence) {
    my (undef, $output) = status_of($nginx, $context, $directive);
    like($output, qr/\[emerg\] \Q$sentence\E/, "$context: no $directive");
    return;
}

# ---- lua_var_ctx_restore, by what it does ----------------------------------------------

# A redirect of each kind, by the name that README has for it: to /land, or near it.
sub redirects {
    return (
        'error_page'       => 'location = /error_page { KEEP content_by_lua_block { ngx.exit(502) }
            error_page 502 /land; }',
        'ngx.exec'         => 'location = /ngx.exec { KEEP content_by_lua_block { ngx.exec("/land") } }',
        'try_files'        => 'location = /try_files { KEEP try_files /none /land; }',
        'index'            => 'location = /index { rewrite ^ /index/ last; }
            location = /index/ { KEEP index /land; }',
        'X-Accel-Redirect' => "location = /X-Accel-Redirect { KEEP proxy_pass http://127.0.0.1:$PORT/answer; }",
    );
}

# Which redirects each value restores after, and what the directive's absence does.
sub check_restore {
    my $section = $README->section('lua_var_ctx_restore');
    my $table   = table_of($section);
    my ($more)  = $section->{text} =~ /`all`:\s+after (.*?) as\s+well/s or return fail('what `all` does');
    my @more    = Markdown::spans($more);
    my %redirects = redirects();
    is(in_order('error_page', @more), in_order(keys %redirects), 'the redirects that it names are tried here');

    my %restores = (off => '', error_page => 'error_page', all => in_order(keys %redirects));
    is(in_order(keys %restores), in_order(examples($table->{arguments})), 'so are the values');
    ($restores{unset}) = map { $restores{$_} } $table->{default} =~ /^\w+ (\w+);$/;

    my $locations = join "\n", map { s/KEEP/access_by_lua_block { ngx.ctx.id = "kept" }/gr } values %redirects;
    my @values    = sort keys %restores;
    my %port      = map { $values[$_] => NginxServer->port($_ + 2) } 0 .. $#values;
    my $servers   = join "\n", map {
        my $directive = $_ eq 'unset' ? '' : "lua_var_ctx_restore $_;";
        <<~"END";
            server {
                listen 127.0.0.1:$port{$_};
                $directive
                $locations
                location = /land { content_by_lua_block { ngx.print(ngx.ctx.id or "lost") } }
            }
            END
    } @values;
    my $nginx = NginxServer->new(http => <<~"END");
        $servers
        server {
            listen 127.0.0.1:$PORT;
            location = /answer { add_header X-Accel-Redirect /land; return 200; }
        }
        END
    $nginx->start;
    for my $value (@values) {
        my %got = map { $_ => $nginx->get("/$_", port => $port{$value})->{content} } keys %redirects;
        is(in_order(grep { $_ ne 'kept' && $_ ne 'lost' } values %got), '', "$value: each request lands");
        is(in_order(grep { $got{$_} eq 'kept' } keys %got), $restores{$value},
            "$value: after which redirects it restores");
    }
    $nginx->stop_cleanly;
    return;
}

# ---- Variables -------------------------------------------------------------------------

sub check_variables {
    my @sections = $README->sections_of('Variables');
    my $source   = slurp("$ROOT/src/variables.rs");
    is(in_order(map { $_->{title} } @sections),
        in_order(map { "\$$_" } $source =~ /const \w+: &\[u8\] = b"(\w+)"/g), 'all of them are there');

    my ($set) = grep { /^set \$from_error_page / }
        Markdown::spans($README->section('$from_error_page')->{text}) or return fail('how it is set');
    my $nginx = NginxServer->new(http => <<~"END");
        server {
            listen 127.0.0.1:$PORT;
            access_by_lua_block { ngx.ctx.id = ngx.ctx.id or "new" }
            location = /none { return 200 "[\$from_error_page]"; }
            location = /fails { return 500; }
            error_page 500 /none;
            location = /set-fails { set \$from_error_page other; return 500; }
            location = /set {
                $set
                content_by_lua_block { ngx.ctx.id = "kept" ngx.exec("/land") }
            }
            location = /set-other {
                set \$from_error_page other;
                content_by_lua_block { ngx.ctx.id = "kept" ngx.exec("/land") }
            }
            location = /land { content_by_lua_block { ngx.print(ngx.ctx.id) } }
        }
        END
    $nginx->start;
    my $get = sub ($path) { $nginx->get($path)->{content} };
    is($get->('/none'),      '[]',     'empty');
    is($get->('/fails'),     '[true]', 'true after an error page');
    is($get->('/set-fails'), '[true]', 'what was set before it does not count');
    is($get->('/set'),       'kept',   "$set counts as an error page");
    is($get->('/set-other'), 'new',    'another text does not');
    $nginx->stop_cleanly;
    return;
}

# ---- Lua API ---------------------------------------------------------------------------

# Functions by their headings; one of them may be for two.
sub documented { return map { split /, /, $_->{title} } $README->sections_of('Lua API') }

# Every line of syntax is Lua that runs, with an argument that may be left out and
# without it; and each function has one.
sub check_syntax {
    my %arguments = (name => '"foo"', value => '"x"', req => 'ngxvar.request()', state => 'true');
    my (%results, @calls, %has_syntax);
    for my $section ($README->sections_of('Lua API')) {
        for my $line ($section->{text} =~ /^\*\*syntax:\*\*(.*)/mg) {
            for my $span (Markdown::spans($line)) {
                my ($results, $function, $list) = $span =~ /^(?:([\w, ]+) = )?([\w.]+)\((.*)\)$/
                    or return fail("$span: syntax of a call");
                my @arguments = split /, /, $list;
                my @unknown = grep { !$arguments{ s/\?$//r } } @arguments;
                is("@unknown", '', "$span: its arguments are known here");
                $results{$_} = 1 for split /, /, $results // '';
                $has_syntax{$1} = 1 if $function =~ /^ngxvar\.(\w+)$/;

                my @variants = ([ map { s/\?$//r } @arguments ]);
                push @variants, [ grep { !/\?$/ } @arguments ] if $list =~ /\?/;
                my $call = ($results ? "$results = " : '') . $function;
                push @calls, map { "$call(" . join(', ', @$_) . ')' } @variants;
            }
        }
    }
    is(in_order(keys %has_syntax), in_order(grep { !/^_/ } documented()), 'each function has its syntax');

    my $locals = join ', ', sort keys %{ { %results, %arguments } };
    my $reset  = join "\n", map { "$_ = $arguments{$_}" } sort keys %arguments;
    my $script = join "\n", map { "$reset\nerr = nil\n$_\nassert(err == nil, err)\nngx.say([[$_]])" } @calls;
    my $nginx  = NginxServer->new(http => <<~"END");
        server {
            listen 127.0.0.1:$PORT;
            set \$foo bar;
            location / {
                content_by_lua_block {
                    local ngxvar = require "resty.ngxvar"
                    local $locals
                    $script
                }
            }
        }
        END
    $nginx->start;
    is_deeply([ split /\n/, $nginx->get('/')->{content} ], \@calls, 'each line can be run');
    is(join('', grep { /\[(?:warn|error)\]/ } $nginx->log_lines), '', 'without an error');
    $nginx->stop_cleanly;
    return;
}

# Runs the Lua below in every phase, and once what it noted is complete, gives it:
# results by what they are of, written as README writes them: nil, "stale request".
sub notes {
    my %phases;
    for my $phase (qw(rewrite access header_filter body_filter log)) {
        $phases{$phase} = qq[${phase}_by_lua_block { readme.phase("$phase") }];
    }
    my $nginx = NginxServer->new(http => <<~"END");
        init_by_lua_block {
            readme = dofile("$ROOT/t/lib/readme.lua")
            readme.names = "$ROOT/src/names.rs"
            readme.at_start("init_by_lua*")
        }
        init_worker_by_lua_block { readme.at_start("init_worker_by_lua*") }
        upstream balanced {
            server 0.0.0.1;
            balancer_by_lua_block {
                readme.phase("balancer")
                require("ngx.balancer").set_current_peer("127.0.0.1", $PORT)
            }
        }
        server {
            listen 127.0.0.1:$PORT;
            location = /phases {
                set_by_lua_block \$phase { readme.phase("set") return "" }
                $phases{rewrite}
                $phases{access}
                proxy_pass http://balanced/answer;
                $phases{header_filter}
                $phases{body_filter}
                log_by_lua_block {
                    readme.phase("log")
                    readme.types()
                    readme.has_ended = true
                }
            }
            location = /answer { content_by_lua_block { readme.phase("content") ngx.say("answer") } }
            location ~ ^/statements/(\\w+)\$ {
                set \$foo bar;
                content_by_lua_block { readme.statements() }
            }
            location = /stale { content_by_lua_block { readme.stale() } }
            location = /timer { content_by_lua_block { readme.timer() } }
            location = /handshake { content_by_lua_block { readme.handshake($TLS_PORT) } }
            location = /ended { content_by_lua_block { ngx.print(tostring(readme.has_ended)) } }
            location = /notes { content_by_lua_block { readme.print() } }
        }
        server {
            listen 127.0.0.1:$TLS_PORT ssl;
            ssl_certificate     $ENV{TEST_NGINX_CERT_DIR}/test.crt;
            ssl_certificate_key $ENV{TEST_NGINX_CERT_DIR}/test.key;
            ssl_client_hello_by_lua_block { readme.at_start("ssl_client_hello_by_lua*") }
            ssl_certificate_by_lua_block { readme.at_start("ssl_certificate_by_lua*") }
            location / { return 200; }
        }
        END
    $nginx->start;
    for my $path ('/phases?a=1', '/statements/x?a=1', '/stale', '/timer', '/handshake') {
        my $answer = $nginx->get($path);
        is($answer->{status}, 200, $path) or diag($answer->{content}, $nginx->log_lines);
    }
    $nginx->await('the log phase', sub { $nginx->get('/ended')->{content} eq 'true' });
    my %notes = map { split /\t/, $_, 2 } split /\n/, $nginx->get('/notes')->{content};
    $nginx->stop_cleanly;
    return %notes;
}

my %notes;

sub check_statements {
    %notes = notes();
    my $fetch = $README->section('fetch')->{text} =~ s/\s+/ /gr;

    my %keys = map { /^key (\w+)/ ? ($1 => $notes{$_}) : () } keys %notes;
    is_deeply(\%keys, { map { $_ => /^_/ ? '"string"' : '"function"' } documented() },
        'what the headings name is in the module, and nothing else');

    my ($numbers) = $fetch =~ /A number for (`status`.*?); a string otherwise/ or return fail('which are numbers');
    my %number = map { $_ => 1 } Markdown::spans($numbers);
    my %types  = map { /^type (\w+)/ ? ($1 => $notes{$_}) : () } keys %notes;
    cmp_ok(scalar keys %types, '>', 20, 'types of variables');
    is($types{$_}, $number{$_} ? '"number"' : '"string"', "type of $_") for sort keys %{ { %types, %number } };

    # Phases: "everywhere except".
    my ($phases) = $README->section('Lua API')->{text} =~ /^Phases: (.*?)\n\n/ms or return fail('phases');
    my $refused = $notes{'init_worker_by_lua* fetch'};
    like($refused, qr/^nil, "no variables in this context/, 'without a request: a reason');
    my @without = map { /^ssl_\*/ ? qw(ssl_client_hello_by_lua* ssl_certificate_by_lua*) : $_ }
        Markdown::spans($phases);
    for my $phase ('timer', grep { /_by_lua\*$/ && $_ ne 'init_by_lua*' } @without) {
        is($notes{"$phase request"}, 'handle', "$phase: request");
        is($notes{"$phase fetch"}, $refused, "$phase: fetch");
    }
    like($phases, qr/timers/, 'timers are among them');
    for my $phase (qw(set rewrite access content balancer header_filter body_filter log)) {
        is($notes{"phase $phase"}, $phase eq 'content' ? '"/answer"' : '"/phases"', "$phase: fetch");
    }

    # Sentences that are quoted.
    my %sentences = (
        'no request found' => [ 'init_by_lua* request' ],
        'stale request'    => [ 'stale fetch', 'stale get', 'stale set', 'stale setter', 'other pointer' ],
    );
    is(in_order(uniq map { /^nil, "(.+)"$/ } Markdown::spans($PROSE)), in_order(keys %sentences),
        'the sentences that are quoted are tried here');
    for my $sentence (sort keys %sentences) {
        is($notes{$_}, qq(nil, "$sentence"), $_) for @{ $sentences{$sentence} };
    }
    is($notes{'stale live'}, 'false, "stale request"', 'stale live');

    is($notes{"own: $_"}, 'true', $_) for map { /^own: (.*)/ } sort keys %notes;
    like($notes{"not a request: $_"}, qr/^nil, "\w+ .*"$/, "fetch(name, $_): nil and a sentence")
        for map { /^not a request: (.*)/ } sort keys %notes;

    my ($version) = slurp("$ROOT/Cargo.toml") =~ /^version = "(.*)"/m;
    is($notes{version}, qq("$version"), '_VERSION');
    return;
}

# ---- Numbers and versions --------------------------------------------------------------

sub check_numbers {
    my $slots = slurp("$ROOT/src/slots.rs");
    my %const = $slots =~ /^pub const (\w+): usize = (\d+);/mg;
    my ($limit) = $PROSE =~ /(\d[\d ]*\d) requests can be live/ or return fail('how many requests can be live');
    is($limit =~ tr/ //dr, $const{CHUNK} * $const{MAX_CHUNKS}, "$limit requests can be live");

    my ($rust)     = $PROSE =~ /stable Rust toolchain \(([\d.]+) or later\)/;
    my ($declared) = slurp("$ROOT/Cargo.toml") =~ /^rust-version = "(.*)"/m;
    is($rust, $declared, 'the Rust that is needed');

    # README says with which versions it is tested, and this may be another one.
    my $lua = $notes{lua_version} // 0;
    my %installed = (
        'nginx'            => `$ENV{TEST_NGINX_BINARY} -v 2>&1` =~ m{nginx/([\d.]+)},
        'lua-nginx-module' => join('.', int($lua / 1_000_000), int($lua / 1000) % 1000, $lua % 1000),
        'lua-resty-core'   => ($notes{core_version} // '') =~ tr/"//dr,
    );
    my ($tested) = $PROSE =~ /Tested with (.*?), all as in/ or return fail('versions');
    for my $name (sort keys %installed) {
        my ($version) = $tested =~ /(?<![\w-])\Q$name\E (\d[\d.]*\d)/ or fail("version of $name");
        diag("README says tested with $name $version, installed is $installed{$name}")
            if $version ne $installed{$name};
    }
    return;
}

# Names, to be compared as a text.
sub in_order (@names) { return join ' ', sort { $a cmp $b } @names }

sub slurp ($file) {
    open my $in, '<', $file or die "$file: $!";
    local $/;
    return readline $in;
}
