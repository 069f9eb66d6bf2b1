-- A bank account: deposits and withdrawals, a snapshot, time travel, queries by
-- type, a summary.
SELECT plan(31);

-- One step of the fold, and the fold of whatever es_rehydrate answers.
CREATE FUNCTION apply(state jsonb, type text, data jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE type
		WHEN 'account_created' THEN jsonb_build_object('owner', data->'owner_id', 'balance', data->'initial_balance', 'currency', data->'currency', 'active', true)
		WHEN 'money_deposited' THEN state || jsonb_build_object('balance', (state->>'balance')::numeric + (data->>'amount')::numeric)
		WHEN 'money_withdrawn' THEN state || jsonb_build_object('balance', (state->>'balance')::numeric - (data->>'amount')::numeric)
		WHEN 'account_closed' THEN state || '{"active": false}'
	END
$$;
CREATE AGGREGATE account_state(text, jsonb) (SFUNC = apply, STYPE = jsonb);
CREATE FUNCTION account(stream text) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
DECLARE
	e record;
	state jsonb;
BEGIN
	FOR e IN SELECT * FROM es_rehydrate(stream) LOOP
		state := CASE e.kind WHEN 'snapshot' THEN e.data ELSE apply(state, e.type, e.data) END;
	END LOOP;
	RETURN state;
END $$;
-- Commands decide on the state, and append at the version that they have seen.
CREATE FUNCTION withdraw(account_id text, amount numeric) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	seen bigint := es_stream_version(account_id);
	state jsonb := account(account_id);
BEGIN
	IF NOT coalesce((state->>'active')::boolean, false) THEN
		RAISE EXCEPTION 'account is not active' USING ERRCODE = 'P0100';
	ELSIF amount > (state->>'balance')::numeric THEN
		RAISE EXCEPTION 'insufficient funds' USING ERRCODE = 'P0101';
	END IF;
	RETURN es_append(account_id, seen, 'money_withdrawn', jsonb_build_object('amount', amount));
END $$;

-- 1,000 to begin with, 500 in, 200 out, 100 in: 1,400 at version 4.
SELECT throws_ok($$SELECT withdraw('acc_001', 1)$$, 'P0100', NULL, 'an account that was not created is not active');
SELECT is((SELECT last_version FROM es_append_batch('acc_001', 0, '{account_created,money_deposited,money_withdrawn,money_deposited}', ARRAY[
	'{"owner_id": "user_123", "initial_balance": 1000, "currency": "USD"}', '{"amount": 500, "description": "Salary"}',
	'{"amount": 200, "description": "Cash"}', '{"amount": 100, "description": "Savings"}']::jsonb[])), 4::bigint, 'an account and its first operations');
SELECT is((account('acc_001')->>'balance')::numeric, 1400::numeric, 'the balance is 1,400');
SELECT is(account('acc_001')->>'owner', 'user_123', 'the owner is known');
SELECT is((SELECT account_state(type, data ORDER BY version)->>'balance' FROM es_load('acc_001')), '1400', 'an SQL aggregate folds as well');
SELECT results_eq($$SELECT version, type FROM es_load('acc_001')$$,
	$$VALUES (1::bigint, 'account_created'), (2, 'money_deposited'), (3, 'money_withdrawn'), (4, 'money_deposited')$$, 'the history has four lines');

-- Eight small deposits, and a snapshot.
SELECT is((SELECT last_version FROM es_append_batch('acc_001', 4, (SELECT array_agg(text 'money_deposited') FROM generate_series(1, 8)),
	(SELECT array_agg(jsonb_build_object('amount', 10, 'description', 'Deposit ' || n)) FROM generate_series(1, 8) AS n))), 12::bigint, 'eight deposits of 10');
SELECT is((account('acc_001')->>'balance')::numeric, 1480::numeric, 'make 1,480');
SELECT is(es_snapshot('acc_001', 12, account('acc_001')), true, 'a snapshot at version 12');
SELECT is((SELECT state->>'balance' FROM es_load_snapshot('acc_001')), '1480', 'holds the balance');
SELECT is((SELECT count(*) FROM es_rehydrate('acc_001')), 1::bigint, 'and nothing more is read');
SELECT is(withdraw('acc_001', 80), 13::bigint, 'the next command begins with it');
SELECT is((SELECT count(*) FROM es_rehydrate('acc_001')), 2::bigint, 'and reads one event behind it');
SELECT is((account('acc_001')->>'balance')::numeric, 1400::numeric, 'to the same balance');
SELECT is((SELECT account_state(type, data ORDER BY version) FROM es_load('acc_001')), account('acc_001'), 'as from all events');
SELECT throws_ok($$SELECT withdraw('acc_001', 5000)$$, 'P0101', NULL, 'what is not there is not paid out');
SELECT is(es_stream_version('acc_001'), 13::bigint, 'and leaves no event');
SELECT is((SELECT state FROM es_load_snapshot('acc_001', schema_version => 2)), NULL, 'a snapshot of another form is not taken');

-- Time travel, by version and by time.
SELECT is((SELECT account_state(type, data ORDER BY version)->>'balance' FROM es_load('acc_001', to_version => 3)), '1300', 'at version 3 the balance was 1,300');
SELECT is((SELECT account_state(type, data ORDER BY version)->>'balance' FROM es_load('acc_001', to_version => 1)), '1000', 'at version 1 it was 1,000');
SELECT is((SELECT account_state(type, data ORDER BY version)->>'balance'
	FROM es_load('acc_001', until => (SELECT recorded_at FROM es_load('acc_001', 4, 4)))), '1400', 'when the first four were recorded, 1,400');
SELECT is((SELECT account_state(type, data ORDER BY version) FROM es_load('acc_001', until => '2000-01-01')), NULL, 'in the year 2000 there was no account');

-- By type, the newest first; the log shows what is published.
SELECT es_publish();
SELECT is((SELECT count(*) FROM es_read(types => '{money_deposited}')), 10::bigint, 'there were ten deposits');
SELECT is((SELECT count(*) FROM es_read(types => '{money_withdrawn}')), 2::bigint, 'and two withdrawals');
SELECT is((SELECT sum((data->>'amount')::numeric) FROM es_read(types => '{money_deposited}')), 680::numeric, 'of 680 together');
SELECT is((SELECT sum((data->>'amount')::numeric) FROM es_read(types => '{money_withdrawn}')), 280::numeric, 'and of 280');
SELECT results_eq($$SELECT data->>'description' FROM es_read(types => '{money_deposited}', backwards => true, max_count => 2)$$,
	ARRAY['Deposit 8', 'Deposit 7'], 'the newest come first when the log is read backwards');

-- A summary of each account.
SELECT results_eq($$SELECT stream, count(*) FILTER (WHERE type <> 'account_created'), max(version), sum((data->>'amount')::numeric) FILTER (WHERE type = 'money_deposited')
	FROM es_read(max_count => NULL) GROUP BY stream$$, $$VALUES ('acc_001', 12::bigint, 13::bigint, 680::numeric)$$, 'a projection is a query');

-- Closing.
SELECT is(withdraw('acc_001', 1400), 14::bigint, 'an empty account');
SELECT is(es_append('acc_001', 14, 'account_closed', '{}'), 15::bigint, 'may be closed');
SELECT throws_ok($$SELECT withdraw('acc_001', 1)$$, 'P0100', NULL, 'and is not active any more');

SELECT * FROM finish();
