/*
 * scan.c
 *		Index scans over the store's tables: a thin cover over the index access
 *		method, so that the modules say what they look for and nothing else.
 *
 * Begin a scan with the number of keys that it may have; set keys, in the order
 * of the index's columns; seek; then fetch rows in one direction.  Setting keys
 * and seeking again re-uses the scan, and there may be fewer then.  The row that
 * was fetched is in the scan's slot until the next fetch or seek.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/itup.h"
#include "access/relscan.h"
#include "access/tableam.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/uuid.h"

#include "compat.h"
#include "scan.h"

/*
 * The caller holds a lock on heap.  That lock and the index's are kept until the
 * end of the transaction, for rows that were read may point into TOAST.
 */
EsScan *
es_scan_begin(Relation heap, Oid index, Snapshot snapshot, int nkeys)
{
	return es_scan_begin_open(heap, index_open(index, AccessShareLock), snapshot, nkeys);
}

/* The same with an index that is open; es_scan_end() closes it. */
EsScan *
es_scan_begin_open(Relation heap, Relation index, Snapshot snapshot, int nkeys)
{
	EsScan *scan = palloc(sizeof(EsScan));

	scan->heap = heap;
	scan->index = index;
	scan->desc = es_compat_index_beginscan(heap, index, snapshot, nkeys);
	scan->slot = table_slot_create(heap, NULL);
	scan->desc->numberOfKeys = 0; /* none is set */
	scan->filter = NULL;
	scan->nkeys = 0;
	scan->max_keys = nkeys;
	return scan;
}

static void
add_key(EsScan *scan, AttrNumber column, StrategyNumber strategy, RegProcedure function,
		Datum value)
{
	Assert(scan->nkeys < scan->max_keys);
	ScanKeyInit(&scan->keys[scan->nkeys++], column, strategy, function, value);
}

void
es_scan_text_key(EsScan *scan, AttrNumber column, StrategyNumber strategy, text *value)
{
	static const RegProcedure functions[] = {InvalidOid, F_TEXT_LT, F_TEXT_LE,
											 F_TEXTEQ,   F_TEXT_GE, F_TEXT_GT};

	add_key(scan, column, strategy, functions[strategy], PointerGetDatum(value));
}

void
es_scan_int8_key(EsScan *scan, AttrNumber column, StrategyNumber strategy, int64 value)
{
	static const RegProcedure functions[] = {InvalidOid, F_INT8LT, F_INT8LE,
											 F_INT8EQ,   F_INT8GE, F_INT8GT};

	add_key(scan, column, strategy, functions[strategy], Int64GetDatum(value));
}

void
es_scan_int4_key(EsScan *scan, AttrNumber column, StrategyNumber strategy, int32 value)
{
	static const RegProcedure functions[] = {InvalidOid, F_INT4LT, F_INT4LE,
											 F_INT4EQ,   F_INT4GE, F_INT4GT};

	add_key(scan, column, strategy, functions[strategy], Int32GetDatum(value));
}

void
es_scan_uuid_key(EsScan *scan, AttrNumber column, const void *value)
{
	add_key(scan, column, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum((pg_uuid_t *) value));
}

/* Positions the scan by the keys that were set since the last seek. */
void
es_scan_seek(EsScan *scan)
{
	ExecClearTuple(scan->slot);
	/* room was made for the most; a key less is a comparison less for each entry */
	scan->desc->numberOfKeys = scan->nkeys;
	index_rescan(scan->desc, scan->keys, scan->nkeys, NULL, 0);
	scan->nkeys = 0;
}

/* Reads on with another snapshot; the keys stay. */
void
es_scan_read_as(EsScan *scan, Snapshot snapshot)
{
	scan->desc->xs_snapshot = snapshot;
	/* an access method may remember what kind of snapshot it is */
	index_rescan(scan->desc, NULL, scan->desc->numberOfKeys, NULL, 0);
}

/* The next row in this direction that the reader may see, or NULL. */
TupleTableSlot *
es_scan_next(EsScan *scan, ScanDirection direction)
{
	while (index_getnext_slot(scan->desc, direction, scan->slot))
	{
		if (scan->filter == NULL || scan->filter->shows(scan->filter, scan->slot))
			return scan->slot;
		CHECK_FOR_INTERRUPTS();
	}
	return NULL;
}

/*
 * A scan that looks at the entries of an index and at no rows.  Whether anybody sees
 * the rows is not asked: it is good for estimates alone, and takes no predicate locks.
 */
EsScan *
es_scan_begin_entries(Relation heap, Oid index, int nkeys)
{
	EsScan *scan = es_scan_begin(heap, index, SnapshotAny, nkeys);

	scan->desc->xs_want_itup = true;
	return scan;
}

/* The next entry's value in a bigint column of the index; false at the end. */
bool
es_scan_next_entry(EsScan *scan, ScanDirection direction, AttrNumber column, int64 *value)
{
	bool isnull;

	if (index_getnext_tid(scan->desc, direction) == NULL)
		return false;
	*value =
		DatumGetInt64(index_getattr(scan->desc->xs_itup, column, scan->desc->xs_itupdesc, &isnull));
	return true;
}

void
es_scan_end(EsScan *scan)
{
	if (scan->filter != NULL && scan->filter->end != NULL)
		scan->filter->end(scan->filter);
	ExecDropSingleTupleTableSlot(scan->slot);
	index_endscan(scan->desc);
	index_close(scan->index, NoLock);
	pfree(scan);
}
