-- The main job, step by step.  script/demo runs it; it reads well by itself.

\set ECHO queries
\set VERBOSITY default
\set SHOW_CONTEXT never
\pset footer off
\echo
\echo '=== 1. A database becomes an event store ==='
\echo
CREATE EXTENSION pg_eventstore;
SELECT es_init();

\echo '=== 2. Append: the stream must be new (0), or at the version that was read ==='
\echo
SELECT es_append('order-1', 0, 'OrderPlaced', '{"customer": "ada"}');
SELECT es_append('order-1', 1, 'ItemAdded', '{"item": "tea", "price": 4}');
\echo '    several events at once, all or nothing:'
\echo
SELECT * FROM es_append_batch('order-1', 2, ARRAY['ItemAdded', 'ItemAdded'],
    ARRAY['{"item": "cup", "price": 9}', '{"item": "jam", "price": 3}']::jsonb[]);

\echo '=== 3. A conflict: somebody else was faster, version 2 is no longer the last ==='
\echo
SELECT es_append('order-1', 2, 'OrderPaid', '{"amount": 13}');
\echo
\echo '    or as a value instead of an error:'
\echo
SELECT outcome, version FROM es_try_append('order-1', 2, ARRAY['OrderPaid'],
    ARRAY['{"amount": 13}']::jsonb[]);

\echo '=== 4. A retry: the same id again writes nothing and gets the first answer ==='
\echo
SELECT es_append('order-1', 4, 'OrderPaid', '{"amount": 16}',
    id => '01890a5d-ac96-774b-bcce-b302099a8057');
SELECT es_append('order-1', 4, 'OrderPaid', '{"amount": 16}',
    id => '01890a5d-ac96-774b-bcce-b302099a8057');

\echo '=== 5. Load: the history of a stream, in order ==='
\echo
SELECT version, type, data FROM es_load('order-1');
\echo '    its last two events, newest first:'
\echo
SELECT version, type FROM es_load('order-1', backwards => true, max_count => 2);

\echo '=== 6. A snapshot: the state at a version, so that loading stays short ==='
\echo
SELECT es_snapshot('order-1', 4, '{"customer": "ada", "items": ["tea", "cup", "jam"], "total": 16}');

\echo '=== 7. Rehydrate: the snapshot and what came after it, in one round trip ==='
\echo
SELECT kind, version, type, data FROM es_rehydrate('order-1');

\echo '=== 8. Time travel: the stream as it was, by version and by time ==='
\echo
SELECT version, type FROM es_load('order-1', to_version => 2);
\set ECHO none
SELECT recorded_at AS moment FROM es_load('order-1', from_version => 3, to_version => 3) \gset
\set ECHO queries
\echo '    at ':moment', when the batch had come and the payment had not:'
\echo
SELECT version, type FROM es_load('order-1', until => :'moment');

\echo '=== 9. A trigger keeps a read model, in the transaction of the append ==='
\echo
CREATE TABLE totals (stream text PRIMARY KEY, items bigint, total numeric);
CREATE FUNCTION keep_totals() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO totals VALUES (NEW.stream, 1, (NEW.data ->> 'price')::numeric)
    ON CONFLICT (stream) DO UPDATE
    SET items = totals.items + 1, total = totals.total + excluded.total;
    RETURN NULL;
END $$;
CREATE TRIGGER keep_totals AFTER INSERT ON es.events
    FOR EACH ROW WHEN (NEW.type = 'ItemAdded') EXECUTE FUNCTION keep_totals();
\echo
\echo '    orders of two customers, in one call:'
\echo
SELECT stream, last_version FROM es_append_json('[
    {"stream": "order-2", "expected": 0, "events": [
        {"type": "OrderPlaced", "data": {"customer": "bob"}},
        {"type": "ItemAdded", "data": {"item": "pen", "price": 2}},
        {"type": "ItemAdded", "data": {"item": "ink", "price": 5}}]},
    {"stream": "order-3", "expected": 0, "events": [
        {"type": "OrderPlaced", "data": {"customer": "eve"}},
        {"type": "ItemAdded", "data": {"item": "hat", "price": 30}}]}]');
SELECT * FROM totals ORDER BY stream;

\echo '=== 10. The guard: what is stored never changes, not even for a superuser ==='
\echo
UPDATE es.events SET data = '{"amount": 1}' WHERE type = 'OrderPaid';
\echo
\echo '=== 11. Publishing: a worker tells who listens, and the log is read in one order ==='
\echo
LISTEN es_events;
SELECT es_append('order-2', 3, 'OrderPaid', '{"amount": 7}');
SELECT es_wait(es_head());
SELECT position, stream, version, type FROM es_read(after => 6);
\echo
\echo '    how it is doing:'
\echo
SELECT topic, status, detail FROM es_status();
