-- es_try_append_json: conflicts over several streams as rows (A2, A3, A5, O5).
\set SHOW_CONTEXT never
\set home :DBNAME
CREATE DATABASE es_test_try_append_json;
\c es_test_try_append_json
CREATE EXTENSION pg_eventstore;
SELECT es_init();

-- All is as expected: events are appended, entries without events are checked.
SELECT * FROM es_try_append_json('[
	{"stream": "order-1", "expected": 0, "events": [{"type": "Placed", "data": {}}, {"type": "Paid", "data": {}, "id": "01902bd4-0000-7000-8000-000000000001"}]},
	{"stream": "stock-1", "expected": 0, "events": [{"type": "Reserved", "data": 1}]},
	{"stream": "order-2", "expected": 0},
	{"stream": "order-1", "events": [{"type": "Sent", "data": {}}]},
	{"stream": "order-1", "events": []}]');
SELECT position, stream, version, type FROM es.events ORDER BY position;

-- Each way to expect, met and not, by both kinds of entries.
CREATE FUNCTION attempt(stream text, expected bigint, events jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	answer text;
BEGIN
	SELECT concat_ws(' ', outcome, version, coalesce(first_version::text, '-'), CASE WHEN last_position > 0 THEN 'somewhere' ELSE '-' END) INTO answer
	FROM es_try_append_json(jsonb_build_array(jsonb_build_object('stream', stream, 'expected', expected, 'events', events)));
	RAISE EXCEPTION USING MESSAGE = answer, ERRCODE = 'ZZZZZ';
EXCEPTION WHEN SQLSTATE 'ZZZZZ' THEN
	RETURN SQLERRM;
END $$;
SELECT stream, expected, attempt(stream, expected, '[{"type": "T", "data": 1}]') AS with_event, attempt(stream, expected, NULL) AS only_check
FROM unnest('{order-1,order-2}'::text[]) AS stream, unnest('{-2,-1,0,1,3,4}'::bigint[]) AS expected;

-- One that fails: nothing is written (A2), no position is taken (A3), and the transaction goes on.
BEGIN;
SELECT * FROM es_try_append_json('[
	{"stream": "order-3", "expected": 0, "events": [{"type": "Placed", "data": {}}]},
	{"stream": "order-1", "expected": 1, "events": [{"type": "Placed", "data": {}}]},
	{"stream": "stock-1", "expected": 1},
	{"stream": "order-1", "events": [{"type": "Placed", "data": {}}]},
	{"stream": "order-9", "expected": -2},
	{"stream": "order-1"}]');
SELECT es_stream_version('order-3'), es_stream_version('order-1'), count(*) FROM es.events;
SELECT outcome, stream, version, last_position FROM es_try_append_json('[{"stream": "order-3", "expected": 0, "events": [{"type": "Placed", "data": {}}]}]');
COMMIT;
-- its locks stay, as those of es_try_append do: here with one that has written nothing
BEGIN;
SELECT outcome FROM es_try_append_json('[{"stream": "order-1", "expected": 99}, {"stream": "order-3", "expected": 1}]');
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid();
ROLLBACK;
-- "expected" as a string here too
SELECT outcome, version FROM es_try_append_json('[{"stream": "order-3", "expected": "1"}, {"stream": "order-1", "expected": "2"}]');

-- A retry: the original answer (A5), whatever is expected; what was only checked is not known any more.
\set call '[{"stream": "retry-1", "expected": 0, "events": [{"type": "A", "data": 1, "id": "01902bd4-0000-7000-8000-000000000011"}]}, {"stream": "order-1", "expected": 3}, {"stream": "retry-2", "expected": 0, "events": [{"type": "B", "data": 2, "id": "01902bd4-0000-7000-8000-000000000012"}]}, {"stream": "retry-1"}]'
SELECT * FROM es_try_append_json(:'call');
SELECT es_append('order-1', 3, 'Later', '{}'), es_append('retry-1', 1, 'Later', '{}');
SELECT * FROM es_try_append_json(:'call');
SELECT * FROM es_append_json(:'call');
-- wrong ids are errors, not answers
SELECT * FROM es_try_append_json('[{"stream": "retry-1", "expected": -1, "events": [{"type": "A", "data": 7, "id": "01902bd4-0000-7000-8000-000000000011"}]}]');
\echo :SQLSTATE
SELECT * FROM es_try_append_json('[{"stream": "retry-3", "expected": -1, "events": [{"type": "A", "data": 1, "id": "01902bd4-0000-7000-8000-000000000011"}]}]');
\echo :SQLSTATE
SELECT * FROM es_try_append_json('[{"stream": "retry-1", "expected": 99, "events": [{"type": "A", "data": 1, "id": "01902bd4-0000-7000-8000-000000000011"}, {"type": "A", "data": 1}]}]');
\echo :SQLSTATE
-- an id that is new with an expectation that fails: a conflict
SELECT * FROM es_try_append_json('[{"stream": "retry-1", "expected": 1, "events": [{"type": "A", "data": 1, "id": "01902bd4-0000-7000-8000-000000000019"}]}]');

-- Bad documents are errors with their place, as in es_append_json.
SELECT * FROM es_try_append_json(NULL);
\echo :SQLSTATE
SELECT * FROM es_try_append_json('[]');
\echo :SQLSTATE
SELECT * FROM es_try_append_json('[{"stream": "a-1", "expected": 0, "events": [{"type": "T", "data": 1}, {"data": 1}]}]');
\echo :SQLSTATE
SELECT * FROM es_try_append_json('[{"stream": "a-1", "expected": "1.0"}]');
\echo :SQLSTATE

-- The tenant of the call is the tenant of all its streams.
SELECT * FROM es_try_append_json('[{"stream": "order-1", "expected": 0, "events": [{"type": "T", "data": 1}]}]', 'blue');
SELECT outcome, version FROM es_try_append_json('[{"stream": "order-1", "expected": 4}]', tenant => 'blue');
SELECT * FROM es_try_append_json('[{"stream": "order-1", "expected": 0}]', tenant => '*');
\echo :SQLSTATE
BEGIN READ ONLY;
SELECT * FROM es_try_append_json('[{"stream": "order-1", "expected": -1}]');
\echo :SQLSTATE
ROLLBACK;

-- More streams than a transaction may lock one by one, one of which is not as expected.
SELECT outcome, count(*), min(version), max(version) FROM es_try_append_json((SELECT jsonb_agg(jsonb_build_object('stream', 'many-' || n, 'expected', 0,
	'events', '[{"type": "T", "data": 1}]'::jsonb)) FROM generate_series(1, 1000) AS n)) GROUP BY outcome;
SELECT outcome, count(*), min(version), max(version) FROM es_try_append_json((SELECT jsonb_agg(jsonb_build_object('stream', 'many-' || n,
	'expected', CASE n WHEN 500 THEN 0 ELSE 1 END, 'events', '[{"type": "T", "data": 1}]'::jsonb)) FROM generate_series(1, 1000) AS n)) GROUP BY outcome ORDER BY outcome;
SELECT count(*), max(version) FROM es_streams('{many}');
-- and many events
SELECT outcome, version, first_version FROM es_try_append_json(jsonb_build_array(jsonb_build_object('stream', 'big-1', 'expected', 0,
	'events', (SELECT jsonb_agg('{"type": "T", "data": 1}'::jsonb) FROM generate_series(1, 20000)))));

-- In the select list, in LATERAL, and with user triggers.
SELECT (es_try_append_json('[{"stream": "order-6", "expected": -1, "events": [{"type": "T", "data": 1}]}]')).outcome;
SELECT n, j.outcome, j.version FROM generate_series(0, 2) AS n, LATERAL es_try_append_json(jsonb_build_array(
	jsonb_build_object('stream', 'order-7', 'expected', n % 2, 'events', jsonb_build_array(jsonb_build_object('type', 'T', 'data', n))))) AS j;
CREATE FUNCTION seen() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'fires for % %', NEW.stream, NEW.version; RETURN NULL; END $$;
CREATE TRIGGER seen AFTER INSERT ON es.events FOR EACH ROW EXECUTE FUNCTION seen();
SELECT outcome FROM es_try_append_json('[{"stream": "order-8", "expected": 0, "events": [{"type": "T", "data": 1}]}, {"stream": "order-6", "expected": 0}]');
SELECT outcome FROM es_try_append_json('[{"stream": "order-8", "expected": 0, "events": [{"type": "T", "data": 1}]}, {"stream": "order-6", "expected": 1}]');

\c :home
DROP DATABASE es_test_try_append_json;
