-- Making, altering and dropping channels: what is refused, and what is said then (O5).
-- What channels tell is in t/014_notify.
\set SHOW_CONTEXT never
\set home :DBNAME
CREATE DATABASE es_test_channels;
\c es_test_channels
CREATE EXTENSION pg_eventstore;
SELECT es_init();
CREATE ROLE es_test_cha_one;
CREATE ROLE es_test_cha_two;
GRANT SELECT ON es.events TO es_test_cha_one, es_test_cha_two;

-- Options: an unknown one, a wrong type and a wrong value are one error, whose HINT lists all options.
SELECT es_create_channel('c', '{"colour": "red"}');
\echo :SQLSTATE
SELECT es_create_channel('c', '{"kind": "loud"}');
\echo :SQLSTATE
SELECT es_create_channel('c', '{"kind": ["wake"]}');
\echo :SQLSTATE
-- The HINT is always the same.
DO $do$
DECLARE
	options text;
	detail text;
	hint text;
	hints text[] := '{}';
BEGIN
	FOREACH options IN ARRAY ARRAY['[]', '1', 'null', '"kind"', '{"Kind": "wake"}', '{"kind\"": 1}', '{"": 1}', '{"kind": "Wake"}', '{"kind": ""}', '{"kind": null}',
		'{"public": "true"}', '{"public": 1}', '{"categories": "order"}', '{"categories": {"order": 1}}', '{"categories": ["order", 1]}', '{"types": [["T"]]}',
		'{"types": [null]}', '{"types": null}', '{"stream_prefix": 1}', '{"stream_prefix": ["a"]}', '{"tenant": null}', '{"kind": "event"}', '{"kind": "event", "public": false}']
	LOOP
		BEGIN
			PERFORM es_create_channel('c', options::jsonb);
			RAISE EXCEPTION '% is taken', options;
		EXCEPTION WHEN invalid_parameter_value THEN
			GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
			RAISE NOTICE '%: %: %', options, SQLERRM, detail;
			hints := hints || hint;
		END;
	END LOOP;
	RAISE NOTICE '%', (SELECT string_agg(DISTINCT h, E'\n') FROM unnest(hints) AS h);
END $do$;
-- Nothing is made, and the same is said where one is altered.
SELECT count(*) FROM es.channels;
SELECT es_create_channel('c');
SELECT es_alter_channel('c', '{"kind": 1}');
-- All options that there are.  A channel begins at the horizon.
SELECT es_append('order-1', 0, 'T', '{}');
SELECT es_publish();
BEGIN;
SELECT es_create_channel('all', '{"kind": "event", "public": true, "categories": ["order", "cart", "order"], "types": [], "stream_prefix": "order-1", "tenant": "a"}');
SELECT name, position, created_by = current_user AS own, created_at = now() AS now FROM es.channels ORDER BY name COLLATE "C";
COMMIT;

-- Made twice: no change where the options are the same, in whatever order they come; an error where they are others.
SELECT es_create_channel('all', '{"public": true, "kind": "event", "tenant": "a", "types": [], "stream_prefix": "order-1", "categories": ["order", "cart", "order"]}');
SELECT es_create_channel('all', '{"kind": "event", "public": true}');
\echo :SQLSTATE
SELECT es_alter_channel('all', '{"kind": "wake"}');
SELECT name, options, position FROM es.channels ORDER BY name COLLATE "C";

-- Names.
SELECT es_create_channel(NULL);
\echo :SQLSTATE
SELECT es_create_channel('');
\echo :SQLSTATE
SELECT es_create_channel(repeat('x', 64));
SELECT es_create_channel('es_events');
\echo :SQLSTATE
SELECT es_create_channel('c', NULL);
\echo :SQLSTATE
SELECT es_alter_channel(NULL, '{}');
SELECT es_drop_channel(NULL);
SELECT es_alter_channel('none', '{}');
\echo :SQLSTATE
SELECT es_drop_channel('none');
SELECT es_drop_channel('it''s "none"');

-- Its creator, a member of that role, and the store's owner may change one; others do not learn whose it is.
SET ROLE es_test_cha_one;
SELECT es_create_channel('one');
SELECT es_create_channel('all', '{}');
SET ROLE es_test_cha_two;
SELECT es_create_channel('one');
SELECT es_create_channel('one', '{"types": []}');
SELECT es_alter_channel('one', '{}');
\echo :SQLSTATE
SELECT es_drop_channel('one');
RESET ROLE;
SELECT es_create_channel('one', '{"types": []}');
GRANT es_test_cha_one TO es_test_cha_two;
SET ROLE es_test_cha_two;
SELECT es_create_channel('one', '{"types": []}');
SELECT es_alter_channel('one', '{"types": ["T"]}');
RESET ROLE;
SELECT es_alter_channel('one', '{}');
SELECT name, options, created_by FROM es.channels WHERE name = 'one';
SET ROLE es_test_cha_two;
SELECT es_drop_channel('one');
-- Long options.
SELECT es_create_channel('long', jsonb_build_object('stream_prefix', repeat('x', 9000)));
\echo :SQLSTATE
SELECT es_alter_channel('long', jsonb_build_object('no option', repeat('x', 9000)));
RESET ROLE;
SELECT es_create_channel('long', jsonb_build_object('stream_prefix', repeat('x', 9000)));

-- Neither in a transaction that only reads, nor without SELECT on es.events.
BEGIN READ ONLY; SELECT es_create_channel('d'); ROLLBACK;
BEGIN READ ONLY; SELECT es_alter_channel('d', '{}'); ROLLBACK;
BEGIN READ ONLY; SELECT es_drop_channel('d'); ROLLBACK;
REVOKE SELECT ON es.events FROM es_test_cha_one, es_test_cha_two;
SET ROLE es_test_cha_one;
SELECT es_create_channel('d');
RESET ROLE;

\c :home
DROP DATABASE es_test_channels;
DROP ROLE es_test_cha_one, es_test_cha_two;
