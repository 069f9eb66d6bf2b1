/*
 * bench.c
 *		Measures the store against what PostgreSQL does without it and against other
 *		event stores, in one server and one run.
 *
 * A row (rows.c) is one job.  Its contenders do the job side by side: in every round
 * each of them, in turns of who is first, over a connection of its own, with the
 * same events and parameters of the same format.  A round gives each contender the
 * CPU time of its backend and the wall time, per event; of all rounds the median
 * stands, with the quartiles.  A ratio is that of one round; of the ratios again the
 * median.
 *
 * Every contender writes to tables of its own; all begin with the same events and
 * grow at the same pace.  What is sent is made before the clock starts.
 *
 *		bench quick|full|long <connection string> <directory for results, or ''> [row ...]
 */
#include <string.h>

#include "bench.h"

static const Row *
find_row(const char *name)
{
	for (int i = 0; i < bench_nrows; i++)
	{
		if (strcmp(bench_rows[i].name, name) == 0)
			return &bench_rows[i];
	}
	bench_die("there is no such row", name);
	return NULL;
}

static Level
find_level(const char *name)
{
	if (strcmp(name, "quick") == 0)
		return QUICK;
	if (strcmp(name, "long") == 0)
		return LONG;
	if (strcmp(name, "full") != 0)
		bench_die("there is no such run", name);
	return FULL;
}

static bool
is_wanted(const Row *row, Level level, char **names, int n)
{
	for (int i = 0; i < n; i++)
	{
		if (find_row(names[i]) == row)
			return true;
	}
	return n == 0 && (row->levels & level) != 0;
}

int
main(int argc, char **argv)
{
	PGconn     *admin;
	const char *info;
	Level       level;

	if (argc < 4)
		bench_die("usage", "bench quick|full|long <connection string> <directory> [row ...]");
	level = find_level(argv[1]);
	info = argv[2];
	for (int i = 4; i < argc; i++)
		find_row(argv[i]);
	admin = bench_connect(info, NULL);
	bench_share_cpu(0);
	bench_report_begin(admin, level);
	if (level != LONG)
		bench_make_tables(admin);
	if (level == FULL)
		bench_fill_peers(info, admin);
	for (int i = 0; i < bench_nrows; i++)
	{
		const Row *row = &bench_rows[i];

		if (!is_wanted(row, level, argv + 4, argc - 4))
			continue;
		if (row->run != NULL)
			row->run(row, info, admin);
		else
			bench_run_row(row, info, admin);
	}
	bench_report_end(argc > 4 || argv[3][0] == '\0' ? NULL : argv[3], level);
	PQfinish(admin);
	return 0;
}
