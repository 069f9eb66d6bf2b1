/*
 * text.c
 *		Texts as bytes: the order of COLLATE "C", and sorted lists of names.
 */
#include "postgres.h"

#include "compat.h"
#include "text.h"

/* Are these the same bytes? */
bool
es_same_text(const text *a, const text *b)
{
	return VARSIZE_ANY_EXHDR(a) == VARSIZE_ANY_EXHDR(b) &&
		   memcmp(VARDATA_ANY(a), VARDATA_ANY(b), VARSIZE_ANY_EXHDR(a)) == 0;
}

/* The order of texts with COLLATE "C". */
int
es_compare_texts(const text *a, const text *b)
{
	int size_a = VARSIZE_ANY_EXHDR(a);
	int size_b = VARSIZE_ANY_EXHDR(b);
	int order = memcmp(VARDATA_ANY(a), VARDATA_ANY(b), Min(size_a, size_b));

	return order != 0 ? order : size_a - size_b;
}

static int
compare_texts(const void *a, const void *b)
{
	return es_compare_texts(*(text *const *) a, *(text *const *) b);
}

/* Sorts names and leaves each once; answers how many. */
int
es_sort_texts(text **texts, int n)
{
	int kept = 0;

	qsort(texts, n, sizeof(text *), compare_texts);
	for (int i = 0; i < n; i++)
	{
		if (kept == 0 || es_compare_texts(texts[kept - 1], texts[i]) != 0)
			texts[kept++] = texts[i];
	}
	return kept;
}

/* Is the name one of n sorted ones?  n = -1 stands for all names. */
bool
es_text_is_among(const text *name, text *const *names, int n)
{
	int low = 0;
	int high = n;

	while (low < high)
	{
		int middle = low + (high - low) / 2;
		int order = es_compare_texts(name, names[middle]);

		if (order == 0)
			return true;
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return n < 0;
}
