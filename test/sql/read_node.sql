-- Readers that stand alone in FROM hand on their rows as they are read: every form of
-- statement answers what the function answers by itself.
\set SHOW_CONTEXT never
\set home :DBNAME
CREATE DATABASE es_test_read_node;
\c es_test_read_node
CREATE EXTENSION pg_eventstore;
SELECT es_init();
SET search_path = public, pg_catalog;
SET timezone = 'UTC';
SET max_parallel_workers_per_gather = 0;

SELECT count(es_append('a-1', n - 1, 'T' || n % 3, jsonb_build_object('n', n), '{"m": 1}')) FROM generate_series(1, 20) AS n;
SELECT count(es_append('b-' || n % 4, -1, 'T' || n % 3, jsonb_build_object('n', n))) FROM generate_series(1, 20) AS n;
SELECT last_version FROM es_append_batch('bytes-1', 0, '{B,B}', ARRAY[NULL, '{}']::jsonb[], payloads => ARRAY['\x00ff', NULL]::bytea[]);
-- one that is stored out of line, one that is compressed
SELECT es_append('long-1', 0, 'L', jsonb_build_object('s', (SELECT string_agg(md5(n::text), '') FROM generate_series(1, 1000) AS n)));
SELECT es_append('long-1', 1, 'L', jsonb_build_object('s', repeat('x', 100000)));
SELECT last_version FROM es_append_batch('many-1', 0, array_fill('M'::text, '{5000}'), array_fill('{}'::jsonb, '{5000}'));
SELECT es_snapshot('a-1', 17, '{"sum": 17}', payload => '\x01');
SELECT es_publish() = es_head();
CREATE TABLE t (k int PRIMARY KEY, name text, after bigint);
INSERT INTO t SELECT n, CASE WHEN n = 5 THEN 'none-1' WHEN n = 4 THEN 'a-1' ELSE 'b-' || n END, n FROM generate_series(1, 5) AS n;
ANALYZE t;

CREATE FUNCTION plan(query text) RETURNS SETOF text LANGUAGE plpgsql AS
$$BEGIN RETURN QUERY EXECUTE 'EXPLAIN (COSTS OFF) ' || query; END$$;
CREATE FUNCTION verbose_plan(query text) RETURNS SETOF text LANGUAGE plpgsql AS
$$BEGIN RETURN QUERY EXECUTE 'EXPLAIN (COSTS OFF, VERBOSE) ' || query; END$$;
-- Which of the two reads: the function as a whole, or the node?
CREATE FUNCTION reads(query text) RETURNS text LANGUAGE sql AS
$$SELECT string_agg(line, ', ') FROM (SELECT substring(p FROM '(Function Scan on es_[a-z]+|Custom Scan \(es_[a-z]+\)|ProjectSet)') AS line FROM plan(query) AS p) AS s WHERE line IS NOT NULL$$;
-- Does a call answer the same rows in the same order both ways?
CREATE FUNCTION same(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	streamed text[];
	stored text[];
BEGIN
	EXECUTE format('SELECT array_agg(to_jsonb(s)::text) FROM (SELECT * FROM %s) AS s', call) INTO streamed;
	EXECUTE format('SELECT array_agg((to_jsonb(s) - ''ordinality'')::text ORDER BY s.ordinality) FROM %s WITH ORDINALITY AS s', call) INTO stored;
	RETURN CASE WHEN streamed IS NOT DISTINCT FROM stored THEN coalesce(cardinality(stored), 0) || ' rows'
		ELSE format('%s and not %s', streamed, stored) END;
END $$;

-- What is covered
SELECT verbose_plan($$SELECT version, data FROM es_load('a-1') WHERE type = 'T1'$$);
SELECT reads(q) FROM unnest(ARRAY[
	$$SELECT * FROM es_load('a-1')$$,
	$$SELECT * FROM es_read()$$,
	$$SELECT * FROM es_rehydrate('a-1')$$,
	$$SELECT * FROM public.es_load(stream => 'a-1', backwards => true)$$,
	$$SELECT * FROM t, es_load(name) AS e$$,
	$$SELECT * FROM t LEFT JOIN LATERAL es_load(t.name) AS e ON e.version = t.k$$,
	$$SELECT * FROM es_load((SELECT name FROM t WHERE k = 4))$$,
	$$SELECT (SELECT count(*) FROM es_load(t.name)) FROM t$$,
	$$INSERT INTO t SELECT version, type FROM es_load('a-1')$$,
	$$WITH e AS MATERIALIZED (SELECT * FROM es_load('a-1')) SELECT * FROM e$$,
	$$SELECT * FROM es_load('a-1') UNION ALL SELECT * FROM es_load('b-1')$$]) AS q;
-- and what is not
SELECT reads(q) FROM unnest(ARRAY[
	$$SELECT * FROM es_load('a-1') WITH ORDINALITY$$,
	$$SELECT * FROM ROWS FROM (es_load('a-1'), es_read())$$,
	$$SELECT es_load('a-1')$$,
	$$SELECT * FROM es_load('a-' || trunc(random() + 1))$$,
	$$SELECT * FROM t, es_load((SELECT name FROM t AS u WHERE u.k = t.k AND random() >= 0))$$,
	$$UPDATE t SET after = e.position FROM es_load('a-1') AS e WHERE e.version = t.k$$,
	$$DELETE FROM t USING es_load('a-1') AS e WHERE e.version = t.k$$,
	$$SELECT * FROM t, es_load('a-1') AS e WHERE e.version = t.k FOR UPDATE OF t$$,
	$$MERGE INTO t USING es_load('a-1') AS e ON e.version = t.k WHEN MATCHED THEN DELETE$$,
	$$SELECT * FROM es_streams()$$]) AS q;
-- It is known by what it calls, not by its name; called through something else it is not covered.
ALTER FUNCTION es_load RENAME TO load_it;
SELECT reads($$SELECT * FROM load_it('a-1')$$);
ALTER FUNCTION load_it RENAME TO es_load;
CREATE FUNCTION es_load(int) RETURNS SETOF int LANGUAGE sql STABLE STRICT AS 'SELECT $1';
SELECT reads($$SELECT * FROM es_load(1)$$);
DROP FUNCTION es_load(int);
PREPARE p(text) AS SELECT count(*) FROM es_load($1);
EXECUTE p('a-1');
SELECT reads($$EXECUTE p('a-1')$$);
ALTER FUNCTION es_load SET work_mem = '1MB';
SELECT reads($$EXECUTE p('a-1')$$), reads($$SELECT * FROM es_load('a-1')$$);
EXECUTE p('a-1');
ALTER FUNCTION es_load RESET ALL;
ALTER FUNCTION es_load SECURITY DEFINER;
SELECT reads($$EXECUTE p('a-1')$$);
EXECUTE p('a-1');
ALTER FUNCTION es_load SECURITY INVOKER;
ALTER FUNCTION es_load STRICT;
SELECT reads($$EXECUTE p('a-1')$$);
EXECUTE p('a-1');
ALTER FUNCTION es_load CALLED ON NULL INPUT;
SELECT reads($$EXECUTE p('a-1')$$);
DEALLOCATE p;

-- The same rows
SELECT call, same(call) FROM unnest(ARRAY[
	$$es_load('a-1')$$, $$es_load('none-1')$$, $$es_load('bytes-1')$$, $$es_load('long-1')$$, $$es_load('many-1')$$,
	$$es_load('a-1', 3, 7)$$, $$es_load('a-1', 7, 7)$$, $$es_load('a-1', 7, 3)$$, $$es_load('a-1', max_count => 4)$$,
	$$es_load('a-1', max_count => 0)$$, $$es_load('a-1', 5, max_count => 4, backwards => true)$$, $$es_load('a-1', backwards => NULL)$$,
	$$es_load('a-1', since => 'epoch', until => 'infinity')$$, $$es_load('a-1', since => 'infinity')$$,
	$$es_read()$$, $$es_read(5, 7)$$, $$es_read(5, 7, backwards => true)$$, $$es_read(max_count => NULL, before => 12)$$,
	$$es_read(0, 9, '{b,a}')$$, $$es_read(0, 9, '{b,a}', '{T1}', backwards => true)$$, $$es_read(categories => '{}')$$,
	$$es_read(types => '{T1,T2}')$$, $$es_read(stream_prefix => 'b-')$$, $$es_read(tenant => 'other')$$, $$es_read(tenant => '*', max_count => 8)$$,
	$$es_rehydrate('a-1')$$, $$es_rehydrate('a-1', 2)$$, $$es_rehydrate('b-1')$$, $$es_rehydrate('none-1')$$]) AS call;

-- Some columns, none, the whole row, conditions
SELECT type, version FROM es_load('a-1') WHERE data ->> 'n' IN ('3', '4');
SELECT count(*) FROM es_load('a-1');
SELECT count(*), sum(version), max(type) FROM es_read() WHERE stream LIKE 'b-%';
SELECT e FROM (SELECT version, type, payload FROM es_load('bytes-1')) AS e;
SELECT to_jsonb(e) - '{recorded_at,id}'::text[] FROM es_load('a-1', 2, 3) AS e;
SELECT to_jsonb(e) - '{recorded_at,id}'::text[] FROM es_load('a-1', 2, 2) AS e(v, t);
SELECT to_jsonb(e) - '{recorded_at,id}'::text[] FROM es_rehydrate('a-1') AS e;
SELECT (e).version, (e).data FROM (SELECT e FROM es_load('a-1') AS e) AS s WHERE (e).version > 18;
SELECT count(e), count(DISTINCT e) FROM es_load('a-1') AS e WHERE e IS NOT DISTINCT FROM e;
-- what was kept of a row does not point to where it came from
SELECT array_agg(length(e::text) / 1000) FROM (SELECT e FROM es_load('long-1') AS e OFFSET 0) AS s;
SELECT kind, version, data, payload FROM es_rehydrate('a-1') AS e(kind);
SELECT kind FROM es_rehydrate('a-1') LIMIT 2;
SELECT version FROM es_load('a-1') WHERE false;

-- LIMIT stops it
CREATE FUNCTION rows_read(query text) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
	result json;
BEGIN
	EXECUTE 'EXPLAIN (ANALYZE, FORMAT json) ' || query INTO result;
	RETURN trunc((result -> 0 -> 'Plan' -> 'Plans' -> 0 ->> 'Actual Rows')::numeric);
END $$;
SELECT rows_read($$SELECT * FROM es_load('many-1') LIMIT 3$$), rows_read($$SELECT * FROM es_read(max_count => NULL) LIMIT 3$$);
SELECT EXISTS (SELECT FROM es_load('many-1')), (SELECT version FROM es_load('many-1', backwards => true) LIMIT 1);

-- Its order is known
SELECT plan($$SELECT version FROM es_load('many-1') ORDER BY version LIMIT 3$$);
SELECT plan($$SELECT * FROM es_read(backwards => true) ORDER BY position DESC LIMIT 3$$);
SELECT plan($$SELECT version FROM es_rehydrate('a-1') ORDER BY version$$);
SELECT plan($$SELECT version FROM es_load('many-1') ORDER BY version DESC LIMIT 3$$);
SELECT version FROM es_load('many-1') ORDER BY version DESC LIMIT 3;
PREPARE backwards(boolean) AS SELECT version FROM es_load('a-1', backwards => $1, max_count => 3) ORDER BY version;
SET plan_cache_mode = force_generic_plan;
EXECUTE backwards(true);
SELECT plan($$EXECUTE backwards(true)$$);
RESET plan_cache_mode;
SELECT version, name FROM es_load('a-1') JOIN t ON k = version ORDER BY version;
SELECT array_agg(version) FROM (SELECT version FROM es_load('b-1') UNION ALL SELECT version FROM es_load('b-2') ORDER BY version) AS s;

-- Arguments: parameters, of the outer row, of a subquery
PREPARE p(text, bigint) AS SELECT array_agg(version) FROM es_load($1, $2, max_count => 2);
SELECT count(*) FROM generate_series(1, 7);
EXECUTE p('a-1', 1);
EXECUTE p('a-1', 2);
SET plan_cache_mode = force_generic_plan;
EXECUTE p('a-1', 3);
EXECUTE p('b-1', NULL);
EXECUTE p(NULL, NULL);
\echo :SQLSTATE
RESET plan_cache_mode;
SELECT t.k, e.version FROM t, es_load(t.name, max_count => t.after) AS e ORDER BY t.k, e.version;
SELECT t.k, e.version FROM t LEFT JOIN LATERAL es_load(t.name, 20) AS e ON true ORDER BY t.k;
SELECT k, (SELECT max(version) FROM es_load(t.name)), EXISTS (SELECT FROM es_load(t.name, 10)) FROM t ORDER BY k;
SELECT array_agg(version) FROM es_load((SELECT name FROM t WHERE k = 1));
SELECT array_agg(e.version) FROM es_load('b-1') AS l, es_load('b-2', l.version, l.version) AS e;
SELECT k, n FROM t, LATERAL (SELECT count(*) FROM es_load(t.name) WHERE version > t.k) AS s(n) ORDER BY k;
SELECT count(*) FROM t, es_load(CASE WHEN k < 3 THEN name END) AS e;
\echo :SQLSTATE
SELECT count(*) FROM t, es_read(after => k * 1000000) AS r;
\echo :SQLSTATE

-- Outer joins: on either side, whole rows and what is computed below the join
SELECT t.k, count(e.version) FROM t LEFT JOIN (SELECT k, coalesce(name, 'none-1') AS name FROM t) AS u ON u.k = t.k + 1
	LEFT JOIN LATERAL es_load(coalesce(u.name, 'a-1')) AS e ON true GROUP BY t.k ORDER BY t.k;
SELECT t.k, s.c, s.version FROM t LEFT JOIN (SELECT version, coalesce(type, 'x') AS c FROM es_load('b-1', 3)) AS s ON s.version = t.k ORDER BY t.k;
SELECT t.k, s IS NULL, to_jsonb(s) -> 'type' FROM t LEFT JOIN es_load('b-1', 4) AS s ON s.version = t.k ORDER BY t.k;
SELECT t.k, s.x FROM t LEFT JOIN LATERAL (SELECT t.name || e.version AS x FROM es_load(t.name, 5, 5) AS e) AS s ON s.x IS NOT NULL ORDER BY t.k;

-- Read again: without other arguments too, in nested loops
SET enable_hashjoin = off;
SET enable_mergejoin = off;
SET enable_material = off;
SELECT count(*), sum(a.version * b.version) FROM es_load('a-1') AS a JOIN es_load('b-1') AS b ON a.version > b.version;
SELECT count(*) FROM t LEFT JOIN es_load('b-1') AS e ON e.version = t.k WHERE e.version IS NULL;
SET enable_material = on;
SELECT count(*), sum(a.version * b.version) FROM es_load('a-1') AS a JOIN es_load('b-1') AS b ON a.version > b.version;
SET enable_nestloop = off;
SET enable_mergejoin = on;
SELECT count(*) FROM es_load('a-1') AS a JOIN es_load('b-1') AS b USING (version) JOIN es_rehydrate('a-1') AS c ON c.version > a.version + 12;
RESET enable_nestloop;
RESET enable_hashjoin;
WITH RECURSIVE r(n) AS (SELECT 1::bigint UNION ALL SELECT max FROM r, LATERAL (SELECT max(version) FROM es_load('a-1', r.n + 1, r.n + 3)) AS m WHERE max IS NOT NULL)
SELECT array_agg(n) FROM r;

-- Cursors
BEGIN;
DECLARE c CURSOR FOR SELECT version FROM es_load('a-1');
FETCH 2 FROM c;
SELECT es_append('a-1', 20, 'Later', '{}');
SAVEPOINT s;
FETCH 2 FROM c;
SELECT es_append('a-1', 21, 'Never', '{}');
ROLLBACK TO s;
FETCH 2 FROM c;
DECLARE d CURSOR FOR SELECT version FROM es_load('a-1', 20);
SAVEPOINT s;
FETCH 1 FROM d;
ROLLBACK TO s;
FETCH ALL FROM d;
FETCH 1 FROM d;
MOVE 13 FROM c;
FETCH ALL FROM c;
FETCH 1 FROM c;
ROLLBACK;
BEGIN;
DECLARE c SCROLL CURSOR FOR SELECT version FROM es_load('a-1', 1, 4);
FETCH 2 FROM c;
FETCH BACKWARD ALL FROM c;
FETCH LAST FROM c;
FETCH ABSOLUTE 2 FROM c;
FETCH RELATIVE -1 FROM c;
DECLARE n NO SCROLL CURSOR FOR SELECT version FROM es_read(3, 4);
FETCH 2 FROM n;
FETCH BACKWARD 1 FROM n;
\echo :SQLSTATE
ROLLBACK;
BEGIN;
DECLARE h CURSOR WITH HOLD FOR SELECT version FROM es_load('a-1', 1, 4);
FETCH 1 FROM h;
COMMIT;
FETCH ALL FROM h;
CLOSE h;
-- a table that is being read is not emptied
BEGIN;
DECLARE c CURSOR FOR SELECT version FROM es_load('a-1');
FETCH 1 FROM c;
LOCK TABLE es.events IN ACCESS SHARE MODE;
ALTER TABLE es.events SET (fillfactor = 90);
\echo :SQLSTATE
ROLLBACK;

-- nor one that is to be read, or has been read into a sort
BEGIN;
DECLARE c CURSOR FOR SELECT version FROM es_load('a-1');
ALTER TABLE es.events SET (fillfactor = 90);
\echo :SQLSTATE
ROLLBACK;
BEGIN;
DECLARE c CURSOR FOR SELECT version FROM es_load('a-1') ORDER BY version % 7, version;
FETCH 1 FROM c;
ALTER TABLE es.events SET (fillfactor = 90);
\echo :SQLSTATE
ROLLBACK;

-- One statement sees one state, and the caller's own events
BEGIN;
SELECT es_append('own-1', 0, 'T', '{}');
SELECT count(*) FROM es_load('own-1');
WITH appended AS (SELECT es_append('own-1', 1, 'T', '{}') AS v) SELECT v, (SELECT count(*) FROM es_load('own-1')) FROM appended;
SELECT count(*) FROM es_load('own-1');
DO $$
DECLARE
	e record;
	n int := 0;
BEGIN
	FOR e IN SELECT * FROM es_load('own-1') LOOP
		PERFORM es_append('own-1', -1, 'T', '{}');
		n := n + 1;
	END LOOP;
	RAISE NOTICE '% rows, version % now', n, es_stream_version('own-1');
END $$;
ROLLBACK;

-- In functions, views and statements that write
CREATE FUNCTION in_sql(text) RETURNS SETOF bigint LANGUAGE sql STABLE AS 'SELECT version FROM es_load($1, 19)';
CREATE FUNCTION in_sql_volatile(text) RETURNS SETOF bigint LANGUAGE sql VOLATILE AS 'SELECT version FROM es_load($1, 19)';
CREATE FUNCTION in_plpgsql(text) RETURNS SETOF bigint LANGUAGE plpgsql STABLE AS
$$BEGIN RETURN QUERY SELECT version FROM es_load($1, 19); END$$;
CREATE FUNCTION as_definer(text) RETURNS SETOF bigint LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public AS 'SELECT version FROM es_load($1, 19)';
SELECT reads($$SELECT * FROM in_sql('a-1')$$);
SELECT (SELECT array_agg(v) FROM in_sql('a-1') AS v), (SELECT array_agg(v) FROM in_sql_volatile('a-1') AS v),
	(SELECT array_agg(v) FROM in_plpgsql('a-1') AS v), (SELECT array_agg(v) FROM as_definer('a-1') AS v), ARRAY(SELECT in_sql_volatile('a-1'));
CREATE VIEW v AS SELECT version, type FROM es_load('a-1', 19);
SELECT * FROM v;
BEGIN;
INSERT INTO t SELECT 100 + version, type FROM es_load('a-1', 19) RETURNING k;
UPDATE t SET after = e.position FROM es_load('a-1') AS e WHERE e.version = t.k RETURNING k, after;
UPDATE t SET after = (SELECT max(version) FROM es_load(t.name)) WHERE k = 4 RETURNING after;
DELETE FROM t USING es_load('a-1') AS e WHERE e.version = t.k AND e.version < 3 RETURNING k;
MERGE INTO t USING es_load('a-1', 1, 3) AS e ON t.k = e.version WHEN MATCHED THEN UPDATE SET name = e.type WHEN NOT MATCHED THEN INSERT VALUES (e.version, 'new');
SELECT k, name FROM t WHERE k < 4 ORDER BY k;
ROLLBACK;
SELECT es_load('a-1', 20) IS NOT NULL, generate_series(1, 2);

-- In parallel workers
SELECT count(set_config(name, 'on', false)) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query');
SET max_parallel_workers_per_gather = 2;
SELECT count(*), sum(version), max(data ->> 'n') FROM es_load('a-1');
SELECT to_jsonb(e) -> 'version' FROM es_load('a-1', 20) AS e;
SELECT count(*) FROM es_read(5, 30);
SELECT k, max(e.version) FROM t, es_load(t.name) AS e GROUP BY k ORDER BY k;
SELECT count(set_config(name, 'off', false)) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query');
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SELECT sum(e.version), count(*) FROM t, es_load(t.name) AS e;
SET max_parallel_workers_per_gather = 0;

-- Privileges are those of who runs it, at the time it is run
CREATE ROLE es_test_node_reader;
GRANT USAGE ON SCHEMA es TO es_test_node_reader;
GRANT SELECT ON es.events, es.snapshots TO es_test_node_reader;
PREPARE q AS SELECT count(*) FROM es_load('a-1');
EXECUTE q;
SET ROLE es_test_node_reader;
EXECUTE q;
RESET ROLE;
REVOKE SELECT ON es.events FROM es_test_node_reader;
SET ROLE es_test_node_reader;
EXECUTE q;
\echo :SQLSTATE
SELECT count(*) FROM es_load('a-1') WHERE false;
SELECT count(*) FROM es_rehydrate('a-1');
\echo :SQLSTATE
RESET ROLE;
GRANT SELECT ON es.events TO es_test_node_reader;
REVOKE EXECUTE ON FUNCTION es_load FROM PUBLIC;
SET ROLE es_test_node_reader;
EXECUTE q;
\echo :SQLSTATE
SELECT count(*) FROM es_load('a-1') WHERE version < 0;
\echo :SQLSTATE
SELECT count(*) FROM es_read(0, 1);
RESET ROLE;

-- What is counted and shown
\c
SET track_functions = 'all';
BEGIN;
SELECT count(*) FROM es_load('a-1');
SELECT count(*) FROM t, es_load(t.name) AS e;
SELECT calls FROM pg_stat_xact_user_functions WHERE funcname = 'es_load';
COMMIT;
SELECT verbose_plan($$SELECT e, t.k FROM t, es_load(t.name, t.k) AS e WHERE e.version > 1$$);

-- NEWCOMER 2.3: the plan says which indexes are read, and how much is read in vain
CREATE FUNCTION said(query text, options text DEFAULT 'ANALYZE, TIMING OFF') RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	result json;
BEGIN
	EXECUTE format('EXPLAIN (%s, COSTS OFF, FORMAT json) %s', options, query) INTO result;
	RETURN (SELECT jsonb_agg(said) FROM (SELECT jsonb_object_agg(key, value) AS said
		FROM jsonb_path_query(result::jsonb, 'strict $.** ? (@."Node Type" == "Custom Scan")') WITH ORDINALITY AS node(node, nth), jsonb_each(node)
		WHERE key IN ('Index', 'Call', 'Rows Removed by Call', 'Filter', 'Rows Removed by Filter') GROUP BY nth ORDER BY nth) AS s);
END $$;
CREATE INDEX by_type ON es.events (type, position);
-- what it may read by, as far as constants say it
SELECT call, said('SELECT * FROM ' || call, 'VERBOSE OFF') #>> '{0,Index}' AS index FROM unnest(ARRAY[
	$$es_load('a-1')$$, $$es_rehydrate('a-1')$$, $$es_read()$$, $$es_read(categories => '{a}')$$, $$es_read(types => '{T1}')$$,
	$$es_read(categories => '{a}', types => '{T1}')$$, $$es_read(stream_prefix => 'a', types => '{T1}')$$, $$es_read(stream_prefix => 'a-', types => '{T1}')$$,
	$$es_read(types => '{T1}', tenant => '*')$$, $$es_read(types => (SELECT '{T1}'::text[]))$$,
	$$es_read(categories => (SELECT array_agg(n::text) FROM generate_series(1, 65) AS n))$$]) AS call;
SELECT said(format('SELECT * FROM es_read(categories => %L)', (SELECT array_agg(n::text) FROM generate_series(1, 65) AS n)), 'VERBOSE OFF') #>> '{0,Index}' AS index;
SELECT said($$SELECT * FROM t, es_read(tenant => 'no' || k) AS e$$, 'VERBOSE OFF');
-- and what it has read by
SELECT jsonb_pretty(said($$SELECT * FROM es_load('a-1', max_count => 5) WHERE version > 2$$));
SELECT jsonb_pretty(said($$SELECT * FROM es_rehydrate('a-1', tenant => 'none')$$));
SELECT jsonb_pretty(said($$SELECT * FROM es_read(max_count => NULL, categories => '{many}', types => '{T1}') WHERE version > 2$$));
SELECT jsonb_pretty(said($$SELECT * FROM es_read(categories => '{a}', types => '{M}') LIMIT 1$$));
SELECT jsonb_pretty(said($$SELECT * FROM es_read(types => '{M,T1}', since => 'infinity')$$));
SELECT jsonb_pretty(said($$SELECT * FROM t, es_read(types => ARRAY['T' || t.k % 3], until => '-infinity') AS e$$));
SELECT jsonb_pretty(said($$SELECT * FROM t LEFT JOIN es_load('a-1') AS e ON t.k < 0$$));
SELECT said($$SELECT * FROM es_load('a-1') LIMIT 0$$);
-- an argument is shown as the function's owner has named it, and left out where it is the default
ALTER FUNCTION es_load RENAME TO "load it";
SELECT said($$SELECT * FROM "load it"('a-1', 2, backwards => true)$$) #>> '{0,Call}' AS call;
ALTER FUNCTION "load it" RENAME TO es_load;
-- the other formats
CREATE FUNCTION formatted(format text, query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	EXECUTE format('EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, FORMAT %s) %s', format, query) INTO result;
	RETURN substring(result FROM '[^\n]*Index.*Removed by Call[^\n]*|[^\n]*Rows-Removed-by-Call[^\n]*');
END $$;
SELECT formatted(f, $$SELECT * FROM es_read(categories => '{a}', types => '{M}')$$) FROM unnest('{yaml,xml}'::text[]) AS f;
-- What policies hide is counted, as PostgreSQL counts it; the names of indexes are in the catalog.
CREATE POLICY hides ON es.events FOR SELECT TO es_test_node_reader USING (type <> 'T1');
ALTER TABLE es.events ENABLE ROW LEVEL SECURITY;
GRANT EXECUTE ON FUNCTION es_load, said TO es_test_node_reader;
GRANT USAGE ON SCHEMA es TO es_test_node_reader;
SET ROLE es_test_node_reader;
SELECT jsonb_pretty(said($$SELECT * FROM es_load('a-1', 1, 6)$$));
SELECT jsonb_pretty(said($$SELECT * FROM es_read(categories => '{a}', types => '{T0,T1}')$$));
RESET ROLE;
-- Where the role changes between two rows, what is hidden stays as it was for the first, whichever index is read by then.
SELECT last_version FROM es_append_batch('a-9', 0, '{T1,T2}', '{1,2}');
SELECT es_publish() = es_head();
SET ROLE es_test_node_reader;
SELECT said($$SELECT FROM es_read(max_count => NULL, categories => '{a,many}', types => '{T1,T2}')$$) #> '{0,Index}' AS index;
BEGIN;
DECLARE c CURSOR FOR SELECT stream, type FROM es_read(max_count => NULL, categories => '{a,many}', types => '{T1,T2}');
FETCH 1 FROM c;
RESET ROLE;
FETCH ALL FROM c;
ROLLBACK;
-- EXPLAIN alone needs no store
\c
BEGIN;
SET LOCAL pg_eventstore.allow_maintenance = on;
ALTER SCHEMA es RENAME TO elsewhere;
EXPLAIN (COSTS OFF) SELECT * FROM es_read();
ROLLBACK;

\c :home
DROP DATABASE es_test_read_node;
DROP ROLE es_test_node_reader;
