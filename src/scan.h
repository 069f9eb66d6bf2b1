/*
 * scan.h
 *		Index scans over the store's tables.
 */
#ifndef ES_SCAN_H
#define ES_SCAN_H

#include "access/genam.h"
#include "access/sdir.h"
#include "access/skey.h"
#include "access/stratnum.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"

#include "policy.h"
#include "swap.h"

#define ES_SCAN_MAX_KEYS 5

typedef struct EsScan
{
	Relation        heap;
	Relation        index;
	IndexScanDesc   desc;
	TupleTableSlot *slot;
	bool            filtered; /* by one of these two */
	EsPolicyReader *policies; /* what may hide rows from the reader; or NULL */
	EsSwap          swap;
	int64           hidden; /* rows, by policies */
	int             nkeys;
	int             max_keys;
	ScanKeyData     keys[ES_SCAN_MAX_KEYS];
} EsScan;

extern EsScan *es_scan_begin(Relation heap, Oid index, Snapshot snapshot, int nkeys);
extern EsScan *es_scan_begin_open(Relation heap, Relation index, Snapshot snapshot, int nkeys);
extern void es_scan_text_key(EsScan *scan, AttrNumber column, StrategyNumber strategy, text *value);
extern void es_scan_int8_key(EsScan *scan, AttrNumber column, StrategyNumber strategy, int64 value);
extern void es_scan_int4_key(EsScan *scan, AttrNumber column, StrategyNumber strategy, int32 value);
extern void es_scan_uuid_key(EsScan *scan, AttrNumber column, const void *value);
extern void es_scan_seek(EsScan *scan);
extern void es_scan_filter(EsScan *scan, EsPolicyReader *policies);
extern TupleTableSlot *es_scan_next(EsScan *scan, ScanDirection direction);
extern EsScan         *es_scan_begin_entries(Relation heap, Oid index, int nkeys);
extern bool            es_scan_next_entry(EsScan *scan, ScanDirection direction, AttrNumber column,
										  int64 *value);
extern void            es_scan_end(EsScan *scan);

/* Columns of a row, which must not be null. */
static inline Datum
es_scan_column(TupleTableSlot *slot, AttrNumber column)
{
	bool isnull;

	return slot_getattr(slot, column, &isnull);
}

static inline int64
es_scan_int8(TupleTableSlot *slot, AttrNumber column)
{
	return DatumGetInt64(es_scan_column(slot, column));
}

static inline int32
es_scan_int4(TupleTableSlot *slot, AttrNumber column)
{
	return DatumGetInt32(es_scan_column(slot, column));
}

static inline text *
es_scan_text(TupleTableSlot *slot, AttrNumber column)
{
	return DatumGetTextPP(es_scan_column(slot, column));
}

/* A row to be written: all its columns are null, also dropped ones, until they are put. */
static inline void
es_scan_begin_row(TupleTableSlot *slot)
{
	ExecClearTuple(slot);
	memset(slot->tts_isnull, true, slot->tts_tupleDescriptor->natts * sizeof(bool));
}

static inline void
es_scan_put(TupleTableSlot *slot, AttrNumber column, Datum value)
{
	slot->tts_values[column - 1] = value;
	slot->tts_isnull[column - 1] = false;
}

#endif
