/*
 * guard.h
 *		The guards of es.events.
 */
#ifndef ES_GUARD_H
#define ES_GUARD_H

/* A table that guards stand on.  Some refuse; others let the owner pass, and tell. */
typedef struct EsGuarded
{
	const char *table;
	const char *tells; /* whom that rows have changed; NULL: they refuse */
} EsGuarded;

extern const EsGuarded es_guard_tables[];
extern const int       es_guard_ntables;

extern bool es_guard_resetting; /* es_reset() is emptying the store */
extern Oid  es_guard_open;      /* the table that es_init() is writing, or InvalidOid */

#endif
