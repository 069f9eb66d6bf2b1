/*
 * tables.c
 *		The store, a table like its own, and the same events in both.
 *
 * The streams, of EVENT_TYPE throughout, in the order in which they are made:
 *
 *		account-NNNN	STREAMS of FILL_EVENTS events, which the appends go on with
 *		ten-NNNN		TEN_STREAMS of 10 events
 *		tenk-NNNN		TENK_STREAMS of 10,000 events
 *		hundred-0000	100 events, with a snapshot at 90
 *		long-0000		LONG_EVENTS events, with a snapshot 10 before the end
 *		rare-NNNN		one event after every hundred of the others
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

Table bench_store_table = {.schemas = "^es(_private)?$", .name = "es.events"};
Table bench_bare_table = {.schemas = "^bench$", .name = "bench.bare", .positions = true};

/* Is the contender's database there?  Peers that could not be fetched are not. */
bool
bench_has(const Contender *contender, PGconn *admin)
{
	Table *table = contender->table;
	char   sql[128];

	if (table->missing == 0)
	{
		snprintf(sql, sizeof(sql), "SELECT count(*) FROM pg_database WHERE datname = '%s'",
				 table->database == NULL ? PQdb(admin) : table->database);
		table->missing = bench_query_number(admin, sql) == 1 ? 1 : 2;
	}
	return table->missing == 1;
}

/* Appends events to a stream of the store, in calls of so many. */
void
bench_append_stream(PGconn *conn, const char *stream, int64_t version, int events, int batch)
{
	Side side = {.contender = &bench_batch, .conn = conn};

	for (int i = 0; i < events; i += batch)
	{
		Call call = {0};

		bench_make_call(side.contender, stream, version + 1 + i, batch, false, &call);
		bench_send(&side, &call);
		bench_free_call(&call);
	}
}

/* As before, with the rare events behind each call. */
static void
fill_stream(PGconn *conn, const char *category, int number, int events, int batch)
{
	static int n = 0; /* events that have no rare one behind them */
	static int rare = 0;
	char       stream[40];

	snprintf(stream, sizeof(stream), "%s-%04d", category, number);
	for (int done = 0; done < events; done += batch)
	{
		bench_append_stream(conn, stream, done, batch, batch);
		for (n += batch; n >= 100; n -= 100)
		{
			snprintf(stream, sizeof(stream), RARE_CATEGORY "-%04d", rare % STREAMS);
			bench_append_stream(conn, stream, rare / STREAMS, 1, 1);
			rare++;
		}
		snprintf(stream, sizeof(stream), "%s-%04d", category, number);
	}
}

static void
fill_store(PGconn *conn)
{
	char sql[128];

	PQclear(PQprepare(conn, "call", bench_batch.statement, 0, NULL));
	bench_execute(conn, "BEGIN");
	for (int i = 0; i < STREAMS; i++)
		fill_stream(conn, CATEGORY, i, FILL_EVENTS, FILL_EVENTS);
	for (int i = 0; i < TEN_STREAMS; i++)
		fill_stream(conn, "ten", i, 10, 10);
	for (int i = 0; i < TENK_STREAMS; i++)
		fill_stream(conn, "tenk", i, 10000, 1000);
	fill_stream(conn, "hundred", 0, 100, 100);
	fill_stream(conn, "long", 0, LONG_EVENTS, 1000);
	bench_execute(conn, "SELECT es_snapshot('hundred-0000', 90, '{\"balance\": 1}')");
	snprintf(sql, sizeof(sql), "SELECT es_snapshot('long-0000', %d, '{\"balance\": 1}')",
			 LONG_EVENTS - 10);
	bench_execute(conn, sql);
	bench_execute(conn, "COMMIT");
	bench_execute(conn, "DEALLOCATE call");
}

/*
 * The columns, NOT NULLs and indexes of es.events, and its events; neither its
 * guards nor its CHECK constraints.
 */
static void
make_bare(PGconn *conn)
{
	bench_execute(conn, "CREATE SCHEMA bench");
	bench_execute(conn, "CREATE TABLE bench.bare (LIKE es.events INCLUDING INDEXES)");
	bench_execute(conn, "CREATE SEQUENCE bench.bare_seq CACHE 1 OWNED BY bench.bare.position");
	bench_execute(conn, "ALTER TABLE bench.bare ALTER position SET DEFAULT"
						" nextval('bench.bare_seq')");
	bench_execute(conn, "INSERT INTO bench.bare SELECT * FROM es.events ORDER BY position");
}

void
bench_make_tables(PGconn *conn)
{
	bench_execute(conn, "CREATE EXTENSION pg_eventstore");
	bench_execute(conn, "SELECT es_init()");
	fill_store(conn);
	make_bare(conn);
	for (int i = 0; i < STREAMS; i++)
	{
		bench_store_table.versions[i] = FILL_EVENTS;
		bench_bare_table.versions[i] = FILL_EVENTS;
	}
	bench_execute(conn, "VACUUM (FREEZE, ANALYZE) es.events, bench.bare");
	bench_execute(conn, "CHECKPOINT");
}

/* Positions that COPY gave are behind the sequence; brings it up, and reads where it is. */
void
bench_read_position(Side *side)
{
	const Table *table = side->contender->table;
	char         sql[1024];

	if (!table->positions)
		return;
	snprintf(sql, sizeof(sql),
			 "SELECT setval(pg_get_serial_sequence('%s', 'position'), max(position)) FROM %s",
			 table->name, table->name);
	side->position = (int64_t) bench_query_number(side->conn, sql);
}

PGconn *
bench_connect_table(const Table *table, const char *info)
{
	PGconn *conn = bench_connect(info, table->database);

	if (table->setting != NULL)
		bench_execute(conn, table->setting);
	return conn;
}

/* Prepares the statements of a contender: "call", "call1", ... */
void
bench_prepare(Side *side)
{
	const Contender *contender = side->contender;
	char             name[16];

	if (contender->unprepared)
		return;
	PQclear(bench_check(side->conn, contender->statement,
						PQprepare(side->conn, "call", contender->statement, 0, NULL)));
	for (int i = 0; contender->more != NULL && contender->more[i] != NULL; i++)
	{
		snprintf(name, sizeof(name), "call%d", i + 1);
		PQclear(bench_check(side->conn, contender->more[i],
							PQprepare(side->conn, name, contender->more[i], 0, NULL)));
	}
}
