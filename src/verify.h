/*
 * verify.h
 *		What the checks of es_verify() share.
 *
 * A check is a function on EsVerify, named in the list of verify.c.  It stands in the
 * module that owns what it looks at.  It keeps a tally for each thing that it tells of:
 *
 *		EsTally tally;
 *
 *		es_tally_begin(&tally, verify, "ticks");
 *		... es_tally_found(&tally, ES_VERIFY_ERROR, where, "...") for what is wrong ...
 *		es_tally_end(&tally, "es.ticks", "what was looked at, with counts");
 *
 * It judges rows as the snapshot has them, takes no lock but AccessShareLock, keeps
 * nothing that grows with the store, and looks for interrupts.
 */
#ifndef ES_VERIFY_H
#define ES_VERIFY_H

#include "datatype/timestamp.h"
#include "rows.h"
#include "store.h"
#include "utils/snapshot.h"

#define ES_VERIFY_OK      "ok"
#define ES_VERIFY_MORE    "more" /* it was not looked at yet */
#define ES_VERIFY_WARNING "warning"
#define ES_VERIFY_ERROR   "error"

#define ES_VERIFY_FINDINGS 100 /* so many of a tally are told one by one */

typedef struct EsVerify
{
	EsRows        rows;
	Snapshot      snapshot;
	MemoryContext scratch;   /* emptied by es_verify_next() */
	bool          known;     /* its tables are of this library's version */
	Relation      events;    /* NULL: as InvalidOid */
	int64         after;     /* events above this position are looked at, */
	int64         max_count; /* at most so many of them */
	int64         reached;   /* the last position that was looked at */
	bool          at_end;    /* no event is above it */
} EsVerify;

/* The findings of one kind. */
typedef struct EsTally
{
	EsVerify   *verify;
	const char *what;
	int64       findings;
} EsTally;

/* A row of es.events, with what is asked of it. */
typedef struct EsVerifyEvent
{
	TupleTableSlot *slot;
	text           *tenant;
	text           *stream;
	text           *category;
	int64           version;
	int64           position;
	TimestampTz     recorded_at;
} EsVerifyEvent;

typedef void (*EsVerifyPart)(EsVerify *verify, void *arg);

extern void es_tally_begin(EsTally *tally, EsVerify *verify, const char *what);
extern void es_tally_found(EsTally *tally, const char *verdict, const char *where,
						   const char *detail, ...) pg_attribute_printf(4, 5);
extern void es_tally_end(EsTally *tally, const char *where, const char *detail, ...)
	pg_attribute_printf(3, 4);
extern void es_tally_skip(EsTally *tally, const char *where);

extern void  es_verify_next(EsVerify *verify);
extern char *es_verify_try(EsVerify *verify, int sqlstate, EsVerifyPart part, void *arg);
extern char *es_verify_count(int64 n, const char *one, const char *many);
extern bool  es_verify_have(const EsVerify *verify, EsTally *tally, Oid relid, const char *where);

extern EsVerifyEvent es_verify_read(EsVerify *verify, TupleTableSlot *slot);
extern char         *es_verify_place(EsVerify *verify, const EsVerifyEvent *event);

/* The checks that other modules have. */
extern void es_verify_tables(EsVerify *verify);
extern void es_verify_events(EsVerify *verify);
extern void es_verify_indexes(EsVerify *verify);
extern void es_verify_sequence(EsVerify *verify);
extern void es_tick_verify(EsVerify *verify);
extern void es_epoch_verify(EsVerify *verify);
extern void es_snapshot_verify(EsVerify *verify);
extern void es_channel_verify(EsVerify *verify);
extern void es_binding_verify(EsVerify *verify);

#endif
