-- es_append_batch and es_try_append (A1, A2, A3, O5).
\set SHOW_CONTEXT never
\set home :DBNAME
CREATE DATABASE es_test_append_batch;
\c es_test_append_batch
CREATE EXTENSION pg_eventstore;
SELECT es_init();

SELECT * FROM es_append_batch('order-1', 0, '{Placed,Paid}', ARRAY['{"n": 1}', '{"n": 2}']::jsonb[]);
SELECT * FROM es_append_batch('order-1', 2, '{Packed,Shipped,Delivered}', ARRAY['{}', NULL, '[]']::jsonb[],
	ARRAY['{"actor": "anna"}', NULL, NULL]::jsonb[],
	ARRAY[NULL, '01902bd4-0000-7000-8000-000000000001', NULL]::uuid[],
	ARRAY[NULL, '\x00ff', '\x']::bytea[]);
SELECT version, type, data, metadata, payload, id = '01902bd4-0000-7000-8000-000000000001' AS given
FROM es_load('order-1');
SELECT count(DISTINCT recorded_at), count(DISTINCT id) FROM es_load('order-1', 3);
-- Payload alone: data may be left out as a whole.
SELECT * FROM es_append_batch('order-2', 0, '{Raw,Raw}', NULL, payloads => ARRAY['\x01', '\x02']::bytea[]);
SELECT version, data, payload FROM es_load('order-2');

-- Conflict.
SELECT * FROM es_append_batch('order-1', 3, '{Placed,Paid}', ARRAY['{}', '{}']::jsonb[]);
\echo :SQLSTATE
SELECT * FROM es_try_append('order-1', 3, '{Placed,Paid}', ARRAY['{}', '{}']::jsonb[]);
SELECT * FROM es_try_append('order-1', 5, '{Returned,Refunded}', ARRAY['{}', '{}']::jsonb[]);
SELECT * FROM es_try_append('order-9', -2, '{Returned}', ARRAY['{}']::jsonb[]);
SELECT * FROM es_try_append('order-9', 0, '{Placed}', ARRAY['{}']::jsonb[],
	ids => ARRAY['01902bd4-0000-7000-8000-000000000009']::uuid[]);
SELECT * FROM es_try_append('order-9', 0, '{Placed}', ARRAY['{}']::jsonb[],
	ids => ARRAY['01902bd4-0000-7000-8000-000000000009']::uuid[]);
-- The transaction goes on after a conflict.
BEGIN;
SELECT outcome FROM es_try_append('order-1', 1, '{Paid}', ARRAY['{}']::jsonb[]);
SELECT outcome FROM es_try_append('order-1', 7, '{Paid}', ARRAY['{}']::jsonb[]);
COMMIT;
SELECT es_stream_version('order-1');

-- An empty batch is an error.
SELECT * FROM es_append_batch('order-1', -1, '{}', '{}');
\echo :SQLSTATE
SELECT * FROM es_try_append('order-1', -1, '{}', '{}');
\echo :SQLSTATE
SELECT * FROM es_append_batch('order-1', -1, NULL, '{}');
\echo :SQLSTATE
-- Lengths and dimensions.
SELECT * FROM es_append_batch('order-1', -1, '{A,B}', ARRAY['{}']::jsonb[]);
\echo :SQLSTATE
SELECT * FROM es_append_batch('order-1', -1, '{A}', ARRAY['{}', '{}']::jsonb[]);
\echo :SQLSTATE
SELECT * FROM es_append_batch('order-1', -1, '{A}', '{}');
\echo :SQLSTATE
SELECT * FROM es_append_batch('order-1', -1, '{A}', ARRAY['{}']::jsonb[], '{}');
\echo :SQLSTATE
SELECT * FROM es_append_batch('order-1', -1, '{A}', ARRAY['{}']::jsonb[], ids => ARRAY[NULL, NULL]::uuid[]);
\echo :SQLSTATE
SELECT * FROM es_append_batch('order-1', -1, '{A}', ARRAY['{}']::jsonb[], payloads => ARRAY['\x', '\x']::bytea[]);
\echo :SQLSTATE
SELECT * FROM es_append_batch('order-1', -1, '{{A},{B}}', ARRAY['{}', '{}']::jsonb[]);
\echo :SQLSTATE
SELECT * FROM es_append_batch('order-1', -1, '{A,B}', ARRAY[ARRAY['{}'], ARRAY['{}']]::jsonb[]);
\echo :SQLSTATE
-- Another lower bound changes nothing.
SELECT first_version FROM es_append_batch('order-3', -1, '[5:6]={A,B}', ARRAY['{}', '{}']::jsonb[]);
-- NULL and bad elements, with their place.
SELECT * FROM es_append_batch('order-1', -1, '{A,NULL}', ARRAY['{}', '{}']::jsonb[]);
\echo :SQLSTATE
SELECT * FROM es_append_batch('order-1', -1, '{A,""}', ARRAY['{}', '{}']::jsonb[]);
\echo :SQLSTATE
SELECT * FROM es_append_batch('order-1', -1, '{A,B}', ARRAY['{}', NULL]::jsonb[]);
\echo :SQLSTATE
SELECT * FROM es_append_batch('order-1', -1, '{A,B}', NULL);
\echo :SQLSTATE
SELECT * FROM es_append_batch('order-1', -1, '{A,B}', ARRAY['{}', '{}']::jsonb[], ARRAY['{}', '1']::jsonb[]);
\echo :SQLSTATE
SELECT * FROM es_append_batch('order-1', -1, '{A,B}', ARRAY['{}', '{}']::jsonb[], ARRAY['{}', '{"occurred_at": "soon"}']::jsonb[]);
\echo :SQLSTATE
-- The same id twice.
SELECT * FROM es_append_batch('order-1', -1, '{A,B,C}', ARRAY['{}', '{}', '{}']::jsonb[],
	ids => ARRAY['01902bd4-0000-7000-8000-000000000003', NULL, '01902bd4-0000-7000-8000-000000000003']::uuid[]);
\echo :SQLSTATE
SELECT * FROM es_append_batch(NULL, -1, '{A}', ARRAY['{}']::jsonb[]);
\echo :SQLSTATE
SELECT * FROM es_append_batch('order-1', NULL, '{A}', ARRAY['{}']::jsonb[]);
\echo :SQLSTATE
SELECT * FROM es_try_append('order-1', NULL, '{A}', ARRAY['{}']::jsonb[]);
\echo :SQLSTATE
SELECT * FROM es_append_batch('order-1', -7, '{A}', ARRAY['{}']::jsonb[]);
\echo :SQLSTATE
SELECT * FROM es_append_batch('order-1', -1, '{A}', ARRAY['{}']::jsonb[], tenant => '*');
\echo :SQLSTATE
-- Nothing was written by a call that failed (A2).
SELECT es_stream_version('order-1');
BEGIN READ ONLY;
SELECT * FROM es_append_batch('order-1', -1, '{A}', ARRAY['{}']::jsonb[]);
\echo :SQLSTATE
ROLLBACK;
BEGIN READ ONLY;
SELECT * FROM es_try_append('order-1', -1, '{A}', ARRAY['{}']::jsonb[]);
\echo :SQLSTATE
ROLLBACK;

-- In the select list, and for several rows.
SELECT es_append_batch('order-4', -1, '{A,B}', ARRAY['{}', '{}']::jsonb[]) IS NOT NULL;
SELECT n, b.first_version, b.last_version
FROM generate_series(1, 3) AS n, LATERAL es_append_batch('order-5', -1, '{A,B}', ARRAY[to_jsonb(n), to_jsonb(n)]) AS b;
-- Chunks of the writer: many rows, and rows that are large.
SELECT first_version, last_version, repeated
FROM es_append_batch('order-6', 0, (SELECT array_agg('T' || n) FROM generate_series(1, 2500) AS n),
	(SELECT array_agg(to_jsonb(n)) FROM generate_series(1, 2500) AS n));
SELECT count(*), bool_and(data = to_jsonb(version) AND type = 'T' || version) FROM es_load('order-6');
SELECT first_version, last_version
FROM es_append_batch('order-7', 0, (SELECT array_agg(text 'T') FROM generate_series(1, 12)),
	(SELECT array_agg(to_jsonb(repeat(chr(64 + n), 60000))) FROM generate_series(1, 12) AS n),
	payloads => (SELECT array_agg(decode(repeat(md5(n::text), 2000), 'hex')) FROM generate_series(1, 12) AS n));
SELECT count(*), bool_and(length(data #>> '{}') = 60000 AND length(payload) = 32000 AND left(data #>> '{}', 1) = chr(64 + version::int))
FROM es_load('order-7');

\c :home
DROP DATABASE es_test_append_batch;
