/*
 * log.c
 *		The log: where streams, events and the end of es.events are found.
 *
 * Keeps A1 and A3: the tails of streams are read as of the newest committed state.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "events.h"
#include "log.h"
#include "row.h"
#include "text.h"

/* Columns of the index (tenant, stream, version) and of (tenant, id). */
enum
{
	KEY_TENANT = 1,
	KEY_STREAM,
	KEY_VERSION,
	KEY_ID = KEY_STREAM
};

/* A scan over the events of one stream; up to four keys. */
EsScan *
es_log_stream_scan(Relation events, Snapshot snapshot)
{
	return es_scan_begin(events, es_events.found->indexes[ES_EVENTS_BY_VERSION], snapshot, 4);
}

/*
 * A scan that finds the tails of streams that are to be appended to: it sees the newest
 * committed state and all of this transaction, and takes no predicate locks.  The index
 * is locked as it will be for the new entries, which spares a second lock.
 */
EsScan *
es_log_tail_scan(Relation events)
{
	return es_scan_begin_open(events,
							  index_open(es_events.found->indexes[ES_EVENTS_BY_VERSION],
										 RowExclusiveLock),
							  SnapshotSelf, 4);
}

/* A scan that finds an event by its id; two keys. */
EsScan *
es_log_id_scan(Relation events, Snapshot snapshot)
{
	return es_scan_begin(events, es_events.found->indexes[ES_EVENTS_BY_ID], snapshot, 2);
}

/* Positions a stream scan on versions from..to. */
void
es_log_seek_range(EsScan *scan, text *tenant, text *stream, int64 from, int64 to)
{
	es_scan_text_key(scan, KEY_TENANT, BTEqualStrategyNumber, tenant);
	es_scan_text_key(scan, KEY_STREAM, BTEqualStrategyNumber, stream);
	/* the index compares every key with every entry */
	if (from == to)
		es_scan_int8_key(scan, KEY_VERSION, BTEqualStrategyNumber, from);
	else
	{
		if (from > 1)
			es_scan_int8_key(scan, KEY_VERSION, BTGreaterEqualStrategyNumber, from);
		if (to < PG_INT64_MAX)
			es_scan_int8_key(scan, KEY_VERSION, BTLessEqualStrategyNumber, to);
	}
	es_scan_seek(scan);
}

/* The stream's last event, or NULL. */
TupleTableSlot *
es_log_seek_tail(EsScan *scan, text *tenant, text *stream)
{
	es_log_seek_range(scan, tenant, stream, 1, PG_INT64_MAX);
	return es_scan_next(scan, BackwardScanDirection);
}

/* The stream's event of this version, or NULL. */
TupleTableSlot *
es_log_seek_version(EsScan *scan, text *tenant, text *stream, int64 version)
{
	es_log_seek_range(scan, tenant, stream, version, version);
	return es_scan_next(scan, ForwardScanDirection);
}

/* The event of this id, or NULL. */
TupleTableSlot *
es_log_seek_id(EsScan *scan, text *tenant, const pg_uuid_t *id)
{
	es_scan_text_key(scan, KEY_TENANT, BTEqualStrategyNumber, tenant);
	es_scan_uuid_key(scan, KEY_ID, id);
	es_scan_seek(scan);
	return es_scan_next(scan, ForwardScanDirection);
}

/*
 * Would a REPEATABLE READ or SERIALIZABLE transaction see this row?  Its own
 * rows it may count as seen, even those of the running command.
 */
static bool
is_visible(Relation events, TupleTableSlot *slot)
{
	return !IsolationUsesXactSnapshot() ||
		   table_tuple_satisfies_snapshot(events, slot, GetTransactionSnapshot()) ||
		   es_row_is_own(slot);
}

/* A scan over the whole log. */
EsScan *
es_log_scan(Relation events, Snapshot snapshot)
{
	EsScan *scan =
		es_scan_begin(events, es_events.found->indexes[ES_EVENTS_BY_POSITION], snapshot, 1);

	es_scan_int8_key(scan, 1, BTGreaterStrategyNumber, 0);
	es_scan_seek(scan);
	return scan;
}

static int64
last_position(Relation events, Snapshot snapshot)
{
	EsScan         *scan = es_log_scan(events, snapshot);
	TupleTableSlot *slot;
	int64           position = 0;

	if ((slot = es_scan_next(scan, BackwardScanDirection)) != NULL)
		position = es_row_int8(slot, ES_EVENTS_POSITION);
	es_scan_end(scan);
	return position;
}

/* The highest position that a snapshot sees; 0 if none. */
int64
es_log_head(Relation events, Snapshot snapshot)
{
	return last_position(events, snapshot);
}

/* The highest position that is stored, of any transaction that has committed; 0 if none. */
int64
es_log_last_position(Relation events)
{
	return last_position(events, SnapshotSelf);
}

/* The same, and of transactions that have not ended, prepared ones among them. */
int64
es_log_last_prepared(Relation events)
{
	SnapshotData dirty;

	InitDirtySnapshot(dirty);
	return last_position(events, &dirty);
}

/*
 * A stream's last event; the scan must be of SnapshotSelf, as es_log_tail_scan()'s is.
 *
 * hint is the version that the caller takes for the last one, or 0: a scan reads
 * all that its keys allow of a leaf page, so that looking from the hint on spares
 * most of the stream.  A wrong hint costs a second look, never an answer.
 */
EsTail
es_log_tail(EsScan *scan, text *tenant, text *stream, int64 hint)
{
	EsTail          tail = {0, 0, DT_NOBEGIN, true};
	TupleTableSlot *slot;

	es_log_seek_range(scan, tenant, stream, Max(hint, 1), PG_INT64_MAX);
	slot = es_scan_next(scan, BackwardScanDirection);
	if (slot == NULL && hint > 1)
		slot = es_log_seek_tail(scan, tenant, stream);
	if (slot == NULL)
		return tail;
	tail.version = es_row_int8(slot, ES_EVENTS_VERSION);
	tail.position = es_row_int8(slot, ES_EVENTS_POSITION);
	tail.recorded_at = es_row_int8(slot, ES_EVENTS_RECORDED_AT);
	tail.visible = is_visible(scan->heap, slot);
	return tail;
}

static bool
same_data(TupleTableSlot *slot, Jsonb *wanted)
{
	bool   isnull;
	Datum  datum = slot_getattr(slot, ES_EVENTS_DATA, &isnull);
	Jsonb *stored;
	bool   same;

	if (isnull || wanted == NULL)
		return isnull && wanted == NULL;
	stored = DatumGetJsonbP(datum);
	same = compareJsonbContainers(&stored->root, &wanted->root) == 0;
	if (stored != (Jsonb *) DatumGetPointer(datum))
		pfree(stored);
	return same;
}

static bool
same_payload(TupleTableSlot *slot, bytea *wanted)
{
	bool  isnull;
	Datum datum = slot_getattr(slot, ES_EVENTS_PAYLOAD, &isnull);

	if (isnull || wanted == NULL)
		return isnull && wanted == NULL;
	return datum_image_eq(datum, PointerGetDatum(wanted), false, -1);
}

/*
 * Looks an event up by its id, and compares what is stored with what is wanted:
 * all but the metadata, since a retry carries a new trace (A5).  False where the
 * id is not known.
 */
bool
es_log_find(EsScan *scan, text *tenant, const EsEvent *wanted, EsStored *stored)
{
	TupleTableSlot *slot = es_log_seek_id(scan, tenant, &wanted->id);

	if (slot == NULL)
		return false;
	stored->stream = es_row_text(slot, ES_EVENTS_STREAM);
	stored->version = es_row_int8(slot, ES_EVENTS_VERSION);
	stored->position = es_row_int8(slot, ES_EVENTS_POSITION);
	stored->same = es_same_text(es_row_text(slot, ES_EVENTS_TYPE), wanted->type) &&
				   same_data(slot, wanted->data) && same_payload(slot, wanted->payload);
	return true;
}
