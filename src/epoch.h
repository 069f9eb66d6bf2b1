/*
 * epoch.h
 *		Epochs: stretches of history without a lost tail.
 */
#ifndef ES_EPOCH_H
#define ES_EPOCH_H

#include "store.h"

extern void es_epoch_check(const EsStore *store);
extern bool es_epoch_is_current(const EsStore *store);
extern void es_epoch_check_cursor(const EsStore *store, int64 cursor, bool may_be_next);

#endif
