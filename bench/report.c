/*
 * report.c
 *		The table on the terminal, and the same as Markdown with the targets first.
 *
 * Targets are said when the row's table has ended: whoever reports them may do so
 * while the table grows.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

#define FIRST_WIDTH 44
#define CELL_WIDTH  26

static Text details;  /* Markdown */
static Text targets;  /* the same: rows of the table of targets */
static Text verdicts; /* of the present row, for the terminal and the details */
static Text head;
static bool with_peers;
static int  ncells;
static int  nmet;
static int  nmissed;
static int  nmissing;

static void
add(Text *text, const char *format, ...)
{
	char    line[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	bench_text_add_string(text, line);
}

static void
end_row(void)
{
	if (verdicts.used > 0)
	{
		fputs(verdicts.bytes, stdout);
		add(&details, "\n```text\n");
		bench_text_add_string(&details, verdicts.bytes);
		add(&details, "```\n");
	}
	verdicts.used = 0;
	fflush(stdout);
}

static void
read_line(const char *path, const char *key, char *value, size_t size)
{
	FILE *file = fopen(path, "r");
	char  line[256];

	snprintf(value, size, "unknown");
	while (file != NULL && fgets(line, sizeof(line), file) != NULL)
	{
		char *colon = strchr(line, ':');

		if (strncmp(line, key, strlen(key)) != 0 || colon == NULL)
			continue;
		line[strcspn(line, "\n")] = '\0';
		snprintf(value, size, "%s", colon + 2);
		break;
	}
	if (file != NULL)
		fclose(file);
}

static void
report_missing_peers(PGconn *admin)
{
	const Contender *const peers[] = {&bench_message_db, &bench_emmett, &bench_seed, &bench_pgq};

	for (size_t i = 0; i < lengthof(peers); i++)
	{
		if (bench_has(peers[i], admin))
			continue;
		printf("*** NOT MEASURED: %s, it could not be fetched\n", peers[i]->name);
		add(&head, "**Not measured: %s**, it could not be fetched.\n", peers[i]->name);
	}
}

void
bench_report_begin(PGconn *admin, Level level)
{
	PGresult *result = bench_query(admin, "SELECT current_setting('server_version'),"
										  " to_char(now() AT TIME ZONE 'utc', 'YYYY-MM-DD')");
	char      cpu[128];

	read_line("/proc/cpuinfo", "model name", cpu, sizeof(cpu));
	add(&head,
		"PostgreSQL %s, %s, %s.\n\nA row is one job; its contenders do it in turns, in one server, "
		"with the same events: %d bytes of\ndata unless the row says otherwise. Figures are the "
		"median of the rounds (quartiles); a ratio is\nthat of one round, and the median is taken "
		"of the ratios. CPU is that of the backend. Times mean\nlittle elsewhere, ratios more.\n",
		PQgetvalue(result, 0, 0), cpu, PQgetvalue(result, 0, 1), DATA_BYTES);
	PQclear(result);
	fputs(head.bytes, stdout);
	with_peers = level == FULL;
	if (with_peers)
		report_missing_peers(admin);
	fflush(stdout);
}

void
bench_report_row(const Row *row, const char *more)
{
	end_row();
	printf("\n%s: %s%s\n", row->name, row->title, more);
	add(&details, "\n### %s\n\n%s%s\n", row->name, row->title, more);
	ncells = 0;
}

void
bench_report_cell(const char *format, ...)
{
	char    cell[256];
	va_list args;

	va_start(args, format);
	vsnprintf(cell, sizeof(cell), format, args);
	va_end(args);
	printf("  %-*s", ncells == 0 ? FIRST_WIDTH : CELL_WIDTH, cell);
	add(&details, "| %s ", cell);
	ncells++;
}

void
bench_report_spread(int decimals, Spread spread)
{
	bench_report_cell("%.*f (%.*f..%.*f)", decimals, spread.middle, decimals, spread.low, decimals,
					  spread.high);
}

void
bench_report_line(void)
{
	printf("\n");
	add(&details, "|\n");
	ncells = 0;
}

/* The names of the columns, up to NULL. */
void
bench_report_columns(const char *first, ...)
{
	va_list     args;
	const char *name;
	int         n = 0;

	bench_text_add_string(&details, "\n");
	va_start(args, first);
	for (name = first; name != NULL; name = va_arg(args, const char *))
	{
		bench_report_cell("%s", name);
		n++;
	}
	va_end(args);
	bench_report_line();
	for (int i = 0; i < n; i++)
		add(&details, "|---");
	add(&details, "|\n");
}

void
bench_report_note(const char *format, ...)
{
	char    note[512];
	va_list args;

	va_start(args, format);
	vsnprintf(note, sizeof(note), format, args);
	va_end(args);
	add(&verdicts, "  %s\n", note);
}

/* Is the figure what the target wants?  The format says what the figure is. */
void
bench_report_target(const Row *row, double figure, Bound bound, double target, const char *format,
					...)
{
	const char *sign = bound == AT_MOST ? "<=" : ">=";
	bool        met = bound == AT_MOST ? figure <= target : figure >= target;
	char        what[256];
	va_list     args;

	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	*(met ? &nmet : &nmissed) += 1;
	add(&verdicts, "  %-72s %8.3f, target %s %.4g: %s\n", what, figure, sign, target,
		met ? "met" : "NOT met");
	add(&targets, "| %s | %s | %.3f | %s %.4g | %s |\n", row->name, what, figure, sign, target,
		met ? "met" : "**not met**");
}

/* A target of which nothing is known. */
void
bench_report_unmeasured(const Row *row, const char *what)
{
	nmissing++;
	add(&verdicts, "  %s: NOT MEASURED\n", what);
	add(&targets, "| %s | %s | | | **not measured** |\n", row->name, what);
}

/* One about a contender that is not there, though it was to be. */
void
bench_report_missing(const Row *row, const Contender *contender)
{
	char what[128];

	snprintf(what, sizeof(what), "against %s", contender->name);
	if (with_peers)
		bench_report_unmeasured(row, what);
}

static void
write_file(const char *directory, Level level)
{
	char  path[1024];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", directory,
			 level == LONG ? "RESULTS-long.md" : "RESULTS.md");
	if ((file = fopen(path, "w")) == NULL)
		bench_die("could not write", path);
	fprintf(file, "# Results of `make %s`\n\n", level == LONG ? "bench-long" : "bench");
	fprintf(file,
			"Written by the run itself. %s\n## Targets: %d met, %d not met, %d not measured\n\n",
			head.bytes, nmet, nmissed, nmissing);
	fprintf(file, "| row | what | figure | target | |\n|---|---|---|---|---|\n%s", targets.bytes);
	if (level == LONG)
		fprintf(file, "\n![an append as the store grows](growth.svg)\n");
	else
		fprintf(file, "\n![CPU of an append](append.svg)\n\n![events a second](throughput.svg)\n\n"
					  "![CPU of reading](read.svg)\n");
	fprintf(file, "\n## Rows\n%s", details.bytes);
	if (fclose(file) != 0)
		bench_die("could not write", path);
	printf("written: %s\n", path);
}

/* Says how it went; with a directory, writes it down there too. */
void
bench_report_end(const char *directory, Level level)
{
	end_row();
	printf("\n%d targets met, %d not met, %d not measured\n", nmet, nmissed, nmissing);
	if (directory != NULL)
	{
		write_file(directory, level);
		bench_plot_write(directory, level);
	}
}
