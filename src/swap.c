/*
 * swap.c
 *		Knows when es.events lies in a file that a snapshot does not know.
 *
 * A statement takes its snapshot before it locks es.events, and a REPEATABLE READ
 * transaction reads with one from its beginning.  In between another session may have
 * put the table's rows into a new file.  VACUUM FULL, CLUSTER and SET TABLESPACE keep the
 * transactions that have written the rows.  ALTER TABLE and tools that copy the table
 * (pg_repack, pg_squeeze) write the rows anew, as of their own transactions: an older
 * snapshot sees none of them, while es.ticks shows it the horizon above them.  A
 * consumer would then go on behind events that it has not got.
 *
 * So each reader asks whether its snapshot knows the file that it has opened:
 *
 *	 the last change of the table's row in pg_class is seen: nothing has been swapped;
 *	 the row that the snapshot sees names the same file: nothing has been swapped;
 *	 else each row is looked at, seen or not (SnapshotSelf), and one that the snapshot
 *	 does not see is an error, not a row that is passed over.
 *
 * Below the horizon that is exact, since all rows there were committed before the
 * snapshot was taken.  Above it a row that was appended after the snapshot cannot always
 * be told from a rewritten one.  It can where its transaction began to write after that
 * of the swap: what a tool has copied was written before.  (A tool whose sessions go on copying
 * with transactions that are younger than the one that swaps is not known; es_read does not
 * rely on it.)  On a standby, which does not know all subtransactions, it is an error.
 *
 * Keeps P1.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/subtrans.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "row.h"
#include "store.h"
#include "swap.h"

/* The table's row in pg_class, as of a generation of what is known of the store. */
static struct
{
	uint64        generation; /* 0: nothing is known */
	Oid           file;
	TransactionId writer;
} known;

static void
look_up(Relation heap)
{
	uint64    generation = es_store_generation();
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(RelationGetRelid(heap)));

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", RelationGetRelid(heap));
	known.file = ((Form_pg_class) GETSTRUCT(tuple))->relfilenode;
	known.writer = HeapTupleHeaderGetXmin(tuple->t_data);
	/* a message that came while we looked leaves it to be looked up again */
	known.generation = generation;
	ReleaseSysCache(tuple);
}

/* Does the snapshot see what this transaction has committed? */
static inline bool
sees(Snapshot snapshot, TransactionId writer)
{
	if (TransactionIdPrecedes(writer, snapshot->xmin))
		return true;
	/* of our own it depends on the command */
	return !TransactionIdIsCurrentTransactionId(writer) && !XidInMVCCSnapshot(writer, snapshot);
}

/* The table's file as the snapshot sees it. */
static Oid
file_as_of(Snapshot snapshot, Oid relid)
{
	Relation    catalog = table_open(RelationRelationId, AccessShareLock);
	Oid         file = InvalidOid;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple   tuple;

	ScanKeyInit(&key, Anum_pg_class_oid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(relid));
	scan = systable_beginscan(catalog, ClassOidIndexId, true, snapshot, 1, &key);
	if (HeapTupleIsValid(tuple = systable_getnext(scan)))
		file = ((Form_pg_class) GETSTRUCT(tuple))->relfilenode;
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return file;
}

/*
 * Begins to look out for rows that the snapshot should see and does not; false where it
 * knows the file.  heap is es.events, locked.
 */
bool
es_swap_begin(EsSwap *swap, Relation heap, Snapshot snapshot)
{
	if (known.generation != es_store_generation())
		look_up(heap);
	if (known.file == heap->rd_rel->relfilenode && sees(snapshot, known.writer))
		return false;
	swap->swapped = known.writer;
	if (file_as_of(snapshot, RelationGetRelid(heap)) == heap->rd_rel->relfilenode)
		return false;
	swap->heap = heap;
	swap->snapshot = snapshot;
	swap->strict = IsolationIsSerializable(); /* a row that is hidden is a conflict there */
	return true;
}

/*
 * Was the row written after the snapshot, and not by what has swapped the file?  Rows of
 * our own are hidden from a command that began before them.
 */
static bool
is_later(const EsSwap *swap, TupleTableSlot *slot)
{
	HeapTupleHeader header;

	if (es_row_is_own(slot))
		return !TransactionIdIsCurrentTransactionId(swap->swapped);
	if (swap->strict || swap->snapshot->takenDuringRecovery)
		return false;
	header = ExecFetchSlotHeapTuple(slot, false, NULL)->t_data;
	/* the rows may be of a savepoint of the transaction that has swapped them */
	return TransactionIdFollows(SubTransGetTopmostTransaction(HeapTupleHeaderGetXmin(header)),
								swap->swapped);
}

/* 40001: the snapshot does not know the file that the table lies in. */
pg_noreturn void
es_swap_raise(Relation heap)
{
	ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					errmsg("could not serialize access to table \"%s.%s\"", ES_SCHEMA,
						   RelationGetRelationName(heap)),
					errdetail("The table was rewritten after the snapshot was taken, which does "
							  "not see all of its rows now."),
					errhint("Retry the statement, or the whole transaction if it has begun.")));
}

/* Does the snapshot see the row, which is committed or our own?  Raises where it should. */
bool
es_swap_shows(const EsSwap *swap, TupleTableSlot *slot)
{
	if (table_tuple_satisfies_snapshot(swap->heap, slot, swap->snapshot))
		return true;
	if (is_later(swap, slot))
		return false;
	es_swap_raise(swap->heap);
}
