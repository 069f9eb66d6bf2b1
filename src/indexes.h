/*
 * indexes.h
 *		The indexes of a table, written without the executor.
 */
#ifndef ES_INDEXES_H
#define ES_INDEXES_H

#include "executor/tuptable.h"
#include "utils/relcache.h"

typedef struct EsIndexes EsIndexes;

extern EsIndexes *es_indexes_open(Relation rel);
extern void       es_indexes_insert(const EsIndexes *indexes, TupleTableSlot **rows, int nrows);
extern void       es_indexes_close(EsIndexes *indexes);

#endif
