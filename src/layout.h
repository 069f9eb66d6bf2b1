/*
 * layout.h
 *		What the store's tables and indexes look like.
 */
#ifndef ES_LAYOUT_H
#define ES_LAYOUT_H

#include "catalog/pg_attribute.h"

#include "compat.h"
#include "store.h"

typedef struct EsColumn
{
	const char *name;
	Oid         type;
	bool        notnull;
} EsColumn;

extern const EsColumn es_layout_events[];
extern const EsColumn es_layout_snapshots[];
extern const EsColumn es_layout_ticks[];
extern const EsColumn es_layout_epochs[];
extern const EsColumn es_layout_channels[];
extern const EsColumn es_layout_store[];
extern const EsColumn es_layout_bindings[];

extern const EsStoreIndex es_layout_indexes[];
extern const int          es_layout_nindexes;
extern const EsStoreIndex es_layout_snapshots_index;
extern const EsStoreIndex es_layout_ticks_index;

pg_noreturn extern void es_layout_not_ready(const char *detail);
pg_noreturn extern void es_layout_not_ours(Oid relid, const char *what);

extern EsIndexState es_layout_index_state(Relation events, const char *name);
extern bool         es_layout_is_column(Form_pg_attribute att, const EsColumn *column);
extern void         es_layout_check_heap(Relation rel);
extern void         es_layout_check_table(Relation rel, const EsColumn *columns, int n);
extern void         es_layout_check_ticks_index(Relation rel, Oid indexid);
extern bool         es_layout_find_index(EsStore *s, Relation rel, const EsStoreIndex *wanted);
extern void         es_layout_need_index(EsStore *s, Relation rel, const EsStoreIndex *wanted);

#endif
