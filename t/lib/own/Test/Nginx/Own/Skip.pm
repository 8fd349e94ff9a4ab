package Test::Nginx::Own::Skip;

# Sections that skip a block, or mark it as to do: skip_nginx, skip_nginx2,
# skip_openssl, skip_eval, todo, todo_nginx.

use v5.36;

use Exporter qw(import);
use Test::Nginx::Own::Version qw(compare_versions nginx_version openssl_version);
use Test::Nginx::Util ();

our @EXPORT_OK = qw(reason_to_skip refuse_unsupported);

# Upstream's sections that this implementation does not have.  A block that
# uses one would not test what it says, so it does not run at all.
my @UNSUPPORTED = qw(
    http3 tcp_listen tcp_reply tcp_query udp_listen udp_reply udp_query
    request_eval response_body_eval
);

# "<count>: <operator> <version>[: <reason>]"
my $COUNT   = qr{\s*(?<count>\d+)\s*:\s*}x;
my $VERSION = qr{(?<op>[<>]=?)\s*(?<version>\d+\.\d+\.\d+)[a-z]?}x;
my $REASON  = qr{\s*(?::\s*(?<reason>.*?))?\s*}xs;
my $BOTH    = qr{$VERSION \s*(?<join>or|and)\s*
                 (?<op2>[<>]=?)\s*(?<version2>\d+\.\d+\.\d+)}x;

sub refuse_unsupported ($block) {
    for my $section (@UNSUPPORTED) {
        next if !defined scalar $block->$section;
        Test::Nginx::Util::bail_out($block->name, " - the section '$section' needs ",
            "upstream's Test::Nginx: put its lib directory into PERL5LIB");
    }
    return;
}

# undef, or { count => tests to skip a round, reason => text, is_todo => bool }.
sub reason_to_skip ($block) {
    return _eval_says($block)
        // _version_says($block, 'skip_nginx', \&nginx_version)
        // _two_versions_say($block)
        // _version_says($block, 'skip_openssl', \&openssl_version)
        // _todo($block);
}

sub _eval_says ($block) {
    my $spec = $block->skip_eval // return undef;
    my ($count, $code) = $spec =~ /\A\s*(\d+)\s*:\s*(.*)/s
        or return _bad_spec($block, 'skip_eval');
    my $is_true = eval "package main; no strict; $code";
    Test::Nginx::Util::bail_out($block->name, " - skip_eval failed: $@") if $@;
    return undef if !$is_true;
    # the comment that the code begins with says why
    return { count => $count, reason => $code =~ /\A# (.+)/ ? $1 : 'skip_eval' };
}

sub _version_says ($block, $section, $actual_version) {
    my $spec = $block->$section // return undef;
    $spec =~ /\A$COUNT$VERSION$REASON\z/ or return _bad_spec($block, $section);
    my %spec = %+;

    # Without the library nothing that needs it can be tested.
    my $actual = $actual_version->();
    return undef if defined $actual
        && !compare_versions($actual, $spec{op}, $spec{version});
    return {
        count  => $spec{count},
        reason => $spec{reason} || "$section: $spec{op} $spec{version}",
    };
}

sub _two_versions_say ($block) {
    my $spec = $block->skip_nginx2 // return undef;
    $spec =~ /\A$COUNT$BOTH$REASON\z/ or return _bad_spec($block, 'skip_nginx2');
    my %spec   = %+;
    my $first  = compare_versions(nginx_version(), $spec{op}, $spec{version});
    my $second = compare_versions(nginx_version(), $spec{op2}, $spec{version2});
    my $holds  = $spec{join} eq 'or' ? $first || $second : $first && $second;
    return $holds
        ? { count => $spec{count}, reason => $spec{reason} || 'skip_nginx2' }
        : undef;
}

sub _todo ($block) {
    if (defined(my $spec = $block->todo)) {
        my ($count, $reason) = $spec =~ /\A\s*(\d+)\s*:\s*(.*?)\s*\z/s
            or return _bad_spec($block, 'todo');
        return { count => $count, reason => $reason, is_todo => 1 };
    }
    my $spec = $block->todo_nginx // return undef;
    $spec =~ /\A\s*$VERSION$REASON\z/ or return _bad_spec($block, 'todo_nginx');
    my %spec = %+;
    return undef if !compare_versions(nginx_version(), $spec{op}, $spec{version});
    return { count => 1, reason => $spec{reason} || 'todo_nginx', is_todo => 1 };
}

sub _bad_spec ($block, $section) {
    return Test::Nginx::Util::bail_out($block->name,
        " - cannot read the section $section: ", scalar $block->$section);
}

1;
