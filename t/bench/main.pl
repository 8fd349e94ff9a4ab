#!/usr/bin/perl

# make bench: measures all that the README says of speed. See t/bin/bench.

use v5.36;
use utf8;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use Fcntl qw(:flock);
use File::Path qw(make_path);

use lib map { abs_path(dirname(__FILE__)) . $_ } '/lib', '/../lib';

use Getopt::Long qw(GetOptions);
use JSON::PP ();
use Time::HiRes qw(time);

use Bench::Goals    ();
use Bench::Handlers ();
use Bench::Loops    ();
use Bench::Machine  ();
use Bench::Memory   ();
use Bench::Peers    ();
use Bench::Plot     ();
use Bench::Refused  ();
use Bench::Report   ();
use Bench::Requests ();
use Bench::Table    ();
use Bench::Worker   ();
use NgxVarTest::Signals ();

GetOptions('json' => \my $json, 'loops' => \my $loops_only, 'counted' => \my $counted)
    && !@ARGV
    or die "usage: t/bin/bench [--json | --loops] [--counted]\n";

binmode STDOUT, ':encoding(UTF-8)';
NgxVarTest::Signals::set_up(130);

my $started = time;

# On a terminal one line that is overwritten; elsewhere a line for each part.
sub progress ($what) {
    state $part = '';
    my $line = sprintf '[%3d s] %s', time - $started, $what;
    if (-t STDERR) {
        printf STDERR "\r%-70s", $line;
    }
    elsif ($part ne $what =~ s/,.*//r) {
        $part = $what =~ s/,.*//r;
        print STDERR "$line\n";
    }
    return;
}

make_path($Bench::Worker::TARGET);
open my $lock, '>', "$Bench::Worker::TARGET/lock" or die "lock: $!\n";
flock $lock, LOCK_EX | LOCK_NB or die "another make bench is running\n";
my $dir = abs_path(dirname(__FILE__));
system('cc', qw(-O2 -Wall -fPIC -shared -o), "$Bench::Worker::TARGET/probe.so", "$dir/probe.c") == 0
    or die "probe.c does not compile\n";

my @peers = Bench::Peers::given();
my %run   = (
    peers   => [ map { { name => $_->{name}, reader => $_->{reader}, title => $_->{title} } } @peers ],
    machine => [ Bench::Machine::describe() ],
);

# These are timed, so nothing runs beside them.
if (!$counted) {
    $run{loops} = Bench::Loops::run(\&progress, @peers);
    if ($loops_only) {
        print Bench::Report::loops(\%run);
        exit;
    }
    $run{table} = Bench::Table::run(\&progress);
}
$run{requests} = Bench::Requests::run(\&progress);
$run{memory}   = Bench::Memory::run(\&progress);
$run{handlers} = Bench::Handlers::run(\&progress, @peers);
$run{refused}  = Bench::Refused::run(\&progress);
$run{lines}    = [ Bench::Goals::lines(\%run) ];
$run{reached}  = grep { $_->{reached} } @{ $run{lines} };
$run{seconds}  = int(time - $started + 0.5);
progress('done');
print STDERR "\n" if -t STDERR;

Bench::Plot::write_to("$dir/plot.svg", \%run);
if ($json) {
    print JSON::PP->new->canonical->pretty->encode(\%run);
}
else {
    print Bench::Report::text(\%run);
}
