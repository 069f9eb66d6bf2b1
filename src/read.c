/*
 * read.c
 *		Reads of the log: es_read, es_head.
 *
 * es_read merges index scans that are each in position order: one over the whole
 * log, or one for each category, or for each type where the user has made an
 * index on (type, position).  What the index does not sort out is filtered; so
 * are names that are too many to merge.
 *
 * What is published ends at the horizon that the caller's snapshot sees (P1, P3).
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
#include "epoch.h"
#include "event.h"
#include "filter.h"
#include "load.h"
#include "log.h"
#include "reader.h"
#include "rows.h"
#include "store.h"
#include "tenant.h"
#include "tick.h"

PG_FUNCTION_INFO_V1(es_read);
PG_FUNCTION_INFO_V1(es_head);

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

static void
advance(const Merge *merge, Branch *branch)
{
	branch->slot = es_scan_next(branch->scan, merge->direction);
	/* one that is alone is compared with none */
	if (branch->slot != NULL && merge->n > 1)
		branch->position = es_scan_int8(branch->slot, ES_EVENTS_POSITION);
}

/* Opens a scan over positions between after and before, of one name or of all. */
static void
open_branch(Branch *branch, Relation events, Oid index, Snapshot snapshot, text *name, int64 after,
			int64 before)
{
	AttrNumber column = name == NULL ? 1 : 2;

	branch->scan = es_load_scan(es_scan_begin(events, index, snapshot, name == NULL ? 2 : 3));
	branch->scan->swap.strict = true; /* published rows are older than the tick that is seen */
	if (name != NULL)
		es_scan_text_key(branch->scan, 1, BTEqualStrategyNumber, name);
	if (after > 0)
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

/* What the scans sort out by themselves is taken out of the filter. */
static Merge
open_merge(Relation events, const EsStore *store, EsFilter *filter, Snapshot snapshot, int64 after,
		   int64 before, ScanDirection direction)
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
		filter->ncategories = -1;
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
		filter->ntypes = -1;
	}
	merge.branches = palloc(Max(merge.n, 1) * sizeof(Branch));
	for (int i = 0; i < merge.n; i++)
	{
		open_branch(&merge.branches[i], events, index, snapshot, names == NULL ? NULL : names[i],
					after, before);
		advance(&merge, &merge.branches[i]);
	}
	return merge;
}

/* The branch that comes next in position order, or NULL at the end. */
static Branch *
next_branch(Merge *merge)
{
	Branch *best = NULL;

	if (merge->n == 1)
		return merge->branches[0].slot == NULL ? NULL : &merge->branches[0];
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

/* Arguments 2..6 and 9. */
static EsFilter
read_filter(FunctionCallInfo fcinfo)
{
	EsFilter filter;

	filter.categories = es_arg_texts(fcinfo, 2, "categories", &filter.ncategories);
	filter.types = es_arg_texts(fcinfo, 3, "types", &filter.ntypes);
	filter.prefix = PG_ARGISNULL(4) ? NULL : PG_GETARG_TEXT_PP(4);
	filter.since = es_arg_time(fcinfo, 5, DT_NOBEGIN);
	filter.until = es_arg_time(fcinfo, 6, DT_NOEND);
	filter.tenants = es_tenants_arg(fcinfo, 9);
	return filter;
}

typedef struct Read
{
	Relation      events;
	EsFilter      filter;
	Merge         merge;
	Branch       *current;   /* whose row was the last answer */
	bool          wants_all; /* the filter hardly ever refuses a row */
	int64         left;
	MemoryContext scratch; /* of the filter, for one row */
} Read;

/* Is there nothing left to filter by but the tenant? */
static bool
is_wide(const EsFilter *filter)
{
	return filter->ncategories < 0 && filter->ntypes < 0 && filter->prefix == NULL &&
		   TIMESTAMP_IS_NOBEGIN(filter->since) && TIMESTAMP_IS_NOEND(filter->until);
}

static void *
open_read(FunctionCallInfo fcinfo, Snapshot snapshot)
{
	int64          after = es_arg_int8(fcinfo, 0, 0);
	int64          left = es_arg_max_count(fcinfo, 1);
	EsFilter       filter = read_filter(fcinfo);
	int64          before = es_arg_int8(fcinfo, 7, PG_INT64_MAX);
	bool           backwards = es_arg_bool(fcinfo, 8);
	Read          *read = palloc0(sizeof(Read));
	const EsStore *store;
	int64          horizon;

	read->filter = filter;
	read->left = left;
	read->events = es_load_open(&store);
	horizon = es_tick_horizon(snapshot);
	es_epoch_check_cursor(store, after, false);
	read->merge =
		open_merge(read->events, store, &read->filter, snapshot, after, Min(before, horizon + 1),
				   backwards ? BackwardScanDirection : ForwardScanDirection);
	read->wants_all = is_wide(&read->filter);
	read->scratch =
		AllocSetContextCreate(CurrentMemoryContext, "es_read filter", ALLOCSET_SMALL_SIZES);
	return read;
}

/*
 * The answer to most readers, whom nothing but the tenant is to be asked for; false
 * where it takes a closer look, as at names that are stored compressed.
 */
static bool
is_of_tenant(const EsTenants *tenants, TupleTableSlot *event)
{
	struct varlena *tenant =
		(struct varlena *) DatumGetPointer(es_scan_column(event, ES_EVENTS_TENANT));

	return tenants->n < 0 ||
		   (tenants->n == 1 && !VARATT_IS_COMPRESSED(tenant) && !VARATT_IS_EXTERNAL(tenant) &&
			es_same_text((text *) tenant, tenants->names[0]));
}

static bool
wants(Read *read, TupleTableSlot *event)
{
	MemoryContext caller;
	bool          result;

	if (read->wants_all && is_of_tenant(&read->filter.tenants, event))
		return true;
	caller = MemoryContextSwitchTo(read->scratch);
	result = es_filter_wants(&read->filter, event);
	MemoryContextSwitchTo(caller);
	MemoryContextReset(read->scratch);
	return result;
}

static bool
next_of_read(void *reader, EsRow *row)
{
	Read *read = reader;

	if (read->left <= 0)
		return false;
	for (;;)
	{
		if (read->current != NULL)
			advance(&read->merge, read->current);
		if ((read->current = next_branch(&read->merge)) == NULL)
			return false;
		/* a row is taken apart once, if it is going to be answered */
		if (read->wants_all)
			slot_getsomeattrs(read->current->slot, Max(row->last, ES_EVENTS_TENANT));
		if (wants(read, read->current->slot))
			break;
		CHECK_FOR_INTERRUPTS();
	}
	read->left--;
	es_reader_fill(row, read->current->slot);
	return true;
}

static void
close_read(void *reader)
{
	Read *read = reader;

	close_merge(&read->merge);
	table_close(read->events, NoLock);
	MemoryContextDelete(read->scratch);
	pfree(read);
}

const EsReaderKind es_read_reader = {
	.name = "es_read",
	.function = es_read,
	.nargs = 10,
	.natts = ES_LOG_ROW_NATTS,
	.columns = es_rows_log,
	.order = 1,
	.max_count = 1,
	.backwards = 8,
	.open = open_read,
	.next = next_of_read,
	.close = close_read,
};

/*
 * es_read(after, max_count, categories, types, stream_prefix, since, until,
 * before, backwards, tenant) returns published events in position order.
 */
Datum
es_read(PG_FUNCTION_ARGS)
{
	return es_reader_run(fcinfo, &es_read_reader);
}

/* es_head() returns the position of the newest event that the caller sees. */
Datum
es_head(PG_FUNCTION_ARGS)
{
	const EsStore  *store;
	Relation        events = es_load_open(&store);
	EsTenants       tenants = es_tenants_allowed();
	EsScan         *scan = es_load_scan(es_log_scan(events, store, GetActiveSnapshot()));
	TupleTableSlot *slot;
	int64           head = 0;

	while (head == 0 && (slot = es_scan_next(scan, BackwardScanDirection)) != NULL)
	{
		if (es_tenants_have(&tenants, es_scan_text(slot, ES_EVENTS_TENANT)))
			head = es_scan_int8(slot, ES_EVENTS_POSITION);
		CHECK_FOR_INTERRUPTS();
	}
	es_scan_end(scan);
	table_close(events, NoLock);
	PG_RETURN_INT64(head);
}
