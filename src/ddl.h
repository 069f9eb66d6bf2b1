/*
 * ddl.h
 *		Guards against statements that would undo what the store keeps.
 */
#ifndef ES_DDL_H
#define ES_DDL_H

#include "nodes/nodes.h"

extern int es_ddl_own; /* so many of the store's own functions are changing its objects */

extern void es_ddl_init(void);
extern bool es_ddl_may_concern(Node *stmt);
extern void es_ddl_begin(Node *stmt);
extern void es_ddl_end(Node *stmt);

#endif
