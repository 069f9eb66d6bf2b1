/*
 * read_index.c
 *		Which indexes of es.events serve a reader of the log, and which one is narrow.
 *
 * An index serves where its first columns are the tenant, the type and the category,
 * or some of them in any order, and the position comes next: the rows of one value of
 * each lie in it in position order.  A reader that asks for some tenants, types or
 * categories reads one scan for each combination of their names and merges them.
 *
 * An index whose first columns include those of another one is the narrower of the two.
 * Of (category, position) and (type, position) neither is, always.  Which of them
 * leads to fewer rows is asked of the indexes themselves: how far do their next few
 * entries reach from where the reader stands?  That costs a descent for each
 * scan and no row, needs no statistics, and is as of now.  It is an estimate: it
 * decides what the answer costs, never what it is.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/transam.h"
#include "catalog/pg_am.h"
#include "utils/rel.h"

#include "events.h"
#include "layout.h"
#include "read_index.h"
#include "store.h"

/* So many entries of a scan are looked at: less than a page has. */
#define ES_SAMPLE 64

/* A column of es.events as a reader asks by it, or -1. */
static int
column_by(AttrNumber column)
{
	switch (column)
	{
		case ES_EVENTS_TENANT:
			return ES_BY_TENANT;
		case ES_EVENTS_TYPE:
			return ES_BY_TYPE;
		case ES_EVENTS_CATEGORY:
			return ES_BY_CATEGORY;
		default:
			return -1;
	}
}

/* The set of columns that come before the position; -1 where the index does not serve. */
static int
first_columns(Relation index, EsReadIndex *result)
{
	Form_pg_index form = index->rd_index;
	int           set = 0;

	if (index->rd_rel->relam != BTREE_AM_OID || !form->indisvalid || !form->indisready ||
		!heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, NULL))
		return -1;
	result->oid = RelationGetRelid(index);
	result->ncolumns = 0;
	for (int i = 0; i < form->indnkeyatts && es_layout_is_plain(index, i); i++)
	{
		int by = column_by(form->indkey.values[i]);

		if (form->indkey.values[i] == ES_EVENTS_POSITION)
			return set;
		if (by < 0 || (set & (1 << by)) != 0)
			return -1;
		result->by[result->ncolumns++] = by;
		set |= 1 << by;
	}
	return -1;
}

/* Finds the indexes that serve, one for each set of columns: the oldest. */
void
es_read_index_find(Relation events, EsReadIndex *indexes)
{
	List     *list = RelationGetIndexList(events);
	ListCell *cell;

	memset(indexes, 0, ES_BY_SETS * sizeof(EsReadIndex));
	foreach (cell, list)
	{
		Relation    index = index_open(lfirst_oid(cell), AccessShareLock);
		EsReadIndex found;
		int         set = first_columns(index, &found);

		if (set >= 0 && !OidIsValid(indexes[set].oid))
			indexes[set] = found;
		index_close(index, AccessShareLock);
	}
	list_free(list);
}

/* The indexes that serve, as this session knows them, by the set of their columns. */
const EsReadIndex *
es_read_index_all(void)
{
	static EsReadIndex indexes[ES_BY_SETS];
	static uint64      known = 0; /* the generation of the store that they are of */
	uint64             generation;

	(void) es_store();
	generation = es_store_generation();
	if (known != generation)
	{
		Relation events = table_open(es_events.found->relid, AccessShareLock);

		known = 0;
		es_read_index_find(events, indexes);
		table_close(events, AccessShareLock);
		/* a message that came while they were looked for leaves them to be looked for again */
		known = generation;
	}
	return indexes;
}

bool
es_read_index_has(const EsReadIndex *index, int by)
{
	for (int i = 0; i < index->ncolumns; i++)
	{
		if (index->by[i] == by)
			return true;
	}
	return false;
}

/*
 * How many scans of this index it takes to find the names; more than the most where it
 * begins with a column that is not asked by.
 */
int
es_read_index_nscans(const EsReadIndex *index, const EsReadNames *names)
{
	double n = 1;

	for (int i = 0; i < index->ncolumns; i++)
	{
		if (names->by[index->by[i]].n < 0)
			return ES_READ_INDEX_MAX_SCANS + 1;
		n *= names->by[index->by[i]].n;
	}
	return (int) Min(n, ES_READ_INDEX_MAX_SCANS + 1);
}

/*
 * The indexes that a reader of these names may take, none of which is always narrower
 * than another one; at least one.  The first is to be taken where nothing speaks
 * against it: by category if there is one.  Nothing is asked of the names but how many
 * they are.
 */
int
es_read_index_choices(const EsReadNames *names, EsReadIndex *choices)
{
	const EsReadIndex *indexes = es_read_index_all();
	int                sets[ES_READ_INDEX_MAX_CHOICES];
	int                n = 0;

	/* a set that has another one in it has the higher number */
	for (int set = ES_BY_SETS - 1; set >= 0; set--)
	{
		const EsReadIndex *index = &indexes[set];
		bool               wider = false;

		if (!OidIsValid(index->oid) || es_read_index_nscans(index, names) > ES_READ_INDEX_MAX_SCANS)
			continue;
		for (int i = 0; i < n; i++)
			wider |= (sets[i] & set) == set;
		if (wider)
			continue;
		sets[n] = set;
		choices[n++] = *index;
	}
	return n;
}

/* Positions the nth of the scans that find the names. */
void
es_read_index_seek(EsScan *scan, const EsReadIndex *index, const EsReadNames *names, int nth,
				   const EsReadRange *range)
{
	AttrNumber position = index->ncolumns + 1;

	for (int i = 0; i < index->ncolumns; i++)
	{
		int    n = names->by[index->by[i]].n;
		text **these = names->by[index->by[i]].names;

		es_scan_text_key(scan, i + 1, BTEqualStrategyNumber, these[nth % n]);
		nth /= n;
	}
	if (range->after > 0)
		es_scan_int8_key(scan, position, BTGreaterStrategyNumber, range->after);
	es_scan_int8_key(scan, position, BTLessStrategyNumber, range->before);
	es_scan_seek(scan);
}

/* How many entries a scan has for each position, by a few of them. */
static double
density_of_scan(EsScan *scan, AttrNumber column, const EsReadRange *range)
{
	double width = (double) range->before - (double) Max(range->after, 0);
	int64  position;
	int    n;

	for (n = 0; n < ES_SAMPLE; n++)
	{
		if (!es_scan_next_entry(scan, range->direction, column, &position))
			return n / Max(width, 1);
	}
	return n / (ScanDirectionIsForward(range->direction) ? (double) position - Max(range->after, 0)
														 : (double) range->before - position);
}

static double
density(Relation events, const EsReadIndex *index, const EsReadNames *names,
		const EsReadRange *range)
{
	EsScan *scan = es_scan_begin_entries(events, index->oid, index->ncolumns + 2);
	int     n = es_read_index_nscans(index, names);
	double  result = 0;

	for (int i = 0; i < n; i++)
	{
		es_read_index_seek(scan, index, names, i, range);
		result += density_of_scan(scan, index->ncolumns + 1, range);
	}
	es_scan_end(scan);
	return result;
}

/*
 * The choice that leads to the fewest rows from here on; the present one unless another
 * has less than half as many.
 */
int
es_read_index_narrowest(Relation events, const EsReadIndex *choices, int nchoices, int present,
						const EsReadNames *names, const EsReadRange *range)
{
	double least = density(events, &choices[present], names, range) / 2;
	int    best = present;

	for (int i = 0; i < nchoices; i++)
	{
		double other = i == present ? least : density(events, &choices[i], names, range);

		if (other < least)
		{
			best = i;
			least = other;
		}
	}
	return best;
}
