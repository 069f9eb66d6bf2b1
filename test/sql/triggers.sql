-- Users' own triggers, constraints and indexes on es.events are served as INSERT
-- would serve them; a BEFORE trigger may refuse an event, never change or skip it.
\set SHOW_CONTEXT never
\set home :DBNAME
CREATE DATABASE es_test_triggers;
\c es_test_triggers
CREATE EXTENSION pg_eventstore;
SELECT es_init();

-- AFTER ROW: a read model that is kept as events come.
CREATE TABLE balance (account text PRIMARY KEY, amount numeric NOT NULL, version bigint NOT NULL);
CREATE FUNCTION keep_balance() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO balance VALUES (NEW.stream, (NEW.data->>'amount')::numeric, NEW.version)
	ON CONFLICT (account) DO UPDATE SET amount = balance.amount + excluded.amount, version = excluded.version;
	RETURN NULL;
END $$;
CREATE TRIGGER keep_balance AFTER INSERT ON es.events FOR EACH ROW
	WHEN (NEW.category = 'account') EXECUTE FUNCTION keep_balance();
SELECT es_append('account-1', 0, 'Deposited', '{"amount": 100}');
SELECT last_version FROM es_append_batch('account-1', 1, '{Deposited,Withdrawn}', ARRAY['{"amount": 50}', '{"amount": -30}']::jsonb[]);
SELECT stream, last_version FROM es_append_json('[{"stream": "account-2", "expected": 0, "events": [{"type": "Deposited", "data": {"amount": 7}}]},
	{"stream": "other-1", "expected": 0, "events": [{"type": "Ignored", "data": {}}]}]');
SELECT outcome FROM es_try_append('account-2', 1, '{Deposited}', ARRAY['{"amount": 1}']::jsonb[]);
SELECT outcome FROM es_try_append('account-2', 1, '{Deposited}', ARRAY['{"amount": 1}']::jsonb[]);
SELECT * FROM balance ORDER BY account;
SELECT count(es_append('account-3', -1, 'Deposited', '{"amount": 1}')) FROM generate_series(1, 50);
SELECT last_version FROM es_append_batch('account-3', 50, (SELECT array_agg(text 'Deposited') FROM generate_series(1, 2500)),
	(SELECT array_agg(jsonb '{"amount": 1}') FROM generate_series(1, 2500)));
SELECT * FROM balance WHERE account = 'account-3';
-- Its error refuses the append.
SELECT es_append('account-1', 3, 'Deposited', '{"amount": "much"}');
\echo :SQLSTATE
SELECT es_stream_version('account-1');
DROP TRIGGER keep_balance ON es.events;

-- AFTER STATEMENT with a transition table: once for each call.
CREATE TABLE batches (n bigint, first bigint, last bigint);
CREATE FUNCTION note_batch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO batches SELECT count(*), min(version), max(version) FROM new_events;
	RETURN NULL;
END $$;
CREATE TRIGGER note_batch AFTER INSERT ON es.events REFERENCING NEW TABLE AS new_events
	FOR EACH STATEMENT EXECUTE FUNCTION note_batch();
SELECT es_append('note-1', 0, 'T', '{}');
SELECT last_version FROM es_append_batch('note-1', 1, '{A,B,C}', ARRAY['1', '2', '3']::jsonb[]);
SELECT stream FROM es_append_json('[{"stream": "note-1", "expected": 4}, {"stream": "note-2", "expected": 0}]');
TABLE batches;
SELECT last_version FROM es_append_batch('note-2', 0, (SELECT array_agg(text 'T') FROM generate_series(1, 2500)),
	(SELECT array_agg(to_jsonb(n)) FROM generate_series(1, 2500) AS n));
TABLE batches;
DROP TRIGGER note_batch ON es.events;

-- AFTER ROW that appends: to another stream, to the same, without end.
CREATE FUNCTION follow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM es_append(CASE TG_ARGV[0] WHEN 'same' THEN NEW.stream ELSE 'audit-1' END, -1, 'Followed', to_jsonb(NEW.version));
	RETURN NULL;
END $$;
CREATE TRIGGER follow AFTER INSERT ON es.events FOR EACH ROW WHEN (NEW.category = 'chain') EXECUTE FUNCTION follow('other');
SELECT last_version FROM es_append_batch('chain-1', 0, '{A,B}', ARRAY['1', '2']::jsonb[]);
SELECT stream, version, type, data FROM es.events WHERE stream IN ('chain-1', 'audit-1') ORDER BY position;
DROP TRIGGER follow ON es.events;
CREATE TRIGGER follow AFTER INSERT ON es.events FOR EACH ROW WHEN (NEW.category = 'chain' AND NEW.type <> 'Followed') EXECUTE FUNCTION follow('same');
SELECT last_version FROM es_append_batch('chain-2', 0, '{A,B}', ARRAY['1', '2']::jsonb[]);
SELECT version, type, data FROM es_load('chain-2');
DROP TRIGGER follow ON es.events;

-- BEFORE ROW: it refuses, it changes, it skips.
CREATE FUNCTION interfere() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.type = 'Forbidden' THEN
		RAISE EXCEPTION 'not here' USING ERRCODE = 'P4242', DETAIL = 'the fact', HINT = 'the way out';
	ELSIF NEW.type = 'Changed' THEN
		NEW.data := '{"changed": true}';
	ELSIF NEW.type = 'Cleared' THEN
		NEW.metadata := NULL;
	ELSIF NEW.type = 'Moved' THEN
		NEW.position := 1;
	ELSIF NEW.type = 'Skipped' THEN
		RETURN NULL;
	END IF;
	RETURN NEW;
END $$;
CREATE TRIGGER interfere BEFORE INSERT ON es.events FOR EACH ROW EXECUTE FUNCTION interfere();
SELECT es_append('plain-1', 0, 'Allowed', '{"a": 1}', '{"b": 2}');
SELECT data, metadata FROM es_load('plain-1');
SELECT es_append('plain-1', 1, 'Forbidden', '{}');
\echo :SQLSTATE
SELECT es_append('plain-1', 1, 'Changed', '{}');
\echo :SQLSTATE
SELECT es_append('plain-1', 1, 'Cleared', '{}', '{"b": 2}');
\echo :SQLSTATE
SELECT es_append('plain-1', 1, 'Cleared', '{}');
SELECT es_append('plain-1', 2, 'Moved', '{}');
\echo :SQLSTATE
SELECT es_append('plain-1', 2, 'Skipped', '{}');
\echo :SQLSTATE
SELECT last_version FROM es_append_batch('plain-1', 2, '{Allowed,Skipped}', ARRAY['1', '2']::jsonb[]);
\echo :SQLSTATE
SELECT last_version FROM es_append_batch('plain-1', 2, '{Allowed,Allowed,Allowed}', ARRAY['1', '2', '3']::jsonb[]);
SELECT es_stream_version('plain-1');
-- Guards that come first and guards that come last: by name, the user's may be either.
ALTER TRIGGER interfere ON es.events RENAME TO zz_interfere;
SELECT es_append('plain-1', 5, 'Changed', '{}');
\echo :SQLSTATE
SELECT es_append('plain-1', 5, 'Allowed', '{}');
UPDATE es.events SET data = '1';
\echo :SQLSTATE
INSERT INTO es.events SELECT * FROM es.events;
\echo :SQLSTATE
DROP TRIGGER zz_interfere ON es.events;
-- BEFORE STATEMENT.
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'closed today'; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON es.events FOR EACH STATEMENT EXECUTE FUNCTION refuse();
SELECT es_append('plain-1', 6, 'Allowed', '{}');
\echo :SQLSTATE
ALTER TABLE es.events DISABLE TRIGGER refuse;
SELECT es_append('plain-1', 6, 'Allowed', '{}');
DROP TRIGGER refuse ON es.events;

-- A BEFORE trigger that appends: its own event is not stored yet.
CREATE TRIGGER follow BEFORE INSERT ON es.events FOR EACH ROW WHEN (NEW.category = 'chain' AND NEW.type <> 'Followed') EXECUTE FUNCTION follow('same');
SELECT es_append('chain-3', 0, 'A', '1');
\echo :SQLSTATE
SELECT es_append('plain-1', 7, 'Allowed', '{}');
DROP TRIGGER follow ON es.events;
-- F9: nor is it while a constraint, an index or a trigger's condition is evaluated for it.
CREATE FUNCTION echo(stream text, type text) RETURNS integer LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
	IF type = 'Same' THEN
		PERFORM es_append(stream, -1, 'Echo', '{}');
	ELSIF type = 'Other' THEN
		PERFORM es_append_batch('other-echo', -1, '{Echo}', '{"{}"}');
	ELSIF type = 'Caught' THEN
		BEGIN
			PERFORM es_append_json('[{"stream": "other-echo", "expected": -1, "events": [{"type": "Echo", "data": {}}]}]');
		EXCEPTION WHEN object_not_in_prerequisite_state THEN
			NULL;
		END;
		PERFORM outcome FROM es_try_append(stream, -1, '{Echo}', '{"{}"}');
	END IF;
	RETURN 1;
END $$;
CREATE FUNCTION sneak(type text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	IF type = 'Sneak' THEN
		INSERT INTO es.events SELECT * FROM es.events WHERE false;
	END IF;
	RETURN true;
END $$;
CREATE FUNCTION append_long(stream text, type text) RETURNS bigint LANGUAGE sql AS $$
	SELECT last_version FROM es_append_batch(stream, 0, array_fill(text 'T', ARRAY[250]) || type, array_fill(jsonb '{}', ARRAY[251]));
$$;
ALTER TABLE es.events ADD CONSTRAINT echoes CHECK (echo(stream, type) = 1 AND sneak(type));
SELECT es_append('echo-1', 0, 'Same', '{}');
\echo :SQLSTATE
SELECT es_append('echo-1', 0, 'Other', '{}');
\echo :SQLSTATE
SELECT append_long('echo-1', 'Same');
SELECT append_long('echo-1', 'Other');
SELECT es_append('echo-1', 0, 'Caught', '{}');
SELECT es_append('echo-1', 0, 'Sneak', '{}');
\echo :SQLSTATE
-- That ends with the call, also where it is refused; AFTER triggers append as ever, and what they append is checked.
BEGIN;
SAVEPOINT a;
SELECT append_long('echo-1', 'Same');
ROLLBACK TO a;
SELECT es_append('echo-1', 0, 'T', '{}'), append_long('echo-2', 'T');
DO $$
BEGIN
	PERFORM es_append('echo-1', 1, 'Other', '{}');
EXCEPTION WHEN object_not_in_prerequisite_state THEN
	PERFORM es_append('echo-1', 1, 'T', '{}');
END $$;
COMMIT;
SELECT es_stream_version('echo-1'), es_stream_version('echo-2'), es_stream_version('other-echo');
CREATE TRIGGER follow AFTER INSERT ON es.events FOR EACH ROW WHEN (NEW.category = 'chain' AND NEW.type <> 'Followed') EXECUTE FUNCTION follow('same');
CREATE CONSTRAINT TRIGGER follow_late AFTER INSERT ON es.events DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
	WHEN (NEW.category = 'chain' AND NEW.type = 'A') EXECUTE FUNCTION follow('other');
BEGIN;
SELECT last_version FROM es_append_batch('chain-8', 0, '{A,B}', ARRAY['1', '2']::jsonb[]);
SELECT es_stream_version('audit-1');
COMMIT;
SELECT version, type, data FROM es_load('chain-8');
SELECT es_stream_version('audit-1');
DROP TRIGGER follow ON es.events;
DROP TRIGGER follow_late ON es.events;
ALTER TABLE es.events DROP CONSTRAINT echoes;
CREATE INDEX echoes ON es.events (echo(stream, type));
SELECT es_append('echo-3', 0, 'Same', '{}');
SELECT es_append('echo-3', 0, 'Other', '{}');
SELECT append_long('echo-3', 'Same');
SELECT es_append('echo-3', 0, 'T', '{}');
DROP INDEX es.echoes;
CREATE INDEX echoes ON es.events (version) WHERE echo(stream, type) = 1;
SELECT append_long('echo-4', 'Other');
DROP INDEX es.echoes;
CREATE TRIGGER echo AFTER INSERT ON es.events FOR EACH ROW WHEN (echo(NEW.stream, NEW.type) = 2) EXECUTE FUNCTION follow('same');
SELECT append_long('echo-4', 'Same');
DROP TRIGGER echo ON es.events;
SELECT es_append('echo-4', 0, 'Same', '{}');

-- A trigger that catches the error of a nested append.
CREATE FUNCTION attempt() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM es_append(NEW.stream, 0, 'Again', '{}');
	RETURN NULL;
EXCEPTION WHEN SQLSTATE 'SE001' THEN
	PERFORM es_append('refused-1', -1, 'Noted', to_jsonb(NEW.version));
	RETURN NULL;
END $$;
CREATE TRIGGER attempt AFTER INSERT ON es.events FOR EACH ROW WHEN (NEW.category = 'chain') EXECUTE FUNCTION attempt();
SELECT last_version FROM es_append_batch('chain-4', 0, '{A,B}', ARRAY['1', '2']::jsonb[]);
SELECT stream, version, type, data FROM es.events WHERE stream IN ('chain-4', 'refused-1') ORDER BY position;
DROP TRIGGER attempt ON es.events;

-- A foreign key from the log, and one to it.
CREATE TABLE kinds (type text COLLATE "C" PRIMARY KEY);
INSERT INTO kinds SELECT DISTINCT type FROM es.events;
INSERT INTO kinds VALUES ('Known');
ALTER TABLE es.events ADD CONSTRAINT known_kind FOREIGN KEY (type) REFERENCES kinds;
SELECT es_append('kind-1', 0, 'Known', '{}');
SELECT es_append('kind-1', 1, 'Unknown', '{}');
\echo :SQLSTATE
SELECT last_version FROM es_append_batch('kind-1', 1, '{Known,Unknown}', ARRAY['1', '2']::jsonb[]);
\echo :SQLSTATE
SELECT es_stream_version('kind-1');
ALTER TABLE es.events DROP CONSTRAINT known_kind;
ALTER TABLE es.events ADD CONSTRAINT known_kind FOREIGN KEY (type) REFERENCES kinds DEFERRABLE INITIALLY DEFERRED;
BEGIN;
SELECT es_append('kind-1', 1, 'Later', '{}');
INSERT INTO kinds VALUES ('Later');
COMMIT;
BEGIN;
SELECT es_append('kind-1', 2, 'Never', '{}');
COMMIT;
\echo :SQLSTATE
SELECT es_stream_version('kind-1');
ALTER TABLE es.events DROP CONSTRAINT known_kind;
CREATE TABLE receipts (position bigint REFERENCES es.events);
INSERT INTO receipts SELECT es_position('kind-1', es_append('kind-1', 2, 'Known', '{}'));
INSERT INTO receipts VALUES (es_position('kind-1'));
INSERT INTO receipts VALUES (-1);
\echo :SQLSTATE
DROP TABLE receipts;

-- A deferred constraint trigger.
CREATE TABLE seen (version bigint);
CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO seen VALUES (NEW.version); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER see AFTER INSERT ON es.events DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION see();
BEGIN;
SELECT es_append('defer-1', n, 'T', '{}') FROM generate_series(0, 2) AS n;
SELECT count(*) FROM seen;
COMMIT;
SELECT * FROM seen ORDER BY version;
DROP TRIGGER see ON es.events;

-- CHECK constraints.
ALTER TABLE es.events ADD CONSTRAINT polite CHECK (type <> 'Rude');
SELECT es_append('check-1', 0, 'Polite', '{}');
DO $$
DECLARE
	name text;
BEGIN
	PERFORM es_append('check-1', 1, 'Rude', '{}');
EXCEPTION WHEN check_violation THEN
	GET STACKED DIAGNOSTICS name = CONSTRAINT_NAME;
	RAISE NOTICE '% %', sqlstate, name;
END $$;
DO $$ BEGIN PERFORM es_append_batch('check-1', 1, '{Polite,Rude}', ARRAY['1', '2']::jsonb[]); EXCEPTION WHEN check_violation THEN RAISE NOTICE '%', sqlstate; END $$;
SELECT es_stream_version('check-1');
ALTER TABLE es.events DROP CONSTRAINT polite;
-- A name like the store's own makes no difference.
ALTER TABLE es.events ADD CONSTRAINT es_polite CHECK (type <> 'Loud') NOT VALID;
DO $$ BEGIN PERFORM es_append('check-1', 1, 'Loud', '{}'); EXCEPTION WHEN check_violation THEN RAISE NOTICE '%', sqlstate; END $$;
SELECT es_stream_version('check-1');
ALTER TABLE es.events DROP CONSTRAINT es_polite;
-- NOT NULL.
ALTER TABLE es.events ALTER COLUMN metadata SET NOT NULL;
\echo :SQLSTATE
ALTER DATABASE es_test_triggers SET pg_eventstore.allow_reset = on;
SELECT es_reset() LIKE 'emptied%' AS emptied;
ALTER TABLE es.events ALTER COLUMN metadata SET NOT NULL;
SELECT es_append('null-1', 0, 'T', '{}', '{"actor": "anna"}');
DO $$ BEGIN PERFORM es_append('null-1', 1, 'T', '{}'); EXCEPTION WHEN not_null_violation THEN RAISE NOTICE '%', sqlstate; END $$;
SELECT version, metadata FROM es_load('null-1');
ALTER TABLE es.events ALTER COLUMN metadata DROP NOT NULL;

-- Indexes of the user: partial, on expressions, unique, exclusion, hash, gin, brin.
CREATE UNIQUE INDEX one_mail ON es.events ((data->>'mail')) WHERE type = 'Registered';
CREATE INDEX by_data ON es.events USING gin (data);
CREATE INDEX by_hash ON es.events USING hash (id);
CREATE INDEX by_time ON es.events USING brin (position);
CREATE INDEX by_length ON es.events (length(stream)) INCLUDE (type);
SELECT es_append('user-1', 0, 'Registered', '{"mail": "a@x"}');
SELECT es_append('user-2', 0, 'Registered', '{"mail": "b@x"}');
SELECT es_append('user-2', 1, 'Greeted', '{"mail": "a@x"}');
SELECT es_append('user-3', 0, 'Registered', '{"mail": "a@x"}');
\echo :SQLSTATE
SELECT last_version FROM es_append_batch('user-3', 0, '{Registered,Registered}', ARRAY['{"mail": "c@x"}', '{"mail": "c@x"}']::jsonb[]);
\echo :SQLSTATE
SELECT es_append('user-3', 0, 'Registered', '{"mail": "a@x"}', NULL, '01902bd4-0000-7000-8000-000000000001');
\echo :SQLSTATE
SET enable_seqscan = off;
SELECT stream FROM es.events WHERE data @> '{"mail": "b@x"}';
SELECT stream FROM es.events WHERE data->>'mail' = 'a@x' AND type = 'Registered';
SELECT count(*) FROM es.events WHERE length(stream) = 6 AND category = 'user';
RESET enable_seqscan;
DROP INDEX es.one_mail, es.by_data, es.by_hash, es.by_time, es.by_length;
ALTER TABLE es.events ADD CONSTRAINT once EXCLUDE USING btree (stream WITH =) WHERE (category = 'single');
SELECT es_append('single-1', 0, 'T', '{}');
SELECT es_append('single-1', 1, 'T', '{}');
\echo :SQLSTATE
ALTER TABLE es.events DROP CONSTRAINT once;
ALTER TABLE es.events ADD CONSTRAINT late UNIQUE (tenant, stream, version, id) DEFERRABLE INITIALLY DEFERRED;
SELECT es_append('single-1', 1, 'T', '{}');
ALTER TABLE es.events DROP CONSTRAINT late;
-- A user's unique index with the name of the store's in another schema, and given ids.
CREATE SCHEMA other;
CREATE TABLE other.events (id int CONSTRAINT events_id_key UNIQUE);
CREATE FUNCTION clash() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO other.events VALUES (1); RETURN NULL; END $$;
CREATE TRIGGER clash AFTER INSERT ON es.events FOR EACH ROW EXECUTE FUNCTION clash();
SELECT es_append('clash-1', 0, 'T', '{}', NULL, '01902bd4-0000-7000-8000-000000000011');
SELECT es_append('clash-1', 1, 'T', '{}', NULL, '01902bd4-0000-7000-8000-000000000012');
\echo :SQLSTATE
DROP TRIGGER clash ON es.events;
-- An expression that fails refuses the append.
CREATE INDEX odd ON es.events ((1 / (version - 7))) WHERE category = 'odd';
SELECT last_version FROM es_append_batch('odd-1', 0, '{A,B,C,D,E,F}', ARRAY['1', '2', '3', '4', '5', '6']::jsonb[]);
SELECT es_append('odd-1', 6, 'G', '7');
\echo :SQLSTATE
SELECT es_stream_version('odd-1');
DROP INDEX es.odd;

-- session_replication_role = replica: ordinary triggers rest, ALWAYS ones fire.
CREATE TRIGGER see AFTER INSERT ON es.events FOR EACH ROW EXECUTE FUNCTION see();
TRUNCATE seen;
SET session_replication_role = replica;
SELECT es_append('replica-1', 0, 'T', '{}');
ALTER TABLE es.events ENABLE ALWAYS TRIGGER see;
SELECT es_append('replica-1', 1, 'T', '{}');
RESET session_replication_role;
SELECT es_append('replica-1', 2, 'T', '{}');
TABLE seen;

-- A condition may ask for system columns.
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE '% has its transaction', NEW.stream; RETURN NULL; END $$;
CREATE TRIGGER note AFTER INSERT ON es.events FOR EACH ROW WHEN (NEW.xmin IS NOT NULL AND NEW.category = 'system') EXECUTE FUNCTION note();
SELECT es_append('system-1', 0, 'T', '{}');
SELECT last_version FROM es_append_batch('system-1', 1, '{T,T}', '{"{}","{}"}');

\c :home
DROP DATABASE es_test_triggers;
