\set ECHO queries
CREATE EXTENSION pg_eventstore;
SELECT es_init();
SELECT es_append('order-1', 0, 'OrderPlaced', '{"customer": "ada"}');
