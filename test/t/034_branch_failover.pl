# P6, F1: two failovers from one primary.  The standby that is promoted first is lost too,
# after a consumer has read there; the other one, which had lagged, is promoted, and the
# consumer gets SE005.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use EsBranch;
use EsTest;

my $primary = es_server('primary', init => { allows_streaming => 1 });
my %standby;

$primary->backup('base');
foreach my $name (qw(first second))
{
	$standby{$name} = PostgreSQL::Test::Cluster->new($name);
	$standby{$name}->init_from_backup($primary, 'base', has_streaming => 1);
	$standby{$name}->start;
}
my $common = es_branch_appends($primary, 10);
$primary->wait_for_catchup($_, 'replay', $primary->lsn('insert')) foreach values %standby;
$standby{second}->stop;
my $horizon = es_branch_appends($primary, 10);
$primary->wait_for_catchup($standby{first}, 'replay', $primary->lsn('insert'));
$primary->stop('immediate');

$standby{first}->promote;
es_branch_appends($standby{first}, 50);
my ($n, $cursor) = es_branch_read($standby{first}, $horizon);
is($n, 50, 'a consumer reads what is new after the first failover');
$standby{first}->stop('immediate');

$standby{second}->start;
$standby{second}->promote;
es_branch_appends($standby{second}, 200);
es_branch_lost_ok($standby{second}, $cursor, $common, 200, 'the second failover');
es_oracle_ok($standby{second}, 'the second failover');
$standby{second}->stop;
done_testing();
