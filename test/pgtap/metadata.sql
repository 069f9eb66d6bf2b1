-- The setting pg_eventstore.metadata is merged under each event's own metadata.
BEGIN;
SELECT plan(8);

SELECT es_append('order-1', 0, 'Placed', '{}');
SELECT is((SELECT metadata FROM es_load('order-1', 1)), NULL, 'without both there are none');
SET LOCAL pg_eventstore.metadata = '{"actor": "anna", "correlation_id": "c1"}';
SELECT es_append('order-1', 1, 'Paid', '{}');
SELECT is((SELECT metadata FROM es_load('order-1', 2)), '{"actor": "anna", "correlation_id": "c1"}', 'the setting reaches every event');
SELECT es_append('order-1', 2, 'Packed', '{}', '{"actor": "ben", "n": 1}');
SELECT is((SELECT metadata FROM es_load('order-1', 3)), '{"actor": "ben", "correlation_id": "c1", "n": 1}', 'the event''s own keys win');
CREATE FUNCTION pg_temp.follow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM es_append('audit-1', -1, 'Seen', '{}');
	RETURN NULL;
END $$;
CREATE TRIGGER follow AFTER INSERT ON es.events FOR EACH ROW WHEN (NEW.category = 'order') EXECUTE FUNCTION pg_temp.follow();
SELECT es_append('order-1', 3, 'Shipped', '{}', '{"n": 2}');
SELECT is((SELECT metadata FROM es_load('audit-1')), '{"actor": "anna", "correlation_id": "c1"}', 'and what triggers append');
SELECT throws_ok($$SET pg_eventstore.metadata = 'x'$$, '22023', NULL, 'a value that is not JSON is refused when it is set');
SELECT throws_ok($$SET pg_eventstore.metadata = '[1]'$$, '22023', NULL, 'and so is one that is no object');
SELECT lives_ok($$SET LOCAL pg_eventstore.metadata = ''$$, 'an empty value switches it off');
SELECT es_append('order-2', 0, 'Placed', '{}');
SELECT is((SELECT metadata FROM es_load('order-2')), NULL, 'again');

SELECT * FROM finish();
ROLLBACK;
