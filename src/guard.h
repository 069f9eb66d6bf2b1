/*
 * guard.h
 *		The guards of es.events.
 */
#ifndef ES_GUARD_H
#define ES_GUARD_H

extern bool es_guard_resetting; /* es_reset() is emptying the store */

#endif
