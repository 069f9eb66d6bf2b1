/*
 * snapshot.c
 *		Snapshots: es_snapshot, es_load_snapshot, es_rehydrate,
 *		es_drop_snapshots.  All that reads or writes es.snapshots.
 *
 * A snapshot is a saved state of a stream at a version.  One row stands for each
 * stream and schema_version, the newest; a newer one replaces it.  Snapshots are
 * not events: they may be dropped at any time and made again from the log.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "args.h"
#include "events.h"
#include "lock.h"
#include "log.h"
#include "name.h"
#include "privilege.h"
#include "reader.h"
#include "row.h"
#include "rows.h"
#include "snapshot.h"
#include "store.h"
#include "tenant.h"
#include "text.h"
#include "verify.h"
#include "visible.h"
#include "writer.h"

PG_FUNCTION_INFO_V1(es_snapshot);
PG_FUNCTION_INFO_V1(es_load_snapshot);
PG_FUNCTION_INFO_V1(es_rehydrate);
PG_FUNCTION_INFO_V1(es_drop_snapshots);

/* Columns of es.snapshots. */
enum
{
	ES_SNAPSHOTS_VERSION = 1,
	ES_SNAPSHOTS_CREATED_AT,
	ES_SNAPSHOTS_SCHEMA_VERSION,
	ES_SNAPSHOTS_TENANT,
	ES_SNAPSHOTS_STREAM,
	ES_SNAPSHOTS_CATEGORY,
	ES_SNAPSHOTS_STATE,
	ES_SNAPSHOTS_PAYLOAD,
	ES_SNAPSHOTS_NATTS = ES_SNAPSHOTS_PAYLOAD
};

static const EsColumn columns[] = {
	{"version", INT8OID, true, "The stream's version that the state stands for."},
	{"created_at", TIMESTAMPTZOID, true, "When it was saved."},
	{"schema_version", INT4OID, true, "The version of the state's own form."},
	{"tenant", TEXTOID, true, "The stream's tenant."},
	{"stream", TEXTOID, true, "The stream."},
	{"category", TEXTOID, true, "The stream's category."},
	{"state", JSONBOID, false, "The state."},
	{"payload", BYTEAOID, false, "The state in exact bytes, for binary formats."},
};

StaticAssertDecl(lengthof(columns) == ES_SNAPSHOTS_NATTS, "each column has a number");

static const EsIndex indexes[] = {
	{"snapshots_pkey",
	 ES_INDEX_PRIMARY,
	 true,
	 {ES_SNAPSHOTS_TENANT, ES_SNAPSHOTS_STREAM, ES_SNAPSHOTS_SCHEMA_VERSION},
	 "One snapshot for each stream and schema_version."},
};

static const EsCheck checks[] = {
	{"es_version", "version OPERATOR(pg_catalog.>) 0", "Versions begin at 1."},
	{"es_content", "state IS NOT NULL OR payload IS NOT NULL",
	 "A snapshot has a state, or a payload, or both."},
};

static EsFound found;

const EsTable es_snapshots = {
	.schema = ES_SCHEMA,
	.name = "snapshots",
	.relkind = RELKIND_RELATION,
	.comment = "The newest saved state of a stream, one for each schema_version.",
	.columns = columns,
	.ncolumns = lengthof(columns),
	.indexes = indexes,
	.nindexes = lengthof(indexes),
	.checks = checks,
	.nchecks = lengthof(checks),
	.tenant = "tenant",
	.reset = ES_RESET_EMPTIES,
	.found = &found,
};

/* Columns of the index (tenant, stream, schema_version). */
enum
{
	KEY_TENANT = 1,
	KEY_STREAM,
	KEY_SCHEMA_VERSION
};

/* A snapshot that is to be saved. */
typedef struct EsSnapshot
{
	text  *tenant;
	text  *stream;
	int64  version;
	int32  schema_version;
	Jsonb *state;
	bytea *payload;
} EsSnapshot;

/* Positions a scan of four keys on the snapshots of a stream in a range of schema versions. */
static void
seek(EsScan *scan, text *tenant, text *stream, int32 from, int32 to)
{
	es_scan_text_key(scan, KEY_TENANT, BTEqualStrategyNumber, tenant);
	es_scan_text_key(scan, KEY_STREAM, BTEqualStrategyNumber, stream);
	es_scan_int4_key(scan, KEY_SCHEMA_VERSION, BTGreaterEqualStrategyNumber, from);
	es_scan_int4_key(scan, KEY_SCHEMA_VERSION, BTLessEqualStrategyNumber, to);
	es_scan_seek(scan);
}

/* Rows are replaced and dropped directly: what would fire then is refused. */
static void
check_deletable(Relation snapshots)
{
	TriggerDesc *triggers = snapshots->trigdesc;

	if (triggers != NULL &&
		(triggers->trig_delete_before_row || triggers->trig_delete_after_row ||
		 triggers->trig_delete_before_statement || triggers->trig_delete_after_statement))
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("cannot replace or drop snapshots that others depend on"),
						errdetail("Table \"es.snapshots\" has triggers or foreign keys on DELETE."),
						errhint("Drop them; snapshots are a cache.")));
}

/*
 * Deletes a row that the scan stands at.  False where another transaction was
 * faster, which then has dropped or replaced it.
 */
static bool
delete_row(Relation snapshots, TupleTableSlot *slot)
{
	TM_FailureData failure;

	return table_tuple_delete(snapshots, &slot->tts_tid, GetCurrentCommandId(true),
							  GetActiveSnapshot(), InvalidSnapshot, true, &failure, false) == TM_Ok;
}

static void
insert_row(Relation snapshots, const EsSnapshot *snapshot)
{
	EsWriter       *writer = es_writer_begin(snapshots, 1, false, false, NULL);
	TupleTableSlot *slot = es_writer_next(writer);

	es_row_put(slot, ES_SNAPSHOTS_VERSION, Int64GetDatum(snapshot->version));
	es_row_put(slot, ES_SNAPSHOTS_CREATED_AT, TimestampTzGetDatum(GetCurrentTimestamp()));
	es_row_put(slot, ES_SNAPSHOTS_SCHEMA_VERSION, Int32GetDatum(snapshot->schema_version));
	es_row_put_pointer(slot, ES_SNAPSHOTS_TENANT, snapshot->tenant);
	es_row_put_pointer(slot, ES_SNAPSHOTS_STREAM, snapshot->stream);
	es_row_put_pointer(slot, ES_SNAPSHOTS_CATEGORY, es_name_category(snapshot->stream));
	es_row_put_pointer(slot, ES_SNAPSHOTS_STATE, snapshot->state);
	es_row_put_pointer(slot, ES_SNAPSHOTS_PAYLOAD, snapshot->payload);
	es_writer_add(writer);
	es_writer_end(writer);
}

/* Puts the snapshot in the place of an older one; false where a newer one stands. */
static bool
replace(Relation snapshots, const EsSnapshot *snapshot)
{
	EsScan *scan = es_scan_begin(snapshots, es_snapshots.found->indexes[0], SnapshotSelf, 4);
	TupleTableSlot *slot;
	bool            newest = true;

	seek(scan, snapshot->tenant, snapshot->stream, snapshot->schema_version,
		 snapshot->schema_version);
	slot = es_scan_next(scan, ForwardScanDirection);
	if (slot != NULL && es_row_int8(slot, ES_SNAPSHOTS_VERSION) > snapshot->version)
		newest = false;
	else if (slot != NULL)
		(void) delete_row(snapshots, slot);
	es_scan_end(scan);
	if (newest)
		insert_row(snapshots, snapshot);
	return newest;
}

/* A snapshot cannot be ahead of its stream, as the newest committed state has it. */
static void
check_reached(const EsSnapshot *snapshot)
{
	Relation events = es_store_open(&es_events, AccessShareLock);
	EsScan  *scan = es_log_stream_scan(events, SnapshotSelf);
	int64    version =
		es_log_tail(scan, snapshot->tenant, snapshot->stream, snapshot->version).version;

	es_scan_end(scan);
	table_close(events, NoLock);
	if (snapshot->version > version)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("stream \"%s\" has not reached version %lld",
							   text_to_cstring(snapshot->stream), (long long) snapshot->version),
						errdetail("The stream is at version %lld.", (long long) version),
						errhint("Give the version of the last event that the state includes.")));
}

static void
null_argument(const char *name, const char *hint)
{
	ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("%s must not be null", name),
					errdetail("In argument \"%s\".", name), errhint("%s", hint)));
}

/* Arguments of es_snapshot. */
static EsSnapshot
read_snapshot(FunctionCallInfo fcinfo)
{
	EsSnapshot snapshot = {0};

	snapshot.stream = es_arg_stream(fcinfo, 0);
	if (PG_ARGISNULL(1))
		null_argument("version", "Give the version of the last event that the state includes.");
	snapshot.version = PG_GETARG_INT64(1);
	if (snapshot.version < 1)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("a snapshot's version must be at least 1"),
						errdetail("It is %lld.", (long long) snapshot.version),
						errhint("Give the version of the last event that the state includes.")));
	snapshot.state = PG_ARGISNULL(2) ? NULL : PG_GETARG_JSONB_P(2);
	if (PG_ARGISNULL(3))
		null_argument("schema_version", "Leave it out for 1.");
	snapshot.schema_version = PG_GETARG_INT32(3);
	snapshot.payload = PG_ARGISNULL(4) ? NULL : PG_GETARG_BYTEA_PP(4);
	if (snapshot.state == NULL && snapshot.payload == NULL)
		null_argument("state", "Give a state, or a payload, or both.");
	snapshot.tenant = es_tenant_arg(fcinfo, 5);
	return snapshot;
}

/*
 * es_snapshot(stream, version, state, schema_version, payload, tenant) saves a
 * state; returns false where a newer one of that schema_version stands.
 */
Datum
es_snapshot(PG_FUNCTION_ARGS)
{
	EsSnapshot snapshot = read_snapshot(fcinfo);
	Relation   snapshots;
	bool       newest;

	es_privilege_check_write(&es_snapshots, "es_snapshot()");
	es_lock_snapshots(snapshot.tenant, snapshot.stream, es_snapshots.found->relid);
	check_reached(&snapshot);
	snapshots = es_store_open(&es_snapshots, RowExclusiveLock);
	check_deletable(snapshots);
	newest = replace(snapshots, &snapshot);
	table_close(snapshots, NoLock);
	/* heap_delete() refuses a row of its own command: a second call shall replace it */
	CommandCounterIncrement();
	PG_RETURN_BOOL(newest);
}

/*
 * The newest snapshot of a stream, of one schema_version or of any; NULL where
 * there is none.  The row is in the scan's slot.
 */
static TupleTableSlot *
find_newest(EsScan *scan, text *tenant, text *stream, bool any, int32 schema_version)
{
	TupleTableSlot *slot;
	int64           newest = 0;
	int32           of = schema_version;

	if (any)
	{
		seek(scan, tenant, stream, PG_INT32_MIN, PG_INT32_MAX);
		while ((slot = es_scan_next(scan, ForwardScanDirection)) != NULL)
		{
			if (es_row_int8(slot, ES_SNAPSHOTS_VERSION) >= newest)
			{
				newest = es_row_int8(slot, ES_SNAPSHOTS_VERSION);
				of = es_row_int4(slot, ES_SNAPSHOTS_SCHEMA_VERSION);
			}
		}
		if (newest == 0)
			return NULL;
	}
	seek(scan, tenant, stream, of, of);
	return es_scan_next(scan, ForwardScanDirection);
}

static Relation
open_for_read(void)
{
	es_privilege_check_read(&es_snapshots);
	return es_store_open(&es_snapshots, AccessShareLock);
}

/*
 * es_load_snapshot(stream, schema_version, tenant) returns the newest snapshot;
 * schema_version NULL means of any.
 */
Datum
es_load_snapshot(PG_FUNCTION_ARGS)
{
	static const AttrNumber columns[] = {ES_SNAPSHOTS_VERSION, ES_SNAPSHOTS_STATE,
										 ES_SNAPSHOTS_PAYLOAD, ES_SNAPSHOTS_SCHEMA_VERSION,
										 ES_SNAPSHOTS_CREATED_AT};
	text                   *stream = es_arg_stream(fcinfo, 0);
	text                   *tenant = es_tenant_arg(fcinfo, 2);
	Relation                snapshots = open_for_read();
	EsRows                  rows = es_rows_begin(fcinfo);
	EsScan *scan = es_scan_begin(snapshots, es_snapshots.found->indexes[0], GetActiveSnapshot(), 4);
	TupleTableSlot *slot = find_newest(scan, tenant, stream, PG_ARGISNULL(1),
									   PG_ARGISNULL(1) ? 0 : PG_GETARG_INT32(1));

	if (slot != NULL)
		es_rows_put_columns(&rows, slot, columns, lengthof(columns));
	es_scan_end(scan);
	table_close(snapshots, NoLock);
	return (Datum) 0;
}

/* {"schema_version": n}, what a snapshot's row says of itself in es_rehydrate. */
static Datum
snapshot_metadata(int32 schema_version)
{
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(
											 psprintf("{\"schema_version\": %d}", schema_version)));
}

/* es_rehydrate: the snapshot's row, then those of the events behind it. */
typedef struct Rehydrate
{
	Relation        events;
	Relation        snapshots;
	EsScan         *tail;
	EsScan         *scan; /* of the snapshots */
	TupleTableSlot *snapshot;
	Datum           kind;
} Rehydrate;

/* Puts the snapshot's row as an event row of kind "snapshot". */
static void
fill_snapshot(EsRow *row, TupleTableSlot *slot)
{
	Datum *values = row->values;
	bool  *nulls = row->nulls;

	/* kind, version, type, data, metadata, recorded_at, id, position, payload */
	memset(nulls, true, row->natts * sizeof(bool));
	values[0] = CStringGetTextDatum("snapshot");
	values[1] = slot_getattr(slot, ES_SNAPSHOTS_VERSION, &nulls[1]);
	values[3] = slot_getattr(slot, ES_SNAPSHOTS_STATE, &nulls[3]);
	values[4] = snapshot_metadata(es_row_int4(slot, ES_SNAPSHOTS_SCHEMA_VERSION));
	values[5] = slot_getattr(slot, ES_SNAPSHOTS_CREATED_AT, &nulls[5]);
	values[8] = slot_getattr(slot, ES_SNAPSHOTS_PAYLOAD, &nulls[8]);
	nulls[0] = nulls[4] = false;
}

/*
 * Positions the scan of events behind the newest snapshot, if the log reaches its
 * version; on all events where there is none that fits.
 */
static void
seek_behind_snapshot(Rehydrate *rehydrate, text *tenant, text *stream)
{
	TupleTableSlot *slot = rehydrate->snapshot;

	if (slot != NULL)
	{
		int64           version = es_row_int8(slot, ES_SNAPSHOTS_VERSION);
		TupleTableSlot *event;

		es_log_seek_range(rehydrate->tail, tenant, stream, version, PG_INT64_MAX);
		event = es_scan_next(rehydrate->tail, ForwardScanDirection);
		if (event != NULL && es_row_int8(event, ES_EVENTS_VERSION) == version)
			return;
		rehydrate->snapshot = NULL;
	}
	es_log_seek_range(rehydrate->tail, tenant, stream, 1, PG_INT64_MAX);
}

static void *
open_rehydrate(FunctionCallInfo fcinfo, Snapshot snapshot)
{
	text      *stream = es_arg_stream(fcinfo, 0);
	bool       any = PG_ARGISNULL(1);
	text      *tenant = es_tenant_arg(fcinfo, 2);
	Rehydrate *rehydrate = palloc(sizeof(Rehydrate));

	rehydrate->events = es_visible_open();
	rehydrate->tail = es_visible_scan(es_log_stream_scan(rehydrate->events, snapshot));
	rehydrate->snapshots = open_for_read();
	rehydrate->scan =
		es_scan_begin(rehydrate->snapshots, es_snapshots.found->indexes[0], snapshot, 4);
	rehydrate->snapshot =
		find_newest(rehydrate->scan, tenant, stream, any, any ? 0 : PG_GETARG_INT32(1));
	seek_behind_snapshot(rehydrate, tenant, stream);
	rehydrate->kind = CStringGetTextDatum("event");
	return rehydrate;
}

static bool
next_of_rehydrate(void *reader, EsRow *row)
{
	Rehydrate      *rehydrate = reader;
	TupleTableSlot *slot = rehydrate->snapshot;

	if (slot != NULL)
	{
		fill_snapshot(row, slot);
		rehydrate->snapshot = NULL;
		return true;
	}
	if ((slot = es_scan_next(rehydrate->tail, ForwardScanDirection)) == NULL)
		return false;
	row->values[0] = rehydrate->kind;
	row->nulls[0] = false;
	es_reader_fill(row, slot);
	return true;
}

static void
close_rehydrate(void *reader)
{
	Rehydrate *rehydrate = reader;

	es_scan_end(rehydrate->scan);
	table_close(rehydrate->snapshots, NoLock);
	es_scan_end(rehydrate->tail);
	table_close(rehydrate->events, NoLock);
	pfree(rehydrate);
}

static int
indexes_of_rehydrate(void *reader, Oid *indexes)
{
	Rehydrate *rehydrate = reader;

	indexes[0] = RelationGetRelid(rehydrate->scan->index);
	indexes[1] = RelationGetRelid(rehydrate->tail->index);
	return 2;
}

static int64
removed_by_rehydrate(void *reader)
{
	return es_visible_hidden(((Rehydrate *) reader)->tail);
}

static int
expect_of_rehydrate(FunctionCallInfo fcinfo, const bool *known, Oid *indexes)
{
	indexes[0] = es_snapshots.found->indexes[0];
	indexes[1] = es_events.found->indexes[ES_EVENTS_BY_VERSION];
	return 2;
}

/* The event row with a kind before it. */
static const AttrNumber rehydrate_row[] = {
	0,
	ES_EVENTS_VERSION,
	ES_EVENTS_TYPE,
	ES_EVENTS_DATA,
	ES_EVENTS_METADATA,
	ES_EVENTS_RECORDED_AT,
	ES_EVENTS_ID,
	ES_EVENTS_POSITION,
	ES_EVENTS_PAYLOAD,
};

const EsReaderKind es_rehydrate_reader = {
	.name = "es_rehydrate",
	.function = es_rehydrate,
	.nargs = 3,
	.natts = lengthof(rehydrate_row),
	.columns = rehydrate_row,
	.order = 2,
	.max_count = -1,
	.backwards = -1,
	.open = open_rehydrate,
	.next = next_of_rehydrate,
	.close = close_rehydrate,
	.indexes = indexes_of_rehydrate,
	.removed = removed_by_rehydrate,
	.expect = expect_of_rehydrate,
};

/*
 * es_rehydrate(stream, schema_version, tenant) returns the newest snapshot, if
 * one fits, and the events behind it.
 */
Datum
es_rehydrate(PG_FUNCTION_ARGS)
{
	return es_reader_run(fcinfo, &es_rehydrate_reader);
}

static bool
is_obsolete(TupleTableSlot *slot, text *category, int32 below, text *tenant)
{
	return es_row_int4(slot, ES_SNAPSHOTS_SCHEMA_VERSION) < below &&
		   es_same_text(es_row_text(slot, ES_SNAPSHOTS_CATEGORY), category) &&
		   es_same_text(es_row_text(slot, ES_SNAPSHOTS_TENANT), tenant);
}

/*
 * es_drop_snapshots(category, below_schema_version, tenant) drops what an older
 * form of the state has left; returns how many.
 */
Datum
es_drop_snapshots(PG_FUNCTION_ARGS)
{
	text           *tenant = es_tenant_arg(fcinfo, 2);
	int64           dropped = 0;
	text           *category;
	int32           below;
	Relation        snapshots;
	TupleTableSlot *slot;
	TableScanDesc   scan;

	if (PG_ARGISNULL(0))
		null_argument("category", "Name the category whose snapshots are to be dropped.");
	if (PG_ARGISNULL(1))
		null_argument("below_schema_version", "Give the lowest schema_version to keep.");
	category = PG_GETARG_TEXT_PP(0);
	below = PG_GETARG_INT32(1);
	es_name_check_category(category);
	es_privilege_check_write(&es_snapshots, "es_drop_snapshots()");
	snapshots = es_store_open(&es_snapshots, RowExclusiveLock);
	check_deletable(snapshots);
	slot = table_slot_create(snapshots, NULL);
	/* from the first block on, so that two of these do not deadlock */
	scan = table_beginscan_strat(snapshots, GetActiveSnapshot(), 0, NULL, true, false);
	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		if (is_obsolete(slot, category, below, tenant) && delete_row(snapshots, slot))
			dropped++;
		CHECK_FOR_INTERRUPTS();
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	table_close(snapshots, NoLock);
	CommandCounterIncrement();
	PG_RETURN_INT64(dropped);
}

/* Is a snapshot of a version that its stream, which is known to be at one, has come to? */
static void
check_snapshot(EsTally *tally, TupleTableSlot *row, int64 reached)
{
	text *tenant = es_row_text(row, ES_SNAPSHOTS_TENANT);
	text *stream = es_row_text(row, ES_SNAPSHOTS_STREAM);
	int64 version = es_row_int8(row, ES_SNAPSHOTS_VERSION);
	char *where =
		psprintf("es.snapshots, stream \"%s\", schema_version %d%s%s", text_to_cstring(stream),
				 es_row_int4(row, ES_SNAPSHOTS_SCHEMA_VERSION),
				 VARSIZE_ANY_EXHDR(tenant) > 0 ? ", tenant " : "", text_to_cstring(tenant));

	if (version < 1 || version > reached)
		es_tally_found(tally, ES_VERIFY_ERROR, where,
					   "It is of version %lld, and the stream is at version %lld.",
					   (long long) version, (long long) reached);
	if (!es_name_is_category(es_row_text(row, ES_SNAPSHOTS_CATEGORY), stream))
		es_tally_found(tally, ES_VERIFY_ERROR, where, "Its category is not the stream's.");
}

/* The version of the stream that a snapshot is of. */
static int64
stream_version(EsVerify *verify, EsScan *events, TupleTableSlot *row)
{
	MemoryContext   old = MemoryContextSwitchTo(verify->scratch);
	text           *tenant = es_row_text(row, ES_SNAPSHOTS_TENANT);
	text           *stream = es_row_text(row, ES_SNAPSHOTS_STREAM);
	TupleTableSlot *tail;

	/* a scan keeps what it makes */
	MemoryContextSwitchTo(old);
	tail = es_log_seek_tail(events, tenant, stream);
	return tail == NULL ? 0 : es_row_int8(tail, ES_EVENTS_VERSION);
}

/* Looks at all snapshots; answers how many there are. */
static int64
walk_snapshots(EsVerify *verify, EsTally *tally)
{
	Relation        rel = table_open(es_snapshots.found->relid, AccessShareLock);
	TupleTableSlot *row = table_slot_create(rel, NULL);
	TableScanDesc   scan = table_beginscan(rel, verify->snapshot, 0, NULL);
	EsScan *events = es_scan_begin(verify->events, es_events.found->indexes[ES_EVENTS_BY_VERSION],
								   verify->snapshot, ES_SCAN_MAX_KEYS);
	int64   n = 0;

	while (table_scan_getnextslot(scan, ForwardScanDirection, row))
	{
		int64         reached = stream_version(verify, events, row);
		MemoryContext old = MemoryContextSwitchTo(verify->scratch);

		check_snapshot(tally, row, reached);
		MemoryContextSwitchTo(old);
		n++;
		es_verify_next(verify);
	}
	es_scan_end(events);
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(row);
	table_close(rel, NoLock);
	return n;
}

/* es_verify: no snapshot is above its stream. */
void
es_snapshot_verify(EsVerify *verify)
{
	EsTally tally;
	int64   n;

	es_tally_begin(&tally, verify, "snapshots");
	if (!es_verify_have(verify, &tally, es_snapshots.found->relid, "es.snapshots") ||
		!es_verify_have(verify, &tally, es_events.found->indexes[ES_EVENTS_BY_VERSION],
						"es.snapshots"))
		return;
	n = walk_snapshots(verify, &tally);
	es_tally_end(&tally, "es.snapshots", "%s, none above its stream.",
				 es_verify_count(n, "snapshot", "snapshots"));
}
