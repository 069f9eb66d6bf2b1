/*
 * streams.c
 *		es_streams: lists streams at a cost per stream, not per event.
 *
 * A cursor walks the names low <= name < below of one tenant by skipping through
 * the index (tenant, stream, version): one descent finds the next name, another
 * the stream's last event.  A listing merges its cursors: as many as it has
 * tenants times ranges.  Names have no control characters, so the names above
 * "x" are those from "x\001" on; a category is the range of its own name alone
 * and the range from "name-".
 */
#include "postgres.h"

#include "access/table.h"
#include "fmgr.h"
#include "lib/pairingheap.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "args.h"
#include "events.h"
#include "log.h"
#include "row.h"
#include "rows.h"
#include "tenant.h"
#include "text.h"
#include "visible.h"

PG_FUNCTION_INFO_V1(es_streams);

#define ES_STREAM_ROW_NATTS 5

typedef struct Cursor
{
	pairingheap_node node;
	text            *tenant;
	text            *below;
	text            *stream; /* where it stands */
} Cursor;

typedef struct Listing
{
	EsScan      *names; /* tenant =, stream >=, stream < */
	EsScan      *tails;
	pairingheap *cursors;
	text        *start; /* no name below this one */
	int          ncategories;
	text       **categories;
} Listing;

/* The heap's top is the smallest name, and of equal names the smallest tenant. */
static int
compare_cursors(const pairingheap_node *a, const pairingheap_node *b, void *arg)
{
	const Cursor *x = pairingheap_const_container(Cursor, node, a);
	const Cursor *y = pairingheap_const_container(Cursor, node, b);
	int           order = es_compare_texts(y->stream, x->stream);

	return order != 0 ? order : es_compare_texts(y->tenant, x->tenant);
}

/* A name and one more byte. */
static text *
name_and(const text *name, char byte)
{
	int   size = VARSIZE_ANY_EXHDR(name);
	text *result = palloc(VARHDRSZ + size + 1);

	SET_VARSIZE(result, VARHDRSZ + size + 1);
	memcpy(VARDATA(result), VARDATA_ANY(name), size);
	VARDATA(result)[size] = byte;
	return result;
}

/* A text above every name, in any encoding. */
static text *
above_all_names(void)
{
	text *result = palloc(VARHDRSZ + ES_STREAM_MAX_BYTES + 1);

	SET_VARSIZE(result, VARHDRSZ + ES_STREAM_MAX_BYTES + 1);
	memset(VARDATA(result), 0xFF, ES_STREAM_MAX_BYTES + 1);
	return result;
}

/* Moves a cursor to the first name from low on; adds it to the heap if there is one. */
static void
move_cursor(Listing *listing, Cursor *cursor, text *low)
{
	EsScan         *scan = listing->names;
	TupleTableSlot *slot;

	es_scan_text_key(scan, 1, BTEqualStrategyNumber, cursor->tenant);
	es_scan_text_key(scan, 2, BTGreaterEqualStrategyNumber, low);
	es_scan_text_key(scan, 2, BTLessStrategyNumber, cursor->below);
	es_scan_seek(scan);
	slot = es_scan_next(scan, ForwardScanDirection);
	if (slot == NULL)
		return;
	cursor->stream = DatumGetTextPCopy(es_row_column(slot, ES_EVENTS_STREAM));
	pairingheap_add(listing->cursors, &cursor->node);
}

static void
add_cursor(Listing *listing, text *tenant, text *low, text *below)
{
	Cursor *cursor = palloc0(sizeof(Cursor));

	cursor->tenant = tenant;
	cursor->below = below;
	move_cursor(listing, cursor, es_compare_texts(low, listing->start) < 0 ? listing->start : low);
}

static void
add_tenant(Listing *listing, text *tenant)
{
	if (listing->ncategories < 0)
		add_cursor(listing, tenant, listing->start, above_all_names());
	for (int i = 0; i < listing->ncategories; i++)
	{
		text *name = listing->categories[i];

		/* a category has no hyphen, and would otherwise be met twice */
		if (memchr(VARDATA_ANY(name), '-', VARSIZE_ANY_EXHDR(name)) != NULL)
			continue;
		add_cursor(listing, tenant, name, name_and(name, '\001'));
		add_cursor(listing, tenant, name_and(name, '-'), name_and(name, '-' + 1));
	}
}

/* Adds every tenant that has a stream, skipping from one to the next. */
static void
add_all_tenants(Listing *listing, Relation events)
{
	EsScan *scan =
		es_visible_scan(es_scan_begin(events, es_events.found->indexes[ES_EVENTS_BY_VERSION],
									  GetActiveSnapshot(), 1));
	text           *low = cstring_to_text("");
	TupleTableSlot *slot;

	for (;;)
	{
		text *tenant;

		es_scan_text_key(scan, 1, BTGreaterEqualStrategyNumber, low);
		es_scan_seek(scan);
		if ((slot = es_scan_next(scan, ForwardScanDirection)) == NULL)
			break;
		tenant = DatumGetTextPCopy(es_row_column(slot, ES_EVENTS_TENANT));
		add_tenant(listing, tenant);
		low = name_and(tenant, '\001');
		CHECK_FOR_INTERRUPTS();
	}
	es_scan_end(scan);
}

static void
put_stream(EsRows *rows, Listing *listing, const Cursor *cursor)
{
	TupleTableSlot *slot = es_log_seek_tail(listing->tails, cursor->tenant, cursor->stream);
	Datum           values[ES_STREAM_ROW_NATTS];
	bool            nulls[ES_STREAM_ROW_NATTS] = {false};

	/* policies that change their mind may hide now what they have shown */
	if (slot == NULL)
		return;
	values[0] = PointerGetDatum(cursor->stream);
	values[1] = Int64GetDatum(es_row_int8(slot, ES_EVENTS_VERSION));
	values[2] = Int64GetDatum(es_row_int8(slot, ES_EVENTS_POSITION));
	values[3] = TimestampTzGetDatum(es_row_int8(slot, ES_EVENTS_RECORDED_AT));
	values[4] = PointerGetDatum(cursor->tenant);
	es_rows_put(rows, values, nulls);
}

/*
 * Puts out streams in the order of their names.  A name that several tenants
 * have is not split between two pages, since the next page starts behind it.
 */
static void
put_streams(EsRows *rows, Listing *listing, int64 max_count)
{
	text *last = NULL;

	while (!pairingheap_is_empty(listing->cursors))
	{
		Cursor *cursor =
			pairingheap_container(Cursor, node, pairingheap_remove_first(listing->cursors));
		text *stream = cursor->stream;
		text *low;

		if (max_count-- <= 0 && (last == NULL || es_compare_texts(last, stream) != 0))
			break;
		put_stream(rows, listing, cursor);
		low = name_and(stream, '\001');
		move_cursor(listing, cursor, low);
		pfree(low);
		if (last != NULL)
			pfree(last);
		last = stream;
		CHECK_FOR_INTERRUPTS();
	}
}

/*
 * es_streams(categories, after, max_count, tenant) returns streams with a name
 * above "after", in the order of their names.
 */
Datum
es_streams(PG_FUNCTION_ARGS)
{
	Listing   listing;
	text     *after = PG_ARGISNULL(1) ? cstring_to_text("") : PG_GETARG_TEXT_PP(1);
	int64     max_count = es_arg_max_count(fcinfo, 2);
	EsTenants tenants = es_tenants_arg(fcinfo, 3);
	Relation  events;
	EsRows    rows;

	listing.categories = es_arg_texts(fcinfo, 0, "categories", &listing.ncategories);
	listing.start = name_and(after, '\001');
	listing.cursors = pairingheap_allocate(compare_cursors, NULL);
	events = es_visible_open();
	rows = es_rows_begin(fcinfo);
	listing.names =
		es_visible_scan(es_scan_begin(events, es_events.found->indexes[ES_EVENTS_BY_VERSION],
									  GetActiveSnapshot(), 3));
	listing.tails = es_visible_scan(es_log_stream_scan(events, GetActiveSnapshot()));
	if (tenants.n < 0)
		add_all_tenants(&listing, events);
	for (int i = 0; i < tenants.n; i++)
		add_tenant(&listing, tenants.names[i]);
	put_streams(&rows, &listing, max_count);
	es_scan_end(listing.tails);
	es_scan_end(listing.names);
	table_close(events, NoLock);
	return (Datum) 0;
}
