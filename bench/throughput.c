/*
 * throughput.c
 *		Clients that append at the same time: events a second, with notifications
 *		by the publisher against such by the appending transactions.
 *
 * The contenders take turns; in each round every one of them runs for as long.
 * Between two of them the publisher has come to rest.  It is at work behind
 * every append to the store, whoever is told by whom.  The bare table has no
 * publisher: it stands there with NOTIFY, and without as the most that could be
 * reached.
 */
#include <stdio.h>

#include "bench.h"

#define ROUNDS 7

typedef struct Throughput
{
	Load   load;
	double rates[ROUNDS]; /* events/s */
	double told;          /* notifications for each event, in the last round */
} Throughput;

static void
print_row(const Row *row, Throughput *sides, int n)
{
	double ratios[MAX_CONTENDERS][ROUNDS];
	double first = 0;

	for (int i = 0; i < n; i++)
	{
		for (int round = 0; round < ROUNDS; round++)
			ratios[i][round] = sides[i].rates[round] / sides[1].rates[round];
	}
	printf("\n%s: %s; fsync = on\n", row->name, row->title);
	printf("  %-24s  %-22s  %-22s  %s\n", "contender", "events/s", "ratio", "told per event");
	for (int i = 0; i < n; i++)
	{
		char   text[64];
		double ratio;

		snprintf(text, sizeof(text), "%.0f (%.0f..%.0f)",
				 bench_quantile(sides[i].rates, ROUNDS, 0.5),
				 bench_quantile(sides[i].rates, ROUNDS, 0.25),
				 bench_quantile(sides[i].rates, ROUNDS, 0.75));
		printf("  %-24s  %-22s", sides[i].load.clients[0].contender->name, text);
		ratio = bench_print_figures(ratios[i], ROUNDS);
		printf("  %.3f\n", sides[i].told);
		if (i == 0)
			first = ratio;
	}
	printf("  %d rounds of %.0f s: ratio %.2f (target >= %.1f): %s\n", ROUNDS, row->seconds, first,
		   row->target, first >= row->target ? "met" : "NOT met");
	fflush(stdout);
}

void
bench_run_throughput(const Row *row, const char *info, PGconn *admin)
{
	static Throughput sides[MAX_CONTENDERS];
	PGconn           *listener;
	int               n = 0;

	bench_make_durable(admin);
	listener = bench_listen(info);
	for (; n < MAX_CONTENDERS && row->contenders[n] != NULL; n++)
	{
		bench_load_begin(&sides[n].load, row, row->contenders[n], info, "on");
		sides[n].load.listener = listener;
	}
	for (int round = -1; round < ROUNDS; round++)
	{
		for (int i = 0; i < n; i++)
		{
			Throughput *side = &sides[(i + round + 1) % n];

			bench_load_run(&side->load, row->seconds);
			bench_await_quiet(admin);
			if (round < 0)
				continue;
			side->rates[round] = side->load.events / side->load.seconds;
			side->told = (double) side->load.told / side->load.events;
		}
	}
	print_row(row, sides, n);
	for (int i = 0; i < n; i++)
		bench_load_end(&sides[i].load);
	PQfinish(listener);
}
