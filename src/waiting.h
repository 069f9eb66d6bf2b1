/*
 * waiting.h
 *		What sessions wait for, by name.
 */
#ifndef ES_WAITING_H
#define ES_WAITING_H

#include "storage/lock.h"
#include "storage/s_lock.h"

#include "name.h"
#include "lock_tag.h"

/* A wait for a lock; it lives in the waiting function's frame. */
typedef struct EsWaiting
{
	EsLockKind           kind;
	text                *tenant;
	text                *stream;   /* NULL: for several at once */
	int                  nstreams; /* 0: for all that there are */
	ErrorContextCallback context;
} EsWaiting;

/* What a session says of its wait, in shared memory. */
typedef struct EsWaitingEntry
{
	slock_t            mutex;
	int                pid;
	LocalTransactionId transaction;
	LOCKTAG            tag;
	int16              tenant_size;
	int16              stream_size; /* 0: no name */
	char               tenant[ES_TENANT_MAX_BYTES];
	char               stream[ES_STREAM_MAX_BYTES];
} EsWaitingEntry;

extern void es_waiting_init(void);
extern void es_waiting_begin(EsWaiting *waiting, const LOCKTAG *tag);
extern void es_waiting_end(EsWaiting *waiting);
extern bool es_waiting_find(const LockInstanceData *lock, EsWaitingEntry *found);

#endif
