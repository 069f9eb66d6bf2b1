# What the TAP tests share: servers with a store, the oracle that looks for
# broken guarantees, and the comparison of two stores.

package EsTest;

use strict;
use warnings;

use Exporter 'import';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(es_server es_create es_oracle_ok es_oracle_finds es_dump_store es_state_ok
  es_after_restore_ok es_verify_ok es_sqlstate es_poll_ok es_poll_crashed uuid);

# Settings that the tests rely on; a test may add its own lines.
our $conf = q(
max_prepared_transactions = 20
deadlock_timeout = 100ms
log_line_prefix = '%m [%p] %q%a '
);

# A running server of this name with an empty store in database postgres.
sub es_server
{
	my ($name, %opt) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name, %{ $opt{new} || {} });

	$node->init(%{ $opt{init} || {} });
	$node->append_conf('postgresql.conf', $conf . ($opt{conf} || ''));
	$node->start;
	es_create($node) unless $opt{empty};
	return $node;
}

sub es_create
{
	my ($node, $db) = @_;

	$node->safe_psql($db || 'postgres', 'CREATE EXTENSION pg_eventstore');
	return $node->safe_psql($db || 'postgres', 'SELECT es_init()');
}

# An id for the n-th event of a series; the tests choose their ids.
sub uuid
{
	my ($series, $n) = @_;
	return sprintf('%08x-0000-4000-8000-%012x', $series, $n);
}

# What a statement that fails, fails with; '00000' where it does not.
sub es_sqlstate
{
	my ($node, $sql, $db) = @_;
	my ($ret, $out, $err) =
	  $node->psql($db || 'postgres', $sql, extra_params => [ '-v', 'VERBOSITY=verbose' ]);

	return $err =~ /(?:ERROR|FATAL):\s+([0-9A-Z]{5}):/ ? $1 : $ret == 0 ? '00000' : 'lost';
}

# Bounded polling.
sub es_poll_ok
{
	my ($node, $query, $name) = @_;
	ok($node->poll_query_until('postgres', $query), $name);
}

# The same right after a crash, when connections break in every way: psql may be
# gone before it has been given the query.
sub es_poll_crashed
{
	my ($node, $query, $db) = @_;

	for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		my ($ret, $out) = eval { $node->psql($db || 'postgres', $query) };

		return 1 if defined $out && $out eq 't';
		select(undef, undef, undef, 0.1);
	}
	return 0;
}

my %oracle = (
	'A1: versions are 1, 2, 3 ... in each stream' => q(
		SELECT stream, count(*), min(version), max(version) FROM es.events GROUP BY tenant, stream
		HAVING min(version) <> 1 OR max(version) <> count(*) OR count(DISTINCT version) <> count(*)),
	'A4: position order is version order' => q(
		SELECT stream, version FROM (SELECT stream, version, position,
			lag(position) OVER (PARTITION BY tenant, stream ORDER BY version) AS before FROM es.events) e
		WHERE position <= before),
	'A4: recorded_at never goes back within a stream' => q(
		SELECT stream, version FROM (SELECT stream, version, recorded_at,
			lag(recorded_at) OVER (PARTITION BY tenant, stream ORDER BY version) AS before FROM es.events) e
		WHERE recorded_at < before),
	'A5: an id comes once' => q(
		SELECT id FROM es.events GROUP BY tenant, id HAVING count(*) > 1),
	'the next position is higher than every old one' => q(
		SELECT last_value FROM es.events_position_seq WHERE last_value < (SELECT max(position) FROM es.events)),
	'P1: the horizon is at a position that was given' => q(
		SELECT last_value, is_called FROM es.events_position_seq
		WHERE es_horizon() > last_value - CASE WHEN is_called THEN 0 ELSE 1 END),
	'P1: what is published is all up to the horizon' => q(
		SELECT position FROM es.events FULL JOIN es_read(max_count => NULL, tenant => '*') AS r USING (position)
		WHERE (events.id IS NOT NULL AND position <= es_horizon()) <> (r.id IS NOT NULL)),
	'P3: es.log shows the same' => q(
		SELECT position FROM es.log FULL JOIN es_read(max_count => NULL, tenant => '*') AS r USING (position)
		WHERE log.id IS DISTINCT FROM r.id),
	'the indexes know what the table knows' => q(
		SELECT s.stream FROM (SELECT nullif(tenant, '') AS tenant, stream, count(*) AS n
			FROM es.events GROUP BY tenant, stream) s
		WHERE s.n <> es_stream_version(s.stream, tenant => s.tenant)
		   OR s.n <> (SELECT count(*) FROM es_load(s.stream, tenant => s.tenant))),
);

# Whatever has happened, this holds.
sub es_oracle_ok
{
	my ($node, $name, $db) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	subtest "$name: the oracle" => sub {
		for my $what (sort keys %oracle)
		{
			is($node->safe_psql($db || 'postgres', $oracle{$what}), '', $what);
		}
	};
}

# What the oracle finds where statements, which are rolled back, make the store wrong:
# the names of its questions.
sub es_oracle_finds
{
	my ($node, $sql) = @_;
	return grep { $node->safe_psql('postgres', "BEGIN; $sql; $oracle{$_}; ROLLBACK") ne '' } sort keys %oracle;
}

# Everything that the store holds, as text.
sub es_dump_store
{
	my ($node, $db) = @_;

	return $node->safe_psql($db || 'postgres', q(
		SELECT position, version, recorded_at, id, tenant, stream, category, type, data, metadata,
			encode(payload, 'hex') FROM es.events ORDER BY position;
		SELECT version, created_at, schema_version, tenant, stream, category, state, encode(payload, 'hex')
		FROM es.snapshots ORDER BY tenant, stream, schema_version;
		SELECT version, created_at FROM es.store));
}

sub es_state_ok
{
	my ($node, $sql, $state, $name, $db) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is(es_sqlstate($node, $sql, $db), $state, $name);
}

# How a restore, an upgrade and a re-creation end alike: the guards refuse, a
# retry with an old id is recognised, the next position is higher than every old
# one, the horizon goes on from where it was.  The store has stream "old-1", whose first event has id uuid(1, 1), type
# A and data 1.
sub es_after_restore_ok
{
	my ($node, $name, $db) = @_;

	$db ||= 'postgres';
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	subtest "$name: guards, retries and positions" => sub {
		es_state_ok($node, q(UPDATE es.events SET data = '0'), 'SE003', 'A6: UPDATE is refused', $db);
		es_state_ok($node, q(SET session_replication_role = replica; DELETE FROM es.events),
			'SE003', 'A6: DELETE is refused, as replica too', $db);
		es_state_ok($node, q(TRUNCATE es.events), 'SE003', 'A6: TRUNCATE is refused', $db);
		es_state_ok($node, q(INSERT INTO es.events SELECT * FROM es.events), 'SE003',
			'A6: INSERT is refused', $db);
		es_state_ok($node, "TRUNCATE es.$_", 'SE003', "A6: TRUNCATE of es.$_ is refused", $db) for qw(ticks epochs);

		my $before = $node->safe_psql($db,
			'SELECT count(*), max(position), es_stream_version(\'old-1\') FROM es.events');
		my ($count, $last, $version) = split /\|/, $before;
		my $horizon = $node->safe_psql($db, 'SELECT es_horizon()');
		my $id = uuid(1, 1);
		is( $node->safe_psql($db, qq(SELECT first_version, repeated
			FROM es_append_batch('old-1', 0, '{A}', '{1}', ids => '{$id}'))),
			'1|t', 'A5: a retry with an old id is recognised');
		is($node->safe_psql($db, q(SELECT es_append('old-1', -2, 'After', '{}'))),
			$version + 1, 'A1: the next version follows');
		cmp_ok($node->safe_psql($db, q(SELECT es_position('old-1'))),
			'>', $last, 'O1: the next position is higher than every old one');
		is($node->safe_psql($db, 'SELECT count(*) FROM es.events'), $count + 1, 'one event more');
		cmp_ok($node->safe_psql($db, 'SELECT es_publish()'), '>', $horizon, 'P1: the horizon goes on');
		is($node->safe_psql($db, q(SELECT count(*) FROM es_read(max_count => NULL, tenant => '*'))), $count + 1,
			'P1: and all is published');
	};
	es_oracle_ok($node, $name, $db);
	es_verify_ok($node, $name, $db);
}

# es_verify() has no finding.
sub es_verify_ok
{
	my ($node, $name, $db) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is($node->safe_psql($db || 'postgres', q(SELECT * FROM es_verify() WHERE verdict <> 'ok')), '',
		"$name: es_verify() finds nothing");
}

1;
