-- Every index of es.events is served, whoever has made it and however rows come: one by
-- one, in a batch, with triggers that fire and without (A1, A5).
\set SHOW_CONTEXT never
\set home :DBNAME
CREATE DATABASE es_test_indexes;
\c es_test_indexes
CREATE EXTENSION pg_eventstore;
CREATE EXTENSION amcheck;
SELECT es_init();

-- Has each btree an entry for each row that it is to have, and a BRIN index every value?
CREATE FUNCTION check_indexes() RETURNS TABLE (btrees bigint, brins bigint) LANGUAGE plpgsql AS $$
BEGIN
	SELECT count(bt_index_check(indexrelid, true)) INTO btrees
	FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
	WHERE indrelid = 'es.events'::regclass AND relam = (SELECT oid FROM pg_am WHERE amname = 'btree');
	SET LOCAL enable_seqscan = off;
	SET LOCAL enable_indexscan = off;
	SELECT count(*) INTO brins FROM es.events
	WHERE recorded_at >= (SELECT min(recorded_at) FROM es.events) AND recorded_at <= (SELECT max(recorded_at) FROM es.events);
	brins := brins - (SELECT count(*) FROM es.events);
	RETURN NEXT;
END $$;
CREATE FUNCTION batch(stream text, n int) RETURNS bigint LANGUAGE sql AS $$
	SELECT last_version FROM es_append_batch(stream, -1, array_fill(text 'T', ARRAY[n]),
		(SELECT array_agg(jsonb_build_object('n', i, 'text', repeat('x', 100))) FROM generate_series(1, n) AS i));
$$;
SELECT es_append('one-1', 0, 'T', '{}'), batch('many-1', 500);
SELECT * FROM check_indexes();

-- Made between two appends of one transaction: the second one serves it.  Each sort
-- alone, for one that is not plain takes all of them another way.
BEGIN;
SELECT es_append('one-1', 1, 'T', '{}');
CREATE INDEX user_plain ON es.events (type, position);
SELECT es_append('one-1', 2, 'Plain', '{}'), batch('many-1', 100);
SAVEPOINT s;
CREATE INDEX user_gone ON es.events (type, version);
SELECT es_append('one-1', 3, 'Plain', '{}');
ROLLBACK TO s;
SELECT es_append('one-1', 3, 'Plain', '{}'), batch('many-1', 100);
COMMIT;
SELECT * FROM check_indexes();
BEGIN;
CREATE INDEX user_include ON es.events (type, stream DESC) INCLUDE (version);
CREATE INDEX user_gin ON es.events USING gin (data);
CREATE INDEX user_hash ON es.events USING hash (stream);
CREATE INDEX user_brin ON es.events USING brin (position, category, type) WITH (pages_per_range = 1);
SELECT es_append('one-1', 4, 'Named', '{"k": 1}'), batch('many-1', 300), batch('many-2', 300);
COMMIT;
SELECT * FROM check_indexes();
SET enable_seqscan = off;
SELECT count(*) FROM es.events WHERE data @> '{"n": 7}';
SELECT count(*) FROM es.events WHERE data @> '{"k": 1}';
RESET enable_seqscan;
BEGIN;
CREATE INDEX user_partial ON es.events (stream) WHERE type = 'Named';
SELECT es_append('one-1', 5, 'Named', '{}'), batch('many-2', 50);
CREATE INDEX user_expression ON es.events ((data->>'n'));
SELECT es_append('one-1', 6, 'Named', '{"n": "a"}'), batch('many-2', 50);
COMMIT;
SELECT * FROM check_indexes();
SELECT count(*) FROM es.events WHERE data->>'n' = '50';
DROP INDEX es.user_partial, es.user_expression;
SELECT es_append('one-1', 7, 'Named', '{}'), batch('many-2', 50);
SELECT * FROM check_indexes();

-- Unique: a row of a batch that is refused takes the whole batch with it.
CREATE UNIQUE INDEX user_unique ON es.events (type, stream) WHERE type = 'Once';
SELECT last_version FROM es_append_batch('once-1', 0, '{T,Once,T,Once}', ARRAY['1', '2', '3', '4']::jsonb[]);
\echo :SQLSTATE
SELECT last_version FROM es_append_batch('once-1', 0, '{T,Once,T}', ARRAY['1', '2', '3']::jsonb[]);
DROP INDEX es.user_unique;
CREATE UNIQUE INDEX user_unique ON es.events (stream, version, type);
CREATE UNIQUE INDEX user_strict ON es.events (metadata);
SELECT last_version FROM es_append_batch('once-1', 3, '{T,T,T}', ARRAY['1', '2', '3']::jsonb[], ARRAY['{"a": 1}', '{"a": 2}', '{"a": 1}']::jsonb[]);
\echo :SQLSTATE
SELECT last_version FROM es_append_batch('once-1', 3, '{T,T,T}', ARRAY['1', '2', '3']::jsonb[], ARRAY['{"a": 1}', '{"a": 2}', NULL]::jsonb[]);
SELECT es_append('once-1', 6, 'T', '{}', '{"a": 2}');
\echo :SQLSTATE
SELECT es_append('once-1', 6, 'T', '{}', '{"a": 3}');
DROP INDEX es.user_unique, es.user_strict;
-- Deferred, and excluding.
ALTER TABLE es.events ADD CONSTRAINT user_deferred UNIQUE (metadata) DEFERRABLE INITIALLY DEFERRED;
BEGIN;
SELECT es_append('late-1', 0, 'T', '{}', '{"a": 4}'), es_append('late-1', 1, 'T', '{}', '{"a": 4}');
COMMIT;
\echo :SQLSTATE
SELECT es_append('late-1', 0, 'T', '{}', '{"a": 4}');
ALTER TABLE es.events DROP CONSTRAINT user_deferred;
ALTER TABLE es.events ADD CONSTRAINT user_excludes EXCLUDE USING btree (metadata WITH =);
SELECT es_append('late-1', 1, 'T', '{}', '{"a": 4}');
\echo :SQLSTATE
SELECT es_append('late-1', 1, 'T', '{}', '{"a": 5}');
ALTER TABLE es.events DROP CONSTRAINT user_excludes;

-- Ids of the client's: one that another stream has refuses the batch, wherever it stands.
SELECT last_version FROM es_append_batch('id-1', 0, '{T}', ARRAY['1']::jsonb[], NULL, ARRAY['00000000-0000-7000-8000-000000000001']::uuid[]);
SELECT last_version FROM es_append_batch('id-2', 0, '{T,T,T}', ARRAY['1', '1', '1']::jsonb[], NULL,
	ARRAY['00000000-0000-7000-8000-000000000003', '00000000-0000-7000-8000-000000000001', '00000000-0000-7000-8000-000000000002']::uuid[]);
\echo :SQLSTATE
SELECT es_stream_version('id-2');

-- BRIN: rows that fill pages whose ranges have been summarized, those that a rolled back
-- batch has left, are in the summary of every page that they are on.
DROP INDEX es.user_plain, es.user_include, es.user_brin;
CREATE INDEX user_brin ON es.events USING brin (recorded_at, type) WITH (pages_per_range = 1);
BEGIN;
SELECT batch('many-3', 3000);
ROLLBACK;
SELECT es_append('one-1', 8, 'Behind', '{}');
VACUUM es.events;
SELECT brin_summarize_new_values('es.user_brin') IS NOT NULL;
SELECT last_version FROM es_append_batch('many-3', 0, array_fill(text 'Refilled', ARRAY[2500]), array_fill(jsonb '{"n": 1}', ARRAY[2500]));
SELECT es_append('one-1', 9, 'Refilled', '{}');
SELECT count(DISTINCT (ctid::text::point)[0]) > 10 AS pages FROM es.events WHERE type = 'Refilled'
	AND (ctid::text::point)[0] < (SELECT (ctid::text::point)[0] FROM es.events WHERE type = 'Behind');
SELECT * FROM check_indexes();
SET enable_seqscan = off;
EXPLAIN (COSTS OFF) SELECT count(*) FROM es.events WHERE type = 'Refilled';
SELECT count(*) FROM es.events WHERE type = 'Refilled';
RESET enable_seqscan;

-- With a trigger that fires the executor enters them, to the same end.
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER nothing AFTER INSERT ON es.events FOR EACH STATEMENT EXECUTE FUNCTION nothing();
SELECT es_append('one-1', 10, 'T', '{}'), batch('many-3', 300);
SELECT * FROM check_indexes();

\c :home
DROP DATABASE es_test_indexes;
