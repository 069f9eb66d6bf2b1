/*
 * guard.h
 *		The guards of es.events.
 */
#ifndef ES_GUARD_H
#define ES_GUARD_H

extern bool es_guard_resetting; /* es_reset() is emptying the store */
extern Oid  es_guard_open;      /* the table that es_init() is writing, or InvalidOid */

#endif
