-- Policies that users put on es.events hold inside the functions, as the executor has them.
\set SHOW_CONTEXT never
\set home :DBNAME
CREATE DATABASE es_test_policies;
\c es_test_policies
CREATE EXTENSION pg_eventstore;
SELECT es_init();
CREATE ROLE es_test_pol_app;
CREATE ROLE es_test_pol_writer;
GRANT SELECT, INSERT ON es.events TO es_test_pol_app;
GRANT SELECT, INSERT ON es.snapshots TO es_test_pol_app;
GRANT INSERT ON es.events TO es_test_pol_writer;
SELECT count(es_append(s, v - 1, CASE v WHEN 2 THEN 'Hidden' ELSE 'Plain' END, '{}'))
FROM unnest('{mine-1,mine-2,theirs-1}'::text[]) AS s, generate_series(1, 3) AS v;
SELECT es_append('theirs-2', 0, 'Plain', '{}', NULL, '01902bd4-0000-7000-8000-000000000001');
SELECT es_snapshot('mine-1', 2, '{}'), es_snapshot('mine-2', 3, '{"n": 3}');
SELECT es_publish() > 0;

-- A table of the application's says who may do what; its owner is asked as the caller.
CREATE TABLE rights (who name, category text);
INSERT INTO rights VALUES ('es_test_pol_app', 'mine'), ('es_test_pol_writer', 'mine');
GRANT SELECT ON rights TO PUBLIC;
CREATE POLICY own ON es.events AS RESTRICTIVE
USING (category IN (SELECT r.category FROM public.rights AS r WHERE r.who = current_user) AND type <> 'Hidden')
WITH CHECK (category IN (SELECT r.category FROM public.rights AS r WHERE r.who = current_user) AND type <> 'Forbidden');
-- Until row-level security is on, nothing changes.
SET ROLE es_test_pol_app;
SELECT count(*) FROM es_load('theirs-1');
RESET ROLE;
ALTER TABLE es.events ENABLE ROW LEVEL SECURITY;
SELECT count(*) FROM es_load('theirs-1');

-- Each reader. What SELECT would hide they do not show.
SET ROLE es_test_pol_app;
SELECT version, type FROM es_load('mine-1');
SELECT version, type FROM es_load('mine-1', backwards => true, max_count => 1);
SELECT version FROM es_load('mine-1', until => clock_timestamp(), since => '-infinity');
SELECT * FROM es_load('theirs-1');
SELECT es_stream_version('mine-1'), es_stream_version('theirs-1'), es_position('theirs-1', 1), es_position('mine-1', 2);
SELECT stream, version FROM es_read();
SELECT stream, version FROM es_read(categories => '{theirs,mine}', backwards => true, max_count => 2);
SELECT stream, version FROM es_streams();
SELECT count(*) FROM es_event('01902bd4-0000-7000-8000-000000000001');
SELECT es_event_exists('01902bd4-0000-7000-8000-000000000001');
SELECT es_head() = es_position('mine-2', 3);
SELECT count(*) FROM es_outbox;
-- A snapshot whose event is hidden does not fit.
SELECT kind, version FROM es_rehydrate('mine-1');
SELECT kind, version FROM es_rehydrate('mine-2');

-- Each appender.
SELECT es_append('mine-1', 3, 'Plain', '{}');
SELECT es_append('theirs-1', 3, 'Plain', '{}');
\echo :SQLSTATE
SELECT es_append('mine-1', 4, 'Forbidden', '{}');
\echo :SQLSTATE
SELECT * FROM es_append_batch('mine-1', 4, '{Plain,Forbidden}', '{"{}","{}"}');
\echo :SQLSTATE
SELECT last_version FROM es_append_batch('mine-1', 4, '{Plain,Hidden}', '{"{}","{}"}');
SELECT stream, last_version FROM es_append_json('[{"stream": "mine-1", "expected": 6, "events": [{"type": "Plain", "data": 1}]}, {"stream": "theirs-1", "expected": 3, "events": [{"type": "Plain", "data": 1}]}]');
\echo :SQLSTATE
SELECT stream, version FROM es_try_append_json('[{"stream": "mine-1", "expected": 6, "events": [{"type": "Plain", "data": 1}]}, {"stream": "theirs-1", "expected": 3, "events": [{"type": "Plain", "data": 1}]}]');
\echo :SQLSTATE
SELECT outcome, version FROM es_try_append('mine-1', 6, '{Plain}', '{"{}"}');
-- What is refused is not stored; and the id of an event that is hidden is not told about.
SELECT es_stream_version('mine-1');
SELECT es_append('mine-1', 7, 'Plain', '{}', NULL, '01902bd4-0000-7000-8000-000000000001');
SELECT es_append('mine-1', 7, 'Plain', '{}', NULL, '01902bd4-0000-7000-8000-000000000002');
SELECT es_append('mine-1', 8, 'Other', '{}', NULL, '01902bd4-0000-7000-8000-000000000002');
SET ROLE es_test_pol_writer;
SELECT es_append('mine-1', 8, 'Plain', '{}');
SELECT es_append('mine-1', 9, 'Other', '{}', NULL, '01902bd4-0000-7000-8000-000000000002');
SELECT es_append('theirs-1', -1, 'Plain', '{}');
\echo :SQLSTATE

-- F9: a policy that appends, while the event that it is asked for is not stored yet; in the
-- function's body, and where the planner knows its argument.
RESET ROLE;
CREATE FUNCTION echo(stream text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE SECURITY DEFINER AS $$
BEGIN
	PERFORM es_append(stream, -1, 'Echo', '{}');
	RETURN true;
END $$;
CREATE POLICY echoes ON es.events AS RESTRICTIVE FOR INSERT WITH CHECK (type <> 'Echoed' OR echo(stream));
SET ROLE es_test_pol_writer;
SELECT es_append('mine-1', -1, 'Echoed', '{}');
\echo :SQLSTATE
SELECT * FROM es_append_batch('mine-3', -1, array_fill(text 'Plain', ARRAY[150]) || text 'Echoed', array_fill(jsonb '{}', ARRAY[151]));
\echo :SQLSTATE
SELECT es_append('mine-3', 0, 'Plain', '{}');
RESET ROLE;
ALTER POLICY echoes ON es.events WITH CHECK (echo('mine-3'));
SET ROLE es_test_pol_writer;
SELECT es_append('mine-3', 1, 'Plain', '{}');
\echo :SQLSTATE
RESET ROLE;
SELECT es_stream_version('mine-3');
DROP POLICY echoes ON es.events;
DROP FUNCTION echo;

-- An event channel would show what they hide.
SET ROLE es_test_pol_app;
SELECT es_create_channel('c', '{"kind": "event", "public": true}');
\echo :SQLSTATE
SET row_security = off;
SELECT * FROM es_load('mine-1');
\echo :SQLSTATE
SELECT es_append('mine-1', -1, 'Plain', '{}');
\echo :SQLSTATE
RESET row_security;
RESET ROLE;

-- A policy whose table the caller may not read fails as SELECT does.
REVOKE SELECT ON rights FROM PUBLIC;
SET ROLE es_test_pol_app;
SELECT * FROM es_load('mine-1');
SELECT es_append('mine-1', -1, 'Plain', '{}');
RESET ROLE;
-- A permissive policy comes in the place of the store's own.
DROP POLICY own ON es.events;
CREATE POLICY own ON es.events FOR SELECT USING (stream = 'theirs-2');
SET ROLE es_test_pol_app;
SELECT stream FROM es_read();
SELECT es_append('theirs-2', -1, 'Plain', '{}');
\echo :SQLSTATE
RESET ROLE;
CREATE POLICY own_insert ON es.events FOR INSERT TO es_test_pol_app WITH CHECK (stream = 'theirs-2');
SET ROLE es_test_pol_app;
SELECT es_append('theirs-2', -1, 'Plain', '{}');
SELECT stream, version FROM es_load('theirs-2'), (VALUES ('theirs-2')) AS s(stream);
RESET ROLE;
-- So does none at all, where the store's own are gone.
DROP POLICY own ON es.events;
DROP POLICY own_insert ON es.events;
DROP POLICY es_everyone ON es.events;
SET ROLE es_test_pol_app;
SELECT * FROM es_load('theirs-2');
SELECT es_append('theirs-2', -1, 'Plain', '{}');
\echo :SQLSTATE
RESET ROLE;
SELECT es_init();
SET ROLE es_test_pol_app;
SELECT count(*) FROM es_load('theirs-2');
RESET ROLE;
\c :home
DROP DATABASE es_test_policies;
DROP ROLE es_test_pol_app, es_test_pol_writer;
