-- An order, built from its events: items keyed by id, a total, a status; an order
-- whose id has no hyphen; what happens when two clients decide at once.
BEGIN;
SELECT plan(31);

-- The fold: an order's state from its events, up to a version or a time.
CREATE FUNCTION pg_temp.order_state(stream text, to_version bigint DEFAULT NULL, until timestamptz DEFAULT NULL)
RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
DECLARE
	e record;
	state jsonb := '{"status": "not_created", "items": {}, "version": 0}';
BEGIN
	FOR e IN SELECT * FROM es_load(stream, to_version => to_version, until => until) LOOP
		state := CASE e.type
			WHEN 'OrderCreated' THEN state || jsonb_build_object('customer_id', e.data->'customer_id', 'status', 'created')
			WHEN 'ItemAdded' THEN jsonb_set(state, ARRAY['items', e.data->>'item_id'], e.data - 'item_id')
			WHEN 'ItemRemoved' THEN state #- ARRAY['items', e.data->>'item_id']
			WHEN 'OrderPaid' THEN state || '{"status": "paid"}'
			WHEN 'OrderShipped' THEN state || '{"status": "shipped"}'
			WHEN 'OrderCancelled' THEN state || '{"status": "cancelled"}'
		END || jsonb_build_object('version', e.version);
	END LOOP;
	RETURN state;
END $$;
CREATE FUNCTION pg_temp.total(state jsonb) RETURNS numeric LANGUAGE sql AS $$
	SELECT coalesce(sum((value->>'quantity')::numeric * (value->>'price')::numeric), 0) FROM jsonb_each(state->'items')
$$;

SELECT is(pg_temp.order_state('order-001')->>'status', 'not_created', 'an order without events is not created');
SELECT is(es_append('order-001', 0, 'OrderCreated', '{"customer_id": "customer-123"}'), 1::bigint, 'an order is created at version 1');
SELECT is(pg_temp.order_state('order-001'), '{"status": "created", "items": {}, "customer_id": "customer-123", "version": 1}',
	'its state is that of its one event');
SELECT is(es_append('order-001', 1, 'ItemAdded', '{"item_id": "apple", "quantity": 3, "price": 1.50}'), 2::bigint, 'three apples');
SELECT is(es_append('order-001', 2, 'ItemAdded', '{"item_id": "banana", "quantity": 2, "price": 0.75}'), 3::bigint, 'two bananas');
SELECT is(pg_temp.total(pg_temp.order_state('order-001')), 6.00, 'make a total of 6.00');
SELECT is(es_append('order-001', 3, 'OrderPaid', '{"payment_method": "credit_card"}'), 4::bigint, 'the order is paid');
SELECT is(pg_temp.order_state('order-001')->>'status', 'paid', 'and its state says so');
SELECT is((SELECT count(*) FROM jsonb_object_keys(pg_temp.order_state('order-001')->'items')), 2::bigint, 'with two items');

-- An item that comes twice is replaced, one that is removed is gone.
SELECT is((SELECT last_version FROM es_append_batch('order-002', 0, '{OrderCreated,ItemAdded,ItemAdded,ItemAdded,ItemRemoved,ItemRemoved}', ARRAY[
	'{"customer_id": "customer-1"}', '{"item_id": "apple", "quantity": 1, "price": 2}', '{"item_id": "apple", "quantity": 5, "price": 2}',
	'{"item_id": "pear", "quantity": 1, "price": 9}', '{"item_id": "pear"}', '{"item_id": "plum"}']::jsonb[])), 6::bigint, 'many events are one batch');
SELECT is(pg_temp.total(pg_temp.order_state('order-002')), 10::numeric, 'items are keyed by their id');
SELECT is(pg_temp.total(pg_temp.order_state('order-002', 4)), 19::numeric, 'at version 4 the pears were still there');

-- The history, printed.
SELECT results_eq($$SELECT format('%s. %s %s', version, type, data) FROM es_load('order-001')$$, ARRAY[
	'1. OrderCreated {"customer_id": "customer-123"}',
	'2. ItemAdded {"price": 1.50, "item_id": "apple", "quantity": 3}',
	'3. ItemAdded {"price": 0.75, "item_id": "banana", "quantity": 2}',
	'4. OrderPaid {"payment_method": "credit_card"}'], 'the history is the stream');
-- What came after version 2: from_version => 2 + 1.
SELECT results_eq($$SELECT version FROM es_load('order-001', from_version => 2 + 1)$$, ARRAY[3, 4]::bigint[], 'events after v are those from v + 1 on');
SELECT is_empty($$SELECT * FROM es_load('order-001', from_version => 4 + 1)$$, 'after the last there are none');

-- An id without a hyphen is its own category; one with an upper-case prefix is another.
SELECT is((SELECT last_version FROM es_append_batch('ORD001', 0, '{OrderCreated,ItemAdded,OrderPaid}',
	ARRAY['{"customer_id": "c"}', '{"item_id": "i", "quantity": 1, "price": 1}', '{}']::jsonb[])), 3::bigint, 'any name is an id');
SELECT is(es_category('ORD001'), 'ORD001', 'without a hyphen it is its own category');
SELECT is(es_append('ORD-001', 0, 'OrderCreated', '{"customer_id": "c"}'), 1::bigint, 'names are told apart by every letter');
SELECT is(pg_temp.order_state('ORD001')->>'status', 'paid', 'and each has its own events');

-- Cancelling: load, decide, append with the version that was seen.
SELECT is((pg_temp.order_state('order-002')->>'version')::bigint, es_stream_version('order-002'), 'the state knows its version');
SELECT is(es_append('order-002', (pg_temp.order_state('order-002')->>'version')::bigint, 'OrderCancelled', '{"reason": "changed mind"}'), 7::bigint,
	'who appends with it is sure of what he saw');
SELECT throws_ok($$SELECT es_append('order-002', 6, 'OrderShipped', '{}')$$, 'SE001', NULL, 'who comes second sees the conflict');
SELECT is(pg_temp.order_state('order-002')->>'status', 'cancelled', 'and has changed nothing');
SELECT throws_ok($$SELECT es_append('order-001', 0, 'OrderCreated', '{}')$$, 'SE001', NULL, 'an order is created once');
SELECT throws_ok($$SELECT * FROM es_append_batch('order-001', 4, '{}', '{}')$$, '22023', NULL, 'there is no empty batch');

-- Was this event stored?  Does this order exist?
SELECT ok(es_event_exists((SELECT id FROM es_load('order-001', 1, 1))), 'an event exists by its id');
SELECT ok(NOT es_event_exists('00000000-0000-4000-8000-000000000000'), 'or not');
SELECT ok(es_stream_version('order-001') > 0, 'an order exists when its stream has a version');
SELECT ok(es_stream_version('order-404') = 0, 'and 0 says that it does not');

-- All orders, and all of them played again.
SELECT is((SELECT array_agg(stream) FROM es_streams('{order,ORD,ORD001}')), ARRAY['ORD-001', 'ORD001', 'order-001', 'order-002'], 'all ids are listed');
SELECT results_eq($$SELECT s.stream, count(*) FROM es_streams('{order}') AS s, LATERAL es_load(s.stream) GROUP BY s.stream ORDER BY s.stream$$,
	$$VALUES ('order-001', 4::bigint), ('order-002', 7)$$, 'and every stream is played again');

SELECT * FROM finish();
ROLLBACK;
