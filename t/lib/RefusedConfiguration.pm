package RefusedConfiguration;

# For test files whose blocks have configurations that nginx must refuse.
#
#     use NgxVarTest;
#     use Test::Nginx::Socket::Lua 'no_plan';
#     use RefusedConfiguration;
#
# A block's section `refused` is the only [emerg] message, before " in FILE:LINE".

use v5.36;

Test::Nginx::Util::add_block_preprocessor(sub ($block) {
    return if !defined $block->refused;
    $block->set_value(must_die        => '');
    $block->set_value(suppress_stderr => '');
    $block->set_value(config          => '') if !defined $block->config;

    my $sentence = $block->refused =~ s/\s+\z//r;
    $block->set_value(error_log      => [ '[emerg]', $sentence ]);
    $block->set_value(grep_error_log => qr/(?<=\[emerg\] )\d+#\d+: .*/);
    $block->set_value(grep_error_log_out => qr/\A\d+#\d+: \Q$sentence\E in \S+:\d+\n\z/);
});

1;
