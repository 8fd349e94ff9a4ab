# The annotations for LuaLS, docs/meta/resty/ngxvar.lua, name exactly what the module has,
# with the parameters and results of docs/REFERENCE.md.

use v5.36;
use lib 't/lib';

use Markdown ();
use NginxServer;
use NgxVarTest::File qw(read_file);
use Test::More;

NginxServer->skip_unless_plain;

my $ROOT = NgxVarTest::Env::root();
my $FILE = "$ROOT/docs/meta/resty/ngxvar.lua";
my $PORT = NginxServer->port;

# ---- Against the module ----------------------------------------------------------------

# One line for each name: its type and, if the function is in Lua and takes no `...`, the
# number of its parameters.
my $nginx = NginxServer->new(http => <<~"END")->start;
    server {
        listen 127.0.0.1:$PORT;
        set \$foo bar;
        location / {
            content_by_lua_block {
                local function parameters(value)
                    local info = type(value) == "function" and debug.getinfo(value, "u")
                    return info and not info.isvararg and info.nparams or "any"
                end

                local function tell(whose, module)
                    for name, value in pairs(module) do
                        ngx.say(whose, " ", name, " ", type(value), " ", parameters(value))
                    end
                end

                local ngxvar = require "resty.ngxvar"

                tell("module", ngxvar)
                tell("meta", assert(loadfile("$FILE"))())
                tell("made", { get = ngxvar.getter("foo"), set = ngxvar.setter("foo") })
            }
        }
    }
    END
my %of;
for (split /\n/, $nginx->get('/')->{content}) {
    my ($whose, $name, $type, $count) = split;
    $of{$whose}{$name} = { type => $type, count => $count };
}
$nginx->stop_cleanly;

is("@{[ sort keys %{ $of{meta} } ]}", "@{[ sort keys %{ $of{module} } ]}", 'the annotations have the names that the library has');
for my $name (sort keys %{ $of{meta} }) {
    my ($meta, $module) = map { $of{$_}{$name} // {} } qw(meta module);
    is($meta->{type}, $module->{type}, "$name has the annotated type");
    next if $meta->{type} ne 'function' || ($module->{count} // '') eq 'any';
    is($meta->{count}, $module->{count}, "$name has the annotated number of parameters");
}
is($of{made}{get}{count}, 1, 'what getter gives takes a request');
is($of{made}{set}{count}, 2, 'what setter gives takes a value and a request');

# ---- Against docs/REFERENCE.md ---------------------------------------------------------

# The annotations as the reference's syntax: "value, err = fetch(name, req?)".
my %annotated;
my ($in, @parameters, @results);
for (split /\n/, read_file($FILE)) {
    if    (/^---\@param (\w+\??) \S/)    { push @parameters, $1 }
    elsif (/^---\@return .*?(\w+)$/)     { push @results,    $1 }
    elsif (/^function _M\.(\w+)\((.*)\)/) {
        my ($name, $list) = ($1, $2);
        is(join(', ', map { s/\?//r } @parameters), $list, "$name: each parameter has its annotation");
        $annotated{$name} = (@results ? join(', ', @results) . ' = ' : '')
            . "ngxvar.$name(" . join(', ', @parameters) . ')';
        (@parameters, @results) = ();
    }
}

my %documented;
for my $section (Markdown->read("$ROOT/docs/REFERENCE.md")->sections_of('Lua API')) {
    $documented{ $_->[0] } = $_->[1]
        for map { /ngxvar\.(\w+)\(/ ? [ $1, $_ ] : () } Markdown::spans($section->{text} =~ s/^(?!\*\*syntax).*//gmr);
}
is_deeply(\%annotated, \%documented, 'the annotations have the syntax of docs/REFERENCE.md');
done_testing;
