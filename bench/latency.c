/*
 * latency.c
 *		From the start of an append until another connection has heard of it.
 *
 * The contenders take turns, call by call.  One connection listens to both the
 * publisher's channel and the other; a call's time ends when its own channel has
 * spoken.  The publisher is at work behind every append to the store, whoever is
 * told by whom; the bare table has none, and is the shortest way that a
 * notification can take.  Before the next call everything has been published, what
 * was left of WAL has reached the disk (else a call would wait for that of the one
 * before), and the server has been idle for a moment.
 */
#include <poll.h>
#include <stdio.h>

#include "bench.h"

#define MAX_SAMPLES 20000
#define WARM_UP     20
#define PAUSE_MS    2
#define TIMEOUT_MS  10000

typedef struct Caller
{
	Client client;
	double us[MAX_SAMPLES];
} Caller;

/* Waits until the call has returned and a channel has spoken; returns when it did. */
static double
await_notification(Client *client, PGconn *listener, const char *channel)
{
	double heard_at = 0;

	while (client->busy || heard_at == 0)
	{
		struct pollfd fds[] = {{.fd = PQsocket(listener), .events = POLLIN},
							   {.fd = PQsocket(client->conn), .events = POLLIN}};

		if (poll(fds, 2, TIMEOUT_MS) <= 0)
			bench_die("no notification", channel);
		if (fds[0].revents != 0 && bench_take_notifications(listener, channel) > 0)
			heard_at = bench_now_us();
		if (fds[1].revents != 0)
			(void) bench_take_result(client);
	}
	return heard_at;
}

/* Nothing is left to do for the server. */
static void
await_idle(PGconn *listener, PGconn *admin)
{
	bench_await_quiet(admin);
	bench_execute(admin, "SELECT pg_logical_emit_message(true, 'bench', '')");
	(void) bench_take_notifications(listener, NULL);
	bench_pause_ms(PAUSE_MS);
}

static double
run_call(Client *client, PGconn *listener, PGconn *admin)
{
	const Contender *contender = client->contender;
	double           start;
	double           end;

	bench_make_call(contender, client->stream, ++client->version, 1, false, &client->call);
	start = bench_now_us();
	bench_send_call(client);
	end = await_notification(client, listener, contender->channel);
	bench_free_call(&client->call);
	await_idle(listener, admin);
	return end - start;
}

static void
report_row(const Row *row, Caller *callers, int n, int samples)
{
	double median[MAX_CONTENDERS] = {0};
	double p99[MAX_CONTENDERS] = {0};

	for (int i = 0; i < n; i++)
	{
		median[i] = bench_quantile(callers[i].us, samples, 0.5);
		p99[i] = bench_quantile(callers[i].us, samples, 0.99);
	}
	bench_report_row(row, "; fsync = on");
	bench_report_columns("contender", "median us", "p99 us", "first / it, medians",
						 "first / it, p99", NULL);
	for (int i = 0; i < n; i++)
	{
		bench_report_cell("%s", callers[i].client.contender->name);
		bench_report_cell("%.0f", median[i]);
		bench_report_cell("%.0f", p99[i]);
		bench_report_cell("%.2f", median[0] / median[i]);
		bench_report_cell("%.2f", p99[0] / p99[i]);
		bench_report_line();
	}
	bench_report_note("%d calls of each, in turns.", samples);
	bench_report_target(row, median[0] / median[1], AT_MOST, row->target,
						"median until the listener hears / with NOTIFY in the transaction");
	bench_report_target(row, p99[0] / p99[1], AT_MOST, row->target_p99, "the same, p99");
}

void
bench_run_latency(const Row *row, const char *info, PGconn *admin)
{
	static Caller callers[MAX_CONTENDERS];
	PGconn       *listener;
	int           ncallers = 0;
	int           samples = 0;
	double        end;

	bench_make_durable(admin);
	bench_execute(admin, "SET synchronous_commit = on");
	listener = bench_listen(info);
	for (; ncallers < MAX_CONTENDERS && row->contenders[ncallers] != NULL; ncallers++)
	{
		Client *client = &callers[ncallers].client;

		client->contender = row->contenders[ncallers];
		client->conn = bench_connect_appender(info, client->contender, "on");
		snprintf(client->stream, sizeof(client->stream), FRESH_CATEGORY "-%06d", ncallers);
	}
	end = bench_now_us() + row->seconds * 1e6;
	for (int i = -WARM_UP; i < MAX_SAMPLES && bench_now_us() < end; i++)
	{
		for (int j = 0; j < ncallers; j++)
		{
			Caller *caller = &callers[(i + WARM_UP + j) % ncallers];

			caller->us[i < 0 ? 0 : i] = run_call(&caller->client, listener, admin);
		}
		samples = i + 1;
	}
	report_row(row, callers, ncallers, samples);
	for (int i = 0; i < ncallers; i++)
		PQfinish(callers[i].client.conn);
	PQfinish(listener);
}
