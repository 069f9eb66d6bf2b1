/*
 * rounds.c
 *		Runs a row: its contenders in turns, their CPU and wall time.
 */
#define _GNU_SOURCE /* sched.h */

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

static void
pause_ms(void)
{
	struct timespec pause = {0, 1000000};

	nanosleep(&pause, NULL);
}

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

/* The same once the backend is idle: while it runs, the count lags by a clock tick. */
static double
backend_cpu_us(PGconn *conn)
{
	int    pid = PQbackendPID(conn);
	double before = read_cpu_us(pid);

	for (int i = 0; i < 100; i++)
	{
		double now;

		pause_ms();
		now = read_cpu_us(pid);
		if (now == before)
			break;
		before = now;
	}
	if (before < 0)
		bench_die("could not read the CPU time of a backend", "/proc has none");
	return before;
}

static void
send_calls(Side *side, const Row *row, const Call *calls)
{
	for (int i = 0; i < row->calls; i++)
	{
		if (row->per_transaction > 1 && i % row->per_transaction == 0)
			bench_execute(side->conn, "BEGIN");
		side->contender->send(side->conn, side->contender->statement, &calls[i]);
		if (row->per_transaction > 1 &&
			((i + 1) % row->per_transaction == 0 || i + 1 == row->calls))
			bench_execute(side->conn, "COMMIT");
	}
}

/* One contender's part of a round. */
static void
run_side(Side *side, const Row *row, int round)
{
	Call  *calls = bench_make_calls(side, row);
	double cpu = backend_cpu_us(side->conn);
	double wall = bench_now_us();
	double events = (double) row->calls * row->batch;

	send_calls(side, row, calls);
	wall = bench_now_us() - wall;
	cpu = backend_cpu_us(side->conn) - cpu;
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

static void
begin_side(Side *side, const Contender *contender, const Row *row, const char *info, PGconn *admin)
{
	memset(side, 0, sizeof(Side));
	side->contender = contender;
	side->random = (uint64_t) (row - bench_rows) << 32;
	side->nfresh = (uint64_t) (row - bench_rows) << 32;
	bench_read_position(side, admin);
	bench_read_versions(side, admin);
	side->conn = bench_connect(info);
	bench_share_cpu(PQbackendPID(side->conn));
	if (contender->prepared)
	{
		PGresult *result = PQprepare(side->conn, "call", contender->statement, 0, NULL);

		if (PQresultStatus(result) != PGRES_COMMAND_OK)
			bench_die(contender->statement, PQerrorMessage(side->conn));
		PQclear(result);
	}
}

void
bench_run_row(const Row *row, const char *info, PGconn *admin)
{
	static Side sides[MAX_CONTENDERS];
	int         nsides = 0;
	int         rounds = 0;
	double      end = bench_now_us() + ROW_SECONDS * 1e6;

	while (nsides < MAX_CONTENDERS && row->contenders[nsides] != NULL)
	{
		begin_side(&sides[nsides], row->contenders[nsides], row, info, admin);
		nsides++;
	}
	for (int round = -WARM_UP_ROUNDS; round < MAX_ROUNDS; round++)
	{
		if (round >= MIN_ROUNDS && bench_now_us() > end)
			break;
		for (int i = 0; i < nsides; i++)
			run_side(&sides[(i + round + WARM_UP_ROUNDS) % nsides], row, round);
		rounds = round + 1;
	}
	bench_print_row(row, sides, nsides, rounds);
	for (int i = 0; i < nsides; i++)
		PQfinish(sides[i].conn);
}
