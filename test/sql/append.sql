-- es_append: versions, expectations, limits, bad input (A1, A3, A4, O5).
\set SHOW_CONTEXT never
\set home :DBNAME
CREATE DATABASE es_test_append;
\c es_test_append
CREATE EXTENSION pg_eventstore;
SELECT es_init();

-- A1: versions are 1, 2, 3.
SELECT es_append('order-1', 0, 'Placed', '{"total": 10}');
SELECT es_append('order-1', 1, 'Paid', '{"total": 10}', '{"actor": "anna"}');
SELECT es_append('order-1', -1, 'Packed', '{}', NULL, '01902bd4-0000-7000-8000-000000000001');
SELECT es_append('order-1', -2, 'Shipped', '{}', id => NULL, tenant => NULL);
SELECT position, version, stream, category, type, data, metadata, payload, tenant
FROM es.events ORDER BY position;
-- A4: the order of positions is that of versions, and so is the time's.
SELECT bool_and(position > p AND recorded_at >= r) FROM (
	SELECT position, lag(position) OVER w AS p, recorded_at, lag(recorded_at) OVER w AS r
	FROM es.events WINDOW w AS (PARTITION BY tenant, stream ORDER BY version)) AS e
WHERE p IS NOT NULL;
-- Generated ids are of version 7 and variant 10, and rise within a backend.
SELECT bool_and(substr(id::text, 15, 1) = '7' AND substr(id::text, 20, 1) IN ('8', '9', 'a', 'b')),
       bool_and(id > before IS NOT FALSE)
FROM (SELECT id, lag(id) OVER (ORDER BY position) AS before FROM es.events WHERE version <> 3) AS e;

-- A3: expected versions.
SELECT es_append('order-1', 0, 'Placed', '{}');
\echo :SQLSTATE
SELECT es_append('order-1', 3, 'Paid', '{}');
\echo :SQLSTATE
SELECT es_append('order-1', 5, 'Paid', '{}');
\echo :SQLSTATE
SELECT es_append('order-2', 1, 'Paid', '{}');
\echo :SQLSTATE
SELECT es_append('order-2', -2, 'Paid', '{}');
\echo :SQLSTATE
SELECT es_append('order-1', -3, 'Paid', '{}');
\echo :SQLSTATE
SELECT es_append('order-1', -9223372036854775808, 'Paid', '{}');
\echo :SQLSTATE
SELECT es_append('order-1', 9223372036854775807, 'Paid', '{}');
\echo :SQLSTATE
-- The constraint's name and the facts reach the program.
DO $$
DECLARE
	constraint_name text;
	detail text;
BEGIN
	PERFORM es_append('order-"1"', 7, 'Paid', '{}');
EXCEPTION WHEN SQLSTATE 'SE001' THEN
	GET STACKED DIAGNOSTICS constraint_name = CONSTRAINT_NAME, detail = PG_EXCEPTION_DETAIL;
	RAISE NOTICE '% % %', constraint_name, detail::json->>'stream', detail::json->>'actual';
END $$;
-- A loser consumes nothing: the next position is the next one.
SELECT es_append('order-3', 0, 'Placed', '{}');
SELECT es_position('order-3');

-- NULL.
SELECT es_append(NULL, 0, 'Placed', '{}');
\echo :SQLSTATE
SELECT es_append('order-1', NULL, 'Placed', '{}');
\echo :SQLSTATE
SELECT es_append('order-1', -1, NULL, '{}');
\echo :SQLSTATE
SELECT es_append('order-1', -1, 'Placed', NULL);
\echo :SQLSTATE
SELECT es_append(NULL, NULL, NULL, NULL, NULL, NULL, NULL);
\echo :SQLSTATE
-- JSON null is data.
SELECT es_append('order-4', -1, 'Nothing', 'null');
SELECT data, jsonb_typeof(data) FROM es_load('order-4');

-- Names.
SELECT es_append('', -1, 'Placed', '{}');
\echo :SQLSTATE
SELECT es_append(repeat('s', 512), -1, repeat('t', 255), '{}', tenant => repeat('n', 128));
SELECT es_append(repeat('s', 513), -1, 'Placed', '{}');
\echo :SQLSTATE
SELECT es_append('order-1', -1, '', '{}');
\echo :SQLSTATE
SELECT es_append('order-1', -1, repeat('t', 256), '{}');
\echo :SQLSTATE
SELECT es_append('order-1', -1, 'Placed', '{}', tenant => repeat('n', 129));
\echo :SQLSTATE
SELECT es_append(E'order\n1', -1, 'Placed', '{}');
\echo :SQLSTATE
SELECT es_append('order-1', -1, E'Pla\tced', '{}');
\echo :SQLSTATE
SELECT es_append('order-1', -1, 'Placed', '{}', tenant => E'a\x7f');
\echo :SQLSTATE
SELECT es_append('order-1', -1, 'Placed', '{}', tenant => '*');
\echo :SQLSTATE
SELECT es_append('-1', -1, 'Placed', '{}');
\echo :SQLSTATE
SELECT es_append('-', -1, 'Placed', '{}');
\echo :SQLSTATE
-- Bytes count, not characters; a space is no control character.
SELECT octet_length(repeat('s', 510) || chr(233)) AS bytes, length(repeat('s', 510) || chr(233)) AS characters;
SELECT es_append('my order-1', -1, 'Placed at last', '{}');
SELECT es_append('order-', -1, 'Placed', '{}');
SELECT es_append('order', -1, 'Placed', '{}');
SELECT es_append('order-1-2-3', -1, 'Placed', '{}');
SELECT stream, category, es_category(stream) = category AS same, es_key(stream) AS key
FROM es.events WHERE stream IN ('my order-1', 'order-', 'order', 'order-1-2-3') ORDER BY position;

-- Tenants are apart.
SELECT es_append('order-1', 0, 'Placed', '{}', tenant => 'blue');
SELECT es_stream_version('order-1'), es_stream_version('order-1', 'blue'), es_stream_version('order-1', 'red');
SELECT es_append('order-1', 0, 'Placed', '{}', tenant => '');
\echo :SQLSTATE

-- Where nothing may be written.
BEGIN READ ONLY;
SELECT es_append('order-1', -1, 'Placed', '{}');
\echo :SQLSTATE
ROLLBACK;

-- Not STRICT, not ambiguous: untyped parameters find the function.
PREPARE add AS SELECT es_append($1, $2, $3, $4);
EXECUTE add ('order-5', 0, 'Placed', '{"n": 1}');
EXECUTE add ('order-5', 1, 'Paid', '{"n": 2}');
EXECUTE add ('order-5', 1, 'Paid', '{"n": 2}');
\echo :SQLSTATE
EXECUTE add ('order-5', NULL, 'Paid', '{"n": 2}');
\echo :SQLSTATE

-- Several appends in one statement (A1), and what each of them sees.
SELECT es_append('many-1', n, 'Counted', to_jsonb(n)) FROM generate_series(0, 4) AS n;
SELECT es_append('many-1', 5, 'Counted', '5'), es_append('many-1', 6, 'Counted', '6'), es_stream_version('many-1');
SELECT es_stream_version('many-1');
WITH a AS (SELECT es_append('many-1', -1, 'Counted', '7') AS version)
SELECT version FROM a;
SELECT version, data FROM es_load('many-1');
SELECT es_append('many-2', 0, 'Counted', to_jsonb(n)) FROM generate_series(1, 3) AS n;
\echo :SQLSTATE
SELECT es_stream_version('many-2');
CREATE TEMP TABLE answers (version bigint);
INSERT INTO answers SELECT es_append('many-3', n, 'Counted', '{}') FROM generate_series(0, 2) AS n;
UPDATE answers SET version = es_append('many-3', -1, 'Counted', '{}');
SELECT array_agg(version ORDER BY version) FROM answers;
BEGIN;
DECLARE c CURSOR FOR SELECT es_append('many-4', -1, 'Counted', to_jsonb(n)) FROM generate_series(1, 10) AS n;
FETCH 3 FROM c;
CLOSE c;
COMMIT;
SELECT es_stream_version('many-4');

-- Metadata: an object, and occurred_at a time.
SELECT es_append('meta-1', -1, 'T', '{}', '[]');
\echo :SQLSTATE
SELECT es_append('meta-1', -1, 'T', '{}', 'null');
\echo :SQLSTATE
SELECT es_append('meta-1', -1, 'T', '{}', '"x"');
\echo :SQLSTATE
SELECT es_append('meta-1', -1, 'T', '{}', '{}');
SELECT t, es_append('meta-1', -1, 'T', '{}', jsonb_build_object('occurred_at', t))
FROM unnest(ARRAY['2024-02-29T23:59:60Z', '2024-02-29 12:00:00.5+05:30', '2024-02-29t12:00:00.123456789z',
                  '0001-01-01T00:00:00-00:00']) AS t;
CREATE FUNCTION outcome(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	message text;
BEGIN
	EXECUTE statement;
	RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
	RETURN sqlstate || ': ' || sqlerrm;
END $$;
SELECT outcome(format('SELECT es_append(%L, -1, %L, %L, %L)', 'meta-2', 'T', '{}', jsonb_build_object('occurred_at', t)))
FROM unnest(ARRAY['2024-02-30T12:00:00Z', '2024-02-29T12:00:00', '2024-02-29', 'yesterday', 'now', '', '2024-02-29T25:00:00Z',
                  '2024-02-29T12:00:00+5', '2024-02-29T12:00:00.Z', '2024-2-29T12:00:00Z', 'infinity',
                  '2024-02-29T12:00:00Z ', '2024-13-01T00:00:00Z', '2024-02-29T12:61:00Z', '2024-02-29T12:00:00+25:00',
                  '2024-02-29T12:00:00.' || repeat('1', 300) || 'Z']) AS t;
SELECT es_append('meta-2', -1, 'T', '{}', '{"occurred_at": 1709208000}');
\echo :SQLSTATE
SELECT es_append('meta-2', -1, 'T', '{}', '{"occurred_at": null}');
\echo :SQLSTATE
SELECT es_stream_version('meta-2');

-- What a session remembers of where a stream ended is a hint: a rollback and a reset, after
-- which the stream ends earlier, cost no more than a second look.
SELECT last_version FROM es_append_batch('end-1', -1, array_fill(text 'T', ARRAY[300]), array_fill(jsonb '1', ARRAY[300]));
BEGIN;
SELECT last_version FROM es_append_batch('end-1', -1, array_fill(text 'T', ARRAY[300]), array_fill(jsonb '1', ARRAY[300]));
ROLLBACK;
SELECT es_append('end-1', -1, 'T', '1'), es_append('end-1', -2, 'T', '1'), es_append('end-1', 302, 'T', '1');
BEGIN;
SELECT last_version FROM es_append_batch('end-2', -1, array_fill(text 'T', ARRAY[300]), array_fill(jsonb '1', ARRAY[300]));
ROLLBACK;
SELECT es_append('end-2', -2, 'T', '1');
\echo :SQLSTATE
SELECT es_append('end-2', 0, 'T', '1'), es_append('end-2', -1, 'T', '1');
SELECT es_append('end-2', 0, 'T', '1');
\echo :SQLSTATE
ALTER DATABASE es_test_append SET pg_eventstore.allow_reset = on;
SELECT es_reset();
SELECT es_append('end-1', -1, 'T', '1'), es_append('end-2', -1, 'T', '1');
SELECT stream, version FROM es.events ORDER BY position;

\c :home
DROP DATABASE es_test_append;
