/*
 * growth.c
 *		What an append costs in a large store, beside a small one in the same server.
 *
 * Each store has a database of its own.  The large one grows in stages; at each the
 * two are measured in turns, every part after a checkpoint, with streams chosen at
 * random among all of the store's.  It ends by itself when the last stage has been
 * measured or the time is up.
 *
 * A store grows over two connections at once, each with streams of its own, in
 * transactions of fewer streams than are locked one by one, so that neither waits
 * for the other.  A stage goes through all streams, once or several times, in an
 * order that has nothing to do with their names, and appends a few events to each.
 * They all have the same data: making some up would cost a third of the time.
 */
#include <stdio.h>
#include <stdlib.h>

#include "bench.h"

#define ROUNDS        15
#define MAX_SECONDS   1500.0 /* then the store grows no more */
#define SMALL_EVENTS  100000
#define SMALL_STREAMS 5000
#define LARGE_STREAMS 1000000
#define CONNECTIONS   2    /* divides the numbers of streams */
#define CALLS         "50" /* of a transaction while a store grows */

/* A store has so many events then; it got them by calls of so many. */
typedef struct Stage
{
	int events;
	int batch;
} Stage;

static const Stage small_stage = {SMALL_EVENTS, 5};
static const Stage stages[] = {{1000000, 1}, {5000000, 4}, {20000000, 5}};

typedef struct Store
{
	Table   table;
	int     streams;
	int64_t events;
} Store;

static Store small = {.table = {.database = "small", .name = "es.events"},
					  .streams = SMALL_STREAMS};
static Store large = {.table = {.database = "large", .name = "es.events"},
					  .streams = LARGE_STREAMS};

/* The calls of a stage have numbers; a connection makes every nth, until the time is up. */
static const char grow_procedure[] =
	"CREATE OR REPLACE PROCEDURE grow(INOUT call bigint, calls bigint, step int, streams int,"
	" batch int, data jsonb, seconds float8) LANGUAGE plpgsql AS $$\n"
	"DECLARE\n"
	"	types constant text[] := array_fill('" EVENT_TYPE "'::text, ARRAY[batch]);\n"
	"	events constant jsonb[] := array_fill(data, ARRAY[batch]);\n"
	"	up constant timestamptz := clock_timestamp() + seconds * interval '1 second';\n"
	"	appended record;\n"
	"BEGIN\n"
	"	WHILE call < calls AND clock_timestamp() < up LOOP\n"
	"		FOR i IN 1 .. " CALLS " LOOP\n"
	"			EXIT WHEN call >= calls;\n"
	"			appended := es_append_batch('account-'"
	"				|| lpad((call * 614657 % streams)::text, 7, '0'), -1, types, events);\n"
	"			call := call + step;\n"
	"		END LOOP;\n"
	"		COMMIT;\n"
	"	END LOOP;\n"
	"END $$";

static void
make_store(const Store *store, const char *info, PGconn *admin)
{
	char    sql[64];
	PGconn *conn;

	snprintf(sql, sizeof(sql), "CREATE DATABASE %s", store->table.database);
	bench_execute(admin, sql);
	conn = bench_connect_table(&store->table, info);
	bench_execute(conn, "CREATE EXTENSION pg_eventstore");
	bench_execute(conn, "SELECT es_init()");
	bench_execute(conn, grow_procedure);
	PQfinish(conn);
}

/* Begins with every nth call of a stage, from this one on, and does not wait. */
static PGconn *
begin_calls(const Store *store, int first, int64_t calls, int batch, const char *info, double end)
{
	PGconn *conn = bench_connect_table(&store->table, info);
	Call    call = {0};
	char    sql[MAX_DATA_BYTES + 512];

	bench_make_call(&bench_append, "account-0", 1, 1, true, &call);
	snprintf(sql, sizeof(sql), "CALL grow(%d, %lld, %d, %d, %d, '%s', %f)", first,
			 (long long) calls, CONNECTIONS, store->streams, batch, call.events->data,
			 (end - bench_now_us()) / 1e6);
	bench_free_call(&call);
	if (!PQsendQuery(conn, sql))
		bench_die(sql, PQerrorMessage(conn));
	return conn;
}

/* Awaits their end; answers how many they were. */
static int64_t
end_calls(PGconn *conn, int first)
{
	PGresult *result = bench_check(conn, "CALL grow", PQgetResult(conn));
	int64_t   next = atoll(PQgetvalue(result, 0, 0));

	PQclear(result);
	PQfinish(conn);
	return (next - first) / CONNECTIONS;
}

/* Appends until a store is at a stage.  False: the time is up. */
static bool
grow(Store *store, const Stage *stage, const char *info, double end)
{
	PGconn *conns[CONNECTIONS];
	int64_t calls = (stage->events - store->events) / stage->batch;

	for (int i = 0; i < CONNECTIONS; i++)
		conns[i] = begin_calls(store, i, calls, stage->batch, info, end);
	for (int i = 0; i < CONNECTIONS; i++)
		store->events += end_calls(conns[i], i) * stage->batch;
	return store->events >= stage->events;
}

static Call *
make_calls(const Row *row, const Store *store, uint64_t *random)
{
	Call *calls = bench_allocate(NULL, row->calls * sizeof(Call));

	for (int i = 0; i < row->calls; i++)
	{
		char stream[40];

		*random = *random * 6364136223846793005u + 1442695040888963407u;
		snprintf(stream, sizeof(stream), "account-%07d", (int) ((*random >> 33) % store->streams));
		calls[i] = (Call){0};
		bench_make_call(row->contenders[0], stream, i + 1, 1, true, &calls[i]);
	}
	return calls;
}

static void
measure(const Row *row, Store *stores[2], Side sides[2], const char *info, PGconn *admin)
{
	uint64_t random = 1;

	for (int i = 0; i < 2; i++)
	{
		sides[i] = (Side){.contender = row->contenders[0]};
		sides[i].conn = bench_connect_table(&stores[i]->table, info);
		bench_share_cpu(PQbackendPID(sides[i].conn));
		bench_prepare(&sides[i]);
	}
	for (int round = -WARM_UP_ROUNDS; round < ROUNDS; round++)
	{
		for (int i = 0; i < 2; i++)
		{
			int j = (i + round + WARM_UP_ROUNDS) % 2;

			bench_execute(admin, "CHECKPOINT");
			bench_time_calls(&sides[j], row, make_calls(row, stores[j], &random), round);
		}
	}
	for (int i = 0; i < 2; i++)
		PQfinish(sides[i].conn);
}

/* The targets are about the store of the last stage. */
static void
report_stage(const Row *row, const Side sides[2], bool last)
{
	char   name[64];
	Spread cpu = bench_spread_of_ratios(sides[1].cpu, sides[0].cpu, ROUNDS);
	Spread wall = bench_spread_of_ratios(sides[1].wall, sides[0].wall, ROUNDS);

	snprintf(name, sizeof(name), "%lld events in %d streams", (long long) large.events,
			 LARGE_STREAMS);
	bench_report_cell("%s", name);
	bench_report_spread(1, bench_spread(sides[1].cpu, ROUNDS));
	bench_report_spread(1, bench_spread(sides[1].wall, ROUNDS));
	bench_report_spread(2, cpu);
	bench_report_spread(2, wall);
	bench_report_line();
	bench_plot_point(row->name, "CPU", large.events, cpu.middle);
	bench_plot_point(row->name, "wall", large.events, wall.middle);
	if (!last)
		return;
	bench_report_target(row, cpu.middle, AT_MOST, row->target, "CPU of an append, %s / small store",
						name);
	bench_report_target(row, wall.middle, AT_MOST, row->target, "the same, wall time");
}

void
bench_run_growth(const Row *row, const char *info, PGconn *admin)
{
	static Side sides[2];
	Store      *stores[2] = {&small, &large};
	double      end = bench_now_us() + MAX_SECONDS * 1e6;

	make_store(&small, info, admin);
	make_store(&large, info, admin);
	(void) grow(&small, &small_stage, info, end);
	bench_report_row(row, "");
	bench_report_columns("large store", "CPU us/event", "wall us/event", "CPU, small store = 1",
						 "wall, small store = 1", NULL);
	for (size_t i = 0; i < lengthof(stages); i++)
	{
		double begin = bench_now_us();
		bool   grown = grow(&large, &stages[i], info, end);

		bench_report_note("Up to %lld events: %.0f s; now %.1f GB of disk.",
						  (long long) large.events, (bench_now_us() - begin) / 1e6,
						  bench_query_number(admin, "SELECT pg_database_size('large')") / 1e9);
		measure(row, stores, sides, info, admin);
		report_stage(row, sides, grown && i + 1 == lengthof(stages));
		if (!grown)
		{
			bench_report_unmeasured(row, "a store of all events, before the time was up");
			break;
		}
	}
	bench_report_note("Beside it: %d events in %d streams; %d rounds of %d events.", SMALL_EVENTS,
					  SMALL_STREAMS, ROUNDS, row->calls);
}
