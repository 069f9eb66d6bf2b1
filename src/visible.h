/*
 * visible.h
 *		es.events as a reader may see it.
 */
#ifndef ES_VISIBLE_H
#define ES_VISIBLE_H

#include "scan.h"
#include "store.h"
#include "writer.h"

typedef struct EsVisible EsVisible;

extern Relation   es_visible_open(void);
extern EsVisible *es_visible_begin(Relation events, Snapshot snapshot, bool published);
extern void       es_visible_end(EsVisible *visible);
extern EsScan    *es_visible_filter(EsScan *scan, EsVisible *visible);
extern EsScan    *es_visible_scan(EsScan *scan);
extern void       es_visible_search(EsScan *scan, bool all);
extern int64      es_visible_hidden(const EsScan *scan);
extern int64      es_visible_count(const EsVisible *visible);
extern bool       es_visible_is(Relation events, TupleTableSlot *event);

extern EsRowCheck *es_visible_check(Relation events);

#endif
