/*
 * waiting.h
 *		What sessions wait for, by name.
 */
#ifndef ES_WAITING_H
#define ES_WAITING_H

#include "storage/lock.h"

#include "lock.h"

/* A wait for a lock; it lives in the waiting function's frame. */
typedef struct EsWaiting
{
	EsLockKind           kind;
	text                *tenant;
	text                *stream;   /* NULL: for several at once */
	int                  nstreams; /* 0: for all that there are */
	ErrorContextCallback context;
} EsWaiting;

extern void es_waiting_init(void);
extern void es_waiting_begin(EsWaiting *waiting, const LOCKTAG *tag);
extern void es_waiting_end(EsWaiting *waiting);

#endif
