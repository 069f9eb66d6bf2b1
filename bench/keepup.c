/*
 * keepup.c
 *		How far publishing lags while clients append as fast as the machine can.
 *
 * The clients do not wait for the disk, the publisher does.  The lag is looked at
 * all the time.  By what its median grows from the first half to the second, for
 * each event that was appended in half the time, the publisher is slower than the
 * clients: 0 where it keeps up, 1 where it publishes nothing.  Afterwards everything
 * must be published, and told, at once.
 */
#include <stdio.h>

#include "bench.h"

#define DRAIN_MS 1000.0 /* at most */

typedef struct Half
{
	int    n;
	double events[MAX_LAGS];
	double ms[MAX_LAGS];
	double untold[MAX_LAGS];
} Half;

static void
split(const Load *load, double seconds, Half halves[2])
{
	for (int i = 0; i < load->nlags; i++)
	{
		const Lag *lag = &load->lags[i];
		Half      *half = &halves[lag->at < seconds / 2 ? 0 : 1];

		half->events[half->n] = lag->events;
		half->ms[half->n] = lag->ms;
		half->untold[half->n++] = lag->untold;
	}
}

static void
print_lags(double *figures, int n)
{
	char text[64];

	snprintf(text, sizeof(text), "%.0f, %.0f", bench_quantile(figures, n, 0.5),
			 bench_quantile(figures, n, 1));
	printf("  %-22s", text);
}

static void
print_half(const char *name, Half *half, double events_per_s)
{
	printf("  %-12s  %-10.0f", name, events_per_s);
	print_lags(half->events, half->n);
	print_lags(half->ms, half->n);
	print_lags(half->untold, half->n);
	printf("\n");
}

static void
print_row(const Row *row, const Load *load, double drain_ms)
{
	static Half halves[2];
	double      growth;
	bool        met;

	halves[0].n = halves[1].n = 0;
	split(load, row->seconds, halves);
	if (halves[0].n == 0 || halves[1].n == 0)
		bench_die(row->name, "the lag could not be looked at");
	printf("\n%s: %s; synchronous_commit = off, fsync = on\n", row->name, row->title);
	printf("  %-12s  %-10s  %-22s  %-22s  %s\n", "median, max", "events/s", "lag in events",
		   "lag in ms", "positions not told");
	print_half("first half", &halves[0], load->first_half / (row->seconds / 2));
	print_half("second half", &halves[1],
			   (load->events - load->first_half) / (load->seconds - row->seconds / 2));
	growth = (bench_quantile(halves[1].events, halves[1].n, 0.5) -
			  bench_quantile(halves[0].events, halves[0].n, 0.5)) /
			 (load->events / 2.0);
	met = growth <= row->target && drain_ms <= DRAIN_MS;
	printf("  %d looks: growth of the lag %.4f per event (target <= %.2f); drained in %.0f ms"
		   " (target <= %.0f): %s\n",
		   load->nlags, growth, row->target, drain_ms, DRAIN_MS, met ? "met" : "NOT met");
	fflush(stdout);
}

void
bench_run_keep_up(const Row *row, const char *info, PGconn *admin)
{
	static Load load;
	double      drain;

	bench_make_durable(admin);
	bench_load_begin(&load, row, row->contenders[0], info, "off");
	load.listener = bench_listen(info);
	load.sampler = admin;
	bench_load_run(&load, row->seconds);
	drain = bench_now_us();
	bench_await_quiet(admin);
	print_row(row, &load, (bench_now_us() - drain) / 1e3);
	bench_load_end(&load);
	PQfinish(load.listener);
}
