/*
 * waiting.c
 *		What sessions wait for, by name.
 *
 * A lock on a stream is a hash with a salt, which cannot be turned back into a name.  So a
 * session that is about to wait for one says the name itself: in the context of whatever
 * is reported meanwhile (log_lock_waits, a deadlock, lock_timeout, a cancel), and in an entry
 * in shared memory.  A session that need not wait does nothing of this.
 *
 * An entry counts as long as the lock manager says that its process, in that transaction,
 * waits for that lock: so a session that ends in whatever way leaves nothing to clean up.  It is
 * taken back at the end of the wait, or when an error ends the subtransaction, since another
 * wait for a transaction might follow.
 *
 * Preloaded, there is an entry for each backend.  Not preloaded there are a few, which are made
 * by the first that waits, and sessions may meet in one: the last to come is named there, and
 * the others wait without a name.  No append fails because there is no room for names (A7).
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lock.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "storage/spin.h"

#include "compat.h"
#include "shared.h"
#include "waiting.h"

#define ES_WAITING_LATE 16

typedef struct Entries
{
	int            n;
	EsWaitingEntry entries[FLEXIBLE_ARRAY_MEMBER];
} Entries;

static Entries        *shared = NULL;
static EsWaitingEntry *mine = NULL; /* that this session has made, of the wait that it is in */

static shmem_request_hook_type previous_request = NULL;
static shmem_startup_hook_type previous_startup = NULL;

static Size
entries_size(int n)
{
	return offsetof(Entries, entries) + n * sizeof(EsWaitingEntry);
}

/* Attaches to the memory, or makes it. */
static void
attach(int n)
{
	bool found;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	shared = ShmemInitStruct("pg_eventstore waiting", entries_size(n), &found);
	if (!found)
	{
		memset(shared, 0, entries_size(n));
		shared->n = n;
		for (int i = 0; i < n; i++)
			SpinLockInit(&shared->entries[i].mutex);
	}
	LWLockRelease(AddinShmemInitLock);
}

static void
request(void)
{
	if (previous_request != NULL)
		previous_request();
	RequestAddinShmemSpace(entries_size(MaxBackends));
}

static void
startup(void)
{
	if (previous_startup != NULL)
		previous_startup();
	attach(MaxBackends);
}

static void
take_back(void)
{
	if (mine == NULL)
		return;
	SpinLockAcquire(&mine->mutex);
	if (mine->pid == MyProcPid)
		mine->pid = 0;
	SpinLockRelease(&mine->mutex);
	mine = NULL;
}

static void
at_sub_end(SubXactEvent event, SubTransactionId id, SubTransactionId parent, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		take_back();
}

/* Asks for the shared memory where the library is preloaded; called once, from _PG_init. */
void
es_waiting_init(void)
{
	RegisterSubXactCallback(at_sub_end, NULL);
	if (!process_shared_preload_libraries_in_progress)
		return;
	previous_request = shmem_request_hook;
	shmem_request_hook = request;
	previous_startup = shmem_startup_hook;
	shmem_startup_hook = startup;
}

/* The entries; NULL where there is no room for them. */
static Entries *
find_entries(void)
{
	static bool   tried = false;
	MemoryContext context = CurrentMemoryContext;

	if (shared != NULL || tried)
		return shared;
	tried = true;
	(void) es_shared(); /* which appends need, has the first room */
	PG_TRY();
	{
		attach(ES_WAITING_LATE);
	}
	PG_CATCH();
	{
		/* the error has let go of interrupts, the lock lets go of them once more */
		HOLD_INTERRUPTS();
		LWLockRelease(AddinShmemInitLock);
		MemoryContextSwitchTo(context);
		FlushErrorState();
	}
	PG_END_TRY();
	return shared;
}

static int16
copy_name(char *to, text *name, int max)
{
	int size = name == NULL ? 0 : Min(VARSIZE_ANY_EXHDR(name), max);

	if (size > 0)
		memcpy(to, VARDATA_ANY(name), size);
	return (int16) size;
}

static void
publish(const EsWaiting *waiting, const LOCKTAG *tag)
{
	Entries        *all = find_entries();
	EsWaitingEntry *entry;

	if (all == NULL)
		return;
	entry = &all->entries[es_compat_my_backend() % all->n];
	SpinLockAcquire(&entry->mutex);
	entry->pid = MyProcPid;
	entry->transaction = es_compat_my_lxid();
	entry->tag = *tag;
	entry->tenant_size = copy_name(entry->tenant, waiting->tenant, sizeof(entry->tenant));
	entry->stream_size = copy_name(entry->stream, waiting->stream, sizeof(entry->stream));
	SpinLockRelease(&entry->mutex);
	mine = entry;
}

/* The client has named the stream itself, so it may be told. */
static void
say_what_for(void *arg)
{
	const EsWaiting *waiting = arg;
	const char      *what = waiting->kind == ES_LOCK_SNAPSHOT ? "snapshots of stream" : "stream";
	int              size;

	if (waiting->stream == NULL)
	{
		if (waiting->nstreams == 0)
			errcontext("while waiting for all streams");
		else
			errcontext("while waiting for %d streams", waiting->nstreams);
		return;
	}
	size = VARSIZE_ANY_EXHDR(waiting->stream);
	if (VARSIZE_ANY_EXHDR(waiting->tenant) == 0)
		errcontext("while waiting for %s \"%.*s\"", what, size, VARDATA_ANY(waiting->stream));
	else
		errcontext("while waiting for %s \"%.*s\" of tenant \"%.*s\"", what, size,
				   VARDATA_ANY(waiting->stream), (int) VARSIZE_ANY_EXHDR(waiting->tenant),
				   VARDATA_ANY(waiting->tenant));
}

/*
 * Says what is waited for, until es_waiting_end(), or until an error.  tag is the lock; of a
 * lock with a gate, the lock's own.
 */
void
es_waiting_begin(EsWaiting *waiting, const LOCKTAG *tag)
{
	publish(waiting, tag);
	waiting->context.callback = say_what_for;
	waiting->context.arg = waiting;
	waiting->context.previous = error_context_stack;
	error_context_stack = &waiting->context;
}

void
es_waiting_end(EsWaiting *waiting)
{
	error_context_stack = waiting->context.previous;
	take_back();
}

/* What the process says itself, if it speaks of this wait. */
bool
es_waiting_find(const LockInstanceData *lock, EsWaitingEntry *found)
{
	Entries *all = find_entries();

	for (int i = 0; all != NULL && i < all->n; i++)
	{
		EsWaitingEntry *entry = &all->entries[i];

		/* the process writes its own entry only, whose pid and transaction are looked at again */
		if (entry->pid != lock->pid)
			continue;
		SpinLockAcquire(&entry->mutex);
		memcpy(found, entry, sizeof(EsWaitingEntry));
		SpinLockRelease(&entry->mutex);
		if (found->pid == lock->pid &&
			found->transaction == es_compat_lock_vxid(lock).localTransactionId)
			return true;
	}
	return false;
}
