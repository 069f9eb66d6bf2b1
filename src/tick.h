/*
 * tick.h
 *		Ticks: the moves of the horizon, rows of es.ticks.
 */
#ifndef ES_TICK_H
#define ES_TICK_H

#include "access/xlogdefs.h"
#include "datatype/timestamp.h"
#include "utils/snapshot.h"

#include "marker.h"
#include "store.h"

typedef struct EsTick
{
	int64       position;      /* the horizon */
	int64       last_position; /* the last that had been given */
	TimestampTz recorded_at;
	int64       life;     /* of the server, whose transactions the holders are */
	int64       notified; /* up to which listeners had been told */
	int64       pruned;   /* up to which older ticks had been thinned out */
	int         nholders;
	EsHolder   *holders;

	/* not stored */
	uint64     generation; /* of the store when it was read */
	Oid        file;       /* of es.ticks: another one when the store was emptied */
	uint64     settled;    /* lazy ends, and one, that a tick has seen to the disk; 0: unknown */
	XLogRecPtr wal;        /* up to where it must be flushed before this tick counts */
} EsTick;

extern const EsTable es_ticks;

extern bool  es_tick_newest(EsTick *tick);
extern void  es_tick_write(const EsTick *tick);
extern int64 es_tick_prune(const EsTick *newest, TimestampTz next_at);
extern int64 es_tick_horizon(Snapshot snapshot);

#endif
