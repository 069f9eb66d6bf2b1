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

#define ES_SCAN_MAX_KEYS 5

/* Says which of the rows that a scan finds are the reader's to see. */
typedef struct EsRowFilter
{
	bool (*shows)(struct EsRowFilter *filter, TupleTableSlot *row);
	void (*end)(struct EsRowFilter *filter); /* with the scan; NULL: it outlives it */
} EsRowFilter;

typedef struct EsScan
{
	Relation        heap;
	Relation        index;
	IndexScanDesc   desc;
	TupleTableSlot *slot;
	EsRowFilter    *filter; /* what passes rows over; or NULL */
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
extern void es_scan_read_as(EsScan *scan, Snapshot snapshot);
extern TupleTableSlot *es_scan_next(EsScan *scan, ScanDirection direction);
extern EsScan         *es_scan_begin_entries(Relation heap, Oid index, int nkeys);
extern bool            es_scan_next_entry(EsScan *scan, ScanDirection direction, AttrNumber column,
										  int64 *value);
extern void            es_scan_end(EsScan *scan);

#endif
