/*
 * sequence.c
 *		The sequence of positions: all that reads or writes its page.
 *
 * Positions are given by nextval.  It writes a WAL record for 33 values at a time, the
 * one that is asked for and 32 that may then be had without one: log_cnt says how many
 * of them are left.  A call that needs many takes what is left of them in one look at
 * the page, under the lock and by the rule by which nextval gives them one by one, and
 * writes no WAL, as nextval would not.  What needs a record is nextval's to do.
 *
 * So it is true of these positions what is true of nextval's: the record that covers
 * them is in the WAL before they are taken, and behind the last checkpoint's start, so
 * that none is given again after a crash (P1, P2); the page says at any time, under its
 * lock, which was the last (DESIGN.md 5).  A call has its positions in ascending order,
 * and others' may lie between them (A4).
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/xlog.h"
#include "catalog/pg_sequence.h"
#include "commands/sequence.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "sequence.h"
#include "store.h"

static EsFound found;

const EsTable es_positions = {
	.schema = ES_SCHEMA,
	.name = "events_position_seq",
	.relkind = RELKIND_SEQUENCE,
	.comment = "Positions of the log.",
	.definition = "events.position",
	.found = &found,
};

/* The sequence's row, with its page locked. */
static Form_pg_sequence_data
lock_row(Relation rel, Buffer *buffer, int mode)
{
	Page          page;
	HeapTupleData tuple;

	*buffer = ReadBuffer(rel, 0);
	LockBuffer(*buffer, mode);
	page = BufferGetPage(*buffer);
	tuple.t_data = (HeapTupleHeader) PageGetItem(page, PageGetItemId(page, FirstOffsetNumber));
	return (Form_pg_sequence_data) GETSTRUCT(&tuple);
}

/*
 * The last position that was given.  Read from the sequence's page under the
 * buffer's lock: a SELECT may find a value up to 32 too high, while nextval is
 * writing its record.  *logged is where the WAL ends that knows of it.
 */
int64
es_sequence_last(Oid sequence, XLogRecPtr *logged)
{
	Relation              rel = relation_open(sequence, AccessShareLock);
	Buffer                buffer;
	Form_pg_sequence_data row = lock_row(rel, &buffer, BUFFER_LOCK_SHARE);
	int64                 last = row->is_called ? row->last_value : row->last_value - 1;

	if (logged != NULL)
		*logged = PageGetLSN(BufferGetPage(buffer));
	UnlockReleaseBuffer(buffer);
	relation_close(rel, NoLock);
	return last;
}

/* Up to where does the sequence count by one, and cache nothing?  0 where it does not. */
static int64
plain_limit(Oid sequence)
{
	HeapTuple        tuple = SearchSysCache1(SEQRELID, ObjectIdGetDatum(sequence));
	Form_pg_sequence form;
	int64            limit;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for sequence %u", sequence);
	form = (Form_pg_sequence) GETSTRUCT(tuple);
	limit = form->seqincrement == 1 && form->seqcache == 1 ? form->seqmax : 0;
	ReleaseSysCache(tuple);
	return limit;
}

/* Does it count by one, without end, and no session keep values of it? */
bool
es_sequence_is_plain(Oid sequence)
{
	HeapTuple        tuple = SearchSysCache1(SEQRELID, ObjectIdGetDatum(sequence));
	Form_pg_sequence form;
	bool             plain;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for sequence %u", sequence);
	form = (Form_pg_sequence) GETSTRUCT(tuple);
	plain = form->seqincrement == 1 && form->seqcache == 1 && !form->seqcycle;
	ReleaseSysCache(tuple);
	return plain;
}

/*
 * Takes up to so many of the positions that are covered by a record of WAL.  The caller
 * has called nextval in this transaction, which has locked the sequence until its end,
 * against ALTER SEQUENCE, and has checked what there is to check.
 */
static void
take_ahead(EsPositions *positions, int most)
{
	int64                 limit = plain_limit(positions->sequence);
	Relation              rel = relation_open(positions->sequence, NoLock);
	Buffer                buffer;
	Form_pg_sequence_data row = lock_row(rel, &buffer, BUFFER_LOCK_EXCLUSIVE);
	int64                 n = Min(Min(most, row->log_cnt), limit - row->last_value);

	/* as in nextval: a record that recovery would not replay covers nothing */
	if (n > 0 && row->is_called && PageGetLSN(BufferGetPage(buffer)) > GetRedoRecPtr())
	{
		positions->next = row->last_value + 1;
		positions->end = positions->next + n;
		START_CRIT_SECTION();
		MarkBufferDirty(buffer);
		row->last_value += n;
		row->log_cnt -= n;
		END_CRIT_SECTION();
	}
	UnlockReleaseBuffer(buffer);
	relation_close(rel, NoLock);
}

/*
 * With wal_level = minimal nextval writes no record in the transaction that has made the
 * sequence, or emptied the store, and notes 32 values as logged all the same; the next
 * transactions would have them without one, and a crash would give them again.
 */
static void
log_next_time(Oid sequence)
{
	Relation rel = relation_open(sequence, NoLock);

	if (!RelationNeedsWAL(rel))
	{
		Buffer                buffer;
		Form_pg_sequence_data row = lock_row(rel, &buffer, BUFFER_LOCK_EXCLUSIVE);

		START_CRIT_SECTION();
		MarkBufferDirty(buffer);
		row->log_cnt = 0;
		END_CRIT_SECTION();
		UnlockReleaseBuffer(buffer);
	}
	relation_close(rel, NoLock);
}

/*
 * The next position.  A call's first is by nextval, which locks and checks, and so is
 * its last, which lastval() then answers.
 */
int64
es_sequence_next(EsPositions *positions)
{
	int64 position;

	positions->wanted--;
	if (positions->next < positions->end)
		return positions->next++;
	position = nextval_internal(positions->sequence, false);
	if (!XLogIsNeeded())
		log_next_time(positions->sequence);
	if (positions->wanted > 1)
		take_ahead(positions, positions->wanted - 1);
	return position;
}

/* The sequence of positions must never go back: an error, not a disorder. */
void
es_sequence_raise_gone_back(const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("the sequence of positions has gone back"), errdetail_internal("%s", detail),
			 errhint("Run SELECT es_init() as the owner of the store, which repairs it.")));
}
