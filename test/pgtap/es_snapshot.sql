-- es_snapshot saves the state of a stream; es_load_snapshot and es_rehydrate read
-- it; es_drop_snapshots drops what an older form has left.
BEGIN;
SELECT plan(27);
SELECT count(es_append('account-1', n, 'Deposited', '10')) FROM generate_series(0, 9) AS n;

SELECT is_empty($$SELECT * FROM es_load_snapshot('account-1')$$, 'at first there is no snapshot');
SELECT results_eq($$SELECT kind, count(*) FROM es_rehydrate('account-1') GROUP BY kind$$, $$VALUES ('event', 10::bigint)$$,
	'and es_rehydrate answers all events');
SELECT is(es_snapshot('account-1', 5, '{"balance": 50}'), true, 'a snapshot is saved');
SELECT results_eq($$SELECT version, state, schema_version FROM es_load_snapshot('account-1')$$, $$VALUES (5::bigint, '{"balance": 50}'::jsonb, 1)$$, 'and loaded');
SELECT results_eq($$SELECT kind, version, data FROM es_rehydrate('account-1')$$,
	$$VALUES ('snapshot', 5::bigint, '{"balance": 50}'::jsonb), ('event', 6, '10'), ('event', 7, '10'), ('event', 8, '10'), ('event', 9, '10'), ('event', 10, '10')$$,
	'es_rehydrate answers the snapshot and the events behind it');
SELECT is((SELECT sum(CASE kind WHEN 'snapshot' THEN (data->>'balance')::int ELSE data::int END) FROM es_rehydrate('account-1')), 100::bigint,
	'which is the state');
SELECT is(es_snapshot('account-1', 4, '{}'), false, 'an older snapshot is refused as a value');
SELECT is(es_snapshot('account-1', 5, '{"balance": 50, "n": 2}'), true, 'one of the same version replaces');
SELECT is(es_snapshot('account-1', 8, '{"balance": 80}'), true, 'and so does a newer one');
SELECT is((SELECT count(*) FROM es.snapshots), 1::bigint, 'the newest stands alone');
SELECT throws_ok($$SELECT es_snapshot('account-1', 11, '{}')$$, '22023', NULL, 'a version that the stream has not reached is an error');
SELECT throws_ok($$SELECT es_snapshot('account-9', 1, '{}')$$, '22023', NULL, 'and so is a stream that does not exist');
SELECT throws_ok($$SELECT es_snapshot('account-1', 0, '{}')$$, '22023', NULL, 'versions begin with 1');

-- schema_version
SELECT is(es_snapshot('account-1', 3, '{"b": 30}', 2), true, 'each schema_version has a snapshot of its own');
SELECT is((SELECT version FROM es_load_snapshot('account-1', 2)), 3::bigint, 'which is asked for by it');
SELECT is((SELECT version FROM es_load_snapshot('account-1')), 8::bigint, 'NULL means the newest of any');
SELECT is_empty($$SELECT * FROM es_load_snapshot('account-1', 3)$$, 'none fits, no row');
SELECT is((SELECT count(*) FROM es_rehydrate('account-1', 3)), 10::bigint, 'then es_rehydrate answers all events');
SELECT is((SELECT metadata->>'schema_version' FROM es_rehydrate('account-1', 2) WHERE kind = 'snapshot'), '2', 'its row says which form it has');
SELECT is(es_drop_snapshots('account', 2), 1::bigint, 'es_drop_snapshots drops those of older forms');
SELECT is((SELECT schema_version FROM es_load_snapshot('account-1')), 2, 'and keeps the others');

-- Binary, transactional, checked
SELECT is(es_snapshot('account-1', 10, NULL, 7, '\x00ff'), true, 'a state may be bytes');
SELECT is((SELECT payload FROM es_rehydrate('account-1', 7)), '\x00ff'::bytea, 'which are kept exactly');
SAVEPOINT s;
SELECT es_snapshot('account-1', 10, '{}', 8);
ROLLBACK TO s;
SELECT is_empty($$SELECT * FROM es_load_snapshot('account-1', 8)$$, 'a snapshot belongs to its transaction');
SELECT throws_ok($$SELECT es_snapshot('account-1', 1, NULL)$$, '22004', NULL, 'there must be a state or a payload');
SELECT throws_ok($$SELECT es_snapshot('account-1', NULL, '{}')$$, '22004', NULL, 'and a version');
SELECT throws_ok($$SELECT es_drop_snapshots(NULL, 1)$$, '22004', NULL, 'and a category');

SELECT * FROM finish();
ROLLBACK;
