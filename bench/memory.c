/*
 * memory.c
 *		What a backend needs: resident memory of its own while it works.
 *
 * Anonymous memory is looked at all the time, before and while a new backend works;
 * shared buffers, which it touches too, are not in it.  The client takes row by row.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

#define STREAM        "million-0000"
#define STREAM_EVENTS 1000000
#define APPENDS       100000
#define BATCH         1000

typedef struct Job
{
	const char *name;
	const char *sql; /* row by row; or NULL: appends, in calls of so many events */
	int         batch;
	bool        bounded; /* is there a target? */
} Job;

static const Job jobs[] = {
	{.name = "es_load, 1,000,000 events",
	 .sql = "SELECT * FROM es_load('" STREAM "')",
	 .bounded = true},
	{.name = "SELECT, 1,000,000 events",
	 .sql = "SELECT * FROM es.events WHERE tenant = '' AND stream = '" STREAM "' ORDER BY version"},
	{.name = "es_load, 10,000 events",
	 .sql = "SELECT * FROM es_load('tenk-0000')",
	 .bounded = true},
	{.name = "100,000 events, one a call, one transaction", .batch = 1, .bounded = true},
	{.name = "100,000 events, 1,000 a call, one transaction", .batch = BATCH, .bounded = true},
	{.name = "100,000 events, one call", .batch = APPENDS},
};

/* kB of a process's own memory. */
static double
read_memory(int pid)
{
	char  path[64];
	char  line[256];
	FILE *file;
	long  kb = -1;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	if ((file = fopen(path, "r")) == NULL)
		bench_die("could not read the memory of a backend", path);
	while (kb < 0 && fgets(line, sizeof(line), file) != NULL)
		(void) sscanf(line, "RssAnon: %ld kB", &kb);
	fclose(file);
	return kb;
}

static void
watch(PGconn *conn, double *most)
{
	double now = read_memory(PQbackendPID(conn));

	if (now > *most)
		*most = now;
}

/* Waits for a statement's results, row by row, and looks at the memory meanwhile. */
static void
take_results(PGconn *conn, const char *sql, double *most)
{
	double    next = 0;
	PGresult *result;

	for (;;)
	{
		while (PQisBusy(conn))
		{
			struct pollfd fd = {.fd = PQsocket(conn), .events = POLLIN};

			(void) poll(&fd, 1, 2);
			if (bench_now_us() >= next)
			{
				watch(conn, most);
				next = bench_now_us() + 2000;
			}
			if (!PQconsumeInput(conn))
				bench_die(sql, PQerrorMessage(conn));
		}
		if ((result = PQgetResult(conn)) == NULL)
			return;
		if (PQresultStatus(result) != PGRES_SINGLE_TUPLE)
			bench_check(conn, sql, result);
		PQclear(result);
	}
}

static void
load_rows(PGconn *conn, const char *sql, double *most)
{
	if (!PQsendQuery(conn, sql) || !PQsetSingleRowMode(conn))
		bench_die(sql, PQerrorMessage(conn));
	take_results(conn, sql, most);
}

static void
append_events(PGconn *conn, int batch, double *most)
{
	const Contender *contender = batch == 1 ? &bench_append : &bench_batch;
	static int       njobs = 0;
	char             stream[40];
	Side             side = {.contender = contender, .conn = conn};

	snprintf(stream, sizeof(stream), FRESH_CATEGORY "-%06d", 900000 + njobs++);
	bench_prepare(&side);
	bench_execute(conn, "BEGIN");
	for (int i = 0; i < APPENDS; i += batch)
	{
		Call call = {0};

		bench_make_call(contender, stream, i + 1, batch, false, &call);
		if (!PQsendQueryPrepared(conn, "call", call.nparams, (const char *const *) call.params,
								 NULL, NULL, 0))
			bench_die(contender->statement, PQerrorMessage(conn));
		take_results(conn, contender->statement, most);
		bench_free_call(&call);
	}
	bench_execute(conn, "COMMIT");
	watch(conn, most);
}

static void
run_job(const Row *row, const Job *job, const char *info)
{
	PGconn *conn = bench_connect(info, NULL);
	double  before;
	double  most;

	bench_execute(conn, "SELECT es_load('none')");
	before = most = read_memory(PQbackendPID(conn));
	if (job->sql != NULL)
		load_rows(conn, job->sql, &most);
	else
		append_events(conn, job->batch, &most);
	bench_report_cell("%s", job->name);
	bench_report_cell("%.1f", before / 1024);
	bench_report_cell("%.1f", most / 1024);
	bench_report_cell("%.1f", (most - before) / 1024);
	bench_report_line();
	PQfinish(conn);
	if (job->bounded)
		bench_report_target(row, (most - before) / 1024, AT_MOST, row->target, "MB more: %s",
							job->name);
}

void
bench_run_memory(const Row *row, const char *info, PGconn *admin)
{
	Side side = {.contender = &bench_batch, .conn = admin};

	bench_prepare(&side);
	bench_execute(admin, "BEGIN");
	bench_append_stream(admin, STREAM, 0, STREAM_EVENTS, BATCH);
	bench_execute(admin, "COMMIT; DEALLOCATE call; ANALYZE es.events");
	bench_report_row(row, "");
	bench_report_columns("job of a new backend", "own memory before, MB", "most, MB", "more, MB",
						 NULL);
	for (size_t i = 0; i < lengthof(jobs); i++)
		run_job(row, &jobs[i], info);
}
