/*
 * marker.h
 *		The marker lock: who holds it has appended and has not yet ended.
 */
#ifndef ES_MARKER_H
#define ES_MARKER_H

#include "holder.h"
#include "store.h"

extern const EsTable es_appending;

extern void      es_marker_take(void);
extern bool      es_marker_is_held(void);
extern void      es_marker_note(int64 position);
extern int64     es_marker_first(void);
extern EsHolder *es_marker_holders(int *n);

#endif
