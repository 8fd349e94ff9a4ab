# docs/REFERENCE.md is complete and agrees with the module: its tables of directives, its
# variables, functions and sentences; README.md agrees with it, and its numbers and versions with
# the sources.  Commands and code blocks are tried in readme.t.  What each of them does is tested
# in files of its own; here it is only that the documents name it as it is.

use v5.36;
use lib 't/lib';

use List::Util qw(uniq);
use Markdown ();
use NginxServer;
use NgxVarTest::File qw(read_file);
use Test::More;

NginxServer->skip_unless_plain;

my $ROOT   = NgxVarTest::Env::root();
my $README = Markdown->read("$ROOT/README.md");
my $REFERENCE = Markdown->read("$ROOT/docs/REFERENCE.md");
my $SECURITY  = Markdown->read("$ROOT/SECURITY.md");
my $PROSE  = $README->prose;
my $PORT   = NginxServer->port;

subtest 'the directives are those of the module' => \&check_directives;
subtest 'the variables are those of the module' => \&check_variables;
subtest 'Lua API: each syntax line can be run' => \&check_syntax;
subtest 'Lua API: the variables that are numbers are those of the table' => \&check_types;
subtest 'the sentences are in the sources' => \&check_sentences;
subtest 'README.md has the directives, functions and types of docs/REFERENCE.md' => \&check_summary;
subtest 'versions and limits are those of the sources' => \&check_numbers;
done_testing;

# ---- Directives ------------------------------------------------------------------------

# Every context of a directive, as nginx's documentation names it, as a configuration with
# DIRECTIVE in it.
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

# Arguments that the directive takes.
sub examples ($arguments) {
    return split / \| /, $1 if $arguments =~ /^\[(.*)\]$/;
    my ($first, $more) = $arguments =~ /^(.*?)(?: \[(.*)\])?$/;
    my @alternatives = split / \| /, $first;
    return (@alternatives, $more ? "$alternatives[-1] $more" : ());
}

# The defaults, which the tests of the directives check.
sub defaults {
    return {
        lua_var_ctx_restore   => 'lua_var_ctx_restore error_page;',     # lua_var_ctx_restore.t
        lua_var_log_refused   => 'lua_var_log_refused error rate=1r/s;', # refused.t
        lua_var_ssl_ctx       => 'lua_var_ssl_ctx inherit;',            # ngx_ctx-tls.t
        lua_var_trace_handles => 'lua_var_trace_handles off;',          # refused.t
    };
}

sub check_directives {
    my @directives = map { table_of($_) } $REFERENCE->sections_of('Directives');
    my %contexts   = contexts();
    is(in_order(map { $_->{name} } @directives),
        in_order(sources() =~ /(?:name: name\(|one_of\(\s*)c"(lua_var_\w+)"/g), 'all of them are there');

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

        is($directive->{default} // '-', defaults()->{$name} // '-', "$name: the default is what its test finds");

        my ($context) = @{ $directive->{contexts} };
        if ($arguments =~ /^\[/) {
            accepts($nginx, $context, "$name;");
        }
        else {
            refuses($nginx, $context, "$name;", "invalid number of arguments in \"$name\" directive");
        }
        refuses($nginx, $context, "$name ${_}x;", "invalid value \"${_}x\"") for grep { !/^\$| / } @examples;
        refuses($nginx, $context, "$name @examples @examples;", "invalid number of arguments in \"$name\" directive")
            if $arguments !~ /\.\.\.$/;
    }
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

# ---- Variables -------------------------------------------------------------------------

sub check_variables {
    is(in_order(map { $_->{title} } $REFERENCE->sections_of('Variables')),
        in_order(map { "\$$_" } sources() =~ /\bb"(error_page_\w+)"/g,
            sources() =~ /add_variable::<\w+>\(b"(\w+)"/g), 'all of them are there');
    return;
}

# ---- Lua API ---------------------------------------------------------------------------

# Functions by their headings; one heading may have two.
sub documented { return map { split /, /, $_->{title} } $REFERENCE->sections_of('Lua API') }

# Every line of syntax is Lua that runs, with an argument that may be left out and
# without it; and each function has one.
sub check_syntax {
    my %arguments = (names => '{ "foo", "uri" }', t => '{}', name => '"foo"', value => '"x"', req => 'ngxvar.request()', state => 'true');
    my (%results, @calls, %has_syntax);
    for my $section ($REFERENCE->sections_of('Lua API')) {
        for my $line ($section->{text} =~ /^\*\*syntax:\*\*(.*)/mg) {
            for my $span (Markdown::spans($line)) {
                my ($results, $function, $list) = $span =~ /^(?:([\w, ]+) = )?([\w.:]+)\((.*)\)$/
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
            location = /keys {
                content_by_lua_block { for key in pairs(require "resty.ngxvar") do ngx.say(key) end }
            }
        }
        END
    $nginx->start;
    is_deeply([ split /\n/, $nginx->get('/')->{content} ], \@calls, 'each line can be run');
    is(in_order(split /\n/, $nginx->get('/keys')->{content}), in_order(documented()),
        'what the headings name is in the module, and nothing else');
    is(join('', grep { /\[(?:warn|error)\]/ } $nginx->log_lines), '', 'no warning or error is logged');
    $nginx->stop_cleanly;
    return;
}

# The variables of a table of types that are numbers.
sub numbers_in ($section) {
    return map { Markdown::spans($_->[0]) } grep { $_->[1] =~ /^number\b/ } Markdown::rows($section->{text});
}

# Of all variables that nginx has, those that fetch returns as numbers.
sub check_types {
    my $nginx = NginxServer->new(http => <<~"END");
        lua_package_path "$ROOT/t/lib/?.lua;;";
        init_by_lua_block { numbers = {} }
        server {
            listen 127.0.0.1:$PORT;
            location = /proxied {
                proxy_pass http://127.0.0.1:$PORT/answer;
                log_by_lua_block {
                    local fetch = require("resty.ngxvar").fetch
                    for _, group in pairs(require("differential").groups) do
                        for name in group:gmatch("%w[%w_]*") do
                            if type(fetch(name)) == "number" then
                                numbers[name] = true
                            end
                        end
                    end
                    numbers.done = true
                }
            }
            location = /answer { return 200 "answer"; }
            location = /numbers {
                content_by_lua_block { for name in pairs(numbers) do ngx.print(name, " ") end }
            }
        }
        END
    $nginx->start;
    is($nginx->get('/proxied')->{content}, 'answer', 'a request with an upstream');
    my $numbers = $nginx->await('the log phase', sub {
        my $names = $nginx->get('/numbers')->{content};
        return $names =~ s/\bdone // ? $names : undef;
    });
    is(in_order(split ' ', $numbers), in_order(numbers_in($REFERENCE->section('fetch'))), 'the table names the variables that are numbers');
    $nginx->stop_cleanly;
    return;
}

# What the documents quote: each part between "…" is in the sources.
sub check_sentences {
    my $sources = sources() =~ s/",?\s*\n\s*"//gr =~ s/\\\s*\n\s*//gr =~ s/\\"/"/gr;
    my ($head, @rows) = Markdown::rows($REFERENCE->section('Errors')->{text});
    my @sentences = map { Markdown::spans($_->[0]) } @rows;
    push @sentences, map { /^nil, "(.+)"$/ } map { Markdown::spans($_->prose) } $README, $REFERENCE, $SECURITY;
    cmp_ok(scalar @sentences, '>=', 15, 'at least 15 sentences');
    for my $sentence (uniq @sentences) {
        # its line is the one of readme.t
        next if $sentence =~ /^lua_var: … read/;
        my @missing = grep { index($sources, $_) < 0 } grep { /\w/ } split /…/, $sentence =~ s/^lua_var: //r;
        is("@missing", '', $sentence);
    }
    return;
}

sub check_summary {
    my ($head, @rows) = Markdown::rows($README->section('Directives')->{text});
    my @directives = map { join ': ', Markdown::spans($_->[0]), $_->[1] } @rows;
    my @tables     = map { table_of($_) } $REFERENCE->sections_of('Directives');
    is(join("\n", @directives),
        join("\n", map { ($_->{default} // $_->{name}) . ': ' . join ', ', @{ $_->{contexts} } } @tables),
        'the directives with their defaults and contexts');

    my %syntax;
    for my $section ($REFERENCE->sections_of('Lua API')) {
        $syntax{$_} = 1 for map { Markdown::spans($_) } $section->{text} =~ /^\*\*syntax:\*\*(.*)/mg;
    }
    my @calls = grep { /^(?!docs)/ } map { Markdown::spans($_->[0]) } grep { $_->[0] =~ /ngxvar/ } Markdown::rows($README->section('Lua API')->{text});
    is(join(', ', grep { !$syntax{$_} } @calls), '', 'the functions have the syntax of the reference');
    my @others = map { "ngxvar.$_(" } qw(getter setter enable_patch);
    my @left   = grep { my $call = $_; /ngxvar\./ && !grep { $_ eq $call || index($call, $_) >= 0 } @calls, @others } keys %syntax;
    is(in_order(@left), '', 'no function is left out');

    is(in_order(numbers_in($README->section('Lua API'))), in_order(numbers_in($REFERENCE->section('fetch'))), 'the types');
    is(in_order(grep { /^\$/ } Markdown::spans($README->section('Directives')->{text})),
        in_order(map { $_->{title} } $REFERENCE->sections_of('Variables')), 'the variables');
    return;
}

# ---- Numbers and versions --------------------------------------------------------------

sub check_numbers {
    my %const = sources() =~ /^pub\(crate\) const (\w+): usize = (\d+);/mg;
    for my $text ($PROSE, $SECURITY->prose) {
        my ($limit) = $text =~ /(\d[\d ]*\d) (?:requests can be live|live requests)/ or return fail('how many requests can be live');
        is($limit =~ tr/ //dr, $const{CHUNK} * $const{CHUNKS}, "$limit requests can be live");
    }
    cmp_ok(-s "$ROOT/README.md", '<=', 18_000, 'README.md has at most 18 kB');

    my ($rust)     = $PROSE =~ /stable Rust toolchain \(([\d.]+) or later/;
    my ($declared) = read_file("$ROOT/Cargo.toml") =~ /^rust-version = "(.*)"/m;
    is($rust, $declared, 'README names the Rust version of Cargo.toml');

    # README says with which versions it is tested, and this may be another one.
    my $nginx = NginxServer->new(http => <<~"END")->start;
        server {
            listen 127.0.0.1:$PORT;
            location / {
                content_by_lua_block {
                    ngx.print(ngx.var.nginx_version, " ", ngx.config.ngx_lua_version, " ",
                              require("resty.core").version, " ", require("resty.ngxvar")._VERSION, " ",
                              require("resty.ngxvar")._BUILD)
                }
            }
        }
        END
    my ($nginx_version, $lua, $core, $version, $build) = split ' ', $nginx->get('/')->{content};
    $nginx->stop_cleanly;
    my ($released) = read_file("$ROOT/Cargo.toml") =~ /^version = "(.*)"/m;
    is($version, $released, '_VERSION is that of Cargo.toml');
    like($build, qr/^\Q$released\E(?:-git\.\w+)?$/, '_BUILD has the commit, too');
    my %installed = (
        'nginx'            => $nginx_version,
        'lua-nginx-module' => join('.', int($lua / 1_000_000), int($lua / 1000) % 1000, $lua % 1000),
        'lua-resty-core'   => $core,
    );
    my ($tested) = $PROSE =~ /Tested with (.*?), all as in/ or return fail('versions');
    for my $name (sort keys %installed) {
        my ($version) = $tested =~ /(?<![\w-])\Q$name\E (\d[\d.]*\d)/ or fail("version of $name");
        diag("README says tested with $name $version, installed is $installed{$name}")
            if $version ne $installed{$name};
    }
    return;
}

# All of src/.
# Those of the module that users have.
sub sources {
    return join '', map { read_file($_) } grep { -f && !m{/testing\.rs\z} } map { glob "$ROOT/src/" . '*/' x $_ . '*.*' } 0 .. 3;
}

# Names, to be compared as a text.
sub in_order (@names) { return join ' ', sort { $a cmp $b } @names }
