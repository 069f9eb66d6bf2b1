/*
 * waiting.c
 *		What sessions wait for, by name; the function below the view es_stat_waiting.
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
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lock.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "storage/spin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "event.h"
#include "rows.h"
#include "shared.h"
#include "status.h"
#include "waiting.h"

PG_FUNCTION_INFO_V1(es_waiting);

#define ES_WAITING_LATE 16

#define ES_WAITING_NATTS 5

typedef struct Entry
{
	slock_t            mutex;
	int                pid;
	LocalTransactionId transaction;
	LOCKTAG            tag;
	int16              tenant_size;
	int16              stream_size; /* 0: no name */
	char               tenant[ES_TENANT_MAX_BYTES];
	char               stream[ES_STREAM_MAX_BYTES];
} Entry;

typedef struct Entries
{
	int   n;
	Entry entries[FLEXIBLE_ARRAY_MEMBER];
} Entries;

static Entries *shared = NULL;
static Entry   *mine = NULL; /* that this session has made, of the wait that it is in */

static shmem_request_hook_type previous_request = NULL;
static shmem_startup_hook_type previous_startup = NULL;

static Size
entries_size(int n)
{
	return offsetof(Entries, entries) + n * sizeof(Entry);
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
	Entries *all = find_entries();
	Entry   *entry;

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

/*
 * What a lock that is waited for is about, by its tag: NULL where it is not about streams.
 * The gate of a lock stands for the lock.
 */
static const char *
kind_of(LOCKTAG *tag, LOCKMODE mode)
{
	if (tag->locktag_type != LOCKTAG_ADVISORY || tag->locktag_field1 != MyDatabaseId)
		return NULL;
	switch (tag->locktag_field4 & ~ES_LOCK_GATE)
	{
		case ES_LOCK_STREAM:
		case ES_LOCK_SNAPSHOT:
			tag->locktag_field4 &= ~ES_LOCK_GATE;
			return tag->locktag_field4 == ES_LOCK_STREAM ? "append" : "snapshot";
		case ES_LOCK_ALL:
			return mode == ExclusiveLock ? "all streams" : "append";
		default:
			return NULL;
	}
}

/* What the process says itself, if it speaks of this wait. */
static bool
find_entry(const LockInstanceData *lock, Entry *found)
{
	Entries *all = find_entries();

	for (int i = 0; all != NULL && i < all->n; i++)
	{
		Entry *entry = &all->entries[i];

		/* the process writes its own entry only, whose pid and transaction are looked at again */
		if (entry->pid != lock->pid)
			continue;
		SpinLockAcquire(&entry->mutex);
		memcpy(found, entry, sizeof(Entry));
		SpinLockRelease(&entry->mutex);
		if (found->pid == lock->pid &&
			found->transaction == es_compat_lock_vxid(lock).localTransactionId)
			return true;
	}
	return false;
}

/*
 * Is this a wait for a lock on streams?  Answers of which kind, or NULL.  A session that wants
 * all streams waits first for transactions, one after the other, and only its entry says so.
 */
static const char *
look_at(const LockInstanceData *lock, Entry *entry, bool *named)
{
	LOCKTAG     tag = lock->locktag;
	const char *kind = kind_of(&tag, lock->waitLockMode);
	bool        is_transaction = tag.locktag_type == LOCKTAG_VIRTUALTRANSACTION ||
						  tag.locktag_type == LOCKTAG_TRANSACTION; /* a prepared one */

	*named = false;
	if ((kind == NULL && !is_transaction) || !find_entry(lock, entry))
		return kind;
	if (is_transaction)
		return entry->tag.locktag_field4 == ES_LOCK_ALL ? kind_of(&entry->tag, ExclusiveLock)
														: NULL;
	*named = memcmp(&tag, &entry->tag, sizeof(LOCKTAG)) == 0 && entry->stream_size > 0;
	return kind;
}

static void
put_wait(EsRows *rows, const LockInstanceData *lock)
{
	Entry       entry;
	bool        named;
	const char *kind = look_at(lock, &entry, &named);
	Datum       values[ES_WAITING_NATTS];
	bool        nulls[ES_WAITING_NATTS] = {false};

	if (kind == NULL)
		return;
	values[0] = Int32GetDatum(lock->pid);
	values[1] = CStringGetTextDatum(kind);
	nulls[2] = nulls[3] = !named;
	if (named)
	{
		values[2] = PointerGetDatum(cstring_to_text_with_len(entry.stream, entry.stream_size));
		values[3] = PointerGetDatum(cstring_to_text_with_len(entry.tenant, entry.tenant_size));
	}
	values[4] = TimestampTzGetDatum(lock->waitStart);
	nulls[4] = lock->waitStart == 0;
	es_rows_put(rows, values, nulls);
}

/* es_stat_waiting: the sessions of this database that wait for a lock on streams. */
Datum
es_waiting(PG_FUNCTION_ARGS)
{
	EsRows    rows = es_rows_begin(fcinfo);
	LockData *locks;

	(void) es_status_check_monitor();
	locks = GetLockStatusData();
	for (int i = 0; i < locks->nelements; i++)
	{
		if (locks->locks[i].waitLockMode != NoLock && locks->locks[i].pid != 0)
			put_wait(&rows, &locks->locks[i]);
		CHECK_FOR_INTERRUPTS();
	}
	return (Datum) 0;
}
