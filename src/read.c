/*
 * read.c
 *		Reads of the log: es_read, es_head, es_horizon.
 *
 * es_read merges index scans that are each in position order: one over the whole
 * log, or one for each category, or for each type where the user has made an
 * index on (type, position).  What the index does not sort out is filtered; so
 * are names that are too many to merge.
 *
 * What is published is said by one function, is_published().
 */
#include "postgres.h"

#include "access/table.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "args.h"
#include "event.h"
#include "load.h"
#include "log.h"
#include "rows.h"
#include "store.h"
#include "tenant.h"

PG_FUNCTION_INFO_V1(es_read);
PG_FUNCTION_INFO_V1(es_head);
PG_FUNCTION_INFO_V1(es_horizon);

/* What a reader wants; -1 names and NULLs are no filter. */
typedef struct Filter
{
	int         ncategories;
	text      **categories;
	int         ntypes;
	text      **types;
	text       *prefix;
	TimestampTz since;
	TimestampTz until;
	text       *tenant;
} Filter;

/* Filters of more names than this read the whole log instead of merging. */
#define ES_MERGE_MAX 64

/* One of the scans that are merged, with the row that it stands at. */
typedef struct Branch
{
	EsScan         *scan;
	TupleTableSlot *slot; /* NULL: at its end */
	int64           position;
} Branch;

typedef struct Merge
{
	int           n;
	Branch       *branches;
	ScanDirection direction;
} Merge;

/*
 * Is this visible row published?  Until there is a horizon, everything committed
 * is: the caller's own open transaction is not.
 */
static bool
is_published(TupleTableSlot *slot)
{
	return !es_log_is_own(slot);
}

static void
advance(Branch *branch, ScanDirection direction)
{
	branch->slot = es_scan_next(branch->scan, direction);
	if (branch->slot != NULL)
		branch->position = es_scan_int8(branch->slot, ES_EVENTS_POSITION);
}

/* Opens a scan over positions between after and before, of one name or of all. */
static void
open_branch(Branch *branch, Relation events, Oid index, text *name, int64 after, int64 before)
{
	AttrNumber column = name == NULL ? 1 : 2;

	branch->scan = es_scan_begin(events, index, GetActiveSnapshot(), name == NULL ? 2 : 3);
	if (name != NULL)
		es_scan_text_key(branch->scan, 1, BTEqualStrategyNumber, name);
	es_scan_int8_key(branch->scan, column, BTGreaterStrategyNumber, after);
	es_scan_int8_key(branch->scan, column, BTLessStrategyNumber, before);
	es_scan_seek(branch->scan);
}

/* The category that all streams of a prefix have, or NULL. */
static text *
category_of_prefix(text *prefix)
{
	if (prefix == NULL || memchr(VARDATA_ANY(prefix), '-', VARSIZE_ANY_EXHDR(prefix)) == NULL)
		return NULL;
	return es_event_category(prefix);
}

static Merge
open_merge(Relation events, const EsStore *store, const Filter *filter, int64 after, int64 before,
		   ScanDirection direction)
{
	Merge  merge = {1, NULL, direction};
	Oid    index = store->events_position;
	text  *category = category_of_prefix(filter->prefix);
	text **names = NULL;

	if (filter->ncategories >= 0 && filter->ncategories <= ES_MERGE_MAX)
	{
		index = store->events_category;
		names = filter->categories;
		merge.n = filter->ncategories;
	}
	else if (category != NULL)
	{
		index = store->events_category;
		names = &category;
	}
	else if (filter->ntypes >= 0 && filter->ntypes <= ES_MERGE_MAX &&
			 OidIsValid(store->events_type))
	{
		index = store->events_type;
		names = filter->types;
		merge.n = filter->ntypes;
	}
	merge.branches = palloc(Max(merge.n, 1) * sizeof(Branch));
	for (int i = 0; i < merge.n; i++)
	{
		open_branch(&merge.branches[i], events, index, names == NULL ? NULL : names[i], after,
					before);
		advance(&merge.branches[i], direction);
	}
	return merge;
}

/* The branch that comes next in position order, or NULL at the end. */
static Branch *
next_branch(Merge *merge)
{
	Branch *best = NULL;

	for (int i = 0; i < merge->n; i++)
	{
		Branch *branch = &merge->branches[i];

		if (branch->slot != NULL && (best == NULL || (ScanDirectionIsForward(merge->direction)
														  ? branch->position < best->position
														  : branch->position > best->position)))
			best = branch;
	}
	return best;
}

static void
close_merge(Merge *merge)
{
	for (int i = 0; i < merge->n; i++)
		es_scan_end(merge->branches[i].scan);
}

static bool
begins_with(text *name, text *prefix)
{
	return VARSIZE_ANY_EXHDR(name) >= VARSIZE_ANY_EXHDR(prefix) &&
		   memcmp(VARDATA_ANY(name), VARDATA_ANY(prefix), VARSIZE_ANY_EXHDR(prefix)) == 0;
}

/* Is the name one of n sorted ones?  n = -1 is no filter. */
static bool
is_one_of(text *name, text **names, int n)
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

static bool
is_wanted(TupleTableSlot *slot, const Filter *filter)
{
	TimestampTz at = es_scan_int8(slot, ES_EVENTS_RECORDED_AT);

	return at >= filter->since && at <= filter->until &&
		   (filter->tenant == NULL ||
			es_same_text(es_scan_text(slot, ES_EVENTS_TENANT), filter->tenant)) &&
		   (filter->prefix == NULL ||
			begins_with(es_scan_text(slot, ES_EVENTS_STREAM), filter->prefix)) &&
		   (filter->ncategories < 0 || is_one_of(es_scan_text(slot, ES_EVENTS_CATEGORY),
												 filter->categories, filter->ncategories)) &&
		   (filter->ntypes < 0 ||
			is_one_of(es_scan_text(slot, ES_EVENTS_TYPE), filter->types, filter->ntypes)) &&
		   is_published(slot);
}

/* Arguments 2..6 and 9. */
static Filter
read_filter(FunctionCallInfo fcinfo)
{
	Filter filter;

	filter.categories = es_arg_texts(fcinfo, 2, "categories", &filter.ncategories);
	filter.types = es_arg_texts(fcinfo, 3, "types", &filter.ntypes);
	filter.prefix = PG_ARGISNULL(4) ? NULL : PG_GETARG_TEXT_PP(4);
	filter.since = es_arg_time(fcinfo, 5, DT_NOBEGIN);
	filter.until = es_arg_time(fcinfo, 6, DT_NOEND);
	filter.tenant = es_tenant_arg_or_all(fcinfo, 9);
	return filter;
}

/*
 * es_read(after, max_count, categories, types, stream_prefix, since, until,
 * before, backwards, tenant) returns published events in position order.
 */
Datum
es_read(PG_FUNCTION_ARGS)
{
	int64         after = es_arg_int8(fcinfo, 0, 0);
	int64         left = es_arg_max_count(fcinfo, 1);
	Filter        filter = read_filter(fcinfo);
	int64         before = es_arg_int8(fcinfo, 7, PG_INT64_MAX);
	ScanDirection direction = es_arg_bool(fcinfo, 8) ? BackwardScanDirection : ForwardScanDirection;
	const EsStore *store;
	Relation       events = es_load_open(&store);
	EsRows         rows = es_rows_begin(fcinfo);
	Merge          merge = open_merge(events, store, &filter, after, before, direction);
	Branch        *branch;

	while (left > 0 && (branch = next_branch(&merge)) != NULL)
	{
		if (is_wanted(branch->slot, &filter))
		{
			es_rows_put_log(&rows, branch->slot);
			left--;
		}
		advance(branch, direction);
		CHECK_FOR_INTERRUPTS();
	}
	close_merge(&merge);
	table_close(events, NoLock);
	return (Datum) 0;
}

/* The newest position that the caller sees, of all events or of published ones. */
static int64
newest_position(bool published)
{
	const EsStore *store;
	Relation       events = es_load_open(&store);
	Branch         branch;
	int64          position = 0;

	open_branch(&branch, events, store->events_position, NULL, 0, PG_INT64_MAX);
	do
		advance(&branch, BackwardScanDirection);
	while (branch.slot != NULL && published && !is_published(branch.slot));
	if (branch.slot != NULL)
		position = branch.position;
	es_scan_end(branch.scan);
	table_close(events, NoLock);
	return position;
}

/* es_head() returns the position of the newest event that the caller sees. */
Datum
es_head(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(newest_position(false));
}

/* es_horizon() returns the position up to which events are published. */
Datum
es_horizon(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(newest_position(true));
}
