/*
 * name.h
 *		Names of streams, categories, types and tenants.
 */
#ifndef ES_NAME_H
#define ES_NAME_H

#define ES_STREAM_MAX_BYTES 512
#define ES_TYPE_MAX_BYTES   255
#define ES_TENANT_MAX_BYTES 128

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

extern char *es_place(const EsPlace *place, const char *field);
extern text *es_name_category(text *stream);
extern bool  es_name_is_category(const text *category, const text *stream);
extern bool  es_name_is_valid(text *name, int max);
extern void  es_name_check_stream(text *stream, const EsPlace *place);
extern void  es_name_check_category(text *category);
extern void  es_name_check_tenant(text *tenant);
extern void  es_name_check_type(text *type, const EsPlace *place);

#endif
