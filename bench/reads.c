/*
 * reads.c
 *		The readers: streams, the log, one category of it, and consumers that go
 *		through it in batches; and the SELECTs that do the same without the store.
 *
 * A SELECT reads the store's own table, in the order of an index, with a plan that
 * is kept: it sorts nothing and plans nothing.  It does not ask what is published.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

#define PAGE          "1000"
#define CONSUME_PAGES 10

#define LOG_COLUMNS \
	"position, stream, version, type, data, metadata, recorded_at, id, payload, tenant"

static void fill_stream(Call *call);
static void fill_nothing(Call *call);
static void send_unprepared(Side *side, const Call *call);
static void send_pages(Side *side, const Call *call);
static void send_batches(Side *side, const Call *call);
static void send_outbox(Side *side, const Call *call);
static void send_pgq_batches(Side *side, const Call *call);

/* The plans of statements that are prepared are made once, and sort nothing. */
Table bench_log_table = {.name = "es.events",
						 .setting = "SET plan_cache_mode = force_generic_plan;"
									" SET enable_seqscan = off; SET enable_bitmapscan = off;"
									" SET enable_sort = off"};

#define READER(title, where, sql, filler, sender)                                                 \
	{                                                                                             \
		.name = (title), .table = (where), .statement = (sql), .fill = (filler), .send = (sender) \
	}

const Contender bench_load_stream =
	READER("es_load", &bench_log_table, "SELECT * FROM es_load($1)", fill_stream, NULL);
const Contender bench_select_stream =
	READER("SELECT", &bench_log_table, SELECT_STREAM("$1"), fill_stream, NULL);
const Contender bench_load_limit = READER("es_load, LIMIT 10", &bench_log_table,
										  "SELECT * FROM es_load($1) LIMIT 10", fill_stream, NULL);
const Contender bench_select_limit = READER("SELECT, LIMIT 10", &bench_log_table,
											SELECT_STREAM("$1") " LIMIT 10", fill_stream, NULL);

const Contender bench_load_unprepared = {
	.name = "es_load, unprepared",
	.table = &bench_log_table,
	.statement = "SELECT * FROM es_load($1)",
	.unprepared = true,
	.fill = fill_stream,
	.send = send_unprepared,
};

const Contender bench_select_unprepared = {
	.name = "SELECT, unprepared",
	.table = &bench_log_table,
	.statement = SELECT_STREAM("$1"),
	.unprepared = true,
	.fill = fill_stream,
	.send = send_unprepared,
};

const Contender bench_rehydrate_long =
	READER("es_rehydrate, 200,000 events", &bench_log_table,
		   "SELECT * FROM es_rehydrate('long-0000')", fill_nothing, NULL);
const Contender bench_rehydrate_short =
	READER("es_rehydrate, 100 events", &bench_log_table,
		   "SELECT * FROM es_rehydrate('hundred-0000')", fill_nothing, NULL);

const Contender bench_read_log =
	READER("es_read", &bench_log_table, "SELECT * FROM es_read($1, " PAGE ")", fill_nothing,
		   send_pages);
const Contender bench_select_log = READER("SELECT", &bench_log_table,
										  "SELECT " LOG_COLUMNS " FROM es.events"
										  " WHERE position > $1 ORDER BY position LIMIT " PAGE,
										  fill_nothing, send_pages);
const Contender bench_read_rare =
	READER("es_read, a category", &bench_log_table,
		   "SELECT * FROM es_read($1, " PAGE ", ARRAY['" RARE_CATEGORY "'])", fill_nothing,
		   send_pages);
const Contender bench_select_rare =
	READER("SELECT, a category", &bench_log_table,
		   "SELECT " LOG_COLUMNS " FROM es.events WHERE category = '" RARE_CATEGORY "'"
		   " AND position > $1 ORDER BY category, position LIMIT " PAGE,
		   fill_nothing, send_pages);

const Contender bench_consume_log =
	READER("es_read", &bench_log_table, "SELECT * FROM es_read($1, " PAGE ")", fill_nothing,
		   send_batches);

/* The events are marked in the statement that fetches them. */
static Table    outbox_table = {.database = "seed", .name = "event_outbox"};
const Contender bench_consume_outbox =
	READER("seed, outbox", &outbox_table,
		   "UPDATE event_outbox o SET status = 'published', processed_at = now() FROM"
		   " (SELECT id FROM event_outbox WHERE status = 'pending' ORDER BY created_at LIMIT " PAGE
		   "  FOR UPDATE SKIP LOCKED) batch WHERE o.id = batch.id RETURNING o.*",
		   fill_nothing, send_outbox);

static Table             queue_table = {.database = "pgq", .name = "pgq.event_1"};
static const char *const pgq_steps[] = {
	"SELECT * FROM pgq.get_batch_events($1)",
	"SELECT pgq.finish_batch($1)",
	NULL,
};

const Contender bench_consume_pgq = {
	.name = "PgQ, batches",
	.table = &queue_table,
	.statement = "SELECT pgq.next_batch('bench', 'bench')",
	.more = pgq_steps,
	.fill = fill_nothing,
	.send = send_pgq_batches,
};

/* message-db's own limit of 1000 is lifted. */
static Table    message_db_table = {.database = "message_db",
									.name = "message_store.messages",
									.setting = "SET search_path = message_store, public"};
const Contender bench_message_db_stream =
	READER("message-db", &message_db_table, "SELECT * FROM get_stream_messages($1, 0, -1)",
		   fill_stream, NULL);

static void
fill_stream(Call *call)
{
	bench_add_string(call, call->events->stream);
}

static void
fill_nothing(Call *call)
{
	(void) call;
}

static void
send_unprepared(Side *side, const Call *call)
{
	PQclear(bench_check(side->conn, side->contender->statement,
						PQexecParams(side->conn, side->contender->statement, call->nparams, NULL,
									 (const char *const *) call->params, NULL, NULL, 0)));
}

static PGresult *
execute(Side *side, const char *name, const char *param)
{
	return bench_check(side->conn, side->contender->statement,
					   PQexecPrepared(side->conn, name, param == NULL ? 0 : 1, &param, NULL, NULL,
									  0));
}

/* The page after the last position; moves there, and answers how many events it had. */
static int
next_page(Side *side)
{
	char      after[32];
	PGresult *result;
	int       n;

	snprintf(after, sizeof(after), "%lld", (long long) side->position);
	result = execute(side, "call", after);
	n = PQntuples(result);
	if (n > 0)
		side->position = atoll(PQgetvalue(result, n - 1, 0));
	PQclear(result);
	return n;
}

/* From the first event to the last. */
static void
send_pages(Side *side, const Call *call)
{
	(void) call;
	side->position = 0;
	while (next_page(side) > 0)
		;
}

/* On from where the last call ended. */
static void
send_batches(Side *side, const Call *call)
{
	(void) call;
	for (int i = 0; i < CONSUME_PAGES; i++)
	{
		if (next_page(side) == 0)
			bench_die(side->contender->name, "there are not enough events");
	}
}

static void
send_outbox(Side *side, const Call *call)
{
	(void) call;
	for (int i = 0; i < CONSUME_PAGES; i++)
	{
		PGresult *result = execute(side, "call", NULL);

		if (PQntuples(result) == 0)
			bench_die(side->contender->name, "there are not enough events");
		PQclear(result);
	}
}

static void
send_pgq_batches(Side *side, const Call *call)
{
	(void) call;
	for (int i = 0; i < CONSUME_PAGES; i++)
	{
		PGresult *result = execute(side, "call", NULL);
		char     *batch = bench_copy_string(PQgetvalue(result, 0, 0));
		int       n;

		PQclear(result);
		result = execute(side, "call1", batch);
		n = PQntuples(result);
		PQclear(result);
		if (n != atoi(PAGE))
			bench_die(side->contender->name, "a batch has not the events of a tick");
		PQclear(execute(side, "call2", batch));
		free(batch);
	}
}
