# P6: a cursor that has seen events which a promotion or a restore lost gets SE005,
# with both numbers, also when the log has grown past it; who has seen nothing of
# what is lost goes on.  A restore publishes nothing again (O1).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use EsPublish;
use EsTest;

my $jump = 1 << 32;    # at the least; a random number comes on top

sub value
{
	my ($node, $sql, $db) = @_;
	return $node->safe_psql($db || 'postgres', $sql);
}

# SE005 for a cursor in the hole between two positions.
sub lost_ok
{
	my ($node, $cursor, $last, $first, $epoch, $name, $db) = @_;
	my %wanted = (cursor => $cursor, last => $last, first => $first, epoch => $epoch);

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	foreach my $sql ("SELECT * FROM es_read($cursor)", "SELECT es_wait($cursor, '0')")
	{
		my ($state, $detail) = es_error_detail($node, $sql, $db);

		is($state, 'SE005', "P6: $name: SE005 from $sql");
		is_deeply($detail, \%wanted, 'with both numbers, and the epoch');
	}
	return;
}

my $stream = q(SELECT es_append('s-' || i, 0, 'T', '{}') FROM generate_series(%d, %d) i);

# An event is appended, published, told of once, and above the hole.
sub goes_on_ok
{
	my ($node, $name, $last, $db) = @_;
	my $listener = es_listener($node, $db, 'es_events');

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	es_publishes_ok($node, "$name: what is appended now is published", $db);
	my $head = value($node, 'SELECT es_head()', $db);
	cmp_ok($head, '>', $last + $jump, "$name: far above what was known");
	ok($listener->await_upto($head), "$name: listeners are told");
	is_deeply([ map { $_->{count} } $listener->told ], [1], "O1: $name: and of nothing else");
	$listener->close;
	return $head;
}

# A promotion that loses a tail.
my $primary = es_preloaded('primary', init => { allows_streaming => 1, has_archiving => 1 }, conf => "restart_after_crash = on\n");
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;
value($primary, sprintf $stream, 1, 10);
my $kept = value($primary, q(SELECT es_wait(es_head(), '60s')));
es_poll_in($primary, 'postgres', 'SELECT notified = horizon FROM es_stat_publisher', 'listeners were told');
$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));
value($primary, q(SELECT pg_create_restore_point('here')));
$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));
$standby->stop;
value($primary, sprintf $stream, 11, 20);
my $cursor = value($primary, q(SELECT es_wait(es_head(), '60s')));
is(value($primary, "SELECT count(*) FROM es_read($kept)"), '10', 'a consumer reads what the standby has not');
is(value($primary, 'SELECT count(*) FROM es.epochs'), '1', 'there is one epoch');
my $dump = $primary->basedir . '/dump.sql';
$primary->command_ok([ 'pg_dump', '-d', $primary->connstr('postgres'), '-f', $dump ], 'pg_dump');
value($primary, 'SELECT pg_switch_wal()');
$primary->stop('immediate');
$standby->start;
$standby->promote;
es_has_publisher_ok($standby, 'postgres', 'after the promotion there is a publisher');
cmp_ok(value($standby, 'SELECT es_publish()'), '>=', $kept + $jump, 'the horizon is above what could be lost');
my ($last, $first, $epoch) = split /\|/, value($standby, 'SELECT last_position, first_position, epoch FROM es.epochs ORDER BY epoch DESC LIMIT 1');
is("$last $epoch", "$kept 2", 'a new epoch says where the last one ended');
cmp_ok($first, '>', $kept + $jump, 'and where it begins');
lost_ok($standby, $cursor, $last, $first, 2, 'a cursor that has seen what is lost');
lost_ok($standby, $kept + 1, $last, $first, 2, 'one that has seen one event of it');
is(value($standby, "SELECT count(*) FROM es_read($kept)"), '0', 'a cursor that has seen nothing of it goes on');
is(value($standby, "SELECT count(*) FROM es_read($kept - 5)"), '5', 'and one before that');
my $head = goes_on_ok($standby, 'after the promotion', $kept);
is(value($standby, "SELECT string_agg(position::text, ' ') FROM es_read($kept)"), $head, 'the cursor that has seen nothing lost reads on');
lost_ok($standby, $cursor, $last, $first, 2, 'also when the log has grown past it');
is(value($standby, 'SELECT count(*) FROM es_read()'), '11', 'who begins anew reads all');
is(value($standby, 'SELECT count(*) FROM es_read(' . ($first - 1) . ')'), '1', 'a cursor at the end of the hole was given by this epoch');
$standby->restart;
goes_on_ok($standby, 'after a restart', $kept);
is(value($standby, 'SELECT count(*) FROM es.epochs'), '2', 'a restart opens no epoch');
es_crash($standby);
es_publishes_ok($standby, 'nor does a crash');
is(value($standby, 'SELECT count(*) FROM es.epochs'), '2', 'there are two');
lost_ok($standby, $cursor, $last, $first, 2, 'for ever');
es_oracle_ok($standby, 'after the promotion');

# a second promotion, without a loss: the consumer goes on, holes stay apart
$standby->backup('second');
my $third = PostgreSQL::Test::Cluster->new('third');
$third->init_from_backup($standby, 'second', has_streaming => 1);
$third->start;
es_publishes_ok($standby, 'a third server follows');
$standby->wait_for_catchup($third, 'replay', $standby->lsn('insert'));
$cursor = value($standby, 'SELECT es_horizon()');
$standby->stop;
$third->promote;
my $known = value($third, 'SELECT es_head()');
is(value($third, "SELECT count(*) FROM es_read($cursor)"), '0', 'after a promotion that has lost nothing, a cursor goes on');
goes_on_ok($third, 'after the second promotion', $known);
is(value($third, "SELECT count(*) FROM es_read($cursor)"), '1', 'and reads on');
is(value($third, 'SELECT count(*), count(DISTINCT timeline) FROM es.epochs'), '3|3', 'each promotion has its epoch');
lost_ok($third, $kept + 3, $last, $first, 2, 'the first hole is told from the second');
($last, $first) = split /\|/, value($third, 'SELECT last_position, first_position FROM es.epochs WHERE epoch = 3');
lost_ok($third, $first - 5, $last, $first, 3, 'and the second from the first');
my ($state, $detail) = es_error_detail($third, 'SELECT * FROM es_read(' . ($first + 1000) . ')');
is($state, 'SE005', 'P6: a cursor ahead of the log');
is_deeply([ sort keys %$detail ], [qw(cursor last)], 'has no hole');
$third->stop;

# a point-in-time recovery
my $restored = PostgreSQL::Test::Cluster->new('restored');
$restored->init_from_backup($primary, 'base', has_restoring => 1, standby => 0);
$restored->append_conf('postgresql.conf', "recovery_target_name = 'here'\nrecovery_target_action = 'promote'\n");
$restored->start;
es_poll_in($restored, 'postgres', 'SELECT NOT pg_is_in_recovery()', 'a point-in-time recovery ends');
es_has_publisher_ok($restored, 'postgres', 'then there is a publisher');
$head = goes_on_ok($restored, 'after the recovery', $kept);
is(value($restored, 'SELECT count(*) FROM es_read()'), '11', 'what was there is read');
lost_ok($restored, $kept + 2, $kept, value($restored, 'SELECT max(first_position) FROM es.epochs'), 2, 'a cursor from after the point');
es_oracle_ok($restored, 'after the recovery');

# a dump, restored into another database and into another cluster
my $other = es_preloaded('other', empty => 1);
foreach my $target ([ $restored, 'another database' ], [ $other, 'another cluster' ])
{
	my ($node, $name) = @$target;

	value($node, 'CREATE DATABASE copy');
	my $listener = es_listener($node, 'copy', 'es_events');
	$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('copy'), '-f', $dump ], "a dump into $name");
	es_has_publisher_ok($node, 'copy', 'a publisher comes when it is complete');
	is(value($node, q(SELECT es_wait(es_head(), '60s') >= es_head()), 'copy'), 't', 'all of it is published');
	is(value($node, 'SELECT count(*) FROM es_read()', 'copy'), '20', 'and read');
	$head = goes_on_ok($node, $name, $kept + 10, 'copy');
	ok($listener->await_upto($head), 'a listener that was there before is told');
	is_deeply([ map { $_->{count} } $listener->told ], [1], 'O1: of the new event only');
	is(value($node, 'SELECT count(*), count(DISTINCT system_identifier || \' \' || database) FROM es.epochs', 'copy'), '2|2', 'P6: it has an epoch of its own');
	lost_ok($node, $kept + 11, $kept + 10, value($node, 'SELECT max(first_position) FROM es.epochs', 'copy'), 2, 'a cursor from after the dump', 'copy');
	$listener->close;
	es_oracle_ok($node, $name, 'copy');
}
$_->stop foreach $restored, $other;
done_testing();
