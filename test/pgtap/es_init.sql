-- es_init() makes the store, or mends what it finds, and says which.
BEGIN;
SELECT plan(18);

SELECT has_schema('es', 'the data stand in the schema es');
SELECT has_schema('es_private', 'what no role may touch stands in es_private');
SELECT tables_are('es', ARRAY['bindings', 'channels', 'epochs', 'events', 'snapshots', 'store', 'ticks'], 'the store consists of seven tables');
SELECT views_are('es', ARRAY['log'], 'and a view of what is published');
SELECT columns_are('es', 'events', ARRAY['position', 'version', 'recorded_at', 'id', 'tenant', 'stream', 'category', 'type',
	'data', 'metadata', 'payload'], 'an event is a row that describes itself');
SELECT triggers_are('es', 'events', ARRAY['es_guard_row', 'es_guard_statement'], 'two guards stand on the log');
SELECT triggers_are('es', 'ticks', ARRAY['es_guard_row', 'es_guard_statement'], 'on the ticks of its horizon');
SELECT triggers_are('es', 'epochs', ARRAY['es_guard_row', 'es_guard_statement'], 'on its epochs');
SELECT triggers_are('es', 'store', ARRAY['es_guard_row', 'es_guard_statement'], 'and on the row of the store');
SELECT is(es_init(), 'the event store is ready, version 3: nothing to do', 'a second es_init() has nothing to do');

SELECT es_append('order-1', 0, 'Placed', '{}');
DROP TRIGGER es_guard_row ON es.events;
SELECT throws_ok($$SELECT es_append('order-1', 1, 'Paid', '{}')$$, 'SE006', NULL, 'without a guard the store is not ready');
SELECT throws_ok($$SELECT count(*) FROM es_load('order-1')$$, 'SE006', NULL, 'and nobody reads a half-restored log');
SELECT is(es_init(), 'adopted the event store, version 3: the log ends at position ' || es_head(),
	'es_init() adopts the store and says where the log ends');
SELECT is(es_append('order-1', 1, 'Paid', '{}'), 2::bigint, 'after that, appends go on');
SELECT ok(setval('es.events_position_seq', 1, false) = 1 AND es_init() LIKE 'repaired%' AND nextval('es.events_position_seq') > es_head(),
	'es_init() moves a sequence that fell behind past the last event');
SELECT ok(nextval('es.events_position_seq') > es_horizon(), 'and past the horizon');

CREATE ROLE es_test_somebody;
SET LOCAL ROLE es_test_somebody;
SELECT throws_ok('SELECT es_init()', '42501', NULL, 'who may not execute pg_eventstore_guard() may not own a store');
SELECT throws_ok('SELECT es_reset()', '42501', NULL, 'who does not own the store may not empty it');

SELECT * FROM finish();
ROLLBACK;
