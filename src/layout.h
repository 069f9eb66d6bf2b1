/*
 * layout.h
 *		What the store's tables and indexes look like.
 */
#ifndef ES_LAYOUT_H
#define ES_LAYOUT_H

#include "catalog/pg_attribute.h"

#include "compat.h"
#include "table.h"

pg_noreturn extern void es_layout_not_ready(const char *detail);
pg_noreturn extern void es_layout_not_ours(Oid relid, const char *what);

extern bool es_layout_is_column(Form_pg_attribute att, const EsColumn *column);
extern bool es_layout_is_plain(Relation index, int column);
extern void es_layout_check_heap(Relation rel);
extern void es_layout_check_table(Relation rel, const EsTable *table);
extern void es_layout_check_plain_index(Relation rel, Oid indexid);
extern bool es_layout_has_foreign_checks(Relation rel, const EsTable *table);
extern Oid  es_layout_find_index(Relation rel, const EsIndex *wanted);

/* How many columns an index of the store's has. */
static inline int
es_layout_ncolumns(const EsIndex *index)
{
	int n = 0;

	while (n < ES_INDEX_MAX_COLUMNS && index->columns[n] != 0)
		n++;
	return n;
}

#endif
