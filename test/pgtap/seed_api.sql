-- What other event stores call by other names: the calls here that answer them.
SELECT plan(33);

-- ExpectedVersion.ANY, NO_STREAM, STREAM_EXISTS, and a number.
SELECT throws_ok($$SELECT es_append('order-1', -2, 'OrderShipped', '{}')$$, 'SE001', NULL, 'STREAM_EXISTS is -2: it refuses a new stream');
SELECT is(es_append('order-1', 0, 'OrderCreated', '{}'), 1::bigint, 'NO_STREAM is 0: it takes a new one');
SELECT throws_ok($$SELECT es_append('order-1', 0, 'OrderCreated', '{}')$$, 'SE001', NULL, 'and refuses one that exists');
SELECT is(es_append('order-1', -2, 'OrderShipped', '{}'), 2::bigint, 'STREAM_EXISTS takes it');
SELECT is(es_append('order-1', -1, 'OrderSeen', '{}'), 3::bigint, 'ANY is -1: it takes both');
SELECT is(es_append('order-2', -1, 'OrderSeen', '{}'), 1::bigint, 'an old one and a new one');
SELECT is(es_append('order-1', 3, 'OrderSeen', '{}'), 4::bigint, 'a number is the version that was loaded');

-- append_events: success, conflict, the new version, the position.
SELECT results_eq($$SELECT outcome = 'appended', version, last_position = es_position('order-1') FROM (SELECT es_append('order-1', 4, 'OrderSeen', '{}')) AS a,
	es_try_append('order-1', 5, '{OrderSeen}', ARRAY['{}']::jsonb[])$$, $$VALUES (true, 6::bigint, false)$$, 'success has the new version');
SELECT results_eq($$SELECT outcome, version FROM es_try_append('order-1', 5, '{OrderSeen}', ARRAY['{}']::jsonb[])$$,
	$$VALUES ('conflict', 6::bigint)$$, 'a conflict has the actual version');
SELECT is((SELECT last_position FROM es_try_append('order-1', 6, '{OrderSeen,OrderSeen}', ARRAY['{}', '{}']::jsonb[])), (SELECT max(position) + 2 FROM es.events),
	'and success the position in the log');
-- The error of a lock that was lost: stream, expected and actual version.
CREATE FUNCTION conflict_detail() RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	detail text;
BEGIN
	PERFORM es_append('order-1', 5, 'OrderShipped', '{}');
EXCEPTION WHEN SQLSTATE 'SE001' THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
	RETURN detail;
END $$;
SELECT is(conflict_detail(), '{"stream": "order-1", "expected": 5, "actual": 8}', 'the error has the facts in its DETAIL');

-- get_events: from a version, from a time, to a time; the version of the answer.
SELECT is((SELECT count(*) FROM es_load('order-1')), 8::bigint, 'get_events is es_load');
SELECT results_eq($$SELECT version FROM es_load('order-1', from_version => 6 + 1)$$, ARRAY[7, 8]::bigint[], 'get_events_after(v) is from_version => v + 1');
SELECT results_eq($$SELECT version FROM es_load('order-1', since => (SELECT recorded_at FROM es_load('order-1', 8, 8)))$$, ARRAY[7, 8]::bigint[],
	'from_timestamp is since: one call has one time');
SELECT is((SELECT count(*) FROM es_load('order-1', until => now())), 8::bigint, 'to_timestamp is until');
SELECT is((SELECT max(version) FROM es_load('order-1')), es_stream_version('order-1'), 'the stream''s version is es_stream_version');
SELECT is((SELECT type FROM es_load('order-1', backwards => true, max_count => 1)), 'OrderSeen', 'latest_event is the first one backwards');
SELECT is_empty($$SELECT * FROM es_load('order-404')$$, 'an empty stream has no events, and is no error');

-- The log shows what is published.
SELECT is((SELECT count(*) FROM es_read()), 0::bigint, 'what is committed is not yet in the log that all read');
SELECT is(es_publish() >= es_head(), true, 'es_publish() publishes it');
-- get_events_by_type of an aggregate type: a category; with a tenant, from a time.
SELECT is((SELECT count(*) FROM es_read(categories => '{order}')), 9::bigint, 'all events of an aggregate type are those of a category');
SELECT is(es_append('order-1', 0, 'OrderCreated', '{}', tenant => 'blue'), 1::bigint, 'a tenant has his own');
SELECT es_publish();
SELECT is((SELECT count(*) FROM es_read(categories => '{order}', tenant => 'blue')), 1::bigint, 'and reads no other');
SELECT is((SELECT count(*) FROM es_read(categories => '{order}', since => now() - interval '7 days')), 9::bigint, 'of the last seven days');
SELECT is((SELECT count(*) FROM es_read(categories => '{order}', since => now() + interval '1 hour')), 0::bigint, 'of the future there are none');

-- event_exists, and an idempotent write.
SELECT is(es_event_exists('01902bd4-0000-7000-8000-000000000001'), false, 'event_exists says no');
SELECT is(es_append('order-3', 0, 'OrderCreated', '{}', id => '01902bd4-0000-7000-8000-000000000001'), 1::bigint, 'before the append');
SELECT is(es_event_exists('01902bd4-0000-7000-8000-000000000001'), true, 'and yes after it');
SELECT is(es_append('order-3', 0, 'OrderCreated', '{}', id => '01902bd4-0000-7000-8000-000000000001'), 1::bigint, 'though nobody has to ask: a duplicate is skipped');

SELECT es_publish();
-- read_all in pages of two, streams of one aggregate, replay of everything.
CREATE FUNCTION read_all(page bigint) RETURNS TABLE (pages bigint, events bigint, ordered boolean) LANGUAGE plpgsql AS $$
DECLARE
	last bigint := 0;
	e record;
	n bigint;
BEGIN
	pages := 0; events := 0; ordered := true;
	LOOP
		n := 0;
		FOR e IN SELECT * FROM es_read(last, page) LOOP
			ordered := ordered AND e.position > last;
			last := e.position;
			n := n + 1;
		END LOOP;
		EXIT WHEN n = 0;
		pages := pages + 1;
		events := events + n;
	END LOOP;
	RETURN NEXT;
END $$;
SELECT results_eq('SELECT * FROM read_all(2)', $$VALUES (5::bigint, 10::bigint, true)$$, 'the whole log is read page by page');
SELECT results_eq('SELECT stream FROM es_streams()', ARRAY['order-1', 'order-2', 'order-3'], 'all aggregate ids are listed');
SELECT is((SELECT count(*) FROM es_streams() AS s, LATERAL es_load(s.stream)), (SELECT count(*) FROM es_read()), 'and a replay of each is a replay of all');
-- An order's id may contain anything but control characters.
SELECT is(es_append('Käufer 7/ä-ß:Order', 0, 'Ordered', '{}'), 1::bigint, 'a name is free text');

SELECT * FROM finish();
