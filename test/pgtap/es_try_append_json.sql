-- es_try_append_json(appends, tenant) appends to several streams, all or nothing, and answers
-- conflicts with rows.
BEGIN;
SELECT plan(10);

SELECT results_eq($$SELECT outcome, stream, version, first_version, last_position > 0 FROM es_try_append_json('[
	{"stream": "order-1", "expected": 0, "events": [{"type": "Placed", "data": {}}, {"type": "Paid", "data": {}}]},
	{"stream": "stock-1", "expected": 0, "events": [{"type": "Reserved", "data": 1}]}, {"stream": "order-2", "expected": 0}]')$$,
	$$VALUES ('appended', 'order-1', 2::bigint, 1::bigint, true), ('appended', 'stock-1', 1, 1, true), ('checked', 'order-2', 0, NULL, NULL)$$,
	'there is a row for each entry, in their order');
SELECT is((SELECT last_position FROM es_try_append_json('[{"stream": "stock-1", "expected": 1}]')), es_position('stock-1'), 'what is only checked has its stream''s position');
SELECT results_eq($$SELECT * FROM es_try_append_json('[{"stream": "order-2", "expected": 0, "events": [{"type": "Placed", "data": {}}]},
	{"stream": "order-1", "expected": 1, "events": [{"type": "Sent", "data": {}}]}, {"stream": "stock-1", "expected": "1"}]')$$,
	$$VALUES ('unwritten', 'order-2', 0::bigint, NULL::bigint, NULL::bigint), ('conflict', 'order-1', 2, NULL, NULL), ('checked', 'stock-1', 1, NULL, NULL)$$,
	'a conflict is an answer, with the actual versions');
SELECT is(es_stream_version('order-2'), 0::bigint, 'A2: one conflict refuses all');
SELECT results_eq($$SELECT outcome FROM es_try_append_json('[{"stream": "order-1", "expected": 1}, {"stream": "stock-1", "expected": 1}, {"stream": "order-1"}]')$$,
	$$VALUES ('conflict'), ('checked'), ('conflict')$$, 'a stream that comes twice is in conflict twice');
SELECT results_eq($$SELECT outcome FROM es_try_append_json('[{"stream": "order-2", "expected": 0, "events": [{"type": "Placed", "data": {}, "id": "01902bd4-0000-7000-8000-000000000021"}]}, {"stream": "stock-1", "expected": 1}]')$$,
	$$VALUES ('appended'), ('checked')$$, 'the transaction goes on');
SELECT results_eq($$SELECT outcome, version, first_version FROM es_try_append_json('[{"stream": "order-2", "expected": 0, "events": [{"type": "Placed", "data": {}, "id": "01902bd4-0000-7000-8000-000000000021"}]}, {"stream": "stock-1", "expected": 9}]')$$,
	$$VALUES ('repeated', 1::bigint, 1::bigint), ('repeated', NULL, NULL)$$, 'A5: a retry is recognised by its ids, whatever it expects');
SELECT throws_ok($$SELECT * FROM es_try_append_json('[{"stream": "order-2", "expected": -1, "events": [{"type": "Other", "data": {}, "id": "01902bd4-0000-7000-8000-000000000021"}]}]')$$,
	'SE002', NULL, 'other content under a known id is an error');
SELECT throws_ok($$SELECT * FROM es_try_append_json('[{"stream": "order-2", "expected": null}]')$$, '22004', NULL, 'and so is bad input');
SELECT is((SELECT outcome FROM es_try_append_json('[{"stream": "order-1", "expected": 0}]', tenant => 'blue')), 'checked', 'all streams are those of the tenant');

SELECT * FROM finish();
ROLLBACK;
