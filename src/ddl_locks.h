/*
 * ddl_locks.h
 *		Refuses statements that would wait for a lock which their role may not have.
 */
#ifndef ES_DDL_LOCKS_H
#define ES_DDL_LOCKS_H

#include "nodes/plannodes.h"

extern PlannedStmt *es_ddl_locks_check(PlannedStmt *planned);

#endif
