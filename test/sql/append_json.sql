-- es_append_json: several streams at once, all or nothing (A2, A3, O5).
\set SHOW_CONTEXT never
\set home :DBNAME
CREATE DATABASE es_test_append_json;
\c es_test_append_json
CREATE EXTENSION pg_eventstore;
SELECT es_init();

SELECT * FROM es_append_json('[
	{"stream": "order-1", "expected": 0, "events": [{"type": "Placed", "data": {"n": 1}}, {"type": "Paid", "data": {"n": 2}, "metadata": {"actor": "anna"}}]},
	{"stream": "stock-apple", "expected": 0, "events": [{"type": "Reserved", "data": 3, "id": "01902bd4-0000-7000-8000-000000000001"}]},
	{"stream": "raw-1", "expected": -1, "events": [{"type": "Raw", "payload": "\\x48656C6c6f"}]}]');
SELECT position, stream, version, type, data, metadata, payload FROM es.events ORDER BY position;

-- An entry without events is a check only; JSON null is "not given".
SELECT * FROM es_append_json('[
	{"stream": "order-1", "expected": 2},
	{"stream": "order-2", "expected": 0, "events": []},
	{"stream": "stock-apple", "expected": -2, "events": null},
	{"stream": "order-3", "expected": -1, "events": [{"type": "Placed", "data": {}, "metadata": null, "id": null, "payload": null}]}]');
-- Only checks.
SELECT * FROM es_append_json('[{"stream": "order-1", "expected": 2}]');
SELECT * FROM es_append_json('[{"stream": "order-1", "expected": 1}]');
\echo :SQLSTATE

-- A stream may come twice, expected only the first time; positions follow the array.
SELECT * FROM es_append_json('[
	{"stream": "order-4", "expected": 0, "events": [{"type": "A", "data": 1}]},
	{"stream": "order-5", "expected": 0, "events": [{"type": "B", "data": 2}]},
	{"stream": "order-4", "events": [{"type": "C", "data": 3}, {"type": "D", "data": 4}]},
	{"stream": "order-4"}]');
SELECT stream, version, type FROM es.events WHERE type IN ('A', 'B', 'C', 'D') ORDER BY position;
SELECT * FROM es_append_json('[{"stream": "order-4", "expected": 3, "events": [{"type": "A", "data": 1}]},
	{"stream": "order-4", "expected": 4, "events": [{"type": "A", "data": 1}]}]');
\echo :SQLSTATE
SELECT * FROM es_append_json('[{"stream": "order-4", "events": [{"type": "A", "data": 1}]},
	{"stream": "order-4", "expected": 4, "events": [{"type": "A", "data": 1}]}]');
\echo :SQLSTATE

-- All failing expectations are reported together, in the document's order.
SELECT * FROM es_append_json('[
	{"stream": "zebra-1", "expected": 4, "events": [{"type": "A", "data": 1}]},
	{"stream": "order-1", "expected": 0, "events": [{"type": "A", "data": 1}]},
	{"stream": "order-2", "expected": 0, "events": [{"type": "A", "data": 1}]},
	{"stream": "ant\"s-1", "expected": -2}]');
\echo :SQLSTATE
-- One failing entry refuses all (A2).
SELECT es_stream_version('order-2');

-- Of several failures the message names the first, in the document's order.
SELECT * FROM es_append_json('[
	{"stream": "order-1", "expected": 0, "events": [{"type": "A", "data": 1}]},
	{"stream": "zebra-1", "expected": 4}]');
SELECT * FROM es_append_json('[{"stream": "zebra-1", "expected": 4}]');
SELECT * FROM es_append_json('[{"stream": "zebra-1", "expected": -2}]');
SELECT * FROM es_append_json('[{"stream": "order-1", "expected": 0}]');

-- A bigint that a driver has given as a string may come back as it is.
SELECT * FROM es_append_json('[
	{"stream": "digits-1", "expected": "0", "events": [{"type": "A", "data": 1}]},
	{"stream": "digits-2", "expected": "-1", "events": [{"type": "A", "data": 1}]},
	{"stream": "order-1", "expected": "2"},
	{"stream": "order-4", "expected": "-2"}]');
SELECT * FROM es_append_json('[{"stream": "digits-1", "expected": "7"}]');
\echo :SQLSTATE
SELECT * FROM es_append_json('[{"stream": "digits-1", "expected": "9223372036854775807"}]');
\echo :SQLSTATE

-- A retry of a call that has only checked a stream cannot know what it found there (A5), unless it
-- has appended to that stream itself.
\set call '[{"stream": "twice-1", "expected": 0, "events": [{"type": "A", "data": 1, "id": "01902bd4-0000-7000-8000-000000000071"}]}, {"stream": "order-1", "expected": 2}, {"stream": "nix-1", "expected": 0}, {"stream": "twice-1"}]'
SELECT * FROM es_append_json(:'call');
SELECT es_append('order-1', 2, 'Later', '{}'), es_append('nix-1', 0, 'Later', '{}'), es_append('twice-1', 1, 'Later', '{}');
SELECT * FROM es_append_json(:'call');
-- what comes after is not misled by that
SELECT es_append('twice-1', 2, 'Later', '{}'), es_append('nix-1', -1, 'Later', '{}');

-- Bad documents, with the place.
CREATE FUNCTION try(document jsonb) RETURNS TABLE (state text, message text, detail text, hint text)
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM * FROM es_append_json(document);
	message := 'accepted';
	RETURN NEXT;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
		detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RETURN NEXT;
END $$;
\pset format unaligned
\pset tuples_only
\pset fieldsep ' | '
SELECT * FROM try(NULL);
SELECT * FROM try('null');
SELECT * FROM try('1');
SELECT * FROM try('"x"');
SELECT * FROM try('{}');
SELECT * FROM try('{"stream": "a-1"}');
SELECT * FROM try('[]');
SELECT * FROM try('[1]');
SELECT * FROM try('[null]');
SELECT * FROM try('[[]]');
SELECT * FROM try('[{}]');
SELECT * FROM try('[{"stream": null}]');
SELECT * FROM try('[{"stream": 1, "expected": 0}]');
SELECT * FROM try('[{"stream": "", "expected": 0}]');
SELECT * FROM try('[{"stream": "-x", "expected": 0}]');
SELECT * FROM try('[{"stream": "a-1"}]');
SELECT * FROM try('[{"stream": "a-1", "expected": null}]');
SELECT * FROM try('[{"stream": "a-1", "expected": ""}]');
SELECT * FROM try('[{"stream": "a-1", "expected": " 0"}]');
SELECT * FROM try('[{"stream": "a-1", "expected": "0 "}]');
SELECT * FROM try('[{"stream": "a-1", "expected": "+3"}]');
SELECT * FROM try('[{"stream": "a-1", "expected": "03"}]');
SELECT * FROM try('[{"stream": "a-1", "expected": "-0"}]');
SELECT * FROM try('[{"stream": "a-1", "expected": "3.0"}]');
SELECT * FROM try('[{"stream": "a-1", "expected": "1e1"}]');
SELECT * FROM try('[{"stream": "a-1", "expected": "0x1"}]');
SELECT * FROM try('[{"stream": "a-1", "expected": "any"}]');
SELECT * FROM try('[{"stream": "a-1", "expected": "9223372036854775808"}]');
SELECT * FROM try('[{"stream": "a-1", "expected": 9223372036854775808}]');
SELECT * FROM try('[{"stream": "a-1", "expected": "-3"}]');
SELECT * FROM try('[{"stream": "a-0", "expected": 0}, {"stream": "a-1", "expected": "x"}]');
SELECT * FROM try('[{"stream": "a-1", "expected": true}]');
SELECT * FROM try('[{"stream": "a-1", "expected": 0.5}]');
SELECT * FROM try('[{"stream": "a-1", "expected": -3}]');
SELECT * FROM try('[{"stream": "a-1", "expected": 1e30}]');
SELECT * FROM try('[{"stream": "a-1", "expected": [0]}]');
SELECT * FROM try('[{"stream": "a-1", "expected": 0, "events": {}}]');
SELECT * FROM try('[{"stream": "a-1", "expected": 0, "events": 1}]');
SELECT * FROM try('[{"stream": "a-1", "expected": 0, "events": [1]}]');
SELECT * FROM try('[{"stream": "a-1", "expected": 0, "events": [null]}]');
SELECT * FROM try('[{"stream": "a-1", "expected": 0, "events": [[]]}]');
SELECT * FROM try('[{"stream": "a-1", "expected": 0, "event": []}]');
SELECT * FROM try('[{"stream": "a-1", "expected": 0, "": []}]');
SELECT * FROM try('[{"stream": "a-1", "expected": 0, "Stream": "a"}]');
SELECT * FROM try('[{"stream": "a-1", "expected": 0, "tenant": "x"}]');
SELECT * FROM try('[{"stream": "a-1", "expected": 0, "events": [{}]}]');
SELECT * FROM try('[{"stream": "a-1", "expected": 0, "events": [{"type": null, "data": 1}]}]');
SELECT * FROM try('[{"stream": "a-1", "expected": 0, "events": [{"type": 1, "data": 1}]}]');
SELECT * FROM try('[{"stream": "a-1", "expected": 0, "events": [{"type": "", "data": 1}]}]');
SELECT * FROM try('[{"stream": "a-1", "expected": 0, "events": [{"type": "T"}]}]');
SELECT * FROM try('[{"stream": "a-1", "expected": 0, "events": [{"type": "T", "data": null}]}]');
SELECT * FROM try('[{"stream": "a-1", "expected": 0, "events": [{"type": "T", "data": 1, "extra": 1}]}]');
SELECT * FROM try('[{"stream": "a-1", "expected": 0, "events": [{"type": "T", "data": 1, "metadata": 1}]}]');
SELECT * FROM try('[{"stream": "a-1", "expected": 0, "events": [{"type": "T", "data": 1, "metadata": []}]}]');
SELECT * FROM try('[{"stream": "a-1", "expected": 0, "events": [{"type": "T", "data": 1, "metadata": {"occurred_at": "x"}}]}]');
SELECT * FROM try('[{"stream": "a-1", "expected": 0, "events": [{"type": "T", "data": 1, "id": 1}]}]');
SELECT * FROM try('[{"stream": "a-1", "expected": 0, "events": [{"type": "T", "data": 1, "id": "x"}]}]');
SELECT * FROM try('[{"stream": "a-1", "expected": 0, "events": [{"type": "T", "data": 1, "id": "01902bd4-0000-7000-8000-00000000000"}]}]');
SELECT * FROM try('[{"stream": "a-1", "expected": 0, "events": [{"type": "T", "payload": 1}]}]');
SELECT * FROM try('[{"stream": "a-1", "expected": 0, "events": [{"type": "T", "payload": ""}]}]');
SELECT * FROM try('[{"stream": "a-1", "expected": 0, "events": [{"type": "T", "payload": "48"}]}]');
SELECT * FROM try('[{"stream": "a-1", "expected": 0, "events": [{"type": "T", "payload": "\\x4"}]}]');
SELECT * FROM try('[{"stream": "a-1", "expected": 0, "events": [{"type": "T", "payload": "\\xzz"}]}]');
SELECT * FROM try('[{"stream": "a-1", "expected": 0, "events": [{"type": "T", "payload": "\\x"}]}]');
SELECT * FROM try('[{"stream": "a-2", "expected": 0, "events": [{"type": "T", "data": 1}]},
	{"stream": "a-3", "expected": 0, "events": [{"type": "T", "data": 1}, {"type": "T", "data": 1}, {"type": 7, "data": 1}]}]');
SELECT * FROM try('[{"stream": "a-2", "expected": 0, "events": [{"type": "T", "data": 1, "id": "01902bd4-0000-7000-8000-0000000000aa"}]},
	{"stream": "a-3", "expected": 0, "events": [{"type": "T", "data": 1, "id": "01902BD4-0000-7000-8000-0000000000AA"}]}]');
\pset tuples_only
\pset format aligned
SELECT stream, version FROM es_streams('{a}');

-- The tenant of the call is the tenant of all its streams.
SELECT stream, last_version FROM es_append_json('[{"stream": "order-1", "expected": 0, "events": [{"type": "T", "data": 1}]}]', 'blue');
SELECT stream, last_version FROM es_append_json('[{"stream": "order-1", "expected": 0, "events": [{"type": "T", "data": 1}]}]', tenant => '*');
\echo :SQLSTATE
BEGIN READ ONLY;
SELECT * FROM es_append_json('[{"stream": "order-1", "expected": -1}]');
\echo :SQLSTATE
ROLLBACK;

-- In the select list, and once for each row.
SELECT es_append_json('[{"stream": "order-6", "expected": -1, "events": [{"type": "T", "data": 1}]}]') IS NOT NULL;
SELECT n, j.stream, j.first_version FROM generate_series(1, 3) AS n, LATERAL es_append_json(jsonb_build_array(
	jsonb_build_object('stream', 'order-7', 'expected', n - 1, 'events', jsonb_build_array(jsonb_build_object('type', 'T', 'data', n))))) AS j;

\c :home
DROP DATABASE es_test_append_json;
