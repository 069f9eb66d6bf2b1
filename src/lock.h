/*
 * lock.h
 *		Locks on streams and their like, in a lock-tag space of our own.
 */
#ifndef ES_LOCK_H
#define ES_LOCK_H

#include "table.h"

/* What a lock is about; a part of its tag. */
typedef enum EsLockKind
{
	ES_LOCK_STREAM = 0xE501,   /* appends to one stream */
	ES_LOCK_SNAPSHOT = 0xE502, /* changes of one stream's snapshots */
	ES_LOCK_STORE = 0xE503,    /* creation and migration of the store */
	ES_LOCK_EPOCH = 0xE504,    /* opening of an epoch */
	ES_LOCK_ALL = 0xE505,      /* the coarse lock, on all streams at once */
	ES_LOCK_CHANNELS = 0xE506  /* how many channels a role has */
} EsLockKind;

/* With a kind: the gate where those wait for whom the lock's queue is too long. */
#define ES_LOCK_GATE 0x10

extern const EsTable es_all_streams;

extern void   es_lock_init(void);
extern uint64 es_lock_hash(text *tenant, text *stream);
extern void   es_lock_streams(text *tenant, text *const *names, const uint64 *hashes, int n,
							  Oid all_streams, Oid table);
extern void   es_lock_snapshots(text *tenant, text *stream, Oid snapshots);
extern void   es_lock_store(void);
extern void   es_lock_channels(Oid role);
extern void   es_lock_epoch(void);
extern void   es_unlock_epoch(void);

#endif
