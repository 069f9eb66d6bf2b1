/*
 * swap.h
 *		Knows when es.events lies in a file that a snapshot does not know.
 */
#ifndef ES_SWAP_H
#define ES_SWAP_H

#include "executor/tuptable.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"

#include "compat.h"

/* What a scan over such a file has to look out for. */
typedef struct EsSwap
{
	Relation      heap;
	Snapshot      snapshot; /* the reader's; NULL: it knows the file */
	TransactionId swapped;  /* last wrote the table's row of pg_class */
	bool          strict;   /* all rows are older than the snapshot */
} EsSwap;

extern bool             es_swap_begin(EsSwap *swap, Relation heap, Snapshot snapshot);
pg_noreturn extern void es_swap_raise(Relation heap);
extern bool             es_swap_shows(const EsSwap *swap, TupleTableSlot *slot);

#endif
