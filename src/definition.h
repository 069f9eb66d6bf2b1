/*
 * definition.h
 *		Named things with options, each of which belongs to the role that has made it.
 */
#ifndef ES_DEFINITION_H
#define ES_DEFINITION_H

#include "fmgr.h"

#include "options.h"
#include "table.h"

/* What a kind of them is: its table has a row for each. */
typedef struct EsDefinitionKind
{
	const char         *noun; /* "channel": in messages, and in the names of its functions */
	const EsTable      *table;
	AttrNumber          name; /* columns that all kinds have */
	AttrNumber          options;
	AttrNumber          created_by;
	AttrNumber          created_at;
	const EsOptionList *list;
	size_t              size; /* of the struct that options are read into; it begins as zeros */
	int                 max_bytes; /* of options as they are stored, but for the store's owner */

	/* the way out for the user */
	const char *name_hint;     /* no name */
	const char *options_hint;  /* no options */
	const char *too_long_hint; /* more options than max_bytes */

	/* refuses a name */
	void (*check_name)(const char *name);
	/* refuses options that the list allows; answers with what is to be stored */
	Jsonb *(*check)(Jsonb *options, void *read);
	/* fills the other columns of a new row, which begins as zeros */
	void (*fill)(Datum *row);
	/* refuses a role that may not make another one; the store's owner runs it */
	void (*check_limit)(Oid caller);
} EsDefinitionKind;

/* Arguments of these functions: a name, and but for drop options. */
extern bool es_definition_create(const EsDefinitionKind *kind, FunctionCallInfo fcinfo);
extern void es_definition_replace(const EsDefinitionKind *kind, FunctionCallInfo fcinfo);
extern void es_definition_drop(const EsDefinitionKind *kind, FunctionCallInfo fcinfo);

#endif
