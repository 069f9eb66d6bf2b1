# A store is removed by two statements, with the library preloaded and without, and
# nothing of it is left; what follows is a new store (O6).  Whoever removes the schema es
# alone leaves es_private, which es_init() takes again.  A store moves to another database,
# and events are imported with their times.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use EsTest;

my %node = (
	'preloaded' => es_server('preloaded', empty => 1, conf => "shared_preload_libraries = 'pg_eventstore'\n"),
	'not preloaded' => es_server('bare', empty => 1),
);

# All that a store could leave in a database, and the files of the database.
my $left = q(
	SELECT 'namespace', nspname FROM pg_namespace WHERE oid > 16383 AND nspname !~ '^pg_'
	UNION ALL SELECT 'class', relname FROM pg_class WHERE oid > 16383
	UNION ALL SELECT 'proc', proname FROM pg_proc WHERE oid > 16383
	UNION ALL SELECT 'type', typname FROM pg_type WHERE oid > 16383
	UNION ALL SELECT 'constraint', conname FROM pg_constraint WHERE oid > 16383
	UNION ALL SELECT 'trigger', tgname FROM pg_trigger WHERE oid > 16383
	UNION ALL SELECT 'policy', polname FROM pg_policy WHERE oid > 16383
	UNION ALL SELECT 'rule', rulename FROM pg_rewrite WHERE oid > 16383
	UNION ALL SELECT 'event trigger', evtname FROM pg_event_trigger
	UNION ALL SELECT 'extension', extname FROM pg_extension WHERE extname <> 'plpgsql'
	UNION ALL SELECT 'setting', array_to_string(setconfig, ' ') FROM pg_db_role_setting
	UNION ALL SELECT 'default privilege', defaclrole::text FROM pg_default_acl
	UNION ALL SELECT 'shared dependency', classid::regclass || ' ' || objid FROM pg_shdepend
		WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
	UNION ALL SELECT 'dependency', classid::regclass || ' ' || objid FROM pg_depend WHERE objid > 16383 OR refobjid > 16383
	UNION ALL SELECT 'description', objoid::text FROM pg_description WHERE objoid > 16383
	UNION ALL SELECT 'statistic', stxname FROM pg_statistic_ext
	UNION ALL SELECT 'prepared', gid FROM pg_prepared_xacts
	UNION ALL SELECT 'lock', locktype FROM pg_locks WHERE locktype = 'advisory' ORDER BY 1, 2);

# Files of the database that belong to no relation of it; a checkpoint removes those of dropped ones.
sub stray_files
{
	my ($node, $db) = @_;

	return $node->safe_psql($db, q(
		CHECKPOINT;
		SELECT f FROM pg_ls_dir('base/' || (SELECT oid FROM pg_database WHERE datname = current_database())) AS f
		WHERE f ~ '^\d+' AND NOT EXISTS (SELECT FROM pg_class
			WHERE pg_relation_filenode(oid) = substring(f FROM '^\d+')::oid)));
}

# A database with a store in use: events of a tenant, a role's rights, channels, settings.
sub make_store
{
	my ($node, $db) = @_;

	$node->safe_psql('postgres', "CREATE DATABASE $db");
	is($node->safe_psql($db, $left), '', "$db: at first there is nothing");
	is(stray_files($node, $db), '', "$db: and no file");
	is(es_create($node, $db), 'created the event store, version 3', "$db: a store");
	$node->safe_psql($db, qq(
		DROP ROLE IF EXISTS es_shop;
		CREATE ROLE es_shop;
		GRANT USAGE ON SCHEMA es TO es_shop;
		GRANT SELECT, INSERT ON es.events TO es_shop;
		SELECT es_append('order-1', 0, 'Placed', '{}', id => '${\uuid(1, 1)}');
		SELECT es_append('order-1', 0, 'Placed', '{}', tenant => 'a');
		SELECT es_snapshot('order-1', 1, '{}');
		SELECT es_create_channel('orders', '{}');
		SELECT es_grant_tenant('es_shop', 'a');
		CREATE INDEX ON es.events (type, position);));
	$node->safe_psql($db, 'SELECT es_publish()');
	es_verify_ok($node, $db, $db);
}

# Nothing is left, and what is made next is new.
sub removed_ok
{
	my ($node, $name, $db) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is($node->safe_psql($db, $left), '', "$name: nothing is left in the catalogs");
	is(stray_files($node, $db), '', "$name: nor a file");
	is(es_create($node, $db), 'created the event store, version 3', "$name: a fresh store is made");
	is($node->safe_psql($db, q(SELECT es_append('order-1', 0, 'Placed', '{}'); SELECT es_position('order-1'))),
		"1\n1", "$name: and begins at position 1");
	es_verify_ok($node, "$name: the new store", $db);
}

my $remove = 'DROP EXTENSION pg_eventstore CASCADE; DROP SCHEMA es, es_private CASCADE;';

for my $name (sort keys %node)
{
	my $node = $node{$name};

	make_store($node, 'shop');
	es_state_ok($node, 'DROP SCHEMA es, es_private CASCADE', 'SE003', 'A6: with its guards the store goes by maintenance only', 'shop')
	  if $name eq 'preloaded';
	is($node->safe_psql('shop', 'SELECT count(*) FROM es.events'), '2', "$name: the events are there");
	$node->safe_psql('shop', $remove);
	removed_ok($node, "$name, in two statements", 'shop');

	$node->safe_psql('shop', "BEGIN; $remove COMMIT");
	removed_ok($node, "$name, in one transaction", 'shop');

	# the other order, which wants maintenance where the guards see it
	$node->safe_psql('shop', 'SELECT es_head(); SET pg_eventstore.allow_maintenance = on; DROP SCHEMA es, es_private CASCADE; DROP EXTENSION pg_eventstore');
	removed_ok($node, "$name, by maintenance", 'shop');

	# O6: the extension goes, then the schema es alone
	$node->safe_psql('shop', 'DROP EXTENSION pg_eventstore CASCADE; DROP SCHEMA es CASCADE');
	is(es_create($node, 'shop'), 'created the event store, version 3', "O6: $name: es_init() takes es_private again");
	es_verify_ok($node, "O6: $name", 'shop');
	$node->safe_psql('shop', $remove);
	removed_ok($node, "O6: $name: and nothing is left then", 'shop');
	$node->safe_psql('postgres', 'DROP DATABASE shop');
	$node->safe_psql('postgres', 'DROP ROLE es_shop');
}

# ------------------------------------------------------------ to another database

my $node = $node{'not preloaded'};
make_store($node, 'shop');
$node->safe_psql('postgres', 'CREATE DATABASE newshop');
$node->safe_psql('newshop', 'CREATE EXTENSION pg_eventstore');
my $dump = PostgreSQL::Test::Utils::tempdir() . '/shop.sql';
$node->command_ok([ 'pg_dump', '-n', 'es', '-n', 'es_private', '-f', $dump, '-d', $node->connstr('shop') ], 'the store is dumped by its schemas');
$node->command_ok([ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('newshop'), '-f', $dump ], 'and restored');
like($node->safe_psql('newshop', 'SELECT es_init()'), qr/event store/, 'es_init() there');
is(es_dump_store($node, 'newshop'), es_dump_store($node, 'shop'), 'it is the same store');
es_verify_ok($node, 'in its new place', 'newshop');

# ------------------------------------------------------------ import with kept times

$node->safe_psql('newshop', q(
	CREATE TABLE old_events AS SELECT 'old-' || n % 3 AS stream, (n + 2) / 3 AS version, 'Moved' AS type, to_jsonb(n) AS data,
		gen_random_uuid() AS id, timestamptz '2020-01-01 00:00:00+00' + n * interval '1 hour' AS happened_at FROM generate_series(1, 30) AS n));
my $import = q(
	SET LOCAL pg_eventstore.allow_maintenance = on;
	LOCK TABLE es_private.appending IN ROW SHARE MODE;
	INSERT INTO es.events (position, version, recorded_at, id, tenant, stream, category, type, data)
	SELECT nextval('es.events_position_seq'), o.version, o.happened_at, o.id, '', o.stream, es_category(o.stream), o.type, o.data
	FROM (SELECT * FROM old_events ORDER BY happened_at, version) AS o;);
my $found = q(SELECT * FROM es_verify() WHERE verdict <> 'ok';);

is($node->safe_psql('newshop', "SELECT es_head() > 0; BEGIN; $import $found ROLLBACK"), 't', 'an import is verified before it is committed');
my %session = (in => "SELECT es_head();\nBEGIN; $import SELECT 'written';\n", out => '');
$session{run} = IPC::Run::start([ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('newshop') ], '<', \$session{in}, '>', \$session{out}, '2>', \$session{out},
	IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
$session{run}->pump until $session{out} =~ /written|ERROR/;
my $before = $node->safe_psql('newshop', 'SELECT es_head()');
$node->safe_psql('newshop', q(SELECT es_append('order-2', 0, 'Placed', '{}')));
is($node->safe_psql('newshop', q(SELECT es_position('order-2') > 30 + $1, es_publish() <= $1) =~ s/\$1/$before/gr), 't|t',
	'P1: the import holds the horizon');
$session{in} = "COMMIT;\n\\q\n";
$session{run}->finish;
unlike($session{out}, qr/ERROR/, 'it is committed');
cmp_ok($node->safe_psql('newshop', 'SELECT es_publish()'), '>', $before + 30, 'P1: and published as a whole');
is($node->safe_psql('newshop', q(SELECT count(*), min(recorded_at) AT TIME ZONE 'UTC' FROM es_read(max_count => NULL) WHERE type = 'Moved')),
	'30|2020-01-01 01:00:00', 'with its own times');
is($node->safe_psql('newshop', q(SELECT es_append('old-1', 10, 'Moved', '{}'))), '11', 'A1: streams go on from there');
es_verify_ok($node, 'after the import', 'newshop');

$_->stop for values %node;
done_testing();
