package NgxVarTest;

# Chooses the Test::Nginx implementation for a .t file and prepares the
# environment both implementations read:
#
#     use lib 't/lib';
#     use NgxVarTest;
#     use Test::Nginx::Socket::Lua 'no_plan';
#
# Upstream's Test::Nginx is used when it can be found in @INC (PERL5LIB);
# otherwise the project's own in t/lib/own.  Nothing has to be set by hand:
# binary, modules, ports, server root and certificate get their defaults here
# (NgxVarTest::Env).  A worker that dies, an [alert] or an [emerg] fails the
# block in either implementation (NgxVarTest::Guard).

use v5.36;

use File::Spec ();
use Test::More ();

use NgxVarTest::Env ();
use NgxVarTest::Server ();
use NgxVarTest::Signals ();

# Compiled before Test::Nginx::Util on purpose: END blocks run last in, first
# out, so nginx has been stopped by the time its files are removed here.
my $owner_pid = $$;
END {
    if ($$ == $owner_pid) {
        # Upstream's END loses the status, and a file cut short would pass.
        my $status = NgxVarTest::Signals::has_ended() ? 1 : $?;
        NgxVarTest::Env::remove_files();
        $? = $status;
    }
}

# With log_refused => 0 a block has the default of lua_var_log_refused, `error`. In most files a
# refusal is what is tested, and `--- no_error_log: [error]` is about everything else.
sub import ($class, %options) {
    state $done = 0;
    return if $done++;

    NgxVarTest::Signals::set_up();
    NgxVarTest::Env::set_defaults();
    _bail_out_if_unusable();

    my $is_upstream = _find_upstream();
    if (!$is_upstream) {
        push @INC, File::Spec->catdir(NgxVarTest::Env::lib_dir(), 'own');
    }

    require Test::Nginx::Util;
    require NgxVarTest::Guard;
    NgxVarTest::Guard::install();
    Test::Nginx::Util::add_block_preprocessor(\&_warn_of_refusals) if $options{log_refused} // 1;
    if ($is_upstream) {
        require NgxVarTest::Upstream;
        NgxVarTest::Upstream::adapt();
    }

    Test::More::note('Test::Nginx: ' . ($is_upstream
        ? "upstream $Test::Nginx::Util::VERSION"
        : "the project's own (t/lib/own)"));
    return;
}

# The first preprocessor that is added runs last.
sub _warn_of_refusals ($block) {
    my $http = $block->http_config // '';
    return if $http =~ /lua_var_log_refused/ || ($block->config // '') =~ /lua_var_log_refused/;
    # without another line, because errors have the number of theirs
    $block->set_value(http_config => $http =~ s/\s*\z/ lua_var_log_refused warn;\n/r);
    return;
}

sub _find_upstream {
    return !!grep { !ref && -f "$_/Test/Nginx/Socket.pm" } @INC;
}

# A suite that cannot run must say so in one sentence and must not pass.
sub _bail_out_if_unusable {
    my $binary = $ENV{TEST_NGINX_BINARY};
    if (!-x $binary) {
        Test::More::BAIL_OUT("$binary is not an executable nginx: "
            . "install it (apt-get install nginx) or set TEST_NGINX_BINARY");
    }
    for my $module (split ' ', $ENV{TEST_NGINX_LOAD_MODULES}) {
        next if -f $module;
        my $fix = $module =~ m{^/usr/lib/}
            ? 'run `apt-get install libnginx-mod-http-lua`'
            : 'run `make`';
        Test::More::BAIL_OUT("the module $module does not exist: $fix");
    }
    return;
}

1;
