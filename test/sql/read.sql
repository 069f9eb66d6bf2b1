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

-- NEWCOMER 2.3: which indexes of the user's serve, going by what EXPLAIN says of a call that names a tenant, a category and types.
CREATE FUNCTION index_of(call text DEFAULT $$es_read(tenant => 'red', categories => '{zoo}', types => '{Opened,Closed}')$$) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result json;
BEGIN
	EXECUTE 'EXPLAIN (FORMAT json) SELECT * FROM ' || call INTO result;
	RETURN replace(result #>> '{0,Plan,Index}', 'events_category_position_idx', 'ours');
END $$;
CREATE FUNCTION try(definition text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	used text;
BEGIN
	EXECUTE 'CREATE ' || definition;
	used := index_of();
	IF (SELECT array_agg(position) FROM es_read(tenant => 'red', categories => '{zoo}', types => '{Opened,Closed}')) <> '{12}' THEN
		RAISE EXCEPTION 'another answer';
	END IF;
	DROP INDEX es.mine;
	RETURN used;
END $$;
CREATE OPERATOR CLASS downwards FOR TYPE int8 USING btree AS
	OPERATOR 1 >, OPERATOR 2 >=, OPERATOR 3 =, OPERATOR 4 <=, OPERATOR 5 <, FUNCTION 1 btint8cmp(int8, int8);
SELECT definition, try(definition) FROM unnest(ARRAY[
	'INDEX mine ON es.events (type, position)',
	'INDEX mine ON es.events (tenant, position)',
	'INDEX mine ON es.events (tenant, type, position)',
	'INDEX mine ON es.events (type, tenant, position)',
	'INDEX mine ON es.events (category, type, position)',
	'INDEX mine ON es.events (type, category, position)',
	'INDEX mine ON es.events (tenant, category, position)',
	'INDEX mine ON es.events (category, type, tenant, position)',
	'INDEX mine ON es.events (type, position) INCLUDE (data)',
	'INDEX mine ON es.events (type, position, stream)',
	'INDEX mine ON es.events (type text_pattern_ops, position)',
	'UNIQUE INDEX mine ON es.events (type, position)',
	'INDEX mine ON es.events (type)',
	'INDEX mine ON es.events (type) INCLUDE (position)',
	'INDEX mine ON es.events (position, type)',
	'INDEX mine ON es.events (type, type, position)',
	'INDEX mine ON es.events (type, version, position)',
	'INDEX mine ON es.events (stream, position)',
	'INDEX mine ON es.events (type, position DESC)',
	'INDEX mine ON es.events (type DESC, position)',
	'INDEX mine ON es.events (type, position) WHERE version < 1000',
	'INDEX mine ON es.events (type COLLATE "POSIX", position)',
	'INDEX mine ON es.events (lower(type), position)',
	'INDEX mine ON es.events (type, position downwards)',
	'INDEX mine ON es.events (category, position downwards)',
	'INDEX mine ON es.events USING hash (type)',
	'INDEX mine ON es.events USING brin (type, position)']) AS definition;
-- one that is not valid
CREATE INDEX mine ON es.events (type, position);
UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'es.mine'::regclass;
SELECT index_of(), index_of($$es_read(types => '{Opened}')$$);
DROP INDEX es.mine;
-- The oldest of those that serve alike; those that have more of the columns come before those with fewer.
CREATE INDEX mine ON es.events (type, position);
CREATE INDEX other ON es.events (type, position, version);
SELECT index_of(), index_of($$es_read(types => '{Opened}')$$), index_of($$es_read()$$), index_of($$es_read(categories => '{zoo}')$$);
DROP INDEX es.other;
CREATE INDEX other ON es.events (category, type, position);
CREATE INDEX third ON es.events (tenant, position);
SELECT index_of(), index_of($$es_read(types => '{Opened}')$$), index_of($$es_read()$$), index_of($$es_read(tenant => '*')$$),
	index_of($$es_read(categories => '{zoo}')$$), index_of($$es_read(tenant => '*', categories => '{zoo}')$$);
-- As many combinations as are merged, and one more; names that come twice count once in the answer.
SELECT index_of(format('es_read(categories => %L, types => %L)', array(SELECT n::text FROM generate_series(1, 8) AS n), array(SELECT n::text FROM generate_series(1, 8) AS n))),
	index_of(format('es_read(categories => %L, types => %L)', array(SELECT n::text FROM generate_series(1, 8) AS n), array(SELECT n::text FROM generate_series(1, 9) AS n))),
	index_of($$es_read(categories => '{}', types => '{Paid}')$$);
SELECT array_agg(position) FROM es_read(categories => '{}', types => '{Paid}');
SELECT array_agg(position) FROM es_read(categories => '{order,order,user}', types => '{Paid,Joined,Paid}');
SELECT array_agg(position) FROM es_read(categories => '{order,user,zoo}', types => '{Paid,Joined,Opened}', tenant => '*', backwards => true);
SELECT array_agg(position) FROM es_read(categories => '{order,user,zoo}', types => '{Paid,Joined,Opened}', tenant => 'red');
SELECT array_agg(position) FROM es_read(stream_prefix => 'order-1', categories => '{order,user}', types => '{Paid,Placed}');
SELECT array_agg(position) FROM es_read(stream_prefix => 'order-1', categories => '{user}', types => '{Paid,Placed}');
SELECT array_agg(position) FROM es_read(tenant => 'blue'), index_of($$es_read(tenant => 'blue')$$);
DROP INDEX es.mine, es.other, es.third;

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
