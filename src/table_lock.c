/*
 * table_lock.c
 *		Strong locks on the store's tables, which let others pass.
 *
 * A strong lock that waits for one open transaction makes every session that comes
 * after it wait too: one session that is idle in a transaction would stop all appends
 * and reads.  So es_init() and its like stay in the queue for a little more than
 * deadlock_timeout, a second at most, leave it, let the others pass, and try again.  The deadlock
 *check runs in each of these waits, since it would find nothing in between.
 *
 * All tables are locked in one subtransaction.  Its rollback gives back those that were
 * free, so that no table is locked while another is waited for.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/wait_event.h"

#include "clock.h"
#include "table_lock.h"

#define ES_TABLE_LOCK_CHECK 1000 /* deadlock_timeout in ms, unless it is shorter */
#define ES_TABLE_LOCK_MORE  100  /* ms in the queue, on top of that */
#define ES_TABLE_LOCK_PAUSE 500  /* ms out of it */

/* For as long as the nest level lasts. */
static void
set_timeout(const char *name, int ms)
{
	char value[16];

	snprintf(value, sizeof(value), "%d", ms);
	(void) set_config_option(name, value, PGC_SUSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
							 false);
}

static void
lock_all(const Oid *relids, int n, LOCKMODE mode, int timeout)
{
	int nest = NewGUCNestLevel();

	set_timeout("deadlock_timeout", Min(DeadlockTimeout, ES_TABLE_LOCK_CHECK));
	set_timeout("lock_timeout", timeout);
	for (int i = 0; i < n; i++)
		LockRelationOid(relids[i], mode);
	AtEOXact_GUC(true, nest);
}

/* Locks all, or none and answers with the error, which is that lock_timeout has passed. */
static ErrorData *
try_lock(const Oid *relids, int n, LOCKMODE mode, int timeout)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		lock_all(relids, n, mode, timeout);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	if (error != NULL && error->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE)
		ReThrowError(error);
	return error;
}

static void
let_others_pass(void)
{
	int64 until = es_clock_in_ms(ES_TABLE_LOCK_PAUSE);
	long  left;

	while ((left = es_clock_left(until)) > 0)
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, left,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

/*
 * Locks tables for the rest of the transaction.  The session's own lock_timeout bounds
 * the whole; statement_timeout and a cancel end it, and nothing else does.
 */
void
es_table_lock(const Oid *relids, int n, LOCKMODE mode)
{
	int64      end = LockTimeout > 0 ? es_clock_in_ms(LockTimeout) : PG_INT64_MAX;
	int        most = Min(DeadlockTimeout, ES_TABLE_LOCK_CHECK) + ES_TABLE_LOCK_MORE;
	bool       told = false;
	ErrorData *error;

	while ((error = try_lock(relids, n, mode, (int) Min(most, Max(es_clock_left(end), 1)))) != NULL)
	{
		if (es_clock_left(end) <= 0)
			ReThrowError(error);
		FreeErrorData(error);
		if (!told)
			ereport(NOTICE, (errmsg("waiting for transactions that use the event store's tables"),
							 errdetail("Other sessions go on meanwhile."),
							 errhint("End what is idle in a transaction: see pg_stat_activity.")));
		told = true;
		let_others_pass();
	}
}
