-- A5: a retry with the same ids writes nothing and gets the first answer.
\set SHOW_CONTEXT never
\set home :DBNAME
CREATE DATABASE es_test_idempotency;
\c es_test_idempotency
CREATE EXTENSION pg_eventstore;
SELECT es_init();
\set a '''01902bd4-0000-7000-8000-00000000000a'''
\set b '''01902bd4-0000-7000-8000-00000000000b'''
\set c '''01902bd4-0000-7000-8000-00000000000c'''

SELECT es_append('order-1', 0, 'Placed', '{"n": 1, "m": 2}', '{"traceparent": "first"}', :a);
SELECT es_append('order-1', 1, 'Paid', '{}');
-- Whatever expected says; the metadata may differ, and the order of keys.
SELECT es_append('order-1', 0, 'Placed', '{"m": 2, "n": 1.0}', '{"traceparent": "second"}', :a);
SELECT es_append('order-1', 77, 'Placed', '{"n": 1, "m": 2}', NULL, :a);
SELECT es_append('order-1', -2, 'Placed', '{"n": 1, "m": 2}', NULL, :a);
SELECT version, type, metadata FROM es_load('order-1');
-- The expected version still has to be one.
SELECT es_append('order-1', -9, 'Placed', '{"n": 1, "m": 2}', NULL, :a);
\echo :SQLSTATE
-- Nothing was consumed.
SELECT es_append('order-9', 0, 'Placed', '{}');
SELECT es_position('order-9');

-- SE002: other content.
SELECT es_append('order-1', -1, 'Placed', '{"n": 2}', NULL, :a);
\echo :SQLSTATE
SELECT es_append('order-1', -1, 'PLACED', '{"n": 1, "m": 2}', NULL, :a);
\echo :SQLSTATE
SELECT * FROM es_append_batch('order-1', -1, '{Placed}', ARRAY['{"n": 1, "m": 2}']::jsonb[], NULL, ARRAY[:a]::uuid[], ARRAY['\x']::bytea[]);
\echo :SQLSTATE
SELECT * FROM es_append_batch('order-1', -1, '{Placed}', NULL, NULL, ARRAY[:a]::uuid[], ARRAY['\x']::bytea[]);
\echo :SQLSTATE
-- SE002: in another stream.
SELECT es_append('order-"2"', 0, 'Placed', '{"n": 1, "m": 2}', NULL, :a);
\echo :SQLSTATE
-- In another tenant it is another event, and nothing is told about it.
SELECT es_append('order-2', 0, 'Other', '{}', NULL, :a, 'blue');
SELECT count(*), count(DISTINCT tenant) FROM es.events WHERE id = :a;

-- Batches: all known, in their order; half known is SE002.
SELECT first_version, last_version, repeated FROM es_append_batch('order-3', 0, '{A,B}', ARRAY['1', '2']::jsonb[], NULL, ARRAY[:b, :c]::uuid[]);
SELECT first_version, last_version, repeated, last_position = es_position('order-3') AS same
FROM es_append_batch('order-3', 0, '{A,B}', ARRAY['1', '2']::jsonb[], NULL, ARRAY[:b, :c]::uuid[]);
SELECT outcome, version, first_version FROM es_try_append('order-3', 0, '{A,B}', ARRAY['1', '2']::jsonb[], NULL, ARRAY[:b, :c]::uuid[]);
SELECT * FROM es_append_batch('order-3', 0, '{B,A}', ARRAY['2', '1']::jsonb[], NULL, ARRAY[:c, :b]::uuid[]);
\echo :SQLSTATE
SELECT * FROM es_append_batch('order-3', 0, '{A,New}', ARRAY['1', '2']::jsonb[], NULL, ARRAY[:b, NULL]::uuid[]);
\echo :SQLSTATE
SELECT * FROM es_try_append('order-3', 2, '{New,A}', ARRAY['1', '1']::jsonb[], NULL, ARRAY['01902bd4-0000-7000-8000-00000000000d', :b]::uuid[]);
\echo :SQLSTATE
-- A part of the first batch is still all of this one.
SELECT first_version, last_version, repeated FROM es_append_batch('order-3', 0, '{B}', ARRAY['2']::jsonb[], NULL, ARRAY[:c]::uuid[]);

-- Several streams.
\set retry '[{"stream": "order-4", "expected": 0, "events": [{"type": "T", "data": 1, "id": "01902bd4-0000-7000-8000-000000000041"}]}, {"stream": "order-5", "expected": 0, "events": [{"type": "T", "data": 1, "id": "01902bd4-0000-7000-8000-000000000051"}]}]'
SELECT stream, first_version, repeated FROM es_append_json(:'retry');
SELECT es_append('order-4', 1, 'More', '{}');
SELECT stream, first_version, last_version, last_position = es_position(stream, 1) AS same, repeated FROM es_append_json(:'retry');
SELECT stream, first_version FROM es_append_json('[{"stream": "order-4", "expected": 0, "events": [{"type": "T", "data": 1, "id": "01902bd4-0000-7000-8000-000000000041"}]}, {"stream": "order-6", "expected": 0, "events": [{"type": "T", "data": 1, "id": "01902bd4-0000-7000-8000-000000000061"}]}]');
\echo :SQLSTATE
SELECT stream, first_version FROM es_append_json('[{"stream": "order-4", "expected": 0, "events": [{"type": "T", "data": 1, "id": "01902bd4-0000-7000-8000-000000000051"}]}]');
\echo :SQLSTATE
-- A check beside known events is not made a second time.
SELECT stream, repeated FROM es_append_json('[{"stream": "order-4", "expected": 0, "events": [{"type": "T", "data": 1, "id": "01902bd4-0000-7000-8000-000000000041"}]}, {"stream": "order-8", "expected": 9}]');

-- Large content is compared as a whole.
SELECT es_append('order-7', 0, 'Large', to_jsonb(repeat('x', 100000)), NULL, '01902bd4-0000-7000-8000-000000000071');
SELECT es_append('order-7', 0, 'Large', to_jsonb(repeat('x', 100000)), NULL, '01902bd4-0000-7000-8000-000000000071');
SELECT es_append('order-7', 0, 'Large', to_jsonb(repeat('x', 99999) || 'y'), NULL, '01902bd4-0000-7000-8000-000000000071');
\echo :SQLSTATE

-- Within one transaction, and after a savepoint that was rolled back.
BEGIN;
SELECT es_append('order-10', 0, 'T', '1', NULL, '01902bd4-0000-7000-8000-000000000101');
SELECT es_append('order-10', 0, 'T', '1', NULL, '01902bd4-0000-7000-8000-000000000101');
SAVEPOINT s;
SELECT es_append('order-10', 1, 'T', '2', NULL, '01902bd4-0000-7000-8000-000000000102');
ROLLBACK TO s;
SELECT es_append('order-10', 1, 'T', '3', NULL, '01902bd4-0000-7000-8000-000000000102');
COMMIT;
SELECT version, data FROM es_load('order-10');
SELECT es_append('order-11', 0, 'T', '1', NULL, '01902bd4-0000-7000-8000-000000000111'),
       es_append('order-11', 0, 'T', '1', NULL, '01902bd4-0000-7000-8000-000000000111');
-- The constraint's name reaches the program.
DO $$
DECLARE
	constraint_name text;
	detail text;
BEGIN
	PERFORM es_append('order-11', -1, 'Other', '1', NULL, '01902bd4-0000-7000-8000-000000000111');
EXCEPTION WHEN SQLSTATE 'SE002' THEN
	GET STACKED DIAGNOSTICS constraint_name = CONSTRAINT_NAME, detail = PG_EXCEPTION_DETAIL;
	RAISE NOTICE '% %', constraint_name, detail::json->>'reason';
END $$;

\c :home
DROP DATABASE es_test_idempotency;
