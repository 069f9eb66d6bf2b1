/*
 * event.h
 *		Names and events: what a valid one is.
 */
#ifndef ES_EVENT_H
#define ES_EVENT_H

#include "utils/jsonb.h"
#include "uuid.h"

#define ES_STREAM_MAX_BYTES 512
#define ES_TYPE_MAX_BYTES   255
#define ES_TENANT_MAX_BYTES 128

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

/* Where an argument stands in the call, for error messages. */
typedef struct EsPlace
{
	enum
	{
		ES_PLACE_SINGLE, /* es_append: type */
		ES_PLACE_ARRAYS, /* es_append_batch: types[3] */
		ES_PLACE_JSON    /* es_append_json: appends[3].events[17].type */
	} form;
	int entry; /* from 0, or -1: the document */
	int event; /* from 0, or -1: the entry itself */
} EsPlace;

extern char  *es_place(const EsPlace *place, const char *field);
extern text  *es_event_category(text *stream);
extern bool   es_event_is_category(const text *category, const text *stream);
extern bool   es_event_is_name(text *name, int max);
extern void   es_event_check_stream(text *stream, const EsPlace *place);
extern void   es_event_check_category(text *category);
extern void   es_event_check_tenant(text *tenant);
extern void   es_event_check_type(text *type, const EsPlace *place);
extern void   es_event_check_content(const EsEvent *event, const EsPlace *place);
extern void   es_event_check_expected_given(bool given, const EsPlace *place);
extern Jsonb *es_event_base_metadata(void);
extern Jsonb *es_event_metadata(Jsonb *metadata, Jsonb *base, const EsPlace *place);

#endif
