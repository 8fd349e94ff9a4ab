# What people do wrong, in Lua and in the configuration: the message names the mistake, and what
# to do instead.  What nginx itself says of a module file is in readme.t.

use v5.36;
use lib 't/lib';

use NginxServer;
use NgxVarTest::Client ();
use Test::More;

NginxServer->skip_unless_plain;

# ---- In Lua -----------------------------------------------------------------------------

# What is written; how the message names the mistake; what it says to do.
my $BAD_REQUEST = "bad request: expected a handle from request() or the current request's pointer, got";
my $NOT_HERE    = 'no variables in this context (TLS handshake, timer or worker start)';
my @in_lua = (
    [ 'fetch()',                     'bad variable name: expected string or number, got no value', 'ngxvar.fetch(name, req)' ],
    [ 'fetch(nil)',                  'bad variable name: expected string or number, got nil',      'ngxvar.fetch(name, req)' ],
    [ 'fetch(true)',                 'bad variable name: expected string or number, got boolean',  'ngxvar.fetch(name, req)' ],
    [ 'fetch(req, "uri")',           'bad variable name: expected string or number, got userdata', 'ngxvar.fetch(name, req)' ],
    [ 'ngxvar:fetch("uri")',         'bad variable name: expected string or number, got table',    'ngxvar.fetch(name, req), with a dot' ],
    [ 'ngxvar:fetch("uri", req)',    'bad variable name: expected string or number, got table',    'ngxvar.fetch(name, req), with a dot' ],
    [ 'fetch({ "uri", "host" })',    'bad variable name: expected string or number, got table',    'ngxvar.fetch(name, req)' ],
    [ 'fetch("uri", ngx.null)',      "$BAD_REQUEST a null pointer", 'ngxvar.fetch(name, req)' ],
    [ 'fetch("uri", nothing)',       "$BAD_REQUEST cdata",          'ngxvar.fetch(name, req)' ],
    [ 'fetch("uri", 1LL)',           "$BAD_REQUEST cdata",          'ngxvar.fetch(name, req)' ],
    [ 'fetch("uri", ngx.ctx)',       "$BAD_REQUEST table",          'ngxvar.fetch(name, req)' ],
    [ 'fetch("uri", tostring(req))', "$BAD_REQUEST string",         'ngxvar.fetch(name, req)' ],
    [ 'fetch("uri", 1)',             "$BAD_REQUEST number",         'ngxvar.fetch(name, req)' ],
    [ 'fetch("uri", false)',         "$BAD_REQUEST boolean",        'ngxvar.fetch(name, req)' ],
    [ 'fetch("uri", ngxvar.request)', "$BAD_REQUEST function",      'ngxvar.fetch(name, req)' ],
    [ 'fetch("uri", newproxy())',    "$BAD_REQUEST userdata",       'ngxvar.fetch(name, req)' ],
    [ 'fetch("uri", stale)',         'stale request' ],
    [ 'fetch("uri", pointer)',       'stale request' ],
    [ 'set()',                       'bad variable name: expected string, got no value', 'ngxvar.set(name, value, req)' ],
    [ 'set(1, "v")',                 'bad variable name: expected string, got number',   'ngxvar.set(name, value, req)' ],
    [ 'set(req, "args", "v")',       'bad variable name: expected string, got userdata', 'ngxvar.set(name, value, req)' ],
    [ 'ngxvar:set("args", "v")',     'bad variable name: expected string, got table',    'ngxvar.set(name, value, req), with a dot' ],
    [ 'set("args", req, "v")',       "$BAD_REQUEST string", 'ngxvar.set(name, value, req)' ],
    [ 'set("args", "v", {})',        "$BAD_REQUEST table",  'ngxvar.set(name, value, req)' ],
    [ 'set("args", no_text)',        'bad variable value', '"tostring" must return a string' ],
    [ 'set("no_such", "v")',         'variable "no_such" not found for writing', q{you forgot to use "set $no_such '';" in the config file} ],
    [ 'set("host", "v")',            'variable "host" not changeable' ],
    [ 'set("args", "v", stale)',     'stale request' ],
    [ 'live()',                      "$BAD_REQUEST nil",    'ngxvar.live(req)' ],
    [ 'live("1/1")',                 "$BAD_REQUEST string", 'ngxvar.live(req)' ],
    [ 'ngxvar:live(req)',            "$BAD_REQUEST table",  'ngxvar.live(req), with a dot' ],
    [ 'return req.uri',              q{a request's handle has no "uri"}, 'call ngxvar.fetch("uri", req)' ],
    [ 'return req:uri()',            q{a request's handle has no "uri"}, 'call ngxvar.fetch("uri", req)' ],
    [ 'req.args = "v"',              q{a request's handle has no "args"}, 'call ngxvar.set("args", value, req)' ],
    [ 'req:fetch("uri")',            q{a request's handle has no "fetch"}, 'call ngxvar.fetch(name, req)' ],
    [ 'req:set("args", "v")',        q{a request's handle has no "set"},   'call ngxvar.set(name, value, req)' ],
    [ 'ngxvar:getter("uri")',        'bad variable name: expected string, got table', 'ngxvar.getter(name), with a dot' ],
    [ 'ngxvar:reader{ "uri" }',      'bad call: ',                                    'ngxvar.reader(names), with a dot' ],
    [ 'ngxvar:enable_patch(false)',  'bad argument to enable_patch(): expected true or false, got table', 'ngxvar.enable_patch(state), with a dot' ],
    [ 'getter()',                    'bad variable name: expected string, got nil',    'ngxvar.getter(name)' ],
    [ 'getter(1)',                   'bad variable name: expected string, got number', 'ngxvar.getter(name)' ],
    [ 'getter("uri")("uri")',        "$BAD_REQUEST string", 'ngxvar.fetch(name, req)' ],
    [ 'setter({})',                  'bad variable name: expected string, got table',  'ngxvar.setter(name)' ],
    [ 'setter("args")(req, "v")',    "$BAD_REQUEST string", 'ngxvar.set(name, value, req)' ],
    [ 'reader()',                    'bad argument to reader(): ', 'expected a list of names, got nil' ],
    [ 'reader("uri", "host")',       'bad argument to reader(): ', 'expected a list of names, got string' ],
    [ 'reader({})',                  'bad argument to reader(): ', 'expected 1 to 64 names, got 0' ],
    [ 'reader({ "uri", 1 })',        'bad argument to reader(): ', 'expected a name as number 2, got number' ],
    [ 'read("uri")',                 "$BAD_REQUEST string",        'ngxvar.fetch(name, req)' ],
    [ 'read.table(req)',             'bad call: ',                 'write read:table(req, t), with a colon' ],
    [ 'read:table(req, "t")',        'bad argument to read:table(): ', 'expected a table to fill, got string' ],
    [ 'enable_patch()',              'bad argument to enable_patch(): ', 'expected true or false, got nil' ],
    [ 'enable_patch("off")',         'bad argument to enable_patch(): ', 'expected true or false, got string' ],
);

# The same in contexts without a request: what is written, and the message.
my @elsewhere = (
    [ 'init_by_lua',        'fetch("uri")',   'no request found' ],
    [ 'init_worker_by_lua', 'fetch("uri")',   $NOT_HERE ],
    [ 'a timer',            'fetch("uri")',   $NOT_HERE ],
    [ 'a timer',            'fetch("uri", request())', $NOT_HERE ],
    [ 'a timer',            'set("own", "v")', $NOT_HERE ],
);

my $names_both = 0;

{
    my $nginx = NginxServer->new;
    my $port  = NginxServer->port;
    # a mistake that is a statement has no value
    my $function = sub ($written) {
        my $code = $written =~ /^return |^req\.\w+ = / ? $written : "return $written";
        return "function () $code end";
    };
    my $list = sub (@written) { return join ",\n", map { $function->($_) } @written };
    my $in   = sub ($context) { return $list->(map { $_->[1] } grep { $_->[0] eq $context } @elsewhere) };
    $nginx->configure(http => <<"END");
        init_by_lua_block {
            ngxvar = require "resty.ngxvar"
            heard = {}
            -- what the mistakes are told
            function hear(context, mistakes)
                for n, mistake in ipairs(mistakes) do
                    local ok, value, err = pcall(mistake)
                    heard[context .. n] = tostring(err or value)
                end
            end
            no_text = setmetatable({}, { __tostring = function () return {} end })
            nothing = require("ffi").cast("void *", 0)
            pointer = require("ffi").cast("void *", 4096)
            for name, f in pairs(ngxvar) do rawset(_G, name, f) end
            hear("init_by_lua", { @{[ $in->('init_by_lua') ]} })
        }
        init_worker_by_lua_block {
            hear("init_worker_by_lua", { @{[ $in->('init_worker_by_lua') ]} })
            read = reader { "uri", "host" }
            ngx.timer.at(0, function () hear("a timer", { @{[ $in->('a timer') ]} }) end)
        }
        server {
            listen 127.0.0.1:$port;
            set \$own "";
            location = /keep { content_by_lua_block { rawset(_G, "stale", request()) ngx.say("kept") } }
            location = /make {
                content_by_lua_block {
                    rawset(_G, "req", request())
                    hear("request", {
                        @{[ $list->(map { $_->[0] } @in_lua) ]}
                    })
                    ngx.say("made")
                }
            }
            location = /heard {
                content_by_lua_block { ngx.print(heard[ngx.var.arg_context:gsub("_", " ") .. ngx.var.arg_n]
                                                 or heard[ngx.var.arg_context .. ngx.var.arg_n]) }
            }
        }
END
    $nginx->start;
    $nginx->get('/keep');
    is($nginx->get('/make')->{content}, "made\n", 'the mistakes are made');
    my $heard = sub ($context, $n) {
        return $nginx->get('/heard?context=' . $context =~ tr/ /_/r . "&n=$n")->{content};
    };
    for my $n (1 .. @in_lua) {
        my ($written, $mistake, $remedy) = @{ $in_lua[ $n - 1 ] };
        my $said = $heard->('request', $n);
        my $names_it = like($said, qr/\Q$mistake\E/, "$written: the mistake");
        next if !defined $remedy;
        $names_both++ if like($said, qr/\Q$remedy\E/, "$written: the remedy") && $names_it;
    }
    my %n;
    for (@elsewhere) {
        my ($context, $written, $mistake) = @$_;
        is($heard->($context, ++$n{$context}), $mistake, "$written in $context: the mistake");
    }
    $nginx->stop;
}

# ---- In the configuration ---------------------------------------------------------------

# Where, what is written, and the line of `nginx -t`. nginx itself writes those that begin with
# the name of the directive.
my $not_here = sub ($name) { return qq{"$name" directive is not allowed here} };
my $twice    = sub ($name) { return qq{"$name" directive is duplicate} };
my $values   = sub ($value, $name, $expected) {
    return qq{invalid value "$value" in "$name" directive, it must be $expected};
};
my @in_conf = (
    [ main     => 'lua_var_ctx_restore all;',        $not_here->('lua_var_ctx_restore') ],
    [ server   => 'lua_var_status;',                 $not_here->('lua_var_status') ],
    [ location => 'lua_var_ssl_ctx off;',            $not_here->('lua_var_ssl_ctx') ],
    [ server   => 'lua_var_log_refused off;',        $not_here->('lua_var_log_refused') ],
    [ location => 'lua_var_trace_handles on;',       $not_here->('lua_var_trace_handles') ],
    [ http     => 'lua_var_ctx_restore;',            'invalid number of arguments in "lua_var_ctx_restore" directive' ],
    [ server   => 'lua_var_ssl_ctx off; lua_var_ssl_ctx off;', $twice->('lua_var_ssl_ctx') ],
    [ http     => 'lua_var_ctx_restore maybe;',
        $values->('maybe', 'lua_var_ctx_restore', '"off", "error_page" or "all"') ],
    [ server   => 'lua_var_ssl_ctx on;', $values->('on', 'lua_var_ssl_ctx', '"inherit" or "off"') ],
    [ location => 'lua_var_status xml;',
        $values->('xml', 'lua_var_status', '"text", "json", "prometheus" or "html"') ],
    [ http     => 'lua_var_trace_handles yes;', $values->('yes', 'lua_var_trace_handles', '"on" or "off"') ],
    [ http     => 'lua_var_log_refused crit;',
        qr/invalid value "crit" in "lua_var_log_refused" directive, it must be .*"error"/ ],
    [ http     => 'lua_var_log_refused warn rate=1r/m;',
        'invalid rate "rate=1r/m" in "lua_var_log_refused" directive, it must look like "rate=10r/s", at most 1000' ],
);
{
    my $nginx  = NginxServer->new;
    my %places = (
        main     => [ '%s', '' ],
        http     => [ '', '%s server { }' ],
        server   => [ '', 'server { %s }' ],
        location => [ '', 'server { location / { %s } }' ],
    );
    for (@in_conf) {
        my ($place, $written, $line) = @$_;
        my ($main, $http) = map { s/%s/$written/r } @{ $places{$place} };
        $nginx->configure(main => $main, http => $http);
        my ($status, $output) = $nginx->test;
        isnt($status, 0, "$written in $place: nginx -t fails");
        my $is_said = like($output, ref $line ? $line : qr/\[emerg\] .*\Q$line\E in \S+:\d+/, 'it says why');
        $names_both++ if $is_said && $output =~ /it must (?:be|look like)/;
    }
}

cmp_ok(@in_lua + @elsewhere + @in_conf, '>=', 55, 'there are as many mistakes');
cmp_ok($names_both, '>=', 45, "so many have the mistake and the remedy: $names_both");
done_testing;
