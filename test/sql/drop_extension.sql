-- O2: DROP EXTENSION never removes an event; what is made again adopts the store.
\set SHOW_CONTEXT never
\set home :DBNAME
CREATE DATABASE es_test_drop;
\c es_test_drop
CREATE EXTENSION pg_eventstore;
SELECT es_init();
SELECT es_append('order-1', 0, 'Placed', '{"n": 1}', NULL, '01902bd4-0000-7000-8000-000000000001');
SELECT es_append('order-1', 1, 'Paid', '{"n": 2}');
SELECT es_snapshot('order-1', 2, '{"n": 3}');
SELECT es_publish();
SELECT es_head() AS head \gset

-- Without CASCADE it is refused: the guards stand.
DROP EXTENSION pg_eventstore;
\echo :SQLSTATE
-- CASCADE takes the guards and the view es.log, and leaves the rows.
DROP EXTENSION pg_eventstore CASCADE;
SELECT count(*) FROM es.events;
SELECT count(*) FROM es.snapshots;
SELECT max(position) = :head AS published FROM es.ticks;
SELECT count(*) FROM es.epochs;
SELECT count(*) FROM pg_trigger WHERE tgrelid IN ('es.events'::regclass, 'es.ticks'::regclass, 'es.epochs'::regclass, 'es.store'::regclass) AND NOT tgisinternal;
-- Made again: not ready before es_init, which adopts.
CREATE EXTENSION pg_eventstore;
SELECT es_head();
\echo :SQLSTATE
SELECT es_init();
SELECT es_init();
-- What was published is, and nothing more.
SELECT es_horizon() = :head AS horizon, (SELECT count(*) FROM es_read()) AS read, (SELECT count(*) FROM es.log) AS log;
-- The guards refuse, a retry with an old id is recognised, the next position is higher.
DELETE FROM es.events;
\echo :SQLSTATE
SELECT es_append('order-1', 0, 'Placed', '{"n": 1}', NULL, '01902bd4-0000-7000-8000-000000000001');
SELECT es_append('order-1', 2, 'Shipped', '{"n": 3}');
SELECT es_position('order-1') > :head AS higher;
SELECT version, type, data FROM es_load('order-1');
SELECT kind, version, data FROM es_rehydrate('order-1');

-- In another schema.
DROP EXTENSION pg_eventstore CASCADE;
CREATE SCHEMA tools;
CREATE EXTENSION pg_eventstore SCHEMA tools;
SELECT tools.es_init();
SELECT tools.es_append('order-1', 3, 'Delivered', '{}');
UPDATE es.events SET data = '1';
\echo :SQLSTATE
ALTER EXTENSION pg_eventstore SET SCHEMA public;
SELECT es_append('order-1', 4, 'Returned', '{}');
SELECT es_init();
-- A store with a sequence that a restore left behind.
DROP EXTENSION pg_eventstore CASCADE;
SELECT setval('es.events_position_seq', 1, false);
CREATE EXTENSION pg_eventstore;
SELECT es_init();
SELECT es_append('order-1', 5, 'Refunded', '{}');
SELECT bool_and(position > before IS NOT FALSE) FROM (SELECT position, lag(position) OVER (ORDER BY version) AS before FROM es_load('order-1')) AS e;
-- In one transaction, and rolled back.
BEGIN;
DROP EXTENSION pg_eventstore CASCADE;
CREATE EXTENSION pg_eventstore;
SELECT es_init();
ROLLBACK;
SELECT es_append('order-1', 6, 'Closed', '{}');
SELECT es_init();

\c :home
DROP DATABASE es_test_drop;
