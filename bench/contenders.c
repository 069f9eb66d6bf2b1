/*
 * contenders.c
 *		The contenders: their statements and what they send.
 */
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "bench.h"

static void fill_append(Call *call);
static void fill_bare(Call *call);
static void fill_bare_id(Call *call);
static void fill_batch(Call *call);
static void fill_copy(Call *call);
static void send_prepared(PGconn *conn, const char *statement, const Call *call);
static void send_copy(PGconn *conn, const char *statement, const Call *call);

const Contender bench_append = {
	.name = "es_append",
	.table = "es.events",
	.statement = "SELECT es_append($1, $2, $3, $4)",
	.prepared = true,
	.channel = "es_events",
	.fill = fill_append,
	.send = send_prepared,
};

/* The id comes from the client and is a UUIDv7, as ours are: the cheapest INSERT. */
const Contender bench_bare = {
	.name = "bare INSERT",
	.table = "bench.bare",
	.statement = "INSERT INTO bench.bare (version, recorded_at, id, tenant, stream, category,"
				 " type, data) VALUES ($2, clock_timestamp(), $6, '', $1, $5, $3, $4)",
	.prepared = true,
	.fill = fill_bare_id,
	.send = send_prepared,
};

const Contender bench_bare_random = {
	.name = "bare, gen_random_uuid()",
	.table = "bench.bare_random",
	.statement = "INSERT INTO bench.bare_random (version, recorded_at, id, tenant, stream,"
				 " category, type, data)"
				 " VALUES ($2, clock_timestamp(), gen_random_uuid(), '', $1, $5, $3, $4)",
	.prepared = true,
	.fill = fill_bare,
	.send = send_prepared,
};

/* What one does without a publisher: the appending transaction notifies. */
const Contender bench_append_notify = {
	.name = "es_append, NOTIFY in tx",
	.table = "es.events",
	.statement = "SELECT pg_notify('bench', es_append($1, $2, $3, $4)::text)",
	.prepared = true,
	.channel = "bench",
	.fill = fill_append,
	.send = send_prepared,
};

/* The same where there is no publisher: nothing but this transaction is at work. */
const Contender bench_bare_notify = {
	.name = "INSERT, NOTIFY in tx",
	.table = "bench.bare",
	.statement = "WITH event AS (INSERT INTO bench.bare (version, recorded_at, id, tenant, stream,"
				 " category, type, data)"
				 " VALUES ($2, clock_timestamp(), $6, '', $1, $5, $3, $4) RETURNING version)"
				 " SELECT pg_notify('bench', version::text) FROM event",
	.prepared = true,
	.channel = "bench",
	.fill = fill_bare_id,
	.send = send_prepared,
};

const Contender bench_batch = {
	.name = "es_append_batch",
	.table = "es.events",
	.statement = "SELECT * FROM es_append_batch($1, $2, $3, $4)",
	.prepared = true,
	.channel = "es_events",
	.fill = fill_batch,
	.send = send_prepared,
};

const Contender bench_copy = {
	.name = "bare COPY",
	.table = "bench.bare",
	.statement = "COPY bench.bare (position, version, recorded_at, id, tenant, stream, category,"
				 " type, data) FROM STDIN",
	.fill = fill_copy,
	.send = send_copy,
};

static void
add_param(Call *call, char *param)
{
	call->params[call->nparams++] = param;
}

static void
add_int_param(Call *call, int64_t number)
{
	Text text = {0};

	bench_text_add_int(&text, number);
	add_param(call, text.bytes);
}

static const char *
category_of(const Event *event)
{
	return strncmp(event->stream, CATEGORY "-", strlen(CATEGORY "-")) == 0 ? CATEGORY
																		   : FRESH_CATEGORY;
}

static void
fill_append(Call *call)
{
	const Event *event = call->events;

	add_param(call, bench_copy_string(event->stream));
	add_int_param(call, event->version - 1);
	add_param(call, bench_copy_string(EVENT_TYPE));
	add_param(call, bench_copy_string(event->data));
}

static void
fill_bare(Call *call)
{
	const Event *event = call->events;

	add_param(call, bench_copy_string(event->stream));
	add_int_param(call, event->version);
	add_param(call, bench_copy_string(EVENT_TYPE));
	add_param(call, bench_copy_string(event->data));
	add_param(call, bench_copy_string(category_of(event)));
}

static void
fill_bare_id(Call *call)
{
	fill_bare(call);
	add_param(call, bench_copy_string(call->events->id));
}

/* An element of an array in text form. */
static void
add_element(Text *array, const char *value)
{
	bench_text_add_string(array, array->used == 0 ? "{\"" : ",\"");
	for (; *value; value++)
	{
		if (*value == '"' || *value == '\\')
			bench_text_add(array, "\\", 1);
		bench_text_add(array, value, 1);
	}
	bench_text_add(array, "\"", 1);
}

static void
fill_batch(Call *call)
{
	Text types = {0};
	Text data = {0};

	for (int i = 0; i < call->nevents; i++)
	{
		add_element(&types, EVENT_TYPE);
		add_element(&data, call->events[i].data);
	}
	bench_text_add(&types, "}", 1);
	bench_text_add(&data, "}", 1);
	add_param(call, bench_copy_string(call->events->stream));
	add_int_param(call, call->events->version - 1);
	add_param(call, types.bytes);
	add_param(call, data.bytes);
}

/* The lines of a COPY; the data have nothing to be escaped. */
static void
fill_copy(Call *call)
{
	Text text = {0};
	char now[40];

	for (int i = 0; i < call->nevents; i++)
	{
		const Event *event = &call->events[i];
		time_t       seconds = time(NULL);

		strftime(now, sizeof(now), "%Y-%m-%d %H:%M:%S.123456+00", gmtime(&seconds));
		bench_text_add_int(&text, event->position);
		bench_text_add(&text, "\t", 1);
		bench_text_add_int(&text, event->version);
		bench_text_add(&text, "\t", 1);
		bench_text_add_string(&text, now);
		bench_text_add(&text, "\t", 1);
		bench_text_add_string(&text, event->id);
		bench_text_add(&text, "\t\t", 2);
		bench_text_add_string(&text, event->stream);
		bench_text_add(&text, "\t", 1);
		bench_text_add_string(&text, category_of(event));
		bench_text_add_string(&text, "\t" EVENT_TYPE "\t");
		bench_text_add_string(&text, event->data);
		bench_text_add(&text, "\n", 1);
	}
	add_param(call, text.bytes);
}

static void
send_prepared(PGconn *conn, const char *statement, const Call *call)
{
	PGresult *result = PQexecPrepared(conn, "call", call->nparams,
									  (const char *const *) call->params, NULL, NULL, 0);

	if (PQresultStatus(result) != PGRES_TUPLES_OK && PQresultStatus(result) != PGRES_COMMAND_OK)
		bench_die(statement, PQerrorMessage(conn));
	PQclear(result);
}

static void
send_copy(PGconn *conn, const char *statement, const Call *call)
{
	PGresult *result;

	bench_execute(conn, statement);
	if (PQputCopyData(conn, call->params[0], (int) strlen(call->params[0])) != 1 ||
		PQputCopyEnd(conn, NULL) != 1)
		bench_die(statement, PQerrorMessage(conn));
	while ((result = PQgetResult(conn)) != NULL)
	{
		if (PQresultStatus(result) != PGRES_COMMAND_OK)
			bench_die(statement, PQerrorMessage(conn));
		PQclear(result);
	}
}
