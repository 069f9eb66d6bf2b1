/*
 * filter.h
 *		Which events a reader of the log, or a channel, wants.
 */
#ifndef ES_FILTER_H
#define ES_FILTER_H

#include "datatype/timestamp.h"
#include "executor/tuptable.h"

#include "tenants.h"

/* -1 names and NULLs are no filter; names are sorted. */
typedef struct EsFilter
{
	int         ncategories;
	text      **categories;
	int         ntypes;
	text      **types;
	text       *prefix;
	TimestampTz since;
	TimestampTz until;
	EsTenants   tenants;
} EsFilter;

extern bool es_filter_wants(const EsFilter *filter, TupleTableSlot *event);

#endif
