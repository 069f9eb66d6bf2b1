/*
 * load.c
 *		Reads of one stream or one event: es_load, es_stream_version, es_position,
 *		es_event, es_event_exists, es_category, es_key.
 *
 * All of them read with the caller's own snapshot, as SELECT does: on the
 * primary, on a hot standby and in READ ONLY transactions alike.
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
#include "events.h"
#include "log.h"
#include "name.h"
#include "reader.h"
#include "row.h"
#include "rows.h"
#include "tenant.h"
#include "visible.h"

PG_FUNCTION_INFO_V1(es_load);
PG_FUNCTION_INFO_V1(es_stream_version);
PG_FUNCTION_INFO_V1(es_position);
PG_FUNCTION_INFO_V1(es_event);
PG_FUNCTION_INFO_V1(es_event_exists);
PG_FUNCTION_INFO_V1(es_category);
PG_FUNCTION_INFO_V1(es_key);

/*
 * The first version whose recorded_at is not before a time, or is after it: a
 * binary search, since recorded_at never decreases within a stream (A4).
 */
static int64
first_version(EsScan *scan, text *tenant, text *stream, int64 last, TimestampTz time, bool after)
{
	int64 low = 1;
	int64 high = last + 1;

	while (low < high)
	{
		int64           middle = low + (high - low) / 2;
		TupleTableSlot *slot = es_log_seek_version(scan, tenant, stream, middle);
		TimestampTz     at = slot == NULL ? DT_NOEND : es_row_int8(slot, ES_EVENTS_RECORDED_AT);

		if (after ? at > time : at >= time)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

typedef struct Range
{
	int64       from;
	int64       to;
	TimestampTz since;
	TimestampTz until;
} Range;

/* Turns bounds by time into bounds by version. */
static void
bound_by_time(Range *range, EsScan *scan, text *tenant, text *stream)
{
	TupleTableSlot *tail;
	int64           last;

	if (TIMESTAMP_IS_NOBEGIN(range->since) && TIMESTAMP_IS_NOEND(range->until))
		return;
	es_visible_search(scan, true); /* it needs a row wherever there is one */
	tail = es_log_seek_tail(scan, tenant, stream);
	last = tail == NULL ? 0 : es_row_int8(tail, ES_EVENTS_VERSION);
	if (!TIMESTAMP_IS_NOBEGIN(range->since))
		range->from =
			Max(range->from, first_version(scan, tenant, stream, last, range->since, false));
	if (!TIMESTAMP_IS_NOEND(range->until))
		range->to =
			Min(range->to, first_version(scan, tenant, stream, last, range->until, true) - 1);
	es_visible_search(scan, false);
}

typedef struct Load
{
	Relation      events;
	EsScan       *scan;
	ScanDirection direction;
	int64         left;
} Load;

static void *
open_load(FunctionCallInfo fcinfo, Snapshot snapshot)
{
	text *stream = es_arg_stream(fcinfo, 0);
	Range range = {es_arg_int8(fcinfo, 1, 1), es_arg_int8(fcinfo, 2, PG_INT64_MAX),
				   es_arg_time(fcinfo, 3, DT_NOBEGIN), es_arg_time(fcinfo, 4, DT_NOEND)};
	int64 left = es_arg_max_count(fcinfo, 5);
	bool  backwards = es_arg_bool(fcinfo, 6);
	text *tenant = es_tenant_arg(fcinfo, 7);
	Load *load = palloc(sizeof(Load));

	load->left = left;
	load->direction = backwards ? BackwardScanDirection : ForwardScanDirection;
	load->events = es_visible_open();
	load->scan = es_visible_scan(es_log_stream_scan(load->events, snapshot));
	bound_by_time(&range, load->scan, tenant, stream);
	es_log_seek_range(load->scan, tenant, stream, range.from, range.to);
	return load;
}

static bool
next_of_load(void *reader, EsRow *row)
{
	Load           *load = reader;
	TupleTableSlot *slot;

	if (load->left <= 0 || (slot = es_scan_next(load->scan, load->direction)) == NULL)
		return false;
	load->left--;
	es_reader_fill(row, slot);
	return true;
}

static void
close_load(void *reader)
{
	Load *load = reader;

	es_scan_end(load->scan);
	table_close(load->events, NoLock);
	pfree(load);
}

static int
indexes_of_load(void *reader, Oid *indexes)
{
	indexes[0] = RelationGetRelid(((Load *) reader)->scan->index);
	return 1;
}

/* What policies hide: the scan itself finds nothing else that is not wanted. */
static int64
removed_by_load(void *reader)
{
	return es_visible_hidden(((Load *) reader)->scan);
}

static int
expect_of_load(FunctionCallInfo fcinfo, const bool *known, Oid *indexes)
{
	indexes[0] = es_events.found->indexes[ES_EVENTS_BY_VERSION];
	return 1;
}

const EsReaderKind es_load_reader = {
	.name = "es_load",
	.function = es_load,
	.nargs = 8,
	.natts = ES_EVENT_ROW_NATTS,
	.columns = es_rows_event,
	.order = 1,
	.max_count = 5,
	.backwards = 6,
	.open = open_load,
	.next = next_of_load,
	.close = close_load,
	.indexes = indexes_of_load,
	.removed = removed_by_load,
	.expect = expect_of_load,
};

/*
 * es_load(stream, from_version, to_version, since, until, max_count, backwards,
 * tenant) returns the events of a stream.
 */
Datum
es_load(PG_FUNCTION_ARGS)
{
	return es_reader_run(fcinfo, &es_load_reader);
}

/* A bigint column of the stream's event of a version, or of its last event. */
static bool
read_column(text *stream, text *tenant, int64 version, AttrNumber column, int64 *value)
{
	Relation        events = es_visible_open();
	EsScan         *scan = es_visible_scan(es_log_stream_scan(events, GetActiveSnapshot()));
	TupleTableSlot *slot = version > 0 ? es_log_seek_version(scan, tenant, stream, version)
									   : es_log_seek_tail(scan, tenant, stream);

	if (slot != NULL)
		*value = es_row_int8(slot, column);
	es_scan_end(scan);
	table_close(events, NoLock);
	return slot != NULL;
}

/* es_stream_version(stream, tenant) returns 0 where there is no such stream. */
Datum
es_stream_version(PG_FUNCTION_ARGS)
{
	text *stream = es_arg_stream(fcinfo, 0);
	int64 version = 0;

	(void) read_column(stream, es_tenant_arg(fcinfo, 1), 0, ES_EVENTS_VERSION, &version);
	PG_RETURN_INT64(version);
}

/*
 * es_position(stream, version, tenant) returns the position of that event, or of
 * the stream's last one; NULL where there is none.
 */
Datum
es_position(PG_FUNCTION_ARGS)
{
	text *stream = es_arg_stream(fcinfo, 0);
	int64 version = es_arg_int8(fcinfo, 1, 0);
	int64 position;

	if (!PG_ARGISNULL(1) && version < 1)
		PG_RETURN_NULL();
	if (!read_column(stream, es_tenant_arg(fcinfo, 2), version, ES_EVENTS_POSITION, &position))
		PG_RETURN_NULL();
	PG_RETURN_INT64(position);
}

/* es_event(id, tenant) returns the log row of one event. */
Datum
es_event(PG_FUNCTION_ARGS)
{
	pg_uuid_t      *id = es_arg_id(fcinfo, 0);
	text           *tenant = es_tenant_arg(fcinfo, 1);
	Relation        events = es_visible_open();
	EsRows          rows = es_rows_begin(fcinfo);
	EsScan         *scan = es_visible_scan(es_log_id_scan(events, GetActiveSnapshot()));
	TupleTableSlot *slot = es_log_seek_id(scan, tenant, id);

	if (slot != NULL)
		es_rows_put_log(&rows, slot);
	es_scan_end(scan);
	table_close(events, NoLock);
	return (Datum) 0;
}

/* es_event_exists(id, tenant): has an event of this id been appended? */
Datum
es_event_exists(PG_FUNCTION_ARGS)
{
	pg_uuid_t *id = es_arg_id(fcinfo, 0);
	text      *tenant = es_tenant_arg(fcinfo, 1);
	Relation   events = es_visible_open();
	EsScan    *scan = es_visible_scan(es_log_id_scan(events, GetActiveSnapshot()));
	bool       exists = es_log_seek_id(scan, tenant, id) != NULL;

	es_scan_end(scan);
	table_close(events, NoLock);
	PG_RETURN_BOOL(exists);
}

/* es_category(stream) returns the part of a name before its first '-'. */
Datum
es_category(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(es_name_category(PG_GETARG_TEXT_PP(0)));
}

/* es_key(stream) returns the part after the first '-', or NULL. */
Datum
es_key(PG_FUNCTION_ARGS)
{
	text *stream;
	int   size;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	stream = PG_GETARG_TEXT_PP(0);
	size = VARSIZE_ANY_EXHDR(es_name_category(stream));
	if (size == VARSIZE_ANY_EXHDR(stream))
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text_with_len(VARDATA_ANY(stream) + size + 1,
											  VARSIZE_ANY_EXHDR(stream) - size - 1));
}
