package Traffic;

# Clients that send requests while a test does something to nginx.
#
#     my $traffic = Traffic->start(port => PORT, clients => 6, paths => [ '/a', '/b?x=1' ]);
#     ...
#     my $result = $traffic->stop;
#     $result->{requests}     how many were answered
#     $result->{words}        how often each word came, as a hash
#     $result->{failed}       descriptions of those that went wrong
#
# Each request has an id of its own, as the argument `id` and in the header
# `X-Id`.  The answer has to be one line: the id, a word, and "ok".
#
# Every second client keeps its connection.  When nginx closes a kept connection before it
# answers, the request is sent again; otherwise never.

use v5.36;

use NgxVarTest::Client ();
use NgxVarTest::Process qw(spawn);

my @running;
my $owner_pid = $$;

END {
    kill KILL => map { $_->{pid} } @running if $$ == $owner_pid;
}

sub start ($class, %options) {
    my $self = bless { clients => [] }, $class;
    for my $number (1 .. $options{clients}) {
        pipe my $reader, my $writer or die "pipe: $!";
        my $pid = spawn(sub {
            close $reader;
            _run_client($number, $writer, %options);
        });
        close $writer;
        push @{ $self->{clients} }, { pid => $pid, results => $reader };
    }
    push @running, @{ $self->{clients} };
    # SIGTERM would end one that does not handle it yet.
    readline $_->{results} for @{ $self->{clients} };
    return $self;
}

# Stops the clients after their current requests.
sub stop ($self) {
    my %result = (requests => 0, words => {}, failed => []);
    my @clients = @{ $self->{clients} };
    kill TERM => map { $_->{pid} } @clients;
    for my $client (@clients) {
        my $has_ended = 0;
        while (defined(my $line = readline $client->{results})) {
            chomp $line;
            if    ($line =~ /^answered (\d+)/)   { $result{requests} += $1; $has_ended = 1 }
            elsif ($line =~ /^word (\d+) (\S+)/) { $result{words}{$2} += $1 }
            else                                 { push @{ $result{failed} }, $line }
        }
        waitpid $client->{pid}, 0;
        push @{ $result{failed} }, "a client ended early ($?)" if !$has_ended || $?;
    }
    @running = grep { my $c = $_; !grep { $_ == $c } @clients } @running;
    return \%result;
}

sub _run_client ($number, $results, %options) {
    my $stopped = 0;
    local $SIG{TERM} = sub { $stopped = 1 };
    syswrite $results, "ready\n";
    my $keep  = $number % 2 == 0;
    my @paths = @{ $options{paths} };
    my ($count, $failures, %words) = (0, 0);
    my $client;

    while (!$stopped && $failures < 5) {
        my $id   = "c$number-n$count";
        my $path = $paths[ ($count + $number) % @paths ];
        my ($line, $kept) = _request($id, $path, $keep, $client, $options{port});
        $client = $kept;
        if ($line =~ /^\Q$id\E (\S+) ok\n\z/) {
            $words{$1}++;
        }
        else {
            $line =~ s/\s+/ /g;
            syswrite $results, "client $number, $path, id $id: $line\n";
            $failures++;
        }
        $count++;
    }
    syswrite $results, join '', map { "word $words{$_} $_\n" } keys %words;
    syswrite $results, "answered $count\n";
    return;
}

# The body or the problem, and the connection if it is kept.
sub _request ($id, $path, $keep, $client, $port) {
    my $mark    = $path =~ /\?/ ? '&' : '?';
    my @request = ("$path${mark}id=$id", Host => 'localhost', 'X-Id' => $id,
        Connection => $keep ? 'keep-alive' : 'close');

    while (1) {
        my $is_reused = defined $client;
        $client //= eval { NgxVarTest::Client->new($port) } // return $@;
        my ($status, $body, $head) = $client->get(@request);
        if (!defined $status) {
            return 'no answer in time'                if $client->end eq 'timeout';
            return 'no whole answer: ' . $client->rest if $client->rest ne '' || !$is_reused;
            undef $client;
            next;
        }
        undef $client if !$keep || $head !~ /^Connection: keep-alive/mi;
        return ($body, $client);
    }
}

1;
