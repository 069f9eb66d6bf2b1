/*
 * round.h
 *		A publisher's round: a tick, and telling listeners of it.
 */
#ifndef ES_ROUND_H
#define ES_ROUND_H

#include "channel.h"
#include "shared.h"
#include "tick.h"

/* What a publisher keeps from one round to the next. */
typedef struct EsRound
{
	EsSlot       *slot;
	const char   *database;
	MemoryContext context;    /* of what outlives a transaction */
	EsTick        state;      /* what the next tick goes on from; zeros: from the table */
	int64         notified;   /* up to where listeners were told */
	int64         remembered; /* of that, what is written */
	Oid           file;       /* of es.ticks, that these two are of */
	int64         notify_at;  /* the moment before which it does not tell */
	int           notify_max; /* events that one transaction carries */
	EsChannels    channels;   /* whom to tell */
} EsRound;

extern void es_round_begin(EsRound *round, EsSlot *slot, const char *database);
extern void es_round_publish(EsRound *round);
extern void es_round_remember_notified(EsRound *round);
extern void es_round_forget(EsRound *round);
extern bool es_round_is_held_by_prepared(const EsRound *round);

#endif
