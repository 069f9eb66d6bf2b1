/*
 * figures.c
 *		Medians, quartiles, ratios round by round.
 */
#include <stdlib.h>
#include <string.h>

#include "bench.h"

#define MAX_FIGURES 20000

static int
compare_figures(const void *a, const void *b)
{
	double difference = *(const double *) a - *(const double *) b;

	return difference < 0 ? -1 : difference > 0;
}

/* Sorts n figures; returns the one that the part q of them does not exceed. */
double
bench_quantile(double *figures, int n, double q)
{
	int i = (int) (q * n);

	qsort(figures, n, sizeof(double), compare_figures);
	return figures[i < n ? i : n - 1];
}

/* The median of n figures, which stay as they are, and their quartiles. */
Spread
bench_spread(const double *figures, int n)
{
	static double sorted[MAX_FIGURES];
	Spread        spread;

	memcpy(sorted, figures, n * sizeof(double));
	qsort(sorted, n, sizeof(double), compare_figures);
	spread.middle = n % 2 == 1 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
	spread.low = sorted[n / 4];
	spread.high = sorted[n - 1 - n / 4];
	return spread;
}

/* The same of the ratios that the rounds have given. */
Spread
bench_spread_of_ratios(const double *figures, const double *references, int n)
{
	double ratios[MAX_ROUNDS];

	for (int i = 0; i < n; i++)
		ratios[i] = figures[i] / references[i];
	return bench_spread(ratios, n);
}
