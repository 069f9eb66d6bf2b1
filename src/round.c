/*
 * round.c
 *		A publisher's round: a tick, and telling listeners of it.
 *
 *	   tick (own transaction) ---> notify (own transactions, while there is more to tell)
 *
 * Up to where listeners were told is written with the next tick, or, where there is
 * none soon, before the publisher sleeps.
 *
 * All of it is done as the store's owner, in C alone: no user's code (O6).
 *
 * Keeps P1 to P5 with publish.c.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "errors.h"
#include "events.h"
#include "marker.h"
#include "notify.h"
#include "owner.h"
#include "publish.h"
#include "round.h"
#include "store.h"
#include "tick.h"

#define ES_NOTIFY_RETRY  1000 /* ms */
#define ES_NOTIFY_WAIT   100  /* ms; for the lock of all that notify */
#define ES_NOTIFY_EVENTS 1000 /* that one transaction carries, so that its memory is bounded */

/* Begins the rounds of one publisher; what they keep lives as long as the process. */
void
es_round_begin(EsRound *round, EsSlot *slot, const char *database)
{
	memset(round, 0, sizeof(EsRound));
	round->slot = slot;
	round->database = database;
	round->notify_max = ES_NOTIFY_EVENTS;
	round->context =
		AllocSetContextCreate(TopMemoryContext, "pg_eventstore publisher", ALLOCSET_SMALL_SIZES);
}

static EsIdentity
begin(const char *activity)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	pgstat_report_activity(STATE_RUNNING, activity);
	(void) es_store();
	return es_owner_assume(es_store()->owner);
}

/* Commits; without waiting for the disk where that is not needed. */
static void
end(EsIdentity before, bool flush)
{
	es_owner_resume(before);
	PopActiveSnapshot();
	if (!flush)
		(void) set_config_option("synchronous_commit", "off", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_LOCAL, true, 0, false);
	CommitTransactionCommand();
	pgstat_report_stat(false);
}

/* Shows in the slot who holds the horizon. */
static void
show_holder(EsRound *round)
{
	const EsHolder *lowest = NULL;
	EsHolder        nobody = {0};

	for (int i = 0; i < round->state.nholders; i++)
	{
		if (lowest == NULL || round->state.holders[i].floor < lowest->floor)
			lowest = &round->state.holders[i];
	}
	LWLockAcquire(es_shared()->lock, LW_EXCLUSIVE);
	round->slot->holder = lowest == NULL ? nobody : *lowest;
	LWLockRelease(es_shared()->lock);
}

/* Keeps what a tick has found beyond its transaction; its holders are copied already. */
static void
keep_state(EsRound *round, const EsTick *tick)
{
	if (round->state.holders != NULL)
		pfree(round->state.holders);
	round->state = *tick;
	show_holder(round);
}

static EsHolder *
copy_holders(EsRound *round, const EsTick *tick)
{
	Size      size = tick->nholders * sizeof(EsHolder);
	EsHolder *copy;

	if (tick->nholders == 0)
		return NULL;
	copy = MemoryContextAlloc(round->context, size);
	memcpy(copy, tick->holders, size);
	return copy;
}

static void
announce(EsRound *round)
{
	/* not recorded_at, which stays ahead where the clock was */
	pg_atomic_write_u64(&round->slot->tick_at, GetCurrentTimestamp());
	pg_atomic_fetch_add_u64(&round->slot->ticks, 1);
	ConditionVariableBroadcast(&round->slot->published);
}

static void
take_tick(EsRound *round)
{
	EsIdentity before = begin("pg_eventstore: publishing");
	EsTick     tick = round->state;
	bool       written;

	tick.notified = round->notified;
	written = es_publish_tick(&tick, false);
	tick.holders = copy_holders(round, &tick);
	end(before, !(written && es_publish_is_flushed(&tick)));
	if (written)
		round->remembered = tick.notified;
	/* it has gone on from the table, which knows more; or from that of another store */
	if (tick.notified > round->notified || tick.file != round->file)
		round->notified = round->remembered = tick.notified;
	round->file = tick.file;
	keep_state(round, &tick);
	if (written)
		announce(round);
}

/* Says in the log, and in the view, that listeners have to wait. */
static void
put_off_notifying(EsRound *round, const ErrorData *error)
{
	pg_atomic_fetch_add_u64(&round->slot->skipped, 1);
	if (error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE)
	{
		round->notify_at = es_clock_in_ms(ES_NOTIFY_WAIT);
		return;
	}
	(void) es_shared_note_error(round->slot, error->message);
	if (!round->slot->queue_full)
		ereport(LOG,
				(errmsg("pg_eventstore: notifying is put off in database \"%s\"", round->database),
				 errdetail_internal("%s", error->message),
				 errhint("Publishing goes on. Where the queue is full, a session that listens does "
						 "not read, or is idle in a transaction.")));
	round->slot->queue_full = true;
	/* a small queue may never have room for all of them at once */
	round->notify_max = Max(round->notify_max / 2, 1);
	round->notify_at = es_clock_in_ms(ES_NOTIFY_RETRY);
}

/*
 * Is the store still the one that the last tick was of?  Where somebody has emptied it
 * since, these positions are of other events, which may not be published.
 */
static bool
is_same_store(const EsRound *round)
{
	Relation events = es_store_open(&es_events, AccessShareLock); /* first, as everywhere */
	Relation ticks = es_store_open(&es_ticks, AccessShareLock);
	bool     same = ticks->rd_rel->relfilenode == round->file;

	table_close(ticks, NoLock);
	table_close(events, NoLock);
	return same;
}

/*
 * All that notify take turns at their commit with one lock of the server, which any login can
 * hold for long, and ticks would wait as well (P4).  So this commit does not wait long.
 */
static void
bound_commit(void)
{
	(void) set_config_option("lock_timeout", CppAsString2(ES_NOTIFY_WAIT), PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
}

static void
notify_once(EsRound *round)
{
	EsIdentity before = begin("pg_eventstore: notifying");
	int        sent;
	int64      upto;

	if (!is_same_store(round))
	{
		end(before, false);
		return;
	}
	/* a full queue gives room back to who asks how full it is, not to who adds to it */
	if (round->notify_max < ES_NOTIFY_EVENTS)
		(void) DirectFunctionCall1(pg_notification_queue_usage, (Datum) 0);
	upto = es_notify_range(&round->channels, round->notified, round->state.position,
						   round->notify_max, &sent);
	bound_commit();
	end(before, false);
	/* what nobody was told of need not be written */
	if (sent == 0 && round->remembered == round->notified)
		round->remembered = upto;
	round->notified = upto;
	if (upto == round->state.position)
		round->notify_max = ES_NOTIFY_EVENTS;
	pg_atomic_write_u64(&round->slot->notified, upto);
	pg_atomic_fetch_add_u64(&round->slot->notifications, sent);
	if (round->slot->queue_full)
		ereport(LOG, (errmsg("pg_eventstore: notifying is resumed in database \"%s\"",
							 round->database)));
	round->slot->queue_full = false;
}

/*
 * Whatever keeps us from notifying, a full queue or a channel that somebody has
 * broken, keeps nobody from publishing.
 */
static void
notify_safely(EsRound *round)
{
	MemoryContext context = CurrentMemoryContext;

	PG_TRY();
	{
		notify_once(round);
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		if (error->sqlerrcode == ERRCODE_ES_NO_STORE)
			PG_RE_THROW();
		FlushErrorState();
		AbortCurrentTransaction();
		MemoryContextSwitchTo(context);
		put_off_notifying(round, error);
		FreeErrorData(error);
	}
	PG_END_TRY();
}

static bool
has_to_notify(const EsRound *round)
{
	return round->notified < round->state.position && es_clock_left(round->notify_at) == 0;
}

/* A round. */
void
es_round_publish(EsRound *round)
{
	(void) pg_atomic_exchange_u32(&round->slot->dirty, 0);
	take_tick(round);
	if (has_to_notify(round))
		notify_safely(round);
}

/*
 * Writes the newest tick once more, with the position that listeners were told of; not
 * into a store that somebody has emptied, which is known only with es.ticks locked.
 */
void
es_round_remember_notified(EsRound *round)
{
	EsIdentity before = begin("pg_eventstore: publishing");
	Relation   ticks = es_store_open(&es_ticks, RowExclusiveLock);
	EsTick     tick = round->state;

	if (ticks->rd_rel->relfilenode == round->file)
	{
		if (tick.generation != es_store_generation())
			(void) es_tick_newest(&tick);
		tick.notified = round->notified;
		es_tick_write(&tick);
	}
	table_close(ticks, NoLock);
	end(before, false);
	round->remembered = round->notified;
}

/* Goes on from the table at the next tick. */
void
es_round_forget(EsRound *round)
{
	memset(&round->state, 0, sizeof(EsTick));
	MemoryContextReset(round->context);
}

/* A prepared transaction may end in a session that wakes nobody. */
bool
es_round_is_held_by_prepared(const EsRound *round)
{
	for (int i = 0; i < round->state.nholders; i++)
	{
		if (es_holder_pid(&round->state.holders[i]) == 0)
			return true;
	}
	return false;
}
