/*
 * contenders.c
 *		The store's append and what PostgreSQL does without it: statements, and what
 *		is sent.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench.h"

static void fill_append(Call *call);
static void fill_bare(Call *call);
static void fill_batch(Call *call);
static void fill_copy(Call *call);
static void send_copy(Side *side, const Call *call);

const Contender bench_append = {
	.name = "es_append",
	.table = &bench_store_table,
	.statement = "SELECT es_append($1, $2, $3, $4)",
	.channel = "es_events",
	.fill = fill_append,
};

/* The id comes from the client and is a UUIDv7, as ours are: the cheapest INSERT. */
const Contender bench_bare = {
	.name = "bare INSERT",
	.table = &bench_bare_table,
	.statement = "INSERT INTO bench.bare (version, recorded_at, id, tenant, stream, category,"
				 " type, data) VALUES ($2, clock_timestamp(), $6, '', $1, $5, $3, $4)",
	.fill = fill_bare,
};

/* What one does without a publisher: the appending transaction notifies. */
const Contender bench_append_notify = {
	.name = "es_append, NOTIFY in tx",
	.table = &bench_store_table,
	.statement = "SELECT pg_notify('bench', es_append($1, $2, $3, $4)::text)",
	.channel = "bench",
	.fill = fill_append,
};

/* The same where there is no publisher: nothing but this transaction is at work. */
const Contender bench_bare_notify = {
	.name = "INSERT, NOTIFY in tx",
	.table = &bench_bare_table,
	.statement = "WITH event AS (INSERT INTO bench.bare (version, recorded_at, id, tenant, stream,"
				 " category, type, data)"
				 " VALUES ($2, clock_timestamp(), $6, '', $1, $5, $3, $4) RETURNING version)"
				 " SELECT pg_notify('bench', version::text) FROM event",
	.channel = "bench",
	.fill = fill_bare,
};

const Contender bench_batch = {
	.name = "es_append_batch",
	.table = &bench_store_table,
	.statement = "SELECT * FROM es_append_batch($1, $2, $3, $4)",
	.channel = "es_events",
	.fill = fill_batch,
};

const Contender bench_copy = {
	.name = "bare COPY",
	.table = &bench_bare_table,
	.statement = "COPY bench.bare (position, version, recorded_at, id, tenant, stream, category,"
				 " type, data) FROM STDIN",
	.unprepared = true,
	.fill = fill_copy,
	.send = send_copy,
};

/* A parameter in memory of its own, which the call owns from now on. */
void
bench_add_param(Call *call, char *param)
{
	call->params[call->nparams++] = param;
}

void
bench_add_string(Call *call, const char *string)
{
	bench_add_param(call, bench_copy_string(string));
}

void
bench_add_int(Call *call, int64_t number)
{
	Text text = {0};

	bench_text_add_int(&text, number);
	bench_add_param(call, text.bytes);
}

const char *
bench_category_of(const Event *event, char category[40])
{
	size_t length = strcspn(event->stream, "-");

	memcpy(category, event->stream, length);
	category[length] = '\0';
	return category;
}

static void
fill_append(Call *call)
{
	const Event *event = call->events;

	bench_add_string(call, event->stream);
	bench_add_int(call, call->any ? -1 : event->version - 1);
	bench_add_string(call, EVENT_TYPE);
	bench_add_string(call, event->data);
}

static void
fill_bare(Call *call)
{
	const Event *event = call->events;
	char         category[40];

	bench_add_string(call, event->stream);
	bench_add_int(call, event->version);
	bench_add_string(call, EVENT_TYPE);
	bench_add_string(call, event->data);
	bench_add_string(call, bench_category_of(event, category));
	bench_add_string(call, event->id);
}

/* An element of an array in text form; "}" is the caller's. */
void
bench_add_element(Text *array, const char *value)
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
		bench_add_element(&types, EVENT_TYPE);
		bench_add_element(&data, call->events[i].data);
	}
	bench_text_add(&types, "}", 1);
	bench_text_add(&data, "}", 1);
	bench_add_string(call, call->events->stream);
	bench_add_int(call, call->any ? -1 : call->events->version - 1);
	bench_add_param(call, types.bytes);
	bench_add_param(call, data.bytes);
}

/* The lines of a COPY; the data have nothing to be escaped. */
static void
fill_copy(Call *call)
{
	Text text = {0};
	char now[40];
	char category[40];

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
		bench_text_add_string(&text, bench_category_of(event, category));
		bench_text_add_string(&text, "\t" EVENT_TYPE "\t");
		bench_text_add_string(&text, event->data);
		bench_text_add(&text, "\n", 1);
	}
	bench_add_param(call, text.bytes);
}

/* Sends a call in the contender's way, and takes its result. */
void
bench_send(Side *side, const Call *call)
{
	const Contender *contender = side->contender;
	PGresult        *result;

	if (contender->send != NULL)
	{
		contender->send(side, call);
		return;
	}
	result = PQexecPrepared(side->conn, "call", call->nparams, (const char *const *) call->params,
							NULL, NULL, 0);
	bench_check(side->conn, contender->statement, result);
	if (contender->appended != NULL && !contender->appended(result))
		bench_die(contender->statement, "nothing was appended");
	PQclear(result);
}

static void
send_copy(Side *side, const Call *call)
{
	const char *statement = side->contender->statement;
	PGresult   *result;

	bench_execute(side->conn, statement);
	if (PQputCopyData(side->conn, call->params[0], (int) strlen(call->params[0])) != 1 ||
		PQputCopyEnd(side->conn, NULL) != 1)
		bench_die(statement, PQerrorMessage(side->conn));
	while ((result = PQgetResult(side->conn)) != NULL)
		PQclear(bench_check(side->conn, statement, result));
}
