/*
 * rounds.c
 *		Runs a row: its contenders in turns, their CPU and wall time.
 */
#define _GNU_SOURCE /* sched.h */

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

/* CPU time of a process in us, or -1 where the kernel does not count it. */
static double
read_cpu_us(int pid)
{
	char               path[64];
	FILE              *file;
	unsigned long long ns;
	unsigned long      user;
	unsigned long      system;
	int                n;

	snprintf(path, sizeof(path), "/proc/%d/schedstat", pid);
	if ((file = fopen(path, "r")) != NULL)
	{
		n = fscanf(file, "%llu", &ns);
		fclose(file);
		if (n == 1 && ns > 0)
			return ns / 1e3;
	}
	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	if ((file = fopen(path, "r")) == NULL)
		return -1;
	n = fscanf(file, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
			   &system);
	fclose(file);
	return n == 2 ? (user + system) * 1e6 / sysconf(_SC_CLK_TCK) : -1;
}

/* The same once the process is idle: while it runs, the count lags by a clock tick. */
static double
backend_cpu_us(int pid)
{
	double before = read_cpu_us(pid);

	for (int i = 0; i < 100; i++)
	{
		double now;

		bench_pause_ms(1);
		now = read_cpu_us(pid);
		if (now == before)
			break;
		before = now;
	}
	if (before < 0)
		bench_die("could not read the CPU time of a backend", "/proc has none");
	return before;
}

void
bench_send_calls(Side *side, const Row *row, const Call *calls)
{
	if (row->inside)
	{
		bench_do_inside(side, row);
		return;
	}
	for (int i = 0; i < row->calls; i++)
	{
		if (row->per_transaction > 1 && i % row->per_transaction == 0)
			bench_execute(side->conn, "BEGIN");
		bench_send(side, &calls[i]);
		if (row->per_transaction > 1 &&
			((i + 1) % row->per_transaction == 0 || i + 1 == row->calls))
			bench_execute(side->conn, "COMMIT");
	}
}

/* Sends and frees the calls of a contender's part of a round; those below 0 do not count. */
void
bench_time_calls(Side *side, const Row *row, Call *calls, int round)
{
	double events = (double) row->calls * row->batch;
	double cpu;
	double wall;

	if (row->inside)
		bench_give_inside(side, row, calls);
	cpu = backend_cpu_us(PQbackendPID(side->conn));
	wall = bench_now_us();
	bench_send_calls(side, row, calls);
	wall = bench_now_us() - wall;
	cpu = backend_cpu_us(PQbackendPID(side->conn)) - cpu;
	bench_free_calls(calls, row);
	if (round >= 0)
	{
		side->cpu[round] = cpu / events;
		side->wall[round] = wall / events;
	}
}

/*
 * Puts a process on the CPU that we are on.  Client and backend take turns, so
 * neither waits for it, and no round pays for waking up another CPU.
 */
void
bench_share_cpu(int pid)
{
	static int cpu = -1;
	cpu_set_t  set;

	if (cpu < 0)
		cpu = sched_getcpu();
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(pid, sizeof(set), &set) != 0)
		bench_die("could not bind a process to a CPU", "run as the server's user or as root");
}

/* Connects the contenders that are there; says which are not. */
int
bench_begin_sides(Side *sides, const Row *row, const char *info, PGconn *admin)
{
	int n = 0;

	for (int i = 0; i < MAX_CONTENDERS && row->contenders[i] != NULL; i++)
	{
		Side *side = &sides[n];

		if (!bench_has(row->contenders[i], admin))
			continue;
		memset(side, 0, sizeof(Side));
		side->contender = row->contenders[i];
		side->random = (uint64_t) (row - bench_rows) << 32;
		side->nfresh = side->random + ((uint64_t) i << 28);
		side->conn = bench_connect_table(side->contender->table, info);
		bench_read_position(side);
		bench_share_cpu(PQbackendPID(side->conn));
		if (row->inside)
			bench_prepare_inside(side);
		else
			bench_prepare(side);
		n++;
	}
	return n;
}

/* The index of a contender's side; n where it is not there. */
int
bench_find_side(const Side *sides, int n, const Contender *contender)
{
	int i = 0;

	while (i < n && sides[i].contender != contender)
		i++;
	return i;
}

static void
report_row(const Row *row, const Side *sides, int n, int rounds)
{
	bench_report_row(row, "");
	bench_report_columns("contender", "CPU us/event", "wall us/event", "CPU, first = 1", NULL);
	for (int i = 0; i < n; i++)
	{
		Spread ratio = bench_spread_of_ratios(sides[i].cpu, sides[0].cpu, rounds);

		bench_report_cell("%s", sides[i].contender->name);
		bench_report_spread(2, bench_spread(sides[i].cpu, rounds));
		bench_report_spread(2, bench_spread(sides[i].wall, rounds));
		bench_report_spread(2, ratio);
		bench_report_line();
		bench_plot_bar(row->name, sides[i].contender->name, ratio);
	}
	bench_report_note("%d rounds of %d events.", rounds, row->calls * row->batch);
	for (int i = 0; i < MAX_TARGETS && row->targets[i].against != NULL; i++)
	{
		const Target *target = &row->targets[i];
		int           j = bench_find_side(sides, n, target->against);
		Spread        ratio;

		if (j == n)
		{
			bench_report_missing(row, target->against);
			continue;
		}
		ratio = bench_spread_of_ratios(sides[0].cpu, sides[j].cpu, rounds);
		bench_report_target(row, ratio.middle, AT_MOST, target->ratio,
							"CPU of %s / that of %s (%.2f to %.2f)", sides[0].contender->name,
							target->against->name, ratio.low, ratio.high);
	}
}

void
bench_run_row(const Row *row, const char *info, PGconn *admin)
{
	static Side sides[MAX_CONTENDERS];
	int         n = bench_begin_sides(sides, row, info, admin);
	int         rounds = 0;
	int         most = row->rounds > 0 ? row->rounds : MAX_ROUNDS;
	double      end = bench_now_us() + n * CONTENDER_SECONDS * 1e6;

	for (int round = -WARM_UP_ROUNDS; round < most; round++)
	{
		if (round >= MIN_ROUNDS && bench_now_us() > end)
			break;
		for (int i = 0; i < n; i++)
		{
			Side *side = &sides[(i + round + WARM_UP_ROUNDS) % n];

			bench_time_calls(side, row, bench_make_calls(side, row), round);
		}
		rounds = round + 1;
	}
	report_row(row, sides, n, rounds);
	for (int i = 0; i < n; i++)
		PQfinish(sides[i].conn);
}
