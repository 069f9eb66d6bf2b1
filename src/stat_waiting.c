/*
 * stat_waiting.c
 *		The function below the view es_stat_waiting: which sessions wait for streams.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "rows.h"
#include "status.h"
#include "waiting.h"

PG_FUNCTION_INFO_V1(es_waiting);

#define ES_WAITING_NATTS 5

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

/*
 * Is this a wait for a lock on streams?  Answers of which kind, or NULL.  A session that wants
 * all streams waits first for transactions, one after the other, and only its entry says so.
 */
static const char *
look_at(const LockInstanceData *lock, EsWaitingEntry *entry, bool *named)
{
	LOCKTAG     tag = lock->locktag;
	const char *kind = kind_of(&tag, lock->waitLockMode);
	bool        is_transaction = tag.locktag_type == LOCKTAG_VIRTUALTRANSACTION ||
						  tag.locktag_type == LOCKTAG_TRANSACTION; /* a prepared one */

	*named = false;
	if ((kind == NULL && !is_transaction) || !es_waiting_find(lock, entry))
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
	EsWaitingEntry entry;
	bool           named;
	const char    *kind = look_at(lock, &entry, &named);
	Datum          values[ES_WAITING_NATTS];
	bool           nulls[ES_WAITING_NATTS] = {false};

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

	es_status_check_monitor();
	locks = GetLockStatusData();
	for (int i = 0; i < locks->nelements; i++)
	{
		if (locks->locks[i].waitLockMode != NoLock && locks->locks[i].pid != 0)
			put_wait(&rows, &locks->locks[i]);
		CHECK_FOR_INTERRUPTS();
	}
	return (Datum) 0;
}
