/*
 * guard.h
 *		The guards of the store's tables.
 */
#ifndef ES_GUARD_H
#define ES_GUARD_H

#include "utils/relcache.h"

#define ES_GUARD_FUNCTION  "pg_eventstore_guard"
#define ES_GUARD_ROW       "es_guard_row"
#define ES_GUARD_STATEMENT "es_guard_statement"

extern bool es_guard_resetting; /* es_reset() is emptying the store */
extern Oid  es_guard_open;      /* the table that es_init() is writing, or InvalidOid */

extern bool es_guard_is_own_function(Oid function);
extern bool es_guard_stand(Relation rel, char **missing);
extern bool es_guard_has_foreign_before(Relation rel);

#endif
