/*
 * bench.c
 *		Measures the store against what PostgreSQL does without it, in one server
 *		and one run.
 *
 * A row is one job.  Its contenders do the job side by side: in every round
 * each of them, in turns of who is first, over a connection of its own, with
 * the same events and parameters of the same format.  A round gives each
 * contender the CPU time of its backend and the wall time, per event; of all
 * rounds the median stands, with the quartiles.  A ratio is that of one round,
 * to the row's second contender, the reference; of the ratios again the median.
 *
 * Every contender of a row writes to a table of its own with the same columns
 * and indexes; all begin with the same events and grow at the same pace.  What
 * is sent is made before the clock starts.
 *
 * Rows with a function of their own are about publishing; see there.  They come
 * last: from the first of them on the server's commits reach the disk.
 *
 *		bench <connection string> [row ...]
 */
#include <string.h>
#include <stdio.h>

#include "bench.h"

/* The first contender is measured against the second. */
const Row bench_rows[] = {
	{.name = "append",
	 .title = "one event to an existing stream",
	 .batch = 1,
	 .per_transaction = 1,
	 .calls = 500,
	 .target = 1.3,
	 .contenders = {&bench_append, &bench_bare, &bench_bare_random}},
	{.name = "append-new",
	 .title = "the first event of a new stream",
	 .fresh = true,
	 .batch = 1,
	 .per_transaction = 1,
	 .calls = 500,
	 .target = 1.3,
	 .contenders = {&bench_append, &bench_bare, &bench_bare_random}},
	{.name = "append-tx",
	 .title = "one event to an existing stream, 1,000 such calls a transaction",
	 .batch = 1,
	 .per_transaction = 1000,
	 .calls = 1000,
	 .target = 1.3,
	 .contenders = {&bench_append, &bench_bare}},
	{.name = "append-new-tx",
	 .title = "the first event of a new stream, 1,000 such calls a transaction",
	 .fresh = true,
	 .batch = 1,
	 .per_transaction = 1000,
	 .calls = 1000,
	 .target = 1.3,
	 .contenders = {&bench_append, &bench_bare}},
	{.name = "batch-1000",
	 .title = "1,000 events to an existing stream",
	 .batch = 1000,
	 .per_transaction = 1,
	 .calls = 2,
	 .target = 1.3,
	 .contenders = {&bench_batch, &bench_copy}},
	{.name = "batch-100",
	 .title = "100 events to an existing stream",
	 .batch = 100,
	 .per_transaction = 1,
	 .calls = 20,
	 .target = 1.3,
	 .contenders = {&bench_batch, &bench_copy}},
	{.name = "listen",
	 .title = "one event on an idle server, from the append until a listener has heard of it",
	 .batch = 1,
	 .seconds = 30,
	 .target = 1.5,
	 .target_p99 = 3,
	 .contenders = {&bench_append, &bench_append_notify, &bench_bare_notify},
	 .run = bench_run_latency},
	{.name = "notify-16",
	 .title = "one event to an existing stream, 16 clients, a listener",
	 .batch = 1,
	 .clients = 16,
	 .seconds = 1,
	 .target = 1.5,
	 .contenders = {&bench_append, &bench_append_notify, &bench_bare_notify, &bench_bare},
	 .run = bench_run_throughput},
	{.name = "keep-up",
	 .title = "the publisher behind 16 clients that append one event a call",
	 .batch = 1,
	 .clients = 16,
	 .seconds = 10,
	 .target = 0.01,
	 .contenders = {&bench_append},
	 .run = bench_run_keep_up},
	{.name = "keep-up-1000",
	 .title = "the publisher behind 2 clients that append 1,000 events a call",
	 .batch = 1000,
	 .clients = 2,
	 .seconds = 10,
	 .target = 0.01,
	 .contenders = {&bench_batch},
	 .run = bench_run_keep_up},
};

static const Row *
find_row(const char *name)
{
	for (size_t i = 0; i < lengthof(bench_rows); i++)
	{
		if (strcmp(bench_rows[i].name, name) == 0)
			return &bench_rows[i];
	}
	bench_die("there is no such row", name);
	return NULL;
}

static bool
is_wanted(const Row *row, char **names, int n)
{
	for (int i = 0; i < n; i++)
	{
		if (find_row(names[i]) == row)
			return true;
	}
	return n == 0;
}

static void
print_head(PGconn *conn)
{
	PGresult *result = bench_query(conn, "SELECT current_setting('server_version')");

	printf("PostgreSQL %s; %d events in %d streams; %d bytes of data an event; one client\n",
		   PQgetvalue(result, 0, 0), STREAMS * FILL_EVENTS, STREAMS, DATA_BYTES);
	PQclear(result);
	printf("median (quartiles) of the rounds; ratios are to the second line, round by round\n");
}

int
main(int argc, char **argv)
{
	PGconn *admin;

	if (argc < 2)
		bench_die("usage", "bench <connection string> [row ...]");
	for (int i = 2; i < argc; i++)
		find_row(argv[i]);
	admin = bench_connect(argv[1]);
	bench_share_cpu(0);
	print_head(admin);
	bench_make_tables(admin);
	for (size_t i = 0; i < lengthof(bench_rows); i++)
	{
		const Row *row = &bench_rows[i];

		if (!is_wanted(row, argv + 2, argc - 2))
			continue;
		if (row->run != NULL)
			row->run(row, argv[1], admin);
		else
			bench_run_row(row, argv[1], admin);
	}
	PQfinish(admin);
	return 0;
}
