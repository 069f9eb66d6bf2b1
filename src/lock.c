/*
 * lock.c
 *		Locks on streams: who appends to a stream waits for who did before.
 *
 * A fine lock is a heavyweight transaction lock on a 64-bit hash, with the
 * advisory method and a fourth field of our own, so that users' advisory locks
 * never meet it.  It lives as long as the (sub)transaction that took it: a
 * rolled back savepoint gives it back, PREPARE TRANSACTION carries it.
 *
 * The lock table is shared and small, so one transaction holds at most as many
 * fine locks as its fair share of it, max_locks_per_transaction ("the bound").
 * Beyond that it takes the coarse lock instead: ExclusiveLock on the view
 * es_private.all_streams, on which every holder of a fine lock has
 * RowExclusiveLock, a fast-path lock that two appenders never contend for.
 *
 * The order, which keeps single calls free of deadlock (A7):
 *
 * 1. The first call of a transaction that has written nothing holds no fine lock
 *    while it waits for one: what it has it gives back, waits, and tries them all
 *    again.  Where that does not end it takes them sorted by hash, and gives them all
 *    back if that makes a deadlock.  Other calls take theirs sorted by hash, and may
 *    deadlock as row locks do.
 * 2. Fine locks first, and only then the coarse lock in RowExclusive mode: who
 *    waits for a stream of a large transaction does not yet stand in the way of
 *    that transaction's coarse lock.
 * 3. A call that needs more locks than are left of the bound takes no fine one: it
 *    takes the coarse lock in Exclusive mode at once.
 * 4. Nothing that the lock protects is read before both are held.
 *
 * A single call that finds a queue at a lock waits at the lock's gate, a lock too,
 * whose holder waits at the lock itself and gives the gate back when he has it.  So
 * the queue stays short, and one who has just appended, whose client comes back and
 * whose caches are warm, is soon there again, while by every few of them one from
 * the gate goes on, in order.  Without it each of 32 sessions in turn would be cold.
 *
 * Keeps A1 and A3 (with append.c), A7; P5.
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "compat.h"
#include "lock.h"
#include "store.h"

/* How many fine locks each open subtransaction holds, innermost first. */
typedef struct HeldLocks
{
	SubTransactionId  subid;
	int               count;
	struct HeldLocks *outer;
} HeldLocks;

static HeldLocks         *held = NULL;
static int                held_total = 0;
static LocalTransactionId coarse_lxid = InvalidLocalTransactionId; /* took the coarse lock */

/* The bound on fine locks of one transaction. */
static inline int
lock_bound(void)
{
	return max_locks_per_xact;
}

static void
count_held(int n)
{
	SubTransactionId subid = GetCurrentSubTransactionId();

	if (held == NULL || held->subid != subid)
	{
		HeldLocks *level = MemoryContextAlloc(TopTransactionContext, sizeof(HeldLocks));

		level->subid = subid;
		level->count = 0;
		level->outer = held;
		held = level;
	}
	held->count += n;
	held_total += n;
}

/* The memory goes with TopTransactionContext. */
static void
forget_held(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
	{
		held = NULL;
		held_total = 0;
	}
}

/* A committed subtransaction hands its locks up, an aborted one has lost them. */
static void
move_held(SubXactEvent event, SubTransactionId subid, SubTransactionId parent, void *arg)
{
	HeldLocks *level = held;

	if (level == NULL || level->subid != subid)
		return;
	if (event == SUBXACT_EVENT_ABORT_SUB)
		held_total -= level->count;
	else if (event != SUBXACT_EVENT_COMMIT_SUB)
		return;
	else if (level->outer == NULL || level->outer->subid != parent)
	{
		level->subid = parent;
		return;
	}
	else
		level->outer->count += level->count;
	held = level->outer;
	pfree(level);
}

/* Registers the callbacks; called once, from _PG_init. */
void
es_lock_init(void)
{
	RegisterXactCallback(forget_held, NULL);
	RegisterSubXactCallback(move_held, NULL);
}

/* The hash that a stream is locked by; two streams with one hash share a lock. */
uint64
es_lock_hash(text *tenant, text *stream)
{
	uint64 h = hash_bytes_extended((unsigned char *) VARDATA_ANY(stream), VARSIZE_ANY_EXHDR(stream),
								   (uint64) es_store()->salt);

	if (VARSIZE_ANY_EXHDR(tenant) > 0)
		h = hash_bytes_extended((unsigned char *) VARDATA_ANY(tenant), VARSIZE_ANY_EXHDR(tenant),
								h);
	return h;
}

static void
set_fine_tag(LOCKTAG *tag, EsLockKind kind, uint64 hash)
{
	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, (uint32) (hash >> 32), (uint32) hash, kind);
}

/* Would the locks that are not held yet go beyond the bound? */
static bool
beyond_bound(EsLockKind kind, const uint64 *hashes, int n)
{
	int after = held_total;

	if (after + n <= lock_bound())
		return false;
	for (int i = 0; i < n && after <= lock_bound(); i++)
	{
		LOCKTAG fine;

		set_fine_tag(&fine, kind, hashes[i]);
		if ((i == 0 || hashes[i] != hashes[i - 1]) && !es_compat_lock_held(&fine, ExclusiveLock))
			after++;
	}
	return after > lock_bound();
}

/* How often a call lets go of what it has and tries again, before it insists. */
#define ES_LOCK_TRIES 10

/* So many may have or want a lock before others wait at its gate. */
#define ES_LOCK_QUEUE 2

/*
 * How often a single call that the deadlock check has chosen waits anew.  Not for ever:
 * its transaction may have a lock of another kind, which it cannot give back and
 * somebody waits for who will not look again.
 */
#define ES_DEADLOCK_TRIES 10

/* Waits for a lock and takes it, first at its gate where there is a queue. */
static void
wait_in_turn(EsLockKind kind, uint64 hash)
{
	LOCKTAG tag;
	LOCKTAG gate;
	bool    crowded;

	set_fine_tag(&tag, kind, hash);
	gate = tag;
	gate.locktag_field4 |= ES_LOCK_GATE;
	crowded = LockWaiterCount(&tag) > ES_LOCK_QUEUE;
	if (crowded)
		(void) LockAcquire(&gate, ExclusiveLock, false, false);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
	if (crowded)
		LockRelease(&gate, ExclusiveLock, false);
}

/* Takes the locks in their order, waiting as everybody does. */
static void
insist(EsLockKind kind, const uint64 *hashes, int n)
{
	for (int i = 0; i < n; i++)
	{
		LOCKTAG fine;

		set_fine_tag(&fine, kind, hashes[i]);
		if (LockAcquire(&fine, ExclusiveLock, false, false) == LOCKACQUIRE_OK)
			count_held(1);
	}
}

/*
 * A single call takes one lock, or at last all of them, and waits.  When PostgreSQL's
 * check finds a deadlock of others, it may choose a bystander that only stands in their
 * queue, or one who holds what another wants.  That must not fail a single call (A7):
 * it gives back what it has and waits anew, having caught the error in a
 * subtransaction, while the others go on, or their own checks end their deadlock.
 */
static void
wait_patiently(EsLockKind kind, const uint64 *hashes, int n)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool taken = false;

	for (volatile int tries = 1; !taken; tries++)
	{
		BeginInternalSubTransaction(NULL);
		MemoryContextSwitchTo(context);
		PG_TRY();
		{
			if (n == 1)
				wait_in_turn(kind, hashes[0]);
			else
				insist(kind, hashes, n);
			ReleaseCurrentSubTransaction();
			taken = true;
		}
		PG_CATCH();
		{
			ErrorData *error;

			MemoryContextSwitchTo(context);
			error = CopyErrorData();
			FlushErrorState();
			RollbackAndReleaseCurrentSubTransaction();
			MemoryContextSwitchTo(context);
			CurrentResourceOwner = owner;
			if (error->sqlerrcode != ERRCODE_T_R_DEADLOCK_DETECTED || tries >= ES_DEADLOCK_TRIES)
				ReThrowError(error);
			FreeErrorData(error);
		}
		PG_END_TRY();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
	}
}

/*
 * Takes all locks that are not yet this call's (the one at "mine" is) if they can
 * be had at once, and answers n.  Otherwise gives all of this call's back, and
 * answers which one was not to be had.
 */
static int
try_all(EsLockKind kind, const uint64 *hashes, int n, int mine, bool *is_new)
{
	int i;

	for (i = 0; i < n; i++)
	{
		LockAcquireResult result;
		LOCKTAG           fine;

		set_fine_tag(&fine, kind, hashes[i]);
		is_new[i] = i == mine;
		if (i == mine)
			continue;
		result = LockAcquire(&fine, ExclusiveLock, false, true);
		if (result == LOCKACQUIRE_NOT_AVAIL)
			break;
		is_new[i] = result == LOCKACQUIRE_OK;
	}
	for (int j = 0; i < n && j < n; j++)
	{
		LOCKTAG fine;

		set_fine_tag(&fine, kind, hashes[j]);
		if (j == mine || (j < i && is_new[j]))
			LockRelease(&fine, ExclusiveLock, false);
	}
	return i;
}

/*
 * Takes fine locks.  A single call, one in a transaction that has neither taken
 * such a lock nor written anything, holds none while it waits for one, as long as that
 * gets it anywhere, so that it is part of no deadlock (A7); other calls may deadlock
 * as row locks do.
 */
static void
take_fine(EsLockKind kind, const uint64 *hashes, int n)
{
	bool         *is_new = palloc(n * sizeof(bool));
	ResourceOwner owner = CurrentResourceOwner;
	int           mine = -1;
	int           blocked;

	/* which is where a lock goes that a subtransaction has taken */
	CurrentResourceOwner = CurTransactionResourceOwner;

	for (int tries = 0; (blocked = try_all(kind, hashes, n, mine, is_new)) < n; tries++)
	{
		if (held_total > 0 || TransactionIdIsValid(GetTopTransactionIdIfAny()))
		{
			insist(kind, hashes, n);
			break;
		}
		if (tries == ES_LOCK_TRIES)
		{
			wait_patiently(kind, hashes, n);
			break;
		}
		wait_patiently(kind, &hashes[blocked], 1);
		mine = blocked;
	}
	for (int i = 0; blocked == n && i < n; i++)
	{
		if (is_new[i])
			count_held(1);
	}
	CurrentResourceOwner = owner;
	pfree(is_new);
}

/*
 * Takes n locks of one kind in exclusive mode; hashes must be sorted.  May
 * wait; may raise what waiting raises (cancel, lock_timeout, and for a later call
 * of a transaction a deadlock).  all_streams is the OID of the view that stands
 * for the coarse lock.
 *
 * Who holds the coarse lock takes no fine one: its owner may be waiting for us
 * to give the coarse one back.
 */
void
es_lock_exclusive(EsLockKind kind, const uint64 *hashes, int n, Oid all_streams)
{
	LOCKTAG coarse;

	SET_LOCKTAG_RELATION(coarse, MyDatabaseId, all_streams);
	if (coarse_lxid == es_compat_my_lxid() && es_compat_lock_held(&coarse, ExclusiveLock))
		return;
	if (beyond_bound(kind, hashes, n))
	{
		(void) LockAcquire(&coarse, ExclusiveLock, false, false);
		coarse_lxid = es_compat_my_lxid();
		return;
	}
	take_fine(kind, hashes, n);
	(void) LockAcquire(&coarse, RowExclusiveLock, false, false);
}

/* One session at a time creates, adopts, migrates or empties the store. */
void
es_lock_store(void)
{
	LOCKTAG tag;

	set_fine_tag(&tag, ES_LOCK_STORE, 0);
	LockAcquire(&tag, ExclusiveLock, false, false);
	/* see what was made while we waited */
	AcceptInvalidationMessages();
}

/* One session at a time opens an epoch; it does not wait for who has, but for who is. */
void
es_lock_epoch(void)
{
	LOCKTAG tag;

	set_fine_tag(&tag, ES_LOCK_EPOCH, 0);
	LockAcquire(&tag, ExclusiveLock, false, false);
}

void
es_unlock_epoch(void)
{
	LOCKTAG tag;

	set_fine_tag(&tag, ES_LOCK_EPOCH, 0);
	LockRelease(&tag, ExclusiveLock, false);
}
