-- What the appenders of EsStress.pm do in the server.  Events of type Kept belong
-- to what commits, events of type Gone to what is rolled back: nobody ever sees
-- one.  All decisions are drawn from random(), which the client seeds.  The
-- pauses are part of the load: they make transactions overlap.

CREATE SCHEMA stress;

-- A pause of up to so many milliseconds, in so many of a hundred cases.
CREATE FUNCTION stress.pause(percent float8, ms float8) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	IF random() * 100 < percent THEN
		PERFORM pg_sleep(random() * ms / 1000);
	END IF;
END $$;

-- One call, of one event or many; returns how many.
CREATE FUNCTION stress.append(stream text, type text) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
	r float8 := random();
	n int := CASE WHEN r < 0.6 THEN 1 WHEN r < 0.95 THEN 2 + random() * 18 ELSE 20 + random() * 180 END;
BEGIN
	IF n > 1 THEN
		PERFORM es_append_batch(stream, -1, array_fill(type, ARRAY[n]), array_fill('{"n": 1}'::jsonb, ARRAY[n]));
	ELSIF random() < 0.2 THEN
		n := 2;
		PERFORM es_append_json(format('[{"stream": %1$s, "expected": -1, "events": [{"type": %2$s, "data": 1}]},
			{"stream": %3$s, "expected": -1, "events": [{"type": %2$s, "data": 2}]}]',
			to_json(stream), to_json(type), to_json(stream || '-too'))::jsonb);
	ELSE
		PERFORM es_append(stream, -1, type, '{}');
	END IF;
	RETURN n;
END $$;

-- Some calls on streams of the client's own, some within savepoints, of which
-- some are rolled back.
CREATE FUNCTION stress.steps(client int, type text, depth int, OUT events int, OUT undone int) LANGUAGE plpgsql AS $$
DECLARE
	r float8;
	inner_events int;
	inner_undone int;
BEGIN
	events := 0;
	undone := 0;
	FOR i IN 1 .. 1 + random() * 3 LOOP
		r := random();
		IF r < 0.25 AND depth < 3 THEN
			BEGIN
				PERFORM stress.steps(client, 'Gone', depth + 1);
				RAISE SQLSTATE 'ES000';
			EXCEPTION WHEN SQLSTATE 'ES000' THEN
				undone := undone + 1;
			END;
		ELSIF r < 0.35 AND depth < 3 THEN
			BEGIN
				SELECT * INTO inner_events, inner_undone FROM stress.steps(client, type, depth + 1);
				events := events + inner_events;
				undone := undone + inner_undone;
			EXCEPTION WHEN SQLSTATE 'ES000' THEN
				RAISE 'cannot happen';
			END;
		ELSE
			events := events + stress.append(format('c%s-%s', client, floor(random() * 50)), type);
		END IF;
		PERFORM stress.pause(15, 6);
	END LOOP;
END $$;

-- A number of transactions.  A stream that clients share comes first in one, so
-- that nobody who waits for it holds another.
CREATE PROCEDURE stress.work(client int, seed float8, transactions int,
	INOUT events int = 0, INOUT undone int = 0, INOUT rolled_back int = 0) LANGUAGE plpgsql AS $$
DECLARE
	gone boolean;
	type text;
	done record;
	shared int;
BEGIN
	PERFORM setseed(seed);
	FOR i IN 1 .. transactions LOOP
		gone := random() < 0.1;
		type := CASE WHEN gone THEN 'Gone' ELSE 'Kept' END;
		shared := 0;
		IF random() < 0.1 THEN
			shared := stress.append('shared-' || floor(random() * 20), type);
		END IF;
		done := stress.steps(client, type, 1);
		undone := undone + done.undone;
		IF gone THEN
			ROLLBACK;
			rolled_back := rolled_back + 1;
		ELSE
			COMMIT;
			events := events + done.events + shared;
		END IF;
		PERFORM stress.pause(15, 6);
	END LOOP;
END $$;
