/*
 * writer.h
 *		Writes rows into one of the store's tables, with all that hangs on it.
 */
#ifndef ES_WRITER_H
#define ES_WRITER_H

#include "executor/tuptable.h"
#include "utils/relcache.h"

#include "policy.h"

typedef struct EsWriter EsWriter;

extern EsWriter *es_writer_begin(Relation rel, int nrows, bool plain_before, bool plain_checks,
								 EsPolicyCheck *policies);
extern TupleTableSlot *es_writer_next(EsWriter *writer);
extern void            es_writer_add(EsWriter *writer);
extern void            es_writer_flush(EsWriter *writer);
extern void            es_writer_end(EsWriter *writer);

/*
 * The tables that are being written to, innermost first: as long as there are events
 * that have their numbers and are not all stored and indexed, whatever is evaluated
 * meanwhile; and, on top of that, the BEFORE triggers that are firing: of a row, which is
 * in the slot, or of a statement, where slot is NULL.
 */
typedef struct EsFiring
{
	Oid                    rel;
	bool                   before; /* BEFORE triggers are firing */
	const TupleTableSlot  *slot;
	const struct EsFiring *outer;
} EsFiring;

extern const EsFiring *es_writer_firing;

/* Gives a column of es_writer_next()'s slot its value. */
static inline void
es_writer_put(TupleTableSlot *slot, AttrNumber column, Datum datum)
{
	slot->tts_values[column - 1] = datum;
	slot->tts_isnull[column - 1] = false;
}

/* The same for a pointer; NULL leaves the column null. */
static inline void
es_writer_put_pointer(TupleTableSlot *slot, AttrNumber column, const void *pointer)
{
	if (pointer != NULL)
		es_writer_put(slot, column, PointerGetDatum(pointer));
}

#endif
