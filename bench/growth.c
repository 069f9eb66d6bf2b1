/*
 * growth.c
 *		What an append costs in a large store, beside a small one in the same server.
 *
 * Each store has a database of its own.  The large one grows in stages; at each the
 * two are measured in turns, every part after a checkpoint, with streams chosen at
 * random among all of the store's.  It ends by itself when the last stage has been
 * measured or the time is up.
 */
#include <stdio.h>
#include <stdlib.h>

#include "bench.h"

#define ROUNDS        15
#define MAX_SECONDS   3000.0
#define SMALL_EVENTS  100000
#define SMALL_STREAMS 5000
#define LARGE_STREAMS 1000000
#define STEP          20000 /* events of a transaction while a store grows */

static const int stages[] = {1000000, 5000000, 20000000};

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
	PQfinish(conn);
}

/*
 * Appends until the store has so many events, each pass over all streams in an order
 * that has nothing to do with their names.  False: the time is up.
 */
static bool
grow(Store *store, int64_t events, const char *info, double end)
{
	PGconn *conn = bench_connect_table(&store->table, info);
	char    sql[512];

	while (store->events < events && bench_now_us() < end)
	{
		snprintf(sql, sizeof(sql),
				 "SELECT count(es_append('account-' || lpad((i * 614657 %% %d)::text, 7, '0'), -1,"
				 " '" EVENT_TYPE "', jsonb_build_object('amount', i, 'note', rpad('', 220,"
				 " md5(i::text))))) FROM generate_series(%lld::bigint, %lld) i",
				 store->streams, (long long) store->events, (long long) store->events + STEP - 1);
		bench_execute(conn, sql);
		store->events += STEP;
	}
	bench_execute(conn, "ANALYZE es.events");
	PQfinish(conn);
	return store->events >= events;
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
	bench_report_note("Beside it: %d events in %d streams; %d rounds of %d events.", SMALL_EVENTS,
					  SMALL_STREAMS, ROUNDS, row->calls);
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
	(void) grow(&small, SMALL_EVENTS, info, end);
	bench_report_row(row, "");
	bench_report_columns("large store", "CPU us/event", "wall us/event", "CPU, small store = 1",
						 "wall, small store = 1", NULL);
	for (size_t i = 0; i < lengthof(stages); i++)
	{
		bool grown = grow(&large, stages[i], info, end);

		if (!grown)
			bench_report_note("The time is up before %d events.", stages[i]);
		measure(row, stores, sides, info, admin);
		report_stage(row, sides, !grown || i + 1 == lengthof(stages));
		if (!grown)
			break;
	}
}
