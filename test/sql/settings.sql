-- The settings: pg_eventstore.metadata is merged under each event's own.
\set SHOW_CONTEXT never
\set home :DBNAME
CREATE DATABASE es_test_settings;
\c es_test_settings
CREATE EXTENSION pg_eventstore;
SELECT es_init();

SELECT es_append('order-1', -1, 'Before', '{}');
BEGIN;
SET LOCAL pg_eventstore.metadata = '{"actor": "anna", "correlation_id": "c1"}';
SELECT es_append('order-1', -1, 'Base', '{}');
SELECT es_append('order-1', -1, 'Over', '{}', '{"actor": "ben", "n": 1}');
SELECT es_append('order-1', -1, 'Empty', '{}', '{}');
SELECT last_version FROM es_append_batch('order-1', -1, '{B1,B2}', ARRAY['1', '2']::jsonb[], ARRAY[NULL, '{"n": 2}']::jsonb[]);
SELECT last_version FROM es_append_json('[{"stream": "order-1", "expected": -1, "events": [{"type": "J1", "data": 1}, {"type": "J2", "data": 1, "metadata": {"actor": null}}]}]');
SELECT outcome FROM es_try_append('order-1', -1, '{T}', ARRAY['1']::jsonb[]);
SELECT outcome FROM es_try_append_json('[{"stream": "order-1", "expected": -1, "events": [{"type": "TJ", "data": 1}]}]');
COMMIT;
SELECT es_append('order-1', -1, 'After', '{}');
SELECT version, type, metadata FROM es_load('order-1');

-- It is checked when it is set.
SET pg_eventstore.metadata = 'nonsense';
\echo :SQLSTATE
SET pg_eventstore.metadata = '[]';
\echo :SQLSTATE
SET pg_eventstore.metadata = '{"actor": }';
\echo :SQLSTATE
SET pg_eventstore.metadata = ' ';
\echo :SQLSTATE
SET pg_eventstore.metadata = '1';
SET pg_eventstore.metadata = '{"a": 1} {"b": 2}';
SET pg_eventstore.metadata = '{"occurred_at": "soon"}';
SELECT es_append('order-2', -1, 'Never', '{}');
\echo :SQLSTATE
SET pg_eventstore.metadata = '{"occurred_at": "2024-02-29T12:00:00Z"}';
SELECT es_append('order-4', -1, 'Dated', '{}');
SELECT metadata FROM es_load('order-4');
-- What JSON allows and jsonb does not.
RESET pg_eventstore.metadata;
SET pg_eventstore.metadata = '{"a": "\u0000"}';
SELECT es_append('order-2', -1, 'Never', '{}');
\echo :SQLSTATE
RESET pg_eventstore.metadata;
SHOW pg_eventstore.metadata;
SET pg_eventstore.metadata = E' \n{"a": {"b": [1, 2]}}';
SELECT es_append('order-2', -1, 'Nested', '{}', '{"a": {"c": 3}}');
SELECT metadata FROM es_load('order-2');
RESET pg_eventstore.metadata;
SHOW pg_eventstore.metadata;
-- A savepoint takes the setting back, as any other.
BEGIN;
SAVEPOINT s;
SET LOCAL pg_eventstore.metadata = '{"actor": "anna"}';
ROLLBACK TO s;
SELECT es_append('order-2', -1, 'Plain', '{}');
COMMIT;
SELECT metadata FROM es_load('order-2', 2);
-- By a function for the time of its call.
CREATE FUNCTION place(stream text) RETURNS bigint LANGUAGE sql SET pg_eventstore.metadata = '{"actor": "place"}'
AS $$ SELECT es_append(stream, -1, 'Placed', '{}') $$;
SELECT place('order-3');
SELECT es_append('order-3', -1, 'Plain', '{}');
SELECT version, metadata FROM es_load('order-3');

-- Who may set what.
CREATE ROLE es_test_settings_user;
SET ROLE es_test_settings_user;
SET pg_eventstore.metadata = '{"actor": "me"}';
SET pg_eventstore.allow_maintenance = on;
\echo :SQLSTATE
SET pg_eventstore.allow_reset = on;
\echo :SQLSTATE
SET pg_eventstore.no_such_setting = on;
\echo :SQLSTATE
RESET ROLE;
SET pg_eventstore.allow_maintenance = maybe;
\echo :SQLSTATE

\c :home
DROP DATABASE es_test_settings;
DROP ROLE es_test_settings_user;
