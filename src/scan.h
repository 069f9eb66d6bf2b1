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
#include "utils/relcache.h"
#include "utils/snapshot.h"

#define ES_SCAN_MAX_KEYS 4

typedef struct EsScan
{
	Relation        index;
	IndexScanDesc   desc;
	TupleTableSlot *slot;
	int             nkeys;
	ScanKeyData     keys[ES_SCAN_MAX_KEYS];
} EsScan;

extern EsScan *es_scan_begin(Relation heap, Oid index, Snapshot snapshot, int nkeys);
extern void es_scan_text_key(EsScan *scan, AttrNumber column, StrategyNumber strategy, text *value);
extern void es_scan_int8_key(EsScan *scan, AttrNumber column, StrategyNumber strategy, int64 value);
extern void es_scan_int4_key(EsScan *scan, AttrNumber column, StrategyNumber strategy, int32 value);
extern void es_scan_uuid_key(EsScan *scan, AttrNumber column, const void *value);
extern void es_scan_seek(EsScan *scan);
extern TupleTableSlot *es_scan_next(EsScan *scan, ScanDirection direction);
extern void            es_scan_end(EsScan *scan);

#endif
