/*
 * writer.h
 *		Writes rows into one of the store's tables, with all that hangs on it.
 */
#ifndef ES_WRITER_H
#define ES_WRITER_H

#include "executor/tuptable.h"
#include "utils/relcache.h"

typedef struct EsWriter EsWriter;

/* Looks at each row before it is stored, and raises where it may not be. */
typedef struct EsRowCheck
{
	void (*check)(struct EsRowCheck *check, TupleTableSlot *row);
	void (*end)(struct EsRowCheck *check);
} EsRowCheck;

extern EsWriter *es_writer_begin(Relation rel, int nrows, bool plain_before, bool plain_checks,
								 EsRowCheck *check);
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

#endif
