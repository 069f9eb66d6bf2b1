-- Each function is called 100,000 times in one session, in one statement: the
-- backend's memory does not grow with the calls.
SELECT plan(33);

CREATE FUNCTION used() RETURNS bigint LANGUAGE sql VOLATILE AS 'SELECT sum(total_bytes) FROM pg_backend_memory_contexts';
-- What n = 10,001 ... 100,000 of an expression over n have left in memory.
CREATE FUNCTION growth(expression text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	calls bigint;
	bytes bigint;
BEGIN
	EXECUTE format('SELECT count(*), max(used) FILTER (WHERE n = 100000) - max(used) FILTER (WHERE n = 10000), count(result)
		FROM (SELECT n, %s AS result, CASE WHEN n IN (10000, 100000) THEN used() END AS used
		      FROM generate_series(1, 100000) AS n OFFSET 0) AS s', expression) INTO calls, bytes;
	ASSERT calls = 100000;
	RETURN bytes;
END $$;
CREATE FUNCTION stays_flat(expression text, name text) RETURNS text LANGUAGE sql AS
	$$SELECT cmp_ok(growth(expression), '<', 256 * 1024::bigint, name || ' called 100,000 times: memory stays flat')$$;

-- 1,000 streams for all of them.
SELECT count(es_append('mem-' || n, 0, 'T', '{}', NULL, lpad(n::text, 32, '0')::uuid)) FROM generate_series(1, 1000) AS n;
VACUUM ANALYZE es.events;

SELECT stays_flat($$es_append('mem-' || n % 1000, -1, 'T', '{"a": 1}', '{"b": 2}')$$, 'es_append');
SELECT stays_flat($$es_append('mem-1', -1, 'T', '{}', NULL, lpad('1', 32, '0')::uuid)$$, 'es_append as a retry');
SELECT stays_flat($$es_append_batch('mem-' || n % 1000, -1, '{A,B}', ARRAY['1', '2']::jsonb[], payloads => ARRAY[NULL, '\x00']::bytea[])$$, 'es_append_batch');
SELECT stays_flat($$es_try_append('mem-' || n % 1000, -1, '{A}', ARRAY['1']::jsonb[])$$, 'es_try_append');
SELECT stays_flat($$es_try_append('mem-' || n % 1000, 0, '{A}', ARRAY['1']::jsonb[])$$, 'es_try_append with conflicts');
SELECT stays_flat($$(SELECT j.last_version FROM es_append_json(jsonb_build_array(jsonb_build_object('stream', 'mem-' || n % 1000, 'expected', -1,
	'events', '[{"type": "T", "data": 1, "metadata": {"a": 1}}]'::jsonb))) AS j)$$, 'es_append_json');
SELECT stays_flat($$(SELECT min(j.outcome) FROM es_try_append_json(jsonb_build_array(jsonb_build_object('stream', 'mem-' || n % 1000, 'expected', '-1',
	'events', '[{"type": "T", "data": 1, "metadata": {"a": 1}}]'::jsonb))) AS j)$$, 'es_try_append_json');
SELECT stays_flat($$(SELECT min(j.outcome) FROM es_try_append_json(jsonb_build_array(jsonb_build_object('stream', 'mem-' || n % 1000, 'expected', '0',
	'events', '[{"type": "T", "data": 1, "metadata": {"a": 1}}]'::jsonb))) AS j)$$, 'es_try_append_json with conflicts');
SELECT stays_flat($$(SELECT count(w) FROM (SELECT pg_eventstore_waiting() AS w WHERE n > 0) AS s)$$, 'pg_eventstore_waiting');
SELECT stays_flat($$(SELECT count(l) FROM es_load('mem-' || n % 1000, 2, 3) AS l)$$, 'es_load');
SELECT stays_flat($$(SELECT count(l) FROM es_load('mem-' || n % 1000, since => now(), until => 'infinity', max_count => 1, backwards => true) AS l)$$, 'es_load by time');
SELECT stays_flat($$es_stream_version('mem-' || n % 1000)$$, 'es_stream_version');
SELECT stays_flat($$es_position('mem-' || n % 1000, 1)$$, 'es_position');
SELECT stays_flat($$(SELECT count(e) FROM es_event(lpad((n % 1000)::text, 32, '0')::uuid) AS e)$$, 'es_event');
SELECT stays_flat($$es_event_exists(lpad((n % 2000)::text, 32, '0')::uuid)$$, 'es_event_exists');
SELECT stays_flat($$es_category('mem-' || n) || es_key('mem-' || n)$$, 'es_category and es_key');
SELECT es_publish();
SELECT stays_flat('es_publish() + n', 'es_publish with nothing new');
SELECT stays_flat($$(SELECT count(r) FROM es_read(n, 1, '{mem,other}', '{T}') AS r)$$, 'es_read');
SELECT stays_flat($$(SELECT count(s) FROM es_streams('{mem}', 'mem-' || n % 1000, 1, '*') AS s)$$, 'es_streams');
SELECT stays_flat('es_head() + n', 'es_head');
SELECT stays_flat('es_horizon() + n', 'es_horizon');
SELECT stays_flat('es_wait(1) + n', 'es_wait');
SELECT stays_flat($$es_wait(es_head() + 1, '0') + n$$, 'es_wait with its time over');
SELECT stays_flat($$(SELECT count(*) FROM es.log WHERE position = n)$$, 'es.log');
SELECT stays_flat($$es_drop_snapshots('none', n)$$, 'es_drop_snapshots');
SELECT count(es_snapshot('mem-' || n, 1, '{"a": 1}')) FROM generate_series(1, 900) AS n;
SELECT stays_flat($$(SELECT count(s) FROM es_load_snapshot('mem-' || n % 1000) AS s)$$, 'es_load_snapshot');
SELECT stays_flat($$(SELECT count(r) FROM es_rehydrate('mem-' || n % 1000) AS r)$$, 'es_rehydrate');

-- As statements of one transaction that go wrong in between, and of many transactions.
CREATE FUNCTION in_blocks(first int, last int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	FOR n IN first..last LOOP
		BEGIN
			PERFORM es_append('block-' || n % 1000, CASE WHEN n % 2 = 0 THEN -1 ELSE 77777777 END, 'T', '{}');
		EXCEPTION WHEN SQLSTATE 'SE001' THEN
			NULL;
		END;
	END LOOP;
END $$;
CREATE FUNCTION growth_in_blocks() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	before bigint;
BEGIN
	PERFORM in_blocks(1, 2000);
	before := used();
	PERFORM in_blocks(2001, 22000);
	RETURN used() - before;
END $$;
SELECT cmp_ok(growth_in_blocks(), '<', 8 * 1024 * 1024::bigint, '20,000 appends in savepoints, half of them conflicts: what each savepoint costs the server is bounded');
CREATE PROCEDURE in_transactions(call text, times int) LANGUAGE plpgsql AS $$
BEGIN
	FOR n IN 1..times LOOP
		EXECUTE call USING n;
		COMMIT;
	END LOOP;
END $$;
\set call 'SELECT es_append(''tx-'' || $1 % 1000, -1, ''T'', ''{}'')'
CALL in_transactions(:'call', 2000);
SELECT used() AS before \gset
CALL in_transactions(:'call', 100000);
SELECT cmp_ok(used() - :before, '<', 256 * 1024::bigint, 'es_append in 100,000 transactions: memory stays flat');
\set call 'SELECT CASE $1 % 2 WHEN 0 THEN es_append(''tx-'' || $1 % 1000, -1, ''T'', ''{}'') ELSE es_publish() END'
CALL in_transactions(:'call', 2000);
SELECT used() AS before \gset
CALL in_transactions(:'call', 100000);
SELECT cmp_ok(used() - :before, '<', 256 * 1024::bigint, 'es_publish in 50,000 transactions, each with news: memory stays flat');
\set call 'SELECT es_snapshot(''mem-'' || 1 + $1 % 1000, 1, to_jsonb($1))'
CALL in_transactions(:'call', 2000);
SELECT used() AS before \gset
CALL in_transactions(:'call', 100000);
SELECT cmp_ok(used() - :before, '<', 256 * 1024::bigint, 'es_snapshot in 100,000 transactions: memory stays flat');
-- These two run many statements each: fewer calls will do.
\set call 'SELECT es_init() WHERE $1 > 0'
CALL in_transactions(:'call', 100);
SELECT used() AS before \gset
CALL in_transactions(:'call', 5000);
SELECT cmp_ok(used() - :before, '<', 256 * 1024::bigint, 'es_init in 5,000 transactions: memory stays flat');
SELECT format('ALTER DATABASE %I SET pg_eventstore.allow_reset = on', current_database()) \gexec
\set call 'SELECT es_reset() WHERE $1 > 0'
CALL in_transactions(:'call', 20);
SELECT used() AS before \gset
CALL in_transactions(:'call', 500);
SELECT cmp_ok(used() - :before, '<', 256 * 1024::bigint, 'es_reset in 500 transactions: memory stays flat');

SELECT * FROM finish();
