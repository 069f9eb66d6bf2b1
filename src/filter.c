/*
 * filter.c
 *		Which events a reader of the log, or a channel, wants.  One meaning for
 *		all that filter: categories, types, stream_prefix, since, until, tenant.
 */
#include "postgres.h"

#include "events.h"
#include "filter.h"
#include "row.h"
#include "text.h"

static bool
begins_with(text *name, text *prefix)
{
	return VARSIZE_ANY_EXHDR(name) >= VARSIZE_ANY_EXHDR(prefix) &&
		   memcmp(VARDATA_ANY(name), VARDATA_ANY(prefix), VARSIZE_ANY_EXHDR(prefix)) == 0;
}

/* Does the filter let this row of es.events pass? */
bool
es_filter_wants(const EsFilter *filter, TupleTableSlot *event)
{
	TimestampTz at = es_row_int8(event, ES_EVENTS_RECORDED_AT);

	return at >= filter->since && at <= filter->until &&
		   (filter->tenants.n < 0 ||
			es_tenants_have(&filter->tenants, es_row_text(event, ES_EVENTS_TENANT))) &&
		   (filter->prefix == NULL ||
			begins_with(es_row_text(event, ES_EVENTS_STREAM), filter->prefix)) &&
		   (filter->ncategories < 0 || es_text_is_among(es_row_text(event, ES_EVENTS_CATEGORY),
														filter->categories, filter->ncategories)) &&
		   (filter->ntypes < 0 ||
			es_text_is_among(es_row_text(event, ES_EVENTS_TYPE), filter->types, filter->ntypes));
}
