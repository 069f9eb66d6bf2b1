-- es_verify(): a store that is right has no finding; each defect is found, and nothing else (O7).
\set SHOW_CONTEXT never
\set home :DBNAME
CREATE DATABASE es_test_verify;
\c es_test_verify
CREATE EXTENSION pg_eventstore;
-- Without a store.
SELECT * FROM es_verify();
\echo :SQLSTATE
CREATE ROLE es_test_verify_owner;
GRANT CREATE ON DATABASE es_test_verify TO es_test_verify_owner;
GRANT EXECUTE ON FUNCTION pg_eventstore_guard() TO es_test_verify_owner;
SET ROLE es_test_verify_owner;
SELECT es_init();
-- Of an empty store.
SELECT * FROM es_verify();
SELECT es_append('order-1', n, 'Placed', '{}') FROM generate_series(0, 3) AS n;
SELECT es_append('order-2', 0, 'Placed', '{}', id => '00000000-0000-4000-8000-000000000002', tenant => 'acme');
SELECT es_append('cart', 0, 'Filled', '{}', id => '00000000-0000-4000-8000-000000000003');
SELECT es_snapshot('order-1', 3, '{}');
SELECT es_create_channel('orders', '{"categories": ["order"]}');
RESET ROLE;
SELECT es_publish();
SET ROLE es_test_verify_owner;
SELECT * FROM es_verify();

-- In pieces: each tells up to where it has come, the last one looks at the rest too.
SELECT * FROM es_verify(max_count => 4);
SELECT what, "where", verdict FROM es_verify(4, 4);
SELECT what, "where", verdict, detail FROM es_verify(after => 6, max_count => 0) WHERE what IN ('versions', 'reached');
SELECT what, "where", verdict, detail FROM es_verify(NULL, NULL) WHERE what = 'reached';
SELECT es_verify(max_count => -1);
\echo :SQLSTATE
-- It writes nothing, and keeps to one snapshot.
BEGIN READ ONLY ISOLATION LEVEL SERIALIZABLE;
SELECT count(*) FROM es_verify() WHERE verdict <> 'ok';
COMMIT;
RESET ROLE;

-- For the owner: neither for a role that reads everything, nor for monitors.
CREATE ROLE es_test_verify_other;
GRANT pg_monitor, pg_read_all_data TO es_test_verify_other;
SET ROLE es_test_verify_other;
SELECT * FROM es_verify();
\echo :SQLSTATE
RESET ROLE;

\set open 'BEGIN; ALTER TABLE es.events DISABLE TRIGGER ALL;'
\set shut 'ALTER TABLE es.events ENABLE ALWAYS TRIGGER es_guard_row; ALTER TABLE es.events ENABLE ALWAYS TRIGGER es_guard_statement;'
\set look 'SELECT what, "where", verdict, detail FROM es_verify() WHERE verdict <> \'ok\'; ROLLBACK;'

-- Versions (A1): a first one that is gone, one in the middle; the last one leaves no trace but its snapshot.
:open DELETE FROM es.events WHERE stream = 'order-1' AND version = 1; :shut :look
:open DELETE FROM es.events WHERE stream = 'order-1' AND version = 3; :shut :look
:open DELETE FROM es.events WHERE stream = 'order-1' AND version >= 3; :shut :look
:open DELETE FROM es.events WHERE stream = 'cart'; :shut :look
:open UPDATE es.events SET version = 9 WHERE tenant = 'acme'; :shut :look
-- Order (A4).
:open UPDATE es.events SET position = nextval('es.events_position_seq') WHERE stream = 'order-1' AND version = 2; :shut :look
:open UPDATE es.events SET recorded_at = recorded_at - interval '1 day' WHERE stream = 'order-1' AND version = 4; :shut :look
-- Content that changed is not seen: there is nothing to compare it with.
-- (A row that was updated in its page is in the indexes as it was.)
:open UPDATE es.events SET data = '{"n": 1}' WHERE stream = 'order-1'; :shut :look
-- Names and content, where the constraints are not what they were.
:open UPDATE es.events SET type = E'a\nb' WHERE stream = 'cart'; :shut :look
:open ALTER TABLE es.events DROP CONSTRAINT es_names, ADD CONSTRAINT es_names CHECK (true); UPDATE es.events SET category = 'orders' WHERE version = 4; :shut :look
:open ALTER TABLE es.events DROP CONSTRAINT es_names, ADD CONSTRAINT es_names CHECK (true); UPDATE es.events SET stream = '-', category = '' WHERE stream = 'cart'; :shut :look
:open ALTER TABLE es.events DROP CONSTRAINT es_names, ADD CONSTRAINT es_names CHECK (true); UPDATE es.events SET tenant = '*' WHERE tenant = 'acme'; :shut :look
:open ALTER TABLE es.events DROP CONSTRAINT es_content, ADD CONSTRAINT es_content CHECK (true); UPDATE es.events SET data = NULL WHERE stream = 'cart'; :shut :look

-- Indexes: an entry is missing; a key comes twice; an index is not valid, or gone.
\set lose 'INSERT INTO es.events SELECT nextval(\'es.events_position_seq\'), 1, now(), gen_random_uuid(), \'\', \'lost\', \'lost\', \'T\', \'{}\';'
\set unready 'UPDATE pg_index SET indisready = false WHERE indexrelid = '
\set ready 'UPDATE pg_index SET indisready = true WHERE NOT indisready;'
:open :unready 'es.events_pkey'::regclass; :lose :ready :shut :look
:open :unready 'es.events_version_key'::regclass; :lose :ready :shut :look
:open :unready 'es.events_id_key'::regclass; :lose :ready :shut :look
:open :unready 'es.events_category_position_idx'::regclass; :lose :ready :shut :look
:open UPDATE pg_index SET indisunique = false WHERE indexrelid = 'es.events_id_key'::regclass; UPDATE es.events SET id = '00000000-0000-4000-8000-000000000003' WHERE version = 4; UPDATE pg_index SET indisunique = true WHERE indexrelid = 'es.events_id_key'::regclass; :shut :look
:open UPDATE pg_index SET indisunique = false WHERE indexrelid = 'es.events_version_key'::regclass; UPDATE es.events SET version = 3 WHERE version = 4; UPDATE pg_index SET indisunique = true WHERE indexrelid = 'es.events_version_key'::regclass; :shut :look
BEGIN; UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'es.events_version_key'::regclass; :look
BEGIN; UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'es.events_pkey'::regclass; :look
BEGIN; DROP INDEX es.events_category_position_idx; :look
BEGIN; DROP INDEX es.events_recorded_at_idx, es.store_single; :look
-- An index that a user has made is compared where es_read reads by it, and only there.
CREATE INDEX mine ON es.events (category, type, tenant, position);
CREATE INDEX other ON es.events (type, recorded_at);
SELECT what, verdict, detail FROM es_verify() WHERE what = 'indexes';
:open :unready 'es.mine'::regclass; :lose :ready :shut :look
:open :unready 'es.other'::regclass; :lose :ready :shut :look
DROP INDEX es.mine, es.other;

-- Guards, constraints, columns, tables: a call says so at the first, es_verify() at each.
BEGIN; ALTER TABLE es.events DISABLE TRIGGER es_guard_row; ALTER TABLE es.ticks ENABLE TRIGGER es_guard_statement; :look
BEGIN; DROP TRIGGER es_guard_row ON es.bindings; DROP TRIGGER es_guard_row ON es.store; :look
BEGIN; ALTER TABLE es.events DROP CONSTRAINT es_numbers; ALTER TABLE es.snapshots DROP CONSTRAINT es_version; :look
BEGIN; DROP VIEW es.log; ALTER TABLE es.events ALTER COLUMN metadata TYPE json; :look
BEGIN; DROP TABLE es.epochs; DROP VIEW es_private.appending; :look
BEGIN; DROP VIEW es.log; ALTER TABLE es.channels OWNER TO es_test_verify_other; :look
BEGIN; ALTER TABLE es.store DISABLE TRIGGER ALL; UPDATE es.store SET version = 2; SELECT * FROM es_verify(); ROLLBACK;
BEGIN; ALTER TABLE es.store DISABLE TRIGGER ALL; UPDATE es.store SET version = 99; SELECT * FROM es_verify(); ROLLBACK;

-- Policies: gone, or not as they were made, whether row-level security is on or off.
BEGIN; DROP POLICY es_tenant ON es.events; DROP POLICY es_everyone ON es.channels; :look
BEGIN; ALTER TABLE es.snapshots ENABLE ROW LEVEL SECURITY; DROP POLICY es_tenant ON es.snapshots; :look
BEGIN; ALTER POLICY es_tenant ON es.events USING (true); ALTER POLICY es_tenant ON es.snapshots WITH CHECK (true); ALTER POLICY es_everyone ON es.bindings TO es_test_verify_other; :look
BEGIN; DROP POLICY es_tenant ON es.events; CREATE POLICY es_tenant ON es.events USING (pg_eventstore_sees(tenant, tableoid, 'SELECT')) WITH CHECK (pg_eventstore_sees(tenant, tableoid, 'INSERT')); :look
BEGIN; CREATE POLICY other ON es.events USING (true); :look

-- The sequence is behind, ahead, and not as it was.
SELECT setval('es.events_position_seq', 2);
BEGIN; :look
SELECT setval('es.events_position_seq', 1000000000000000);
BEGIN; :look
SELECT setval('es.events_position_seq', 20);
BEGIN; ALTER SEQUENCE es.events_position_seq CACHE 5; :look

-- Ticks, epochs, snapshots, channels, bindings.
\set closed 'ENABLE ALWAYS TRIGGER es_guard_row, ENABLE ALWAYS TRIGGER es_guard_statement;'
BEGIN; ALTER TABLE es.ticks DISABLE TRIGGER ALL; INSERT INTO es.ticks SELECT 500, 500, now(), 0, 0, 0, NULL; INSERT INTO es.ticks SELECT 7, 6, now(), 0, 8, 0, NULL; ALTER TABLE es.ticks :closed :look
BEGIN; ALTER TABLE es.ticks DISABLE TRIGGER ALL; :unready 'es.ticks_position_idx'::regclass; INSERT INTO es.ticks SELECT 6, 6, now(), 0, 0, 0, NULL; :ready ALTER TABLE es.ticks :closed :look
BEGIN; ALTER TABLE es.epochs DISABLE TRIGGER ALL; DELETE FROM es.epochs; ALTER TABLE es.epochs :closed :look
BEGIN; ALTER TABLE es.epochs DISABLE TRIGGER ALL; INSERT INTO es.epochs SELECT 2, 3, 6, 1, 1, 1, 1, now(); INSERT INTO es.epochs SELECT 3, 4, 4, 1, 1, 1, 1, now(); ALTER TABLE es.epochs :closed :look
BEGIN; INSERT INTO es.snapshots VALUES (5, now(), 2, '', 'order-1', 'order', '{}'), (1, now(), 1, 'b', 'order-1', 'cart', '{}'); :look
BEGIN; INSERT INTO es.channels VALUES ('a', '{"kind": "none"}', 0, 'es_test_verify_owner', now()), ('b', '{}', 0, 'es_test_nobody', now()); :look
BEGIN; INSERT INTO es.bindings VALUES ('es_test_nobody', '{a}', 0, 0, now()), ('es_test_verify_other', '{*}', 0, 0, now()); :look
-- A table is gone while roles are bound: that is told of, and raises no error.
BEGIN; INSERT INTO es.bindings VALUES ('es_test_verify_other', '{a}', 0, 0, now()); ALTER TABLE es.events ENABLE ROW LEVEL SECURITY; ALTER TABLE es.channels ENABLE ROW LEVEL SECURITY; ALTER TABLE es.bindings ENABLE ROW LEVEL SECURITY; DROP TABLE es.snapshots; :look

-- Of many findings of a kind the first hundred are told.
:open INSERT INTO es.events SELECT nextval('es.events_position_seq'), 2, now(), gen_random_uuid(), '', 'many-' || n, 'many', 'T', '{}' FROM generate_series(1, 150) AS n; :shut
SELECT what, verdict, count(*), max(detail) FILTER (WHERE "where" LIKE 'positions%') AS more FROM es_verify() WHERE verdict <> 'ok' GROUP BY 1, 2; ROLLBACK;

-- O7: the guards gone, version 1 deleted, and adopted without a word: es_verify() tells.
SET client_min_messages = warning;
DROP EXTENSION pg_eventstore CASCADE;
DELETE FROM es.events WHERE stream = 'order-1' AND version = 1;
CREATE EXTENSION pg_eventstore;
SELECT what, "where", verdict, detail FROM es_verify() WHERE verdict <> 'ok';
GRANT EXECUTE ON FUNCTION pg_eventstore_guard() TO es_test_verify_owner;
SELECT es_init() ~ '^adopted' AS adopted;
SELECT what, "where", verdict, detail FROM es_verify() WHERE verdict <> 'ok';

\c :home
DROP DATABASE es_test_verify;
DROP ROLE es_test_verify_owner, es_test_verify_other;
