/*
 * ddl.h
 *		Guards against statements that would undo what the store keeps.
 */
#ifndef ES_DDL_H
#define ES_DDL_H

#include "tcop/utility.h"

/* What is true of the utility statement that runs. */
typedef struct EsDdlScope
{
	int  own;      /* what es_owner_ddl was when it began */
	bool is_own;   /* it is one of the store's own functions' */
	bool dropping; /* it is DROP EXTENSION pg_eventstore */
} EsDdlScope;

extern void         es_ddl_init(void);
extern bool         es_ddl_is_kept(Oid relid);
extern EsDdlScope   es_ddl_begin(Node *stmt, ProcessUtilityContext context);
extern PlannedStmt *es_ddl_check(PlannedStmt *planned);
extern void         es_ddl_end(EsDdlScope before);

#endif
