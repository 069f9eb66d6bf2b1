/*
 * tables.c
 *		The store, and tables like its own with the same events in them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

static void
execute_about(PGconn *conn, const char *format, const char *table)
{
	char sql[1024];

	snprintf(sql, sizeof(sql), format, table, table, table);
	bench_execute(conn, sql);
}

static void
fill_store(PGconn *conn)
{
	Side side = {0};
	Row  row = {.batch = FILL_EVENTS};

	side.conn = conn;
	PQclear(PQprepare(conn, "call", bench_batch.statement, 0, NULL));
	bench_execute(conn, "BEGIN");
	for (int i = 0; i < STREAMS; i++)
	{
		Call call = {0};

		bench_make_events(&side, &row, &call);
		for (int j = 0; j < call.nevents; j++)
		{
			snprintf(call.events[j].stream, sizeof(call.events[j].stream), CATEGORY "-%04d", i);
			call.events[j].version = j + 1;
		}
		bench_batch.fill(&call);
		bench_batch.send(conn, bench_batch.statement, &call);
		bench_free_call(&call);
	}
	bench_execute(conn, "COMMIT");
}

/*
 * The columns, NOT NULLs and indexes of es.events, and its events; neither its
 * guards nor its CHECK constraints.
 */
static void
make_bare(PGconn *conn, const char *table)
{
	execute_about(conn, "CREATE TABLE %s (LIKE es.events INCLUDING INDEXES)", table);
	execute_about(conn, "CREATE SEQUENCE %s_seq CACHE 1", table);
	execute_about(conn, "ALTER SEQUENCE %s_seq OWNED BY %s.position", table);
	execute_about(conn, "ALTER TABLE %s ALTER position SET DEFAULT nextval('%s_seq')", table);
	execute_about(conn, "INSERT INTO %s SELECT * FROM es.events ORDER BY position", table);
}

void
bench_make_tables(PGconn *conn)
{
	bench_execute(conn, "CREATE EXTENSION pg_eventstore");
	bench_execute(conn, "SELECT es_init()");
	fill_store(conn);
	bench_execute(conn, "CREATE SCHEMA bench");
	make_bare(conn, bench_bare.table);
	make_bare(conn, bench_bare_random.table);
	bench_execute(conn, "VACUUM FREEZE es.events, bench.bare, bench.bare_random");
	bench_execute(conn, "CHECKPOINT");
}

/* Positions that COPY gave are behind the sequence; brings it up, and reads where it is. */
void
bench_read_position(Side *side, PGconn *conn)
{
	char      sql[1024];
	PGresult *result;

	snprintf(sql, sizeof(sql),
			 "SELECT setval(pg_get_serial_sequence('%s', 'position'), max(position)) FROM %s",
			 side->contender->table, side->contender->table);
	if (strcmp(side->contender->table, "es.events") == 0)
		strcpy(sql, "SELECT max(position) FROM es.events");
	result = bench_query(conn, sql);
	side->position = atoll(PQgetvalue(result, 0, 0));
	PQclear(result);
}

void
bench_read_versions(Side *side, PGconn *conn)
{
	char      sql[1024];
	PGresult *result;

	snprintf(sql, sizeof(sql),
			 "SELECT stream, max(version) FROM %s WHERE category = '%s'"
			 " GROUP BY stream",
			 side->contender->table, CATEGORY);
	result = bench_query(conn, sql);
	for (int i = 0; i < PQntuples(result); i++)
		side->versions[atoi(PQgetvalue(result, i, 0) + strlen(CATEGORY "-"))] =
			atoll(PQgetvalue(result, i, 1));
	PQclear(result);
}
