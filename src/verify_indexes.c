/*
 * verify_indexes.c
 *		es_verify: do the indexes of es.events that the store reads by have what the
 *		table has, each row once, and nothing else?  Those are the ones that it needs, and
 *		those that a user has made and es_read finds (read_index.c).
 *
 * The table is read once, in the order of its blocks, and each index once, in its own
 * order.  Of each row, and of each entry that leads to a row, a hash of the key and of
 * the place is taken; their number and their sum must be the same.  So nothing is
 * looked up, and nothing kept.  An entry is not compared with its row: like an
 * index-only scan, that of an index does without the row where its page is all-visible.
 *
 * Where they differ, and only there, each row is looked up by the index, to tell which
 * ones it lacks.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/itup.h"
#include "access/tableam.h"
#include "access/visibilitymap.h"
#include "common/hashfn.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/uuid.h"

#include "events.h"
#include "layout.h"
#include "log.h"
#include "read_index.h"
#include "row.h"
#include "scan.h"
#include "verify.h"

#define ES_VERIFY_INDEXES 16 /* at most so many are compared */

/* So many rows, or entries, and the sum of their hashes. */
typedef struct Sum
{
	int64  n;
	uint64 hashes;
} Sum;

/* An index that is compared: one that the store needs, or another that es_read reads by. */
typedef struct Compared
{
	EsIndex index;
	Oid     relid; /* InvalidOid: it is not there */
	Sum     rows;
} Compared;

typedef struct Indexes
{
	int      n;
	Compared each[ES_VERIFY_INDEXES];
} Indexes;

static uint64
hash_value(Datum value, Form_pg_attribute att, uint64 seed)
{
	if (att->attbyval)
		return hash_bytes_extended((unsigned char *) &value, sizeof(value), seed);
	if (att->attlen > 0)
		return hash_bytes_extended((unsigned char *) DatumGetPointer(value), att->attlen, seed);
	value = PointerGetDatum(PG_DETOAST_DATUM_PACKED(value));
	return hash_bytes_extended((unsigned char *) VARDATA_ANY(DatumGetPointer(value)),
							   VARSIZE_ANY_EXHDR(DatumGetPointer(value)), seed);
}

static void
add(Sum *sum, uint64 hash, ItemPointer tid)
{
	sum->n++;
	sum->hashes += hash_bytes_extended((unsigned char *) tid, sizeof(ItemPointerData), hash);
}

/*
 * Where the entries of a row lead to.  Of a row that was updated in its page, by a
 * superuser past the guards, that is where its first version was.
 */
static ItemPointerData
entry_tid(TupleTableSlot *slot)
{
	HeapTuple       tuple = ExecFetchSlotHeapTuple(slot, false, NULL);
	ItemPointerData tid = slot->tts_tid;
	OffsetNumber    roots[MaxHeapTuplesPerPage];
	Buffer          buffer;

	if (!HeapTupleIsHeapOnly(tuple))
		return tid;
	buffer = ((BufferHeapTupleTableSlot *) slot)->buffer;
	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	heap_get_root_tuples(BufferGetPage(buffer), roots);
	LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
	ItemPointerSetOffsetNumber(&tid, roots[ItemPointerGetOffsetNumber(&tid) - 1]);
	return tid;
}

/* Adds a row to the sum of each index. */
static void
add_row(Indexes *indexes, TupleTableSlot *slot)
{
	TupleDesc       desc = slot->tts_tupleDescriptor;
	ItemPointerData tid = entry_tid(slot);

	for (int i = 0; i < indexes->n; i++)
	{
		const EsIndex *index = &indexes->each[i].index;
		uint64         hash = 0;

		for (int k = 0; k < es_layout_ncolumns(index); k++)
		{
			AttrNumber column = index->columns[k];

			hash = hash_value(es_row_column(slot, column), TupleDescAttr(desc, column - 1), hash);
		}
		add(&indexes->each[i].rows, hash, &tid);
	}
}

/* The sums of all rows, one for each index. */
static void
sum_rows(EsVerify *verify, Indexes *indexes)
{
	TupleTableSlot *slot = table_slot_create(verify->events, NULL);
	TableScanDesc   scan = table_beginscan(verify->events, verify->snapshot, 0, NULL);

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		MemoryContext old = MemoryContextSwitchTo(verify->scratch);

		add_row(indexes, slot);
		MemoryContextSwitchTo(old);
		es_verify_next(verify);
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
}

static uint64
hash_entry(EsVerify *verify, EsScan *scan, const EsIndex *index)
{
	MemoryContext old = MemoryContextSwitchTo(verify->scratch);
	TupleDesc     desc = RelationGetDescr(scan->index);
	uint64        hash = 0;

	for (int k = 0; k < es_layout_ncolumns(index); k++)
	{
		bool  isnull;
		Datum value = index_getattr(scan->desc->xs_itup, k + 1, desc, &isnull);

		if (!isnull)
			hash = hash_value(value, TupleDescAttr(desc, k), hash);
	}
	MemoryContextSwitchTo(old);
	return hash;
}

/* Two entries of a unique index that stand side by side have one key. */
static void
found_double(EsTally *tally, EsScan *scan)
{
	EsVerifyEvent event;

	if (!index_fetch_heap(scan->desc, scan->slot))
		return;
	event = es_verify_read(tally->verify, scan->slot);
	es_tally_found(tally, ES_VERIFY_ERROR, es_verify_place(tally->verify, &event),
				   "Index \"%s\" has its key more than once.",
				   RelationGetRelationName(scan->index));
}

/*
 * The sum of an index's entries that lead to rows.  That an entry leads to one is asked
 * as an index-only scan asks it.
 */
static Sum
sum_entries(EsTally *tally, Oid relid, const EsIndex *index)
{
	EsVerify   *verify = tally->verify;
	EsScan     *scan = es_scan_begin(verify->events, relid, verify->snapshot, 0);
	Buffer      map = InvalidBuffer;
	Sum         sum = {0};
	uint64      before = 0;
	ItemPointer next;

	scan->desc->xs_want_itup = true;
	es_scan_seek(scan);
	while ((next = index_getnext_tid(scan->desc, ForwardScanDirection)) != NULL)
	{
		ItemPointerData tid = *next;

		if (VM_ALL_VISIBLE(verify->events, ItemPointerGetBlockNumber(&tid), &map) ||
			index_fetch_heap(scan->desc, scan->slot))
		{
			uint64 hash = hash_entry(verify, scan, index);

			if (index->kind != ES_INDEX_PLAIN && sum.n > 0 && hash == before)
				found_double(tally, scan);
			before = hash;
			add(&sum, hash, &tid);
		}
		es_verify_next(verify);
	}
	if (BufferIsValid(map))
		ReleaseBuffer(map);
	es_scan_end(scan);
	return sum;
}

static void
set_key(EsScan *scan, int number, TupleTableSlot *slot, AttrNumber column)
{
	Datum value = es_row_column(slot, column);

	switch (es_events_type(column))
	{
		case INT8OID:
			es_scan_int8_key(scan, number, BTEqualStrategyNumber, DatumGetInt64(value));
			break;
		case UUIDOID:
			es_scan_uuid_key(scan, number, DatumGetUUIDP(value));
			break;
		default:
			es_scan_text_key(scan, number, BTEqualStrategyNumber, DatumGetTextPP(value));
	}
}

/* Does the index lead to this row? */
static bool
leads_to(EsVerify *verify, EsScan *scan, const EsIndex *index, TupleTableSlot *slot)
{
	MemoryContext   old = MemoryContextSwitchTo(verify->scratch);
	TupleTableSlot *found;

	for (int k = 0; k < es_layout_ncolumns(index); k++)
		set_key(scan, k + 1, slot, index->columns[k]);
	MemoryContextSwitchTo(old);
	es_scan_seek(scan);
	while ((found = es_scan_next(scan, ForwardScanDirection)) != NULL)
	{
		if (ItemPointerEquals(&found->tts_tid, &slot->tts_tid))
			return true;
	}
	return false;
}

/* Tells which rows an index does not lead to. */
static void
find_missing(EsVerify *verify, EsTally *tally, Oid relid, const EsIndex *index)
{
	TupleTableSlot *slot = table_slot_create(verify->events, NULL);
	TableScanDesc   scan = table_beginscan(verify->events, verify->snapshot, 0, NULL);
	EsScan *entries = es_scan_begin(verify->events, relid, verify->snapshot, ES_SCAN_MAX_KEYS);

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		if (!leads_to(verify, entries, index, slot))
		{
			EsVerifyEvent event = es_verify_read(verify, slot);

			es_tally_found(tally, ES_VERIFY_ERROR, es_verify_place(verify, &event),
						   "Index \"%s\" does not lead to it.", get_rel_name(relid));
		}
		es_verify_next(verify);
	}
	es_scan_end(entries);
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
}

/* Compares an index with the table. */
static void
check_index(EsVerify *verify, EsTally *tally, const Compared *compared)
{
	const EsIndex *index = &compared->index;
	const Sum     *rows = &compared->rows;
	Oid            relid = compared->relid;
	Sum            entries;

	if (!es_verify_have(verify, tally, relid, psprintf("es.%s", index->name)))
		return;
	entries = sum_entries(tally, relid, index);
	if (entries.n == rows->n && entries.hashes == rows->hashes)
		return;
	es_tally_found(tally, ES_VERIFY_ERROR, psprintf("es.%s", get_rel_name(relid)),
				   "The index has %s, the table has %s, and they do not agree.",
				   es_verify_count(entries.n, "entry", "entries"),
				   es_verify_count(rows->n, "row", "rows"));
	find_missing(verify, tally, relid, index);
}

static void
put_index(Indexes *indexes, const EsIndex *index, Oid relid)
{
	for (int i = 0; OidIsValid(relid) && i < indexes->n; i++)
	{
		if (indexes->each[i].relid == relid)
			return;
	}
	Assert(indexes->n < ES_VERIFY_INDEXES);
	indexes->each[indexes->n].index = *index;
	indexes->each[indexes->n++].relid = relid;
}

/* Puts an index that a user has made, by which es_read reads. */
static void
put_read_index(Indexes *indexes, const EsReadIndex *found)
{
	static const AttrNumber columns[] = {ES_EVENTS_TENANT, ES_EVENTS_TYPE, ES_EVENTS_CATEGORY};
	EsIndex                 index = {.kind = ES_INDEX_PLAIN};

	if (!OidIsValid(found->oid))
		return;
	for (int i = 0; i < found->ncolumns; i++)
		index.columns[i] = columns[found->by[i]];
	index.columns[found->ncolumns] = ES_EVENTS_POSITION;
	put_index(indexes, &index, found->oid);
}

/* The indexes that the store needs, and the others that it reads by. */
static void
list_indexes(EsVerify *verify, Indexes *indexes)
{
	EsReadIndex found[ES_BY_SETS];

	for (int i = 0; i < es_events.nindexes; i++)
	{
		const EsIndex *index = &es_events.indexes[i];

		if (index->needed)
			put_index(indexes, index, es_events.found->indexes[i]);
	}
	es_read_index_find(verify->events, found);
	for (int i = 0; i < ES_BY_SETS; i++)
		put_read_index(indexes, &found[i]);
}

/* es_verify: the indexes of es.events against the table, both ways. */
void
es_verify_indexes(EsVerify *verify)
{
	Indexes indexes = {0};
	EsTally tally;

	es_tally_begin(&tally, verify, "indexes");
	if (!es_verify_have(verify, &tally, es_events.found->relid, "es.events"))
		return;
	list_indexes(verify, &indexes);
	sum_rows(verify, &indexes);
	for (int i = 0; i < indexes.n; i++)
		check_index(verify, &tally, &indexes.each[i]);
	es_tally_end(&tally, "es.events",
				 "%s in the table, and the same in each of %d indexes; each id once.",
				 es_verify_count(indexes.each[0].rows.n, "row", "rows"), indexes.n);
}
