/*
 * shared.h
 *		Shared memory: a slot for each database that has a store.
 */
#ifndef ES_SHARED_H
#define ES_SHARED_H

#include "datatype/timestamp.h"
#include "port/atomics.h"
#include "storage/condition_variable.h"
#include "storage/lwlock.h"
#include "storage/proc.h"

#include "holder.h"

#define ES_ERROR_LENGTH 400

typedef enum EsWorkerState
{
	ES_WORKER_NONE,    /* there is none */
	ES_WORKER_WANTED,  /* the launcher shall start one */
	ES_WORKER_NO_SLOT, /* the server has no room for another worker */
	ES_WORKER_STARTING,
	ES_WORKER_IDLE,
	ES_WORKER_BUSY,
	ES_WORKER_BACKOFF, /* it has met an error and will try again */
	ES_WORKER_HELD,    /* a statement about the database keeps it away */
	ES_WORKER_RESTS    /* it has made room for another store's, and comes when it is asked for */
} EsWorkerState;

typedef struct EsSlot
{
	/* Changed with the lock held; the publisher may be read without. */
	Oid           database; /* InvalidOid: the slot is free */
	int           pid;      /* of the publisher, or 0 */
	PGPROC       *publisher;
	EsWorkerState state;
	EsHolder      holder;     /* of the horizon, as the publisher knows; floor 0: nobody */
	int           held;       /* how many statements keep the publisher away */
	bool          has_store;  /* a publisher has found one */
	bool          queue_full; /* notifying waits for listeners to read */
	TimestampTz   started_at; /* shown; what decides are moments, as clock.c has them */
	TimestampTz   error_at;
	int64         turn_at;  /* when its last turn began */
	int64         retry_at; /* the launcher starts none before */
	char          error[ES_ERROR_LENGTH];

	pg_atomic_uint32 dirty; /* something has ended since the last tick began */
	pg_atomic_uint64 tick_at;
	pg_atomic_uint64 ticks;
	pg_atomic_uint64 notifications;
	pg_atomic_uint64 skipped; /* times that notifying had to be put off */
	pg_atomic_uint64 notified;
	pg_atomic_uint64 appends;
	pg_atomic_uint64 events;
	pg_atomic_uint64 conflicts;
	pg_atomic_uint64 repeats;

	ConditionVariable published; /* the horizon has moved */
	ConditionVariable changed;   /* the publisher has come or gone */
} EsSlot;

/* In EsShared.barrier: a prepared transaction; a running one is 1. */
#define ES_BARRIER_PREPARED (UINT64CONST(1) << 32)

typedef struct EsShared
{
	int64   layout; /* ES_LAYOUT; stays the first member */
	LWLock *lock;
	int64   life; /* a number of this life of the server: its transactions' names */
	bool    preloaded;
	int     launcher_pid;
	PGPROC *launcher;
	bool    starved; /* a publisher waits for a worker slot */

	/* Not in the slots, which a database may have not, lose, or get another of. */
	pg_atomic_uint64 lazy_begun; /* ends of appenders that do not wait for the disk */
	pg_atomic_uint64 lazy_ended; /* the same, when their transactions have ended */
	pg_atomic_uint64 barrier;    /* who has raised it: running ones, and prepared ones */

	int    nslots;
	EsSlot slots[FLEXIBLE_ARRAY_MEMBER];
} EsShared;

typedef enum EsCount
{
	ES_COUNT_APPENDED,
	ES_COUNT_REPEATED,
	ES_COUNT_CONFLICT
} EsCount;

extern void      es_shared_init(void);
extern EsShared *es_shared(void);
extern EsSlot   *es_shared_known(Oid database);
extern EsSlot   *es_shared_slot(Oid database);
extern EsSlot   *es_shared_mine(void);
extern EsSlot   *es_shared_mine_if_known(void);
extern void      es_shared_free(EsSlot *slot);
extern bool      es_shared_publishes(EsSlot *slot);
extern bool      es_shared_note_error(EsSlot *slot, const char *message);
extern void      es_shared_wake(EsSlot *slot);
extern void      es_shared_wake_launcher(void);

extern void es_shared_count(EsCount what, int nevents);
extern void es_shared_wake_at_end(void);
extern void es_shared_hold(EsSlot *slot);
extern void es_shared_ask(Oid database);

#endif
