/*
 * util.c
 *		Memory and text that do not fail, time, and statements that may not fail.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench.h"

void
bench_die(const char *what, const char *detail)
{
	fprintf(stderr, "bench: %s: %s\n", what, detail);
	exit(1);
}

/* malloc() and realloc() that do not fail. */
void *
bench_allocate(void *old, size_t size)
{
	void *p = realloc(old, size);

	if (p == NULL)
		bench_die("out of memory", "give the benchmark more");
	return p;
}

void
bench_text_add(Text *text, const char *bytes, size_t n)
{
	if (text->used + n + 1 > text->size)
	{
		text->size = 2 * (text->used + n + 1);
		text->bytes = bench_allocate(text->bytes, text->size);
	}
	memcpy(text->bytes + text->used, bytes, n);
	text->used += n;
	text->bytes[text->used] = '\0';
}

void
bench_text_add_string(Text *text, const char *string)
{
	bench_text_add(text, string, strlen(string));
}

void
bench_text_add_int(Text *text, int64_t number)
{
	char digits[32];

	snprintf(digits, sizeof(digits), "%" PRId64, number);
	bench_text_add_string(text, digits);
}

char *
bench_copy_string(const char *string)
{
	return strcpy(bench_allocate(NULL, strlen(string) + 1), string);
}

double
bench_now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1e6 + now.tv_nsec / 1e3;
}

void
bench_pause_ms(int ms)
{
	struct timespec pause = {ms / 1000, ms % 1000 * 1000000};

	nanosleep(&pause, NULL);
}

/* A result that is no error; errors end the run. */
PGresult *
bench_check(PGconn *conn, const char *sql, PGresult *result)
{
	ExecStatusType status = PQresultStatus(result);

	if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK && status != PGRES_COPY_IN &&
		status != PGRES_COPY_OUT)
		bench_die(sql, PQerrorMessage(conn));
	return result;
}

PGresult *
bench_query(PGconn *conn, const char *sql)
{
	return bench_check(conn, sql, PQexec(conn, sql));
}

void
bench_execute(PGconn *conn, const char *sql)
{
	PQclear(bench_query(conn, sql));
}

/* The one figure that a query answers with. */
double
bench_query_number(PGconn *conn, const char *sql)
{
	PGresult *result = bench_query(conn, sql);
	double    number = atof(PQgetvalue(result, 0, 0));

	PQclear(result);
	return number;
}

/* A connection to a database, or to the one that the string names. */
PGconn *
bench_connect(const char *info, const char *database)
{
	char    text[1024];
	PGconn *conn;

	snprintf(text, sizeof(text), "%s %s%s", info,
			 database == NULL ? "" : "dbname=", database == NULL ? "" : database);
	conn = PQconnectdb(text);
	if (PQstatus(conn) != CONNECTION_OK)
		bench_die("could not connect", PQerrorMessage(conn));
	bench_execute(conn, "SET client_min_messages = warning");
	return conn;
}
