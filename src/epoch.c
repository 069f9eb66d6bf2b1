/*
 * epoch.c
 *		Epochs: stretches of history without a lost tail.  All that reads or
 *		writes es.epochs.
 *
 * A promotion, a point-in-time recovery, a restored dump and a copied database
 * continue an older state of the log: events that consumers have seen may be
 * missing.  What tells them is the database's identity: system identifier,
 * timeline, and the OIDs of the database and of this table.  The first append or
 * tick that finds another identity than the newest epoch's moves the sequence far
 * up, and records the hole.  A cursor within a hole has seen what is lost: SE005,
 * for ever (P6).
 *
 *	   epoch n                        hole                     epoch n + 1
 *	 ------------ last_position )                  [ first_position -----------
 *	 what this server has        | seen elsewhere |  what is appended from now on
 *
 * A row of es.epochs is written frozen: it is true at once and for everybody,
 * whatever becomes of the transaction that found it, as the sequence is moved at
 * once and for everybody.  So nobody waits for that transaction.
 *
 * Keeps P6.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "commands/sequence.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "epoch.h"
#include "errors.h"
#include "lock.h"
#include "log.h"
#include "scan.h"
#include "sequence.h"
#include "tick.h"

/* How far the sequence moves: further than any lost tail is long. */
#define ES_EPOCH_JUMP (INT64CONST(1) << 32)

typedef struct Epoch
{
	int32 number; /* 0: there is none yet */
	int64 last;
	int64 first;
	int64 timeline;
	int64 system;
	int64 database;
	int64 relation; /* es.epochs itself: another one after a restore */
} Epoch;

static uint64 checked = 0; /* the generation of the store that was found to be in order */

static Epoch
epoch_of(TupleTableSlot *slot)
{
	Epoch epoch;

	epoch.number = es_scan_int4(slot, ES_EPOCHS_EPOCH);
	epoch.last = es_scan_int8(slot, ES_EPOCHS_LAST_POSITION);
	epoch.first = es_scan_int8(slot, ES_EPOCHS_FIRST_POSITION);
	epoch.timeline = es_scan_int8(slot, ES_EPOCHS_TIMELINE);
	epoch.system = es_scan_int8(slot, ES_EPOCHS_SYSTEM);
	epoch.database = es_scan_int8(slot, ES_EPOCHS_DATABASE);
	epoch.relation = es_scan_int8(slot, ES_EPOCHS_RELATION);
	return epoch;
}

/* Is this the identity that the database has now? */
static bool
is_current(const EsStore *store, const Epoch *epoch)
{
	return epoch->number > 0 && epoch->timeline == GetWALInsertionTimeLine() &&
		   epoch->system == (int64) GetSystemIdentifier() && epoch->database == MyDatabaseId &&
		   epoch->relation == store->epochs;
}

/*
 * Walks over the epochs: answers with the newest, and where hole is given, finds
 * the hole that the cursor is in.  Rows that were restored into a store that had
 * its own may share its number; then one of elsewhere is the one to go on from.
 */
static Epoch
walk(const EsStore *store, Snapshot snapshot, int64 cursor, Epoch *hole)
{
	Relation        rel = table_open(store->epochs, AccessShareLock);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	TableScanDesc   scan = table_beginscan(rel, snapshot, 0, NULL);
	Epoch           newest = {0};

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		Epoch epoch = epoch_of(slot);

		if (hole != NULL && cursor > epoch.last && cursor < epoch.first - 1)
			*hole = epoch;
		if (epoch.number > newest.number ||
			(epoch.number == newest.number && !is_current(store, &epoch)))
			newest = epoch;
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	table_close(rel, AccessShareLock);
	return newest;
}

/* The last position that this database knows of: of events, stored or prepared, and ticks. */
static int64
last_known(const EsStore *store)
{
	Relation events = table_open(store->events, AccessShareLock);
	EsTick   tick;
	int64    last;

	last = es_log_last_prepared(events, store);
	table_close(events, NoLock);
	if (es_tick_newest(store, &tick))
		last = Max(last, tick.position);
	return last;
}

/* Moves the sequence, as its owner. */
static void
set_sequence(const EsStore *store, int64 value)
{
	Oid user;
	int context;

	GetUserIdAndSecContext(&user, &context);
	SetUserIdAndSecContext(store->owner, context | SECURITY_LOCAL_USERID_CHANGE);
	(void) DirectFunctionCall2(setval_oid, ObjectIdGetDatum(store->sequence), Int64GetDatum(value));
	SetUserIdAndSecContext(user, context);
}

static void
write_epoch(const EsStore *store, const Epoch *epoch)
{
	Relation        rel = table_open(store->epochs, RowExclusiveLock);
	TupleTableSlot *slot = MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsHeapTuple);
	HeapTuple       tuple;

	es_scan_begin_row(slot);
	es_scan_put(slot, ES_EPOCHS_EPOCH, Int32GetDatum(epoch->number));
	es_scan_put(slot, ES_EPOCHS_LAST_POSITION, Int64GetDatum(epoch->last));
	es_scan_put(slot, ES_EPOCHS_FIRST_POSITION, Int64GetDatum(epoch->first));
	es_scan_put(slot, ES_EPOCHS_TIMELINE, Int64GetDatum(epoch->timeline));
	es_scan_put(slot, ES_EPOCHS_SYSTEM, Int64GetDatum(epoch->system));
	es_scan_put(slot, ES_EPOCHS_DATABASE, Int64GetDatum(epoch->database));
	es_scan_put(slot, ES_EPOCHS_RELATION, Int64GetDatum(epoch->relation));
	es_scan_put(slot, ES_EPOCHS_OPENED_AT, TimestampTzGetDatum(GetCurrentTimestamp()));
	tuple = heap_form_tuple(RelationGetDescr(rel), slot->tts_values, slot->tts_isnull);
	heap_insert(rel, tuple, GetCurrentCommandId(true), HEAP_INSERT_FROZEN, NULL);
	heap_freetuple(tuple);
	ExecDropSingleTupleTableSlot(slot);
	table_close(rel, NoLock);
}

/*
 * A restored or copied database has told its listeners nothing, and shall not
 * tell them the past (O1): its publisher begins at the horizon.
 */
static void
begin_notifying_here(const EsStore *store, int64 last_given)
{
	EsTick tick;

	if (!es_tick_newest(store, &tick))
		return;
	tick.notified = tick.position;
	tick.last_position = last_given;
	tick.life = 0;
	tick.nholders = 0;
	es_tick_write(store, &tick);
}

/*
 * Opens an epoch for the present identity.  The first one has no hole.  Nobody
 * can be appending: each looks here before.
 */
static void
open_epoch(const EsStore *store, Epoch before)
{
	Epoch now = {before.number + 1};

	now.last = last_known(store);
	now.timeline = GetWALInsertionTimeLine();
	now.system = (int64) GetSystemIdentifier();
	now.database = MyDatabaseId;
	now.relation = store->epochs;
	now.first = now.last + 1;
	if (before.number > 0)
	{
		int64 given = Max(es_sequence_last(store->sequence, NULL), now.last) + ES_EPOCH_JUMP;

		set_sequence(store, given);
		now.first = given + 1;
		if (before.system != now.system || before.relation != now.relation ||
			before.database != now.database)
			begin_notifying_here(store, given);
		ereport(LOG, (errmsg("pg_eventstore: epoch %d of the event store begins at position %lld",
							 now.number, (long long) now.first),
					  errdetail("Positions above %lld and below it are lost, if they were ever "
								"given.",
								(long long) now.last)));
	}
	write_epoch(store, &now);
}

/* Has es_epoch_check() looked since the store may last have changed? */
static bool
is_checked(void)
{
	return checked == es_store_generation();
}

/*
 * Is the newest epoch the present one?  Never waits: false, too, while somebody has
 * locked the epochs against everybody.
 */
bool
es_epoch_is_current(const EsStore *store)
{
	Epoch newest;

	if (is_checked())
		return true;
	if (!ConditionalLockRelationOid(store->epochs, AccessShareLock))
		return false;
	newest = walk(store, SnapshotSelf, 0, NULL);
	UnlockRelationOid(store->epochs, AccessShareLock);
	return is_current(store, &newest);
}

/*
 * Makes sure, before a position is given or published, that the newest epoch is
 * the present one.  Known for a session once it was found: while a server runs,
 * it does not change.
 */
void
es_epoch_check(const EsStore *store)
{
	Epoch newest;

	if (is_checked())
		return;
	newest = walk(store, SnapshotSelf, 0, NULL);
	if (!is_current(store, &newest))
	{
		/* first, as who empties the store does, and with none of its tables locked */
		LockRelationOid(store->events, AccessShareLock);
		es_lock_epoch();
		newest = walk(store, SnapshotSelf, 0, NULL);
		if (!is_current(store, &newest))
			open_epoch(store, newest);
		es_unlock_epoch();
	}
	checked = es_store_generation();
}

/*
 * P6: raises SE005 for a cursor that has seen what this store has lost, or never
 * had.  Not in recovery, where the log may be behind the primary's; and never
 * compared with the horizon, which falls back after a crash.  A cursor may be the
 * next position where that is what its holder waits for.
 */
void
es_epoch_check_cursor(const EsStore *store, int64 cursor, bool may_be_next)
{
	Epoch hole = {0};
	int64 last;

	if (cursor <= 0 || RecoveryInProgress())
		return;
	(void) walk(store, SnapshotSelf, cursor, &hole);
	if (hole.number > 0)
		ereport(ERROR,
				(errcode(ERRCODE_ES_LOST_TAIL),
				 errmsg("position %lld is in a part of the log that is lost", (long long) cursor),
				 errdetail_internal("{\"cursor\": %lld, \"last\": %lld, \"first\": %lld, "
									"\"epoch\": %d}",
									(long long) cursor, (long long) hole.last,
									(long long) hole.first, hole.number),
				 errhint("A promotion or a restore has lost events that this reader may have seen. "
						 "Compare what it has made of them with the log, and read on after "
						 "\"last\".")));
	last = es_sequence_last(store->sequence, NULL);
	if (cursor > (may_be_next ? last + 1 : last))
		ereport(ERROR,
				(errcode(ERRCODE_ES_LOST_TAIL),
				 errmsg("position %lld is ahead of the log", (long long) cursor),
				 errdetail_internal("{\"cursor\": %lld, \"last\": %lld}", (long long) cursor,
									(long long) last),
				 errhint("The cursor is of another store, or of a later state of this one; read "
						 "on after a position that this store has.")));
}
