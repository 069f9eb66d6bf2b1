# DROP EXTENSION never removes an event (O2): refused without CASCADE while the
# guards depend on it; with CASCADE the guards go and the events stay; a new
# CREATE EXTENSION and es_init() adopt them, over restarts, a dump in between.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use EsTest;

my $node = es_server('dropped');
my $dir = PostgreSQL::Test::Utils::tempdir();
my $id = uuid(1, 1);

$node->safe_psql('postgres', qq(
	SELECT es_append('old-1', 0, 'A', '1', id => '$id');
	SELECT es_append('old-1', 1, 'B', '{}');
	SELECT es_snapshot('old-1', 1, '{}');));
$node->safe_psql('postgres', 'SELECT es_publish()');
my $content = es_dump_store($node);

sub adopted_ok
{
	my ($name, $db) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	es_state_ok($node, q(SELECT es_stream_version('old-1')), '42883', "$name: no functions", $db);
	$node->safe_psql($db, 'CREATE EXTENSION pg_eventstore');
	es_state_ok($node, q(SELECT es_append('old-1', -1, 'A', '{}')), 'SE006', "$name: not ready without guards", $db);
	like($node->safe_psql($db, 'SELECT es_init()'), qr/^adopted the event store/, "$name: es_init() adopts");
	is(es_dump_store($node, $db), $content, "O2: $name: nothing is lost");
	es_after_restore_ok($node, $name, $db);
	$content = es_dump_store($node, 'postgres');
	return;
}

es_state_ok($node, 'DROP EXTENSION pg_eventstore', '2BP01', 'O2: DROP EXTENSION is refused');
is(es_dump_store($node), $content, 'O2: and nothing is lost');

$node->safe_psql('postgres', 'DROP EXTENSION pg_eventstore CASCADE');
is(es_dump_store($node), $content, 'O2: DROP EXTENSION CASCADE leaves the events');
is($node->safe_psql('postgres', q(SELECT count(*) FROM pg_trigger WHERE tgrelid IN ('es.events'::regclass, 'es.ticks'::regclass, 'es.epochs'::regclass))), '0',
	'the guards are gone');
is($node->safe_psql('postgres', q(SELECT max(position) FROM es.ticks)), '2', 'O2: and leaves what is published');
$node->restart;
$node->command_ok([ 'pg_dump', '-f', "$dir/dump.sql", '-d', $node->connstr('postgres') ], 'a dump without the extension');
$node->safe_psql('postgres', 'CREATE DATABASE copy');
$node->command_ok([ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('copy'), '-f', "$dir/dump.sql" ],
	'restores without it');
adopted_ok('from the dump', 'copy');
$content = es_dump_store($node);
adopted_ok('after a restart', 'postgres');

# again, in one session that goes on, and in another schema
$node->safe_psql('postgres', q(
	DROP EXTENSION pg_eventstore CASCADE;
	CREATE SCHEMA api;
	CREATE EXTENSION pg_eventstore SCHEMA api;
	SELECT api.es_init();));
is(es_dump_store($node), $content, 'O2: re-created in another schema');
$node->stop('immediate');
$node->start;
is($node->safe_psql('postgres', q(SET search_path = api, pg_catalog; SELECT es_append('old-1', -2, 'A', '{}') > 2)), 't',
	'appends go on from there');
es_state_ok($node, q(SET search_path = api, pg_catalog; DELETE FROM es.events), 'SE003', 'A6: guarded again');

# the schema of the data goes only by name
es_state_ok($node, 'DROP SCHEMA es', '2BP01', 'DROP SCHEMA es is refused without CASCADE');

$node->stop;
done_testing();
