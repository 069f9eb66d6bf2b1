# Preloaded, statements that would undo what the store keeps are refused with SE003,
# for its owner and a superuser alike (A6); what leaves it as it is passes, and so do
# the store's own functions, restores (O1), DROP EXTENSION (O2) and, logged, a
# superuser with pg_eventstore.allow_maintenance.  Not preloaded they go through, and
# es_status() says so.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use EsClient;
use EsTest;

my $preload = q(
shared_preload_libraries = 'pg_eventstore'
allow_in_place_tablespaces = on
);
my $node = es_server('ddl', conf => $preload, empty => 1);
my $dir = PostgreSQL::Test::Utils::tempdir();
my $id = uuid(1, 1);
my $on = 'SET pg_eventstore.allow_maintenance = on;';

# A store that belongs to an ordinary role, and what the statements below need.
sub make_store
{
	my ($db) = @_;

	$node->safe_psql($db, qq(
		CREATE EXTENSION pg_eventstore;
		CREATE EXTENSION citext;
		GRANT EXECUTE ON FUNCTION pg_eventstore_guard() TO es_keeper, es_heir;
		GRANT CREATE ON DATABASE $db TO es_keeper, es_heir;
		GRANT CREATE ON SCHEMA public TO es_keeper;
		CREATE FOREIGN DATA WRAPPER es_wrapper;
		CREATE SERVER es_far FOREIGN DATA WRAPPER es_wrapper;
		GRANT USAGE ON FOREIGN SERVER es_far TO es_keeper;
		SET ROLE es_keeper;
		SELECT es_init();
		SELECT es_append('old-1', 0, 'A', '1', id => '$id');
		SELECT es_append_batch('old-1', 1, array_fill('B'::text, '{100}'), array_fill('{}'::jsonb, '{100}'));
		SELECT es_snapshot('old-1', 20, '{"state": 20}');
		SELECT es_create_channel('es_seen');
		CREATE FUNCTION public.pass() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
		CREATE TRIGGER mine AFTER INSERT ON es.events FOR EACH ROW EXECUTE FUNCTION public.pass();
		CREATE TABLE public.child (LIKE es.events INCLUDING CONSTRAINTS);
		CREATE TABLE public.parent (LIKE es.events);
		CREATE TABLE public.parted (LIKE es.events) PARTITION BY RANGE (position);
		CREATE TYPE public.event AS (position bigint);
		CREATE SCHEMA elsewhere;));
	return;
}

# What a refused statement must leave as it is.
sub look
{
	my ($db) = @_;

	return es_dump_store($node, $db) . $node->safe_psql($db, q(
		CREATE TEMP TABLE ours AS SELECT oid FROM pg_class
			WHERE relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname IN ('es', 'es_private'));
		SELECT oid::regclass, relkind, relpersistence, relispartition, relrowsecurity, relowner::regrole, reloptions
		FROM pg_class WHERE oid IN (TABLE ours) ORDER BY 1;
		SELECT attrelid::regclass, attnum, attname, atttypid::regtype, attnotnull, atthasdef, attidentity
		FROM pg_attribute WHERE attrelid IN (TABLE ours) AND attnum > 0 ORDER BY 1, 2;
		SELECT tgrelid::regclass, tgname, tgenabled, pg_get_triggerdef(oid)
		FROM pg_trigger WHERE tgrelid IN (TABLE ours) ORDER BY 1, 2;
		SELECT conrelid::regclass, conname, pg_get_constraintdef(oid)
		FROM pg_constraint WHERE conrelid IN (TABLE ours) ORDER BY 1, 2;
		SELECT indexrelid::regclass, indisvalid FROM pg_index WHERE indrelid IN (TABLE ours) ORDER BY 1;
		SELECT ev_class::regclass, rulename, pg_get_ruledef(oid) FROM pg_rewrite WHERE ev_class IN (TABLE ours) ORDER BY 1, 2;
		SELECT inhrelid::regclass, inhparent::regclass FROM pg_inherits
		WHERE inhrelid IN (TABLE ours) OR inhparent IN (TABLE ours) ORDER BY 1, 2;
		SELECT * FROM pg_sequences WHERE schemaname = 'es' ORDER BY 1, 2;
		SELECT proname, prosecdef, prolang, prosrc, proconfig FROM pg_proc WHERE proname = 'pg_eventstore_guard';
		SELECT pg_describe_object(classid, objid, objsubid), pg_describe_object(refclassid, refobjid, 0), deptype
		FROM pg_depend WHERE deptype IN ('e', 'x') ORDER BY 1, 2;));
}

$node->safe_psql('postgres', q(
	CREATE ROLE es_keeper;
	CREATE ROLE es_heir;
	GRANT es_heir TO es_keeper;
	CREATE TABLESPACE es_space LOCATION '';
	GRANT CREATE ON TABLESPACE es_space TO es_keeper;));
make_store('postgres');
my $before = look('postgres');

sub refused_ok
{
	my ($sql, $role, $state) = @_;
	my $who = $role || 'a superuser';

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	es_state_ok($node, ($role ? "SET ROLE $role; " : '') . $sql, $state || 'SE003', "A6: $who: $sql");
	is(look('postgres'), $before, 'A6: and nothing has changed') or $before = look('postgres');
	return;
}

# --- refused, for the owner and a superuser

my @refused = (
	# guards
	(map { my $table = $_; map { "ALTER TABLE es.$table $_" }
		'DISABLE TRIGGER es_guard_row', 'DISABLE TRIGGER es_guard_statement', 'DISABLE TRIGGER ALL',
		'DISABLE TRIGGER USER', 'ENABLE TRIGGER es_guard_row', 'ENABLE REPLICA TRIGGER es_guard_statement',
		'ENABLE TRIGGER ALL', 'ENABLE TRIGGER USER' } qw(events ticks epochs store bindings channels)),
	(map { ("DROP TRIGGER es_guard_row ON es.$_", "DROP TRIGGER IF EXISTS es_guard_statement ON es.$_ CASCADE",
		"ALTER TRIGGER es_guard_row ON es.$_ RENAME TO other",
		"CREATE OR REPLACE TRIGGER es_guard_row BEFORE INSERT ON es.$_ FOR EACH ROW EXECUTE FUNCTION public.pass()",
		"ALTER TRIGGER es_guard_row ON es.$_ DEPENDS ON EXTENSION citext") } qw(events ticks epochs store bindings channels)),
	# columns and rows
	'ALTER TABLE es.events ADD COLUMN own int',
	'ALTER TABLE es.events DROP COLUMN payload',
	'ALTER TABLE es.events DROP COLUMN IF EXISTS data CASCADE',
	'ALTER TABLE es.events ALTER COLUMN data TYPE json',
	q(ALTER TABLE es.events ALTER COLUMN data TYPE jsonb USING '{}'),
	q(ALTER TABLE es.events ALTER COLUMN data SET DEFAULT '{}'),
	'ALTER TABLE es.events ALTER COLUMN version DROP NOT NULL',
	'ALTER TABLE es.events ALTER COLUMN position ADD GENERATED ALWAYS AS IDENTITY',
	'ALTER TABLE es.events RENAME COLUMN data TO body',
	'ALTER TABLE es.events ALTER COLUMN data SET STATISTICS 100, ADD COLUMN own int',
	'ALTER TABLE IF EXISTS ONLY es.events ADD COLUMN own int',
	'ALTER TABLE es.snapshots DROP COLUMN state',
	'ALTER TABLE es.store ADD COLUMN own int',
	'ALTER TABLE es.channels ADD COLUMN own int',
	# tables
	'ALTER TABLE es.events SET UNLOGGED',
	'ALTER TABLE es.events SET ACCESS METHOD heap',
	'ALTER TABLE es.events OF public.event',
	'ALTER TABLE es.events RENAME TO old_events',
	'ALTER TABLE es.events SET SCHEMA elsewhere',
	'ALTER TABLE es.ticks SET SCHEMA elsewhere',
	'ALTER TABLE es.events DISABLE RULE none',
	'ALTER TABLE es.events INHERIT public.parent',
	'ALTER TABLE public.child INHERIT es.events',
	'ALTER TABLE public.parted ATTACH PARTITION es.events DEFAULT',
	'CREATE TABLE public.younger () INHERITS (es.events)',
	'CREATE TEMP TABLE younger () INHERITS (public.parent, es.events)',
	'CREATE FOREIGN TABLE public.younger () INHERITS (es.events) SERVER es_far',
	(map { "DROP TABLE es.$_" } qw(ticks epochs store channels snapshots bindings)),
	(map { "DROP TABLE es.$_ CASCADE" } qw(events ticks epochs store channels snapshots bindings)),
	'DROP TABLE public.child, es.events CASCADE',
	# the sequence
	(map { "ALTER SEQUENCE es.events_position_seq $_" } 'RESTART', 'CACHE 10', 'CYCLE', 'INCREMENT 2',
		'OWNED BY NONE', 'OWNED BY public.child.position', 'RENAME TO other', 'SET SCHEMA elsewhere', 'SET UNLOGGED'),
	'ALTER TABLE es.events_position_seq RENAME TO other',
	'DROP SEQUENCE es.events_position_seq',
	# indexes and constraints of the store
	(map { ("DROP INDEX es.$_", "DROP INDEX CONCURRENTLY es.$_", "ALTER INDEX es.$_ RENAME TO other") }
		qw(store_single events_category_position_idx events_recorded_at_idx ticks_position_idx)),
	(map { ("ALTER TABLE es.$_->[0] DROP CONSTRAINT $_->[1]", "ALTER TABLE es.$_->[0] RENAME CONSTRAINT $_->[1] TO other") }
		[qw(events events_pkey)], [qw(events events_version_key)], [qw(events events_id_key)], [qw(events es_numbers)],
		[qw(events es_content)], [qw(events es_names)], [qw(snapshots snapshots_pkey)], [qw(snapshots es_version)],
		[qw(channels channels_pkey)], [qw(bindings bindings_pkey)]),
	'ALTER INDEX es.events_version_key RENAME TO other',
	# views and rules
	'DROP VIEW es.log',
	'DROP VIEW es_private.appending',
	'ALTER VIEW es.log RENAME TO other',
	'ALTER VIEW es_private.all_streams SET SCHEMA elsewhere',
	'CREATE OR REPLACE VIEW es.log AS SELECT position, stream, version, type, data, metadata, recorded_at, id, payload, tenant FROM es.events',
	'CREATE OR REPLACE VIEW es_private.appending AS SELECT 1 AS one, 2 AS two',
	'CREATE OR REPLACE RULE "_RETURN" AS ON SELECT TO es_private.appending DO INSTEAD SELECT 2 AS one',
	'CREATE RULE hide AS ON DELETE TO es.events DO INSTEAD NOTHING',
	'CREATE RULE hide AS ON INSERT TO es.channels DO INSTEAD NOTHING',
	# policies
	(map { ("DROP POLICY es_tenant ON es.$_", "DROP POLICY es_everyone ON es.$_ CASCADE", "ALTER POLICY es_tenant ON es.$_ USING (true)",
		"ALTER POLICY es_everyone ON es.$_ TO es_keeper", "ALTER POLICY es_tenant ON es.$_ RENAME TO other") } qw(events snapshots channels bindings)),
	'SET search_path = es; DROP POLICY es_tenant ON events',
	# schemas, and all at once
	'ALTER SCHEMA es RENAME TO elsewhere2',
	'ALTER SCHEMA es_private RENAME TO elsewhere2',
	'DROP SCHEMA es CASCADE',
	'DROP SCHEMA IF EXISTS es_private, elsewhere CASCADE',
	'DROP OWNED BY es_keeper',
	'DROP OWNED BY es_keeper CASCADE',
	# in other clothes
	'SET search_path = es; ALTER TABLE events DISABLE TRIGGER ALL',
	'SET search_path = elsewhere, es, public; DROP TABLE IF EXISTS events CASCADE',
	'SET search_path = es; CREATE OR REPLACE VIEW log AS SELECT position, stream, version, type, data, metadata, recorded_at, id, payload, tenant FROM events',
	q(DO $$ BEGIN ALTER TABLE es.events DISABLE TRIGGER ALL; END $$),
	q(DO $$ BEGIN EXECUTE format('DROP TABLE %I.%I CASCADE', 'es', 'events'); END $$),
	q(CREATE FUNCTION pg_temp.f() RETURNS void LANGUAGE sql AS 'ALTER TABLE es.events ADD COLUMN own int'; SELECT pg_temp.f()),
	'BEGIN; SAVEPOINT s; DROP TRIGGER mine ON es.events; ALTER TABLE es.events DISABLE TRIGGER es_guard_row',
	'SET session_replication_role = replica; DROP TRIGGER es_guard_row ON es.events',
);
$node->safe_psql('postgres', 'GRANT SET ON PARAMETER session_replication_role TO es_keeper');
for my $sql (@refused)
{
	refused_ok($sql, 'es_keeper');
	refused_ok($sql);
}

# what only a superuser may try
refused_ok($_) for (
	(map { "ALTER EXTENSION $_" } 'citext ADD TABLE es.events', 'citext ADD SCHEMA es', 'pg_eventstore ADD VIEW es.log',
		'citext ADD SEQUENCE es.events_position_seq', 'pg_eventstore ADD TABLE es.snapshots',
		'pg_eventstore DROP FUNCTION pg_eventstore_guard()'),
	q(CREATE OR REPLACE FUNCTION pg_eventstore_guard() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'),
	(map { "ALTER FUNCTION pg_eventstore_guard() $_" } 'RENAME TO other', 'SECURITY DEFINER',
		'SET pg_eventstore.allow_maintenance = on', 'DEPENDS ON EXTENSION citext'),
	'ALTER ROUTINE pg_eventstore_guard RENAME TO other',
	'ALTER FUNCTION pg_eventstore_sees RENAME TO other', 'ALTER FUNCTION pg_eventstore_open(oid) SECURITY DEFINER',
	q(CREATE OR REPLACE FUNCTION pg_eventstore_open(relation oid) RETURNS boolean LANGUAGE sql AS 'SELECT true'),
	'DROP SCHEMA public CASCADE',
	'DROP OWNED BY es_keeper, es_heir CASCADE');

# what PostgreSQL refuses anyway
refused_ok(@$_) for (
	[ 'DROP FUNCTION pg_eventstore_guard() CASCADE', undef, '2BP01' ],
	[ 'DROP TABLE es.events', 'es_keeper', '2BP01' ],
	[ 'DROP TYPE es.events CASCADE', 'es_keeper', '2BP01' ],
	[ 'ALTER TYPE es.events RENAME TO other', 'es_keeper', '42809' ],
	[ 'DROP EXTENSION pg_eventstore', undef, '2BP01' ],
	[ 'DROP ROLE es_keeper', undef, '2BP01' ],
	[ "$on SELECT 1", 'es_keeper', '42501' ],
	[ "ALTER ROLE es_keeper SET pg_eventstore.allow_maintenance = on", 'es_keeper', '42501' ]);
refused_ok("$on SET ROLE es_keeper; $_") for 'DROP TABLE es.events CASCADE', 'ALTER TABLE es.events DISABLE TRIGGER ALL';

# A statement that waits for another table of that name does not come back to es.events.
{
	my $holder = EsClient->new($node, name => 'holder');
	my $waiter = EsClient->new($node, name => 'waiter');

	$holder->run('SET ROLE es_keeper');
	$holder->run('CREATE TABLE elsewhere.events ()');
	$holder->run('BEGIN');
	$holder->run('DROP TABLE elsewhere.events');
	$waiter->run('SET ROLE es_keeper');
	$waiter->run('SET search_path = elsewhere, es');
	$waiter->tell('ALTER TABLE events DISABLE TRIGGER es_guard_row');
	es_poll_ok($node, q(SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE application_name = 'waiter'),
		'a statement waits for another table');
	$holder->run('COMMIT');
	is($waiter->answer->{state}, '42P01', 'A6: a name means what was checked');
	is(look('postgres'), $before, 'A6: and nothing has changed');
	$_->close for $holder, $waiter;
}

# Event triggers run inside of statements that may do more than others.
$node->safe_psql('postgres', q(
	CREATE FUNCTION public.undo() RETURNS event_trigger LANGUAGE plpgsql AS
		'BEGIN DROP TRIGGER es_guard_row ON es.events; END';
	CREATE EVENT TRIGGER undo ON ddl_command_start WHEN TAG IN ('DROP EXTENSION', 'CREATE VIEW') EXECUTE FUNCTION public.undo();));
$before = look('postgres');
refused_ok('DROP EXTENSION pg_eventstore CASCADE');
$node->safe_psql('postgres', "$on DROP VIEW es.log");
es_state_ok($node, 'SELECT es_init()', 'SE003', 'A6: es_init() opens the door for itself only');
$node->safe_psql('postgres', 'DROP EVENT TRIGGER undo; DROP FUNCTION public.undo()');
like($node->safe_psql('postgres', 'SELECT es_init()'), qr/^adopted/, 'es_init() makes es.log again');
is(look('postgres'), $before, 'as it was');

# --- allowed

my $version = 101;

sub allowed_ok
{
	my ($sql, $role) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	es_state_ok($node, ($role ? "SET ROLE $role; " : '') . $sql, '00000', "allowed: $sql");
	is($node->safe_psql('postgres', q(SELECT es_append('old-1', -2, 'C', '{}'))), ++$version, 'and es_append goes on');
	return;
}

allowed_ok($_, 'es_keeper') for (
	'CREATE INDEX own_idx ON es.events (type, position)',
	'CREATE UNIQUE INDEX CONCURRENTLY own_key ON es.events (id, tenant)',
	'ALTER INDEX es.own_idx RENAME TO own_type_idx',
	'ALTER INDEX es.own_type_idx SET (fillfactor = 90)',
	'REINDEX INDEX CONCURRENTLY es.own_type_idx',
	'DROP INDEX CONCURRENTLY es.own_type_idx',
	'ALTER TABLE es.events ADD CONSTRAINT own_key UNIQUE USING INDEX own_key',
	'ALTER TABLE es.events RENAME CONSTRAINT own_key TO own_id_key',
	'ALTER TABLE es.events DROP CONSTRAINT own_id_key',
	q(ALTER TABLE es.events ADD CONSTRAINT own_check CHECK (type <> 'X') NOT VALID),
	'ALTER TABLE es.events VALIDATE CONSTRAINT own_check',
	'ALTER TABLE es.events DROP CONSTRAINT own_check',
	'ALTER TABLE es.events ALTER COLUMN data SET NOT NULL',
	'ALTER TABLE es.events ALTER COLUMN data DROP NOT NULL',
	'CREATE TABLE public.type (name text COLLATE "C" PRIMARY KEY); INSERT INTO public.type VALUES ($$A$$), ($$B$$), ($$C$$)',
	'ALTER TABLE es.events ADD CONSTRAINT own_fkey FOREIGN KEY (type) REFERENCES public.type',
	'ALTER TABLE es.events ALTER CONSTRAINT own_fkey DEFERRABLE',
	'DROP TABLE public.type CASCADE',
	'CREATE TABLE public.seen (position bigint REFERENCES es.events ON DELETE CASCADE)',
	'DROP TABLE public.seen',
	q(COMMENT ON TABLE es.events IS 'ours'; COMMENT ON TRIGGER es_guard_row ON es.events IS 'theirs'),
	'GRANT SELECT ON es.events TO es_heir; REVOKE ALL ON es.events FROM es_heir',
	'CREATE PUBLICATION own_log FOR TABLE es.events; DROP PUBLICATION own_log',
	'CREATE STATISTICS es.own_statistics ON stream, type FROM es.events; DROP STATISTICS es.own_statistics',
	'ALTER TABLE es.events ALTER COLUMN data SET STATISTICS 200, ALTER COLUMN data SET STORAGE EXTERNAL',
	'ALTER TABLE es.events ALTER COLUMN data SET COMPRESSION pglz',
	'ALTER TABLE es.events SET (fillfactor = 95, autovacuum_vacuum_insert_threshold = 1000)',
	'ALTER TABLE es.events RESET (fillfactor), SET LOGGED',
	'ALTER TABLE es.events REPLICA IDENTITY FULL',
	'ALTER TABLE es.events REPLICA IDENTITY DEFAULT',
	'VACUUM es.events',
	'VACUUM (FULL, ANALYZE) es.events',
	'REINDEX TABLE es.events',
	'REINDEX TABLE CONCURRENTLY es.events',
	'REINDEX SCHEMA CONCURRENTLY es',
	'CLUSTER es.events USING events_version_key',
	'ALTER TABLE es.events SET WITHOUT CLUSTER',
	'ALTER TABLE es.events SET TABLESPACE es_space',
	'ALTER INDEX es.events_pkey SET TABLESPACE es_space',
	'ALTER TABLE ALL IN TABLESPACE es_space SET TABLESPACE pg_default',
	'ALTER INDEX ALL IN TABLESPACE es_space SET TABLESPACE pg_default',
	'CREATE TRIGGER aaa BEFORE INSERT ON es.events FOR EACH ROW EXECUTE FUNCTION public.pass()',
	'CREATE OR REPLACE TRIGGER aaa AFTER INSERT ON es.events FOR EACH ROW EXECUTE FUNCTION public.pass()',
	'ALTER TABLE es.events DISABLE TRIGGER aaa',
	'ALTER TABLE es.events ENABLE REPLICA TRIGGER aaa',
	'ALTER TABLE es.events ENABLE TRIGGER aaa',
	'ALTER TABLE es.events ENABLE ALWAYS TRIGGER es_guard_row',
	'ALTER TRIGGER aaa ON es.events RENAME TO bbb',
	'ALTER TRIGGER bbb ON es.events DEPENDS ON EXTENSION citext',
	'DROP TRIGGER bbb ON es.events',
	'CREATE POLICY own_policy ON es.events USING (true)',
	'ALTER POLICY own_policy ON es.events RENAME TO own_policy2',
	'DROP POLICY own_policy2 ON es.events',
	'BEGIN; ALTER TABLE es.events ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; ALTER TABLE es.events DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY; COMMIT',
	'BEGIN; LOCK TABLE es.channels IN SHARE MODE; COMMIT',
	# what is not the store's, by whatever name
	'CREATE TABLE es.notes (a int); ALTER TABLE es.notes ADD COLUMN b int; ALTER TABLE es.notes RENAME TO notes2; DROP TABLE es.notes2',
	'CREATE TABLE elsewhere.events (a int); ALTER TABLE elsewhere.events RENAME COLUMN a TO b; ALTER TABLE elsewhere.events SET SCHEMA public; DROP TABLE public.events',
	'SET search_path = elsewhere, es; CREATE TABLE events (a int); ALTER TABLE events ADD COLUMN b int; DROP TABLE events',
	'CREATE TEMP TABLE events (a int); ALTER TABLE events DROP COLUMN a, ADD COLUMN b int; DROP TABLE events',
	'SET search_path = elsewhere, es; CREATE VIEW log AS SELECT 1 AS a; CREATE OR REPLACE VIEW log AS SELECT 1 AS a, 2 AS b; DROP VIEW log',
	'CREATE SEQUENCE elsewhere.events_position_seq; ALTER SEQUENCE elsewhere.events_position_seq CACHE 10; DROP SEQUENCE elsewhere.events_position_seq',
	'ALTER SCHEMA elsewhere RENAME TO elsewhere2; ALTER SCHEMA elsewhere2 RENAME TO elsewhere',
	'CREATE TABLE public.store (a int) PARTITION BY LIST (a); CREATE TABLE public.ticks PARTITION OF public.store DEFAULT; ALTER TABLE public.store DETACH PARTITION public.ticks; DROP TABLE public.store, public.ticks');
allowed_ok($_) for (
	'DROP EXTENSION citext; CREATE EXTENSION citext',
	q(CREATE OR REPLACE FUNCTION public.pg_eventstore_guard(int) RETURNS int LANGUAGE sql AS 'SELECT 1'; ALTER FUNCTION public.pg_eventstore_guard(int) RENAME TO mine; DROP FUNCTION public.mine(int)),
	'ALTER EXTENSION pg_eventstore DROP FUNCTION es_key(text); ALTER EXTENSION pg_eventstore ADD FUNCTION es_key(text)',
	'ALTER TABLE es.events OWNER TO es_heir; ALTER TABLE es.events OWNER TO es_keeper',
	'REASSIGN OWNED BY es_keeper TO es_heir',
	'REASSIGN OWNED BY es_heir TO es_keeper',
	'CREATE SCHEMA api; ALTER EXTENSION pg_eventstore SET SCHEMA api; ALTER EXTENSION pg_eventstore SET SCHEMA public');
is(es_sqlstate($node, 'SET ROLE es_keeper; ALTER TABLE es.events DISABLE TRIGGER ALL'), 'SE003', 'A6: and the guards still stand');
es_oracle_ok($node, 'after all that is allowed');

es_poll_ok($node, q(SELECT es_horizon() >= es_head()), 'P4: nothing of this holds the horizon');

# --- the store's own functions

sub init_ok
{
	my ($harm, $says) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $sql = "SET ROLE es_keeper; $harm";
	$sql = "$on $harm" unless $harm =~ /^UPDATE/;
	$node->safe_psql('postgres', $sql);
	like($node->safe_psql('postgres', 'SET ROLE es_keeper; SELECT es_init()'), $says, "es_init() after $harm");
	like($node->safe_psql('postgres', 'SELECT es_init()'), qr/nothing to do/, 'that was all');
	is($node->safe_psql('postgres', q(SELECT es_append('old-1', -2, 'C', '{}'))), ++$version, 'and es_append goes on');
	return;
}

init_ok('ALTER TABLE es.ticks DISABLE TRIGGER es_guard_row', qr/^adopted/);
init_ok('DROP TRIGGER es_guard_statement ON es.epochs', qr/^adopted/);
init_ok('DROP TRIGGER es_guard_row ON es.store', qr/^adopted/);
init_ok('ALTER TABLE es.events DISABLE TRIGGER ALL', qr/^adopted/);
init_ok('ALTER SEQUENCE es.events_position_seq CACHE 10', qr/^repaired/);
init_ok('DROP INDEX es.events_category_position_idx', qr/^repaired/);
init_ok('DROP TABLE es.channels', qr/^adopted/);
init_ok('DROP SCHEMA es_private CASCADE', qr/^repaired/);
init_ok('DROP VIEW es.log', qr/^adopted/);
init_ok('DROP TABLE es.store; SET ROLE es_keeper; CREATE TABLE es.store (version int NOT NULL, created_at timestamptz NOT NULL); INSERT INTO es.store VALUES (1, now())', qr/^migrated the event store from version 1/);

# --- maintenance

my $log = -s $node->logfile;
$node->safe_psql('postgres', q(CREATE ROLE es_surgeon SUPERUSER));
es_state_ok($node, "SET ROLE es_surgeon; $on ALTER TABLE es.events ALTER COLUMN metadata SET DEFAULT '{}'; "
	  . 'ALTER TABLE es.events ALTER COLUMN metadata DROP DEFAULT; DROP TRIGGER es_guard_row ON es.epochs; '
	  . 'CREATE TABLE public.younger () INHERITS (es.events); DROP TABLE public.younger; '
	  . 'ALTER TABLE es.events RENAME CONSTRAINT es_names TO own; ALTER TABLE es.events RENAME CONSTRAINT own TO es_names; '
	  . 'CREATE OR REPLACE VIEW es_private.appending AS SELECT 1 AS one', '00000', 'A6: maintenance passes');
my $said = slurp_file($node->logfile, $log);
like($said, qr/pg_eventstore maintenance: switched on in process \d+/, 'A6: the log has the session');
my $role = qr/pg_eventstore maintenance: role "es_surgeon":/;
like($said, qr/$role this ALTER TABLE on es\.events\n.*STATEMENT: .*SET DEFAULT/, 'A6: and each statement: ALTER TABLE');
like($said, qr/$role this ALTER TABLE on es\.events\n.*STATEMENT: .*DROP DEFAULT/, 'A6: the next one too');
like($said, qr/$role DROP of trigger es_guard_row on es\.epochs\n/, 'A6: DROP TRIGGER');
like($said, qr/$role INHERIT or ATTACH PARTITION of es\.events\n/, 'A6: INHERITS');
like($said, qr/$role this RENAME on es\.events\n/, 'A6: RENAME');
like($said, qr/$role a rule, or another query, for es_private\.appending\n/, 'A6: CREATE OR REPLACE VIEW');
$log = -s $node->logfile;
$node->safe_psql('postgres', 'SELECT es_init()');
es_state_ok($node, 'ALTER TABLE es.events SET UNLOGGED', 'SE003', 'A6: the next session is refused again');
unlike(slurp_file($node->logfile, $log), qr/maintenance:/, 'and nothing is said of es_init() and of what is refused');

# --- restores and other databases

$node->command_ok([ 'pg_dump', '-f', "$dir/plain.sql", '-d', $node->connstr('postgres') ], 'pg_dump');
$node->command_ok([ 'pg_dump', '--clean', '-f', "$dir/clean.sql", '-d', $node->connstr('postgres') ], 'pg_dump --clean');
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/custom", '-d', $node->connstr('postgres') ], 'pg_dump -Fc');
my $content = es_dump_store($node);
my @psql = ('psql', '-XqAt', '-v', 'ON_ERROR_STOP=1');

$node->safe_psql('postgres', 'CREATE DATABASE restored; CREATE DATABASE parallel');
$node->command_ok([ @psql, '-d', $node->connstr('restored'), '-f', "$dir/plain.sql" ],
	'O1: a dump is restored into a preloaded server');
$node->command_ok([ 'pg_restore', '-j2', '-d', $node->connstr('parallel'), "$dir/custom" ], 'O1: and by pg_restore -j2');
for my $db (qw(restored parallel))
{
	is(es_dump_store($node, $db), $content, "O1: $db: all is there");
	like($node->safe_psql($db, 'SELECT es_init()'), qr/nothing to do/, "O1: $db: and whole");
	es_state_ok($node, 'ALTER TABLE es.events DISABLE TRIGGER ALL', 'SE003', "A6: $db: guarded", $db);
}
$node->command_fails_like([ @psql, '-1', '-d', $node->connstr('restored'), '-f', "$dir/clean.sql" ], qr/append-only/,
	'A6: a restore with --clean over a store is refused');
is(es_dump_store($node, 'restored'), $content, 'A6: and takes nothing');
$log = -s $node->logfile;
{
	local $ENV{PGOPTIONS} = '-c pg_eventstore.allow_maintenance=on';
	$node->command_ok([ @psql, '-1', '-d', $node->connstr('restored'), '-f', "$dir/clean.sql" ], 'O1: it passes as maintenance');
	like(slurp_file($node->logfile, $log), qr/maintenance: switched on in process/, 'A6: the log has a session of PGOPTIONS');
}
es_after_restore_ok($node, 'restored over itself', 'restored');

# DROP EXTENSION takes the guards, and no table even where one has become its member
$node->safe_psql('parallel', "$on ALTER EXTENSION pg_eventstore ADD TABLE es.events");
es_state_ok($node, 'DROP EXTENSION pg_eventstore CASCADE', 'SE003', 'O2: DROP EXTENSION takes no table', 'parallel');
$node->safe_psql('parallel', "$on ALTER EXTENSION pg_eventstore DROP TABLE es.events");
$node->safe_psql('parallel', "$on ALTER TRIGGER es_guard_row ON es.events DEPENDS ON EXTENSION citext");
es_state_ok($node, 'DROP EXTENSION citext CASCADE', 'SE003', 'A6: another extension takes no guard', 'parallel');
es_state_ok($node, 'DROP EXTENSION pg_eventstore CASCADE', '00000', 'O2: DROP EXTENSION CASCADE passes', 'parallel');
is(es_dump_store($node, 'parallel'), $content, 'O2: and leaves the events');
es_state_ok($node, 'SET ROLE es_keeper; ALTER TABLE es.events ADD COLUMN own int; ALTER TABLE es.events DROP COLUMN own',
	'00000', 'without the guards the tables are their owner\'s', 'parallel');
$node->safe_psql('parallel', 'CREATE EXTENSION pg_eventstore; GRANT EXECUTE ON FUNCTION pg_eventstore_guard() TO es_keeper');
like($node->safe_psql('parallel', 'SELECT es_init()'), qr/^adopted/, 'O2: es_init() adopts them');
es_after_restore_ok($node, 'adopted', 'parallel');
es_state_ok($node, 'SET ROLE es_keeper; DROP TABLE es.events CASCADE', 'SE003', 'A6: and they are guarded again', 'parallel');

# es_reset()
es_state_ok($node, 'SELECT es_reset()', '55000', 'es_reset() is refused as ever', 'parallel');
$node->safe_psql('parallel', 'ALTER DATABASE parallel SET pg_eventstore.allow_reset = on');
like($node->safe_psql('parallel', 'SELECT es_reset()'), qr/^emptied/, 'es_reset() works where it is allowed');
is($node->safe_psql('parallel', q(SELECT es_append('new-1', 0, 'A', '{}'))), '1', 'and es_append after it');

# schemas of that name that are somebody else's
$node->safe_psql('postgres', 'CREATE DATABASE other');
es_state_ok($node, $_, '00000', "no store: $_", 'other') for (
	'CREATE SCHEMA es; CREATE SCHEMA es_private; CREATE TABLE es.events (a int); CREATE TABLE es.store (a int); CREATE VIEW es.log AS SELECT 1 AS a',
	q(CREATE FUNCTION public.pass() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'),
	'CREATE TRIGGER es_guard_row BEFORE INSERT ON es.events FOR EACH ROW EXECUTE FUNCTION public.pass()',
	'CREATE TRIGGER es_guard_statement BEFORE INSERT ON es.events EXECUTE FUNCTION public.pass()',
	'ALTER TABLE es.events ENABLE ALWAYS TRIGGER es_guard_row, ENABLE ALWAYS TRIGGER es_guard_statement',
	'CREATE EXTENSION pg_eventstore',
	'ALTER TABLE es.events DISABLE TRIGGER ALL, ADD COLUMN b int',
	'CREATE OR REPLACE VIEW es.log AS SELECT 1 AS a, 2 AS b',
	'ALTER TABLE es.store RENAME TO events2; DROP TABLE es.events2',
	'ALTER SCHEMA es_private RENAME TO private; DROP SCHEMA private',
	'DROP EXTENSION pg_eventstore CASCADE; DROP SCHEMA es CASCADE');
es_state_ok($node, 'DROP DATABASE restored', '00000', 'a database may be dropped with its store');
$node->stop;

# --- not preloaded

my $bare = es_server('bare');
$bare->safe_psql('postgres', q(SELECT es_append('old-1', 0, 'A', '1')));
is($bare->safe_psql('postgres', q(SELECT status FROM es_status() WHERE topic = 'preload'
	AND detail LIKE '%only the guards against INSERT, UPDATE, DELETE and TRUNCATE stand%')), 'notice',
	'A6: not preloaded, es_status() says that only the DML guards stand');
es_state_ok($bare, 'SELECT es_head(); ALTER TABLE es.events DISABLE TRIGGER es_guard_row', '00000', 'the statement goes through');
es_state_ok($bare, q(SELECT es_append('old-1', 1, 'A', '1')), 'SE006', 'A6: and the store is not ready');
like($bare->safe_psql('postgres', 'SELECT es_init()'), qr/^adopted/, 'until es_init() has put the guard back');
$bare->stop;
done_testing();
