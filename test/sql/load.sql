-- es_load and what reads one stream or one event: bounds, directions, time travel.
\set SHOW_CONTEXT never
\set home :DBNAME
CREATE DATABASE es_test_load;
\c es_test_load
CREATE EXTENSION pg_eventstore;
SELECT es_init();

SELECT count(es_append('order-1', n, 'T' || (n + 1), to_jsonb(n + 1))) FROM generate_series(0, 9) AS n;
SELECT count(es_append('order-10', -1, 'Other', '{}')) FROM generate_series(1, 2);
SELECT es_append('order-1', -1, 'Blue', '{}', tenant => 'blue');

SELECT version, type, data, metadata, payload FROM es_load('order-1');
SELECT array_agg(version) FROM es_load('order-1', backwards => true);
SELECT array_agg(version) FROM es_load('order-1', 3);
SELECT array_agg(version) FROM es_load('order-1', 3, 5);
SELECT array_agg(version) FROM es_load('order-1', 3, 5, backwards => true);
SELECT array_agg(version) FROM es_load('order-1', to_version => 2);
SELECT array_agg(version) FROM es_load('order-1', max_count => 3);
SELECT array_agg(version) FROM es_load('order-1', max_count => 3, backwards => true);
SELECT array_agg(version) FROM es_load('order-1', 9, max_count => 100);
SELECT array_agg(version) FROM es_load('order-1', 5, 4);
SELECT array_agg(version) FROM es_load('order-1', 11);
SELECT array_agg(version) FROM es_load('order-1', max_count => 0);
SELECT count(*) FROM es_load('order-1', -5, 0);
SELECT count(*) FROM es_load('order-1', -9223372036854775808, 9223372036854775807);
SELECT count(*) FROM es_load('order-1', 9223372036854775807);
SELECT count(*) FROM es_load('order-1', max_count => 9223372036854775807);
-- NULL is "not given", but for the stream.
SELECT count(*) FROM es_load('order-1', NULL, NULL, NULL, NULL, NULL, NULL, NULL);
SELECT count(*) FROM es_load(NULL);
\echo :SQLSTATE
SELECT count(*) FROM es_load('');
\echo :SQLSTATE
SELECT count(*) FROM es_load(repeat('x', 513));
\echo :SQLSTATE
SELECT count(*) FROM es_load('-1');
\echo :SQLSTATE
SELECT count(*) FROM es_load('order-1', max_count => -1);
\echo :SQLSTATE
SELECT count(*) FROM es_load('order-1', tenant => '*');
\echo :SQLSTATE
SELECT count(*) FROM es_load('order-1', tenant => E'\n');
\echo :SQLSTATE
-- No stream, no rows; no tenant, no rows.
SELECT * FROM es_load('nothing-1');
SELECT * FROM es_load('order-1', tenant => 'red');
SELECT type FROM es_load('order-1', tenant => 'blue');
SELECT count(*) FROM es_load('order');

-- Time travel.  The clock is laid out by rows that maintenance loads.
SET pg_eventstore.allow_maintenance = on;
INSERT INTO es.events SELECT nextval('es.events_position_seq'), n, timestamptz '2024-01-01 10:00:00+00' + (n / 2) * interval '1 min',
	('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, '', 'clock-1', 'clock', 'Ticked', to_jsonb(n), NULL, NULL
FROM generate_series(1, 10) AS n;
RESET pg_eventstore.allow_maintenance;
SET timezone = 'UTC';
SELECT version, recorded_at FROM es_load('clock-1') WHERE version IN (1, 2, 3, 10);
SELECT array_agg(version) FROM es_load('clock-1', until => '2024-01-01 10:02:00+00');
SELECT array_agg(version) FROM es_load('clock-1', until => '2024-01-01 10:02:59.999999+00');
SELECT array_agg(version) FROM es_load('clock-1', until => '2024-01-01 09:59:59.999999+00');
SELECT array_agg(version) FROM es_load('clock-1', until => '2030-01-01');
SELECT array_agg(version) FROM es_load('clock-1', since => '2024-01-01 10:02:00+00');
SELECT array_agg(version) FROM es_load('clock-1', since => '2024-01-01 10:01:59.999999+00');
SELECT array_agg(version) FROM es_load('clock-1', since => '2024-01-01 10:05:00+00');
SELECT array_agg(version) FROM es_load('clock-1', since => '2024-01-01 10:05:00.000001+00');
SELECT array_agg(version) FROM es_load('clock-1', since => '2024-01-01 10:01:00+00', until => '2024-01-01 10:02:00+00');
SELECT array_agg(version) FROM es_load('clock-1', since => '2024-01-01 10:02:00+00', until => '2024-01-01 10:01:00+00');
SELECT array_agg(version) FROM es_load('clock-1', since => '2024-01-01 10:01:00+00', until => '2024-01-01 10:03:00+00', backwards => true, max_count => 2);
SELECT array_agg(version) FROM es_load('clock-1', 4, 5, since => '2024-01-01 10:01:00+00');
SELECT count(*) FROM es_load('clock-1', since => '-infinity', until => 'infinity');
SELECT count(*) FROM es_load('clock-1', since => 'infinity');
SELECT count(*) FROM es_load('clock-1', until => '-infinity');
SELECT count(*) FROM es_load('nothing-1', since => '2024-01-01', until => '2025-01-01');
-- A4: an append is never recorded before the stream's last event.
SET pg_eventstore.allow_maintenance = on;
INSERT INTO es.events VALUES (nextval('es.events_position_seq'), 1, '2222-02-22 22:22:22+00', '22222222-0000-7000-8000-222222222222',
	'', 'clock-2', 'clock', 'Ticked', '{}', NULL, NULL);
RESET pg_eventstore.allow_maintenance;
SELECT es_append('clock-2', 1, 'Ticked', '{}');
SELECT recorded_at FROM es_load('clock-2');
SELECT DISTINCT recorded_at FROM es.events
WHERE stream IN (SELECT stream FROM es_append_json('[{"stream": "clock-2", "expected": 2, "events": [{"type": "T", "data": 1}]}, {"stream": "clock-3", "expected": 0, "events": [{"type": "T", "data": 1}]}]'));
SELECT stream, version, recorded_at FROM es.events WHERE stream = 'clock-3';

-- The caller's own uncommitted events are included.
BEGIN;
SELECT es_append('order-1', 10, 'Mine', '{}');
SELECT array_agg(version) FROM es_load('order-1', 10);
SELECT es_stream_version('order-1');
ROLLBACK;
SELECT array_agg(version) FROM es_load('order-1', 10);

-- Versions and positions.
SELECT es_stream_version('order-1'), es_stream_version('nothing-1'), es_stream_version('order-1', 'blue'), es_stream_version('order-1', tenant => NULL);
SELECT es_stream_version(NULL);
\echo :SQLSTATE
SELECT es_stream_version('order-1', '*');
\echo :SQLSTATE
SELECT es_position('order-1', 1), es_position('order-1', 10), es_position('order-1'), es_position('order-1', NULL),
       es_position('order-1', 11), es_position('order-1', 0), es_position('order-1', -1), es_position('nothing-1');
SELECT es_position(NULL);
\echo :SQLSTATE
-- One event.
SELECT position - es_position('clock-1', 3) AS difference, stream, version, type, data, metadata, recorded_at, id, payload, tenant
FROM es_event('00000000-0000-7000-8000-000000000003');
SELECT count(*) FROM es_event('00000000-0000-7000-8000-000000000003', 'blue');
SELECT count(*) FROM es_event('ffffffff-0000-7000-8000-000000000003');
SELECT count(*) FROM es_event(NULL);
\echo :SQLSTATE
SELECT es_event_exists('00000000-0000-7000-8000-000000000003'), es_event_exists('00000000-0000-7000-8000-000000000003', 'blue'),
       es_event_exists('ffffffff-0000-7000-8000-000000000003');
SELECT es_event_exists(NULL);
\echo :SQLSTATE
SELECT es_event_exists('00000000-0000-7000-8000-000000000003', '*');
\echo :SQLSTATE
-- Category and key.
SELECT name, es_category(name), es_key(name)
FROM unnest(ARRAY['order-123', 'order', 'order-', 'order-1-2', '-1', '', NULL]) WITH ORDINALITY AS n (name, o) ORDER BY o;

-- READ ONLY transactions, LATERAL, cursors, several sets in one list, parallel workers.
BEGIN READ ONLY;
SELECT count(*) FROM es_load('order-1');
SELECT es_stream_version('order-1'), es_head() > 0;
COMMIT;
SELECT s.stream, e.version FROM es_streams('{order}') AS s, LATERAL es_load(s.stream, s.version) AS e;
BEGIN;
DECLARE c SCROLL CURSOR FOR SELECT version FROM es_load('order-1');
FETCH 2 FROM c;
FETCH LAST FROM c;
FETCH PRIOR FROM c;
SELECT es_append('order-1', 10, 'Later', '{}');
FETCH LAST FROM c;
ROLLBACK;
SELECT (es_load('order-1', 1, 2)).version, (es_load('order-1', 4, 6)).version;
SELECT count(set_config(name, 'on', false)) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query');
SELECT array_agg(version) FROM es_load('order-1', 3, 5);
SELECT es_stream_version('order-1');
SELECT es_publish() = es_head() AS published;
SELECT count(*) FROM es_read() AS r JOIN LATERAL es_load(r.stream, r.version, r.version) AS l USING (version);
BEGIN;
SELECT es_append('order-1', 10, 'Mine', '{}');
SELECT count(*) FROM es_read(types => '{Mine}');
SELECT count(*) FROM es_load('order-1', 11);
ROLLBACK;
SELECT es_append('order-1', 10, 'Later', '{}');

\c :home
DROP DATABASE es_test_load;
