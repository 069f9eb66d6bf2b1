/*
 * notify.h
 *		Tells listeners what has been published.
 */
#ifndef ES_NOTIFY_H
#define ES_NOTIFY_H

#include "channel.h"
#include "store.h"

extern int64 es_notify_range(EsChannels *channels, int64 after, int64 upto, int max_events,
							 int *sent);

#endif
