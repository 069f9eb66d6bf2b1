-- Snapshots: the newest stands; es_rehydrate is snapshot and tail in one answer.
\set SHOW_CONTEXT never
\set home :DBNAME
CREATE DATABASE es_test_snapshot;
\c es_test_snapshot
CREATE EXTENSION pg_eventstore;
SELECT es_init();
SELECT count(es_append('account-1', n, 'Deposited', to_jsonb(10))) FROM generate_series(0, 9) AS n;

-- Without a snapshot: all events.
SELECT * FROM es_load_snapshot('account-1');
SELECT kind, version, type, data, metadata, payload FROM es_rehydrate('account-1') LIMIT 2;
SELECT kind, count(*) FROM es_rehydrate('account-1') GROUP BY kind;
SELECT * FROM es_rehydrate('nothing-1');

SELECT es_snapshot('account-1', 5, '{"balance": 50}');
SELECT version, state, payload, schema_version FROM es_load_snapshot('account-1');
SELECT kind, version, type, data, metadata, id IS NULL AS no_id, position IS NULL AS no_position, recorded_at IS NULL AS no_time, payload
FROM es_rehydrate('account-1');
-- The newest stands; an older one is refused as a value, the same version replaces.
SELECT es_snapshot('account-1', 3, '{"balance": 30}');
SELECT es_snapshot('account-1', 5, '{"balance": 50, "again": true}');
SELECT es_snapshot('account-1', 8, '{"balance": 80}');
SELECT version, state FROM es_load_snapshot('account-1');
SELECT count(*) FROM es.snapshots;
-- A version that the stream has not reached.
SELECT es_snapshot('account-1', 11, '{}');
\echo :SQLSTATE
SELECT es_snapshot('nothing-1', 1, '{}');
\echo :SQLSTATE
SELECT es_snapshot('account-1', 1, '{}', tenant => 'blue');
\echo :SQLSTATE
-- One for each schema_version.
SELECT es_snapshot('account-1', 2, '{"b": 20}', 2);
SELECT es_snapshot('account-1', 9, '{"b": 90}', schema_version => -7);
SELECT version, state, schema_version FROM es_load_snapshot('account-1', 1);
SELECT version, state, schema_version FROM es_load_snapshot('account-1', 2);
SELECT version, state, schema_version FROM es_load_snapshot('account-1', 3);
SELECT version, state, schema_version FROM es_load_snapshot('account-1');
SELECT kind, version FROM es_rehydrate('account-1');
SELECT kind, count(*), min(version) FROM es_rehydrate('account-1', 2) GROUP BY kind ORDER BY kind;
SELECT kind, count(*), min(version) FROM es_rehydrate('account-1', 3) GROUP BY kind ORDER BY kind;
-- At the stream's end there is no tail.
SELECT es_snapshot('account-1', 10, '{"balance": 100}');
SELECT kind, version, data FROM es_rehydrate('account-1', 1);
-- Of equal versions the highest schema_version is the newest.
SELECT es_snapshot('account-1', 10, '{"b": 100}', 2);
SELECT schema_version FROM es_load_snapshot('account-1');
-- Exact bytes.
SELECT es_snapshot('account-1', 10, NULL, 4, '\x00ff');
SELECT state, payload FROM es_load_snapshot('account-1', 4);
SELECT kind, data, payload FROM es_rehydrate('account-1', 4);
SELECT es_snapshot('account-1', 10, 'null', 5);
SELECT state, jsonb_typeof(state), payload FROM es_load_snapshot('account-1', 5);

-- Bad arguments.
SELECT es_snapshot(NULL, 1, '{}');
\echo :SQLSTATE
SELECT es_snapshot('account-1', NULL, '{}');
\echo :SQLSTATE
SELECT es_snapshot('account-1', 1, NULL);
\echo :SQLSTATE
SELECT es_snapshot('account-1', 1, '{}', NULL);
\echo :SQLSTATE
SELECT es_snapshot('account-1', 0, '{}');
\echo :SQLSTATE
SELECT es_snapshot('account-1', -1, '{}');
\echo :SQLSTATE
SELECT es_snapshot('account-1', 1, '{}', tenant => '*');
\echo :SQLSTATE
SELECT * FROM es_load_snapshot(NULL);
\echo :SQLSTATE
SELECT * FROM es_load_snapshot('account-1', tenant => '*');
\echo :SQLSTATE
SELECT * FROM es_rehydrate(NULL);
\echo :SQLSTATE
SELECT * FROM es_rehydrate('-x');
\echo :SQLSTATE
SELECT es_drop_snapshots(NULL, 1);
\echo :SQLSTATE
SELECT es_drop_snapshots('account', NULL);
\echo :SQLSTATE
SELECT es_drop_snapshots('', 1);
\echo :SQLSTATE
SELECT es_drop_snapshots('account', 1, '*');
\echo :SQLSTATE

-- Dropping what an older form of the state has left.
SELECT es_append('account-2', 0, 'Opened', '{}', tenant => 'blue');
SELECT es_snapshot('account-2', 1, '{}', 1, tenant => 'blue');
SELECT es_append('accountant-1', 0, 'Hired', '{}');
SELECT es_snapshot('accountant-1', 1, '{}');
SELECT es_drop_snapshots('account', -100);
SELECT es_drop_snapshots('account', 2);
SELECT array_agg(schema_version ORDER BY schema_version) FROM es.snapshots WHERE category = 'account' AND tenant = '';
SELECT es_drop_snapshots('account', 2);
SELECT es_drop_snapshots('account', 2147483647);
SELECT es_drop_snapshots('account', 2, 'blue');
SELECT stream FROM es.snapshots;
SELECT kind, count(*) FROM es_rehydrate('account-1') GROUP BY kind;

-- In the caller's transaction; several in one statement.
BEGIN;
SELECT es_snapshot('account-1', 5, '{"balance": 50}');
SAVEPOINT s;
SELECT es_snapshot('account-1', 6, '{"balance": 60}');
SELECT version FROM es_load_snapshot('account-1');
ROLLBACK TO s;
SELECT version FROM es_load_snapshot('account-1');
ROLLBACK;
SELECT version FROM es_load_snapshot('account-1');
SELECT es_snapshot('account-1', n, to_jsonb(n)) FROM generate_series(1, 9, 2) AS n;
SELECT es_snapshot('account-1', n, to_jsonb(n)) FROM generate_series(9, 1, -4) AS n;
SELECT version, state FROM es_load_snapshot('account-1');
-- A large state.
SELECT es_snapshot('account-1', 10, to_jsonb(repeat('x', 1000000)));
SELECT length(state #>> '{}') FROM es_load_snapshot('account-1');
SELECT kind, length(data #>> '{}') FROM es_rehydrate('account-1');
-- A snapshot of one's own uncommitted events.
BEGIN;
SELECT es_append('account-1', 10, 'Deposited', '10');
SELECT es_snapshot('account-1', 11, '{"balance": 110}');
SELECT kind, version FROM es_rehydrate('account-1');
ROLLBACK;
BEGIN READ ONLY;
SELECT es_snapshot('account-1', 1, '{}');
\echo :SQLSTATE
ROLLBACK;
BEGIN READ ONLY;
SELECT es_drop_snapshots('account', 1);
\echo :SQLSTATE
ROLLBACK;
BEGIN READ ONLY;
SELECT version FROM es_load_snapshot('account-1');
SELECT count(*) FROM es_rehydrate('account-1');
COMMIT;
-- Snapshots are not events: a user may clear the table.
DELETE FROM es.snapshots;
SELECT kind, count(*) FROM es_rehydrate('account-1') GROUP BY kind;

\c :home
DROP DATABASE es_test_snapshot;
