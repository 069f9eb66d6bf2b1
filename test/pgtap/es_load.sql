-- es_load(stream, from_version, to_version, since, until, max_count, backwards,
-- tenant) returns the events of a stream.
BEGIN;
SELECT plan(30);
SELECT count(es_append('order-1', n, 'T' || n + 1, to_jsonb(n + 1))) FROM generate_series(0, 9) AS n;

SELECT results_eq($$SELECT version FROM es_load('order-1')$$, $$SELECT generate_series(1, 10)::bigint$$, 'all events come, in the order of their versions');
SELECT results_eq($$SELECT version FROM es_load('order-1', backwards => true)$$, $$SELECT generate_series(10, 1, -1)::bigint$$, 'or backwards');
SELECT results_eq($$SELECT version FROM es_load('order-1', 4)$$, $$SELECT generate_series(4, 10)::bigint$$, 'from_version is included');
SELECT results_eq($$SELECT version FROM es_load('order-1', to_version => 4)$$, $$SELECT generate_series(1, 4)::bigint$$, 'and so is to_version');
SELECT results_eq($$SELECT version FROM es_load('order-1', 4, 6)$$, ARRAY[4, 5, 6]::bigint[], 'both bounds together');
SELECT results_eq($$SELECT version FROM es_load('order-1', 4, max_count => 2)$$, ARRAY[4, 5]::bigint[], 'max_count limits the answer');
SELECT results_eq($$SELECT version FROM es_load('order-1', max_count => 2, backwards => true)$$, ARRAY[10, 9]::bigint[], 'to the newest, backwards');
SELECT is_empty($$SELECT * FROM es_load('order-1', 11)$$, 'behind the end there is nothing');
SELECT is_empty($$SELECT * FROM es_load('order-2')$$, 'no stream, no rows');
SELECT is_empty($$SELECT * FROM es_load('order-1', tenant => 'blue')$$, 'no tenant, no rows');
SELECT is((SELECT count(*) FROM es_load('order-1', NULL, NULL, NULL, NULL, NULL, NULL, NULL)), 10::bigint, 'NULL means "not given"');
SELECT throws_ok('SELECT * FROM es_load(NULL)', '22004', NULL, 'but the stream must be given');
SELECT throws_ok($$SELECT * FROM es_load('order-1', max_count => -1)$$, '22023', NULL, 'max_count is not negative');

-- Time travel
SET LOCAL pg_eventstore.allow_maintenance = on;
INSERT INTO es.events SELECT nextval('es.events_position_seq'), n, timestamptz '2024-01-01 10:00+00' + n * interval '1 min',
	gen_random_uuid(), '', 'clock-1', 'clock', 'T', to_jsonb(n), NULL, NULL FROM generate_series(1, 10) AS n;
SET LOCAL pg_eventstore.allow_maintenance = off;
SELECT results_eq($$SELECT version FROM es_load('clock-1', until => '2024-01-01 10:03+00')$$, ARRAY[1, 2, 3]::bigint[], 'until is included');
SELECT results_eq($$SELECT version FROM es_load('clock-1', since => '2024-01-01 10:08+00')$$, ARRAY[8, 9, 10]::bigint[], 'since is included');
SELECT results_eq($$SELECT version FROM es_load('clock-1', 3, since => '2024-01-01 10:02+00', until => '2024-01-01 10:04:59+00')$$, ARRAY[3, 4]::bigint[],
	'versions and times bound together');
SELECT is_empty($$SELECT * FROM es_load('clock-1', until => '2024-01-01 10:00:59+00')$$, 'before the first event there was no stream');

-- One's own
SELECT is(es_append('mine-1', 0, 'T', '{}'), 1::bigint, 'an event that is not committed');
SELECT is((SELECT count(*) FROM es_load('mine-1')), 1::bigint, 'is loaded by who appended it');

-- es_stream_version, es_position
SELECT is(es_stream_version('order-1'), 10::bigint, 'es_stream_version is the version of the last event');
SELECT is(es_stream_version('order-2'), 0::bigint, 'and 0 where there is none');
SELECT is(es_position('order-1', 3), (SELECT position FROM es_load('order-1', 3, 3)), 'es_position is that of a version');
SELECT is(es_position('order-1'), (SELECT max(position) FROM es_load('order-1')), 'or of the last event');
SELECT is(es_position('order-1', 11), NULL, 'and NULL where there is none');
-- es_category, es_key
SELECT is(es_category('order-1-2') || '/' || es_key('order-1-2'), 'order/1-2', 'a name is a category, a hyphen and a key');
SELECT is(es_category('order'), 'order', 'a name without a hyphen is its own category');
SELECT is(es_key('order'), NULL, 'and has no key');

-- Where it works
SELECT lives_ok($$DO 'BEGIN PERFORM * FROM es_load(''order-1''); END'$$, 'in PL/pgSQL');
SELECT is((SELECT sum(e.version) FROM es_streams('{order}') AS s, LATERAL es_load(s.stream, s.version) AS e), 10::numeric, 'in LATERAL joins');
SAVEPOINT s;
SET TRANSACTION READ ONLY;
SELECT is((SELECT count(*) FROM es_load('order-1')), 10::bigint, 'in READ ONLY transactions');

SELECT * FROM finish();
ROLLBACK;
