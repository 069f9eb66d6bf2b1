/*
 * events.h
 *		The tables of events: es.events, and the view es.log.
 */
#ifndef ES_EVENTS_H
#define ES_EVENTS_H

#include "table.h"

/* Columns of es.events. */
enum
{
	ES_EVENTS_POSITION = 1,
	ES_EVENTS_VERSION,
	ES_EVENTS_RECORDED_AT,
	ES_EVENTS_ID,
	ES_EVENTS_TENANT,
	ES_EVENTS_STREAM,
	ES_EVENTS_CATEGORY,
	ES_EVENTS_TYPE,
	ES_EVENTS_DATA,
	ES_EVENTS_METADATA,
	ES_EVENTS_PAYLOAD,
	ES_EVENTS_NATTS = ES_EVENTS_PAYLOAD
};

/* Its indexes, by their place in the list. */
enum
{
	ES_EVENTS_BY_POSITION,
	ES_EVENTS_BY_VERSION,
	ES_EVENTS_BY_ID,
	ES_EVENTS_BY_CATEGORY,
	ES_EVENTS_BY_TIME
};

extern const EsTable es_events;
extern const EsTable es_log;

extern Oid es_events_type(AttrNumber column);

#endif
