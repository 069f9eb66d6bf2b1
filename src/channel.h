/*
 * channel.h
 *		Channels that events are announced on.
 */
#ifndef ES_CHANNEL_H
#define ES_CHANNEL_H

#include "filter.h"
#include "store.h"

#define ES_CHANNEL_ALL "es_events" /* tells of every tick; always there */

typedef enum EsChannelKind
{
	ES_CHANNEL_WAKE, /* says that there is something to read */
	ES_CHANNEL_EVENT /* carries each event */
} EsChannelKind;

typedef struct EsChannel
{
	char         *name;
	EsChannelKind kind;
	EsFilter      filter;
	int64         position; /* it tells of events above this one */
	int64         count;    /* for who tells: so many in the present range */
} EsChannel;

/* Channels that are kept from one transaction to the next; zeros: none yet. */
typedef struct EsChannels
{
	MemoryContext context;    /* of the list */
	uint64        generation; /* that it was read at; 0: it is not to be kept */
	int           n;
	EsChannel    *list;
} EsChannels;

extern const EsTable es_channels;

extern const char *es_channel_that_carries(text *tenant);
extern void        es_channel_refresh(EsChannels *kept);

#endif
