/*
 * rows.h
 *		Answers with rows of es.events in one of their two shapes.
 */
#ifndef ES_ROWS_H
#define ES_ROWS_H

#include "executor/tuptable.h"
#include "fmgr.h"
#include "utils/tuplestore.h"

/* version, type, data, metadata, recorded_at, id, position, payload */
#define ES_EVENT_ROW_NATTS 8
/* position, stream, version, type, data, metadata, recorded_at, id, payload, tenant */
#define ES_LOG_ROW_NATTS 10

typedef struct EsRows
{
	Tuplestorestate *store;
	TupleDesc        desc;
} EsRows;

extern const AttrNumber es_rows_event[ES_EVENT_ROW_NATTS];
extern const AttrNumber es_rows_log[ES_LOG_ROW_NATTS];

extern EsRows es_rows_begin(FunctionCallInfo fcinfo);
extern void   es_rows_put(EsRows *rows, const Datum *values, const bool *nulls);
extern void   es_rows_put_columns(EsRows *rows, TupleTableSlot *slot, const AttrNumber *columns,
								  int n);
extern void   es_rows_put_log(EsRows *rows, TupleTableSlot *slot);

#endif
