/*
 * marker.c
 *		The marker lock: who holds it has appended and has not yet ended.
 *
 * Before its first position a transaction takes RowShareLock on the view
 * es_private.appending.  The lock belongs to the top-level transaction whatever
 * subtransaction took it: a savepoint's rollback keeps it, PREPARE TRANSACTION
 * carries it.  Thus its holders are exactly the appenders in flight, and the
 * publisher reads them from the lock manager.  Holders do not contend: the lock
 * goes the fast path (P5).
 *
 * No statement of a role without USAGE on the schema can name the view.  But
 * nextval, currval and their like take RowExclusiveLock on whatever OID they are
 * given, before they look what it is and who asks, and keep it over a savepoint's
 * rollback.  So the marker is not in that mode, and who holds that one only is a
 * stranger (P4).
 *
 * Keeps P1 and P4: no position is taken without the marker, and only an append
 * takes it.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "utils/resowner.h"

#include "compat.h"
#include "marker.h"
#include "shared.h"

static LocalTransactionId marked = InvalidLocalTransactionId;
static int64              first_position; /* that the marked transaction has taken */

/* Does this transaction hold the marker? */
bool
es_marker_is_held(void)
{
	return marked == es_compat_my_lxid() && marked != InvalidLocalTransactionId;
}

/*
 * Takes the marker, once a transaction.  The store is looked up again with the
 * lock held: a view of another OID would be another marker.
 */
void
es_marker_take(const EsStore **store)
{
	ResourceOwner owner = CurrentResourceOwner;
	Oid           appending;

	if (es_marker_is_held())
		return;
	do
	{
		appending = (*store)->appending;
		CurrentResourceOwner = TopTransactionResourceOwner;
		LockRelationOid(appending, RowShareLock);
		CurrentResourceOwner = owner;
		*store = es_store();
	} while ((*store)->appending != appending);
	marked = es_compat_my_lxid();
	first_position = PG_INT64_MAX;
	es_shared_wake_at_end();
}

/* Notes a position that this transaction has taken. */
void
es_marker_note(int64 position)
{
	first_position = Min(first_position, position);
}

/* The first position that this transaction has taken, or PG_INT64_MAX. */
int64
es_marker_first(void)
{
	return es_marker_is_held() ? first_position : PG_INT64_MAX;
}

/* The process that runs a holder; 0 where it is prepared, or has ended. */
int
es_marker_pid(const EsHolder *holder)
{
	return es_compat_vxid_pid(holder->backend, holder->transaction);
}

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

/* Has this transaction the marker, whatever other locks on the view it has too? */
static bool
has_marker(const LockData *locks, const LOCKTAG *tag, VirtualTransactionId wanted)
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
 * The other transactions that hold the marker, their floors unknown (0).  One
 * that has committed or aborted is not among them, even if it has not yet given
 * its locks back: it is then visible to every new snapshot.
 *
 * All that have a lock on the view come first; strangers are sorted out only
 * where there are any, by a look into the whole lock table.  Who has ended between
 * the looks may be taken for a holder, or not, and both are right.
 */
EsHolder *
es_marker_holders(const EsStore *store, int *n)
{
	LOCKTAG               tag;
	VirtualTransactionId *all;
	VirtualTransactionId *suspects;
	LockData             *locks = NULL;
	EsHolder             *holders;
	int                   nall;
	int                   nsuspects;

	SET_LOCKTAG_RELATION(tag, MyDatabaseId, store->appending);
	all = GetLockConflicts(&tag, ExclusiveLock, &nall);
	suspects = GetLockConflicts(&tag, ShareLock, &nsuspects);
	if (nsuspects > 0)
		locks = GetLockStatusData();
	holders = palloc(Max(nall, 1) * sizeof(EsHolder));
	*n = 0;
	for (int i = 0; i < nall; i++)
	{
		if (nsuspects > 0 && is_among(suspects, all[i]) && !has_marker(locks, &tag, all[i]))
			continue;
		holders[*n].backend = es_compat_vxid_backend(all[i]);
		holders[*n].transaction = all[i].localTransactionId;
		holders[*n].floor = 0;
		(*n)++;
	}
	return holders;
}
