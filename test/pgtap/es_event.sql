-- es_event(id, tenant) returns one event by its id; es_event_exists(id, tenant)
-- says whether there is one.
BEGIN;
SELECT plan(9);
SELECT es_append('order-1', 0, 'Placed', '{"n": 1}', '{"actor": "anna"}', '01902bd4-0000-7000-8000-000000000001');

SELECT results_eq($$SELECT position, stream, version, type, data, metadata, id, tenant FROM es_event('01902bd4-0000-7000-8000-000000000001')$$,
	$$VALUES (es_head(), 'order-1', 1::bigint, 'Placed', '{"n": 1}'::jsonb, '{"actor": "anna"}'::jsonb, '01902bd4-0000-7000-8000-000000000001'::uuid, '')$$,
	'es_event answers with the log row');
SELECT is_empty($$SELECT * FROM es_event('01902bd4-0000-7000-8000-000000000002')$$, 'or none');
SELECT is_empty($$SELECT * FROM es_event('01902bd4-0000-7000-8000-000000000001', 'blue')$$, 'another tenant has other ids');
SELECT ok(es_event_exists('01902bd4-0000-7000-8000-000000000001'), 'es_event_exists knows what was appended');
SELECT ok(NOT es_event_exists('01902bd4-0000-7000-8000-000000000002'), 'and what was not');
SELECT ok(es_event_exists((SELECT id FROM es_load('order-1'))), 'es_load tells the id of each event');
SELECT throws_ok('SELECT * FROM es_event(NULL)', '22004', NULL, 'the id must not be null');
SELECT throws_ok('SELECT es_event_exists(NULL)', '22004', NULL, 'in neither');
SELECT throws_ok($$SELECT es_event_exists('01902bd4-0000-7000-8000-000000000001', '*')$$, '22023', NULL, 'an id belongs to one tenant');

SELECT * FROM finish();
ROLLBACK;
