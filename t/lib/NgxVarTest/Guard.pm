package NgxVarTest::Guard;

# Fails any block, in both implementations, for
#
#   - an [alert] or [emerg] line in a log, which covers "worker process
#     exited on signal" and "open socket left in connection";
#   - an nginx that ended without a clean shutdown, because without a master
#     process nobody logs "exited on signal";
#   - a valgrind report (TEST_NGINX_USE_VALGRIND).
#
# Exceptions: an [emerg] in a block with `--- must_die`, and lines that match
# one of the regexes, one a line, in `--- allow_alert`.
#
# A passing block gets no extra test, so plans by count stay right.

use v5.36;

use Test::More ();
use NgxVarTest::File qw(new_lines read_file);
use NgxVarTest::Process qw(is_alive);
use NgxVarTest::Valgrind ();

my $BAD_LINE = qr{^\d{4}/\d\d/\d\d\ \d\d:\d\d:\d\d\ \[(?<level>alert|emerg)\]\ }x;

# The logs are read once, in pieces: at the end of a block, and again when
# nginx has stopped and they are about to be removed, because the shutdown
# itself writes alerts.  Those are the last block's.
my $block_of_log;
my $current_block;
my %read_to;    # by file

sub install {
    Test::Nginx::Util::add_block_preprocessor(sub ($block) { $current_block = $block });
    Test::Nginx::Util::add_test_cleanup_handler(\&_after_block);

    # For upstream, NgxVarTest::Upstream finds the moment.
    no warnings 'once';
    push @Test::Nginx::Util::LogRemovalHandlers, \&before_log_removal;
    return;
}

sub _after_block ($block) {
    $block_of_log = $block;
    _check_log($block);
    _check_alive($block);
    _check_valgrind($block);
    return;
}

# The implementation calls this when nginx has stopped and before error.log
# is removed.
sub before_log_removal (@) {
    if ($block_of_log) {
        _check_log($block_of_log);
        _check_valgrind($block_of_log);
    }
    $block_of_log = $current_block;
    %read_to = ();
    return;
}

sub _check_log ($block) {
    my @allowed = _allowed_patterns($block);
    my $may_die = defined scalar $block->must_die;

    my @bad;
    for my $line (_new_log_lines()) {
        next if $line !~ $BAD_LINE;
        next if $may_die && $+{level} eq 'emerg';
        next if grep { $line =~ $_ } @allowed;
        push @bad, $line;
    }
    _fail($block, 'an [alert] or [emerg] in a log', @bad) if @bad;
    return;
}

sub _allowed_patterns ($block) {
    my $section = $block->allow_alert;
    return if !defined $section;
    my @patterns = ref $section eq 'ARRAY'  ? @$section
                 : ref $section             ? $section
                 :                            split /\n+/, $section;
    return map { qr/$_/ } @patterns;
}

sub _new_log_lines {
    # All of them: a block may have an error_log_file of its own.
    return map { new_lines($_, \$read_to{$_}) } glob "$Test::Nginx::Util::ServRoot/logs/*.log";
}

# A clean shutdown removes the pid file, a death does not.
sub _check_alive ($block) {
    return if defined scalar $block->must_die;
    my ($pid) = read_file($Test::Nginx::Util::PidFile) =~ /^(\d+)/ or return;
    return if is_alive($pid);
    _fail($block, "nginx (pid $pid) died");
    return;
}

sub _check_valgrind ($block) {
    my $reports = NgxVarTest::Valgrind::take_reports();
    return if $reports eq '';
    _fail($block, 'valgrind has found errors', $reports);
    return;
}

sub _fail ($block, $what, @details) {
    Test::More::fail($block->name . " - $what");
    Test::More::diag(@details) if @details;
    return;
}

1;
