/*
 * append.h
 *		Appends: one request, whatever function it came by.
 */
#ifndef ES_APPEND_H
#define ES_APPEND_H

#include "compat.h"
#include "event.h"
#include "log.h"
#include "write.h"

/* Meanings of an expected version below 1. */
#define ES_EXPECT_NO_STREAM 0
#define ES_EXPECT_ANY       (-1)
#define ES_EXPECT_EXISTS    (-2)

/* A stream of a request. */
typedef struct EsAppendStream
{
	uint64 hash; /* what it is locked by */
	int64  expected;
	int64  actual; /* its version before the call */
	int    named;  /* where the request first names it */
} EsAppendStream;

/*
 * A request.  Streams are sorted by their hash; those that are only to be
 * checked have no event.  streams and log hold the same streams in one order.
 */
typedef struct EsAppend
{
	const char     *function; /* for messages: "es_append()" */
	text           *tenant;
	int             nstreams;
	EsAppendStream *streams;
	EsLogStream    *log;
	int             nevents;
	EsEvent        *events;
	int             nids; /* how many events have an id of the client's */
} EsAppend;

typedef enum EsOutcome
{
	ES_APPENDED,
	ES_REPEATED, /* a retry: events have the original versions and positions */
	ES_CONFLICT  /* a stream is not at its expected version; nothing was written */
} EsOutcome;

extern void             es_append_add_stream(EsAppend *append, int i, text *name, int64 expected);
extern void             es_append_check_expected(int64 expected, const EsPlace *place);
extern const EsEvent   *es_append_find_double(const EsAppend *append);
pg_noreturn extern void es_append_raise_double(const EsEvent *event, const EsPlace *place);
extern EsOutcome        es_append_run(EsAppend *append);
extern bool             es_append_is_expected(const EsAppendStream *stream);
pg_noreturn extern void es_append_raise_conflict(const EsAppend *append);

#endif
