-- es_read(after, max_count, categories, types, stream_prefix, since, until, before,
-- backwards, tenant) returns published events of the whole log, as the view es.log does;
-- es_publish() publishes what is committed, es_wait(target, timeout) waits for it.
\set QUIET 1
SELECT es_append('order-1', 0, 'Placed', '1');
SELECT es_append('user-1', 0, 'Joined', '2');
SELECT es_append('order-2', 0, 'Placed', '3');
SELECT es_append('order-1', 1, 'Paid', '4');
SELECT es_append('order-1', 0, 'Placed', '5', tenant => 'blue');
SELECT plan(37);

-- es_publish
SELECT is_empty($$SELECT * FROM es_read(tenant => '*')$$, 'P1: what is only committed is not published');
SELECT is(es_horizon(), 0::bigint, 'the horizon is at the beginning');
BEGIN;
SELECT is(es_publish(), 5::bigint, 'es_publish answers the horizon that it has reached');
SELECT is_empty('SELECT * FROM es_read()', 'P1: a transaction does not see its own');
SELECT throws_ok('SELECT es_publish()', '25001', NULL, 'and does not publish behind what it has written');
COMMIT;
SELECT is(es_wait(5), 5::bigint, 'es_wait answers at once where the target is published');
SELECT is(es_wait(6, '0'), 5::bigint, 'and the horizon when the time is over');
SELECT throws_ok('SELECT es_wait(7)', 'SE005', NULL, 'P6: a position that nobody has given is not of this log');

BEGIN;

SELECT results_eq('SELECT position FROM es_read()', ARRAY[1, 2, 3, 4]::bigint[], 'events come in the order of the log');
SELECT results_eq('SELECT position FROM es_read(backwards => true)', ARRAY[4, 3, 2, 1]::bigint[], 'or backwards, the newest first');
SELECT results_eq('SELECT position FROM es_read(2)', ARRAY[3, 4]::bigint[], '"after" is a position that has been seen');
SELECT results_eq('SELECT position FROM es_read(before => 3)', ARRAY[1, 2]::bigint[], '"before" is not included either');
SELECT results_eq('SELECT position FROM es_read(1, 2)', ARRAY[2, 3]::bigint[], 'max_count makes a page');
SELECT results_eq($$SELECT position FROM es_read(categories => '{order}')$$, ARRAY[1, 3, 4]::bigint[], 'by category');
SELECT results_eq($$SELECT position FROM es_read(types => '{Paid,Joined}')$$, ARRAY[2, 4]::bigint[], 'by type');
SELECT results_eq($$SELECT position FROM es_read(categories => '{order}', types => '{Placed}')$$, ARRAY[1, 3]::bigint[], 'by both');
SELECT results_eq($$SELECT position FROM es_read(stream_prefix => 'order-1')$$, ARRAY[1, 4]::bigint[], 'by the beginning of the stream''s name');
SELECT results_eq($$SELECT position FROM es_read(since => (SELECT recorded_at FROM es_load('order-2')), types => '{Placed}')$$, ARRAY[3]::bigint[], 'by time');
SELECT is_empty($$SELECT * FROM es_read(categories => '{}')$$, 'an empty filter lets nothing through');
SELECT results_eq($$SELECT position, tenant FROM es_read(tenant => 'blue')$$, $$VALUES (5::bigint, 'blue')$$, 'by tenant');
SELECT is((SELECT count(*) FROM es_read(tenant => '*')), 5::bigint, 'of all tenants');
SELECT throws_ok($$SELECT * FROM es_read(types => '{NULL}')$$, '22004', NULL, 'a filter has no NULL in it');
SELECT throws_ok('SELECT * FROM es_read(max_count => -1)', '22023', NULL, 'max_count is not negative');

SELECT results_eq('SELECT l::text FROM es.log AS l ORDER BY position', $$SELECT r::text FROM es_read(tenant => '*') AS r$$, 'P3: es.log has the same rows for plain SQL');

-- es_head, es_horizon
SELECT is(es_head(), 5::bigint, 'es_head is the position of the newest event');
SELECT is(es_horizon(), 5::bigint, 'es_horizon that of the newest published one');
SELECT is(es_append('order-3', 0, 'Mine', '{}'), 1::bigint, 'an event of an open transaction');
SELECT is_empty($$SELECT * FROM es_read(types => '{Mine}')$$, 'is not published');
SELECT is(es_head() - es_horizon(), 1::bigint, 'so es_head is ahead of the horizon');
SELECT throws_ok('SELECT es_wait(es_head())', '55000', NULL, 'one''s own cannot be waited for');
SELECT throws_ok('SELECT es_publish()', '25001', NULL, 'nor published before the commit');
SELECT throws_ok('SELECT * FROM es_read(7)', 'SE005', NULL, 'P6: nobody reads on from beyond the end');

-- es_streams
SELECT results_eq('SELECT stream, version, position FROM es_streams()',
	$$VALUES ('order-1', 2::bigint, 4::bigint), ('order-2', 1, 3), ('order-3', 1, es_head()), ('user-1', 1, 2)$$,
	'es_streams lists streams by name, each with its last event');
SELECT results_eq($$SELECT stream FROM es_streams('{user}')$$, ARRAY['user-1'], 'of some categories');
SELECT results_eq($$SELECT stream FROM es_streams(after => 'order-1', max_count => 1)$$, ARRAY['order-2'], 'page by page');
SELECT results_eq($$SELECT stream, tenant FROM es_streams(tenant => '*', max_count => 1)$$, $$VALUES ('order-1', ''), ('order-1', 'blue')$$,
	'of all tenants: one name is not split between two pages');
SELECT results_eq($$SELECT stream FROM es_streams(tenant => 'blue')$$, ARRAY['order-1'], 'of one tenant');

SELECT * FROM finish();
ROLLBACK;
