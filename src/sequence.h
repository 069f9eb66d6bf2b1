/*
 * sequence.h
 *		The sequence of positions.
 */
#ifndef ES_SEQUENCE_H
#define ES_SEQUENCE_H

#include "access/xlogdefs.h"
#include "table.h"

/* The positions of one call: first set sequence and wanted, and the rest to zero. */
typedef struct EsPositions
{
	Oid   sequence;
	int   wanted; /* how many the call will still ask for */
	int64 next;   /* those taken ahead: from next to below end */
	int64 end;
} EsPositions;

extern const EsTable es_positions;

pg_noreturn extern void es_sequence_raise_gone_back(const char *detail);

extern int64 es_sequence_last(Oid sequence, XLogRecPtr *logged);
extern bool  es_sequence_is_plain(Oid sequence);
extern int64 es_sequence_next(EsPositions *positions);

#endif
