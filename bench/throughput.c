/*
 * throughput.c
 *		Clients that append at the same time: events a second.
 *
 * The contenders take turns, and so do the numbers of clients; in each round every
 * one of them runs for as long.  Between two of them the publisher has come to
 * rest.  It is at work behind every append to the store, whoever is told by whom.
 * The bare table has no publisher and checks nothing: it stands there as the most
 * that could be reached.  Where all append to one stream, what a contender refuses
 * because another client came first counts as nothing.
 */
#include <stdio.h>

#include "bench.h"

#define ROUNDS     9
#define MAX_COUNTS 4

static const int counts[] = {1, 4, 16, 32};

typedef struct Throughput
{
	Load   load;
	double rates[MAX_COUNTS][ROUNDS]; /* events/s */
	double told;                      /* notifications for each event, in the last round */
	double refused;                   /* calls for each event, likewise */
} Throughput;

static int
count_of(const Row *row, int i)
{
	return row->ladder ? counts[i] : row->clients;
}

static int
ncounts_of(const Row *row)
{
	return row->ladder ? (int) lengthof(counts) : 1;
}

static void
report_columns(const Row *row, const char *what)
{
	char text[MAX_COUNTS][64];

	for (int i = 0; i < MAX_COUNTS; i++)
		snprintf(text[i], sizeof(text[i]), "%d client%s, %s", count_of(row, i),
				 count_of(row, i) == 1 ? "" : "s", what);
	if (ncounts_of(row) == 1)
		bench_report_columns("contender", text[0], NULL);
	else
		bench_report_columns("contender", text[0], text[1], text[2], text[3], NULL);
}

static void
report_rates(const Row *row, Throughput *sides, int n)
{
	report_columns(row, "events/s");
	for (int i = 0; i < n; i++)
	{
		bench_report_cell("%s", sides[i].load.clients[0].contender->name);
		for (int j = 0; j < ncounts_of(row); j++)
		{
			Spread rate = bench_spread(sides[i].rates[j], ROUNDS);
			double most = bench_spread(sides[0].rates[ncounts_of(row) - 1], ROUNDS).middle;

			bench_report_spread(0, rate);
			if (ncounts_of(row) > 1)
				bench_plot_point(row->name, sides[i].load.clients[0].contender->name, counts[j],
								 rate.middle / most);
		}
		bench_report_line();
	}
}

/* By how much the first is ahead of each, round by round. */
static void
report_ratios(const Row *row, Throughput *sides, int n)
{
	report_columns(row, "first / it");
	for (int i = 1; i < n; i++)
	{
		bench_report_cell("%s", sides[i].load.clients[0].contender->name);
		for (int j = 0; j < ncounts_of(row); j++)
			bench_report_spread(2, bench_spread_of_ratios(sides[0].rates[j], sides[i].rates[j],
														  ROUNDS));
		bench_report_line();
	}
	for (int i = 0; i < n; i++)
	{
		if (sides[i].told > 0 || sides[i].refused > 0)
			bench_report_note("%s, last round: %.3f notifications and %.2f refused calls an event.",
							  sides[i].load.clients[0].contender->name, sides[i].told,
							  sides[i].refused);
	}
}

static void
report_target(const Row *row, Throughput *sides, int n, const Target *target)
{
	double lowest = 0;
	int    at = 0;
	int    i = 1;

	while (i < n && sides[i].load.clients[0].contender != target->against)
		i++;
	if (i == n)
	{
		bench_report_missing(row, target->against);
		return;
	}
	for (int j = 0; j < ncounts_of(row); j++)
	{
		double ratio = bench_spread_of_ratios(sides[0].rates[j], sides[i].rates[j], ROUNDS).middle;

		if (j == 0 || ratio < lowest)
		{
			lowest = ratio;
			at = count_of(row, j);
		}
	}
	bench_report_target(row, lowest, AT_LEAST, target->ratio,
						"events/s of es_append / of %s, lowest: %d clients", target->against->name,
						at);
}

/* More clients are not to give much less than the best of fewer clients. */
static void
report_scaling(const Row *row, Throughput *side)
{
	double lowest = 1;
	int    at = 1;

	for (int j = 1; j < ncounts_of(row); j++)
	{
		for (int k = 0; k < j; k++)
		{
			double ratio = bench_spread_of_ratios(side->rates[j], side->rates[k], ROUNDS).middle;

			if (ratio < lowest)
			{
				lowest = ratio;
				at = counts[j];
			}
		}
	}
	if (ncounts_of(row) > 1)
		bench_report_target(row, lowest, AT_LEAST, 0.9,
							"events/s of more clients / the best of fewer, lowest: %d clients", at);
}

static void
run_side(Throughput *side, const Row *row, int count, int round, PGconn *admin)
{
	Load *load = &side->load;

	bench_load_run(load, count_of(row, count), row->seconds);
	bench_await_quiet(admin);
	if (round < 0)
		return;
	side->rates[count][round] = load->events / load->seconds;
	side->told = (double) load->told / load->events;
	side->refused = (double) load->refused / load->events;
}

static void
run_rounds(const Row *row, Throughput *sides, int n, PGconn *admin)
{
	for (int round = -1; round < ROUNDS; round++)
	{
		for (int j = 0; j < ncounts_of(row); j++)
		{
			for (int i = 0; i < n; i++)
				run_side(&sides[(i + round + 1) % n], row, j, round, admin);
		}
	}
}

void
bench_run_throughput(const Row *row, const char *info, PGconn *admin)
{
	static Throughput sides[MAX_CONTENDERS];
	const char       *commit = row->synchronous ? "on" : "off";
	PGconn           *listener;
	int               n = 0;

	bench_make_durable(admin);
	listener = bench_listen(info);
	for (int i = 0; i < MAX_CONTENDERS && row->contenders[i] != NULL; i++)
	{
		if (!bench_has(row->contenders[i], admin))
			continue;
		bench_load_begin(&sides[n].load, row, row->contenders[i], info, commit);
		sides[n++].load.listener = listener;
	}
	run_rounds(row, sides, n, admin);
	bench_report_row(row, row->synchronous ? "; synchronous_commit = on, fsync = on"
										   : "; synchronous_commit = off, fsync = on");
	report_rates(row, sides, n);
	report_ratios(row, sides, n);
	bench_report_note("%d rounds of %.1f s.", ROUNDS, row->seconds);
	for (int i = 0; i < MAX_TARGETS && row->targets[i].against != NULL; i++)
		report_target(row, sides, n, &row->targets[i]);
	report_scaling(row, &sides[0]);
	for (int i = 0; i < n; i++)
		bench_load_end(&sides[i].load);
	PQfinish(listener);
}
