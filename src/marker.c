/*
 * marker.c
 *		The marker lock: who holds it has appended and has not yet ended.
 *
 * Before its first position a transaction takes RowShareLock on the view
 * es_private.appending.  The lock belongs to the top-level transaction whatever
 * subtransaction took it: a savepoint's rollback keeps it, PREPARE TRANSACTION
 * carries it.  Thus its holders are exactly the appenders in flight, and the
 * publisher reads them from the lock manager (holder.c).
 *
 * Keeps P1 and P4: no position is taken without the marker, and only an append
 * takes it.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/resowner.h"

#include "compat.h"
#include "marker.h"
#include "shared.h"

static EsFound found;

const EsTable es_appending = {
	.schema = ES_PRIVATE_SCHEMA,
	.name = "appending",
	.relkind = RELKIND_VIEW,
	.comment = "Never read: who holds its lock has appended and has not yet committed.",
	.definition = "SELECT 1 AS one",
	.found = &found,
};

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
es_marker_take(void)
{
	ResourceOwner owner = CurrentResourceOwner;
	Oid           appending;

	if (es_marker_is_held())
		return;
	do
	{
		appending = es_appending.found->relid;
		CurrentResourceOwner = TopTransactionResourceOwner;
		LockRelationOid(appending, RowShareLock);
		CurrentResourceOwner = owner;
		(void) es_store();
	} while (es_appending.found->relid != appending);
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

/* The other transactions that hold the marker, their floors unknown (0). */
EsHolder *
es_marker_holders(int *n)
{
	return es_holder_list(es_appending.found->relid, n);
}
