-- The log: es_read, es_streams, es_head, es_horizon.
\set SHOW_CONTEXT never
\set home :DBNAME
CREATE DATABASE es_test_read;
\c es_test_read
CREATE EXTENSION pg_eventstore;
SELECT es_init();
SELECT es_head(), es_horizon();
SELECT * FROM es_read();
SELECT * FROM es_streams();

SELECT count(es_append(s, -1, t, to_jsonb(n))) FROM (VALUES
	(1, 'order-1', 'Placed'), (2, 'user-1', 'Joined'), (3, 'order-2', 'Placed'), (4, 'order-1', 'Paid'),
	(5, 'order', 'Opened'), (6, 'orderly-1', 'Placed'), (7, 'user-2', 'Joined'), (8, 'order-10', 'Placed'),
	(9, 'order-2', 'Paid'), (10, 'order.-1', 'Placed')) AS v (n, s, t);
SELECT es_append('order-1', -1, 'Placed', '11', tenant => 'blue');
SELECT es_append('zoo-1', -1, 'Opened', '12', tenant => 'red');

-- What is committed is there, but not published (P1).
SELECT count(*) FROM es_read(tenant => '*');
SELECT es_head(), es_horizon();
SELECT es_publish();
SELECT es_head(), es_horizon();
SELECT position, stream, version, type, data, metadata, payload, tenant FROM es_read();
SELECT array_agg(position) FROM es_read(backwards => true);
SELECT array_agg(position) FROM es_read(3);
SELECT array_agg(position) FROM es_read(3, 2);
SELECT array_agg(position) FROM es_read(3, before => 6);
SELECT array_agg(position) FROM es_read(3, 1, before => 6, backwards => true);
SELECT array_agg(position) FROM es_read(before => 3);
SELECT array_agg(position) FROM es_read(5, before => 5);
SELECT array_agg(position) FROM es_read(10);
SELECT array_agg(position) FROM es_read(12);
SELECT array_agg(position) FROM es_read(before => 100, backwards => true, max_count => 2);
SELECT array_agg(position) FROM es_read(-5, 1);
SELECT array_agg(position) FROM es_read(max_count => 0);
SELECT count(*) FROM es_read(NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
SELECT count(*) FROM es_read(-9223372036854775808, before => -9223372036854775807);

-- Filters: what they name, and together.
SELECT array_agg(position) FROM es_read(categories => '{order}');
SELECT array_agg(position) FROM es_read(categories => '{user,order}');
SELECT array_agg(position) FROM es_read(categories => '{user,order,user}', backwards => true);
SELECT array_agg(position) FROM es_read(categories => '{}');
SELECT array_agg(position) FROM es_read(categories => '{order-1}');
SELECT array_agg(position) FROM es_read(types => '{Paid}');
SELECT array_agg(position) FROM es_read(types => '{Paid,Joined}', max_count => 3);
SELECT array_agg(position) FROM es_read(types => '{}');
SELECT array_agg(position) FROM es_read(categories => '{order}', types => '{Paid}');
SELECT array_agg(position) FROM es_read(stream_prefix => 'order');
SELECT array_agg(position) FROM es_read(stream_prefix => 'order-1');
SELECT array_agg(position) FROM es_read(stream_prefix => 'order-', backwards => true, max_count => 2);
SELECT array_agg(position) FROM es_read(stream_prefix => '');
SELECT array_agg(position) FROM es_read(stream_prefix => '%');
SELECT array_agg(position) FROM es_read(stream_prefix => 'order-1', categories => '{user}');
SELECT array_agg(position) FROM es_read(stream_prefix => 'order-1', types => '{Paid}');
SELECT array_agg(position) FROM es_read(stream_prefix => '-');
SELECT position, tenant FROM es_read(tenant => 'blue');
SELECT array_agg(position) FROM es_read(tenant => '*');
SELECT array_agg(position) FROM es_read(tenant => '*', categories => '{order}', types => '{Placed}');
SELECT array_agg(position) FROM es_read(tenant => 'green');
SELECT count(*) FROM es_read(since => '-infinity', until => 'infinity');
SELECT count(*) FROM es_read(since => 'infinity');
SELECT count(*) FROM es_read(until => '-infinity');
SELECT (SELECT count(*) FROM es_read(since => (SELECT recorded_at FROM es_load('order-1', 2))))
	= (SELECT count(*) FROM es.events WHERE tenant = '' AND recorded_at >= (SELECT recorded_at FROM es_load('order-1', 2))) AS same;
-- With the user's index on (type, position) the answers are the same.
CREATE INDEX mine ON es.events (type, position);
SELECT array_agg(position) FROM es_read(types => '{Paid}');
SELECT array_agg(position) FROM es_read(types => '{Placed,Joined}', backwards => true, max_count => 4);
SELECT array_agg(position) FROM es_read(types => '{}');
SELECT array_agg(position) FROM es_read(categories => '{order}', types => '{Paid}');
DROP INDEX es.mine;
SELECT array_agg(position) FROM es_read(types => '{Paid}');
CREATE INDEX mine ON es.events (type, position) WHERE version > 1;
SELECT array_agg(position) FROM es_read(types => '{Placed}');
DROP INDEX es.mine;

-- A cursor ahead of the log is not of this store (P6).
SELECT * FROM es_read(13);
\echo :SQLSTATE
SELECT * FROM es_read(9223372036854775807, max_count => 0, backwards => true);
\echo :SQLSTATE
-- Bad filters.
SELECT * FROM es_read(max_count => -1);
\echo :SQLSTATE
SELECT * FROM es_read(categories => '{order,NULL}');
\echo :SQLSTATE
SELECT * FROM es_read(types => '{NULL}');
\echo :SQLSTATE
SELECT * FROM es_read(tenant => repeat('n', 129));
\echo :SQLSTATE
SELECT * FROM es_streams('{NULL}');
\echo :SQLSTATE
SELECT * FROM es_streams(max_count => -1);
\echo :SQLSTATE
-- Reading after a page: nothing comes twice, nothing is left out.
WITH RECURSIVE page (last, seen) AS (
	SELECT 0::bigint, 0::bigint
	UNION ALL
	SELECT p.last, page.seen + p.n FROM page, LATERAL (SELECT max(position) AS last, count(*) AS n FROM es_read(page.last, 3)) AS p
	WHERE p.n > 0)
SELECT max(seen) FROM page;

-- One's own uncommitted events are not published.
BEGIN;
SELECT es_append('order-3', 0, 'Mine', '{}');
SAVEPOINT s;
SELECT es_append('order-4', 0, 'Mine', '{}');
RELEASE s;
SELECT count(*) FROM es_read(types => '{Mine}');
SELECT es_head() - es_horizon() AS ahead;
SELECT count(*) FROM es.events WHERE type = 'Mine';
ROLLBACK;
SELECT es_head() - es_horizon() AS ahead;

-- Streams in the order of their names, each with its last event.
SELECT stream, version, position, tenant FROM es_streams();
SELECT stream, version, position, tenant FROM es_streams(tenant => '*');
SELECT stream FROM es_streams('{order}');
SELECT stream FROM es_streams('{user,order}');
SELECT stream FROM es_streams('{order,order}');
SELECT stream FROM es_streams('{}');
SELECT stream FROM es_streams('{nothing}');
-- A category never has a hyphen, so one with it names nothing.
SELECT stream FROM es_streams('{order-1}');
SELECT stream FROM es_streams('{order,order-1}');
SELECT stream FROM es_streams('{order}', tenant => '*');
SELECT stream FROM es_streams(after => 'order-10');
SELECT stream FROM es_streams(after => 'order-1', max_count => 2);
SELECT stream FROM es_streams('{order}', after => 'order-1');
SELECT stream FROM es_streams(after => 'zzz');
SELECT stream FROM es_streams(max_count => 0);
SELECT count(*) FROM es_streams(NULL, NULL, NULL, NULL);
SELECT stream, tenant FROM es_streams(max_count => 3, tenant => '*');
SELECT bool_and(s.recorded_at = e.recorded_at AND s.position = e.position)
FROM es_streams() AS s JOIN es.events AS e USING (stream, version) WHERE e.tenant = '';
SELECT (SELECT array_agg(stream ORDER BY stream COLLATE "C") FROM es_streams())
     = (SELECT array_agg(DISTINCT stream ORDER BY stream) FROM es.events WHERE tenant = '') AS same;

-- READ ONLY is enough for all of it.
BEGIN READ ONLY;
SELECT count(*) FROM es_read();
SELECT count(*) FROM es_streams();
SELECT es_head(), es_horizon();
COMMIT;
SELECT count(set_config(name, 'on', false)) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query');
SELECT array_agg(position) FROM es_read(categories => '{order}');
SELECT count(*) FROM es_streams();
SELECT es_head(), es_horizon();

\c :home
DROP DATABASE es_test_read;
