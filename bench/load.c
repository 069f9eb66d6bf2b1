/*
 * load.c
 *		A load: clients that append at the same time, each as fast as it is answered.
 *
 * One thread serves them all, so that the client costs little of what the server
 * is measured with.  A batch is made once and sent again and again, with any
 * version expected.
 */
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "bench.h"

/* Connects the clients; each has a stream of its own, which exists. */
void
bench_load_begin(Load *load, const Row *row, const Contender *contender, const char *info,
				 const char *synchronous_commit)
{
	static int nloads = 0;

	memset(load, 0, sizeof(Load));
	load->nclients = row->clients;
	load->batch = row->batch;
	nloads++;
	for (int i = 0; i < row->clients; i++)
	{
		Client *client = &load->clients[i];

		client->contender = contender;
		client->conn = bench_connect_appender(info, contender, synchronous_commit);
		snprintf(client->stream, sizeof(client->stream), FRESH_CATEGORY "-load%d-%02d", nloads, i);
		if (row->batch > 1)
			bench_make_call(contender, client->stream, 0, row->batch, &client->call);
	}
}

void
bench_load_end(Load *load)
{
	for (int i = 0; i < load->nclients; i++)
	{
		PQfinish(load->clients[i].conn);
		if (load->batch > 1)
			bench_free_call(&load->clients[i].call);
	}
}

static void
send_next(Load *load, Client *client)
{
	if (load->batch == 1)
		bench_make_call(client->contender, client->stream, ++client->version, 1, &client->call);
	if (!PQsendQueryPrepared(client->conn, "call", client->call.nparams,
							 (const char *const *) client->call.params, NULL, NULL, 0))
		bench_die(client->contender->statement, PQerrorMessage(client->conn));
	client->busy = true;
	if (load->batch == 1)
		bench_free_call(&client->call);
}

/* Takes what has arrived; answers whether the call has ended. */
static bool
take_result(Client *client)
{
	PGresult *result;

	if (!PQconsumeInput(client->conn))
		bench_die(client->contender->statement, PQerrorMessage(client->conn));
	if (PQisBusy(client->conn))
		return false;
	while ((result = PQgetResult(client->conn)) != NULL)
	{
		if (PQresultStatus(result) != PGRES_TUPLES_OK && PQresultStatus(result) != PGRES_COMMAND_OK)
			bench_die(client->contender->statement, PQresultErrorMessage(result));
		PQclear(result);
	}
	client->busy = false;
	return true;
}

static void
ask_lag(Load *load)
{
	if (!PQsendQuery(load->sampler, bench_lag_query))
		bench_die(bench_lag_query, PQerrorMessage(load->sampler));
}

/* Notes the lag where it has arrived; answers whether it has. */
static bool
take_lag(Load *load, double at)
{
	PGresult *result;

	if (!PQconsumeInput(load->sampler))
		bench_die(bench_lag_query, PQerrorMessage(load->sampler));
	if (PQisBusy(load->sampler))
		return false;
	while ((result = PQgetResult(load->sampler)) != NULL)
	{
		if (load->nlags < MAX_LAGS)
		{
			load->lags[load->nlags] = bench_read_lag(result);
			load->lags[load->nlags++].at = at;
		}
		PQclear(result);
	}
	return true;
}

/* Waits until something has arrived: at a client, at the listener, the lag. */
static void
wait_for_input(const Load *load, struct pollfd *fds)
{
	for (int i = 0; i < load->nclients; i++)
		fds[i] = (struct pollfd){.fd = PQsocket(load->clients[i].conn), .events = POLLIN};
	fds[load->nclients] = (struct pollfd){.fd = PQsocket(load->listener), .events = POLLIN};
	fds[load->nclients + 1] =
		(struct pollfd){.fd = load->sampler == NULL ? -1 : PQsocket(load->sampler),
						.events = POLLIN};
	(void) poll(fds, load->nclients + 2, 10);
}

/* Runs the load, and answers when every call has ended. */
void
bench_load_run(Load *load, double seconds)
{
	struct pollfd fds[MAX_CLIENTS + 2];
	double        start = bench_now_us();
	double        next_lag = 0;
	bool          asked = false;
	int           nbusy = load->nclients;

	load->events = load->first_half = load->told = load->nlags = 0;
	for (int i = 0; i < load->nclients; i++)
		send_next(load, &load->clients[i]);
	while (nbusy > 0 || asked)
	{
		double at;

		wait_for_input(load, fds);
		at = (bench_now_us() - start) / 1e6;
		for (int i = 0; i < load->nclients; i++)
		{
			if (fds[i].revents == 0 || !load->clients[i].busy || !take_result(&load->clients[i]))
				continue;
			load->events += load->batch;
			load->seconds = at;
			if (at < seconds / 2)
				load->first_half = load->events;
			if (at < seconds)
				send_next(load, &load->clients[i]);
			else
				nbusy--;
		}
		if (fds[load->nclients].revents != 0)
			load->told += bench_take_notifications(load->listener, NULL);
		if (asked && fds[load->nclients + 1].revents != 0)
			asked = !take_lag(load, at);
		if (load->sampler != NULL && !asked && at >= next_lag && at < seconds)
		{
			ask_lag(load);
			asked = true;
			next_lag = at + LAG_SECONDS;
		}
	}
}
