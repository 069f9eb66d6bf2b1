/*
 * read_index.h
 *		Which indexes of es.events serve a reader of the log, and which one is narrow.
 */
#ifndef ES_READ_INDEX_H
#define ES_READ_INDEX_H

#include "access/sdir.h"
#include "utils/relcache.h"

#include "scan.h"

/* What es_read may ask for by name, and so an index may begin with. */
enum
{
	ES_BY_TENANT,
	ES_BY_TYPE,
	ES_BY_CATEGORY,
	ES_BY_NATTS,
	ES_BY_SETS = 1 << ES_BY_NATTS
};

/* An index that has the rows of one tenant, type, category or more in position order. */
typedef struct EsReadIndex
{
	Oid oid;
	int ncolumns;        /* that come before the position */
	int by[ES_BY_NATTS]; /* these columns, as above */
} EsReadIndex;

/* More scans than this are not merged: the reader takes a wider index. */
#define ES_READ_INDEX_MAX_SCANS 64
/* No set of columns is part of another one: of three columns there are three such at most. */
#define ES_READ_INDEX_MAX_CHOICES 3

/* The names that a reader asks for, for each column that an index may begin with. */
typedef struct EsReadNames
{
	struct
	{
		int    n; /* -1: it does not ask by this column */
		text **names;
	} by[ES_BY_NATTS];
} EsReadNames;

/* What is read: the positions between these two, in one direction. */
typedef struct EsReadRange
{
	int64         after;
	int64         before;
	ScanDirection direction;
} EsReadRange;

extern void               es_read_index_find(Relation events, EsReadIndex *indexes);
extern const EsReadIndex *es_read_index_all(void);

extern bool es_read_index_has(const EsReadIndex *index, int by);
extern int  es_read_index_nscans(const EsReadIndex *index, const EsReadNames *names);
extern int  es_read_index_choices(const EsReadNames *names, EsReadIndex *choices);
extern void es_read_index_seek(EsScan *scan, const EsReadIndex *index, const EsReadNames *names,
							   int nth, const EsReadRange *range);
extern int  es_read_index_narrowest(Relation events, const EsReadIndex *choices, int nchoices,
									int present, const EsReadNames *names, const EsReadRange *range);

#endif
