/*
 * epoch.h
 *		Epochs: stretches of history without a lost tail.
 */
#ifndef ES_EPOCH_H
#define ES_EPOCH_H

#include "store.h"

extern const EsTable es_epochs;

extern int64 es_epoch_limit; /* positions above it es_epoch_check_ahead() must look at */

extern void es_epoch_check(void);
extern void es_epoch_check_ahead(int64 position, bool wait);
extern bool es_epoch_is_ahead(void);
extern void es_epoch_set_back(void);
extern bool es_epoch_is_current(void);
extern void es_epoch_check_cursor(int64 cursor, bool may_be_next);

#endif
