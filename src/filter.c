/*
 * filter.c
 *		Which events a reader of the log, or a channel, wants.  One meaning for
 *		all that filter: categories, types, stream_prefix, since, until, tenant.
 */
#include "postgres.h"

#include "event.h"
#include "filter.h"
#include "scan.h"
#include "store.h"

static bool
begins_with(text *name, text *prefix)
{
	return VARSIZE_ANY_EXHDR(name) >= VARSIZE_ANY_EXHDR(prefix) &&
		   memcmp(VARDATA_ANY(name), VARDATA_ANY(prefix), VARSIZE_ANY_EXHDR(prefix)) == 0;
}

/* Is the name one of n sorted ones?  n = -1 is no filter. */
static bool
is_one_of(text *name, text **names, int n)
{
	int low = 0;
	int high = n;

	while (low < high)
	{
		int middle = low + (high - low) / 2;
		int order = es_compare_texts(name, names[middle]);

		if (order == 0)
			return true;
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return n < 0;
}

/* Does the filter let this row of es.events pass? */
bool
es_filter_wants(const EsFilter *filter, TupleTableSlot *event)
{
	TimestampTz at = es_scan_int8(event, ES_EVENTS_RECORDED_AT);

	return at >= filter->since && at <= filter->until &&
		   (filter->tenant == NULL ||
			es_same_text(es_scan_text(event, ES_EVENTS_TENANT), filter->tenant)) &&
		   (filter->prefix == NULL ||
			begins_with(es_scan_text(event, ES_EVENTS_STREAM), filter->prefix)) &&
		   (filter->ncategories < 0 || is_one_of(es_scan_text(event, ES_EVENTS_CATEGORY),
												 filter->categories, filter->ncategories)) &&
		   (filter->ntypes < 0 ||
			is_one_of(es_scan_text(event, ES_EVENTS_TYPE), filter->types, filter->ntypes));
}
