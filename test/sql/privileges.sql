-- Privileges are PostgreSQL's own, checked at each call; row security is not
-- bypassed in silence.
\set SHOW_CONTEXT never
\set home :DBNAME
CREATE DATABASE es_test_privileges;
\c es_test_privileges
CREATE EXTENSION pg_eventstore;
SELECT es_init();
SELECT es_append('order-1', 0, 'Placed', '{}', NULL, '01902bd4-0000-7000-8000-000000000001');
CREATE ROLE es_test_priv_none;
CREATE ROLE es_test_priv_reader;
CREATE ROLE es_test_priv_writer;
CREATE ROLE es_test_priv_snapper;
GRANT SELECT ON es.events TO es_test_priv_reader;
GRANT INSERT ON es.events TO es_test_priv_writer;
GRANT INSERT, SELECT ON es.snapshots TO es_test_priv_snapper;

-- Who has nothing: each function by its name, and no table.
SET ROLE es_test_priv_none;
SELECT es_append('order-1', -1, 'Paid', '{}');
\echo :SQLSTATE
SELECT * FROM es_append_batch('order-1', -1, '{Paid}', ARRAY['{}']::jsonb[]);
\echo :SQLSTATE
SELECT * FROM es_try_append('order-1', -1, '{Paid}', ARRAY['{}']::jsonb[]);
\echo :SQLSTATE
SELECT * FROM es_append_json('[{"stream": "order-1", "expected": -1}]');
\echo :SQLSTATE
SELECT * FROM es_try_append_json('[{"stream": "order-1", "expected": 99}]');
\echo :SQLSTATE
SELECT * FROM es_load('order-1');
\echo :SQLSTATE
SELECT es_stream_version('order-1');
\echo :SQLSTATE
SELECT es_position('order-1');
\echo :SQLSTATE
SELECT * FROM es_event('01902bd4-0000-7000-8000-000000000001');
\echo :SQLSTATE
SELECT es_event_exists('01902bd4-0000-7000-8000-000000000001');
\echo :SQLSTATE
SELECT * FROM es_read();
\echo :SQLSTATE
SELECT * FROM es_streams();
\echo :SQLSTATE
SELECT es_head();
\echo :SQLSTATE
SELECT es_horizon();
\echo :SQLSTATE
SELECT es_publish();
\echo :SQLSTATE
SELECT es_wait(1);
\echo :SQLSTATE
SELECT es_snapshot('order-1', 1, '{}');
\echo :SQLSTATE
SELECT * FROM es_load_snapshot('order-1');
\echo :SQLSTATE
SELECT * FROM es_rehydrate('order-1');
\echo :SQLSTATE
SELECT es_drop_snapshots('order', 1);
\echo :SQLSTATE
SELECT es_init();
\echo :SQLSTATE
SELECT es_reset();
\echo :SQLSTATE
SELECT * FROM es.events;
\echo :SQLSTATE
SELECT * FROM es.store;
\echo :SQLSTATE
SELECT * FROM es.ticks;
\echo :SQLSTATE
SELECT * FROM es.epochs;
\echo :SQLSTATE
SELECT * FROM es.channels;
\echo :SQLSTATE
SELECT * FROM es.log;
\echo :SQLSTATE
SELECT * FROM es_private.all_streams;
\echo :SQLSTATE
BEGIN;
LOCK TABLE es_private.appending IN ACCESS SHARE MODE;
\echo :SQLSTATE
ROLLBACK;
SELECT es_category('order-1'), es_key('order-1');

-- SELECT on es.events is the right to read, and to have published what is there; INSERT the right to append.
SET ROLE es_test_priv_reader;
SELECT es_publish();
SELECT version FROM es_load('order-1');
SELECT es_stream_version('order-1'), es_position('order-1'), es_event_exists('01902bd4-0000-7000-8000-000000000001'), es_head(), es_horizon(), es_wait(1);
SELECT count(*) FROM es_read();
SELECT count(*) FROM es_streams();
SELECT es_append('order-1', -1, 'Paid', '{}');
\echo :SQLSTATE
SELECT kind FROM es_rehydrate('order-1');
\echo :SQLSTATE
SET ROLE es_test_priv_writer;
SELECT es_append('order-1', 1, 'Paid', '{}');
SELECT last_version FROM es_append_batch('order-1', 2, '{Packed}', ARRAY['{}']::jsonb[]);
SELECT last_version FROM es_append_json('[{"stream": "order-1", "expected": 3, "events": [{"type": "Shipped", "data": {}}]}]');
SELECT outcome FROM es_try_append('order-1', 4, '{Delivered}', ARRAY['{}']::jsonb[]);
SELECT count(*) FROM es_load('order-1');
\echo :SQLSTATE
SELECT es_snapshot('order-1', 1, '{}');
\echo :SQLSTATE
SET ROLE es_test_priv_snapper;
SELECT es_snapshot('order-1', 1, '{}');
SELECT version FROM es_load_snapshot('order-1');
SELECT es_drop_snapshots('order', 2);
SELECT count(*) FROM es_rehydrate('order-1');
\echo :SQLSTATE
RESET ROLE;

-- "Allowed" is never kept: the role changes within the session, and so do grants.
PREPARE add AS SELECT es_append('order-2', -1, 'T', '{}');
EXECUTE add;
SET ROLE es_test_priv_none;
EXECUTE add;
\echo :SQLSTATE
RESET ROLE;
GRANT INSERT ON es.events TO es_test_priv_none;
SET ROLE es_test_priv_none;
EXECUTE add;
RESET ROLE;
REVOKE INSERT ON es.events FROM es_test_priv_none;
SET ROLE es_test_priv_none;
EXECUTE add;
\echo :SQLSTATE
RESET ROLE;
-- SECURITY DEFINER lends the right, for the time of the call.
CREATE FUNCTION place_order(stream text) RETURNS bigint LANGUAGE sql SECURITY DEFINER
AS $$ SELECT es_append(stream, -1, 'Placed', '{}') $$;
SET ROLE es_test_priv_none;
SELECT place_order('order-3');
SELECT es_append('order-3', -1, 'Placed', '{}');
\echo :SQLSTATE
RESET ROLE;
-- Who may append may not read, nor publish what others may read.
SET ROLE es_test_priv_writer;
SELECT es_publish();
\echo :SQLSTATE
SELECT es_wait(1);
\echo :SQLSTATE
RESET ROLE;
-- es.log asks for the caller's rights, on es.events too.
GRANT USAGE ON SCHEMA es TO es_test_priv_none, es_test_priv_reader;
GRANT SELECT ON es.log TO es_test_priv_none, es_test_priv_reader;
SET ROLE es_test_priv_none;
SELECT count(*) FROM es.log;
\echo :SQLSTATE
SET ROLE es_test_priv_reader;
SELECT count(*) FROM es.log;
RESET ROLE;
-- Column privileges are not table privileges.
GRANT SELECT (position, stream) ON es.events TO es_test_priv_none;
SET ROLE es_test_priv_none;
SELECT es_head();
\echo :SQLSTATE
RESET ROLE;

-- Policies of the users' own hold inside the functions.
CREATE POLICY mine ON es.events FOR ALL TO PUBLIC USING (stream LIKE 'order-1%');
ALTER TABLE es.events ENABLE ROW LEVEL SECURITY;
SET ROLE es_test_priv_reader;
SELECT count(*) FROM es_load('order-1');
\echo :SQLSTATE
SELECT count(*) FROM es_read();
\echo :SQLSTATE
SELECT es_publish() > 0;
SET ROLE es_test_priv_writer;
SELECT es_append('order-1', -1, 'T', '{}');
SELECT es_append('invoice-1', -1, 'T', '{}');
\echo :SQLSTATE
RESET ROLE;
SELECT count(*) > 0 FROM es_load('order-1');
ALTER TABLE es.events DISABLE ROW LEVEL SECURITY;
SET ROLE es_test_priv_reader;
SELECT count(*) > 0 FROM es_load('order-1');
SET row_security = off;
SELECT count(*) > 0 FROM es_load('order-1');
RESET row_security;
RESET ROLE;
-- On other tables they are refused.
CREATE POLICY mine ON es.snapshots USING (true);
ALTER TABLE es.snapshots ENABLE ROW LEVEL SECURITY;
SET ROLE es_test_priv_snapper;
SELECT es_snapshot('order-1', 1, '{}');
\echo :SQLSTATE
SELECT * FROM es_load_snapshot('order-1');
\echo :SQLSTATE
RESET ROLE;

-- A search_path that is out to deceive changes nothing (O6).
CREATE SCHEMA trap;
CREATE FUNCTION trap.nextval(regclass) RETURNS bigint LANGUAGE sql AS 'SELECT 1/0::bigint';
CREATE FUNCTION trap.jsonb_concat(jsonb, jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT NULL::jsonb';
CREATE TABLE trap.events (LIKE es.events);
SET search_path = trap, pg_catalog, public;
SELECT public.es_append('trap-1', 0, 'T', '{}', '{"a": 1}');
SELECT count(*) FROM public.es_load('trap-1');
SELECT public.es_init();
SELECT count(*) FROM trap.events;
RESET search_path;

\c :home
DROP DATABASE es_test_privileges;
DROP ROLE es_test_priv_none, es_test_priv_reader, es_test_priv_writer, es_test_priv_snapper;
