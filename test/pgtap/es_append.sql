-- es_append(stream, expected, type, data, metadata, id, tenant) appends one event
-- and returns its version.
BEGIN;
SELECT plan(38);

-- A1: versions
SELECT is(es_append('order-1', 0, 'Placed', '{"total": 10}'), 1::bigint, 'the first event of a stream has version 1');
SELECT is(es_append('order-1', 1, 'Paid', '{}'), 2::bigint, 'the next has version 2');
SELECT is(es_stream_version('order-1'), 2::bigint, 'the stream is at the version of its last event');
SELECT is(es_stream_version('order-2'), 0::bigint, 'a stream that does not exist is at version 0');

-- A3: the expected version
SELECT is(es_append('order-1', -1, 'Packed', '{}'), 3::bigint, '-1 appends at any version');
SELECT is(es_append('order-1', -2, 'Shipped', '{}'), 4::bigint, '-2 appends to a stream that exists');
SELECT throws_ok($$SELECT es_append('order-2', -2, 'Shipped', '{}')$$, 'SE001', NULL, '-2 refuses a stream that does not exist');
SELECT throws_ok($$SELECT es_append('order-1', 0, 'Placed', '{}')$$, 'SE001',
	NULL, '0 refuses a stream that exists');
SELECT throws_ok($$SELECT es_append('order-1', 3, 'Placed', '{}')$$, 'SE001', NULL, 'n refuses a stream that has gone on');
SELECT throws_ok($$SELECT es_append('order-1', 5, 'Placed', '{}')$$, 'SE001', NULL, 'n refuses a stream that is not there yet');
SELECT throws_ok($$SELECT es_append('order-1', -3, 'Placed', '{}')$$, '22023', NULL, 'other negative numbers mean nothing');
SELECT is(es_stream_version('order-1'), 4::bigint, 'a refused append writes nothing');
SELECT is(es_position('order-1', 4) - es_position('order-1', 3), 1::bigint, 'nor does it take a position');

-- What is stored
SELECT results_eq($$SELECT version, type, data, metadata, payload FROM es_load('order-1', 1, 1)$$,
	$$VALUES (1::bigint, 'Placed', '{"total": 10}'::jsonb, NULL::jsonb, NULL::bytea)$$, 'type and data are stored as given');
SELECT is(es_append('order-1', -1, 'Noted', '{}', '{"actor": "anna"}'), 5::bigint, 'an event may have metadata');
SELECT is((SELECT metadata->>'actor' FROM es_load('order-1', 5)), 'anna', 'which are stored with it');
SELECT matches((SELECT id::text FROM es_load('order-1', 1, 1)), '^.{8}-.{4}-7.{3}-[89ab]', 'an event without an id gets a UUIDv7');
SELECT is((SELECT category FROM es.events WHERE stream = 'order-1' LIMIT 1), 'order', 'the category is the name up to the first hyphen');
SELECT ok((SELECT bool_and(recorded_at BETWEEN now() AND clock_timestamp()) FROM es_load('order-1')), 'A4: recorded_at is the clock at the append');

-- A5: idempotence
SELECT is(es_append('order-3', 0, 'Placed', '{"a": 1}', NULL, '01902bd4-0000-7000-8000-000000000001'), 1::bigint, 'the client may give the id');
SELECT is(es_append('order-3', 0, 'Placed', '{"a": 1}', '{"trace": 2}', '01902bd4-0000-7000-8000-000000000001'), 1::bigint,
	'a retry with that id gets the first answer, whatever it expects');
SELECT is(es_stream_version('order-3'), 1::bigint, 'and writes nothing');
SELECT throws_ok($$SELECT es_append('order-3', -1, 'Placed', '{"a": 2}', NULL, '01902bd4-0000-7000-8000-000000000001')$$, 'SE002',
	NULL, 'the same id with other data is an error');
SELECT throws_ok($$SELECT es_append('order-4', -1, 'Placed', '{"a": 1}', NULL, '01902bd4-0000-7000-8000-000000000001')$$, 'SE002',
	NULL, 'and so it is in another stream');

-- Bad input
SELECT throws_ok($$SELECT es_append(NULL, 0, 'T', '{}')$$, '22004', NULL, 'the stream must not be null');
SELECT throws_ok($$SELECT es_append('a-1', NULL, 'T', '{}')$$, '22004', NULL, 'nor the expected version: NULL switches no check off');
SELECT throws_ok($$SELECT es_append('a-1', 0, NULL, '{}')$$, '22004', NULL, 'nor the type');
SELECT throws_ok($$SELECT es_append('a-1', 0, 'T', NULL)$$, '22004', NULL, 'nor the data');
SELECT throws_ok($$SELECT es_append('-1', 0, 'T', '{}')$$, '22023', NULL, 'an empty category is refused');
SELECT throws_ok($$SELECT es_append(repeat('x', 513), 0, 'T', '{}')$$, '22023', NULL, 'a stream''s name has at most 512 bytes');
SELECT throws_ok($$SELECT es_append('a-1', 0, repeat('x', 256), '{}')$$, '22023', NULL, 'a type''s name at most 255');
SELECT throws_ok($$SELECT es_append('a-1', 0, 'T', '{}', tenant => repeat('x', 129))$$, '22023', NULL, 'a tenant''s name at most 128');
SELECT throws_ok($$SELECT es_append('a-1', 0, 'T', '{}', '[]')$$, '22023', NULL, 'metadata are an object');
SELECT throws_ok($$SELECT es_append('a-1', 0, 'T', '{}', '{"occurred_at": "soon"}')$$, '22P02', NULL, 'occurred_at is an RFC 3339 time');

-- A4: the clock may stand behind what is stored; the log's time does not go back
SET LOCAL pg_eventstore.allow_maintenance = on;
INSERT INTO es.events (position, version, recorded_at, id, tenant, stream, category, type, data)
VALUES (nextval('es.events_position_seq'), 1, clock_timestamp() + interval '1 day', gen_random_uuid(), '',
	'clock-1', 'clock', 'T', '{}');
SET LOCAL pg_eventstore.allow_maintenance = off;
SELECT is(es_append('clock-1', 1, 'T', '{}'), 2::bigint, 'an event may follow one from the future');
SELECT is((SELECT count(DISTINCT recorded_at) FROM es_load('clock-1')), 1::bigint, 'and is not recorded before it');

-- Tenants
SELECT is(es_append('order-1', 0, 'Placed', '{}', tenant => 'blue'), 1::bigint, 'another tenant has streams of its own');
SELECT is(es_stream_version('order-1'), 5::bigint, 'which do not touch those of the first');

SELECT * FROM finish();
ROLLBACK;
