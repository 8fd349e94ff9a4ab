# The registry reserves virtual memory: when the limit of the process is too low, nginx says
# so when it reads its configuration, not when requests come.

use v5.36;
use lib 't/lib';

use NginxServer;
use Test::More;

NginxServer->skip_unless_plain;

my $nginx = NginxServer->new(http => <<"END");
server { listen 127.0.0.1:${\ NginxServer->port }; location / { return 204; } }
END

# nginx -t with so many kilobytes of virtual memory.
sub test_within ($kilobytes) {
    local $nginx->{under} = [ 'sh', '-c', "ulimit -v $kilobytes && exec \"\$0\" \"\$@\"" ];
    return $nginx->test;
}

my ($status, $said) = test_within(500_000);
is($status, 0, 'nginx -t passes with half a gigabyte of virtual memory') or diag $said;

($status, $said) = test_within(150_000);
isnt($status, 0, 'nginx -t fails with 150 MB of virtual memory');
like($said, qr/\[emerg\].*lua_var: cannot reserve 268435456 bytes of virtual memory/,
    'the log says that the registry could not be reserved');
like($said, qr/ulimit -v, LimitAS=/, 'and the log says what to change');

done_testing();
