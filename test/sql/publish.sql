-- Publishing: es_publish, es_wait and what they move; nothing is seen behind a
-- position that may still come (P1), nobody else's transaction matters (P4), a
-- cursor that this log cannot have given is refused (P6).  No worker runs here.
\set SHOW_CONTEXT never
\set home :DBNAME
CREATE DATABASE es_test_publish;
\c es_test_publish
CREATE EXTENSION pg_eventstore;
SELECT es_publish();
\echo :SQLSTATE
SELECT es_wait(1);
\echo :SQLSTATE
SELECT es_init();

-- An empty store: nothing to publish, no tick.
SELECT es_horizon(), es_publish(), es_wait(0);
SELECT count(*) FROM es.ticks;

-- P1: what is committed is the head; what is published ends at the horizon.
SELECT count(es_append('order-' || n % 2, -1, 'T', to_jsonb(n))) FROM generate_series(1, 6) AS n;
SELECT es_head(), es_horizon(), (SELECT count(*) FROM es_read()) AS read, (SELECT count(*) FROM es.log) AS log, (SELECT count(*) FROM es.events) AS events;
SELECT es_publish();
SELECT es_head(), es_horizon(), (SELECT count(*) FROM es_read()) AS read, (SELECT count(*) FROM es.log) AS log, (SELECT count(*) FROM es.events) AS events;
SELECT position, last_position, holders FROM es.ticks;
-- Nothing new is no new tick.
SELECT es_publish(), es_publish();
SELECT count(*) FROM es.ticks;

-- All that reads the log is bounded alike: forwards, backwards, with filters, es.log.
SELECT count(es_append('order-' || n % 2, -1, 'T', to_jsonb(n))) FROM generate_series(7, 9) AS n;
SELECT array_agg(position) FROM es_read();
SELECT array_agg(position) FROM es_read(backwards => true, max_count => 2);
SELECT array_agg(position) FROM es_read(4, before => 9);
SELECT array_agg(position) FROM es_read(4, before => 9, backwards => true);
SELECT array_agg(position) FROM es_read(before => 9223372036854775807, backwards => true);
SELECT array_agg(position) FROM es_read(before => 6);
SELECT array_agg(position) FROM es_read(6), es_horizon();
SELECT array_agg(position) FROM es_read(9);
SELECT array_agg(position) FROM es_read(categories => '{order}', types => '{T}', backwards => true);
SELECT array_agg(position) FROM es_read(stream_prefix => 'order-1');
SELECT array_agg(position ORDER BY position) FROM es.log;
SELECT position, data FROM es.log WHERE stream = 'order-1' ORDER BY position DESC;
SELECT position, data FROM es.log WHERE position > 6;
-- A stream is not: who loads it sees all that is committed.
SELECT count(*) FROM es_load('order-1');
-- Parallel workers see the same horizon.
SELECT count(set_config(name, 'on', false)) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query');
SELECT es_horizon(), (SELECT count(*) FROM es.log) AS log, (SELECT count(*) FROM es_read()) AS read;
SELECT count(set_config(name, 'off', false)) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query');

-- P1: a transaction does not see its own tick, whose events its snapshot may not see.
BEGIN;
SELECT es_publish();
SELECT es_horizon(), (SELECT count(*) FROM es_read()) AS read, (SELECT count(*) FROM es.log) AS log;
COMMIT;
SELECT es_horizon(), (SELECT count(*) FROM es_read()) AS read, (SELECT count(*) FROM es.log) AS log;
SELECT es_append('order-1', -1, 'T', '10');
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT es_publish();
SELECT es_horizon();
COMMIT;
SELECT es_append('order-1', -1, 'T', '11');
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT es_horizon();
SELECT es_publish();
SELECT es_horizon();
COMMIT;
SELECT es_horizon();
-- What is rolled back is not published, and published later.
SELECT es_append('order-1', -1, 'T', '12');
BEGIN;
SELECT es_publish();
ROLLBACK;
SELECT es_horizon();
BEGIN;
SAVEPOINT s;
SELECT es_publish();
ROLLBACK TO s;
SELECT es_horizon();
COMMIT;
SELECT es_horizon();
SELECT es_publish();

-- A tick comes before all that its transaction writes: 25001 after it.
BEGIN;
SELECT es_append('order-1', -1, 'T', '13');
SELECT es_publish();
\echo :SQLSTATE
ROLLBACK;
BEGIN;
CREATE TEMP TABLE written (i int);
SELECT es_publish();
\echo :SQLSTATE
ROLLBACK;
BEGIN;
SAVEPOINT s;
SELECT es_append('order-1', -1, 'T', '14');
ROLLBACK TO s;
SELECT es_publish();
\echo :SQLSTATE
ROLLBACK;
SELECT es_append('order-1', -1, 'T', '15');
BEGIN;
SELECT es_publish();
SELECT es_publish();
\echo :SQLSTATE
ROLLBACK;
-- The other way round it may: what it appends after its tick comes later.
BEGIN;
SELECT es_publish();
SELECT es_append('order-1', -1, 'T', '16');
COMMIT;
SELECT es_head() - es_horizon() AS ahead;
SELECT es_publish();
-- O3: reading never writes, and a READ ONLY transaction does not publish (25006).
BEGIN READ ONLY;
SELECT es_horizon(), es_wait(1), (SELECT count(*) FROM es_read()) AS read;
SELECT es_publish();
\echo :SQLSTATE
ROLLBACK;
-- Who commits a prepared transaction could do so without waiting for the disk (P2).
SELECT es_append('order-1', -1, 'T', '17');
BEGIN;
SELECT es_publish();
PREPARE TRANSACTION 'es_test_publish';
\echo :SQLSTATE
SELECT es_horizon();
BEGIN;
SAVEPOINT s;
SELECT es_publish();
RELEASE s;
PREPARE TRANSACTION 'es_test_publish';
\echo :SQLSTATE
-- P2: a tick commits synchronously whatever the session says, and the setting stays.
SET synchronous_commit = off;
SELECT es_publish();
SHOW synchronous_commit;
RESET synchronous_commit;

-- P1: a rolled back append leaves a hole; it will never exist, so the horizon passes it.
SELECT es_horizon() AS before, es_head() AS head \gset
BEGIN;
SELECT count(es_append('gone-1', -1, 'T', '0')) FROM generate_series(1, 3);
ROLLBACK;
SELECT es_publish() - :before AS moved, es_head() - :head AS head;
SELECT es_append('order-1', -1, 'T', '18');
SELECT es_publish() - es_head() AS behind, es_horizon() - es_head() AS before_that;
-- A savepoint's is only gone when its transaction has ended.
BEGIN;
SAVEPOINT s;
SELECT es_append('gone-1', -1, 'T', '0');
ROLLBACK TO s;
SELECT es_append('order-1', -1, 'T', '19');
COMMIT;
SELECT es_publish() - es_head() AS behind;

-- P1: who has appended and not ended holds the horizon, and nobody else does (P4).
SELECT es_horizon() AS before \gset
BEGIN;
SELECT es_append('held-1', 0, 'T', '1');
PREPARE TRANSACTION 'es_test_publish';
SELECT es_append('free-1', 0, 'T', '2');
SELECT es_publish() - :before AS moved, es_head() - :before AS head;
SELECT stream FROM es_read(:before);
SELECT stream FROM es.log WHERE position > :before;
-- es_wait waits no longer than it is told, and answers how far it is.
SELECT es_wait(:before + 2, '0') - :before AS moved, es_wait(:before + 2, '1 millisecond') - :before AS moved;
-- One that began to append later has a higher floor, and holds what is behind it.
BEGIN;
SELECT es_append('held-2', 0, 'T', '3');
PREPARE TRANSACTION 'es_test_publish_2';
SELECT es_publish() - :before AS moved;
COMMIT PREPARED 'es_test_publish';
SELECT es_publish() - :before AS moved;
SELECT stream FROM es_read(:before);
SELECT es_append('free-2', 0, 'T', '4');
ROLLBACK PREPARED 'es_test_publish_2';
SELECT es_publish() - :before AS moved;
SELECT stream FROM es_read(:before);
SELECT es_publish() - es_head() AS behind;
-- A transaction that reads, takes locks, writes elsewhere or reads the sequence holds nothing.
CREATE TABLE elsewhere (i int);
SELECT es_horizon() AS before \gset
BEGIN;
INSERT INTO elsewhere VALUES (1);
LOCK TABLE es.events IN ROW EXCLUSIVE MODE;
SELECT count(*) > 0 AS locks FROM (SELECT FROM es.events FOR SHARE) AS e;
SELECT es_head() > 0 AS reads, nextval('es.events_position_seq') > 0 AS takes;
SELECT es_snapshot('order-1', 1, '{}');
PREPARE TRANSACTION 'es_test_publish';
SELECT es_append('free-1', 1, 'T', '5');
SELECT es_publish() - es_head() AS behind;
SELECT stream FROM es_read(:before);
ROLLBACK PREPARED 'es_test_publish';

-- es_wait: what cannot come, or not be seen, is an error at once.
BEGIN;
SELECT es_append('order-1', -1, 'T', '20');
SELECT es_wait(es_head());
\echo :SQLSTATE
ROLLBACK;
BEGIN;
SELECT es_append('order-1', -1, 'T', '21');
SELECT es_wait(es_horizon()) = es_horizon() AS published_before;
ROLLBACK;
SELECT es_append('order-1', -1, 'T', '22');
SELECT es_horizon() AS before, es_head() AS head \gset
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT es_wait(:before) = :before AS published;
SELECT es_wait(:head, '0');
\echo :SQLSTATE
ROLLBACK;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT es_wait(:head);
\echo :SQLSTATE
ROLLBACK;
SELECT es_wait(:head, '0') = :before AS in_time;
SELECT es_publish() = :head AS published;
SELECT es_wait(:head) = :head AS waited, es_wait(target => :head, timeout => '1 hour') = :head AS at_once;
-- Who reads on may wait for the next position.
SELECT es_wait(:head + 1, '0') = :head AS horizon;
-- Bad arguments.
SELECT es_wait(NULL);
\echo :SQLSTATE
SELECT es_wait(1, NULL);
\echo :SQLSTATE
SELECT es_wait(-1);
\echo :SQLSTATE
SELECT es_wait(:head + 1, '-1 second');
\echo :SQLSTATE
-- Cancelled as any statement is.
SET statement_timeout = '20ms';
SELECT es_wait(:head + 1, '1 hour');
\echo :SQLSTATE
RESET statement_timeout;

-- P6: a cursor ahead of the log is of another store; the facts stand in the DETAIL.
SELECT es_wait(:head + 2) IS NULL;
\echo :SQLSTATE
SELECT * FROM es_read(:head + 1);
\echo :SQLSTATE
CREATE FUNCTION detail_of(statement text) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	detail text;
BEGIN
	EXECUTE statement;
	RETURN NULL;
EXCEPTION WHEN SQLSTATE 'SE005' THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
	RETURN detail;
END $$;
SELECT detail_of('SELECT * FROM es_read(1000)') = jsonb_build_object('cursor', 1000, 'last', :head) AS facts;
-- A position that was given and not stored is no lost tail, nor one above the horizon.
BEGIN;
SELECT es_append('gone-1', -1, 'T', '0');
ROLLBACK;
SELECT count(*) FROM es_read(:head + 1);
SELECT es_wait(:head + 1, '0') = :head AS horizon;

-- Ticks, epochs and the row of the store (F9) are the store's own (SE003), as replica too; maintenance adds,
-- and changes none.
CREATE FUNCTION state_of(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE statement;
	RETURN '00000';
EXCEPTION WHEN OTHERS THEN
	RETURN sqlstate;
END $$;
CREATE FUNCTION refused(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE statement;
	RETURN 'done';
EXCEPTION WHEN OTHERS THEN
	RETURN sqlstate || ': ' || sqlerrm;
END $$;
CREATE VIEW attempts AS SELECT refused(format(s, t, c)) AS outcome
FROM unnest('{ticks,epochs,store}'::text[], '{last_position,last_position,salt}'::text[]) WITH ORDINALITY AS t (t, c, o), unnest('{
	INSERT INTO es.%1$s SELECT * FROM es.%1$s,
	INSERT INTO es.%1$s SELECT * FROM es.%1$s WHERE false,
	UPDATE es.%1$s SET %2$s = 0,
	UPDATE es.%1$s SET %2$s = 0 WHERE false,
	DELETE FROM es.%1$s,
	TRUNCATE es.%1$s,
	MERGE INTO es.%1$s USING (SELECT 1) AS one ON true WHEN MATCHED THEN DELETE,
	COPY es.%1$s FROM ''/dev/null''}'::text[]) WITH ORDINALITY AS s (s, p) ORDER BY o, p;
SELECT * FROM attempts;
SET session_replication_role = replica;
SELECT DISTINCT split_part(outcome, ':', 1) AS outcome FROM attempts;
RESET session_replication_role;
SET pg_eventstore.allow_maintenance = on;
BEGIN;
SELECT outcome, count(*) FROM attempts GROUP BY outcome ORDER BY outcome COLLATE "C";
ROLLBACK;
RESET pg_eventstore.allow_maintenance;
SELECT es_horizon() = :head AS horizon;

-- A tick is written into every index. One that could run code, or make publishers wait for each
-- other, is refused (O6).
CREATE INDEX plain ON es.ticks (recorded_at) INCLUDE (holders);
ALTER TABLE es.ticks ADD COLUMN extra text;
ALTER TABLE es.ticks DROP COLUMN extra;
SELECT es_append('plain-1', 0, 'X', '{}') AS version;
SELECT es_publish() = es_head() AS published;
DROP INDEX es.plain;
CREATE UNIQUE INDEX mine ON es.ticks (position, recorded_at, notified);
SELECT es_publish();
\echo :SQLSTATE
SELECT es_append('order-1', -1, 'T', '23');
\echo :SQLSTATE
DROP INDEX es.mine;
SELECT es_append('order-1', -1, 'T', '23') > 0 AS appended;

-- The sequence set back below the horizon is an error state, and no tick (P1); es_init mends it.
SELECT es_publish() = es_head() AS published;
SELECT es_horizon() AS before \gset
SELECT setval('es.events_position_seq', 1, false);
SELECT es_publish();
\echo :SQLSTATE
SELECT es_horizon() = :before AS horizon;
SELECT es_init() LIKE 'repaired%' AS repaired;
SELECT es_publish() = :before AS horizon;
-- So it is where it is behind the horizon, and not behind the last event.
BEGIN;
SELECT count(es_append('gone-1', -1, 'T', '0')) FROM generate_series(1, 5);
ROLLBACK;
SELECT es_publish() - :before AS moved;
SELECT setval('es.events_position_seq', :before) = :before AS set_back;
SELECT es_publish();
\echo :SQLSTATE
SELECT es_init() LIKE 'repaired%' AS repaired;
SELECT es_append('order-1', -1, 'T', '24') > 0 AS appended;
SELECT es_head() - :before AS ahead;
SELECT es_publish() = es_head() AS published;

-- P6: an epoch.  As after a promotion, the newest one is of another timeline.
SELECT es_horizon() AS last \gset
SELECT epoch, first_position, database = (SELECT oid FROM pg_database WHERE datname = current_database()) AS here FROM es.epochs;
-- (Sessions keep what they found: reconnect.)
SET pg_eventstore.allow_maintenance = on;
INSERT INTO es.epochs SELECT epoch + 1, :last, :last + 1, timeline + 1, system_identifier, database, relation, opened_at FROM es.epochs;
\c
-- Reading opens none; the first append or tick does, and moves the sequence far up.
SELECT count(*) > 0 AS reads FROM es_read();
SELECT count(*) FROM es.epochs;
SELECT es_append('order-1', -1, 'After', '1') > 0 AS appended;
SELECT epoch, last_position - :last AS last, first_position - :last - 1 >= 1::bigint << 32 AS far FROM es.epochs ORDER BY epoch;
SELECT es_head() = (SELECT max(first_position) FROM es.epochs) AS first, es_horizon() = :last AS horizon;
SELECT es_publish() = es_head() AS published;
SELECT type FROM es_read(:last);
-- Who has seen what is lost hears so, also after the log has grown past it; who has not reads on.
SELECT detail_of(format('SELECT * FROM es_read(%s)', :last + 1))
	= jsonb_build_object('cursor', :last + 1, 'last', :last, 'first', es_head(), 'epoch', 3) AS facts;
SELECT detail_of(format('SELECT es_wait(%s)', es_head() - 2)) ->> 'cursor' = (es_head() - 2)::text AS facts;
SELECT count(es_append('order-1', -1, 'After', to_jsonb(n))) FROM generate_series(2, 4) AS n;
SELECT es_publish() = es_head() AS published;
\set VERBOSITY terse
\set next :last + 1
SELECT * FROM es_read(:next);
\echo :SQLSTATE
\set VERBOSITY default
SELECT data FROM es_read(:last);
SELECT data FROM es_read(es_position('order-1') - 4);
SELECT count(*) FROM es_read(0, NULL) WHERE position > :last;

-- A store of version 1 knew no horizon: es_init() migrates it, es_publish() publishes it.
DROP TABLE es.ticks, es.epochs, es.channels, es.bindings, es.store;
CREATE TABLE es.store (version int NOT NULL, created_at timestamptz NOT NULL);
INSERT INTO es.store VALUES (1, now());
DROP VIEW es.log, es_private.appending;
\c
SELECT * FROM es_read();
\echo :SQLSTATE
SELECT es_publish();
\echo :SQLSTATE
SELECT es_init();
SELECT es_init();
SELECT es_horizon(), (SELECT count(*) FROM es_read()) AS read;
SELECT epoch FROM es.epochs;
DELETE FROM es.ticks;
\echo :SQLSTATE
SELECT es_publish() = es_head() AS published;
SELECT (SELECT count(*) FROM es_read(0, NULL)) = (SELECT count(*) FROM es.events) AS read, (SELECT count(*) FROM es.log) = (SELECT count(*) FROM es.events) AS log;
SELECT es_append('order-1', -1, 'T', '25') > 0 AS appended;

-- es_reset() empties ticks and epochs too: the log begins anew.
ALTER DATABASE es_test_publish SET pg_eventstore.allow_reset = on;
SELECT es_reset() LIKE 'emptied%' AS emptied;
SELECT (SELECT count(*) FROM es.ticks) AS ticks, (SELECT count(*) FROM es.epochs) AS epochs, es_head(), es_horizon();
SELECT * FROM es_read(1);
\echo :SQLSTATE
SELECT es_append('order-1', 0, 'T', '1');
SELECT es_head(), es_horizon(), (SELECT count(*) FROM es.epochs) AS epochs;
SELECT es_publish();
SELECT position, stream FROM es_read();

-- F9: setval() far ahead does not use the positions up; nothing is ever taken from there.
CREATE VIEW ahead AS SELECT pg_catalog.setval('es.events_position_seq', p) AS at,
	public.refused('SELECT public.es_append(''order-1'', -1, ''T'', ''2'')') AS append,
	public.refused('SELECT public.es_append_batch(''order-1'', -1, array_fill(''T''::text, ''{20}''), array_fill(''2''::jsonb, ''{20}''))') AS batch
FROM (VALUES (9223372036854775800), (1::bigint << 52), ((1::bigint << 43) + 1)) AS v (p);
SELECT * FROM ahead;
SELECT es_append('order-1', -1, 'T', '2');
\echo :SQLSTATE
SELECT es_publish();
\echo :SQLSTATE
\c
SELECT es_publish();
\echo :SQLSTATE
-- At its very end it is nextval() that refuses.
SELECT setval('es.events_position_seq', 9223372036854775807) > 0 AS ahead;
SELECT es_append('order-1', -1, 'T', '2');
\echo :SQLSTATE
SELECT es_publish();
\echo :SQLSTATE
SELECT count(*) FROM es.events;
-- es_init() takes it back, and keeps a hole: a cursor of another branch may be in it.
SET client_min_messages = warning;
SELECT es_init() LIKE 'repaired%' AS repaired;
RESET client_min_messages;
SELECT es_init() LIKE '%nothing to do' AS that_was_all;
SELECT epoch, last_position, first_position - (1::bigint << 43) BETWEEN 1::bigint << 32 AND 1::bigint << 43 AS first FROM es.epochs ORDER BY epoch;
SELECT es_append('order-1', -1, 'T', '2') AS version;
SELECT es_publish() = es_head() AS published;
SELECT es_head() = max(first_position) AS first FROM es.epochs;
SELECT count(*) FROM es_read(1);
SELECT state_of('SELECT * FROM es_read(1000)');
-- That is rolled back with nothing, as setval() is not; who knew the limit before goes on.
SELECT setval('es.events_position_seq', 1::bigint << 52) > 0 AS ahead;
BEGIN;
SET LOCAL client_min_messages = warning;
SELECT es_init() LIKE 'repaired%' AS repaired;
ROLLBACK;
SELECT es_init() LIKE '%nothing to do' AS that_was_all;
SELECT es_append('order-1', -1, 'T', '3') AS version;
SELECT es_publish() = es_head() AS published;
-- How far is far: 2^43 above what is known, not one position less.
SELECT setval('es.events_position_seq', es_head() + (1::bigint << 43)) > 0 AS near;
SELECT state_of($$SELECT es_append('order-1', -1, 'T', '4')$$);
SELECT setval('es.events_position_seq', es_head() + (1::bigint << 43) - 1) > 0 AS near;
SELECT es_append('order-1', -1, 'T', '4') AS version;
SELECT es_publish() = es_head() AS published, es_init() LIKE '%nothing to do' AS nothing_to_do;
SELECT es_append('order-1', -1, 'T', '5') AS version;
-- What is loaded, however high, is known.
SET pg_eventstore.allow_maintenance = on;
INSERT INTO es.events SELECT 1::bigint << 60, 1, recorded_at, gen_random_uuid(), '', 'loaded-1', 'loaded', 'T', '{}' FROM es.events LIMIT 1;
RESET pg_eventstore.allow_maintenance;
SELECT es_init() = 'repaired the event store, version 3: the log ends at position ' || (1::bigint << 60) AS repaired;
SELECT es_append('order-1', -1, 'T', '6') AS version;
SELECT es_publish() = (1::bigint << 60) + 1 AS published;
\c
SELECT es_publish() = (1::bigint << 60) + 1 AS published;
SELECT es_append('order-1', -1, 'T', '7') AS version;
SELECT es_reset() LIKE 'emptied%' AS emptied;
SELECT es_append('order-1', 0, 'T', '1') AS version;
SELECT es_publish();

-- O2: DROP EXTENSION takes the view and the guards, and leaves what was published.
DROP EXTENSION pg_eventstore CASCADE;
SELECT to_regclass('es.log') AS log, (SELECT position FROM es.ticks) AS horizon, (SELECT epoch FROM es.epochs) AS epoch;
CREATE EXTENSION pg_eventstore;
SELECT es_publish();
\echo :SQLSTATE
SELECT es_init();
SELECT es_horizon(), (SELECT count(*) FROM es.log) AS log, refused('TRUNCATE es.ticks') AS ticks, refused('DELETE FROM es.epochs') AS epochs;
SELECT es_publish(), es_append('order-1', 1, 'T', '2');
SELECT es_publish();

\c :home
DROP DATABASE es_test_publish;
