package Test::Nginx::Socket;

# The project's own implementation of the Test::Nginx format: the blocks of a
# .t file, parsed by Test::Base, each run against an nginx of its own.  See
# Test::Nginx::Own::Run for the life of a block.

use v5.36;

use Test::Base -base;
use Test::Nginx::Util ();

our $VERSION = $Test::Nginx::Util::VERSION;

# Spiffy, Test::Base's base class, exports this list to the test file, and to
# classes derived from this one.
our @EXPORT = (@Test::Nginx::Util::EXPORT, 'plan');

Test::Nginx::Util->import;

# Code applied to every block's http_config.
sub set_http_config_filter : prototype($) {
    $Test::Nginx::Util::FilterHttpConfig = $_[0];
    return;
}

1;
