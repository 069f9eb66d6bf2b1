/*
 * reader.h
 *		Readers: how the functions that answer with rows of es.events make them,
 *		one at a time, for whoever asks.
 */
#ifndef ES_READER_H
#define ES_READER_H

#include "access/attnum.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "utils/snapshot.h"

#include "store.h"

#define ES_READER_MAX_NARGS   10
#define ES_READER_MAX_NATTS   10
#define ES_READER_MAX_INDEXES 3

/* A row on its way out; columns that nobody wants may be left as they are. */
typedef struct EsRow
{
	Datum     *values;
	bool      *nulls;
	int        natts;
	AttrNumber last; /* the last column of es.events that is wanted */
	int        ncopies;
	struct
	{
		int16 from; /* column of es.events, counted from 0 */
		int16 to;
	} copies[ES_READER_MAX_NATTS];
} EsRow;

/*
 * A function that reads.  open() takes the function's arguments and makes a
 * reader in the current memory context, where it stays until it is closed, or
 * dies with the context and the transaction.  Arguments must live as long as the
 * reader.  next() is called in that context too and answers false at the end,
 * after which it is not called again.  What a row points to is there until the
 * next call.
 */
typedef struct EsReaderKind
{
	const char       *name; /* of the function */
	PGFunction        function;
	int               nargs;
	int               natts;
	const AttrNumber *columns;   /* of es.events; 0: a text from elsewhere */
	AttrNumber        order;     /* the bigint column that the rows are in order of */
	int               max_count; /* the number of that argument; -1: there is none */
	int               backwards; /* the same */
	void *(*open)(FunctionCallInfo fcinfo, Snapshot snapshot);
	bool (*next)(void *reader, EsRow *row);
	void (*close)(void *reader);
	/* for EXPLAIN: the indexes that it has read by so far, and how many rows for nothing */
	int (*indexes)(void *reader, Oid *indexes);
	int64 (*removed)(void *reader);
	/* the indexes that a call may read by, as far as its arguments are known; 0: cannot tell */
	int (*expect)(FunctionCallInfo fcinfo, const bool *known, Oid *indexes);
} EsReaderKind;

#define ES_READER_ALL_COLUMNS 0x7FFFFFFF

extern void  es_reader_init_row(const EsReaderKind *kind, EsRow *row, int wanted, Datum *values,
								bool *nulls);
extern void  es_reader_fill(EsRow *row, TupleTableSlot *event);
extern Datum es_reader_run(FunctionCallInfo fcinfo, const EsReaderKind *kind);

extern const EsReaderKind es_load_reader;
extern const EsReaderKind es_read_reader;
extern const EsReaderKind es_rehydrate_reader;

#endif
