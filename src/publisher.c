/*
 * publisher.c
 *		The publisher: the background worker that publishes one database.
 *
 *	   woken ---> round (round.c) ---> linger ---> sleep
 *	     ^            | error                        |
 *	     |            v                              |
 *	     +------- back off --------------------------+
 *
 * It sleeps on its latch, which every transaction that has taken the marker sets at
 * its end.  A prepared transaction may end in a session that does not know us, so
 * while one holds the horizon it looks every second.
 *
 * It runs no user's code (O6).  An error is logged once with its cause, and the
 * publisher goes on after a while.  Exit code 0 means that there is nothing to do here
 * until somebody asks again; a crash of the server starts the launcher anew, which
 * starts all publishers anew.
 *
 * Keeps P1 to P5 with round.c and publish.c.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "compat.h"
#include "errors.h"
#include "publisher.h"
#include "round.h"
#include "shared.h"
#include "store.h"

#define ES_POLL_IDLE     60000 /* ms; for whatever has not woken us */
#define ES_POLL_PREPARED 1000
#define ES_BACKOFF_FIRST 1000
#define ES_BACKOFF_LAST  60000
#define ES_TURN          200  /* ms at least, where stores take turns */
#define ES_LINGER        2000 /* us; so long it looks for more to do before it sleeps */
#define ES_LINGER_NAP    500

typedef struct Publisher
{
	EsRound round;
	int     backoff;  /* ms; 0: the last piece of work has succeeded */
	int64   turn_end; /* the moment when it has had its turn */
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
		if (slot->held > 0)
			slot->state = ES_WORKER_HELD;
		else if (code != 0)
			slot->state = ES_WORKER_WANTED;
		else if (slot->state != ES_WORKER_RESTS)
			slot->state = ES_WORKER_NONE;
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
		slot->turn_at = es_clock_now();
	}
	LWLockRelease(shared->lock);
	if (taken)
		before_shmem_exit(leave_slot, PointerGetDatum(slot));
	return taken;
}

static void
set_state(Publisher *p, EsWorkerState state)
{
	p->round.slot->state = state;
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
		(void) es_shared_note_error(p->round.slot, error->message);
		FlushErrorState();
		AbortCurrentTransaction();
		proc_exit(0);
	}
	if (es_shared_note_error(p->round.slot, error->message) || p->backoff == 0)
		EmitErrorReport();
	FlushErrorState();
	AbortCurrentTransaction();
	MemoryContextSwitchTo(context);
	FreeErrorData(error);
	es_round_forget(&p->round);
	p->backoff = p->backoff == 0 ? ES_BACKOFF_FIRST : Min(p->backoff * 2, ES_BACKOFF_LAST);
}

/* Does a piece of work, and recovers from its errors. */
static void
work(Publisher *p, void (*piece)(EsRound *))
{
	MemoryContext context = CurrentMemoryContext;

	PG_TRY();
	{
		set_state(p, ES_WORKER_BUSY);
		piece(&p->round);
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

/* How long to sleep, in ms, if nobody wakes us. */
static long
pause_length(const Publisher *p)
{
	if (p->backoff > 0)
		return p->backoff;
	if (p->round.notified < p->round.state.position)
		return es_clock_left(p->round.notify_at);
	return es_round_is_held_by_prepared(&p->round) ? ES_POLL_PREPARED : ES_POLL_IDLE;
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
	if (!es_shared()->starved || es_clock_left(p->turn_end) > 0)
		return;
	if (p->backoff == 0 && p->round.remembered < p->round.notified)
		work(p, es_round_remember_notified);
	/* nobody would ask for us because of what we would have tried again */
	if (pause_length(p) < ES_POLL_IDLE || p->backoff > 0)
		(void) pg_atomic_exchange_u32(&p->round.slot->dirty, 1);
	set_state(p, ES_WORKER_RESTS);
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
		if (pg_atomic_read_u32(&p->round.slot->dirty) != 0 || InterruptPending)
			return false;
		pg_usleep(ES_LINGER_NAP);
	}
	return true;
}

static void
pause_for_work(Publisher *p)
{
	int64 until;
	int64 deaf;

	if (pause_length(p) > 0 && p->backoff == 0 && linger(p) &&
		p->round.remembered < p->round.notified)
		work(p, es_round_remember_notified);
	until = es_clock_in_ms(pause_length(p));
	deaf = es_clock_in_ms(Min(p->backoff, ES_BACKOFF_FIRST));

	for (;;)
	{
		long left = es_clock_left(until);
		long deaf_left = es_clock_left(deaf);

		yield_turn(p);
		if (left == 0 || (deaf_left == 0 && pg_atomic_read_u32(&p->round.slot->dirty) != 0))
			return;
		if (deaf_left > 0)
			left = Min(left, deaf_left);
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
	p->turn_end = es_clock_in_ms(ES_TURN);
	es_round_begin(&p->round, slot, name);
	for (;;)
	{
		/* under load it never sleeps: it must end when it is told, and know of standbys */
		CHECK_FOR_INTERRUPTS();
		reload_settings();
		work(p, es_round_publish);
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
