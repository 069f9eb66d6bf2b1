/*
 * figures.c
 *		Medians, quartiles, ratios, and the table that shows them.
 */
#include <stdio.h>
#include <stdlib.h>

#include "bench.h"

static int
compare_figures(const void *a, const void *b)
{
	double difference = *(const double *) a - *(const double *) b;

	return difference < 0 ? -1 : difference > 0;
}

/* Sorts n figures; returns the median. */
static double
median(double *figures, int n)
{
	qsort(figures, n, sizeof(double), compare_figures);
	return n % 2 == 1 ? figures[n / 2] : (figures[n / 2 - 1] + figures[n / 2]) / 2;
}

/* Sorts n figures; returns the one that the part q of them does not exceed. */
double
bench_quantile(double *figures, int n, double q)
{
	int i = (int) (q * n);

	qsort(figures, n, sizeof(double), compare_figures);
	return figures[i < n ? i : n - 1];
}

double
bench_print_figures(double *figures, int n)
{
	double middle = median(figures, n);
	char   text[64];

	snprintf(text, sizeof(text), "%.2f (%.2f..%.2f)", middle, figures[n / 4],
			 figures[n - 1 - n / 4]);
	printf("  %-22s", text);
	return middle;
}

void
bench_print_row(const Row *row, Side *sides, int nsides, int rounds)
{
	double ratios[MAX_CONTENDERS][MAX_ROUNDS];
	double first = 0;

	for (int i = 0; i < nsides; i++)
	{
		for (int round = 0; round < rounds; round++)
			ratios[i][round] = sides[i].cpu[round] / sides[1].cpu[round];
	}
	printf("\n%s: %s\n", row->name, row->title);
	printf("  %-24s  %-22s  %-22s  %s\n", "contender", "CPU us/event", "wall us/event",
		   "CPU, ratio");
	for (int i = 0; i < nsides; i++)
	{
		double ratio;

		printf("  %-24s", sides[i].contender->name);
		bench_print_figures(sides[i].cpu, rounds);
		bench_print_figures(sides[i].wall, rounds);
		ratio = bench_print_figures(ratios[i], rounds);
		printf("\n");
		if (i == 0)
			first = ratio;
	}
	printf("  %d rounds of %d events: ratio %.2f (target <= %.1f): %s\n", rounds,
		   row->calls * row->batch, first, row->target, first <= row->target ? "met" : "NOT met");
	fflush(stdout);
}
