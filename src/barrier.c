/*
 * barrier.c
 *		Barriers: how a transaction waits for all that hold a mark (holder.c), and has
 *		those that come later take a lock which they do not take otherwise.
 *
 * A mark's holders do not contend with each other, nor with anything that a role without
 * rights can take; so there is no mode of a lock by which one transaction could keep them
 * out.  Instead:
 *
 *	the one, R					each of the many, H
 *	1. raises the barrier				1. takes the mark
 *	2. lists the mark's holders, waits		2. reads whether a barrier is raised
 *	   until each of them has ended			3. where it is: takes the lock, shared,
 *	3. takes the lock, exclusive			   and keeps it as long as the mark
 *
 * The barrier stays raised until R's (sub)transaction ends, or, where that is prepared,
 * until the prepared one has ended; R keeps the lock as long.
 *
 * Once R has the lock, no other transaction is past its third step and has not ended:
 *
 * - One that has read "not raised" before R's first step has taken its mark before that.
 *   R lists later, finds it, and waits for its end.  (Both steps are apart by a full
 *   barrier of memory on either side: either R sees the mark, or H sees the barrier.)
 * - One that has read "raised" has the lock, shared, and R gets it only at its end, or it
 *   waits for R.
 *
 * R holds nothing of the lock while it waits for marks, and H has its mark before it waits
 * for the lock, so the two never wait for each other.
 *
 * The barrier is one number for the server, in no slot: a database may have no slot, lose
 * it, or get another.  A transaction that reads "raised" where it need not takes a lock
 * too many, no more.  So the number may be too high, never too low.  Its lower half counts
 * the running transactions that have raised it, exactly: they lower it at their end, after
 * they have left the list of running ones and before they give their locks back.  Its upper
 * half counts prepared ones, which may end in a session that has not loaded us; it is
 * lowered when it is found too high.  What finds it out is a lock that says "raised", which
 * PREPARE carries and a restart brings back.  A server begins with an upper half of one,
 * since prepared transactions may have been brought back.
 *
 * Keeps A1 and A3 with lock.c, P4 and P5.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "storage/lwlock.h"

#include "barrier.h"
#include "holder.h"
#include "shared.h"

/* The lock that says "raised"; one of the kinds of lock.h, which use the same space. */
#define ES_BARRIER_TAG 0xE507

/* A session looks so seldom whether the part for prepared transactions is too high. */
#define ES_SETTLE_EVERY 256

static SubTransactionId raised_in = InvalidSubTransactionId;

/* Lowers what this transaction has raised. */
static void
lower(void)
{
	(void) pg_atomic_fetch_sub_u64(&es_shared()->barrier, 1);
	raised_in = InvalidSubTransactionId;
}

/* The dummy process has our locks by now, and nobody can end it yet. */
static void
hand_to_prepared(void)
{
	EsShared *shared = es_shared();

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	(void) pg_atomic_fetch_add_u64(&shared->barrier, ES_BARRIER_PREPARED - 1);
	LWLockRelease(shared->lock);
	raised_in = InvalidSubTransactionId;
}

static void
at_end(XactEvent event, void *arg)
{
	if (raised_in == InvalidSubTransactionId)
		return;
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT)
		lower();
	else if (event == XACT_EVENT_PREPARE)
		hand_to_prepared();
}

/* A subtransaction hands the barrier up, or lowers it. */
static void
at_sub_end(SubXactEvent event, SubTransactionId subid, SubTransactionId parent, void *arg)
{
	if (raised_in != subid)
		return;
	if (event == SUBXACT_EVENT_ABORT_SUB)
		lower();
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
		raised_in = parent;
}

/* Registers the callbacks; called once, from _PG_init. */
void
es_barrier_init(void)
{
	RegisterXactCallback(at_end, NULL);
	RegisterSubXactCallback(at_sub_end, NULL);
}

/*
 * Raises the barrier until the end of the (sub)transaction; once is enough.  The lock
 * contends with nothing.
 */
void
es_barrier_raise(void)
{
	EsShared *shared = es_shared();
	LOCKTAG   tag;

	if (raised_in != InvalidSubTransactionId)
		return;
	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, 0, 0, ES_BARRIER_TAG);
	(void) LockAcquire(&tag, RowShareLock, false, false);
	raised_in = GetCurrentSubTransactionId();
	(void) pg_atomic_fetch_add_u64(&shared->barrier, 1);
}

/*
 * Waits until all other transactions have ended that hold the mark now.  The caller has
 * raised the barrier, and should have nothing that they might wait for.
 */
void
es_barrier_await(Oid mark)
{
	int       n;
	EsHolder *holders = es_holder_list(mark, &n);

	for (int i = 0; i < n; i++)
		es_holder_await(&holders[i]);
	pfree(holders);
}

/* Is a barrier raised?  The caller has taken the mark before. */
bool
es_barrier_is_raised(void)
{
	EsShared *shared = es_shared();

	pg_memory_barrier();
	return pg_atomic_read_u64(&shared->barrier) != 0;
}

/* How many prepared transactions have raised the barrier, in any database? */
static uint64
count_prepared(void)
{
	LockData *locks = GetLockStatusData();
	uint64    n = 0;

	for (int i = 0; i < locks->nelements; i++)
	{
		const LockInstanceData *lock = &locks->locks[i];

		if (lock->pid == 0 && lock->locktag.locktag_type == LOCKTAG_ADVISORY &&
			lock->locktag.locktag_field4 == ES_BARRIER_TAG && lock->holdMask != 0)
			n++;
	}
	return n;
}

/*
 * Lowers the part for prepared transactions to how many there are: now, or, for those that
 * find the barrier raised in vain, now and then.  The lightweight lock keeps a transaction
 * away that is on its way from the one part to the other.  Its locks may be the prepared
 * one's already; then it is counted here and not yet there, and the number stays.
 */
void
es_barrier_settle(bool now)
{
	static uint32 calls = 0;
	EsShared     *shared = es_shared();
	uint64        known;
	uint64        found;

	if (pg_atomic_read_u64(&shared->barrier) < ES_BARRIER_PREPARED ||
		(!now && calls++ % ES_SETTLE_EVERY != 0))
		return;
	/* those that find it raised in vain do not stand in line for it */
	if (now)
		LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	else if (!LWLockConditionalAcquire(shared->lock, LW_EXCLUSIVE))
		return;
	known = pg_atomic_read_u64(&shared->barrier) / ES_BARRIER_PREPARED;
	found = count_prepared();
	if (found < known)
		(void) pg_atomic_fetch_sub_u64(&shared->barrier, (known - found) * ES_BARRIER_PREPARED);
	LWLockRelease(shared->lock);
}
