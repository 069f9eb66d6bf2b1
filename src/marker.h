/*
 * marker.h
 *		The marker lock: who holds it has appended and has not yet ended.
 */
#ifndef ES_MARKER_H
#define ES_MARKER_H

#include "store.h"

/* A transaction that holds the marker, as the lock manager names it. */
typedef struct EsHolder
{
	int64 backend; /* -1: a transaction prepared in another life of the server */
	int64 transaction;
	int64 floor; /* it has no position below this one */
} EsHolder;

extern void      es_marker_take(const EsStore **store);
extern bool      es_marker_is_held(void);
extern void      es_marker_note(int64 position);
extern int64     es_marker_first(void);
extern int       es_marker_pid(const EsHolder *holder);
extern EsHolder *es_marker_holders(const EsStore *store, int *n);

#endif
