/*
 * shared.c
 *		Shared memory: a slot for each database that has a store.
 *
 * Through its slot an appender wakes the publisher at its end, a waiter learns
 * that the horizon has moved, and the views see what is counted.  No slot is
 * needed for a guarantee: a store without one has no publisher, and es_publish()
 * serves it.  What P2 needs is counted for the whole server.
 *
 * Preloaded, the memory is asked for at the server's start.  Not preloaded, it is
 * made by whoever comes first, small enough for the room that PostgreSQL leaves
 * (O4).  It lives as long as the server's other shared memory, so its number also
 * tells one life of the server from the next: the names of transactions in the
 * lock manager begin anew after a crash too, when the postmaster goes on and its
 * start time stays.
 *
 * It also outlives an update of the library, where that is not preloaded.  A library
 * that knows another layout raises an error and attaches to nothing: two memories would
 * count for P2 what only one may count.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/shmem.h"
#include "utils/inval.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "compat.h"
#include "shared.h"

/*
 * To be raised whenever EsShared or EsSlot changes: a library of one layout refuses the
 * memory of another.
 */
#define ES_LAYOUT 1

#define ES_SLOTS_PRELOADED 256
#define ES_SLOTS_LATE      16

#define ES_TRANCHE "pg_eventstore"

static EsShared *shared = NULL;
static EsSlot   *mine = NULL; /* of this database */

/* What the running transaction has done. */
static struct
{
	bool wake;
	bool ending; /* its commit has begun */
	bool lazy;   /* it is counted as one that does not wait for the disk */
	bool counts; /* any of these */
	int  appends;
	int  events;
	int  conflicts;
	int  repeats;
} pending;

/* Publishers that it keeps away, and such that it asks for, until its end. */
#define ES_ASKED_MAX 4
#define ES_HOLD_MS   5000
static EsSlot *held[ES_ASKED_MAX];
static int     nheld = 0;
static Oid     asked[ES_ASKED_MAX];
static int     nasked = 0;

static shmem_request_hook_type previous_request = NULL;
static shmem_startup_hook_type previous_startup = NULL;

static Size
shared_size(int nslots)
{
	return offsetof(EsShared, slots) + nslots * sizeof(EsSlot);
}

/* Once, when the memory is made: who waits may still look at a slot that was freed. */
static void
init_slot(EsSlot *slot)
{
	pg_atomic_init_u32(&slot->dirty, 0);
	pg_atomic_init_u64(&slot->tick_at, 0);
	pg_atomic_init_u64(&slot->ticks, 0);
	pg_atomic_init_u64(&slot->notifications, 0);
	pg_atomic_init_u64(&slot->skipped, 0);
	pg_atomic_init_u64(&slot->notified, 0);
	pg_atomic_init_u64(&slot->appends, 0);
	pg_atomic_init_u64(&slot->events, 0);
	pg_atomic_init_u64(&slot->conflicts, 0);
	pg_atomic_init_u64(&slot->repeats, 0);
	ConditionVariableInit(&slot->published);
	ConditionVariableInit(&slot->changed);
}

/* Gives a free slot to a database; the caller holds the lock. */
static void
assign_slot(EsSlot *slot, Oid database)
{
	slot->database = database;
	slot->pid = 0;
	slot->publisher = NULL;
	slot->state = ES_WORKER_WANTED;
	memset(&slot->holder, 0, sizeof(EsHolder));
	slot->held = 0;
	slot->has_store = false;
	slot->queue_full = false;
	slot->started_at = slot->error_at = 0;
	slot->turn_at = slot->retry_at = 0;
	slot->error[0] = '\0';
	pg_atomic_write_u32(&slot->dirty, 0);
	pg_atomic_write_u64(&slot->tick_at, 0);
	pg_atomic_write_u64(&slot->ticks, 0);
	pg_atomic_write_u64(&slot->notifications, 0);
	pg_atomic_write_u64(&slot->skipped, 0);
	pg_atomic_write_u64(&slot->notified, 0);
	pg_atomic_write_u64(&slot->appends, 0);
	pg_atomic_write_u64(&slot->events, 0);
	pg_atomic_write_u64(&slot->conflicts, 0);
	pg_atomic_write_u64(&slot->repeats, 0);
}

static LWLock *
make_lock(bool preloaded, EsShared *s)
{
	LWLock *lock;

	if (preloaded)
		return &GetNamedLWLockTranche(ES_TRANCHE)->lock;
	lock = (LWLock *) ((char *) s + MAXALIGN(shared_size(ES_SLOTS_LATE)));
	LWLockInitialize(lock, LWLockNewTrancheId());
	return lock;
}

static void
init_shared(EsShared *s, bool preloading)
{
	int nslots = preloading ? ES_SLOTS_PRELOADED : ES_SLOTS_LATE;

	memset(s, 0, shared_size(nslots));
	s->layout = ES_LAYOUT;
	if (!pg_strong_random(&s->life, sizeof(s->life)))
		s->life = GetCurrentTimestamp();
	s->preloaded = preloading;
	s->nslots = nslots;
	s->lock = make_lock(preloading, s);
	pg_atomic_init_u64(&s->lazy_begun, 0);
	pg_atomic_init_u64(&s->lazy_ended, 0);
	/* a restart may have brought prepared transactions back: to be looked up */
	pg_atomic_init_u64(&s->barrier, ES_BARRIER_PREPARED);
	for (int i = 0; i < nslots; i++)
		init_slot(&s->slots[i]);
}

/* The memory that stands is not of this library's layout. */
pg_noreturn static void
raise_other_library(const char *detail)
{
	LWLockRelease(AddinShmemInitLock);
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("pg_eventstore's shared memory was made by another version of the library"),
			 errdetail_internal("%s.", detail), errhint("Restart the server.")));
}

/*
 * Finds the memory, or has room made for it; the caller holds AddinShmemInitLock.
 * ShmemInitStruct() refuses another size than the one that stands by an error without a
 * code of its own.  It has released its lock then, and changed nothing.
 */
static EsShared *
find_shared(Size size, bool *found)
{
	MemoryContext context = CurrentMemoryContext;
	EsShared *volatile s = NULL;

	PG_TRY();
	{
		s = ShmemInitStruct("pg_eventstore", size, found);
	}
	PG_CATCH();
	{
		ErrorData *error;

		if (geterrcode() != ERRCODE_INTERNAL_ERROR)
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		/* the error has begun the count of held interrupts anew, and our lock is in it */
		HOLD_INTERRUPTS();
		raise_other_library(error->message);
	}
	PG_END_TRY();
	return s;
}

/* Attaches to the memory, or makes it. */
static void
attach(bool preloading)
{
	EsShared *s;
	bool      found;
	Size      size = MAXALIGN(shared_size(ES_SLOTS_LATE)) + sizeof(LWLock);

	if (preloading)
		size = shared_size(ES_SLOTS_PRELOADED);
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	s = find_shared(size, &found);
	if (!found)
		init_shared(s, preloading);
	else if (s->layout != ES_LAYOUT)
		raise_other_library(psprintf("The memory has layout %lld, the library knows layout %d",
									 (long long) s->layout, ES_LAYOUT));
	LWLockRelease(AddinShmemInitLock);
	shared = s;
}

static void
request(void)
{
	if (previous_request != NULL)
		previous_request();
	RequestAddinShmemSpace(shared_size(ES_SLOTS_PRELOADED));
	RequestNamedLWLockTranche(ES_TRANCHE, 1);
}

static void
startup(void)
{
	if (previous_startup != NULL)
		previous_startup();
	attach(true);
}

/* The shared memory. */
EsShared *
es_shared(void)
{
	if (shared == NULL)
	{
		attach(false);
		if (!shared->preloaded)
			LWLockRegisterTranche(shared->lock->tranche, ES_TRANCHE);
	}
	return shared;
}

/* The slot of a database, or NULL; the caller holds the lock. */
static EsSlot *
find_slot(Oid database)
{
	EsShared *s = es_shared();

	for (int i = 0; i < s->nslots; i++)
	{
		if (s->slots[i].database == database)
			return &s->slots[i];
	}
	return NULL;
}

/* Finds the slot of a database, or gives it one that is free; NULL where none is. */
static EsSlot *
find_or_assign(Oid database)
{
	EsShared *s = es_shared();
	EsSlot   *slot;

	LWLockAcquire(s->lock, LW_EXCLUSIVE);
	slot = find_slot(database);
	if (slot == NULL && (slot = find_slot(InvalidOid)) != NULL)
		assign_slot(slot, database);
	LWLockRelease(s->lock);
	return slot;
}

/*
 * Gives back the slots of databases that have been dropped; true if there are any.  Where
 * the library is preloaded the launcher does so.
 */
static bool
free_dropped(void)
{
	EsShared *s = es_shared();
	bool      freed = false;

	if (s->preloaded || !IsTransactionState())
		return false;
	AcceptInvalidationMessages();
	for (int i = 0; i < s->nslots; i++)
	{
		EsSlot *slot = &s->slots[i];
		Oid     database = slot->database;

		/* without the lock: a session that reads a catalog may wait */
		if (!OidIsValid(database) || SearchSysCacheExists1(DATABASEOID, ObjectIdGetDatum(database)))
			continue;
		LWLockAcquire(s->lock, LW_EXCLUSIVE);
		if (slot->database == database && slot->pid == 0 && slot->held == 0)
		{
			es_shared_free(slot);
			freed = true;
		}
		LWLockRelease(s->lock);
	}
	return freed;
}

/* The slot of a database, made where there is none; NULL where no slot is free. */
EsSlot *
es_shared_slot(Oid database)
{
	EsSlot *slot = find_or_assign(database);

	if (slot == NULL && free_dropped())
		slot = find_or_assign(database);
	return slot;
}

/* The slot of this database, or NULL where all are taken. */
EsSlot *
es_shared_mine(void)
{
	if (mine == NULL || mine->database != MyDatabaseId)
		mine = es_shared_slot(MyDatabaseId);
	return mine;
}

/* The same without looking: may be called where nothing may fail. */
EsSlot *
es_shared_mine_if_known(void)
{
	return mine;
}

/*
 * Does a publisher serve this slot, or will one come by itself?  Preloaded, one that is
 * not there is on its way, or rests, or waits for room.
 */
bool
es_shared_publishes(EsSlot *slot)
{
	EsShared *s = es_shared();
	bool      publishes;

	if (slot == NULL)
		return false;
	LWLockAcquire(s->lock, LW_SHARED);
	publishes =
		slot->pid != 0 ||
		(s->preloaded && (slot->state != ES_WORKER_NONE || pg_atomic_read_u32(&slot->dirty) != 0));
	LWLockRelease(s->lock);
	return publishes;
}

/* Gives a slot back; the caller holds the lock. */
void
es_shared_free(EsSlot *slot)
{
	slot->database = InvalidOid;
}

/* Notes an error for the views, and tells whether it is another one than before. */
bool
es_shared_note_error(EsSlot *slot, const char *message)
{
	bool is_new;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	is_new = strncmp(slot->error, message, ES_ERROR_LENGTH - 1) != 0;
	strlcpy(slot->error, message, ES_ERROR_LENGTH);
	slot->error_at = GetCurrentTimestamp();
	LWLockRelease(shared->lock);
	return is_new;
}

static void
set_latch_of(PGPROC *proc)
{
	if (proc != NULL)
		SetLatch(&proc->procLatch);
}

/* May be called where nothing may fail. */
void
es_shared_wake_launcher(void)
{
	if (shared != NULL)
		set_latch_of(shared->launcher);
}

/*
 * Says that there may be something to publish.  Only the first after the
 * publisher has begun its last tick sets a latch; may be called where nothing may
 * fail.
 */
void
es_shared_wake(EsSlot *slot)
{
	PGPROC *publisher;

	if (pg_atomic_exchange_u32(&slot->dirty, 1) != 0)
		return;
	publisher = slot->publisher;
	if (publisher != NULL)
		set_latch_of(publisher);
	else
		es_shared_wake_launcher();
}

/* Counts a call for the statistics. */
void
es_shared_count(EsCount what, int nevents)
{
	(void) es_shared_mine();
	pending.counts = true;
	if (what == ES_COUNT_CONFLICT)
		pending.conflicts++;
	else if (what == ES_COUNT_REPEATED)
		pending.repeats++;
	else
	{
		pending.appends++;
		pending.events += nevents;
	}
}

/*
 * Tells the publisher, before a commit that does not wait for the disk, that WAL up
 * to here is not enough for a tick (P2).  An abort counts as well; it does no harm.
 */
static void
count_lazy(void)
{
	if (synchronous_commit != SYNCHRONOUS_COMMIT_OFF || pending.lazy)
		return;
	(void) pg_atomic_fetch_add_u64(&es_shared()->lazy_begun, 1);
	pending.lazy = true;
}

/* Wakes the publisher at the transaction's end, however it ends. */
void
es_shared_wake_at_end(void)
{
	(void) es_shared_mine();
	pending.wake = true;
	/* somebody's callback at the commit appends */
	if (pending.ending)
		count_lazy();
}

static void
add_up(bool committed)
{
	if (pending.conflicts > 0)
		pg_atomic_fetch_add_u64(&mine->conflicts, pending.conflicts);
	if (pending.repeats > 0)
		pg_atomic_fetch_add_u64(&mine->repeats, pending.repeats);
	if (committed && pending.appends > 0)
	{
		pg_atomic_fetch_add_u64(&mine->appends, pending.appends);
		pg_atomic_fetch_add_u64(&mine->events, pending.events);
	}
}

/* The slot of a database, or NULL where nobody has asked for one. */
EsSlot *
es_shared_known(Oid database)
{
	EsShared *s = es_shared();
	EsSlot   *slot;

	LWLockAcquire(s->lock, LW_SHARED);
	slot = find_slot(database);
	LWLockRelease(s->lock);
	return slot;
}

/* Notes a database whose publisher is asked for when this transaction ends. */
void
es_shared_ask(Oid database)
{
	if (OidIsValid(database) && nasked < ES_ASKED_MAX)
		asked[nasked++] = database;
}

/*
 * Keeps a slot's publisher away until this transaction ends, and waits until it is
 * gone, as long as PostgreSQL itself waits for sessions that are in the way.
 */
void
es_shared_hold(EsSlot *slot)
{
	int64 until = es_clock_in_ms(ES_HOLD_MS);

	if (slot == NULL || nheld == ES_ASKED_MAX)
		return;
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	slot->held++;
	slot->state = ES_WORKER_HELD;
	held[nheld++] = slot;
	/* its pid is its own as long as we have the lock */
	if (slot->pid != 0)
		(void) kill(slot->pid, SIGTERM);
	LWLockRelease(shared->lock);
	ConditionVariablePrepareToSleep(&slot->changed);
	while (slot->pid != 0 && es_clock_left(until) > 0)
		(void) ConditionVariableTimedSleep(&slot->changed, 100, PG_WAIT_EXTENSION);
	ConditionVariableCancelSleep();
}

static void
release_held(void)
{
	for (int i = 0; i < nheld; i++)
	{
		LWLockAcquire(shared->lock, LW_EXCLUSIVE);
		if (--held[i]->held == 0)
			held[i]->state = shared->preloaded ? ES_WORKER_WANTED : ES_WORKER_NONE;
		LWLockRelease(shared->lock);
		es_shared_wake(held[i]);
		/* who has appended meanwhile has woken a launcher that had to wait for us */
		es_shared_wake_launcher();
	}
	for (int i = 0; i < nasked; i++)
	{
		EsSlot *slot = es_shared_slot(asked[i]);

		if (slot != NULL)
			es_shared_wake(slot);
	}
	nheld = nasked = 0;
}

/*
 * After the transaction has left the list of running ones, and before it gives
 * its locks back: what it held, a tick does not count any more.
 */
static void
at_end(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_PRE_COMMIT)
	{
		pending.ending = true;
		if (pending.wake)
			count_lazy();
	}
	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE)
		return;
	if (pending.lazy)
		(void) pg_atomic_fetch_add_u64(&shared->lazy_ended, 1);
	/* the slot may have been given to another database meanwhile */
	if ((pending.wake || pending.counts) && es_shared_mine() != NULL)
	{
		if (pending.counts)
			add_up(event != XACT_EVENT_ABORT);
		if (pending.wake)
			es_shared_wake(mine);
	}
	memset(&pending, 0, sizeof(pending));
	release_held();
}

/* Called once, from _PG_init. */
void
es_shared_init(void)
{
	RegisterXactCallback(at_end, NULL);
	if (!process_shared_preload_libraries_in_progress)
		return;
	previous_request = shmem_request_hook;
	shmem_request_hook = request;
	previous_startup = shmem_startup_hook;
	shmem_startup_hook = startup;
}
