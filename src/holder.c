/*
 * holder.c
 *		Transactions that hold RowShareLock on a relation that stands for a mark.
 *
 * A mark is a lock that keeps no session out: it is there to be seen.  Those that
 * have it in RowShareLock do not contend, and the lock goes the fast path (P5).  The
 * lock manager lists them, prepared transactions among them, so nothing else has to
 * be kept.
 *
 * No statement of a role without USAGE on es_private can name such a relation.  But
 * nextval, currval and their like take RowExclusiveLock on whatever OID they are
 * given, before they look what it is and who asks, and keep it over a savepoint's
 * rollback.  So a mark is not in that mode, and a transaction that holds that one only
 * is a stranger, which is not listed (P4).
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/lock.h"

#include "compat.h"
#include "holder.h"

static bool
is_among(const VirtualTransactionId *vxids, VirtualTransactionId wanted)
{
	for (; VirtualTransactionIdIsValid(*vxids); vxids++)
	{
		if (VirtualTransactionIdEquals(*vxids, wanted))
			return true;
	}
	return false;
}

/* Has this transaction the mark, whatever other locks on the relation it has too? */
static bool
has_mark(const LockData *locks, const LOCKTAG *tag, VirtualTransactionId wanted)
{
	for (int i = 0; i < locks->nelements; i++)
	{
		const LockInstanceData *lock = &locks->locks[i];

		if (memcmp(&lock->locktag, tag, sizeof(LOCKTAG)) == 0 &&
			(lock->holdMask & LOCKBIT_ON(RowShareLock)) != 0 &&
			VirtualTransactionIdEquals(es_compat_lock_vxid(lock), wanted))
			return true;
	}
	return false;
}

/*
 * The other transactions that hold the mark, their floors unknown (0).  One that has
 * committed or aborted is not among them, even if it has not yet given its locks back:
 * it is then visible to every new snapshot.
 *
 * All that have a lock on the relation come first; strangers are sorted out only
 * where there are any, by a look into the whole lock table.  One that has ended between
 * the looks may be taken for a holder, or not, and both are right.
 */
EsHolder *
es_holder_list(Oid relation, int *n)
{
	LOCKTAG               tag;
	VirtualTransactionId *all;
	VirtualTransactionId *suspects;
	LockData             *locks = NULL;
	EsHolder             *holders;
	int                   nall;
	int                   nsuspects;

	SET_LOCKTAG_RELATION(tag, MyDatabaseId, relation);
	all = GetLockConflicts(&tag, ExclusiveLock, &nall);
	suspects = GetLockConflicts(&tag, ShareLock, &nsuspects);
	if (nsuspects > 0)
		locks = GetLockStatusData();
	holders = palloc(Max(nall, 1) * sizeof(EsHolder));
	*n = 0;
	for (int i = 0; i < nall; i++)
	{
		if (nsuspects > 0 && is_among(suspects, all[i]) && !has_mark(locks, &tag, all[i]))
			continue;
		holders[*n].backend = es_compat_vxid_backend(all[i]);
		holders[*n].transaction = all[i].localTransactionId;
		holders[*n].floor = 0;
		(*n)++;
	}
	return holders;
}

/* The process that runs a holder; 0 where it is prepared, or has ended. */
int
es_holder_pid(const EsHolder *holder)
{
	return es_compat_vxid_pid(holder->backend, holder->transaction);
}

/* Waits until a holder's transaction has ended, a prepared one's too. */
void
es_holder_await(const EsHolder *holder)
{
	(void) VirtualXactLock(es_compat_vxid((int) holder->backend,
										  (LocalTransactionId) holder->transaction),
						   true);
}
