package Test::Nginx::Own::Config;

# The server root of a block: directories, user files and nginx.conf.

use v5.36;

use Exporter qw(import);
use File::Basename qw(dirname);
use File::Path qw(make_path remove_tree);

use NgxVarTest::File qw(write_file);
use Test::Nginx::Own::Text qw(expand_env);
use Test::Nginx::Own::Version qw(compare_versions nginx_version);
use Test::Nginx::Util ();

our @EXPORT_OK = qw(make_server_root write_user_files write_config uses_http2);

# Only what nginx and the harness make there is removed, so that a
# TEST_NGINX_SERVROOT set to a wrong directory costs nobody their files.
sub make_server_root ($is_running) {
    my $root = $Test::Nginx::Util::ServRoot;
    remove_tree($Test::Nginx::Util::ConfDir, $Test::Nginx::Util::HtmlDir,
        "$root/cache", glob("$root/*_cache"), glob("$root/*_temp"));
    if ($is_running) {
        # A running nginx has them open, for appending: they can be emptied.
        truncate $_, 0 for glob "$Test::Nginx::Util::LogDir/*.log";
    }
    else {
        remove_tree($Test::Nginx::Util::LogDir);
    }

    make_path($Test::Nginx::Util::LogDir, $Test::Nginx::Util::HtmlDir,
        $Test::Nginx::Util::ConfDir);
    write_file("$Test::Nginx::Util::HtmlDir/index.html",
        '<html><head><title>It works!</title></head>'
        . '<body>It works!</body></html>');
    return;
}

sub write_user_files ($block) {
    my $section = $block->user_files;
    return if !defined $section;

    my $name = $block->name;
    for my $file (ref $section ? @$section : _split_files($section)) {
        my ($path, $body, $date) = @$file;
        $path = "$Test::Nginx::Util::HtmlDir/$path" if $path !~ m{^/};
        make_path(dirname($path));
        write_file($path, expand_env($body // '', $name));
        if (defined $date) {
            local $ENV{TZ} = 'GMT';
            system('touch', '-t', $date, $path) == 0
                or Test::Nginx::Util::bail_out("$name - bad date '$date' in user_files");
        }
    }
    return;
}

# ">>> name [date]", anywhere in a line, starts a file.
sub _split_files ($text) {
    my @files;
    for my $line (split /^/, $text) {
        if ($line =~ />>> (\S+)(?:\s+(\S.*?))?\s*$/) {
            push @files, [ $1, '', $2 ];
        }
        elsif (@files) {
            $files[-1][1] .= $line;
        }
    }
    return @files;
}

sub write_config ($block, $server_config) {
    write_file($Test::Nginx::Util::ConfFile, _nginx_conf($block, $server_config));
    return;
}

# Tests may expect "nginx.conf:<line>" in an error message, so the texts of a
# block begin on the lines where upstream puts them: without env_to_nginx(),
# main_config on 16, http_config on 25 and, if those are empty, config on 39.
sub _nginx_conf ($block, $server_config) {
    my $name   = $block->name;
    my $expand = sub ($section) { expand_env(scalar $block->$section, $name) // '' };

    my $http_config = $expand->('http_config');
    if (my $filter = $Test::Nginx::Util::FilterHttpConfig) {
        $http_config = $filter->($http_config);
    }

    return join "\n",
        _padded(15 + @Test::Nginx::Util::EnvToNginx, _main_directives($block)),
        join(' ', _load_directives(), $expand->('main_config')),
        _padded(8, '', 'http {', _http_directives($http_config)),
        $http_config,
        _padded(9, '    server {', _server_directives($block)),
        $Test::Nginx::Util::ConfigPreamble,
        _padded(3),
        expand_env($server_config, $name),
        _root_location(),
        '    }',
        '}',
        $expand->('post_main_config'),
        _events(),
        '';
}

sub _padded ($count, @lines) {
    return @lines, ('') x ($count - @lines);
}

sub _load_directives {
    return map { "load_module $_;" } split ' ', $Test::Nginx::Util::LoadModules // '';
}

sub _main_directives ($block) {
    my $log = expand_env(scalar $block->error_log_file, $block->name)
        // $Test::Nginx::Util::ErrLogFile;
    my $daemon = $Test::Nginx::Util::UseValgrind ? 'off' : 'on';
    return (
        "worker_processes $Test::Nginx::Util::Workers;",
        "daemon $daemon;",
        "master_process $Test::Nginx::Util::MasterProcessEnabled;",
        "error_log $log $Test::Nginx::Util::LogLevel;",
        "pid $Test::Nginx::Util::PidFile;",
        ($> == 0 ? 'user root;' : ()),
        (map { 'env ' . _quote_if_needed($_) . ';' }
            qw(LD_PRELOAD LD_LIBRARY_PATH ASAN_OPTIONS),
            @Test::Nginx::Util::EnvToNginx),
    );
}

sub _http_directives ($http_config) {
    my $root     = $Test::Nginx::Util::ServRoot;
    my $log      = $Test::Nginx::Util::CheckLeak ? 'off' : $Test::Nginx::Util::AccLogFile;
    my $postpone = $Test::Nginx::Util::PostponeOutput;

    # A path the block sets itself must not be set twice.
    my @temp_paths = grep { $http_config !~ /\b$_\b/ }
        map { "${_}_temp_path" } qw(client_body proxy fastcgi scgi uwsgi);
    return (
        "    access_log $log;",
        '    default_type text/plain;',
        '    keepalive_timeout 68000ms;',
        join(' ', '   ', map { "$_ $root/" . s/_path$//r . ';' } @temp_paths),
        (defined $postpone && $http_config !~ /\bpostpone_output\b/
            ? "    postpone_output $postpone;" : ()),
    );
}

sub _server_directives ($block) {
    my $server_name = $block->server_name // $Test::Nginx::Util::ServerName;
    $server_name =~ s/\s+\z//;
    $server_name =~ s/([\\'])/\\$1/g;

    my $listen = "$Test::Nginx::Util::ServerAddr:$Test::Nginx::Util::ServerPort";
    my $http2_directive = '';
    if (uses_http2($block)) {
        if (compare_versions(nginx_version(), '>=', '1.25.1')) {
            $http2_directive = ' http2 on;';
        }
        else {
            $listen .= ' http2';
        }
    }
    return (
        "        listen $listen;$http2_directive",
        "        server_name '$server_name';",
        '        client_max_body_size 30M;',
    );
}

sub _root_location {
    return '' if $Test::Nginx::Util::NoRootLocation;
    return <<~"END";
            location / {
                root $Test::Nginx::Util::HtmlDir;
                index index.html index.htm;
            }
    END
}

sub _events {
    my $use = $Test::Nginx::Util::EventType;
    return join "\n",
        'events {',
        '    accept_mutex off;',
        "    worker_connections $Test::Nginx::Util::WorkerConnections;",
        ($use ? "    use $use;" : ()),
        '}';
}

sub uses_http2 ($block) {
    return 0 if defined scalar $block->no_http2;

    my $raw = defined scalar $block->raw_request
        || defined scalar $block->pipelined_requests;
    if (defined scalar $block->http2) {
        Test::Nginx::Util::bail_out($block->name,
            ' - http2 works neither with raw_request nor pipelined_requests') if $raw;
        return 1;
    }
    my $request = $block->request;
    return $Test::Nginx::Util::UseHttp2 && !$raw && defined $request
        && (ref $request || $request !~ m{HTTP/1\.0}) ? 1 : 0;
}

sub _quote_if_needed ($value) {
    return $value =~ /\s/ ? "'$value'" : $value;
}

1;
