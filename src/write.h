/*
 * write.h
 *		Writes events to the log.
 */
#ifndef ES_WRITE_H
#define ES_WRITE_H

#include "event.h"
#include "log.h"
#include "store.h"

/* What all events of one call have in common, and each stream. */
typedef struct EsLogStream
{
	text  *name;
	text  *category;
	EsTail tail;
} EsLogStream;

extern void es_write(Relation events, text *tenant, EsLogStream *streams, int nstreams,
					 EsEvent *to_write, int nevents);

#endif
