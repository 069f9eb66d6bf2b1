-- A6: the log is append-only, for every role and every statement, also under
-- session_replication_role = replica; maintenance may load rows and no more.
\set SHOW_CONTEXT never
\set home :DBNAME
CREATE DATABASE es_test_guard;
\c es_test_guard
CREATE EXTENSION pg_eventstore;
CREATE ROLE es_test_guard_owner;
CREATE ROLE es_test_guard_writer IN ROLE pg_write_all_data, pg_read_all_data;
GRANT CREATE ON DATABASE es_test_guard TO es_test_guard_owner;
GRANT EXECUTE ON FUNCTION pg_eventstore_guard() TO es_test_guard_owner;
GRANT SET ON PARAMETER session_replication_role TO es_test_guard_owner, es_test_guard_writer;
SET ROLE es_test_guard_owner;
SELECT es_init();
SELECT es_append('order-1', 0, 'Placed', '{}', NULL, '01902bd4-0000-7000-8000-000000000001');
SELECT es_append('order-1', 1, 'Paid', '{}');
RESET ROLE;

-- Each statement that would change the log, and one that would touch no row.
CREATE TABLE statements (n serial, statement text);
INSERT INTO statements (statement) VALUES
	('INSERT INTO es.events SELECT * FROM es.events'),
	('INSERT INTO es.events SELECT * FROM es.events WHERE false'),
	('INSERT INTO es.events VALUES (99, 99, now(), ''01902bd4-0000-7000-8000-000000000099'', '''', ''a-1'', ''a'', ''T'', ''{}'', NULL, NULL)'),
	('INSERT INTO es.events SELECT * FROM es.events ON CONFLICT DO NOTHING'),
	('INSERT INTO es.events SELECT * FROM es.events ON CONFLICT (position) DO UPDATE SET data = ''1'''),
	('UPDATE es.events SET data = ''{"changed": true}'''),
	('UPDATE es.events SET data = data WHERE false'),
	('UPDATE ONLY es.events AS e SET type = s.type FROM es.events AS s WHERE s.position = e.position'),
	('DELETE FROM es.events'),
	('DELETE FROM es.events WHERE false'),
	('DELETE FROM es.events AS e USING es.events AS f WHERE e.position = f.position RETURNING e.position'),
	('TRUNCATE es.events'),
	('TRUNCATE ONLY es.events CASCADE'),
	('TRUNCATE es.snapshots, es.events'),
	('MERGE INTO es.events AS e USING (SELECT 1) AS s ON e.position = 1 WHEN MATCHED THEN UPDATE SET data = ''1'''),
	('MERGE INTO es.events AS e USING (SELECT 1) AS s ON e.position = 1 WHEN MATCHED THEN DELETE'),
	('MERGE INTO es.events AS e USING (SELECT 1) AS s ON e.position = 99 WHEN NOT MATCHED THEN INSERT VALUES (99, 99, now(), ''01902bd4-0000-7000-8000-000000000099'', '''', ''a-1'', ''a'', ''T'', ''{}'', NULL, NULL)'),
	('WITH gone AS (DELETE FROM es.events RETURNING *) SELECT * FROM gone'),
	('WITH new AS (INSERT INTO es.events SELECT * FROM es.events RETURNING *) SELECT * FROM new'),
	('WITH new AS (UPDATE es.events SET version = version + 1 RETURNING *) INSERT INTO es.events SELECT * FROM new');
CREATE FUNCTION refused() RETURNS TABLE (n int, statement text, outcome text) LANGUAGE plpgsql AS $$
BEGIN
	FOR n, statement IN SELECT * FROM public.statements AS s ORDER BY s.n LOOP
		BEGIN
			EXECUTE statement;
			outcome := 'WENT THROUGH';
			RETURN NEXT;
		EXCEPTION WHEN OTHERS THEN
			outcome := sqlstate || ': ' || sqlerrm;
			statement := split_part(statement, ' ', 1);
			RETURN NEXT;
		END;
	END LOOP;
END $$;
CREATE TABLE before_all AS SELECT * FROM es.events;
GRANT SELECT ON statements, before_all TO PUBLIC;

-- A superuser.
SELECT * FROM refused();
-- The whole error.
DELETE FROM es.events;
\echo :SQLSTATE
INSERT INTO es.events SELECT * FROM es.events;
\echo :SQLSTATE
COPY es.events FROM STDIN;
1	1	2024-01-01	01902bd4-0000-7000-8000-000000000099	x	a-1	a	T	{}	\N	\N
\.
-- As a replica.
SET session_replication_role = replica;
SELECT n, outcome FROM refused();
COPY es.events FROM STDIN;
1	1	2024-01-01	01902bd4-0000-7000-8000-000000000099	x	a-1	a	T	{}	\N	\N
\.
-- The API works there.
SELECT es_append('order-1', 2, 'Shipped', '{}');
RESET session_replication_role;
TABLE before_all EXCEPT TABLE es.events;

-- The owner.
SET ROLE es_test_guard_owner;
SELECT n, outcome FROM refused();
SET session_replication_role = replica;
SELECT count(*), array_agg(DISTINCT split_part(outcome, ':', 1)) FROM refused();
COPY es.events FROM STDIN;
1	1	2024-01-01	01902bd4-0000-7000-8000-000000000099	x	a-1	a	T	{}	\N	\N
\.
RESET session_replication_role;
-- pg_write_all_data has the right to append, and not to write.
SET ROLE es_test_guard_writer;
SELECT n, outcome FROM refused();
SET session_replication_role = replica;
SELECT count(*), array_agg(DISTINCT split_part(outcome, ':', 1)) FROM refused() WHERE statement <> 'TRUNCATE';
RESET session_replication_role;
SELECT es_append('order-2', 0, 'Placed', '{}');
SET pg_eventstore.allow_maintenance = on;
\echo :SQLSTATE
-- Nor to say who is told what, which the owner may.
INSERT INTO es.channels VALUES ('mine', '{}', 0, 'es_test_guard_writer', now());
DELETE FROM es.channels;
\echo :SQLSTATE
SET session_replication_role = replica;
UPDATE es.channels SET options = '{}';
\echo :SQLSTATE
RESET session_replication_role;
SET ROLE es_test_guard_owner;
INSERT INTO es.channels VALUES ('mine', '{}', 0, 'es_test_guard_writer', now());
DELETE FROM es.channels RETURNING name;
RESET ROLE;

-- Maintenance: only a superuser, only new rows.
SET pg_eventstore.allow_maintenance = on;
BEGIN;
INSERT INTO es.events SELECT nextval('es.events_position_seq'), 1, now(), '01902bd4-0000-7000-8000-000000000098', '', 'import-1', 'import', 'T', '{}', NULL, NULL;
COPY es.events FROM STDIN;
1000	2	2024-01-01	01902bd4-0000-7000-8000-000000000099		import-1	import	T	{}	\N	\N
\.
SELECT version FROM es_load('import-1');
ROLLBACK;
SELECT n, outcome FROM refused() WHERE outcome NOT LIKE '23505:%';
-- What maintenance loads is still checked.
INSERT INTO es.events VALUES (2000, 1, '2024-01-01', '01902bd4-0000-7000-8000-000000000099', '', 'a-1', 'b', 'T', '{}', NULL, NULL);
\echo :SQLSTATE
INSERT INTO es.events VALUES (0, 1, '2024-01-01', '01902bd4-0000-7000-8000-000000000099', '', 'a-1', 'a', 'T', '{}', NULL, NULL);
\echo :SQLSTATE
INSERT INTO es.events VALUES (2000, 1, '2024-01-01', '01902bd4-0000-7000-8000-000000000099', '', 'a-1', 'a', 'T', NULL, NULL, NULL);
\echo :SQLSTATE
SET ROLE es_test_guard_owner;
SELECT count(*), array_agg(DISTINCT split_part(outcome, ':', 1)) FROM refused();
RESET ROLE;
RESET pg_eventstore.allow_maintenance;
TABLE before_all EXCEPT TABLE es.events;

-- From inside: a view, a rule, a function, a referential action, a trigger.
CREATE VIEW window_on_events AS SELECT * FROM es.events;
UPDATE window_on_events SET data = '1';
\echo :SQLSTATE
DELETE FROM window_on_events;
\echo :SQLSTATE
CREATE FUNCTION wipe() RETURNS void LANGUAGE sql SECURITY DEFINER AS 'DELETE FROM es.events';
SELECT wipe();
\echo :SQLSTATE
CREATE TABLE kinds (type text COLLATE "C" PRIMARY KEY);
INSERT INTO kinds SELECT DISTINCT type FROM es.events;
ALTER TABLE es.events ADD CONSTRAINT kind FOREIGN KEY (type) REFERENCES kinds ON UPDATE CASCADE ON DELETE CASCADE;
DELETE FROM kinds WHERE type = 'Paid';
\echo :SQLSTATE
UPDATE kinds SET type = 'Payed' WHERE type = 'Paid';
\echo :SQLSTATE
ALTER TABLE es.events DROP CONSTRAINT kind;
TRUNCATE kinds CASCADE;
-- A user's own BEFORE triggers open no door while the store writes.
CREATE FUNCTION burgle() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF pg_trigger_depth() > 1 THEN
		RETURN NEW;
	END IF;
	INSERT INTO es.events SELECT 5000, 5000, now(), gen_random_uuid(), '', 'burglar-1', 'burglar', 'T', '{}', NULL, NULL;
	RETURN NEW;
END $$;
CREATE TRIGGER burgle BEFORE INSERT ON es.events FOR EACH ROW EXECUTE FUNCTION burgle();
SELECT es_append('order-3', 0, 'Placed', '{}');
\echo :SQLSTATE
DROP TRIGGER burgle ON es.events;
CREATE TRIGGER burgle BEFORE INSERT ON es.events FOR EACH STATEMENT EXECUTE FUNCTION burgle();
SELECT es_append('order-3', 0, 'Placed', '{}');
\echo :SQLSTATE
DROP TRIGGER burgle ON es.events;
CREATE TRIGGER burgle AFTER INSERT ON es.events FOR EACH ROW EXECUTE FUNCTION burgle();
SELECT es_append('order-3', 0, 'Placed', '{}');
\echo :SQLSTATE
DROP TRIGGER burgle ON es.events;
CREATE TRIGGER burgle AFTER INSERT ON es.events FOR EACH STATEMENT EXECUTE FUNCTION burgle();
SELECT es_append('order-3', 0, 'Placed', '{}');
\echo :SQLSTATE
DROP TRIGGER burgle ON es.events;
SELECT es_stream_version('burglar-1'), es_stream_version('order-3');
TABLE before_all EXCEPT TABLE es.events;

-- The guard is a trigger function and for nobody else.
SELECT pg_eventstore_guard();
\echo :SQLSTATE
CREATE ROLE es_test_guard_thief;
GRANT CREATE ON SCHEMA public TO es_test_guard_thief;
SET ROLE es_test_guard_thief;
CREATE TABLE mine (i int);
CREATE TRIGGER es_guard_row BEFORE INSERT ON mine FOR EACH ROW EXECUTE FUNCTION pg_eventstore_guard();
\echo :SQLSTATE
RESET ROLE;

\c :home
DROP DATABASE es_test_guard;
REVOKE SET ON PARAMETER session_replication_role FROM es_test_guard_owner, es_test_guard_writer;
DROP ROLE es_test_guard_owner, es_test_guard_writer, es_test_guard_thief;
