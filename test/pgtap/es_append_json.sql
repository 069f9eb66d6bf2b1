-- es_append_json(appends, tenant) appends to several streams, all or nothing.
BEGIN;
SELECT plan(17);

SELECT results_eq($$SELECT stream, first_version, last_version, repeated FROM es_append_json('[
	{"stream": "order-1", "expected": 0, "events": [{"type": "Placed", "data": {}}, {"type": "Paid", "data": {}}]},
	{"stream": "stock-1", "expected": 0, "events": [{"type": "Reserved", "data": 1}]}]')$$,
	$$VALUES ('order-1', 1::bigint, 2::bigint, false), ('stock-1', 1, 1, false)$$, 'there is a row for each entry, in their order');
SELECT is((SELECT string_agg(stream, ' ' ORDER BY position) FROM es.events), 'order-1 order-1 stock-1',
	'positions follow the document');
SELECT results_eq($$SELECT stream, first_version, last_version FROM es_append_json('[
	{"stream": "order-1", "expected": 2}, {"stream": "order-9", "expected": 0, "events": []}]')$$,
	$$VALUES ('order-1', NULL::bigint, 2::bigint), ('order-9', NULL, 0)$$, 'an entry without events is a check only');
SELECT results_eq($$SELECT stream, first_version FROM es_append_json('[
	{"stream": "a-1", "expected": 0, "events": [{"type": "T", "data": 1}]}, {"stream": "b-1", "expected": 0, "events": [{"type": "T", "data": 1}]},
	{"stream": "a-1", "events": [{"type": "T", "data": 2}]}]')$$,
	$$VALUES ('a-1', 1::bigint), ('b-1', 1), ('a-1', 2)$$, 'a stream may come twice, with its expectation the first time');
SELECT throws_ok($$SELECT * FROM es_append_json('[{"stream": "a-1", "expected": 2, "events": [{"type": "T", "data": 1}]}, {"stream": "b-1", "expected": 0, "events": [{"type": "T", "data": 1}]}]')$$,
	'SE001', NULL, 'A2: one conflict refuses all');
SELECT is(es_stream_version('a-1'), 2::bigint, 'and nothing is written');
SELECT throws_ok($$SELECT * FROM es_append_json('[{"stream": "a-1", "expected": 7}, {"stream": "b-1", "expected": 7}]')$$,
	'SE001', '2 streams are not at their expected versions; the first: stream "a-1" is at version 2, expected 7', 'all conflicts are told together');
SELECT is((SELECT bool_and(repeated) FROM (SELECT es_append('c-1', 0, 'T', '1', NULL, '01902bd4-0000-7000-8000-000000000001')) AS a,
	LATERAL es_append_json('[{"stream": "c-1", "expected": 0, "events": [{"type": "T", "data": 1, "id": "01902bd4-0000-7000-8000-000000000001"}]}]')),
	true, 'A5: a retry is recognised by its ids');
SELECT lives_ok($$SELECT * FROM es_append_json('[{"stream": "d-1", "expected": 0, "events": [{"type": "T", "payload": "\\x00ff", "metadata": {"actor": "anna"}}]}]')$$,
	'an event may have a payload, in hexadecimal, and metadata');
SELECT results_eq($$SELECT payload, metadata FROM es_load('d-1')$$, $$VALUES ('\x00ff'::bytea, '{"actor": "anna"}'::jsonb)$$, 'which are stored');
SELECT throws_ok('SELECT * FROM es_append_json(NULL)', '22004', NULL, 'the document must not be null');
SELECT throws_ok($$SELECT * FROM es_append_json('[]')$$, '22023', 'the batch is empty', 'nor empty');
SELECT throws_ok($$SELECT * FROM es_append_json('[{"stream": "a-1", "expected": -1, "events": [{"data": 1}]}]')$$, '22023', '"type" is missing', 'an event has a type');
SELECT throws_ok($$SELECT * FROM es_append_json('[{"stream": "a-1", "expected": -1, "evnts": []}]')$$, '22023', 'unknown key "evnts"',
	'an unknown key is an error');
SELECT is((SELECT last_version FROM es_append_json('[{"stream": "order-1", "expected": 0, "events": [{"type": "T", "data": 1}]}]', 'blue')), 1::bigint,
	'all streams are those of the tenant');

SELECT is((SELECT last_version FROM es_append_json(jsonb_build_array(jsonb_build_object('stream', 'a-1', 'expected', es_stream_version('a-1')::text)))), 2::bigint,
	'expected may be a string of digits');
SELECT results_eq($$SELECT last_version, last_position, repeated FROM es_append_json('[{"stream": "c-1", "expected": 0, "events": [{"type": "T", "data": 1, "id": "01902bd4-0000-7000-8000-000000000001"}]},
	{"stream": "a-1", "expected": 2}]') OFFSET 1$$, 'VALUES (NULL::bigint, NULL::bigint, true)', 'A5: a retry cannot know what the first call found in a stream that it only checked');

SELECT * FROM finish();
ROLLBACK;
