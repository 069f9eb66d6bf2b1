/*
 * read.c
 *		Reads of the log: es_read, es_head.
 *
 * es_read merges index scans that are each in position order: one over the whole
 * log, or one for each category, or type, or tenant, or combination of them that there
 * is an index for (read_index.c).  What the index does not sort out is filtered; so
 * are names that are too many to merge.
 *
 * Where several indexes serve, each by itself leads to all rows that are wanted, in
 * order.  So the reader may turn from one to another anywhere: it goes on behind the row
 * that it has looked at last.  It begins with the index by category.  When it has looked
 * at some rows in vain it asks which index is the narrowest from there on, and again
 * after twice as many.
 *
 * What is published ends at the horizon that the caller's snapshot sees (P1, P3).
 */
#include "postgres.h"

#include "access/table.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "args.h"
#include "epoch.h"
#include "events.h"
#include "filter.h"
#include "log.h"
#include "name.h"
#include "read_index.h"
#include "reader.h"
#include "row.h"
#include "rows.h"
#include "tenant.h"
#include "text.h"
#include "tick.h"
#include "visible.h"

PG_FUNCTION_INFO_V1(es_read);
PG_FUNCTION_INFO_V1(es_head);

/* So many rows are looked at in vain before the narrowest index is asked for; at most so many. */
#define ES_PATIENCE     32
#define ES_PATIENCE_MAX 8192

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
		branch->position = es_row_int8(branch->slot, ES_EVENTS_POSITION);
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
	Snapshot      snapshot;
	EsVisible    *visible;
	EsFilter      asked;
	EsFilter      filter; /* what the present index does not sort out of that */
	EsReadNames   names;
	EsReadRange   range; /* what the present merge began with */
	EsReadIndex   choices[ES_READ_INDEX_MAX_CHOICES];
	int           nchoices;
	int           present;
	int           nused; /* indexes that have been read by, each once */
	Oid           used[ES_READ_INDEX_MAX_CHOICES];
	Merge         merge;
	Branch       *current;   /* whose row was the last answer */
	bool          wants_all; /* the filter hardly ever refuses a row */
	int64         left;
	int64         patience; /* rows until the next look around; 0: there is nothing else */
	int64         pause;    /* what it was at the last one */
	int64         removed;  /* rows that were looked at and not answered */
	MemoryContext scratch;  /* of the filter, for one row */
} Read;

/* Is there nothing left to filter by but the tenant? */
static bool
is_wide(const EsFilter *filter)
{
	return filter->ncategories < 0 && filter->ntypes < 0 && filter->prefix == NULL &&
		   TIMESTAMP_IS_NOBEGIN(filter->since) && TIMESTAMP_IS_NOEND(filter->until);
}

/* Has the prefix a '-', so that all streams of it have one category? */
static bool
has_category(const text *prefix)
{
	return prefix != NULL && memchr(VARDATA_ANY(prefix), '-', VARSIZE_ANY_EXHDR(prefix)) != NULL;
}

static EsReadNames
asked_names(const EsFilter *filter)
{
	EsReadNames names;

	names.by[ES_BY_TENANT].n = filter->tenants.n;
	names.by[ES_BY_TENANT].names = filter->tenants.names;
	names.by[ES_BY_TYPE].n = filter->ntypes;
	names.by[ES_BY_TYPE].names = filter->types;
	names.by[ES_BY_CATEGORY].n = filter->ncategories;
	names.by[ES_BY_CATEGORY].names = filter->categories;
	if (has_category(filter->prefix))
	{
		text *category = es_name_category(filter->prefix);
		bool  wanted = filter->ncategories < 0 ||
					  es_text_is_among(category, filter->categories, filter->ncategories);

		names.by[ES_BY_CATEGORY].n = wanted ? 1 : 0;
		names.by[ES_BY_CATEGORY].names = palloc(sizeof(text *));
		names.by[ES_BY_CATEGORY].names[0] = category;
	}
	return names;
}

static void
note_used(Read *read, Oid index)
{
	for (int i = 0; i < read->nused; i++)
	{
		if (read->used[i] == index)
			return;
	}
	read->used[read->nused++] = index;
}

static void
open_branch(Read *read, Branch *branch, const EsReadIndex *index, int nth)
{
	branch->scan = es_scan_begin(read->events, index->oid, read->snapshot, index->ncolumns + 2);
	(void) es_visible_filter(branch->scan, read->visible);
	es_read_index_seek(branch->scan, index, &read->names, nth, &read->range);
}

/* What the scans sort out by themselves is taken out of the filter. */
static void
open_merge(Read *read, int choice)
{
	const EsReadIndex *index = &read->choices[choice];
	Merge             *merge = &read->merge;

	read->present = choice;
	note_used(read, index->oid);
	read->filter = read->asked;
	if (es_read_index_has(index, ES_BY_CATEGORY))
		read->filter.ncategories = -1;
	if (es_read_index_has(index, ES_BY_TYPE))
		read->filter.ntypes = -1;
	read->wants_all = is_wide(&read->filter);
	merge->n = es_read_index_nscans(index, &read->names);
	merge->direction = read->range.direction;
	merge->branches = palloc(Max(merge->n, 1) * sizeof(Branch));
	for (int i = 0; i < merge->n; i++)
	{
		open_branch(read, &merge->branches[i], index, i);
		advance(merge, &merge->branches[i]);
	}
	read->current = NULL;
}

static void
close_merge(Read *read)
{
	for (int i = 0; i < read->merge.n; i++)
		es_scan_end(read->merge.branches[i].scan);
	pfree(read->merge.branches);
}

/*
 * Turns to the narrowest index from the current row on, which is not wanted.
 *
 * Out of line: it is called once in many rows.
 */
static pg_noinline void
look_around(Read *read)
{
	int64 position = es_row_int8(read->current->slot, ES_EVENTS_POSITION);
	int   best;

	if (ScanDirectionIsForward(read->range.direction))
		read->range.after = position;
	else
		read->range.before = position;
	best = es_read_index_narrowest(read->events, read->choices, read->nchoices, read->present,
								   &read->names, &read->range);
	if (best != read->present)
	{
		close_merge(read);
		open_merge(read, best);
	}
	read->pause = Min(2 * read->pause, ES_PATIENCE_MAX);
	read->patience = read->pause;
}

static void *
open_read(FunctionCallInfo fcinfo, Snapshot snapshot)
{
	int64    after = es_arg_int8(fcinfo, 0, 0);
	int64    left = es_arg_max_count(fcinfo, 1);
	EsFilter filter = read_filter(fcinfo);
	int64    before = es_arg_int8(fcinfo, 7, PG_INT64_MAX);
	bool     backwards = es_arg_bool(fcinfo, 8);
	Read    *read = palloc0(sizeof(Read));
	int64    horizon;

	read->asked = filter;
	read->names = asked_names(&filter);
	read->left = left;
	read->events = es_visible_open();
	horizon = es_tick_horizon(snapshot);
	es_epoch_check_cursor(after, false);
	read->nchoices = es_read_index_choices(&read->names, read->choices);
	read->range.after = after;
	read->range.before = Min(before, horizon + 1);
	read->range.direction = backwards ? BackwardScanDirection : ForwardScanDirection;
	read->snapshot = snapshot;
	read->visible = es_visible_begin(read->events, snapshot, true);
	read->pause = ES_PATIENCE;
	read->patience = read->nchoices > 1 ? ES_PATIENCE : 0;
	open_merge(read, 0);
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
		(struct varlena *) DatumGetPointer(es_row_column(event, ES_EVENTS_TENANT));

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
		read->removed++;
		if (--read->patience == 0)
			look_around(read);
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

	close_merge(read);
	es_visible_end(read->visible);
	table_close(read->events, NoLock);
	MemoryContextDelete(read->scratch);
	pfree(read);
}

/* The indexes that it has read by, in the order that it took them in. */
static int
indexes_of_read(void *reader, Oid *indexes)
{
	Read *read = reader;

	memcpy(indexes, read->used, read->nused * sizeof(Oid));
	return read->nused;
}

static int64
removed_by_read(void *reader)
{
	Read *read = reader;

	return read->removed + es_visible_count(read->visible);
}

/* How many names an argument has at most; -1 for NULL. */
static int
count_names(FunctionCallInfo fcinfo, int argno)
{
	ArrayType *names = PG_ARGISNULL(argno) ? NULL : PG_GETARG_ARRAYTYPE_P(argno);

	return names == NULL ? -1 : ArrayGetNItems(ARR_NDIM(names), ARR_DIMS(names));
}

/* The indexes that it may take, the one that it begins with first.  Raises nothing. */
static int
expect_of_read(FunctionCallInfo fcinfo, const bool *known, Oid *indexes)
{
	EsReadIndex choices[ES_READ_INDEX_MAX_CHOICES];
	EsReadNames names;
	int         n;

	if (!known[2] || !known[3] || !known[4] || !known[9])
		return 0;
	names.by[ES_BY_CATEGORY].n = count_names(fcinfo, 2);
	names.by[ES_BY_TYPE].n = count_names(fcinfo, 3);
	if (!PG_ARGISNULL(4) && has_category(PG_GETARG_TEXT_PP(4)))
		names.by[ES_BY_CATEGORY].n = 1;
	names.by[ES_BY_TENANT].n = 1;
	if (!PG_ARGISNULL(9) && es_tenant_is_all(PG_GETARG_TEXT_PP(9)))
		names.by[ES_BY_TENANT].n = es_tenants_allowed().n;
	n = es_read_index_choices(&names, choices);
	for (int i = 0; i < n; i++)
		indexes[i] = choices[i].oid;
	return n;
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
	.indexes = indexes_of_read,
	.removed = removed_by_read,
	.expect = expect_of_read,
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
	Relation        events = es_visible_open();
	EsTenants       tenants = es_tenants_allowed();
	EsScan         *scan = es_visible_scan(es_log_scan(events, GetActiveSnapshot()));
	TupleTableSlot *slot;
	int64           head = 0;

	while (head == 0 && (slot = es_scan_next(scan, BackwardScanDirection)) != NULL)
	{
		if (es_tenants_have(&tenants, es_row_text(slot, ES_EVENTS_TENANT)))
			head = es_row_int8(slot, ES_EVENTS_POSITION);
		CHECK_FOR_INTERRUPTS();
	}
	es_scan_end(scan);
	table_close(events, NoLock);
	PG_RETURN_INT64(head);
}
