/*
 * lock.h
 *		Locks on streams and their like, in a lock-tag space of our own.
 */
#ifndef ES_LOCK_H
#define ES_LOCK_H

#include "lock_tag.h"
#include "table.h"

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
