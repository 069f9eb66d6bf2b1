/*
 * table_lock.h
 *		Strong locks on the store's tables, which let others pass.
 */
#ifndef ES_TABLE_LOCK_H
#define ES_TABLE_LOCK_H

#include "storage/lockdefs.h"

extern void es_table_lock(const Oid *relids, int n, LOCKMODE mode);

#endif
