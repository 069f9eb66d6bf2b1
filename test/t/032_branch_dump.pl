# P6, F1: a dump that is restored twice, and a database that is copied twice.  A consumer
# that has read in the first copy gets SE005 in the second, which has other events.  And a
# thousand openings of epochs stay within the numbers that JavaScript reads exactly.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use EsBranch;
use EsTest;

my $node = es_server('branches');
my $dump = $node->basedir . '/dump.sql';

my $common = es_branch_appends($node, 20);
$node->command_ok([ 'pg_dump', '-d', $node->connstr('postgres'), '-f', $dump ], 'pg_dump');

sub restore
{
	$node->safe_psql('postgres', 'CREATE DATABASE copy');
	return $node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('copy'), '-f', $dump ], 'the dump is restored');
}

# the drill: restored, read from, and restored again
restore();
es_branch_appends($node, 50, 'copy');
my ($n, $cursor) = es_branch_read($node, $common, 'copy');
is($n, 50, 'a consumer reads what is new in the first copy');
$node->safe_psql('postgres', 'DROP DATABASE copy');
restore();
es_branch_appends($node, 80, 'copy');
es_branch_lost_ok($node, $cursor, $common, 80, 'the dump restored again', 'copy');
es_oracle_ok($node, 'the dump restored again', 'copy');

# the same by CREATE DATABASE ... TEMPLATE, also where one copy is copied on
$node->safe_psql('postgres', "CREATE DATABASE copy$_ TEMPLATE copy") for 1, 2;
$common = $node->safe_psql('copy', 'SELECT es_horizon()');
es_branch_appends($node, 50, 'copy1');
($n, $cursor) = es_branch_read($node, $common, 'copy1');
is($n, 50, 'a consumer reads in a copy of the database');
es_branch_appends($node, 80, 'copy2');
es_branch_lost_ok($node, $cursor, $common, 80, 'the second copy', 'copy2');
$node->safe_psql('postgres', 'CREATE DATABASE copy3 TEMPLATE copy2');
es_branch_appends($node, 30, 'copy3');
es_branch_lost_ok($node, $cursor, $common, 110, 'a copy of that', 'copy3');

# A thousand openings.  A row of another server that has the newest number is taken for
# what was restored, so that the next append opens an epoch.
$node->safe_psql('copy3', q(
	SET pg_eventstore.allow_maintenance = on;
	CREATE TABLE before_all AS SELECT max(epoch) AS epoch FROM es.epochs;
	DO $$
	BEGIN
		FOR i IN 1 .. 1000 LOOP
			INSERT INTO es.epochs SELECT epoch, last_position, first_position, timeline, system_identifier + 1, database, relation, opened_at
				FROM es.epochs ORDER BY epoch DESC LIMIT 1;
			PERFORM es_append('many-1', -1, 'T', '{}');
		END LOOP;
	END $$;
	CREATE VIEW jumps AS SELECT epoch, first_position - last_position - 1 AS jump, e.last_position, e.first_position, position
		FROM es.epochs AS e JOIN es_load('many-1') AS l ON e.epoch = l.version + (SELECT epoch FROM before_all)
		WHERE system_identifier = (SELECT system_identifier FROM pg_control_system());));
is($node->safe_psql('copy3', 'SELECT count(*) FROM jumps'), 1000, 'P6: a thousand epochs are opened');
is($node->safe_psql('copy3', 'SELECT count(*) FROM jumps WHERE position <> first_position'), 0, 'each by an event at its first position');
is($node->safe_psql('copy3', 'SELECT count(*) FROM jumps AS a JOIN jumps AS b ON b.epoch = a.epoch + 1 WHERE b.last_position <> a.position'), 0, 'and behind the one before');
is($node->safe_psql('copy3', 'SELECT count(*) FROM jumps WHERE jump NOT BETWEEN 1::bigint << 32 AND (1::bigint << 42) + (1::bigint << 32)'), 0,
	'P6: each is further than a lost tail is long, and no further than it may');
cmp_ok($node->safe_psql('copy3', 'SELECT count(DISTINCT jump) FROM jumps'), '>', 900, 'P6: by jumps that differ');
is($node->safe_psql('copy3', 'SELECT max(position) < 1::bigint << 53 FROM es.events'), 't', 'and JavaScript reads the last position');
is($node->safe_psql('copy3', 'SELECT es_publish() = es_head()'), 't', 'which is published');
is($node->safe_psql('copy3', q(
	CREATE FUNCTION state_of(cursor bigint) RETURNS text LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM FROM es_read(cursor, 1);
		RETURN '00000';
	EXCEPTION WHEN OTHERS THEN
		RETURN sqlstate;
	END $$;
	SELECT state_of(last_position + 1), count(*) FROM jumps GROUP BY 1)), 'SE005|1000', 'P6: a cursor in any of the holes is refused');
is($node->safe_psql('copy3', q(
	SELECT state_of(last_position), state_of(first_position - 2), state_of(first_position - 1), count(*)
	FROM jumps WHERE epoch % 20 = 0 GROUP BY 1, 2, 3)), '00000|SE005|00000|50', 'up to its end, and no other');
es_oracle_ok($node, 'after a thousand epochs', 'copy3');

$node->stop;
done_testing();
