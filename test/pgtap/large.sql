-- Large appends: 100,000 events in a call, 100,000 streams in a transaction.
SELECT plan(13);

CREATE FUNCTION locks() RETURNS bigint LANGUAGE sql VOLATILE AS
	$$SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory'$$;

-- One batch of 100,000 events.
SELECT results_eq($$SELECT first_version, last_version, repeated FROM es_append_batch('batch-1', 0,
	(SELECT array_agg('T' || n % 10) FROM generate_series(1, 100000) AS n), (SELECT array_agg(jsonb_build_object('n', n)) FROM generate_series(1, 100000) AS n))$$,
	$$VALUES (1::bigint, 100000::bigint, false)$$, 'one batch has 100,000 events');
SELECT is((SELECT count(*) FROM es_load('batch-1') WHERE data = jsonb_build_object('n', version) AND type = 'T' || version % 10), 100000::bigint,
	'and each of them is at its place');
SELECT is((SELECT count(DISTINCT id) FROM es_load('batch-1')), 100000::bigint, 'with an id of its own');
SELECT results_eq($$SELECT first_version, last_version, repeated FROM es_append_batch('batch-2', 0,
	(SELECT array_agg(text 'T') FROM generate_series(1, 100000)), (SELECT array_agg(to_jsonb(n)) FROM generate_series(1, 100000) AS n), NULL,
	(SELECT array_agg(lpad(n::text, 32, '0')::uuid) FROM generate_series(1, 100000) AS n))$$,
	$$VALUES (1::bigint, 100000::bigint, false)$$, 'one batch has 100,000 given ids');
SELECT results_eq($$SELECT first_version, last_version, repeated FROM es_append_batch('batch-2', 0,
	(SELECT array_agg(text 'T') FROM generate_series(1, 100000)), (SELECT array_agg(to_jsonb(n)) FROM generate_series(1, 100000) AS n), NULL,
	(SELECT array_agg(lpad(n::text, 32, '0')::uuid) FROM generate_series(1, 100000) AS n))$$,
	$$VALUES (1::bigint, 100000::bigint, true)$$, 'A5: and is recognised when it is sent again');

-- One transaction that appends to 100,000 streams.
BEGIN;
SELECT is((SELECT count(es_append('wide-' || n, 0, 'T', to_jsonb(n))) FROM generate_series(1, 100000) AS n), 100000::bigint,
	'one transaction appends to 100,000 streams');
SELECT cmp_ok((SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory' AND objsubid = -6911), '<=',
	current_setting('max_locks_per_transaction')::bigint, 'and holds no more locks on streams than its share');
SELECT throws_ok($$SELECT es_append('wide-1', 0, 'T', '{}')$$, 'SE001', NULL, 'A3: its own streams are still checked');
COMMIT;
SELECT is((SELECT count(*) FROM es_streams('{wide}', max_count => NULL) WHERE version = 1), 100000::bigint, 'all of them are there');
SELECT is(locks(), 0::bigint, 'no lock is left behind');
SELECT is((SELECT count(*) FROM es_append_json((SELECT jsonb_agg(jsonb_build_object('stream', 'json-' || n, 'expected', 0, 'events',
	jsonb_build_array(jsonb_build_object('type', 'T', 'data', n), jsonb_build_object('type', 'U', 'data', n)))) FROM generate_series(1, 10000) AS n))
	WHERE first_version = 1 AND last_version = 2), 10000::bigint, 'es_append_json appends to 10,000 streams in one call');
SELECT is(es_publish() >= es_head(), true, 'one tick publishes them all');
SELECT is((SELECT sum(data::int) FROM es_read(types => '{U}', max_count => NULL)), 50005000::bigint, 'each event to its own');

SELECT * FROM finish();
