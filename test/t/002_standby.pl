# A hot standby reads what the primary reads, by every reading function; writers
# refuse there and in READ ONLY transactions (25006); what is published is the same
# on both (P3); after a promotion appends go on, with higher positions.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use EsTest;

my $primary = es_server('primary', init => { allows_streaming => 1 });
my $id = uuid(1, 1);

$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;

$primary->safe_psql('postgres', qq(
	SELECT es_append('old-1', 0, 'A', '1', '{"actor": "a"}', '$id');
	SELECT es_append_batch('old-1', 1, array_fill('B'::text, '{50}'), array_fill('{"n": 1}'::jsonb, '{50}'));
	SELECT es_append_json('[{"stream": "other-1", "expected": 0, "events": [{"type": "C", "data": {}}, {"type": "D", "payload": "\\\\x00ff"}]},
		{"stream": "plain", "expected": 0, "events": [{"type": "A", "data": {}}]}]');
	SELECT es_append('order-' || i, 0, 'A', '{}', tenant => 't' || i % 2) FROM generate_series(1, 20) i;
	SELECT es_snapshot('old-1', 20, '{"state": 20}');
	SELECT es_snapshot('old-1', 30, '{"state": 30}', 2, '\\x01');
	CREATE ROLE es_bound;
	GRANT USAGE ON SCHEMA es TO es_bound;
	GRANT SELECT ON es.events TO es_bound;
	SELECT es_grant_tenant('es_bound', 't1');
	BEGIN; SELECT es_append('gone-1', 0, 'A', '{}'); ROLLBACK;));
$primary->safe_psql('postgres', 'SELECT es_publish()');
# committed, and not published
$primary->safe_psql('postgres', q(SELECT es_append('late-1', 0, 'A', '{}')));
my $middle = $primary->safe_psql('postgres', q(SELECT recorded_at FROM es_load('old-1', 10, 10)));
my @reads = (
	q(SELECT * FROM es_load('old-1')),
	q(SELECT * FROM es_load('old-1', 5, 40, max_count => 7, backwards => true)),
	qq(SELECT * FROM es_load('old-1', until => '$middle')),
	qq(SELECT * FROM es_load('old-1', since => '$middle')),
	q(SELECT * FROM es_load('order-3', tenant => 't1')),
	q(SELECT es_stream_version('old-1'), es_stream_version('gone-1')),
	q(SELECT es_position('old-1'), es_position('old-1', 7), es_position('gone-1')),
	qq(SELECT * FROM es_event('$id')),
	qq(SELECT es_event_exists('$id'), es_event_exists('${\uuid(9, 9)}')),
	q(SELECT es_category('old-1'), es_key('old-1')),
	q(SELECT * FROM es_read()),
	q(SELECT * FROM es_read(3, 5, categories => '{old,other}', types => '{A,B,C}')),
	q(SELECT * FROM es_read(stream_prefix => 'old-', backwards => true)),
	q(SELECT * FROM es_read(tenant => '*')),
	qq(SELECT * FROM es_read(since => '$middle', before => 30)),
	q(SELECT * FROM es_streams()),
	q(SELECT * FROM es_streams('{order}', tenant => '*')),
	q(SELECT es_head(), es_horizon()),
	q(SELECT * FROM es.log ORDER BY position),
	q(SELECT es_wait(es_horizon())),
	q(SELECT * FROM es_load_snapshot('old-1')),
	q(SELECT * FROM es_load_snapshot('old-1', 1)),
	q(SELECT * FROM es_rehydrate('old-1')),
	q(SELECT * FROM es_rehydrate('other-1', 5)),
	q(SELECT * FROM es.events ORDER BY position),
	# a bound role is bound there, too
	q(SET ROLE es_bound; SELECT * FROM es_read(tenant => '*')),
	q(SET ROLE es_bound; SELECT * FROM es.events ORDER BY position));
my @writes = (
	q(SELECT es_append('old-1', -1, 'A', '{}')),
	q(SELECT es_append_batch('old-1', -1, '{A}', '{1}')),
	q(SELECT es_append_json('[{"stream": "old-1", "expected": -1, "events": [{"type": "A", "data": 1}]}]')),
	q(SELECT es_try_append('old-1', -1, '{A}', '{1}')),
	q(SELECT es_try_append_json('[{"stream": "old-1", "expected": -1, "events": [{"type": "A", "data": 1}]}]')),
	q(SELECT es_snapshot('old-1', 40, '{}')),
	q(SELECT es_drop_snapshots('old', 9)),
	q(SELECT es_grant_tenant('es_bound', 't0')),
	q(SELECT es_revoke_tenant('es_bound', 't1')),
	q(SELECT es_init()),
	q(SELECT es_publish()));

$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));
for my $read (@reads)
{
	my $there = $primary->safe_psql('postgres', $read);

	isnt($there, '', "the primary has rows: $read");
	is($standby->safe_psql('postgres', $read), $there, "the standby reads the same: $read");
	is($primary->safe_psql('postgres', "BEGIN READ ONLY; $read; COMMIT"), $there, "so does READ ONLY: $read");
}
for my $write (@writes)
{
	es_state_ok($standby, $write, '25006', "25006 on the standby: $write");
	es_state_ok($primary, "BEGIN READ ONLY; $write", '25006', "25006 in READ ONLY: $write");
}
es_oracle_ok($standby, 'on the standby');
is($standby->safe_psql('postgres', 'SELECT count(*) FROM es_stat_waiting'), '0', 'es_stat_waiting answers there, and is empty');
is($standby->safe_psql('postgres', q(SELECT count(*) FROM es_read(categories => '{late}'))), '0',
	'P1: what is not published on the primary is not on the standby');
is($standby->safe_psql('postgres', q(SELECT es_head() > es_horizon())), 't', 'P1: though it is there');

# a snapshot that was taken before sees nothing of what comes
$primary->safe_psql('postgres', q(SELECT es_append('old-1', -2, 'E', '{}')));
$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));
is($standby->safe_psql('postgres', q(SELECT es_stream_version('old-1'))), '52', 'what comes later arrives');
my $horizon = $primary->safe_psql('postgres', 'SELECT es_publish()');
is($standby->safe_psql('postgres', "SELECT es_wait($horizon, '3min')"), $horizon, 'P3: so does the horizon; es_wait waits for it');
is($standby->safe_psql('postgres', q(SELECT count(*) FROM es_read(categories => '{late}'))), '1', 'P3: and what it publishes');
es_oracle_ok($standby, 'on the standby, later');

$primary->stop('immediate');
$standby->promote;
es_after_restore_ok($standby, 'after the promotion');

$standby->stop;
done_testing();
