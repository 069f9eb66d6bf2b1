/*
 * tick.c
 *		Ticks: all that reads or writes es.ticks.
 *
 * A tick is one move of the horizon.  The horizon is the highest tick that a
 * snapshot sees, but for those of the reader's own transaction: what that one has
 * not committed is published to nobody, and its snapshot may be older than what
 * its tick speaks of.  A snapshot that sees a tick of another transaction is
 * younger than the tick's commit, and so sees every event at or below it (P1),
 * on the primary, on a standby and in a view (P3).
 *
 * Rows are inserted, never updated; old ones are thinned out to the last of each
 * minute, a few at each tick, from where the tick before left off.  There is no
 * unique key, and nothing waits for another transaction's rows, so that one that
 * ticks and does not end stands in nobody's way.
 *
 * Rows are written into the table and its indexes directly: no trigger fires,
 * no user's code runs in a publisher (O6).
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "utils/array.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "log.h"
#include "row.h"
#include "scan.h"
#include "sequence.h"
#include "tick.h"
#include "verify.h"

/* Columns of es.ticks. */
enum
{
	ES_TICKS_POSITION = 1,
	ES_TICKS_LAST_POSITION,
	ES_TICKS_RECORDED_AT,
	ES_TICKS_LIFE,
	ES_TICKS_NOTIFIED,
	ES_TICKS_PRUNED,
	ES_TICKS_HOLDERS,
	ES_TICKS_NATTS = ES_TICKS_HOLDERS
};

static const EsColumn columns[] = {
	{"position", INT8OID, true,
	 "The horizon: every event at or below it is committed and durable, or never will exist."},
	{"last_position", INT8OID, true,
	 "The last position that had been given when the tick was taken."},
	{"recorded_at", TIMESTAMPTZOID, true, "When the tick was taken; never goes back."},
	{"life", INT8OID, true,
	 "Which life of the server the holders belong to: another one after each restart."},
	{"notified", INT8OID, true, "Up to which position listeners had been told."},
	{"pruned", INT8OID, true,
	 "Up to which position old ticks had been thinned out to one a minute."},
	{"holders", INT8ARRAYOID, false,
	 "Transactions that were appending: {backend, transaction, floor} each."},
};

StaticAssertDecl(lengthof(columns) == ES_TICKS_NATTS, "each column has a number");

static const EsIndex indexes[] = {
	{"ticks_position_idx", ES_INDEX_PLAIN, true, {ES_TICKS_POSITION}, "Finds the horizon."},
};

static EsFound found;

const EsTable es_ticks = {
	.schema = ES_SCHEMA,
	.name = "ticks",
	.relkind = RELKIND_RELATION,
	.comment =
		"Moves of the horizon; the highest position is the horizon. Written by the publisher.",
	.columns = columns,
	.ncolumns = lengthof(columns),
	.indexes = indexes,
	.nindexes = lengthof(indexes),
	.guard = ES_GUARD_REFUSES,
	.plain_indexes = true,
	.reset = ES_RESET_EMPTIES,
	.found = &found,
};

/* Ticks younger than this are all kept. */
#define ES_TICK_FRESH (60 * USECS_PER_SEC)

/* So many old ticks are looked at when one is written. */
#define ES_TICK_PRUNE 64

/* So many ticks that are younger than a snapshot are passed one by one. */
#define ES_TICK_STEPS 64

static void
seek_below(EsScan *scan, int64 below)
{
	es_scan_int8_key(scan, 1, BTLessStrategyNumber, below);
	es_scan_seek(scan);
}

/* The holders are an array of numbers, three for each. */
static void
read_holders(TupleTableSlot *slot, EsTick *tick)
{
	bool       isnull;
	Datum      datum = slot_getattr(slot, ES_TICKS_HOLDERS, &isnull);
	ArrayType *array;

	tick->nholders = 0;
	tick->holders = NULL;
	if (isnull)
		return;
	array = DatumGetArrayTypePCopy(datum);
	if (ARR_NDIM(array) != 1 || ARR_HASNULL(array) || ARR_DIMS(array)[0] % 3 != 0)
		elog(ERROR, "malformed holders in a tick at position %lld", (long long) tick->position);
	tick->nholders = ARR_DIMS(array)[0] / 3;
	tick->holders = (EsHolder *) ARR_DATA_PTR(array);
}

static void
read_numbers(TupleTableSlot *slot, EsTick *tick)
{
	tick->position = es_row_int8(slot, ES_TICKS_POSITION);
	tick->last_position = es_row_int8(slot, ES_TICKS_LAST_POSITION);
	tick->recorded_at = es_row_int8(slot, ES_TICKS_RECORDED_AT);
	tick->life = es_row_int8(slot, ES_TICKS_LIFE);
	tick->notified = es_row_int8(slot, ES_TICKS_NOTIFIED);
	tick->pruned = es_row_int8(slot, ES_TICKS_PRUNED);
}

static void
read_tick(TupleTableSlot *slot, EsTick *tick)
{
	read_numbers(slot, tick);
	read_holders(slot, tick);
}

/* Of two ticks at one position, does the row tell more than what is known? */
static bool
is_newer(TupleTableSlot *slot, const EsTick *tick)
{
	int64 last = es_row_int8(slot, ES_TICKS_LAST_POSITION);

	return last > tick->last_position ||
		   (last == tick->last_position && es_row_int8(slot, ES_TICKS_NOTIFIED) > tick->notified);
}

/*
 * The newest tick of any transaction that has committed, and of this one; false
 * where there is none yet, and zeros then.  Several may be at the highest position;
 * any would do, the newest is the best.
 */
bool
es_tick_newest(EsTick *tick)
{
	Relation        rel = table_open(es_ticks.found->relid, AccessShareLock);
	EsScan         *scan = es_scan_begin(rel, es_ticks.found->indexes[0], SnapshotSelf, 1);
	TupleTableSlot *slot;
	bool            found = false;

	memset(tick, 0, sizeof(EsTick));
	tick->generation = es_store_generation();
	seek_below(scan, PG_INT64_MAX);
	for (int i = 0; i < ES_TICK_STEPS; i++)
	{
		if ((slot = es_scan_next(scan, BackwardScanDirection)) == NULL ||
			(found && es_row_int8(slot, ES_TICKS_POSITION) < tick->position))
			break;
		if (!found || is_newer(slot, tick))
			read_tick(slot, tick);
		found = true;
	}
	es_scan_end(scan);
	table_close(rel, NoLock);
	return found;
}

static Datum
holders_array(const EsTick *tick)
{
	Datum *elements = palloc(tick->nholders * 3 * sizeof(Datum));

	for (int i = 0; i < tick->nholders; i++)
	{
		elements[3 * i] = Int64GetDatum(tick->holders[i].backend);
		elements[3 * i + 1] = Int64GetDatum(tick->holders[i].transaction);
		elements[3 * i + 2] = Int64GetDatum(tick->holders[i].floor);
	}
	return PointerGetDatum(construct_array(elements, tick->nholders * 3, INT8OID, sizeof(int64),
										   FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

/* Into the table and every index that takes rows; their columns are plain ones. */
static void
insert_row(Relation rel, TupleTableSlot *slot)
{
	List     *list = RelationGetIndexList(rel);
	ListCell *cell;

	table_tuple_insert(rel, slot, GetCurrentCommandId(true), 0, NULL);
	foreach (cell, list)
	{
		Relation   index = index_open(lfirst_oid(cell), RowExclusiveLock);
		IndexInfo *info = BuildIndexInfo(index);
		Datum      values[INDEX_MAX_KEYS];
		bool       isnull[INDEX_MAX_KEYS];

		if (info->ii_ReadyForInserts)
		{
			FormIndexDatum(info, slot, NULL, values, isnull);
			(void) index_insert(index, values, isnull, &slot->tts_tid, rel, UNIQUE_CHECK_NO, false,
								info);
			es_compat_index_insert_cleanup(index, info);
		}
		index_close(index, NoLock);
	}
	list_free(list);
}

/* Writes a tick in the current transaction. */
void
es_tick_write(const EsTick *tick)
{
	Relation        rel = table_open(es_ticks.found->relid, RowExclusiveLock);
	TupleTableSlot *slot = table_slot_create(rel, NULL);

	es_row_clear(slot);
	es_row_put(slot, ES_TICKS_POSITION, Int64GetDatum(tick->position));
	es_row_put(slot, ES_TICKS_LAST_POSITION, Int64GetDatum(tick->last_position));
	es_row_put(slot, ES_TICKS_RECORDED_AT, TimestampTzGetDatum(tick->recorded_at));
	es_row_put(slot, ES_TICKS_LIFE, Int64GetDatum(tick->life));
	es_row_put(slot, ES_TICKS_NOTIFIED, Int64GetDatum(tick->notified));
	es_row_put(slot, ES_TICKS_PRUNED, Int64GetDatum(tick->pruned));
	if (tick->nholders > 0)
		es_row_put(slot, ES_TICKS_HOLDERS, holders_array(tick));
	ExecStoreVirtualTuple(slot);
	insert_row(rel, slot);
	ExecDropSingleTupleTableSlot(slot);
	table_close(rel, NoLock);
}

/* Deletes a row if that can be done at once. */
static bool
delete_row(Relation rel, ItemPointer tid, Snapshot snapshot)
{
	TM_FailureData failure;

	return table_tuple_delete(rel, tid, GetCurrentCommandId(true), snapshot, InvalidSnapshot, false,
							  &failure, false) == TM_Ok;
}

static int64
minute_of(TimestampTz time)
{
	return time / USECS_PER_MINUTE;
}

/* Is a tick no longer needed, with this one after it? */
static bool
is_superseded(const EsTick *tick, TupleTableSlot *next)
{
	return tick->position == es_row_int8(next, ES_TICKS_POSITION) ||
		   minute_of(tick->recorded_at) == minute_of(es_row_int8(next, ES_TICKS_RECORDED_AT));
}

/*
 * Ticks that were recorded later than this are fresh.  Where the clock has not gone on since
 * the newest tick, it was set back: recorded_at stands still until the clock is there again,
 * maybe for years, and tells nothing of a tick's age.  None is fresh then.
 */
static TimestampTz
fresh_since(const EsTick *newest, TimestampTz next_at)
{
	return next_at > newest->recorded_at ? newest->recorded_at - ES_TICK_FRESH : DT_NOEND;
}

/*
 * Thins out some of the old ticks, before one that was recorded at next_at: of those at one
 * position, or within one minute, the last stays, and so do those that are fresh, and the
 * newest.  Answers up to which position it has come.
 */
int64
es_tick_prune(const EsTick *newest, TimestampTz next_at)
{
	TimestampTz     fresh = fresh_since(newest, next_at);
	Relation        rel = table_open(es_ticks.found->relid, RowExclusiveLock);
	EsScan         *scan = es_scan_begin(rel, es_ticks.found->indexes[0], SnapshotSelf, 1);
	EsTick          before = {newest->pruned};
	ItemPointerData tid;
	TupleTableSlot *slot;

	ItemPointerSetInvalid(&tid);
	es_scan_int8_key(scan, 1, BTGreaterEqualStrategyNumber, newest->pruned);
	es_scan_seek(scan);
	for (int i = 0; i < ES_TICK_PRUNE; i++)
	{
		if ((slot = es_scan_next(scan, ForwardScanDirection)) == NULL ||
			es_row_int8(slot, ES_TICKS_POSITION) >= newest->position ||
			es_row_int8(slot, ES_TICKS_RECORDED_AT) > fresh)
			break;
		if (ItemPointerIsValid(&tid) && is_superseded(&before, slot) &&
			!delete_row(rel, &tid, SnapshotSelf))
			break;
		tid = slot->tts_tid;
		before.position = es_row_int8(slot, ES_TICKS_POSITION);
		before.recorded_at = es_row_int8(slot, ES_TICKS_RECORDED_AT);
	}
	es_scan_end(scan);
	table_close(rel, NoLock);
	return before.position;
}

/* What a row of es.ticks is to a snapshot. */
typedef enum Sight
{
	SIGHT_SEEN,   /* another transaction's tick */
	SIGHT_LATE,   /* one that was committed after the snapshot was taken */
	SIGHT_NOTHING /* of a transaction that has not committed, or our own */
} Sight;

static Sight
look_at(Relation rel, TupleTableSlot *slot, Snapshot snapshot)
{
	HeapTupleHeader header = ExecFetchSlotHeapTuple(slot, false, NULL)->t_data;

	if (es_row_is_own(slot))
		return SIGHT_NOTHING;
	if (table_tuple_satisfies_snapshot(rel, slot, snapshot))
		return SIGHT_SEEN;
	return HeapTupleHeaderXminCommitted(header) ||
				   TransactionIdDidCommit(HeapTupleHeaderGetRawXmin(header))
			   ? SIGHT_LATE
			   : SIGHT_NOTHING;
}

/*
 * Looks at the ticks below a limit, from the highest down, for the first that says
 * something; answers whether it is seen, with its position, or true and 0 where
 * there is none.  Of several at one position one that is seen is enough.
 */
static bool
look_below(EsScan *scan, Relation rel, Snapshot snapshot, int64 limit, int64 *position)
{
	TupleTableSlot *slot;
	bool            late = false;

	*position = 0;
	seek_below(scan, limit);
	while ((slot = es_scan_next(scan, BackwardScanDirection)) != NULL)
	{
		Sight sight = look_at(rel, slot, snapshot);
		int64 found = es_row_int8(slot, ES_TICKS_POSITION);

		if (late && found < *position)
			return false;
		if (sight != SIGHT_NOTHING)
			*position = found;
		if (sight == SIGHT_SEEN)
			return true;
		late |= sight == SIGHT_LATE;
		CHECK_FOR_INTERRUPTS();
	}
	return !late;
}

/*
 * Ticks need not be committed in the order of their positions: looks upwards from
 * one that is seen for another, until so many in a row are not.
 */
static int64
climb(EsScan *scan, Relation rel, Snapshot snapshot, int64 seen)
{
	TupleTableSlot *slot;
	int             unseen = 0;

	es_scan_int8_key(scan, 1, BTGreaterStrategyNumber, seen);
	es_scan_seek(scan);
	while (unseen < ES_TICK_STEPS && (slot = es_scan_next(scan, ForwardScanDirection)) != NULL)
	{
		Sight sight = look_at(rel, slot, snapshot);

		if (sight == SIGHT_SEEN)
		{
			seen = es_row_int8(slot, ES_TICKS_POSITION);
			unseen = 0;
		}
		unseen += sight == SIGHT_LATE;
		CHECK_FOR_INTERRUPTS();
	}
	return seen;
}

/*
 * An old snapshot, with more ticks above it than one would walk over: leaps down
 * until a tick is seen, then halves what lies between it and the lowest that is
 * not.  There is no tick in (seen, low], and none that is seen from unseen on.
 */
static int64
leap(EsScan *scan, Relation rel, Snapshot snapshot, int64 unseen)
{
	int64 distance = 1024;
	int64 seen;
	int64 low;

	while (!look_below(scan, rel, snapshot, Max(unseen - distance, 1), &seen))
	{
		if (unseen <= 1)
			return 0;
		unseen = Max(seen, 1);
		distance *= 2;
	}
	low = seen;
	while (unseen - low > 1)
	{
		int64 middle = low + (unseen - low) / 2;
		int64 found;
		bool  is_visible = look_below(scan, rel, snapshot, middle + 1, &found);

		if (found > seen && !is_visible)
			unseen = found;
		else
		{
			seen = Max(seen, found);
			low = middle;
		}
	}
	return climb(scan, rel, snapshot, seen);
}

static int64
find_horizon(Relation rel, Oid index, Snapshot snapshot)
{
	/* every row, dead ones too, so that it is known how many are passed over */
	EsScan         *scan = es_scan_begin(rel, index, SnapshotAny, 1);
	TupleTableSlot *slot;
	int64           position = 0;
	int             late = 0;

	seek_below(scan, PG_INT64_MAX);
	while ((slot = es_scan_next(scan, BackwardScanDirection)) != NULL)
	{
		Sight sight = look_at(rel, slot, snapshot);

		position = es_row_int8(slot, ES_TICKS_POSITION);
		if (sight == SIGHT_SEEN)
			break;
		if (sight == SIGHT_LATE && ++late == ES_TICK_STEPS)
		{
			position = leap(scan, rel, snapshot, position + 1);
			break;
		}
		CHECK_FOR_INTERRUPTS();
	}
	es_scan_end(scan);
	return slot == NULL ? 0 : position;
}

/*
 * The horizon as a snapshot sees it.  Where the isolation level keeps one
 * snapshot for the transaction, it is looked up once.
 */
int64
es_tick_horizon(Snapshot snapshot)
{
	static LocalTransactionId known = InvalidLocalTransactionId;
	static uint64             known_generation;
	static int64              horizon;
	Relation                  rel;
	int64                     found;

	if (IsolationUsesXactSnapshot() && known == es_compat_my_lxid() &&
		known_generation == es_store_generation())
		return horizon;
	rel = es_store_open(&es_ticks, AccessShareLock);
	found = find_horizon(rel, es_ticks.found->indexes[0], snapshot);
	table_close(rel, NoLock);
	if (IsolationUsesXactSnapshot())
	{
		known = es_compat_my_lxid();
		known_generation = es_store_generation();
		horizon = found;
	}
	return found;
}

/* What a tick says must hold for itself, and behind the one before it in the index. */
static void
check_tick(EsTally *tally, const EsTick *tick, int64 before)
{
	char *where = psprintf("es.ticks, position %lld", (long long) tick->position);

	if (tick->position < before)
		es_tally_found(tally, ES_VERIFY_ERROR, where, "The index leads to it behind position %lld.",
					   (long long) before);
	if (tick->position < 0 || tick->last_position < tick->position)
		es_tally_found(tally, ES_VERIFY_ERROR, where,
					   "It is above the last position that had been given, %lld.",
					   (long long) tick->last_position);
	if (tick->notified > tick->position || tick->pruned > tick->position)
		es_tally_found(tally, ES_VERIFY_ERROR, where,
					   "It says that listeners had been told up to %lld, and that ticks had been "
					   "thinned out up to %lld.",
					   (long long) tick->notified, (long long) tick->pruned);
}

/* How many rows the table has. */
static int64
count_ticks(EsVerify *verify, Relation rel)
{
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	TableScanDesc   scan = table_beginscan(rel, verify->snapshot, 0, NULL);
	int64           n = 0;

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		n++;
		CHECK_FOR_INTERRUPTS();
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	return n;
}

/* Walks over the ticks by their index; answers how many, and which is the newest. */
static int64
walk_ticks(EsVerify *verify, EsTally *tally, Relation rel, EsTick *newest)
{
	EsScan         *scan = es_scan_begin(rel, es_ticks.found->indexes[0], verify->snapshot, 1);
	TupleTableSlot *slot;
	int64           n = 0;

	seek_below(scan, PG_INT64_MAX);
	while ((slot = es_scan_next(scan, ForwardScanDirection)) != NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(verify->scratch);
		EsTick        tick = {0};

		read_numbers(slot, &tick);
		check_tick(tally, &tick, newest->position);
		MemoryContextSwitchTo(old);
		*newest = tick;
		n++;
		es_verify_next(verify);
	}
	es_scan_end(scan);
	return n;
}

/* es_verify: the ticks, and the horizon, which is not above what was given. */
void
es_tick_verify(EsVerify *verify)
{
	EsTick   newest = {0};
	EsTally  tally;
	Relation rel;
	int64    rows;
	int64    entries;

	es_tally_begin(&tally, verify, "ticks");
	if (!es_verify_have(verify, &tally, es_ticks.found->relid, "es.ticks") ||
		!es_verify_have(verify, &tally, es_ticks.found->indexes[0], "es.ticks"))
		return;
	rel = table_open(es_ticks.found->relid, AccessShareLock);
	rows = count_ticks(verify, rel);
	entries = walk_ticks(verify, &tally, rel, &newest);
	table_close(rel, NoLock);
	if (rows != entries)
		es_tally_found(&tally, ES_VERIFY_ERROR, "es.ticks",
					   "The index by position has %s, the table has %s.",
					   es_verify_count(entries, "entry", "entries"),
					   es_verify_count(rows, "row", "rows"));
	/* read after the snapshot was taken */
	if (OidIsValid(es_positions.found->relid) &&
		Max(newest.position, newest.last_position) >
			es_sequence_last(es_positions.found->relid, NULL))
		es_tally_found(&tally, ES_VERIFY_ERROR,
					   psprintf("es.ticks, position %lld", (long long) newest.position),
					   "The newest tick knows of position %lld, which the sequence has not given.",
					   (long long) Max(newest.position, newest.last_position));
	es_tally_end(&tally, "es.ticks", "%s in order; the horizon is at position %lld.",
				 es_verify_count(rows, "tick", "ticks"), (long long) newest.position);
}
