/*
 * load.c
 *		A load: clients that append at the same time, each as fast as it is answered.
 *
 * One thread serves them all, so that the client costs little of what the server
 * is measured with.  A batch is made once and sent again and again, with any
 * version expected.  Where all append to one stream, they expect any version too;
 * a contender that refuses a call all the same, because another came first, is asked
 * again.
 */
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "bench.h"

/* Connects the clients; their streams do not exist yet. */
void
bench_load_begin(Load *load, const Row *row, const Contender *contender, const char *info,
				 const char *synchronous_commit)
{
	static int nloads = 0;

	memset(load, 0, sizeof(Load));
	load->nclients = row->clients;
	load->batch = row->batch;
	load->hot = row->hot;
	nloads++;
	for (int i = 0; i < row->clients; i++)
	{
		Client *client = &load->clients[i];

		client->contender = contender;
		client->conn = bench_connect_appender(info, contender, synchronous_commit);
		snprintf(client->stream, sizeof(client->stream), FRESH_CATEGORY "-%06d",
				 nloads * 100 + (row->hot ? 0 : i));
		if (row->batch > 1)
			bench_make_call(contender, client->stream, 1, row->batch, true, &client->call);
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

/* Sends a client's call, and does not wait. */
void
bench_send_call(Client *client)
{
	if (!PQsendQueryPrepared(client->conn, "call", client->call.nparams,
							 (const char *const *) client->call.params, NULL, NULL, 0))
		bench_die(client->contender->statement, PQerrorMessage(client->conn));
	client->busy = true;
}

static void
send_next(Load *load, Client *client)
{
	if (load->batch == 1)
		bench_make_call(client->contender, client->stream,
						load->hot ? ++load->hot_version : client->version + 1, 1, load->hot,
						&client->call);
	bench_send_call(client);
	if (load->batch == 1)
		bench_free_call(&client->call);
}

/* Has the call appended?  Another's event of the same version is no fault of the run. */
static bool
is_refused(const Client *client, const PGresult *result)
{
	const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);

	if (state != NULL && strcmp(state, "23505") == 0)
		return true;
	if (PQresultStatus(result) != PGRES_TUPLES_OK && PQresultStatus(result) != PGRES_COMMAND_OK)
		bench_die(client->contender->statement, PQresultErrorMessage(result));
	return client->contender->appended != NULL && !client->contender->appended(result);
}

/* Takes what has arrived; answers whether the call has ended. */
bool
bench_take_result(Client *client)
{
	PGresult *result;

	if (!PQconsumeInput(client->conn))
		bench_die(client->contender->statement, PQerrorMessage(client->conn));
	if (PQisBusy(client->conn))
		return false;
	client->refused = false;
	while ((result = PQgetResult(client->conn)) != NULL)
	{
		client->refused |= is_refused(client, result);
		PQclear(result);
	}
	client->busy = false;
	return true;
}

/* Counts a call that has ended. */
static void
count_call(Load *load, Client *client, double at, double seconds)
{
	if (client->refused && !load->hot)
		bench_die(client->contender->statement, "nothing was appended");
	if (client->refused)
		load->refused++;
	else
	{
		client->version++;
		load->events += load->batch;
	}
	load->seconds = at;
	if (at < seconds / 2)
		load->first_half = load->events;
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
wait_for_input(const Load *load, int nclients, struct pollfd *fds)
{
	PGconn *others[] = {load->listener, load->sampler};

	for (int i = 0; i < nclients; i++)
		fds[i] = (struct pollfd){.fd = PQsocket(load->clients[i].conn), .events = POLLIN};
	for (int i = 0; i < 2; i++)
		fds[nclients + i] =
			(struct pollfd){.fd = others[i] == NULL ? -1 : PQsocket(others[i]), .events = POLLIN};
	(void) poll(fds, nclients + 2, 10);
}

/* Takes the calls that have ended, and sends the next ones while there is time. */
static int
serve_clients(Load *load, int nclients, const struct pollfd *fds, double at, double seconds)
{
	int ended = 0;

	for (int i = 0; i < nclients; i++)
	{
		Client *client = &load->clients[i];

		if (fds[i].revents == 0 || !client->busy || !bench_take_result(client))
			continue;
		count_call(load, client, at, seconds);
		if (at < seconds)
			send_next(load, client);
		else
			ended++;
	}
	return ended;
}

/* Runs the load with its first clients, and answers when every call has ended. */
void
bench_load_run(Load *load, int nclients, double seconds)
{
	struct pollfd fds[MAX_CLIENTS + 2];
	double        start = bench_now_us();
	double        next_lag = 0;
	bool          asked = false;
	int           nbusy = nclients;

	load->events = load->refused = load->first_half = load->told = load->nlags = 0;
	for (int i = 0; i < nclients; i++)
		send_next(load, &load->clients[i]);
	while (nbusy > 0 || asked)
	{
		double at;

		wait_for_input(load, nclients, fds);
		at = (bench_now_us() - start) / 1e6;
		nbusy -= serve_clients(load, nclients, fds, at, seconds);
		if (fds[nclients].revents != 0)
			load->told += bench_take_notifications(load->listener, NULL);
		if (asked && fds[nclients + 1].revents != 0)
			asked = !take_lag(load, at);
		if (load->sampler != NULL && !asked && at >= next_lag && at < seconds)
		{
			ask_lag(load);
			asked = true;
			next_lag = at + LAG_SECONDS;
		}
	}
}
