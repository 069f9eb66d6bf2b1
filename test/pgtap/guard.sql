-- A6: stored events never change.
BEGIN;
SELECT plan(14);
SELECT es_append('order-1', 0, 'Placed', '{}');

SELECT throws_ok('UPDATE es.events SET data = NULL', 'SE003', NULL, 'UPDATE is refused');
SELECT throws_ok('UPDATE es.events SET data = NULL WHERE false', 'SE003', NULL, 'even one that touches no row');
SELECT throws_ok('DELETE FROM es.events', 'SE003', NULL, 'DELETE is refused');
SELECT throws_ok('TRUNCATE es.events', 'SE003', NULL, 'TRUNCATE is refused');
SELECT throws_ok('INSERT INTO es.events SELECT * FROM es.events', 'SE003', NULL, 'INSERT is refused');
SELECT throws_ok('INSERT INTO es.events SELECT * FROM es.events ON CONFLICT DO NOTHING', 'SE003', NULL, 'with ON CONFLICT too');
SELECT throws_ok('MERGE INTO es.events AS e USING es.store ON true WHEN MATCHED THEN DELETE', 'SE003', NULL, 'MERGE is refused');
SELECT throws_ok('COPY es.events FROM ''/dev/null''', 'SE003', NULL, 'COPY is refused');
SET LOCAL session_replication_role = replica;
SELECT throws_ok('DELETE FROM es.events', 'SE003', NULL, 'a replica may do no more');
SET LOCAL session_replication_role = origin;
SET LOCAL pg_eventstore.allow_maintenance = on;
SELECT lives_ok($$INSERT INTO es.events VALUES (nextval('es.events_position_seq'), 1, now(), gen_random_uuid(), '', 'in-1', 'in', 'T', '{}', NULL, NULL)$$,
	'maintenance may load rows');
SELECT throws_ok('UPDATE es.events SET data = NULL', 'SE003', NULL, 'but change none');
SELECT throws_ok('DELETE FROM es.events', 'SE003', NULL, 'and delete none');
SET LOCAL pg_eventstore.allow_maintenance = off;
SELECT lives_ok($$SELECT es_append('order-1', 1, 'Paid', '{}')$$, 'the functions go on');
SELECT is((SELECT count(*) FROM es.events), 3::bigint, 'and all events are there');

SELECT * FROM finish();
ROLLBACK;
