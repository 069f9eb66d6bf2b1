/*
 * publish.h
 *		Publishing: how the horizon moves.
 */
#ifndef ES_PUBLISH_H
#define ES_PUBLISH_H

#include "store.h"
#include "tick.h"

extern void es_publish_init(void);
extern bool es_publish_tick(EsTick *tick, bool remember);
extern bool es_publish_is_flushed(const EsTick *tick);

#endif
