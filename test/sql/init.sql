-- es_init and es_reset: a store is made, adopted, repaired, migrated; what is not
-- a store is refused (O1, O2, O5).
\set SHOW_CONTEXT never
\set home :DBNAME
CREATE DATABASE es_test_init;
\c es_test_init

CREATE EXTENSION pg_eventstore;

-- Every call on a database without a store says what to do.
SELECT es_append('order-1', 0, 'Placed', '{}');
\echo :SQLSTATE
SELECT es_load('order-1');
\echo :SQLSTATE
SELECT es_head();
\echo :SQLSTATE
SELECT es_reset();
\echo :SQLSTATE
-- What needs no store works without one.
SELECT es_category('order-1'), es_key('order-1');

-- A rolled back es_init leaves nothing.
BEGIN;
SELECT es_init();
SELECT es_append('order-1', 0, 'Placed', '{}');
ROLLBACK;
SELECT count(*) FROM pg_namespace WHERE nspname IN ('es', 'es_private');
SELECT es_head();

BEGIN READ ONLY;
SELECT es_init();
\echo :SQLSTATE
ROLLBACK;

SELECT es_init();
SELECT es_init();
SELECT version FROM es.store;
-- The tables are no members of the extension.
SELECT count(*) FROM pg_depend JOIN pg_class AS c ON c.oid = objid
WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
  AND classid = 'pg_class'::regclass AND relnamespace IN ('es'::regnamespace, 'es_private'::regnamespace);
INSERT INTO es.store VALUES (3, now(), 0);
\echo :SQLSTATE

-- Adoption mends what is missing, and says so.
SELECT es_append('order-1', 0, 'Placed', '{}');
DROP TRIGGER es_guard_row ON es.events;
SELECT es_append('order-1', 1, 'Paid', '{}');
\echo :SQLSTATE
SELECT count(*) FROM es_load('order-1');
\echo :SQLSTATE
SELECT es_init();
SELECT es_init();
ALTER TABLE es.events DISABLE TRIGGER es_guard_statement;
SELECT es_head();
\echo :SQLSTATE
ALTER TABLE es.events ENABLE TRIGGER es_guard_statement;
SELECT es_head();
\echo :SQLSTATE
ALTER TABLE es.events ENABLE ALWAYS TRIGGER es_guard_statement;
SELECT es_head();
ALTER TRIGGER es_guard_row ON es.events RENAME TO watchman;
SELECT es_head();
SELECT es_init();
DROP TRIGGER watchman ON es.events;
SELECT es_init();

-- A guard that is not the guard: a condition, another function, another event.
DROP TRIGGER es_guard_row ON es.events;
CREATE TRIGGER es_guard_row BEFORE INSERT OR UPDATE OR DELETE ON es.events
	FOR EACH ROW WHEN (false) EXECUTE FUNCTION pg_eventstore_guard();
ALTER TABLE es.events ENABLE ALWAYS TRIGGER es_guard_row;
SELECT es_head();
SELECT es_init();
DROP TRIGGER es_guard_row ON es.events;
CREATE TRIGGER es_guard_row BEFORE UPDATE OR DELETE ON es.events
	FOR EACH ROW EXECUTE FUNCTION pg_eventstore_guard();
ALTER TABLE es.events ENABLE ALWAYS TRIGGER es_guard_row;
SELECT es_head();
SELECT es_init();
DROP TRIGGER es_guard_row ON es.events;
CREATE TRIGGER es_guard_row BEFORE INSERT OR UPDATE OF position OR DELETE ON es.events
	FOR EACH ROW EXECUTE FUNCTION pg_eventstore_guard();
ALTER TABLE es.events ENABLE ALWAYS TRIGGER es_guard_row;
SELECT es_head();
SELECT es_init();
DROP TRIGGER es_guard_row ON es.events;
CREATE FUNCTION public.es_guard_too() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER es_guard_row BEFORE INSERT OR UPDATE OR DELETE ON es.events
	FOR EACH ROW EXECUTE FUNCTION public.es_guard_too();
ALTER TABLE es.events ENABLE ALWAYS TRIGGER es_guard_row;
SELECT es_head();
SELECT es_init();
SELECT es_head();

-- An index that the store reads by.
DROP INDEX es.events_category_position_idx;
SELECT es_head();
\echo :SQLSTATE
SELECT es_init();
ALTER TABLE es.events DROP CONSTRAINT events_id_key;
SELECT es_head();
SELECT es_init();
ALTER TABLE es.events DROP CONSTRAINT events_version_key;
SELECT es_head();
SELECT es_init();
ALTER TABLE es.events DROP CONSTRAINT events_pkey;
SELECT es_head();
SELECT es_init();
DROP INDEX es.events_recorded_at_idx;
SELECT es_head();
SELECT es_init();
-- One of the same columns under another name does.
ALTER INDEX es.events_category_position_idx RENAME TO my_category_idx;
SELECT es_head();
DROP VIEW es_private.all_streams;
SELECT es_head();
\echo :SQLSTATE
SELECT es_init();
DROP VIEW es_private.appending;
SELECT es_head();
\echo :SQLSTATE
SELECT es_init();
DROP TABLE es.snapshots;
SELECT es_head();
\echo :SQLSTATE
SELECT es_init();
DROP INDEX es.ticks_position_idx;
SELECT es_head();
\echo :SQLSTATE
SELECT es_init();
DROP TABLE es.ticks, es.epochs, es.channels, es.bindings;
SELECT es_head();
\echo :SQLSTATE
SELECT es_init();
-- The guards of the ticks and the epochs, and the view, come back too.
DROP TRIGGER es_guard_row ON es.ticks;
DROP TRIGGER es_guard_statement ON es.epochs;
DROP VIEW es.log;
SELECT es_init();
SELECT tgrelid::regclass AS "table", count(*) FROM pg_trigger WHERE tgrelid::regclass::text LIKE 'es.%' AND NOT tgisinternal
GROUP BY tgrelid ORDER BY tgrelid::regclass::text COLLATE "C";
SELECT count(*) FROM es.log;

-- Columns are those of an event store, or it is none.
ALTER TABLE es.events ADD COLUMN mine text;
SELECT es_head();
\echo :SQLSTATE
SELECT es_init();
ALTER TABLE es.events DROP COLUMN mine;
SELECT es_init();
-- A column that is gone leaves no trace.
SELECT es_append('order-1', 1, 'Paid', '{"n": 1}', '{"m": 2}', '01902bd4-0000-7000-8000-000000000001');
SELECT es_append('order-1', 1, 'Paid', '{"n": 1}', '{"m": 2}', '01902bd4-0000-7000-8000-000000000001');
SELECT last_version FROM es_append_batch('order-1', 2, '{A,B}', ARRAY[NULL, '1']::jsonb[], payloads => ARRAY['\x01', NULL]::bytea[]);
SELECT version, type, data, metadata, payload FROM es_load('order-1', 2);
UPDATE es.events SET data = '1';
\echo :SQLSTATE
ALTER TABLE es.snapshots RENAME COLUMN state TO condition;
SELECT es_head();
ALTER TABLE es.snapshots RENAME COLUMN condition TO state;

\c :home
DROP DATABASE es_test_init;
CREATE DATABASE es_test_init;
\c es_test_init
CREATE EXTENSION pg_eventstore;
SELECT es_init();
SELECT es_append('order-1', 0, 'Placed', '{}');
ALTER TABLE es.events RENAME TO happenings;
SELECT es_head();
\echo :SQLSTATE
ALTER TABLE es.happenings RENAME TO events;
SELECT es_head();
ALTER SCHEMA es RENAME TO old_es;
SELECT es_head();
\echo :SQLSTATE
ALTER SCHEMA old_es RENAME TO es;
SELECT es_head();

-- The sequence of positions: set back, it is an error and not a disorder (A4);
-- es_init mends it.
SELECT setval('es.events_position_seq', 1, false);
SELECT es_append('order-1', 1, 'Paid', '{}');
\echo :SQLSTATE
SELECT setval('es.events_position_seq', 1, false);
SELECT es_append('order-2', 0, 'Placed', '{}');
\echo :SQLSTATE
SELECT setval('es.events_position_seq', 1, false);
SELECT es_init();
SELECT es_append('order-1', 1, 'Paid', '{}');
SELECT es_position('order-1', 2) > es_position('order-1', 1) AS higher;
ALTER SEQUENCE es.events_position_seq CACHE 20 CYCLE;
SELECT es_init();
SELECT seqcache, seqcycle FROM pg_sequence WHERE seqrelid = 'es.events_position_seq'::regclass;

-- Migration: the store's version is a row.
-- (Sessions keep what they found until es_init or DDL says otherwise: reconnect.)
DROP TABLE es.store;
CREATE TABLE es.store (version int NOT NULL, created_at timestamptz NOT NULL);
INSERT INTO es.store VALUES (0, now());
-- With guards, as every version to come will have them.
CREATE TRIGGER es_guard_row BEFORE INSERT OR UPDATE OR DELETE ON es.store FOR EACH ROW EXECUTE FUNCTION pg_eventstore_guard();
CREATE TRIGGER es_guard_statement BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON es.store FOR EACH STATEMENT EXECUTE FUNCTION pg_eventstore_guard();
ALTER TABLE es.store ENABLE ALWAYS TRIGGER es_guard_row, ENABLE ALWAYS TRIGGER es_guard_statement;
\c
SELECT es_append('order-1', -1, 'Paid', '{}');
\echo :SQLSTATE
SELECT es_init();
SELECT es_append('order-1', -1, 'Paid', '{}');
-- F9: nobody but es_init() writes that row, with which the secret of the locks would change.
UPDATE es.store SET version = 999;
\echo :SQLSTATE
ALTER TABLE es.store DISABLE TRIGGER USER;
UPDATE es.store SET version = 999;
\c
SELECT es_append('order-1', -1, 'Paid', '{}');
\echo :SQLSTATE
SELECT es_init();
\echo :SQLSTATE
UPDATE es.store SET version = 3;
\c
SELECT es_append('order-1', -1, 'Paid', '{}');
DELETE FROM es.store;
-- A store that has no such guards was ready; es_init() puts them up.
SELECT es_init();
SELECT es_init();
-- What a dump of the schema alone leaves: it gives the store its row, past the guards.
ALTER TABLE es.store DISABLE TRIGGER USER;
DELETE FROM es.store;
ALTER TABLE es.store ENABLE ALWAYS TRIGGER es_guard_row, ENABLE ALWAYS TRIGGER es_guard_statement;
SELECT es_init();
ALTER TABLE es.store DISABLE TRIGGER USER;
DELETE FROM es.store;
\c
SELECT es_append('order-1', -1, 'Paid', '{}');
\echo :SQLSTATE
ALTER TABLE es.store ENABLE ALWAYS TRIGGER es_guard_row, ENABLE ALWAYS TRIGGER es_guard_statement;
INSERT INTO es.store VALUES (3, now(), 0);
\echo :SQLSTATE
SET pg_eventstore.allow_maintenance = on;
INSERT INTO es.store VALUES (3, now(), 0);
DELETE FROM es.store;
\echo :SQLSTATE
RESET pg_eventstore.allow_maintenance;
SELECT es_append('order-1', -1, 'Paid', '{}');

-- Who may create or adopt.
CREATE ROLE es_test_init_plain;
CREATE ROLE es_test_init_owner;
SET ROLE es_test_init_plain;
SELECT es_init();
\echo :SQLSTATE
RESET ROLE;
GRANT EXECUTE ON FUNCTION pg_eventstore_guard() TO es_test_init_owner;
SET ROLE es_test_init_owner;
SELECT es_init();
\echo :SQLSTATE
RESET ROLE;

\c :home
DROP DATABASE es_test_init;
CREATE DATABASE es_test_init;
\c es_test_init
CREATE EXTENSION pg_eventstore;
GRANT CREATE ON DATABASE es_test_init TO es_test_init_plain, es_test_init_owner;

-- A schema es that is somebody else's.
CREATE SCHEMA es;
CREATE TABLE es.elephants (id int);
SELECT es_init();
\echo :SQLSTATE
DROP TABLE es.elephants;
SELECT es_init();
DROP SCHEMA es, es_private CASCADE;
CREATE SCHEMA es AUTHORIZATION es_test_init_plain;
SELECT es_init();
\echo :SQLSTATE
DROP SCHEMA es;
CREATE SCHEMA es_private AUTHORIZATION es_test_init_plain;
SELECT es_init();
\echo :SQLSTATE
DROP SCHEMA es_private;
-- O6: what DROP SCHEMA es leaves of a store is taken again; not if there is something else in it.
SELECT es_init();
DROP SCHEMA es CASCADE;
SELECT es_init();
DROP SCHEMA es CASCADE;
CREATE VIEW es_private.mine AS SELECT 1;
SELECT es_init();
\echo :SQLSTATE
DROP VIEW es_private.mine, es_private.appending;
CREATE TABLE es_private.appending (one int);
SELECT es_init();
\echo :SQLSTATE
DROP SCHEMA es_private CASCADE;
CREATE SCHEMA es;
CREATE TABLE es.store (version int NOT NULL, created_at timestamptz NOT NULL);
INSERT INTO es.store VALUES (1, now());
CREATE TABLE es.events (position bigint, secret text);
ALTER TABLE es.events OWNER TO es_test_init_plain;
SELECT es_init();
\echo :SQLSTATE
DROP SCHEMA es CASCADE;

-- A role that may execute the guard's function owns a store.
GRANT EXECUTE ON FUNCTION pg_eventstore_guard() TO es_test_init_owner;
SET ROLE es_test_init_owner;
SELECT es_init();
SELECT es_append('order-1', 0, 'Placed', '{}');
RESET ROLE;
SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class
WHERE relnamespace IN ('es'::regnamespace, 'es_private'::regnamespace);
SET ROLE es_test_init_plain;
SELECT es_init();
\echo :SQLSTATE
RESET ROLE;
SELECT es_init();

-- es_reset: the owner, and only where ALTER DATABASE has allowed it.
SELECT es_reset();
\echo :SQLSTATE
SET pg_eventstore.allow_reset = on;
SELECT es_reset();
\echo :SQLSTATE
ALTER ROLE es_test_init_owner IN DATABASE es_test_init SET pg_eventstore.allow_reset = on;
SET ROLE es_test_init_owner;
SELECT es_reset();
\echo :SQLSTATE
ALTER DATABASE es_test_init SET pg_eventstore.allow_reset = on;
RESET ROLE;
ALTER DATABASE es_test_init SET pg_eventstore.allow_reset = off;
SELECT es_reset();
\echo :SQLSTATE
ALTER DATABASE es_test_init SET pg_eventstore.allow_reset = on;
SET ROLE es_test_init_plain;
SELECT es_reset();
\echo :SQLSTATE
RESET ROLE;
BEGIN READ ONLY;
SELECT es_reset();
\echo :SQLSTATE
ROLLBACK;
SELECT es_snapshot('order-1', 1, '{}');
BEGIN;
SELECT es_reset();
ROLLBACK;
SELECT count(*) FROM es_load('order-1');
SET ROLE es_test_init_owner;
SELECT es_reset();
RESET ROLE;
SELECT count(*) FROM es.events;
SELECT count(*) FROM es_load_snapshot('order-1');
TRUNCATE es.events;
\echo :SQLSTATE
SELECT es_append('order-1', 0, 'Placed', '{}');
SELECT es_head();
-- A table of the user's that refers to events stays in the way.
CREATE TABLE receipts (position bigint REFERENCES es.events);
SELECT es_reset();
\echo :SQLSTATE
DROP TABLE receipts;
SELECT es_reset();

-- The end of the log is read past policies that hide it from the owner.
SELECT last_version FROM es_append_batch('order-1', -1, '{A,B,C}', '{1,2,3}');
ALTER TABLE es.events ENABLE ROW LEVEL SECURITY;
ALTER TABLE es.events FORCE ROW LEVEL SECURITY;
SELECT setval('es.events_position_seq', 1, false);
SELECT es_init();
ALTER TABLE es.events NO FORCE ROW LEVEL SECURITY;
ALTER TABLE es.events DISABLE ROW LEVEL SECURITY;
SELECT es_append('order-2', 0, 'D', '4');
SELECT position FROM es.events ORDER BY position;

-- An index of the store's name on other columns is not taken for it, and not touched.
DROP INDEX es.events_category_position_idx;
CREATE INDEX events_category_position_idx ON es.events (type);
SELECT es_head();
SELECT es_init();
\echo :SQLSTATE
DROP INDEX es.events_category_position_idx;
SELECT es_init();

-- Whatever was granted on es_private is taken back.
GRANT USAGE ON SCHEMA es_private TO PUBLIC;
GRANT USAGE ON SCHEMA es_private TO es_test_init_plain WITH GRANT OPTION;
SET ROLE es_test_init_plain;
GRANT USAGE ON SCHEMA es_private TO es_test_init_owner;
RESET ROLE;
GRANT SELECT (one) ON es_private.all_streams TO es_test_init_plain;
GRANT ALL ON es_private.appending TO es_test_init_plain;
SELECT es_init();
SELECT has_schema_privilege('es_test_init_plain', 'es_private', 'USAGE') AS schema,
	has_any_column_privilege('es_test_init_plain', 'es_private.all_streams', 'SELECT') AS view,
	has_table_privilege('es_test_init_plain', 'es_private.appending', 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE') AS marker;

-- O6: what hangs on the store's tables runs as their owner, whoever calls es_init().
CREATE TABLE seen (who name);
GRANT INSERT ON seen TO PUBLIC;
CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO public.seen VALUES (current_user);
	RETURN NEW;
END $$;
DROP TABLE es.store;
CREATE TABLE es.store (version int NOT NULL, created_at timestamptz NOT NULL);
INSERT INTO es.store VALUES (0, now());
CREATE TRIGGER look BEFORE UPDATE ON es.store FOR EACH ROW EXECUTE FUNCTION look();
DO $$
DECLARE t regclass;
BEGIN
	GRANT EXECUTE ON FUNCTION pg_eventstore_guard() TO es_test_init_owner;
	ALTER SCHEMA es OWNER TO es_test_init_owner;
	ALTER SCHEMA es_private OWNER TO es_test_init_owner;
	FOREACH t IN ARRAY '{es.store,es.events,es.snapshots,es.ticks,es.epochs,es.channels,es.bindings,es.log,es_private.all_streams,es_private.appending}'::regclass[] LOOP
		EXECUTE format('ALTER TABLE %s OWNER TO es_test_init_owner', t);
	END LOOP;
END $$;
SELECT es_init();
SELECT * FROM seen;
DROP TRIGGER look ON es.store;

-- A tenant that stands for all is none, also where rows are loaded.
SET pg_eventstore.allow_maintenance = on;
INSERT INTO es.events (position, version, recorded_at, id, tenant, stream, category, type, data)
VALUES (100, 1, '2026-01-01 00:00+00', '01902bd4-0000-7000-8000-0000000000aa', '*', 'a', 'a', 'T', '{}');
RESET pg_eventstore.allow_maintenance;

-- A guard on another table names that one.
CREATE TABLE other (i int);
CREATE TRIGGER es_guard_row BEFORE INSERT ON other FOR EACH ROW EXECUTE FUNCTION pg_eventstore_guard();
INSERT INTO other VALUES (1);
DROP TABLE other;

-- An append from a BEFORE trigger is refused however deep it is nested.
CREATE FUNCTION save() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM es_snapshot('order-1', 1, '{}'); RETURN NEW; END $$;
CREATE FUNCTION append() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM es_append('order-1', -1, 'Nested', '{}'); RETURN NEW; END $$;
CREATE TRIGGER save BEFORE INSERT ON es.events FOR EACH ROW EXECUTE FUNCTION save();
CREATE TRIGGER append BEFORE INSERT ON es.snapshots FOR EACH ROW EXECUTE FUNCTION append();
\set SHOW_CONTEXT never
SELECT es_append('order-1', -1, 'Outer', '{}');
\echo :SQLSTATE
DROP TRIGGER save ON es.events;
DROP TRIGGER append ON es.snapshots;
SELECT es_stream_version('order-1');

-- An owner that may not create schemas hears what it lacks.
CREATE DATABASE es_test_init_2;
\c es_test_init_2
CREATE EXTENSION pg_eventstore;
CREATE SCHEMA es AUTHORIZATION es_test_init_owner;
GRANT EXECUTE ON FUNCTION pg_eventstore_guard() TO es_test_init_owner;
SELECT es_init();
\echo :SQLSTATE

\c :home
DROP DATABASE es_test_init_2;
DROP DATABASE es_test_init;
DROP ROLE es_test_init_plain, es_test_init_owner;
