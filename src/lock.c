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
 * Beyond that it takes the coarse lock instead, which stands for all streams.
 *
 * Each holder of fine locks has the intent: RowShareLock on the view
 * es_private.all_streams, a mark in the fast path (holder.c) that no two appenders contend
 * for.  The coarse lock is a barrier (barrier.c): its taker raises the barrier, waits until
 * all that have the intent have ended, and takes the lock ES_LOCK_ALL, exclusive.  While
 * a barrier is raised, who takes the intent takes ES_LOCK_ALL too, shared.  A stranger
 * who has locked the view in another mode is in nobody's way (P4).
 *
 * The order, which keeps single calls free of deadlock (A7):
 *
 * 1. The first call of a transaction that has written nothing holds no lock on streams
 *    while it waits for one: what it has it gives back, waits, and tries them all
 *    again.  Where that does not end it takes them sorted by hash, and gives them all
 *    back if that makes a deadlock.  Other calls take theirs sorted by hash, and may
 *    deadlock as row locks do.
 * 2. Fine locks first, then the table's, and only then the intent: a call that waits for a
 *    stream of a large transaction, or for DDL, does not yet stand in the way of that
 *    transaction's coarse lock.  A single call that has to wait gives back what it has.  (One
 *    that gives the intent back, since a coarse lock has come between, may have been seen with
 *    it, and is waited for until its end.)
 * 3. A call that needs more locks than are left of the bound takes no fine one: it
 *    takes the coarse lock at once, and waits for it with no lock of this kind.
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

#include "barrier.h"
#include "compat.h"
#include "lock.h"
#include "store.h"
#include "waiting.h"

static EsFound found;

/* Its lock is the coarse one. */
const EsTable es_all_streams = {
	.schema = ES_PRIVATE_SCHEMA,
	.name = "all_streams",
	.relkind = RELKIND_VIEW,
	.comment = "Never read: its lock is the lock on all streams at once.",
	.definition = "SELECT 1 AS one",
	.found = &found,
};

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

/* Is this the first call of a transaction that has written nothing? */
static bool
is_single(void)
{
	return held_total == 0 && !TransactionIdIsValid(GetTopTransactionIdIfAny());
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

/* What a call wants. */
typedef struct Call
{
	EsLockKind    kind;
	const uint64 *hashes; /* sorted */
	int           n;
	bool         *is_new; /* which of them this call has taken */
	text         *tenant;
	text *const  *names; /* of the streams, as hashes has them */
	Oid           all_streams;
	Oid           table; /* that will be written */
	bool          single;
} Call;

/* What is said while a call waits for one of its streams, or for all of these. */
static EsWaiting
waits_for(const Call *call, int which)
{
	EsWaiting waiting = {call->kind, call->tenant, which < call->n ? call->names[which] : NULL,
						 call->n};

	if (call->n == 1)
		waiting.stream = call->names[0];
	return waiting;
}

/* Waits for a fine lock and takes it, first at its gate where there is a queue. */
static void
wait_in_turn(Call *call, int which)
{
	EsWaiting waiting = waits_for(call, which);
	LOCKTAG   tag;
	LOCKTAG   gate;
	bool      crowded;

	set_fine_tag(&tag, call->kind, call->hashes[which]);
	gate = tag;
	gate.locktag_field4 |= ES_LOCK_GATE;
	crowded = LockWaiterCount(&tag) > ES_LOCK_QUEUE;
	es_waiting_begin(&waiting, &tag);
	if (crowded)
		(void) LockAcquire(&gate, ExclusiveLock, false, false);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
	es_waiting_end(&waiting);
	if (crowded)
		LockRelease(&gate, ExclusiveLock, false);
}

/* Takes the fine locks in their order, waiting as everybody does. */
static void
insist(Call *call, int unused)
{
	for (int i = 0; i < call->n; i++)
	{
		EsWaiting waiting = waits_for(call, i);
		LOCKTAG   fine;

		set_fine_tag(&fine, call->kind, call->hashes[i]);
		es_waiting_begin(&waiting, &fine);
		call->is_new[i] = LockAcquire(&fine, ExclusiveLock, false, false) == LOCKACQUIRE_OK;
		es_waiting_end(&waiting);
	}
}

static void
set_all_tag(LOCKTAG *tag)
{
	set_fine_tag(tag, ES_LOCK_ALL, 0);
}

/* Waits until no transaction has the coarse lock, nor wants it before this one. */
static void
wait_for_coarse(Call *call, int unused)
{
	EsWaiting waiting = waits_for(call, call->n);
	LOCKTAG   all;

	set_all_tag(&all);
	es_waiting_begin(&waiting, &all);
	(void) LockAcquire(&all, ShareLock, false, false);
	es_waiting_end(&waiting);
}

/* Waits until all others that have fine locks have ended, and takes the coarse lock. */
static void
wait_for_fine(Call *call, int unused)
{
	EsWaiting waiting = {call->kind, call->tenant};
	LOCKTAG   all;

	set_all_tag(&all);
	es_waiting_begin(&waiting, &all);
	es_barrier_await(call->all_streams);
	(void) LockAcquire(&all, ExclusiveLock, false, false);
	es_waiting_end(&waiting);
}

/*
 * A single call takes one lock, or at last all of them, and waits.  When PostgreSQL's
 * check finds a deadlock of others, it may choose a bystander that only stands in their
 * queue, or one who holds what another wants.  That must not fail a single call (A7):
 * it gives back what it has and waits anew, having caught the error in a
 * subtransaction, while the others go on, or their own checks end their deadlock.
 */
static void
wait_patiently(void (*wait)(Call *, int), Call *call, int which)
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
			wait(call, which);
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

static void
release_fine(const Call *call, int which)
{
	LOCKTAG fine;

	set_fine_tag(&fine, call->kind, call->hashes[which]);
	LockRelease(&fine, ExclusiveLock, false);
}

/* Gives back those of the first n fine locks that are this call's. */
static void
give_back(const Call *call, int n)
{
	for (int i = 0; i < n; i++)
	{
		if (call->is_new[i])
			release_fine(call, i);
	}
}

/*
 * Takes all locks that are not yet this call's (the one at "mine" is) if they can
 * be had at once, and answers n.  Otherwise gives all of this call's back, and
 * answers which one was not to be had.
 */
static int
try_all(Call *call, int mine)
{
	for (int i = 0; i < call->n; i++)
	{
		LockAcquireResult result = LOCKACQUIRE_OK;
		LOCKTAG           fine;

		set_fine_tag(&fine, call->kind, call->hashes[i]);
		if (i != mine)
			result = LockAcquire(&fine, ExclusiveLock, false, true);
		call->is_new[i] = result == LOCKACQUIRE_OK;
		if (result == LOCKACQUIRE_NOT_AVAIL)
		{
			give_back(call, i);
			if (mine > i)
				release_fine(call, mine);
			return i;
		}
	}
	return call->n;
}

/*
 * Takes the fine locks, of which the one at "mine" is there already.  A single call
 * holds none while it waits for one, as long as that gets it anywhere, so that it is
 * part of no deadlock (A7); other calls may deadlock as row locks do.
 */
static void
take_fine(Call *call, int mine)
{
	int blocked;

	for (int tries = 0; (blocked = try_all(call, mine)) < call->n; tries++)
	{
		if (!call->single)
		{
			insist(call, 0);
			return;
		}
		if (tries == ES_LOCK_TRIES)
		{
			wait_patiently(insist, call, 0);
			return;
		}
		wait_patiently(wait_in_turn, call, blocked);
		mine = blocked;
	}
}

/*
 * Takes the intent, and where a barrier is raised, the coarse lock, shared; all of it or
 * nothing, without waiting if it shall not wait.  A transaction that has the intent since
 * an earlier call is waited for by all that have raised a barrier since.
 */
static bool
enter(Call *call, bool wait)
{
	LOCKTAG intent;
	LOCKTAG all;

	SET_LOCKTAG_RELATION(intent, MyDatabaseId, call->all_streams);
	if (LockAcquire(&intent, RowShareLock, false, false) != LOCKACQUIRE_OK ||
		!es_barrier_is_raised())
		return true;
	set_all_tag(&all);
	if (wait)
		wait_for_coarse(call, 0);
	else if (LockAcquire(&all, ShareLock, false, true) == LOCKACQUIRE_NOT_AVAIL)
	{
		LockRelease(&intent, RowShareLock, false);
		return false;
	}
	es_barrier_settle(false);
	return true;
}

/* Locks the table that will be written, without waiting if it shall not wait. */
static bool
lock_table(const Call *call, bool wait)
{
	if (!wait)
		return ConditionalLockRelationOid(call->table, RowExclusiveLock);
	LockRelationOid(call->table, RowExclusiveLock);
	return true;
}

static void
unlock_table(const Call *call)
{
	UnlockRelationOid(call->table, RowExclusiveLock);
}

static void
release_share(void)
{
	LOCKTAG all;

	set_all_tag(&all);
	LockRelease(&all, ShareLock, false);
}

/*
 * Takes the fine locks, and then the table's.  A single call does not wait for the table with
 * the others in its hands: REINDEX, say, may stand in its way, and wait for a transaction that
 * has read the table, which wants a stream.  It waits for the table alone, and tries the
 * others then.  Not patiently: with no other lock it is part of no deadlock, and where its
 * transaction has read the table, DDL and all behind it wait meanwhile.
 */
static void
take_fine_and_table(Call *call, int mine)
{
	for (;;)
	{
		take_fine(call, mine);
		if (lock_table(call, !call->single))
			return;
		give_back(call, call->n);
		(void) lock_table(call, true);
		if ((mine = try_all(call, -1)) == call->n)
			return;
		unlock_table(call);
		wait_patiently(wait_in_turn, call, mine);
	}
}

/*
 * Waits in the coarse lock's queue.  When its turn has come the call may keep its place
 * there only as long as it waits for nothing else: answers whether it has all locks then,
 * or else, in *blocked, the fine lock that it is to wait for, or n for the table's.
 */
static bool
enter_in_turn(Call *call, int *blocked)
{
	bool entered = false;

	wait_patiently(wait_for_coarse, call, 0);
	*blocked = try_all(call, -1);
	if (*blocked == call->n)
	{
		entered = lock_table(call, false);
		if (entered)
			(void) enter(call, true);
		else
			give_back(call, call->n);
	}
	/* where it is needed, enter() has taken it once more */
	release_share();
	return entered;
}

/*
 * Takes the fine locks, the table's lock, and the intent.  A single call that meets a coarse
 * lock gives back what it has before it waits; not for ever, lest it wait for a turn in vain.
 */
static void
take_streams(Call *call)
{
	int mine = -1;

	for (int tries = 0;; tries++)
	{
		take_fine_and_table(call, mine);
		if (enter(call, !call->single || tries == ES_LOCK_TRIES))
			break;
		unlock_table(call);
		give_back(call, call->n);
		if (enter_in_turn(call, &mine))
			break;
		if (mine < call->n)
			wait_patiently(wait_in_turn, call, mine);
		else
			mine = -1;
	}
	for (int i = 0; i < call->n; i++)
	{
		if (call->is_new[i])
			count_held(1);
	}
}

/* Does this transaction have the coarse lock? */
static bool
has_coarse(void)
{
	LOCKTAG all;

	if (coarse_lxid != es_compat_my_lxid())
		return false;
	set_all_tag(&all);
	return es_compat_lock_held(&all, ExclusiveLock);
}

/*
 * Takes the coarse lock and the table's lock.  Those that have the mark are waited for once:
 * who takes it later has the lock as well.
 */
static void
take_coarse(Call *call)
{
	LOCKTAG all;

	set_all_tag(&all);
	es_barrier_raise();
	for (int tries = 0;; tries++)
	{
		if (call->single)
			wait_patiently(wait_for_fine, call, 0);
		else
			wait_for_fine(call, 0);
		if (lock_table(call, !call->single || tries == ES_LOCK_TRIES))
			break;
		LockRelease(&all, ExclusiveLock, false);
		(void) lock_table(call, true);
		if (LockAcquire(&all, ExclusiveLock, false, true) != LOCKACQUIRE_NOT_AVAIL)
			break;
		unlock_table(call);
	}
	coarse_lxid = es_compat_my_lxid();
}

/*
 * Locks n streams, given by their names and hashes; hashes must be sorted.  May
 * wait; may raise what waiting raises (cancel, lock_timeout, and for a later call
 * of a transaction a deadlock).  all_streams is the OID of the view that stands
 * for the intent.  table is locked as well, as one that will be written.
 *
 * A transaction that has the coarse lock takes no fine one: it needs none.
 */
void
es_lock_streams(text *tenant, text *const *names, const uint64 *hashes, int n, Oid all_streams,
				Oid table)
{
	ResourceOwner owner = CurrentResourceOwner;
	bool          one;
	Call          call = {ES_LOCK_STREAM, hashes, n, &one, tenant, names, all_streams, table};

	if (has_coarse())
		return;
	call.single = is_single();
	/* which is where a lock goes that a subtransaction has taken */
	CurrentResourceOwner = CurTransactionResourceOwner;
	if (beyond_bound(ES_LOCK_STREAM, hashes, n))
		take_coarse(&call);
	else
	{
		if (n > 1)
			call.is_new = palloc(n * sizeof(bool));
		take_streams(&call);
		if (n > 1)
			pfree(call.is_new);
	}
	CurrentResourceOwner = owner;
}

/*
 * Locks the snapshots of one stream.  A transaction that would go beyond the bound takes
 * the whole table instead, from all others that save snapshots, and from no appender (P4):
 * a role may have the one right without the other.
 */
void
es_lock_snapshots(text *tenant, text *stream, Oid snapshots)
{
	ResourceOwner owner = CurrentResourceOwner;
	uint64        hash = es_lock_hash(tenant, stream);
	bool          is_new;
	Call          call = {ES_LOCK_SNAPSHOT, &hash, 1, &is_new, tenant, &stream};

	CurrentResourceOwner = CurTransactionResourceOwner;
	if (beyond_bound(ES_LOCK_SNAPSHOT, &hash, 1))
		LockRelationOid(snapshots, ShareRowExclusiveLock);
	else
	{
		call.single = is_single();
		take_fine(&call, -1);
		count_held(is_new ? 1 : 0);
	}
	CurrentResourceOwner = owner;
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

/* One transaction of a role at a time makes channels, if they are counted. */
void
es_lock_channels(Oid role)
{
	LOCKTAG tag;

	set_fine_tag(&tag, ES_LOCK_CHANNELS, role);
	LockAcquire(&tag, ExclusiveLock, false, false);
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
