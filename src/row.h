/*
 * row.h
 *		The columns of a row in a slot: to be read, and to be written.
 */
#ifndef ES_ROW_H
#define ES_ROW_H

#include "executor/tuptable.h"
#include "fmgr.h"

extern bool es_row_is_own(TupleTableSlot *slot);

/* Columns of a row, which must not be null. */
static inline Datum
es_row_column(TupleTableSlot *slot, AttrNumber column)
{
	bool isnull;

	return slot_getattr(slot, column, &isnull);
}

static inline int64
es_row_int8(TupleTableSlot *slot, AttrNumber column)
{
	return DatumGetInt64(es_row_column(slot, column));
}

static inline int32
es_row_int4(TupleTableSlot *slot, AttrNumber column)
{
	return DatumGetInt32(es_row_column(slot, column));
}

static inline text *
es_row_text(TupleTableSlot *slot, AttrNumber column)
{
	return DatumGetTextPP(es_row_column(slot, column));
}

/* A row to be written: all its columns are null, also dropped ones, until they are put. */
static inline void
es_row_clear(TupleTableSlot *slot)
{
	ExecClearTuple(slot);
	memset(slot->tts_isnull, true, slot->tts_tupleDescriptor->natts * sizeof(bool));
}

static inline void
es_row_put(TupleTableSlot *slot, AttrNumber column, Datum value)
{
	slot->tts_values[column - 1] = value;
	slot->tts_isnull[column - 1] = false;
}

/* The same for a pointer; NULL leaves the column null. */
static inline void
es_row_put_pointer(TupleTableSlot *slot, AttrNumber column, const void *pointer)
{
	if (pointer != NULL)
		es_row_put(slot, column, PointerGetDatum(pointer));
}

#endif
