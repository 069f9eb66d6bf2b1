/*
 * publisher.c
 *		The publisher: the background worker that publishes one database.
 *
 *	   woken ---> tick (own transaction) ---> notify (own transactions) ---> sleep
 *	     ^                  |                          |                       |
 *	     |                error                 queue full: later              |
 *	     |                  v                                                  |
 *	     |               back off <---------------- error                      |
 *	     +---------------------------------------------------------------------+
 *
 * Up to where listeners were told is written with the next tick, or, where there is
 * none soon, before it sleeps.
 *
 * It sleeps on its latch, which every transaction that has taken the marker sets at
 * its end.  A prepared transaction may end in a session that does not know us, so
 * while one holds the horizon it looks every second.
 *
 * It runs as the store's owner, in C alone: no user's code (O6).  An error is logged
 * once with its cause, and the publisher goes on after a while.  Exit code 0 means
 * that there is nothing to do here until somebody asks again; a crash of the server
 * starts the launcher anew, which starts all publishers anew.
 *
 * Keeps P1 to P5 with publish.c.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "errors.h"
#include "notify.h"
#include "owner.h"
#include "publish.h"
#include "publisher.h"
#include "shared.h"
#include "store.h"

#define ES_POLL_IDLE     60000 /* ms; for whatever has not woken us */
#define ES_POLL_PREPARED 1000
#define ES_BACKOFF_FIRST 1000
#define ES_BACKOFF_LAST  60000
#define ES_NOTIFY_RETRY  1000
#define ES_NOTIFY_EVENTS 1000 /* that one transaction carries, so that its memory is bounded */
#define ES_TURN          200  /* ms at least, where stores take turns */
#define ES_LINGER        2000 /* us; so long it looks for more to do before it sleeps */
#define ES_LINGER_NAP    500

typedef struct Publisher
{
	EsSlot       *slot;
	char         *database;
	MemoryContext context;    /* of what outlives a transaction */
	EsTick        state;      /* what the next tick goes on from; zeros: from the table */
	int64         notified;   /* up to where listeners were told */
	int64         remembered; /* of that, what is written */
	Oid           file;       /* of es.ticks, that these two are of */
	TimestampTz   notify_at;  /* not before */
	int           notify_max; /* events that one transaction carries */
	int           backoff;
	TimestampTz   started_at;
} Publisher;

/* Leaves the slot to the next one, who is asked for unless this is the planned end. */
static void
leave_slot(int code, Datum arg)
{
	EsShared *shared = es_shared();
	EsSlot   *slot = (EsSlot *) DatumGetPointer(arg);

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	if (slot->pid == MyProcPid)
	{
		slot->pid = 0;
		slot->publisher = NULL;
		slot->state = slot->held > 0 ? ES_WORKER_HELD
					  : code == 0    ? ES_WORKER_NONE
									 : ES_WORKER_WANTED;
	}
	LWLockRelease(shared->lock);
	ConditionVariableBroadcast(&slot->changed);
	es_shared_wake_launcher();
}

/*
 * Takes the slot, if there is a store, no other publisher has it and nobody keeps
 * us away.
 */
static bool
take_slot(EsSlot *slot, bool has_store)
{
	EsShared *shared = es_shared();
	bool      taken;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	taken = has_store && slot->pid == 0 && slot->held == 0;
	slot->has_store = has_store;
	if (slot->state == ES_WORKER_STARTING)
		slot->state = ES_WORKER_NONE;
	if (taken)
	{
		slot->pid = MyProcPid;
		slot->publisher = MyProc;
		slot->state = ES_WORKER_BUSY;
		slot->started_at = GetCurrentTimestamp();
	}
	LWLockRelease(shared->lock);
	if (taken)
		before_shmem_exit(leave_slot, PointerGetDatum(slot));
	return taken;
}

static void
set_state(Publisher *p, EsWorkerState state)
{
	p->slot->state = state;
}

/* Settings of the database or of the role must not change what is promised. */
static void
pin_settings(void)
{
	static const char *const pinned[][2] = {
		{"synchronous_commit", "on"},
		{"default_transaction_isolation", "read committed"},
		{"default_transaction_read_only", "off"},
		{"default_transaction_deferrable", "off"},
		{"statement_timeout", "0"},
		{"lock_timeout", "0"},
		{"idle_in_transaction_session_timeout", "0"},
		{"search_path", "pg_catalog, pg_temp"},
		{"row_security", "off"},
		{"session_replication_role", "origin"},
		{"timezone", "UTC"},
	};

	for (int i = 0; i < (int) lengthof(pinned); i++)
		SetConfigOption(pinned[i][0], pinned[i][1], PGC_SUSET, PGC_S_OVERRIDE);
	es_compat_pin_settings();
}

static EsIdentity
begin(const EsStore **store, const char *activity)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	pgstat_report_activity(STATE_RUNNING, activity);
	*store = es_store();
	return es_owner_assume((*store)->owner);
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

/* Goes on from the table at the next tick. */
static void
forget_state(Publisher *p)
{
	memset(&p->state, 0, sizeof(EsTick));
	MemoryContextReset(p->context);
}

/* Shows in the slot who holds the horizon. */
static void
show_holder(Publisher *p)
{
	const EsHolder *lowest = NULL;
	EsHolder        nobody = {0};

	for (int i = 0; i < p->state.nholders; i++)
	{
		if (lowest == NULL || p->state.holders[i].floor < lowest->floor)
			lowest = &p->state.holders[i];
	}
	LWLockAcquire(es_shared()->lock, LW_EXCLUSIVE);
	p->slot->holder = lowest == NULL ? nobody : *lowest;
	LWLockRelease(es_shared()->lock);
}

/* Keeps what a tick has found beyond its transaction; its holders are copied already. */
static void
keep_state(Publisher *p, const EsTick *tick)
{
	if (p->state.holders != NULL)
		pfree(p->state.holders);
	p->state = *tick;
	show_holder(p);
}

static EsHolder *
copy_holders(Publisher *p, const EsTick *tick)
{
	Size      size = tick->nholders * sizeof(EsHolder);
	EsHolder *copy;

	if (tick->nholders == 0)
		return NULL;
	copy = MemoryContextAlloc(p->context, size);
	memcpy(copy, tick->holders, size);
	return copy;
}

static void
announce(Publisher *p)
{
	pg_atomic_write_u64(&p->slot->tick_at, p->state.recorded_at);
	pg_atomic_fetch_add_u64(&p->slot->ticks, 1);
	ConditionVariableBroadcast(&p->slot->published);
}

static void
take_tick(Publisher *p)
{
	const EsStore *store;
	EsIdentity     before = begin(&store, "pg_eventstore: publishing");
	EsTick         tick = p->state;
	bool           written;

	tick.notified = p->notified;
	written = es_publish_tick(&tick, false);
	tick.holders = copy_holders(p, &tick);
	end(before, !(written && es_publish_is_flushed(&tick)));
	if (written)
		p->remembered = tick.notified;
	/* it has gone on from the table, which knows more; or from that of another store */
	if (tick.notified > p->notified || tick.file != p->file)
		p->notified = p->remembered = tick.notified;
	p->file = tick.file;
	keep_state(p, &tick);
	if (written)
		announce(p);
}

/* Notes an error for the views, and tells whether it is another one than before. */
static bool
note_error(Publisher *p, const ErrorData *error)
{
	EsShared *shared = es_shared();
	bool      is_new;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	is_new = p->backoff == 0 || strncmp(p->slot->error, error->message, ES_ERROR_LENGTH - 1) != 0;
	strlcpy(p->slot->error, error->message, ES_ERROR_LENGTH);
	p->slot->error_at = GetCurrentTimestamp();
	LWLockRelease(shared->lock);
	return is_new;
}

/* Says in the log, and in the view, that listeners have to wait. */
static void
put_off_notifying(Publisher *p, const ErrorData *error)
{
	if (!p->slot->queue_full)
		ereport(LOG,
				(errmsg("pg_eventstore: notifying is put off in database \"%s\"", p->database),
				 errdetail_internal("%s", error->message),
				 errhint("Publishing goes on. Where the queue is full, a session that listens does "
						 "not read, or is idle in a transaction.")));
	p->slot->queue_full = true;
	/* a small queue may never have room for all of them at once */
	p->notify_max = Max(p->notify_max / 2, 1);
	pg_atomic_fetch_add_u64(&p->slot->skipped, 1);
	p->notify_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), ES_NOTIFY_RETRY);
}

/*
 * Is the store still the one that the last tick was of?  Where somebody has emptied it
 * since, these positions are of other events, which may not be published.
 */
static bool
is_same_store(const Publisher *p, const EsStore **store)
{
	Relation events = es_store_open_events(AccessShareLock, store); /* first, as everywhere */
	Relation ticks = es_store_open_ticks(AccessShareLock, store);
	bool     same = ticks->rd_rel->relfilenode == p->file;

	table_close(ticks, NoLock);
	table_close(events, NoLock);
	return same;
}

static void
notify_once(Publisher *p)
{
	const EsStore *store;
	EsIdentity     before = begin(&store, "pg_eventstore: notifying");
	int            sent;
	int64          upto;

	if (!is_same_store(p, &store))
	{
		end(before, false);
		return;
	}
	/* a full queue gives room back to who asks how full it is, not to who adds to it */
	if (p->notify_max < ES_NOTIFY_EVENTS)
		(void) DirectFunctionCall1(pg_notification_queue_usage, (Datum) 0);
	upto = es_notify_range(store, p->notified, p->state.position, p->notify_max, &sent);
	end(before, false);
	/* what nobody was told of need not be written */
	if (sent == 0 && p->remembered == p->notified)
		p->remembered = upto;
	p->notified = upto;
	if (upto == p->state.position)
		p->notify_max = ES_NOTIFY_EVENTS;
	pg_atomic_write_u64(&p->slot->notified, upto);
	pg_atomic_fetch_add_u64(&p->slot->notifications, sent);
	if (p->slot->queue_full)
		ereport(LOG,
				(errmsg("pg_eventstore: notifying is resumed in database \"%s\"", p->database)));
	p->slot->queue_full = false;
}

/*
 * Whatever keeps us from notifying, a full queue or a channel that somebody has
 * broken, keeps nobody from publishing.
 */
static void
notify_safely(Publisher *p)
{
	MemoryContext context = CurrentMemoryContext;

	PG_TRY();
	{
		notify_once(p);
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
		(void) note_error(p, error);
		put_off_notifying(p, error);
		FreeErrorData(error);
	}
	PG_END_TRY();
}

static bool
has_to_notify(const Publisher *p)
{
	return p->notified < p->state.position && GetCurrentTimestamp() >= p->notify_at;
}

/*
 * Recovers from an error: logs it, once for a row of equal ones, and backs off.  A
 * database without a store that is ready needs no publisher: es_init() and the end
 * of a restore ask for one.
 */
static void
recover(Publisher *p, MemoryContext context)
{
	ErrorData *error;

	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	if (error->sqlerrcode == ERRCODE_ES_NO_STORE)
	{
		(void) note_error(p, error);
		FlushErrorState();
		AbortCurrentTransaction();
		proc_exit(0);
	}
	if (note_error(p, error))
		EmitErrorReport();
	FlushErrorState();
	AbortCurrentTransaction();
	MemoryContextSwitchTo(context);
	FreeErrorData(error);
	forget_state(p);
	p->backoff = p->backoff == 0 ? ES_BACKOFF_FIRST : Min(p->backoff * 2, ES_BACKOFF_LAST);
}

static void
publish(Publisher *p)
{
	(void) pg_atomic_exchange_u32(&p->slot->dirty, 0);
	take_tick(p);
	if (has_to_notify(p))
		notify_safely(p);
}

/*
 * Writes the newest tick once more, with the position that listeners were told of; not
 * into a store that somebody has emptied, which is known only with es.ticks locked.
 */
static void
remember_notified(Publisher *p)
{
	const EsStore *store;
	EsIdentity     before = begin(&store, "pg_eventstore: publishing");
	Relation       ticks = es_store_open_ticks(RowExclusiveLock, &store);
	EsTick         tick = p->state;

	if (ticks->rd_rel->relfilenode == p->file)
	{
		if (tick.generation != es_store_generation())
			(void) es_tick_newest(store, &tick);
		tick.notified = p->notified;
		es_tick_write(store, &tick);
	}
	table_close(ticks, NoLock);
	end(before, false);
	p->remembered = p->notified;
}

/* Does a piece of work, and recovers from its errors. */
static void
work(Publisher *p, void (*piece)(Publisher *))
{
	MemoryContext context = CurrentMemoryContext;

	PG_TRY();
	{
		set_state(p, ES_WORKER_BUSY);
		piece(p);
		p->backoff = 0;
		set_state(p, ES_WORKER_IDLE);
	}
	PG_CATCH();
	{
		recover(p, context);
		set_state(p, ES_WORKER_BACKOFF);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	pgstat_report_activity(STATE_IDLE, NULL);
}

static bool
is_held_by_prepared(const Publisher *p)
{
	for (int i = 0; i < p->state.nholders; i++)
	{
		if (es_marker_pid(&p->state.holders[i]) == 0)
			return true;
	}
	return false;
}

/* How long to sleep, in ms, if nobody wakes us. */
static long
pause_length(const Publisher *p)
{
	if (p->backoff > 0)
		return p->backoff;
	if (p->notified < p->state.position)
		return p->slot->queue_full ? ES_NOTIFY_RETRY : 0;
	return is_held_by_prepared(p) ? ES_POLL_PREPARED : ES_POLL_IDLE;
}

static void
reload_settings(void)
{
	if (!ConfigReloadPending)
		return;
	ConfigReloadPending = false;
	ProcessConfigFile(PGC_SIGHUP);
}

/* How a worker of ours sleeps: until it is woken, at most so many ms. */
void
es_publisher_sleep(long ms)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, ms,
					 PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	reload_settings();
}

/*
 * Where there are more stores than workers, whoever has had his turn makes room,
 * busy or not; the launcher comes back to him.  What he has told nobody tells again.
 */
static void
yield_turn(Publisher *p)
{
	if (!es_shared()->starved ||
		!TimestampDifferenceExceeds(p->started_at, GetCurrentTimestamp(), ES_TURN))
		return;
	if (p->backoff == 0 && p->remembered < p->notified)
		work(p, remember_notified);
	/* nobody would ask for us because of what we would have tried again */
	if (pause_length(p) < ES_POLL_IDLE || p->backoff > 0)
		(void) pg_atomic_exchange_u32(&p->slot->dirty, 1);
	proc_exit(0);
}

/*
 * Where somebody has appended somebody soon will again, and to wake a sleeper costs
 * him a signal, which on a virtual machine may be a tenth of his append.  So it
 * stays up for a while, in naps that no latch interrupts: what is appended during one
 * is published in one tick.  On an idle server it costs nothing, and it puts nothing
 * off that comes to one.  Answers whether nothing has come.
 */
static bool
linger(const Publisher *p)
{
	for (int us = 0; us < ES_LINGER; us += ES_LINGER_NAP)
	{
		if (pg_atomic_read_u32(&p->slot->dirty) != 0 || InterruptPending)
			return false;
		pg_usleep(ES_LINGER_NAP);
	}
	return true;
}

static void
pause_for_work(Publisher *p)
{
	TimestampTz now;
	TimestampTz until;
	TimestampTz deaf;

	if (pause_length(p) > 0 && p->backoff == 0 && linger(p) && p->remembered < p->notified)
		work(p, remember_notified);
	now = GetCurrentTimestamp();
	until = TimestampTzPlusMilliseconds(now, pause_length(p));
	deaf = TimestampTzPlusMilliseconds(now, Min(p->backoff, ES_BACKOFF_FIRST));

	for (;; now = GetCurrentTimestamp())
	{
		long left = TimestampDifferenceMilliseconds(now, until);

		yield_turn(p);
		if (left <= 0 || (now >= deaf && pg_atomic_read_u32(&p->slot->dirty) != 0))
			return;
		if (now < deaf)
			left = Min(left, TimestampDifferenceMilliseconds(now, deaf) + 1);
		es_publisher_sleep(es_shared()->starved ? Min(left, ES_TURN) : left);
	}
}

static void
connect_to(Oid database)
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(database, InvalidOid, 0);
	pin_settings();
}

/* Is there a store at all?  Most databases have none.  Learns the database's name. */
static bool
has_store(char **database)
{
	bool exists;

	StartTransactionCommand();
	exists = es_store_exists();
	*database = MemoryContextStrdup(TopMemoryContext, get_database_name(MyDatabaseId));
	CommitTransactionCommand();
	return exists;
}

/* The worker's main function; its argument is the database. */
void
es_publisher_main(Datum database)
{
	Publisher *p;
	EsSlot    *slot;
	char      *name;

	connect_to(DatumGetObjectId(database));
	slot = es_shared_mine();
	if (RecoveryInProgress() || slot == NULL || !take_slot(slot, has_store(&name)))
		proc_exit(0);
	p = MemoryContextAllocZero(TopMemoryContext, sizeof(Publisher));
	p->slot = slot;
	p->database = name;
	p->started_at = GetCurrentTimestamp();
	p->notify_max = ES_NOTIFY_EVENTS;
	p->context =
		AllocSetContextCreate(TopMemoryContext, "pg_eventstore publisher", ALLOCSET_SMALL_SIZES);
	for (;;)
	{
		/* under load it never sleeps: it must end when it is told, and know of standbys */
		CHECK_FOR_INTERRUPTS();
		reload_settings();
		work(p, publish);
		pause_for_work(p);
	}
}

/* Asks the postmaster for a publisher; false where it has no room for one. */
bool
es_publisher_register(Oid database, BackgroundWorkerHandle **handle)
{
	BackgroundWorker worker;

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_notify_pid = MyProcPid;
	worker.bgw_main_arg = ObjectIdGetDatum(database);
	strlcpy(worker.bgw_library_name, "pg_eventstore", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "es_publisher_main", BGW_MAXLEN);
	snprintf(worker.bgw_name, BGW_MAXLEN, "pg_eventstore publisher for database %u", database);
	strlcpy(worker.bgw_type, "pg_eventstore publisher", BGW_MAXLEN);
	return RegisterDynamicBackgroundWorker(&worker, handle);
}
