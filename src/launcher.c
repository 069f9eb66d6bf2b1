/*
 * launcher.c
 *		The launcher: starts a publisher for each database that has a store; and
 *		es_start_worker, for a server that does not preload the library (O4).
 *
 * The launcher cannot see which databases have a store.  At its start it asks for a
 * publisher in each; one that finds no store ends at once.  Later es_init(), appends
 * and statements about databases ask, through the database's slot: whoever finds
 * something to publish, and nobody there, wakes the launcher.
 *
 * Where the server has no room for another worker, the launcher says so in the
 * slot, and publishers that have nothing to do make room: stores take turns.
 *
 * It starts when recovery has ended, so on a standby at its promotion, and again
 * after a crash.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "clock.h"
#include "compat.h"
#include "launcher.h"
#include "owner.h"
#include "publisher.h"
#include "shared.h"
#include "store.h"

PG_FUNCTION_INFO_V1(es_start_worker);

#define ES_LAUNCH_IDLE   60000 /* ms */
#define ES_LAUNCH_RETRY  1000
#define ES_LAUNCH_FAILED 10000

/* Publishers that were asked for and have not ended, one for each slot at most. */
static BackgroundWorkerHandle **handles;

/* Databases that are still to be looked into. */
static List *unknown = NIL;

static void
leave(int code, Datum arg)
{
	EsShared *shared = es_shared();

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	if (shared->launcher_pid == MyProcPid)
	{
		shared->launcher_pid = 0;
		shared->launcher = NULL;
	}
	LWLockRelease(shared->lock);
}

static void
enter(void)
{
	EsShared *shared = es_shared();

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	shared->launcher_pid = MyProcPid;
	shared->launcher = MyProc;
	LWLockRelease(shared->lock);
	before_shmem_exit(leave, (Datum) 0);
}

/* Can a publisher connect to it? */
static bool
is_open(Form_pg_database database)
{
	return database->datallowconn && database->datconnlimit != -2;
}

/* Lists the databases. */
static void
find_databases(void)
{
	Relation      rel;
	TableScanDesc scan;
	HeapTuple     tuple;

	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	rel = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(rel, 0, NULL);
	while (HeapTupleIsValid(tuple = heap_getnext(scan, ForwardScanDirection)))
	{
		Form_pg_database database = (Form_pg_database) GETSTRUCT(tuple);
		MemoryContext    old = MemoryContextSwitchTo(TopMemoryContext);

		if (is_open(database))
			unknown = lappend_oid(unknown, database->oid);
		MemoryContextSwitchTo(old);
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	CommitTransactionCommand();
}

/* Gives databases that are still unknown a slot, so that each is looked into. */
static void
ask_unknown(void)
{
	while (unknown != NIL && es_shared_slot(llast_oid(unknown)) != NULL)
		unknown = list_delete_last(unknown);
}

/* Is the database still there, and open to us? */
static bool
is_there(Oid oid)
{
	HeapTuple tuple;
	bool      there;

	StartTransactionCommand();
	tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(oid));
	there = HeapTupleIsValid(tuple) && is_open((Form_pg_database) GETSTRUCT(tuple));
	if (HeapTupleIsValid(tuple))
		ReleaseSysCache(tuple);
	CommitTransactionCommand();
	return there;
}

/* Does nothing stand in the way of a publisher that somebody has asked for? */
static bool
is_wanted(const EsSlot *slot)
{
	return OidIsValid(slot->database) && slot->pid == 0 && slot->held == 0 &&
		   (pg_atomic_read_u32((pg_atomic_uint32 *) &slot->dirty) != 0 ||
			slot->state == ES_WORKER_WANTED || slot->state == ES_WORKER_NO_SLOT);
}

/* Is the publisher that was asked for still there? */
static bool
is_running(int i)
{
	pid_t pid;

	return handles[i] != NULL && GetBackgroundWorkerPid(handles[i], &pid) != BGWH_STOPPED;
}

/* Forgets publishers that have ended, and databases in which they found no store. */
static void
reap(void)
{
	EsShared *shared = es_shared();

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < shared->nslots; i++)
	{
		EsSlot *slot = &shared->slots[i];

		if (handles[i] == NULL || is_running(i))
			continue;
		pfree(handles[i]);
		handles[i] = NULL;
		if (slot->state == ES_WORKER_STARTING)
		{
			/* it has not come as far as to say what it found */
			slot->state = ES_WORKER_WANTED;
			slot->retry_at = es_clock_in_ms(ES_LAUNCH_FAILED);
		}
		else if (slot->pid == 0 && slot->held == 0 && !slot->has_store &&
				 pg_atomic_read_u32(&slot->dirty) == 0)
			es_shared_free(slot);
	}
	LWLockRelease(shared->lock);
}

/* The slot that has waited longest for its turn, or -1. */
static int
next_slot(int64 now, int64 *retry_at)
{
	EsShared *shared = es_shared();
	int       next = -1;

	LWLockAcquire(shared->lock, LW_SHARED);
	for (int i = 0; i < shared->nslots; i++)
	{
		EsSlot *slot = &shared->slots[i];

		if (!is_wanted(slot) || is_running(i))
			continue;
		if (slot->retry_at > now)
			*retry_at = Min(*retry_at, slot->retry_at);
		else if (next < 0 || slot->turn_at < shared->slots[next].turn_at)
			next = i;
	}
	LWLockRelease(shared->lock);
	return next;
}

static void
set_slot(EsSlot *slot, EsWorkerState state, int64 turn_at, int64 retry_at)
{
	EsShared *shared = es_shared();

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	if (slot->pid == 0 && slot->held == 0)
		slot->state = state;
	slot->turn_at = turn_at;
	slot->retry_at = retry_at;
	if (state == ES_WORKER_NONE && slot->pid == 0 && slot->held == 0)
		es_shared_free(slot);
	LWLockRelease(shared->lock);
}

/* Lets idle publishers know that others wait for their room. */
static void
set_starved(bool starved)
{
	EsShared *shared = es_shared();

	shared->starved = starved;
	for (int i = 0; starved && i < shared->nslots; i++)
	{
		PGPROC *publisher = shared->slots[i].publisher;

		if (publisher != NULL)
			SetLatch(&publisher->procLatch);
	}
}

/* Says of all whose turn it would be that there is no room. */
static void
note_no_room(int64 now)
{
	EsShared *shared = es_shared();

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < shared->nslots; i++)
	{
		EsSlot *slot = &shared->slots[i];

		if (is_wanted(slot) && !is_running(i) && slot->retry_at <= now)
			slot->state = ES_WORKER_NO_SLOT;
	}
	LWLockRelease(shared->lock);
}

/* Starts a publisher for a slot; false where the server has no room. */
static bool
start_one(int i, int64 now)
{
	EsSlot       *slot = &es_shared()->slots[i];
	int64         last_turn_at = slot->turn_at;
	int64         retry_at = es_clock_in_ms(ES_LAUNCH_RETRY);
	MemoryContext old;
	bool          started;

	if (!is_there(slot->database))
	{
		set_slot(slot, ES_WORKER_NONE, now, retry_at);
		return true;
	}
	/* what comes from now on asks again */
	(void) pg_atomic_exchange_u32(&slot->dirty, 0);
	/* one that ends at once is not asked for again at once */
	set_slot(slot, ES_WORKER_STARTING, now, retry_at);
	old = MemoryContextSwitchTo(TopMemoryContext);
	started = es_publisher_register(slot->database, &handles[i]);
	MemoryContextSwitchTo(old);
	if (!started)
	{
		handles[i] = NULL;
		/* it keeps its turn: whoever makes room, makes it for this one first */
		(void) pg_atomic_exchange_u32(&slot->dirty, 1);
		set_slot(slot, ES_WORKER_NO_SLOT, last_turn_at, now);
	}
	return started;
}

/* Starts what is wanted; answers how long to sleep, in ms. */
static long
start_wanted(void)
{
	int64 now = es_clock_now();
	int64 retry_at = es_clock_in_ms(ES_LAUNCH_IDLE);
	int   next;

	reap();
	ask_unknown();
	while ((next = next_slot(now, &retry_at)) >= 0)
	{
		if (!start_one(next, now))
		{
			note_no_room(now);
			set_starved(true);
			return ES_LAUNCH_RETRY;
		}
	}
	set_starved(false);
	return Max(es_clock_left(retry_at), 1);
}

/* The launcher's main function. */
void
es_launcher_main(Datum arg)
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	if (RecoveryInProgress())
		proc_exit(1); /* restart me: cannot happen, we start when recovery has ended */
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	handles = MemoryContextAllocZero(TopMemoryContext,
									 es_shared()->nslots * sizeof(BackgroundWorkerHandle *));
	enter();
	find_databases();
	for (;;)
		es_publisher_sleep(start_wanted());
}

/* Asks for the launcher, where the library is preloaded; called once, from _PG_init. */
void
es_launcher_init(void)
{
	BackgroundWorker worker;

	if (!process_shared_preload_libraries_in_progress || IsBinaryUpgrade)
		return;
	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = 1;
	strlcpy(worker.bgw_library_name, "pg_eventstore", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "es_launcher_main", BGW_MAXLEN);
	strlcpy(worker.bgw_name, "pg_eventstore launcher", BGW_MAXLEN);
	strlcpy(worker.bgw_type, "pg_eventstore launcher", BGW_MAXLEN);
	RegisterBackgroundWorker(&worker);
}

/* The pid of this database's publisher, or 0. */
static int
publisher_pid(const EsSlot *slot)
{
	EsShared *shared = es_shared();
	int       pid;

	LWLockAcquire(shared->lock, LW_SHARED);
	pid = slot->pid;
	LWLockRelease(shared->lock);
	return pid;
}

/* Waits until the publisher that was asked for has taken its place, or ended. */
static int
await_publisher(EsSlot *slot, BackgroundWorkerHandle *handle)
{
	pid_t pid;
	int   found;

	ConditionVariablePrepareToSleep(&slot->changed);
	while ((found = publisher_pid(slot)) == 0 &&
		   GetBackgroundWorkerPid(handle, &pid) != BGWH_STOPPED)
		(void) ConditionVariableTimedSleep(&slot->changed, 100, PG_WAIT_EXTENSION);
	ConditionVariableCancelSleep();
	return found;
}

/* es_start_worker() starts this database's publisher and returns its pid. */
Datum
es_start_worker(PG_FUNCTION_ARGS)
{
	EsSlot                 *slot;
	BackgroundWorkerHandle *handle;
	int                     pid;

	PreventCommandDuringRecovery("es_start_worker()");
	es_owner_check(es_store()->owner);
	if ((slot = es_shared_mine()) == NULL)
		ereport(ERROR, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
						errmsg("too many databases have an event store"),
						errdetail("There is room for %d.", es_shared()->nslots),
						errhint("Preload the library, which makes more room.")));
	if ((pid = publisher_pid(slot)) == 0)
	{
		if (!es_publisher_register(MyDatabaseId, &handle))
			ereport(ERROR, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
							errmsg("the server has no room for another background worker"),
							errdetail("max_worker_processes is %d.", max_worker_processes),
							errhint("Raise max_worker_processes, or call es_publish() instead.")));
		pid = await_publisher(slot, handle);
	}
	if (pid == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the publisher has ended at once"), errhint("The server's log says why.")));
	PG_RETURN_INT32(pid);
}
