-- es_append_batch(stream, expected, types, data, metadata, ids, payloads, tenant)
-- appends several events to one stream; es_try_append answers a conflict as a row.
BEGIN;
SELECT plan(24);

SELECT results_eq($$SELECT first_version, last_version, repeated FROM es_append_batch('order-1', 0, '{Placed,Paid}', ARRAY['{"n": 1}', '{"n": 2}']::jsonb[])$$,
	$$VALUES (1::bigint, 2::bigint, false)$$, 'the answer has the first and the last version');
SELECT is((SELECT last_position FROM es_append_batch('order-1', 2, '{Packed}', ARRAY['{}']::jsonb[])), (SELECT max(position) FROM es.events) + 1,
	'and the position of the last event');
SELECT is((SELECT count(DISTINCT recorded_at) FROM es_load('order-1', 1, 2)), 1::bigint, 'A4: one call has one recorded_at');
SELECT results_eq($$SELECT type FROM es_load('order-1')$$, ARRAY['Placed', 'Paid', 'Packed'], 'the events stand in the order of the array');

-- Binary events
SELECT lives_ok($$SELECT * FROM es_append_batch('bin-1', 0, '{A,B}', ARRAY[NULL, '{}']::jsonb[], payloads => ARRAY['\x00ff', NULL]::bytea[])$$,
	'an event may have a payload instead of data');
SELECT results_eq($$SELECT data, payload FROM es_load('bin-1')$$, $$VALUES (NULL::jsonb, '\x00ff'::bytea), ('{}', NULL)$$,
	'whose bytes are kept exactly');
SELECT lives_ok($$SELECT * FROM es_append_batch('bin-1', 2, '{C}', NULL, payloads => ARRAY['\x01']::bytea[])$$,
	'where all have a payload, data may be NULL as a whole');
SELECT throws_ok($$SELECT * FROM es_append_batch('bin-1', -1, '{C}', NULL)$$, '22004', NULL, 'but one of them there must be');

-- A5
SELECT is((SELECT repeated FROM es_append_batch('order-2', 0, '{A,B}', ARRAY['1', '2']::jsonb[], NULL,
	ARRAY['01902bd4-0000-7000-8000-000000000001', '01902bd4-0000-7000-8000-000000000002']::uuid[])), false, 'a first batch is not a repetition');
SELECT results_eq($$SELECT first_version, last_version, last_position = es_position('order-2'), repeated
	FROM es_append_batch('order-2', 0, '{A,B}', ARRAY['1', '2']::jsonb[], NULL, ARRAY['01902bd4-0000-7000-8000-000000000001', '01902bd4-0000-7000-8000-000000000002']::uuid[])$$,
	$$VALUES (1::bigint, 2::bigint, true, true)$$, 'a retry has the first answer and says that it is one');
SELECT throws_ok($$SELECT * FROM es_append_batch('order-2', 2, '{B,C}', ARRAY['2', '3']::jsonb[], NULL,
	ARRAY['01902bd4-0000-7000-8000-000000000002', '01902bd4-0000-7000-8000-000000000003']::uuid[])$$, 'SE002', NULL, 'half a batch known is an error');

-- A2: all or nothing
SELECT throws_ok($$SELECT * FROM es_append_batch('order-1', 3, '{A,B}', ARRAY['{}', NULL]::jsonb[])$$, '22004', NULL, 'one bad event refuses the batch');
SELECT throws_ok($$SELECT * FROM es_append_batch('order-1', 1, '{A,B}', ARRAY['{}', '{}']::jsonb[])$$, 'SE001', NULL, 'and so does a conflict');
SELECT is(es_stream_version('order-1'), 3::bigint, 'nothing of it is written');
SELECT throws_ok($$SELECT * FROM es_append_batch('order-1', -1, '{}', '{}')$$, '22023', 'the batch is empty', 'an empty batch is an error');
SELECT throws_ok($$SELECT * FROM es_append_batch('order-1', -1, '{A,B}', ARRAY['{}']::jsonb[])$$, '22023', NULL, 'arrays have one length');
SELECT throws_ok($$SELECT * FROM es_append_batch('order-1', -1, '{{A}}', ARRAY['{}']::jsonb[])$$, '22023', NULL, 'and one dimension');
SELECT throws_ok($$SELECT * FROM es_append_batch('order-1', -1, '{A,B}', ARRAY['{}', '{}']::jsonb[], NULL,
	ARRAY['01902bd4-0000-7000-8000-000000000009', '01902bd4-0000-7000-8000-000000000009']::uuid[])$$, '22023', NULL, 'an id comes once');

-- es_try_append
SELECT results_eq($$SELECT outcome, version, first_version, last_position = es_head() FROM es_try_append('try-1', 0, '{A,B}', ARRAY['1', '2']::jsonb[])$$,
	$$VALUES ('appended', 2::bigint, 1::bigint, false)$$, 'es_try_append says "appended" with the version after the call');
SELECT results_eq($$SELECT * FROM es_try_append('try-1', 1, '{A}', ARRAY['1']::jsonb[])$$,
	$$VALUES ('conflict', 2::bigint, NULL::bigint, NULL::bigint)$$, '"conflict" with the actual version, and no error');
SELECT is((SELECT outcome FROM es_try_append('try-1', 2, '{C}', ARRAY['3']::jsonb[], ids => ARRAY['01902bd4-0000-7000-8000-000000000011']::uuid[])),
	'appended', 'the transaction goes on after it');
SELECT results_eq($$SELECT outcome, version, first_version, last_position = es_position('try-1', 3)
	FROM es_try_append('try-1', 2, '{C}', ARRAY['3']::jsonb[], ids => ARRAY['01902bd4-0000-7000-8000-000000000011']::uuid[])$$,
	$$VALUES ('repeated', 3::bigint, 3::bigint, true)$$, '"repeated" with the first answer');
SELECT throws_ok($$SELECT * FROM es_try_append('try-1', -1, '{C}', ARRAY['4']::jsonb[], ids => ARRAY['01902bd4-0000-7000-8000-000000000011']::uuid[])$$,
	'SE002', NULL, 'a wrong id is an error here too');
SELECT throws_ok($$SELECT * FROM es_try_append('try-1', NULL, '{C}', ARRAY['4']::jsonb[])$$, '22004', NULL, 'and so is bad input');

SELECT * FROM finish();
ROLLBACK;
