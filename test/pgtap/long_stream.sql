-- A stream of a million events is loaded without the backend growing beyond
-- work_mem and a constant.
CREATE FUNCTION anonymous_kilobytes() RETURNS bigint LANGUAGE sql VOLATILE AS
	$$SELECT (regexp_match(pg_read_file('/proc/self/status'), 'RssAnon:\s+(\d+) kB'))[1]::bigint$$;
CREATE FUNCTION peak_kilobytes() RETURNS bigint LANGUAGE sql VOLATILE AS
	$$SELECT (regexp_match(pg_read_file('/proc/self/status'), 'VmHWM:\s+(\d+) kB'))[1]::bigint$$;

SELECT max(last_version) FROM generate_series(0, 900000, 100000) AS first, LATERAL es_append_batch('long-1', first,
	(SELECT array_agg(text 'T') FROM generate_series(1, 100000)), (SELECT array_agg(jsonb_build_object('n', first + n)) FROM generate_series(1, 100000) AS n));

SELECT es_publish();
-- A new backend, which has loaded a little.
\c
SELECT plan(8);
SELECT setting::bigint AS work_mem FROM pg_settings WHERE name = 'work_mem' \gset
SELECT setting::bigint * 8 AS shared_buffers FROM pg_settings WHERE name = 'shared_buffers' \gset
SELECT count(*), sum((data->>'n')::bigint) FROM es_load('long-1', max_count => 100);
SELECT max(anonymous_kilobytes()) AS anonymous, max(peak_kilobytes()) AS peak FROM es_load('long-1', max_count => 1) \gset before_

SELECT is(es_stream_version('long-1'), 1000000::bigint, 'a stream has a million events');
SELECT count(*) AS count, sum((data->>'n')::bigint) AS sum, max(CASE WHEN version = 1 THEN anonymous_kilobytes() END) AS anonymous,
	max(CASE WHEN version = 1000000 THEN peak_kilobytes() END) AS peak FROM es_load('long-1') \gset after_
SELECT is(:after_count::bigint, 1000000::bigint, 'es_load answers them');
SELECT is(:after_sum::bigint, 500000500000, 'all');
SELECT cmp_ok((:after_anonymous - :before_anonymous)::bigint, '<', (:work_mem + 4096)::bigint, 'the backend has not grown beyond work_mem and 4 MB');
SELECT cmp_ok((:after_peak - :before_peak)::bigint, '<', (:work_mem + :shared_buffers + 8192)::bigint, 'nor was it larger on the way, shared buffers aside');
SELECT count(*) AS count, max(CASE WHEN position = 1 THEN anonymous_kilobytes() END) AS anonymous
FROM es_read(max_count => NULL, categories => '{long,short}') \gset read_
SELECT is(:read_count::bigint, 1000000::bigint, 'es_read answers them too');
SELECT cmp_ok((:read_anonymous - :before_anonymous)::bigint, '<', (:work_mem + 4096)::bigint, 'within the same bound');
SELECT results_eq($$SELECT version FROM es_load('long-1', since => '-infinity', until => 'infinity', backwards => true, max_count => 3)$$,
	ARRAY[1000000, 999999, 999998]::bigint[], 'the end of a long stream is read without its beginning');

SELECT * FROM finish();
