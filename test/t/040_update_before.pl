# A store of the version before (test/before names its commit, which the checks build) goes
# on under this version: with the new library at once; ALTER EXTENSION UPDATE makes the
# functions and views those of a new database, es_init() the tables those of a new store (O1).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use File::Basename;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use EsPublish;
use EsTest;

my $before = $ENV{ES_BEFORE} || '';

plan skip_all => 'FAILED TO TEST: the update from the version before, since its commit is not here' if $before eq '';

my ($version) = split / /, slurp_file("$FindBin::RealBin/../before");
my $id = uuid(1, 1);
# the programs of the installation that has the old library
my $node = es_preloaded('updated', new => { install_path => dirname(dirname($before)) });

sub value
{
	my ($sql, $db) = @_;
	return $node->safe_psql($db || 'postgres', $sql);
}

# What the extension's members are, comments and rights included.
sub members
{
	my ($db) = @_;

	return value(q(
		SET search_path = pg_catalog;
		SELECT i.type || ' ' || i.identity || E'\n' || coalesce(CASE d.classid
				WHEN 'pg_proc'::regclass THEN pg_get_functiondef(d.objid)
				WHEN 'pg_class'::regclass THEN pg_get_viewdef(d.objid) END, '')
			|| coalesce(E'\n' || obj_description(d.objid, (SELECT relname FROM pg_class WHERE oid = d.classid)), '')
			|| coalesce(E'\n' || (SELECT string_agg(a.grantee || ' ' || a.privilege_type, ', ' ORDER BY a.grantee, a.privilege_type)
				FROM aclexplode(coalesce((SELECT proacl FROM pg_proc WHERE oid = d.objid), (SELECT relacl FROM pg_class WHERE oid = d.objid))) a), '')
		FROM pg_depend d, pg_identify_object(d.classid, d.objid, d.objsubid) i
		WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
			AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'pg_eventstore') AND i.type <> 'type'
		ORDER BY i.type, i.identity COLLATE "C"), $db);
}

sub schema
{
	my ($db) = @_;
	my ($out) = run_command([ 'pg_dump', '--schema-only', '-d', $node->connstr($db) ]);

	# newer programs dump a key that is another each time
	return $out =~ s/^\\(un)?restrict .*\n//gmr;
}

is(value(q(SELECT extversion FROM pg_extension WHERE extname = 'pg_eventstore')), $version, "a store of version $version");
value(qq(
	CREATE ROLE reader; GRANT USAGE ON SCHEMA es TO reader; GRANT SELECT ON es.events TO reader;
	SELECT es_append('old-1', 0, 'A', '1', '{"actor": "a"}', '$id');
	SELECT es_append_batch('old-1', 1, array_fill('B'::text, '{500}'), array_fill('{"n": [1, null]}'::jsonb, '{500}'));
	SELECT es_snapshot('old-1', 20, '{"state": 20}');
	SELECT es_create_channel('told', '{"types": ["T"]}')));
is(value(q(SELECT es_wait(es_head(), '60s') = es_head())), 't', 'all is published');
my $content = es_dump_store($node);
my $horizon = value('SELECT es_horizon()');
$node->stop;

# the same server with the new library
delete $node->{_install_path};
$node->start;
is(es_dump_store($node), $content, 'the new library finds all that the old one has stored');
is(value('SELECT es_horizon()'), $horizon, 'and what was published');
es_has_publisher_ok($node, 'postgres', 'its publisher comes');
is(value(q(SELECT es_append('between-1', 0, 'A', '{}'))), '1', 'it appends, whatever has not been updated yet');
my $listener = es_listener($node, 'postgres', 'told');
value(q(UPDATE es.channels SET options = options || '{"types": ["A"]}'));
is(value(q(SELECT es_append('between-1', 1, 'A', '{}'))), '2', 'once more');
ok($listener->await_upto(value('SELECT es_head()')), 'and tells channels, which have no guards yet, as they are now');
$listener->close;
value('ALTER EXTENSION pg_eventstore UPDATE');
like(value('SELECT es_init()'), qr/^adopted/, 'es_init() adds what is missing');
like(value('SELECT es_init()'), qr/nothing to do/, 'and then has nothing to do');
value('CREATE DATABASE fresh');
es_create($node, 'fresh');
is(value(q(SELECT extversion FROM pg_extension WHERE extname = 'pg_eventstore')),
	value(q(SELECT extversion FROM pg_extension WHERE extname = 'pg_eventstore'), 'fresh'), 'it is of the newest version');
is(members('postgres'), members('fresh'), 'functions and views are those of a new database');
value('REVOKE ALL ON SCHEMA es FROM reader; REVOKE ALL ON es.events FROM reader');
is(schema('postgres'), schema('fresh'), 'tables and guards are those of a new store');
foreach my $table (qw(store channels))
{
	is(value("SELECT count(*) FROM pg_trigger WHERE tgrelid = 'es.$table'::regclass AND tgname ~ '^es_guard'"), '2', "A6: es.$table has its guards");
}
es_state_ok($node, 'UPDATE es.store SET salt = 0', 'SE003', 'F9, A6: the secret of the locks is not to be changed');
es_after_restore_ok($node, 'after the update');
es_publishes_ok($node, 'and goes on');
$node->stop;
done_testing();
