/*
 * options.h
 *		Options in a jsonb object: a list says which there are, and where each is read to.
 */
#ifndef ES_OPTIONS_H
#define ES_OPTIONS_H

#include "utils/jsonb.h"

#include "compat.h"

/* A sorted set of texts; NULL: it is not given. */
typedef struct EsTexts
{
	int    n;
	text **texts;
} EsTexts;

typedef enum EsOptionType
{
	ES_OPTION_TEXT,   /* a text *; NULL: it is not given */
	ES_OPTION_TEXTS,  /* an EsTexts */
	ES_OPTION_CHOICE, /* an int: the place among its choices */
	ES_OPTION_BOOL    /* a bool */
} EsOptionType;

typedef struct EsOption
{
	const char        *name;
	EsOptionType       type;
	size_t             offset;  /* in the struct that is filled */
	const char *const *choices; /* of a CHOICE; NULL ends */
} EsOption;

typedef struct EsOptionList
{
	const char     *what; /* "channel options": in messages */
	const EsOption *options;
	int             n;
} EsOptionList;

extern void             es_options_read(const EsOptionList *list, Jsonb *options, void *into);
pg_noreturn extern void es_options_refuse(const EsOptionList *list, const char *detail);

#endif
