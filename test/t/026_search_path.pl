# Nothing trusts search_path (O6).  A schema of an attacker stands first in the
# search_path of the database, before pg_catalog: it has a function, an operator, a
# type, and a view of the same name for nearly everything that pg_catalog has, and
# for the store's own relations; and the session has temporary ones.  All of it springs a
# trap, by counting and raising an error.  Superuser, the store's owner and an
# appender install, make the store and call every function: nobody is caught.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use EsCalls;
use EsTest;

my $node = es_server('search_path', empty => 1, conf => "shared_preload_libraries = 'pg_eventstore'\n");

# Everything in here is named with its schema: what is made comes first itself.
my $trap = <<'END';
CREATE SCHEMA trap;
GRANT USAGE ON SCHEMA trap TO PUBLIC;
CREATE SEQUENCE trap.sprung;
GRANT ALL ON SEQUENCE trap.sprung TO PUBLIC;
CREATE FUNCTION trap.spring(what pg_catalog.text) RETURNS pg_catalog.bool LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
	PERFORM pg_catalog.nextval('trap.sprung'::pg_catalog.regclass);
	RAISE EXCEPTION USING MESSAGE = 'trapped by ' || what, ERRCODE = 'ZTRAP';
END $$;

-- functions with the arguments of pg_catalog's
DO $do$
DECLARE
	f record;
BEGIN
	FOR f IN SELECT p.oid, proname, pg_get_function_identity_arguments(p.oid) AS arguments, pg_get_function_result(p.oid) AS result
		FROM pg_proc AS p WHERE pronamespace = 'pg_catalog'::regnamespace AND prokind = 'f'
		AND NOT proargtypes::oid[] && ARRAY['cstring', 'internal', 'trigger', 'event_trigger']::regtype[]::oid[]
	LOOP
		BEGIN
			EXECUTE format('CREATE FUNCTION trap.%I(%s) RETURNS %s LANGUAGE plpgsql AS %L', f.proname, f.arguments, f.result,
				format('BEGIN PERFORM trap.spring(%L); END', 'function ' || f.oid::regprocedure));
		EXCEPTION WHEN OTHERS THEN
			NULL;	-- pseudo-types that PL/pgSQL does not take, and twins
		END;
	END LOOP;
END $do$;

-- and better ones than those that take anything
CREATE FUNCTION trap.format(pg_catalog.text, VARIADIC pg_catalog.text[]) RETURNS pg_catalog.text LANGUAGE plpgsql AS $$ BEGIN PERFORM trap.spring('format'); END $$;
CREATE FUNCTION trap.format(pg_catalog.text, anyelement, pg_catalog.text) RETURNS pg_catalog.text LANGUAGE plpgsql AS $$ BEGIN PERFORM trap.spring('format'); END $$;
-- aggregates of one argument, or none
CREATE FUNCTION trap.step(pg_catalog.int8) RETURNS pg_catalog.int8 LANGUAGE plpgsql AS $$ BEGIN PERFORM trap.spring('an aggregate'); END $$;
CREATE FUNCTION trap.step(pg_catalog.int8, anyelement) RETURNS pg_catalog.int8 LANGUAGE plpgsql AS $$ BEGIN PERFORM trap.spring('an aggregate'); END $$;
DO $do$
DECLARE
	f record;
BEGIN
	FOR f IN SELECT DISTINCT proname FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace AND prokind = 'a' LOOP
		EXECUTE format('CREATE AGGREGATE trap.%I(*) (SFUNC = trap.step, STYPE = int8, INITCOND = 0)', f.proname);
		EXECUTE format('CREATE AGGREGATE trap.%I(anyelement) (SFUNC = trap.step, STYPE = int8, INITCOND = 0)', f.proname);
	END LOOP;
END $do$;

-- operators
DO $do$
DECLARE
	o record;
	n int := 0;
BEGIN
	FOR o IN SELECT oid, oprname, oprkind, CASE WHEN oprleft <> 0 THEN oprleft::regtype END AS l, oprright::regtype AS r, oprresult::regtype AS result
		FROM pg_operator WHERE oprnamespace = 'pg_catalog'::regnamespace
	LOOP
		n := n + 1;
		BEGIN
			EXECUTE format('CREATE FUNCTION trap.operator_%s(%s) RETURNS %s LANGUAGE plpgsql AS %L', n, concat_ws(', ', o.l, o.r), o.result,
				format('BEGIN PERFORM trap.spring(%L); END', 'operator ' || o.oid::regoperator));
			EXECUTE format('CREATE OPERATOR trap.%s (%s RIGHTARG = %s, FUNCTION = trap.operator_%s)', o.oprname,
				'LEFTARG = ' || o.l || ',', o.r, n);
		EXCEPTION WHEN OTHERS THEN
			NULL;
		END;
	END LOOP;
END $do$;

-- types: domains that nothing fits; and a collation that is not "C"
DO $do$
DECLARE
	t record;
BEGIN
	FOR t IN SELECT typname, oid::regtype AS type FROM pg_type
		WHERE typnamespace = 'pg_catalog'::regnamespace AND typtype IN ('b', 'r') AND typelem = 0 AND typisdefined
	LOOP
		EXECUTE format('CREATE DOMAIN trap.%I AS %s CHECK (trap.spring(%L))', t.typname, t.type, 'type ' || t.type);
	END LOOP;
END $do$;
CREATE COLLATION trap."C" FROM pg_catalog."POSIX";

-- relations: views that cannot be read, nor written
CREATE FUNCTION trap.caught() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM trap.spring('a relation'); END $$;
CREATE FUNCTION trap.lay(place pg_catalog.text) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
	r record;
BEGIN
	FOR r IN SELECT c.oid::regclass AS relation, relname FROM pg_class AS c
		WHERE (relnamespace = 'pg_catalog'::regnamespace AND relkind IN ('r', 'v'))
		   OR (relnamespace = to_regnamespace('es') AND relkind IN ('r', 'v'))
		   OR relnamespace = to_regnamespace('es_private')
	LOOP
		BEGIN
			-- es.log is to be dropped
			EXECUTE format('CREATE VIEW %s.%I AS SELECT * FROM %s WHERE trap.spring(%L)', place, r.relname,
				CASE WHEN r.relname = 'log' THEN 'es.events' ELSE r.relation::text END, r.relation);
		EXCEPTION WHEN invalid_table_definition THEN	-- columns of type anyarray
			EXECUTE format('CREATE VIEW %s.%I AS SELECT 1 AS one WHERE trap.spring(%L)', place, r.relname, r.relation::text);
		END;
		EXECUTE format('CREATE TRIGGER caught INSTEAD OF INSERT OR UPDATE OR DELETE ON %s.%I FOR EACH ROW EXECUTE FUNCTION trap.caught()',
			place, r.relname);
		EXECUTE format('GRANT ALL ON %s.%I TO PUBLIC', place, r.relname);
	END LOOP;
END $$;
SELECT trap.lay('trap');
CREATE SEQUENCE trap.events_position_seq;
END

my $path = 'pg_temp, trap, pg_catalog, public';

# A database with the trap in it, whose every session walks by it, workers' too.
sub lay_trap
{
	my ($db) = @_;

	$node->safe_psql('postgres', "CREATE DATABASE $db");
	$node->safe_psql($db, $trap);
	$node->safe_psql('postgres', "ALTER DATABASE $db SET search_path = $path");
	return;
}

# Runs statements as a role, with temporary traps laid before; each must do without
# an error, and no trap may spring.
sub free_ok
{
	my ($db, $role, $name, @statements) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($ret, $out, $err) = $node->psql($db, join("\n", "SELECT trap.lay('pg_temp');", "SET ROLE $role;", map { "$_;" } @statements),
		on_error_stop => 0);
	is($err, '', "O6: $role: $name");
	is(sprung($db), 'f', 'O6: and no trap has sprung');
	return;
}

sub sprung
{
	my ($db) = @_;
	return $node->safe_psql($db, 'SELECT is_called FROM trap.sprung');
}

# ------------------------------------------------------------ the trap works

lay_trap('tried');
note $node->safe_psql('tried', q(
	SELECT relname, pg_catalog.count(*) FROM (
		SELECT 'functions' FROM pg_catalog.pg_proc WHERE pronamespace OPERATOR(pg_catalog.=) 'trap'::pg_catalog.regnamespace
		UNION ALL SELECT 'operators' FROM pg_catalog.pg_operator WHERE oprnamespace OPERATOR(pg_catalog.=) 'trap'::pg_catalog.regnamespace
		UNION ALL SELECT 'types' FROM pg_catalog.pg_type WHERE typnamespace OPERATOR(pg_catalog.=) 'trap'::pg_catalog.regnamespace AND typtype OPERATOR(pg_catalog.=) 'd'
		UNION ALL SELECT 'relations' FROM pg_catalog.pg_class WHERE relnamespace OPERATOR(pg_catalog.=) 'trap'::pg_catalog.regnamespace) AS x(relname)
	GROUP BY relname));
for my $sql ('SELECT now()', 'SELECT count(*) FROM (VALUES (1)) AS v', q(SELECT format('%s', 'a'::pg_catalog.text)), 'SELECT 1 = 1',
	q(SELECT 'a'::pg_catalog.text || 'b'::pg_catalog.text), q(SELECT 1::pg_catalog.int8 <= 2::pg_catalog.int8), q(SELECT '1'::int8),
	q(SELECT 'a'::text), q(SELECT '{}'::jsonb), 'SELECT * FROM pg_class', 'SELECT * FROM pg_namespace',
	q(SELECT quote_ident('a')), q(SELECT nextval('trap.sprung'::pg_catalog.regclass)), 'SELECT 1 IN (1, 2)')
{
	my ($ret, $out, $err) = $node->psql('tried', $sql);
	like($err, qr/trapped by/, "the trap springs: $sql");
}
is(sprung('tried'), 't', 'and counts');

# ------------------------------------------------------------ and nobody is caught

lay_trap('prey');
$node->safe_psql('prey', q(
	CREATE ROLE keeper;
	CREATE ROLE clerk;
	GRANT CREATE ON DATABASE prey TO keeper;));
$node->safe_psql('postgres', 'ALTER DATABASE prey SET pg_eventstore.allow_reset = on');
free_ok('prey', 'postgres', 'the extension is made', 'CREATE EXTENSION pg_eventstore SCHEMA public',
	'GRANT EXECUTE ON FUNCTION public.pg_eventstore_guard() TO keeper');
free_ok('prey', 'keeper', 'the store is made', 'SELECT public.es_init()');
# now the store's own relations have doubles, too
$node->safe_psql('prey', q(
	DO $$ DECLARE r pg_catalog.text; BEGIN
		FOR r IN SELECT relname FROM pg_catalog.pg_class WHERE relnamespace OPERATOR(pg_catalog.=) 'trap'::pg_catalog.regnamespace
			AND relkind OPERATOR(pg_catalog.=) 'v' LOOP
			EXECUTE pg_catalog.format('DROP VIEW trap.%I', r);
		END LOOP;
	END $$;
	SELECT trap.lay('trap');
	GRANT SELECT, INSERT ON es.events, es.snapshots TO clerk;
	GRANT SELECT ON es.log TO clerk;
	GRANT USAGE ON SCHEMA es TO clerk;));
is($node->safe_psql('prey', q(SELECT 1 FROM pg_catalog.pg_class WHERE oid OPERATOR(pg_catalog.=) 'trap.channels'::pg_catalog.regclass)),
	1, 'the store has doubles');

free_ok('prey', 'postgres', 'what is there is repaired', 'SET pg_eventstore.allow_maintenance = on',
	'DROP TRIGGER es_guard_row ON es.ticks', 'DROP VIEW es.log', 'GRANT SELECT ON es_private.appending TO clerk',
	'ALTER SEQUENCE es.events_position_seq CACHE 10', 'DROP INDEX es.events_category_position_idx', 'SELECT public.es_init()',
	'GRANT SELECT ON es.log TO clerk', 'DROP TRIGGER es_guard_statement ON es.events', 'SET SESSION AUTHORIZATION keeper', 'SELECT public.es_init()');
my $id = uuid(1, 1);
free_ok('prey', 'clerk', 'a log is written', qq(SELECT public.es_append('s-1', 0, 'T', '{}', id => '$id')),
	q(SELECT public.es_append('s-1', 1, 'T', '{}')), q(SELECT public.es_snapshot('s-1', 1, '{}')),
	q(SELECT public.es_create_channel('es_seen')));

# Every function there is, by everybody who may; those that would be in the way of
# others come last.
ok(defined es_call($_->[0]), "$_->[0]() has a call in EsCalls.pm") for es_functions($node, 'prey');
my %owners = map { $_ => 1 } qw(es_init es_reset es_verify es_start_worker es_status es_grant_tenant es_revoke_tenant
  pg_eventstore_publisher pg_eventstore_holders pg_eventstore_appends pg_eventstore_workers pg_eventstore_tenants
  pg_eventstore_waiting
  pg_eventstore_store pg_eventstore_details pg_eventstore_status);
my @last = qw(es_publish es_drop_channel es_reset);
for my $role (qw(clerk keeper postgres))
{
	my @names = grep { $role ne 'clerk' || !$owners{$_} } map { $_->[0] } es_functions($node, 'prey');
	my %later = map { $_ => 1 } @last, 'pg_eventstore_guard';

	free_ok('prey', $role, 'every function',
		(map { es_call($_) } grep { !$later{$_} } @names),
		(map { "SELECT * FROM $_" } 'public.es_outbox', 'es.log', $role eq 'clerk' ? () : map { "public.es_stat_$_" } qw(publisher appends workers waiting)),
		(map { "DO \$\$ BEGIN PERFORM $_; EXCEPTION WHEN SQLSTATE 'SE001' OR SQLSTATE 'SE002' OR SQLSTATE 'SE005' THEN NULL; END \$\$" }
			q(public.es_append('s-1', 99, 'T', '{}')), q(* FROM public.es_try_append_json('[{"stream": "s-1", "expected": 99}]')), qq(public.es_append('s-2', -1, 'T', '{}', id => '$id')), q(* FROM public.es_read(1000000))),
		(map { es_call($_) } grep { my $name = $_; grep { $_ eq $name } @names } @last),
		q(SELECT public.es_create_channel('es_seen')));
	# es_reset() has emptied it
	free_ok('prey', $role, 'a log is written again', qq(SELECT public.es_append('s-1', -1, 'T', '{}', id => '$id')),
		q(SELECT public.es_append('s-1', 1, 'T', '{}'))) if $role ne 'clerk';
}

# The worker lives in that database, too; and so do the guards, on DDL as well.
is($node->safe_psql('prey', 'SELECT public.es_wait(public.es_head()) OPERATOR(pg_catalog.>=) public.es_head()'), 't', 'the publisher publishes');
for ([ 'UPDATE es.events SET data = NULL', 'SE003' ], [ 'DELETE FROM es.ticks', 'SE003' ],
	[ 'ALTER TABLE es.events DISABLE TRIGGER ALL', 'SE003' ], [ 'DROP TABLE es.events CASCADE', 'SE003' ])
{
	es_state_ok($node, @$_, "A6: the guards hold: $_->[0]", 'prey');
}
free_ok('prey', 'postgres', 'the extension goes, and comes again', 'SET client_min_messages = warning', 'DROP EXTENSION pg_eventstore CASCADE',
	'CREATE EXTENSION pg_eventstore SCHEMA public', 'GRANT EXECUTE ON FUNCTION public.pg_eventstore_guard() TO keeper', 'SELECT public.es_init()');
is(sprung('prey'), 'f', 'O6: no trap has sprung at the end');

done_testing();
