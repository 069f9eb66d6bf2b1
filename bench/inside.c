/*
 * inside.c
 *		Rows that are measured inside the server: a PL/pgSQL function of the
 *		connection's own does one contender's job again and again.
 *
 * A call from outside costs its message, the reading of its parameters and a commit
 * besides, the same for all, and that hides by how much they differ.  What a
 * function needs is handed over before the clock starts: arrays, in a temporary
 * table, a row for each call of the function.  Their elements are the events that
 * other rows send, one by one, in the types that each contender takes.
 */
#include <stdio.h>
#include <stdlib.h>

#include "bench.h"

static void fill_nothing(Call *call);

/* The statement is the function's, once for each i. */
#define INSIDE(title, where, words)                                                  \
	{                                                                                \
		.name = (title), .table = (where), .statement = (words), .unprepared = true, \
		.fill = fill_nothing                                                         \
	}

const Contender bench_inside_append =
	INSIDE("es_append", &bench_store_table,
		   "v := es_append(streams[i], versions[i] - 1, '" EVENT_TYPE "', payloads[i]);");

const Contender bench_inside_bare =
	INSIDE("bare INSERT", &bench_bare_table,
		   "INSERT INTO bench.bare (version, recorded_at, id, tenant, stream, category, type, data)"
		   " VALUES (versions[i], clock_timestamp(), ids[i], '', streams[i], categories[i],"
		   " '" EVENT_TYPE "', payloads[i]);");

const Contender bench_inside_message_db =
	INSIDE("message-db", &bench_message_db_table,
		   "v := write_message(names[i], streams[i], '" EVENT_TYPE "', payloads[i], NULL,"
		   " versions[i] - 2);");

const Contender bench_inside_emmett =
	INSIDE("Emmett", &bench_emmett_table,
		   "SELECT * INTO r FROM emt_append_to_stream(ARRAY[names[i]], ARRAY[payloads[i]],"
		   " '{\"{}\"}', '{1}', '{" EVENT_TYPE "}', '{E}', streams[i], categories[i],"
		   " versions[i] - 1, 'emt:default');"
		   " IF NOT r.success THEN RAISE 'nothing was appended'; END IF;");

const Contender bench_inside_seed =
	INSIDE("seed, one statement", &bench_seed_table,
		   "WITH stream AS (SELECT coalesce(max(version), 0) AS version FROM events"
		   "  WHERE aggregate_id = keys[i] AND aggregate_type = categories[i]),"
		   " event AS (INSERT INTO events (event_id, event_type, aggregate_type, aggregate_id,"
		   "  version, timestamp, payload)"
		   "  SELECT ids[i], '" EVENT_TYPE "', categories[i], keys[i], version + 1, now(),"
		   "   payloads[i] FROM stream"
		   "  WHERE version = versions[i] - 1"
		   "   AND NOT EXISTS (SELECT FROM events WHERE event_id = ids[i])"
		   "  RETURNING version)"
		   " INSERT INTO event_outbox (id, event_id, event_type, aggregate_id, aggregate_type,"
		   "  event_data, created_at)"
		   " SELECT ids[i], ids[i], '" EVENT_TYPE "', keys[i], categories[i], payloads[i], now()"
		   " FROM event;"
		   " IF NOT FOUND THEN RAISE 'nothing was appended'; END IF;");

const Contender bench_inside_seed_steps =
	INSIDE("seed, its statements", &bench_seed_table,
		   "SELECT max(version) INTO v FROM events"
		   " WHERE aggregate_id = keys[i] AND aggregate_type = categories[i];"
		   " IF coalesce(v, 0) <> versions[i] - 1 THEN RAISE 'not at this version'; END IF;"
		   " SELECT EXISTS (SELECT FROM events WHERE event_id = ids[i]) INTO known;"
		   " IF known THEN RAISE 'the id is known'; END IF;"
		   " INSERT INTO events (event_id, event_type, aggregate_type, aggregate_id, version,"
		   "  timestamp, payload) VALUES (ids[i], '" EVENT_TYPE "', categories[i], keys[i],"
		   "  versions[i], now(), payloads[i]);"
		   " INSERT INTO event_outbox (id, event_id, event_type, aggregate_id, aggregate_type,"
		   "  event_data, created_at) VALUES (ids[i], ids[i], '" EVENT_TYPE "', keys[i],"
		   "  categories[i], payloads[i], now());");

/* Readers go through the rows with all of their columns, and count them. */
#define COUNT(query) "s := streams[i]; FOR r IN " query " LOOP n := n + 1; END LOOP;"

const Contender bench_inside_load =
	INSIDE("es_load", &bench_log_table, COUNT("SELECT * FROM es_load(s)"));

const Contender bench_inside_select = INSIDE("SELECT", &bench_log_table, COUNT(SELECT_STREAM("s")));

const Contender bench_inside_message_db_stream =
	INSIDE("message-db", &bench_message_db_table,
		   COUNT("SELECT * FROM get_stream_messages(s, 0, -1)"));

/* Plans are kept as PL/pgSQL keeps them; nothing is compressed, so nothing unpacked. */
static const char make_job[] =
	"CREATE TEMPORARY TABLE job (part integer, streams text[], categories text[],"
	" versions bigint[], ids uuid[], names text[], keys uuid[], payloads jsonb[]);"
	"ALTER TABLE job ALTER streams SET STORAGE external, ALTER categories SET STORAGE external,"
	" ALTER versions SET STORAGE external, ALTER ids SET STORAGE external,"
	" ALTER names SET STORAGE external, ALTER keys SET STORAGE external,"
	" ALTER payloads SET STORAGE external";

static const char give_job[] = "INSERT INTO job VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";

static const char do_job[] =
	"SELECT pg_temp.work(streams, categories, versions, ids, names, keys, payloads)"
	" FROM job WHERE part = $1";

static void
fill_nothing(Call *call)
{
	(void) call;
}

/* Instead of preparing a contender's statement: makes it a function, and what feeds it. */
void
bench_prepare_inside(Side *side)
{
	char sql[4096];

	snprintf(sql, sizeof(sql),
			 "CREATE FUNCTION pg_temp.work(streams text[], categories text[], versions bigint[],"
			 " ids uuid[], names text[], keys uuid[], payloads jsonb[]) RETURNS bigint"
			 " LANGUAGE plpgsql AS $$"
			 " DECLARE v bigint; s text; known boolean; r record; n bigint := 0;"
			 " BEGIN FOR i IN 1 .. cardinality(streams) LOOP %s END LOOP; RETURN n; END $$",
			 side->contender->statement);
	bench_execute(side->conn, make_job);
	bench_execute(side->conn, sql);
	PQclear(bench_check(side->conn, give_job, PQprepare(side->conn, "give", give_job, 0, NULL)));
	PQclear(bench_check(side->conn, do_job, PQprepare(side->conn, "do", do_job, 0, NULL)));
}

/* The parts of a round: calls of the function, the last of them perhaps shorter. */
static int
part_size(const Row *row, int first)
{
	return row->calls - first < row->per_transaction ? row->calls - first : row->per_transaction;
}

static void
add_event(Text arrays[7], const Event *event)
{
	char category[40];
	char key[64];
	char version[32];

	snprintf(version, sizeof(version), "%lld", (long long) event->version);
	bench_key_of(event, key);
	bench_add_element(&arrays[0], event->stream);
	bench_add_element(&arrays[1], bench_category_of(event, category));
	bench_add_element(&arrays[2], version);
	bench_add_element(&arrays[3], event->id);
	bench_add_element(&arrays[4], event->id);
	bench_add_element(&arrays[5], key);
	bench_add_element(&arrays[6], event->data);
}

/* One call of the function; who reads is given the streams only. */
static void
give_part(Side *side, const Row *row, const Call *calls, int first)
{
	Text        arrays[7] = {0};
	char        part[32];
	const char *params[8] = {part};

	snprintf(part, sizeof(part), "%d", first);
	for (int i = first; i < first + part_size(row, first); i++)
	{
		if (row->reads)
			bench_add_element(&arrays[0], calls[i].events->stream);
		else
			add_event(arrays, calls[i].events);
	}
	for (int i = 0; i < 7; i++)
	{
		if (arrays[i].used > 0)
			bench_text_add(&arrays[i], "}", 1);
		params[i + 1] = arrays[i].bytes;
	}
	PQclear(bench_check(side->conn, give_job,
						PQexecPrepared(side->conn, "give", 8, params, NULL, NULL, 0)));
	for (int i = 0; i < 7; i++)
		free(arrays[i].bytes);
}

/* Hands a round's calls over. */
void
bench_give_inside(Side *side, const Row *row, const Call *calls)
{
	bench_execute(side->conn, "TRUNCATE job");
	for (int i = 0; i < row->calls; i += row->per_transaction)
		give_part(side, row, calls, i);
}

/* Does what has been handed over. */
void
bench_do_inside(Side *side, const Row *row)
{
	for (int i = 0; i < row->calls; i += row->per_transaction)
	{
		char        part[32];
		const char *params[] = {part};
		PGresult   *result;

		snprintf(part, sizeof(part), "%d", i);
		result = bench_check(side->conn, side->contender->statement,
							 PQexecPrepared(side->conn, "do", 1, params, NULL, NULL, 0));
		if (row->reads && atoi(PQgetvalue(result, 0, 0)) != part_size(row, i) * row->batch)
			bench_die(side->contender->name, "a stream has not the events that it was given");
		PQclear(result);
	}
}
