/*
 * publish.c
 *		Publishing: how the horizon moves; es_publish, es_wait, es_horizon.
 *
 * The horizon is a position: every event at or below it is committed and durable,
 * or never will exist.  One move of it is a tick:
 *
 * 1. L = the last position that was given.
 * 2. V = the transactions that hold the marker (marker.c).  L comes first: whoever
 *    takes a position at or below L later than this holds the marker now.
 * 3. A holder that the tick before did not have has taken its positions after that
 *    tick's L: its floor is that L + 1.  A known holder keeps its floor.
 * 4. horizon = min(L, lowest floor - 1).
 * 5. If it rose, or floors are to be remembered, a tick is written, and committed
 *    so that all WAL that it speaks of is flushed: the events' and the sequence's (P2).
 *
 * A transaction that has gone from V has left the list of running ones before, so
 * that every snapshot that sees the tick sees what it has committed (P1).  What it
 * has rolled back will never exist.
 *
 * The names of holders are unique within one life of the server.  A publisher that
 * finds a tick of another life gives everybody the floor horizon + 1.
 *
 * State travels with the tick, and any tick of this life is a state to go on from;
 * an older one is only more careful: who holds the marker now and did not then has
 * taken it since.  So publishers need not exclude each other, and one that is
 * stopped in the middle stands in nobody's way.
 *
 * Keeps P1, P2, P3 and P4.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "common/int.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "replication/syncrep.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "args.h"
#include "clock.h"
#include "compat.h"
#include "epoch.h"
#include "log.h"
#include "marker.h"
#include "publish.h"
#include "sequence.h"
#include "shared.h"
#include "tick.h"

PG_FUNCTION_INFO_V1(es_publish);
PG_FUNCTION_INFO_V1(es_wait);
PG_FUNCTION_INFO_V1(es_horizon);

/* Old ticks are looked at once in so many positions. */
#define ES_PRUNE_EVERY 16

static SubTransactionId ticked = InvalidSubTransactionId; /* where es_publish() wrote a tick */

static const EsHolder *
find_holder(const EsTick *tick, const EsHolder *wanted)
{
	for (int i = 0; i < tick->nholders; i++)
	{
		if (tick->holders[i].backend == wanted->backend &&
			tick->holders[i].transaction == wanted->transaction)
			return &tick->holders[i];
	}
	return NULL;
}

/* Step 3.  Answers whether there is a holder that the state before does not know. */
static bool
give_floors(EsTick *next, const EsTick *before)
{
	bool same_life = before->life == next->life;
	bool is_new = false;

	for (int i = 0; i < next->nholders; i++)
	{
		EsHolder       *holder = &next->holders[i];
		const EsHolder *known = same_life ? find_holder(before, holder) : NULL;

		if (known != NULL)
			holder->floor = known->floor;
		else
		{
			holder->floor = (same_life ? before->last_position : before->position) + 1;
			is_new = true;
		}
	}
	return is_new;
}

static void
check_not_back(const EsTick *before, int64 last)
{
	if (last < before->position || last < before->last_position)
		es_log_raise_gone_back(psprintf("The last position that was given is %lld, and the horizon "
										"is at %lld.",
										(long long) last, (long long) before->position));
}

/*
 * Reads V, and finds out up to where WAL must be flushed before the tick counts (P2).
 * An appender whose commit waits for the disk has flushed its events before it left
 * V; as long as there were only such, what is left is the sequence.  Others are counted, in
 * shared memory, before they leave V and after it: if any is new, WAL must be
 * flushed up to where it ends now, and if all of them have left, that settles them.
 */
static void
find_holders(const EsStore *store, const EsTick *before, XLogRecPtr sequence, EsTick *next)
{
	EsShared *shared = es_shared();
	uint64    ended = pg_atomic_read_u64(&shared->lazy_ended);
	uint64    begun;

	pg_read_barrier();
	next->holders = es_marker_holders(store, &next->nholders);
	pg_read_barrier();
	next->wal = GetXLogInsertRecPtr();
	begun = pg_atomic_read_u64(&shared->lazy_begun);
	if (before->settled == begun + 1)
		next->wal = sequence;
	else
		next->settled = begun == ended ? begun + 1 : 0;
}

/*
 * Steps 1 to 4; before is the state to go on from.  Answers whether there is
 * something in it that a later state can use.
 */
static bool
compute(const EsStore *store, const EsTick *before, EsTick *next)
{
	XLogRecPtr sequence;
	bool       is_new;

	*next = *before;
	next->life = es_shared()->life;
	next->last_position = es_sequence_last(store->sequence, &sequence);
	check_not_back(before, next->last_position);
	if (next->last_position > es_epoch_limit)
		es_epoch_check_ahead(store, next->last_position, false);
	find_holders(store, before, sequence, next);
	next->recorded_at = Max(GetCurrentTimestamp(), before->recorded_at);
	is_new = give_floors(next, before);
	next->position = next->last_position;
	for (int i = 0; i < next->nholders; i++)
		next->position = Min(next->position, next->holders[i].floor - 1);
	Assert(next->position >= before->position);
	return is_new || next->last_position > before->last_position;
}

/*
 * Opens es.ticks and holds what a tick looks at, so that nobody can empty the store,
 * or make the marker anew, before the tick is written.  Who would, locks the epochs
 * before the ticks; so do we, and hold neither while we wait for the other.
 */
static Relation
hold_store(const EsStore **store)
{
	for (;;)
	{
		Relation ticks;
		Oid      appending;

		es_epoch_check(es_store());
		ticks = es_store_open_ticks(RowExclusiveLock, store);
		appending = (*store)->appending;
		LockRelationOid(appending, AccessShareLock);
		*store = es_store();
		if ((*store)->appending == appending && (*store)->ticks == RelationGetRelid(ticks) &&
			es_epoch_is_current(*store))
			return ticks;
		UnlockRelationOid(appending, AccessShareLock);
		table_close(ticks, RowExclusiveLock);
		CHECK_FOR_INTERRUPTS();
	}
}

/* Can a tick go on from this state?  Else the newest of the table is the one. */
static bool
is_usable(const EsTick *state)
{
	return state->life == es_shared()->life && state->generation == es_store_generation();
}

/*
 * Step 5: takes a tick, and writes it in the current transaction if the horizon
 * rises, or, with remember, if the next publisher would otherwise have to give
 * lower floors.  tick is the state to go on from, or zeros, and becomes the new
 * state.  Answers whether a tick was written.
 *
 * The caller's commit must flush, unless es_publish_is_flushed(); where it does not come
 * about, the state is not one to go on from.
 */
bool
es_publish_tick(EsTick *tick, bool remember)
{
	const EsStore *store;
	Relation       ticks = hold_store(&store);
	EsTick         before = *tick;
	bool           is_news;
	bool           written;

	if (!is_usable(&before))
		(void) es_tick_newest(store, &before);
	is_news = compute(store, &before, tick);
	tick->file = ticks->rd_rel->relfilenode;
	written = tick->position > before.position || (remember && is_news);
	if (written)
	{
		if (tick->position / ES_PRUNE_EVERY != before.position / ES_PRUNE_EVERY)
			tick->pruned = es_tick_prune(store, &before, tick->recorded_at);
		es_tick_write(store, tick);
	}
	else
		tick->settled = before.settled; /* nobody flushes */
	table_close(ticks, NoLock);
	return written;
}

/*
 * P2: is all WAL that a tick speaks of flushed already?  Then its own commit need
 * not wait.  Where there are synchronous standbys it waits for them.
 */
bool
es_publish_is_flushed(const EsTick *tick)
{
	return SyncRepStandbyNames[0] == '\0' && GetFlushRecPtr(NULL) >= tick->wal;
}

/* Has this transaction taken a tick by es_publish(), and not rolled it back? */
static bool
has_ticked(void)
{
	return ticked != InvalidSubTransactionId;
}

/*
 * A tick's transaction commits synchronously, whatever the session has set, and
 * cannot be prepared: who commits it later might have set something else.
 */
static void
before_end(XactEvent event)
{
	if (event == XACT_EVENT_PRE_PREPARE)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("cannot PREPARE a transaction that has called es_publish()"),
						errhint("Call it in a transaction of its own.")));
	if (event != XACT_EVENT_PRE_COMMIT)
		return;
	ForceSyncCommit();
	if (synchronous_commit < SYNCHRONOUS_COMMIT_REMOTE_FLUSH)
		(void) set_config_option("synchronous_commit", "on", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_LOCAL, true, 0, false);
}

static void
at_end(XactEvent event, void *arg)
{
	EsSlot *slot = es_shared_mine_if_known();

	if (!has_ticked())
		return;
	before_end(event);
	if (event == XACT_EVENT_COMMIT && slot != NULL)
		ConditionVariableBroadcast(&slot->published);
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT)
		ticked = InvalidSubTransactionId;
}

/* A subtransaction hands its tick up, or has lost it. */
static void
at_sub_end(SubXactEvent event, SubTransactionId subid, SubTransactionId parent, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB && ticked >= subid)
		ticked = InvalidSubTransactionId;
	else if (event == SUBXACT_EVENT_COMMIT_SUB && ticked == subid)
		ticked = parent;
}

/* Called once, from _PG_init. */
void
es_publish_init(void)
{
	RegisterXactCallback(at_end, NULL);
	RegisterSubXactCallback(at_sub_end, NULL);
}

/* A tick in a transaction that has written would not speak of what it has written. */
static void
check_not_written(void)
{
	if (!TransactionIdIsValid(GetTopTransactionIdIfAny()) && !es_marker_is_held())
		return;
	ereport(ERROR, (errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
					errmsg("es_publish() cannot run in a transaction that has written"),
					errdetail("What this transaction has appended is published only after it has "
							  "committed."),
					errhint("Commit, and call es_publish() in a transaction of its own.")));
}

/*
 * es_publish() publishes what is committed, and returns the horizon; it counts when
 * the transaction commits.
 */
Datum
es_publish(PG_FUNCTION_ARGS)
{
	const EsStore *store = es_store();
	EsTick         tick = {0};

	PreventCommandIfReadOnly("es_publish()");
	PreventCommandIfParallelMode("es_publish()");
	PreventCommandDuringRecovery("es_publish()");
	es_store_check_read(store->events);
	check_not_written();
	(void) es_shared_mine();
	if (es_publish_tick(&tick, true))
	{
		ticked = GetCurrentSubTransactionId();
		es_shared_wake_at_end();
	}
	PG_RETURN_INT64(tick.position);
}

/* es_horizon() returns the position up to which events are published. */
Datum
es_horizon(PG_FUNCTION_ARGS)
{
	es_store_check_read(es_store()->events);
	PG_RETURN_INT64(es_tick_horizon(GetActiveSnapshot()));
}

/* The horizon as it is now, whatever the snapshot of the running statement. */
static int64
newest_horizon(void)
{
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	int64    horizon = es_tick_horizon(snapshot);

	UnregisterSnapshot(snapshot);
	return horizon;
}

/* Who waits for what only his own transaction's end can bring waits for ever. */
static void
check_can_come(int64 target, int64 horizon)
{
	if (target <= horizon)
		return;
	if (target >= es_marker_first())
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("position %lld cannot be published before this transaction ends",
							   (long long) target),
						errdetail("This transaction has appended from position %lld on.",
								  (long long) es_marker_first()),
						errhint("Commit first, then wait.")));
	if (IsolationUsesXactSnapshot())
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("es_wait() cannot wait in a %s transaction",
							   IsolationIsSerializable() ? "SERIALIZABLE" : "REPEATABLE READ"),
						errdetail("Its snapshot stays at horizon %lld.", (long long) horizon),
						errhint("Wait before the transaction begins, or at READ COMMITTED.")));
}

#define ES_WAIT_POLL_STANDBY 20   /* ms; there the horizon moves by replay */
#define ES_WAIT_POLL         1000 /* ms; where nobody might tell us */

/* Sleeps until the horizon may have moved, at most so long. */
static void
sleep_a_while(EsSlot *slot, long left)
{
	if (slot != NULL && !RecoveryInProgress())
		(void) ConditionVariableTimedSleep(&slot->published, Min(left, ES_WAIT_POLL),
										   PG_WAIT_EXTENSION);
	else
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 Min(left, ES_WAIT_POLL_STANDBY), PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

/* Says, before a session waits, that nothing will come by itself. */
static void
tell_unpublished(EsSlot *slot)
{
	if (RecoveryInProgress() || es_shared_publishes(slot))
		return;
	ereport(NOTICE,
			(errmsg("no publisher runs: nothing is published until es_start_worker() or "
					"es_publish() is called"),
			 es_shared()->preloaded
				 ? errhint("es_status() says why.")
				 : errhint("Call es_start_worker() after each start of the server, or add "
						   "pg_eventstore to shared_preload_libraries, which starts publishers by "
						   "itself.")));
}

/* Waits until the horizon is at the target, or the time has come; answers the horizon. */
static int64
wait_until(int64 target, int64 until)
{
	EsSlot *slot = es_shared_mine();
	int64   horizon;
	bool    told = false;

	if (slot != NULL)
		ConditionVariablePrepareToSleep(&slot->published);
	while ((horizon = newest_horizon()) < target)
	{
		long left = es_clock_left(until);

		if (left == 0)
			break;
		if (!told)
			tell_unpublished(slot);
		told = true;
		sleep_a_while(slot, left);
	}
	ConditionVariableCancelSleep();
	return horizon;
}

/*
 * The moment when a time-out ends that begins now.  How long its days and months are, the
 * calendar tells.
 */
static int64
end_of(Interval *timeout)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz end =
		DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval, TimestampTzGetDatum(now),
												IntervalPGetDatum(timeout)));
	int64 length;

	if (end < now)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"timeout\" must not be negative"),
						errhint("Zero looks once and does not wait.")));
	if (TIMESTAMP_NOT_FINITE(end) || pg_sub_s64_overflow(end, now, &length))
		return PG_INT64_MAX;
	return es_clock_in_ms(length / 1000 + (length % 1000 > 0));
}

/* The position to wait for. */
static int64
target_arg(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"%s\" must not be null", PG_ARGISNULL(0) ? "target" : "timeout"),
				 PG_ARGISNULL(0) ? errhint("es_position() answers null for a stream that does not "
										   "exist.")
								 : errhint("Zero looks once and does not wait.")));
	if (PG_GETARG_INT64(0) < 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"target\" must not be negative"),
						errhint("Positions begin at 1.")));
	return PG_GETARG_INT64(0);
}

/* es_wait(target, timeout) waits until a position is published; returns the horizon. */
Datum
es_wait(PG_FUNCTION_ARGS)
{
	const EsStore *store = es_store();
	int64          target = target_arg(fcinfo);
	int64          horizon;

	es_store_check_read(store->events);
	es_epoch_check_cursor(store, target, true);
	horizon = es_tick_horizon(GetActiveSnapshot());
	check_can_come(target, horizon);
	if (horizon < target)
		horizon = wait_until(target, end_of(PG_GETARG_INTERVAL_P(1)));
	PG_RETURN_INT64(horizon);
}
