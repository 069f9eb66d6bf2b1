-- A2: an append belongs to the caller's transaction, savepoints and two-phase
-- commit included; isolation levels within one session (A3).
\set SHOW_CONTEXT never
\set home :DBNAME
CREATE DATABASE es_test_transactions;
\c es_test_transactions
CREATE EXTENSION pg_eventstore;
SELECT es_init();

BEGIN;
SELECT es_append('order-1', 0, 'Placed', '{}');
ROLLBACK;
SELECT es_stream_version('order-1'), es_head();
-- A rolled back position is a hole, not a number to be used again.
SELECT es_append('order-1', 0, 'Placed', '{}');
SELECT es_position('order-1') > 1 AS hole;

-- Savepoints: versions go on from what is left.
BEGIN;
SELECT es_append('order-1', 1, 'A', '{}');
SAVEPOINT a;
SELECT es_append('order-1', 2, 'B', '{}');
SAVEPOINT b;
SELECT es_append('order-1', 3, 'C', '{}');
ROLLBACK TO b;
SELECT es_append('order-1', 3, 'D', '{}');
RELEASE b;
ROLLBACK TO a;
SELECT es_append('order-1', 2, 'E', '{}');
SAVEPOINT c;
SELECT es_append('order-1', 1, 'F', '{}');
ROLLBACK TO c;
SELECT es_append('order-1', 3, 'G', '{}');
COMMIT;
SELECT version, type FROM es_load('order-1');
SELECT bool_and(position > before IS NOT FALSE) FROM (SELECT position, lag(position) OVER (ORDER BY version) AS before FROM es_load('order-1')) AS e;

-- An error aborts all of it.
BEGIN;
SELECT es_append('order-2', 0, 'A', '{}');
SELECT es_append('order-2', 0, 'B', '{}');
SELECT es_append('order-2', 1, 'C', '{}');
COMMIT;
SELECT es_stream_version('order-2');

-- EXCEPTION blocks: each is a savepoint.
CREATE FUNCTION append_if(stream text, expected bigint, type text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	RETURN es_append(stream, expected, type, '{}');
EXCEPTION WHEN SQLSTATE 'SE001' THEN
	RETURN 'conflict at ' || es_stream_version(stream);
END $$;
SELECT append_if('order-3', 0, 'A'), append_if('order-3', 0, 'B'), append_if('order-3', 1, 'C');
DO $$
BEGIN
	FOR i IN 1..300 LOOP
		BEGIN
			PERFORM es_append('loop-' || i % 100, -1, 'T', to_jsonb(i));
			IF i % 3 = 0 THEN
				RAISE EXCEPTION 'no';
			END IF;
		EXCEPTION WHEN raise_exception THEN
			NULL;
		END;
	END LOOP;
END $$;
SELECT es_publish() >= es_head() AS published;
SELECT count(*) FROM es_read(categories => '{loop}');
SELECT bool_and(version = n) FROM (SELECT version, row_number() OVER (PARTITION BY stream ORDER BY position) AS n FROM es.events) AS e;
-- A procedure that commits as it goes.
CREATE PROCEDURE fill(stream text, n int) LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1..n LOOP
		PERFORM es_append(stream, i - 1, 'T', to_jsonb(i));
		IF i % 2 = 0 THEN
			COMMIT;
		ELSE
			ROLLBACK;
			PERFORM es_append(stream, i - 1, 'T', to_jsonb(i));
		END IF;
	END LOOP;
END $$;
CALL fill('proc-1', 6);
SELECT version, data FROM es_load('proc-1');

-- More streams than one transaction may lock one by one: then all at once.
BEGIN;
SELECT count(es_append('wide-' || n, 0, 'T', '{}')) FROM generate_series(1, 500) AS n;
SAVEPOINT s;
SELECT count(es_append('wider-' || n, 0, 'T', '{}')) FROM generate_series(1, 500) AS n;
ROLLBACK TO s;
SELECT count(es_append('widest-' || n, 0, 'T', '{}')) FROM generate_series(1, 500) AS n;
SELECT count(*) <= current_setting('max_locks_per_transaction')::int AS bounded
FROM pg_locks WHERE locktype = 'advisory' AND objsubid = -6911 AND pid = pg_backend_pid();
COMMIT;
SELECT category, count(*) FROM es.events WHERE category LIKE 'wide%' GROUP BY category ORDER BY category;
SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory';
-- Users' advisory locks never meet the store's.
BEGIN;
SELECT es_append('lock-1', 0, 'T', '{}');
SELECT classid IS NULL OR objsubid NOT IN (1, 2) AS apart FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory';
SELECT pg_advisory_unlock_all();
SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory';
COMMIT;

-- Isolation levels.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT es_stream_version('iso-1');
SELECT es_append('iso-1', 0, 'A', '{}');
SELECT es_append('iso-1', 1, 'B', '{}');
SELECT es_append('iso-1', -1, 'C', '{}'), es_append('iso-1', -1, 'D', '{}');
SAVEPOINT s;
SELECT es_append('iso-1', -1, 'E', '{}');
ROLLBACK TO s;
SELECT es_append('iso-1', 4, 'F', '{}');
SELECT array_agg(type) FROM es_load('iso-1');
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT es_append('iso-1', 5, 'G', '{}');
SELECT last_version FROM es_append_batch('iso-1', 6, '{H,I}', ARRAY['1', '2']::jsonb[]);
SELECT count(*) FROM es_load('iso-1');
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE;
SELECT count(*) FROM es_load('iso-1');
SELECT es_append('iso-1', -1, 'J', '{}');
\echo :SQLSTATE
COMMIT;
SELECT array_agg(type) FROM es_load('iso-1');

-- Two-phase commit.
BEGIN;
SELECT es_append('two-1', 0, 'A', '{}', NULL, '01902bd4-0000-7000-8000-000000000001');
SELECT es_snapshot('two-1', 1, '{}');
PREPARE TRANSACTION 'es_test_transactions_1';
SELECT es_stream_version('two-1');
-- The stream is locked as long.
SET lock_timeout = '200ms';
SELECT es_append('two-1', -1, 'B', '{}');
\echo :SQLSTATE
SELECT es_append('two-2', -1, 'B', '{}');
RESET lock_timeout;
COMMIT PREPARED 'es_test_transactions_1';
SELECT es_append('two-1', 0, 'A', '{}', NULL, '01902bd4-0000-7000-8000-000000000001');
SELECT es_append('two-1', 1, 'B', '{}');
BEGIN;
SELECT es_append('two-1', 2, 'C', '{}');
PREPARE TRANSACTION 'es_test_transactions_2';
ROLLBACK PREPARED 'es_test_transactions_2';
SELECT es_append('two-1', 2, 'D', '{}');
SELECT version, type FROM es_load('two-1');

-- A statement that is cancelled leaves nothing behind.
BEGIN;
SELECT es_append('cancel-2', 0, 'T', '{}');
SET LOCAL statement_timeout = '50ms';
DO $$
BEGIN
	FOR i IN 1..1000000 LOOP
		PERFORM es_append('cancel-1', -1, 'T', '{}');
	END LOOP;
END $$;
\echo :SQLSTATE
ROLLBACK;
SELECT es_stream_version('cancel-1'), es_stream_version('cancel-2');
SELECT es_append('cancel-1', 0, 'T', '{}');

-- Nested calls from SQL functions, with open cursors and prepared plans.
CREATE FUNCTION transfer(source text, target text, amount int) RETURNS bigint LANGUAGE sql AS $$
	SELECT es_append(source, -1, 'Withdrawn', to_jsonb(amount));
	SELECT es_append(target, -1, 'Deposited', to_jsonb(amount));
$$;
SELECT transfer('acc-1', 'acc-2', n) FROM generate_series(1, 3) AS n;
BEGIN;
DECLARE c CURSOR FOR SELECT transfer('acc-2', 'acc-1', data::int) FROM es_load('acc-1');
FETCH 2 FROM c;
SELECT es_stream_version('acc-1'), es_stream_version('acc-2');
FETCH ALL FROM c;
COMMIT;
SELECT es_stream_version('acc-1'), es_stream_version('acc-2');
SET plan_cache_mode = force_generic_plan;
PREPARE t AS SELECT transfer($1, $2, $3);
EXECUTE t ('acc-1', 'acc-2', 1);
EXECUTE t ('acc-1', 'acc-2', 2);
-- An index made and dropped between two calls of one transaction.
BEGIN;
SELECT es_append('ddl-1', 0, 'T', '{}');
CREATE INDEX mine ON es.events (type, position);
SELECT es_append('ddl-1', 1, 'T', '{}');
SELECT count(*) FROM es_load('ddl-1');
DROP INDEX es.mine;
SELECT es_append('ddl-1', 2, 'T', '{}');
SAVEPOINT s;
DROP TRIGGER es_guard_row ON es.events;
SELECT es_append('ddl-1', 3, 'T', '{}');
\echo :SQLSTATE
ROLLBACK TO s;
SELECT es_append('ddl-1', 3, 'T', '{}');
COMMIT;
-- Locked rows are not changed rows.
BEGIN;
SELECT count(*) FROM (SELECT 1 FROM es.events WHERE stream = 'ddl-1' FOR UPDATE) AS e;
SELECT es_append('ddl-1', 4, 'T', '{}');
COMMIT;
VACUUM (FREEZE) es.events;
SELECT es_append('ddl-1', 5, 'T', '{}');
SELECT array_agg(version) FROM es_load('ddl-1');

\c :home
DROP DATABASE es_test_transactions;
