/*
 * event.h
 *		Events that are to be appended.
 */
#ifndef ES_EVENT_H
#define ES_EVENT_H

#include "utils/jsonb.h"
#include "name.h"
#include "uuid.h"

/* An event that is to be appended.  The pointers are the caller's memory. */
typedef struct EsEvent
{
	int       stream; /* its stream's place in the request */
	bool      has_id; /* the client gave the id */
	pg_uuid_t id;
	text     *type;
	Jsonb    *data;     /* or NULL */
	Jsonb    *metadata; /* or NULL */
	bytea    *payload;  /* or NULL */
	int64     version;  /* given under the stream's lock */
	int64     position;
} EsEvent;

extern void   es_event_check_content(const EsEvent *event, const EsPlace *place);
extern void   es_event_check_expected_given(bool given, const EsPlace *place);
extern Jsonb *es_event_base_metadata(void);
extern Jsonb *es_event_metadata(Jsonb *metadata, Jsonb *base, const EsPlace *place);

#endif
