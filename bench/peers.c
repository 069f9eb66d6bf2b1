/*
 * peers.c
 *		Other event stores in SQL: how they append.
 *
 * Each lives in a database of its own in the same server, installed from its own
 * package (script/bench), with the indexes that it ships with and the same events in
 * it as the store.  Each appends in one prepared statement that commits by itself,
 * so all pay for one round trip; libraries around them often pay for more.  Ids are
 * as the store's, in ascending order, which is the cheapest for their indexes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

#define QUEUE_TICKS 130

static void fill_message_db(Call *call);
static void fill_emmett(Call *call);
static void fill_seed(Call *call);
static void fill_pgq(Call *call);
static void send_seed_steps(Side *side, const Call *call);
static bool emmett_appended(const PGresult *result);
static bool seed_appended(const PGresult *result);

Table bench_message_db_table = {.database = "message_db",
								.schemas = "^message_store$",
								.name = "message_store.messages",
								.setting = "SET search_path = message_store, public"};
Table bench_emmett_table = {.database = "emmett", .schemas = "^public$", .name = "emt_messages"};
Table bench_seed_table = {.database = "seed", .schemas = "^public$", .name = "events"};
static Table pgq_table = {.database = "pgq",
						  .schemas = "^pgq$",
						  .name = "pgq.event_1",
						  .append_only = true};

const Contender bench_message_db = {
	.name = "message-db",
	.table = &bench_message_db_table,
	.statement = "SELECT write_message($1, $2, $3, $4, NULL, $5)",
	.fill = fill_message_db,
};

const Contender bench_emmett = {
	.name = "Emmett",
	.table = &bench_emmett_table,
	.statement = "SELECT * FROM emt_append_to_stream($1::text[], $2::jsonb[], $3::jsonb[],"
				 " '{1}'::text[], $4::text[], '{E}'::text[], $5, $6, $7, 'emt:default')",
	.fill = fill_emmett,
	.appended = emmett_appended,
};

/*
 * The stream's version, whether the id is known, the event and its row in the
 * outbox: what the library does, in one statement.
 */
const Contender bench_seed = {
	.name = "seed, one statement",
	.table = &bench_seed_table,
	.statement =
		"WITH stream AS (SELECT coalesce(max(version), 0) AS version FROM events"
		"  WHERE aggregate_id = $1::uuid AND aggregate_type = $2::varchar),"
		" event AS (INSERT INTO events (event_id, event_type, aggregate_type, aggregate_id,"
		"  version, timestamp, payload)"
		"  SELECT $3::uuid, $4::varchar, $2, $1, version + 1, now(), $5::jsonb FROM stream"
		"  WHERE ($6::integer IS NULL OR version = $6)"
		"   AND NOT EXISTS (SELECT FROM events WHERE event_id = $3)"
		"  RETURNING version)"
		" INSERT INTO event_outbox (id, event_id, event_type, aggregate_id, aggregate_type,"
		"  event_data, created_at)"
		" SELECT $7::uuid, $3, $4, $1, $2, $5, now() FROM event RETURNING id",
	.fill = fill_seed,
	.appended = seed_appended,
};

static const char *const seed_steps[] = {
	"SELECT max(version) FROM events WHERE aggregate_id = $1 AND aggregate_type = $2",
	"SELECT EXISTS (SELECT FROM events WHERE event_id = $1)",
	"INSERT INTO events (event_id, event_type, aggregate_type, aggregate_id, version, timestamp,"
	" payload) VALUES ($3, $4, $2, $1, $6, now(), $5)",
	"INSERT INTO event_outbox (id, event_id, event_type, aggregate_id, aggregate_type, event_data,"
	" created_at) VALUES ($6, $3, $4, $1, $2, $5, now())",
	NULL,
};

/* The same as the library sends it: a transaction of statements. */
const Contender bench_seed_steps = {
	.name = "seed, its statements",
	.table = &bench_seed_table,
	.statement = "SELECT",
	.more = seed_steps,
	.fill = fill_seed,
	.send = send_seed_steps,
};

/* A queue: no streams, no versions. */
const Contender bench_pgq = {
	.name = "PgQ",
	.table = &pgq_table,
	.statement = "SELECT pgq.insert_event('bench', $1, $2, $3, NULL, NULL, NULL)",
	.fill = fill_pgq,
};

/* Versions begin at 0 there, and -1 is no stream. */
static void
fill_message_db(Call *call)
{
	const Event *event = call->events;

	bench_add_string(call, event->id);
	bench_add_string(call, event->stream);
	bench_add_string(call, EVENT_TYPE);
	bench_add_string(call, event->data);
	if (call->any)
		bench_add_param(call, NULL);
	else
		bench_add_int(call, event->version - 2);
}

static void
add_array(Call *call, const char *value)
{
	Text array = {0};

	bench_add_element(&array, value);
	bench_text_add(&array, "}", 1);
	bench_add_param(call, array.bytes);
}

static void
fill_emmett(Call *call)
{
	const Event *event = call->events;
	char         category[40];

	add_array(call, event->id);
	add_array(call, event->data);
	add_array(call, "{}");
	add_array(call, EVENT_TYPE);
	bench_add_string(call, event->stream);
	bench_add_string(call, bench_category_of(event, category));
	if (call->any)
		bench_add_param(call, NULL);
	else
		bench_add_int(call, event->version - 1);
}

static bool
emmett_appended(const PGresult *result)
{
	return PQntuples(result) == 1 && strcmp(PQgetvalue(result, 0, 0), "t") == 0;
}

/* A stream's key, which has up to 12 or 16 digits, as a UUID: see fill_peers. */
void
bench_key_of(const Event *event, char key[64])
{
	const char *digits = strchr(event->stream, '-') + 1;

	if (strlen(digits) == 16)
		snprintf(key, 64, "%.8s-%.4s-%.4s-8000-000000000000", digits, digits + 8, digits + 12);
	else
		snprintf(key, 64, "00000000-0000-4000-8000-%012lu", strtoul(digits, NULL, 10));
}

static void
add_aggregate(Call *call, const Event *event)
{
	char key[64];
	char category[40];

	bench_key_of(event, key);
	bench_add_string(call, key);
	bench_add_string(call, bench_category_of(event, category));
}

static void
fill_seed(Call *call)
{
	const Event *event = call->events;

	add_aggregate(call, event);
	bench_add_string(call, event->id);
	bench_add_string(call, EVENT_TYPE);
	bench_add_string(call, event->data);
	if (call->any)
		bench_add_param(call, NULL);
	else
		bench_add_int(call, event->version - 1);
	bench_add_string(call, event->id);
}

static bool
seed_appended(const PGresult *result)
{
	return PQntuples(result) == 1;
}

static PGresult *
step(Side *side, const char *name, int n, const char *const *params)
{
	return bench_check(side->conn, name,
					   PQexecPrepared(side->conn, name, n, params, NULL, NULL, 0));
}

static void
send_seed_steps(Side *side, const Call *call)
{
	const char *const *given = (const char *const *) call->params;
	const char        *event[] = {given[0], given[1], given[2], given[3], given[4], NULL};
	char               version[32];
	PGresult          *result;

	bench_execute(side->conn, "BEGIN");
	result = step(side, "call1", 2, given);
	if (atoll(PQgetvalue(result, 0, 0)) != atoll(given[5]))
		bench_die("seed", "a stream is not at the expected version");
	PQclear(result);
	PQclear(step(side, "call2", 1, &given[2]));
	snprintf(version, sizeof(version), "%lld", atoll(given[5]) + 1);
	event[5] = version;
	PQclear(step(side, "call3", 6, event));
	event[5] = given[6];
	PQclear(step(side, "call4", 6, event));
	bench_execute(side->conn, "COMMIT");
}

static void
fill_pgq(Call *call)
{
	bench_add_string(call, EVENT_TYPE);
	bench_add_string(call, call->events->data);
	bench_add_string(call, call->events->stream);
}

/* How a table gets the store's events: from a query there, by COPY, here. */
typedef struct Transfer
{
	const char *query;
	const char *copy;
} Transfer;

typedef struct Peer
{
	const Contender *contender;
	Transfer         transfers[2];
	const char      *sequence; /* brings it up, where the table has one that we have gone around */
} Peer;

#define EVENTS    " FROM es.events WHERE category <> 'long' ORDER BY position"
#define AGGREGATE "('00000000-0000-4000-8000-' || lpad(es_key(stream), 12, '0')), category"

static const Peer peers[] = {
	{&bench_message_db,
	 {{"SELECT position, version - 1, recorded_at AT TIME ZONE 'utc', stream, type, data, metadata,"
	   " id" EVENTS,
	   "COPY message_store.messages FROM STDIN"}},
	 "SELECT setval('message_store.messages_global_position_seq', max(global_position))"
	 " FROM message_store.messages"},
	{&bench_emmett,
	 {{"SELECT stream, max(version), 'emt:default', category, '{}', false FROM es.events"
	   " WHERE category <> 'long' GROUP BY stream, category",
	   "COPY emt_streams FROM STDIN"},
	  {"SELECT version, position, '3', stream, 'emt:default', '1', id, type, data, '{}'" EVENTS,
	   "COPY emt_messages (stream_position, global_position, transaction_id, stream_id, partition,"
	   " message_schema_version, message_id, message_type, message_data, message_metadata)"
	   " FROM STDIN"}},
	 "SELECT setval('emt_global_message_position', max(global_position)) FROM emt_messages"},
	{&bench_seed,
	 {{"SELECT id, type, " AGGREGATE ", version, recorded_at, data" EVENTS,
	   "COPY events (event_id, event_type, aggregate_id, aggregate_type, version, timestamp,"
	   " payload) FROM STDIN"},
	  {"SELECT id, id, type, " AGGREGATE ", data, recorded_at" EVENTS,
	   "COPY event_outbox (id, event_id, event_type, aggregate_id, aggregate_type, event_data,"
	   " created_at) FROM STDIN"}},
	 NULL},
};

static void
transfer(PGconn *from, PGconn *to, const Transfer *what)
{
	char  sql[1024];
	char *line;
	int   bytes;

	snprintf(sql, sizeof(sql), "COPY (%s) TO STDOUT", what->query);
	bench_execute(from, sql);
	bench_execute(to, what->copy);
	while ((bytes = PQgetCopyData(from, &line, 0)) > 0)
	{
		if (PQputCopyData(to, line, bytes) != 1)
			bench_die(what->copy, PQerrorMessage(to));
		PQfreemem(line);
	}
	if (bytes != -1 || PQputCopyEnd(to, NULL) != 1)
		bench_die(what->copy, PQerrorMessage(to));
	PQclear(bench_check(from, sql, PQgetResult(from)));
	PQclear(bench_check(to, what->copy, PQgetResult(to)));
	PQclear(PQgetResult(from));
	PQclear(PQgetResult(to));
}

static void
fill_peer(const Peer *peer, const char *info, PGconn *admin)
{
	Table  *table = peer->contender->table;
	PGconn *conn = bench_connect_table(table, info);

	for (size_t i = 0; i < lengthof(peer->transfers) && peer->transfers[i].query != NULL; i++)
		transfer(admin, conn, &peer->transfers[i]);
	if (peer->sequence != NULL)
		bench_execute(conn, peer->sequence);
	for (int i = 0; i < STREAMS; i++)
		table->versions[i] = FILL_EVENTS;
	bench_execute(conn, "VACUUM (FREEZE, ANALYZE)");
	PQfinish(conn);
}

/* A queue with a consumer that has so many ticks before it, of a thousand events each. */
static void
fill_queue(const char *info)
{
	PGconn *conn = bench_connect_table(bench_pgq.table, info);

	bench_execute(conn, "SELECT pgq.create_queue('bench'),"
						" pgq.register_consumer('bench', 'bench')");
	for (int i = 0; i < QUEUE_TICKS; i++)
	{
		bench_execute(conn, "SELECT count(pgq.insert_event('bench', '" EVENT_TYPE "',"
							" rpad('', 256, md5(i::text)))) FROM generate_series(1, 1000) i");
		bench_execute(conn, "SELECT pgq.ticker()");
	}
	bench_execute(conn, "VACUUM (FREEZE, ANALYZE)");
	PQfinish(conn);
}

/* Gives every peer that is installed the store's events, but for the one long stream. */
void
bench_fill_peers(const char *info, PGconn *admin)
{
	for (size_t i = 0; i < lengthof(peers); i++)
	{
		if (bench_has(peers[i].contender, admin))
			fill_peer(&peers[i], info, admin);
	}
	if (bench_has(&bench_pgq, admin))
		fill_queue(info);
}
