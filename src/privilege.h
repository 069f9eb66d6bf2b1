/*
 * privilege.h
 *		What direct access to a table of the store skips.
 */
#ifndef ES_PRIVILEGE_H
#define ES_PRIVILEGE_H

#include "table.h"

extern void es_privilege_check_read(const EsTable *table);
extern void es_privilege_check_write(const EsTable *table, const char *function);

#endif
