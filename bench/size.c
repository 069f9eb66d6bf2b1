/*
 * size.c
 *		Bytes on disk and bytes of WAL, for each event.
 *
 * The contenders take turns with the same events.  Everything counts that is in
 * the contender's schemas, its outbox, its table of streams or its ticks, and all
 * WAL that the server writes meanwhile: nobody else is at work.  No checkpoint comes
 * in between, so there are few full-page images.
 */
#include <stdio.h>

#include "bench.h"

#define ROUNDS 5

typedef struct Sizes
{
	double disk[ROUNDS];
	double wal[ROUNDS];
} Sizes;

/* What is free within the relations will be used; rows that have gone are made free first. */
static double
read_disk(const Side *side)
{
	char sql[512];

	bench_execute(side->conn, "VACUUM");
	snprintf(sql, sizeof(sql),
			 "SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c"
			 " JOIN pg_namespace n ON n.oid = c.relnamespace"
			 " WHERE c.relkind = 'r' AND n.nspname ~ '%s'",
			 side->contender->table->schemas);
	return bench_query_number(side->conn, sql);
}

static double
read_wal(PGconn *admin)
{
	bench_await_quiet(admin);
	return bench_query_number(admin, "SELECT pg_current_wal_insert_lsn() - '0/0'");
}

static void
run_side(Side *side, const Row *row, Sizes *sizes, int round, PGconn *admin)
{
	Call  *calls = bench_make_calls(side, row);
	double events = (double) row->calls * row->batch;
	double disk = read_disk(side);
	double wal = read_wal(admin);

	bench_send_calls(side, row, calls);
	bench_free_calls(calls, row);
	wal = read_wal(admin) - wal;
	disk = read_disk(side) - disk;
	if (round >= 0)
	{
		sizes->wal[round] = wal / events;
		sizes->disk[round] = disk / events;
	}
}

static void
report_targets(const Row *row, const Side *sides, const Sizes *sizes, int n)
{
	for (int i = 0; i < MAX_TARGETS && row->targets[i].against != NULL; i++)
	{
		const Target *target = &row->targets[i];
		int           j = bench_find_side(sides, n, target->against);

		if (j == n)
		{
			bench_report_missing(row, target->against);
			continue;
		}
		bench_report_target(row,
							bench_spread_of_ratios(sizes[0].disk, sizes[j].disk, ROUNDS).middle,
							AT_MOST, target->ratio, "bytes on disk / those of %s",
							target->against->name);
		bench_report_target(row, bench_spread_of_ratios(sizes[0].wal, sizes[j].wal, ROUNDS).middle,
							AT_MOST, target->ratio, "bytes of WAL / those of %s",
							target->against->name);
	}
}

void
bench_run_size(const Row *row, const char *info, PGconn *admin)
{
	static Side  sides[MAX_CONTENDERS];
	static Sizes sizes[MAX_CONTENDERS];
	int          n = bench_begin_sides(sides, row, info, admin);

	for (int round = -1; round < ROUNDS; round++)
	{
		for (int i = 0; i < n; i++)
			run_side(&sides[i], row, &sizes[i], round, admin);
	}
	bench_report_row(row, "");
	bench_report_columns("contender", "disk, bytes/event", "WAL, bytes/event", "disk, first = 1",
						 "WAL, first = 1", NULL);
	for (int i = 0; i < n; i++)
	{
		bench_report_cell("%s", sides[i].contender->name);
		bench_report_spread(0, bench_spread(sizes[i].disk, ROUNDS));
		bench_report_spread(0, bench_spread(sizes[i].wal, ROUNDS));
		bench_report_spread(2, bench_spread_of_ratios(sizes[i].disk, sizes[0].disk, ROUNDS));
		bench_report_spread(2, bench_spread_of_ratios(sizes[i].wal, sizes[0].wal, ROUNDS));
		bench_report_line();
		PQfinish(sides[i].conn);
	}
	bench_report_note("%d rounds of %d events.", ROUNDS, row->calls * row->batch);
	report_targets(row, sides, sizes, n);
}
