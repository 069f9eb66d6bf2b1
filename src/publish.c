/*
 * publish.c
 *		Publishing: how the horizon moves; es_publish.
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
#include "fmgr.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "replication/syncrep.h"
#include "storage/lmgr.h"
#include "utils/guc.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "epoch.h"
#include "events.h"
#include "marker.h"
#include "privilege.h"
#include "publish.h"
#include "sequence.h"
#include "shared.h"
#include "tick.h"

PG_FUNCTION_INFO_V1(es_publish);

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
		es_sequence_raise_gone_back(
			psprintf("The last position that was given is %lld, and the horizon "
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
find_holders(const EsTick *before, XLogRecPtr sequence, EsTick *next)
{
	EsShared *shared = es_shared();
	uint64    ended = pg_atomic_read_u64(&shared->lazy_ended);
	uint64    begun;

	pg_read_barrier();
	next->holders = es_marker_holders(&next->nholders);
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
compute(const EsTick *before, EsTick *next)
{
	XLogRecPtr sequence;
	bool       is_new;

	*next = *before;
	next->life = es_shared()->life;
	next->last_position = es_sequence_last(es_positions.found->relid, &sequence);
	check_not_back(before, next->last_position);
	if (next->last_position > es_epoch_limit)
		es_epoch_check_ahead(next->last_position, false);
	find_holders(before, sequence, next);
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
hold_store(void)
{
	for (;;)
	{
		Relation ticks;
		Oid      appending;

		(void) es_store();
		es_epoch_check();
		ticks = es_store_open(&es_ticks, RowExclusiveLock);
		appending = es_appending.found->relid;
		LockRelationOid(appending, AccessShareLock);
		(void) es_store();
		if (es_appending.found->relid == appending &&
			es_ticks.found->relid == RelationGetRelid(ticks) && es_epoch_is_current())
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
	Relation ticks = hold_store();
	EsTick   before = *tick;
	bool     is_news;
	bool     written;

	if (!is_usable(&before))
		(void) es_tick_newest(&before);
	is_news = compute(&before, tick);
	tick->file = ticks->rd_rel->relfilenode;
	written = tick->position > before.position || (remember && is_news);
	if (written)
	{
		if (tick->position / ES_PRUNE_EVERY != before.position / ES_PRUNE_EVERY)
			tick->pruned = es_tick_prune(&before, tick->recorded_at);
		es_tick_write(tick);
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
	EsTick tick = {0};

	(void) es_store();
	PreventCommandIfReadOnly("es_publish()");
	PreventCommandIfParallelMode("es_publish()");
	PreventCommandDuringRecovery("es_publish()");
	es_privilege_check_read(&es_events);
	check_not_written();
	(void) es_shared_mine();
	if (es_publish_tick(&tick, true))
	{
		ticked = GetCurrentSubTransactionId();
		es_shared_wake_at_end();
	}
	PG_RETURN_INT64(tick.position);
}
