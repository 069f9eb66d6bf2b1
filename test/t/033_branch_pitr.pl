# P6, F1: a base backup that is recovered twice.  The first target was wrong, and a
# consumer has read there already: it gets SE005 in the second recovery, also where both
# are of the same timeline.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use EsBranch;
use EsPublish;
use EsTest;

my $primary = es_server('primary', init => { allows_streaming => 1, has_archiving => 1 });
my %horizon;

$primary->backup('base');
foreach my $point (qw(early late))
{
	$horizon{$point} = es_branch_appends($primary, 20);
	my $file = $primary->safe_psql('postgres', "SELECT pg_walfile_name(pg_create_restore_point('$point'))");
	$primary->safe_psql('postgres', 'SELECT pg_switch_wal()');
	es_poll_in($primary, 'postgres', "SELECT last_archived_wal >= '$file' FROM pg_stat_archiver", "the WAL up to '$point' is archived");
}
$primary->stop;

sub recover
{
	my ($point) = @_;
	my $node = PostgreSQL::Test::Cluster->new($point);

	$node->init_from_backup($primary, 'base', has_restoring => 1, standby => 0);
	$node->append_conf('postgresql.conf', "archive_mode = off\nrecovery_target_name = '$point'\nrecovery_target_action = 'promote'\n");
	$node->start;
	es_poll_in($node, 'postgres', 'SELECT NOT pg_is_in_recovery()', "a recovery to '$point' ends");
	is($node->safe_psql('postgres', 'SELECT es_horizon()'), $horizon{$point}, 'there');
	return $node;
}

my $late = recover('late');
es_branch_appends($late, 50);
my ($n, $cursor) = es_branch_read($late, $horizon{late});
is($n, 50, 'a consumer reads what is new after the first recovery');
$late->stop;

my $early = recover('early');
es_branch_appends($early, 200);
es_branch_lost_ok($early, $cursor, $horizon{early}, 200, 'the second recovery');
# it begins within what is lost of the first server, as far as it had seen that
is((es_error_detail($early, "SELECT * FROM es_read($horizon{late})"))[0], 'SE005', 'P6: and so is a cursor of before the first recovery');
es_oracle_ok($early, 'the second recovery');
$early->stop;
done_testing();
