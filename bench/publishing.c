/*
 * publishing.c
 *		What the rows about publishing share: commits that reach the disk, a
 *		listener, and a look at what the publisher has still to do.
 */
#define _GNU_SOURCE /* sched.h */

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

const char bench_lag_query[] =
	"SELECT lag_events, extract(epoch FROM lag) * 1000, greatest(head - notified, 0), state"
	" FROM es_stat_publisher";

static void
await_true(PGconn *conn, const char *query, const char *what)
{
	double end = bench_now_us() + QUIET_SECONDS * 1e6;

	for (;;)
	{
		PGresult *result = bench_query(conn, query);
		bool      is_true = PQntuples(result) == 1 && strcmp(PQgetvalue(result, 0, 0), "t") == 0;

		PQclear(result);
		if (is_true)
			return;
		if (bench_now_us() > end)
			bench_die("waited in vain", what);
		bench_pause_ms(1);
	}
}

/* Lets every CPU run us and what we start from now on. */
static void
share_all_cpus(void)
{
	cpu_set_t set;
	long      n = sysconf(_SC_NPROCESSORS_CONF);

	CPU_ZERO(&set);
	for (long i = 0; i < n; i++)
		CPU_SET(i, &set);
	if (sched_setaffinity(0, sizeof(set), &set) != 0)
		bench_die("could not use all CPUs", "sched_setaffinity() failed");
}

/*
 * From now on commits reach the disk, and processes run where there is room.  The
 * postmaster reads the settings before its children do, so when we see them every
 * new backend has them.
 */
void
bench_make_durable(PGconn *admin)
{
	share_all_cpus();
	bench_execute(admin, "ALTER SYSTEM SET fsync = on");
	bench_execute(admin, "SELECT pg_reload_conf()");
	await_true(admin, "SELECT current_setting('fsync') = 'on'", "fsync = on");
	bench_execute(admin, "CHECKPOINT");
	sync();
}

/* A connection that hears of everything, by whomever it is told. */
PGconn *
bench_listen(const char *info)
{
	PGconn *conn = bench_connect(info, NULL);

	bench_execute(conn, "LISTEN es_events");
	bench_execute(conn, "LISTEN bench");
	return conn;
}

/* Reads what has arrived; answers how many notifications of a channel, or of any. */
int
bench_take_notifications(PGconn *listener, const char *channel)
{
	PGnotify *notification;
	int       n = 0;

	if (!PQconsumeInput(listener))
		bench_die("could not listen", PQerrorMessage(listener));
	while ((notification = PQnotifies(listener)) != NULL)
	{
		n += channel == NULL || strcmp(notification->relname, channel) == 0;
		PQfreemem(notification);
	}
	return n;
}

/* Waits until everything is published and told, and the publisher sleeps. */
void
bench_await_quiet(PGconn *admin)
{
	await_true(admin,
			   "SELECT lag_events = 0 AND notified >= horizon AND state = 'idle'"
			   " FROM es_stat_publisher",
			   "a publisher that is done; is the library preloaded?");
}

/* A connection that appends; the sequence of its table is where the table is. */
PGconn *
bench_connect_appender(const char *info, const Contender *contender, const char *synchronous_commit)
{
	Side side = {.contender = contender, .conn = bench_connect_table(contender->table, info)};
	char sql[64];

	bench_read_position(&side);
	snprintf(sql, sizeof(sql), "SET synchronous_commit = %s", synchronous_commit);
	bench_execute(side.conn, sql);
	bench_prepare(&side);
	return side.conn;
}

/* A row of bench_lag_query. */
Lag
bench_read_lag(const PGresult *result)
{
	Lag lag = {0};

	if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1)
		bench_die(bench_lag_query, PQresultErrorMessage(result));
	lag.events = atof(PQgetvalue(result, 0, 0));
	lag.ms = atof(PQgetvalue(result, 0, 1));
	lag.untold = atof(PQgetvalue(result, 0, 2));
	return lag;
}
