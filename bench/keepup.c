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
report_lags(double *figures, int n)
{
	bench_report_cell("%.0f, %.0f", bench_quantile(figures, n, 0.5), bench_quantile(figures, n, 1));
}

static void
report_half(const char *name, Half *half, double events_per_s)
{
	bench_report_cell("%s", name);
	bench_report_cell("%.0f", events_per_s);
	report_lags(half->events, half->n);
	report_lags(half->ms, half->n);
	report_lags(half->untold, half->n);
	bench_report_line();
}

static void
report_row(const Row *row, const Load *load, double drain_ms)
{
	static Half halves[2];
	double      growth;

	halves[0].n = halves[1].n = 0;
	split(load, row->seconds, halves);
	if (halves[0].n == 0 || halves[1].n == 0)
		bench_die(row->name, "the lag could not be looked at");
	bench_report_row(row, "; synchronous_commit = off, fsync = on");
	bench_report_columns("median, max", "events/s", "lag in events", "lag in ms",
						 "positions not told", NULL);
	report_half("first half", &halves[0], load->first_half / (row->seconds / 2));
	report_half("second half", &halves[1],
				(load->events - load->first_half) / (load->seconds - row->seconds / 2));
	growth = (bench_quantile(halves[1].events, halves[1].n, 0.5) -
			  bench_quantile(halves[0].events, halves[0].n, 0.5)) /
			 (load->events / 2.0);
	bench_report_note("%d looks.", load->nlags);
	bench_report_target(row, growth, AT_MOST, row->target, "growth of the lag, events an event");
	bench_report_target(row, drain_ms, AT_MOST, DRAIN_MS, "ms until all is published and told");
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
	bench_load_run(&load, row->clients, row->seconds);
	drain = bench_now_us();
	bench_await_quiet(admin);
	report_row(row, &load, (bench_now_us() - drain) / 1e3);
	bench_load_end(&load);
	PQfinish(load.listener);
}
