/*
 * options.c
 *		Reads options from a jsonb object into a struct.
 *
 * A list of descriptors says which options there are, of which type, and at which
 * offset of the struct each is stored.  Whatever is wrong is one error, 22023: its
 * DETAIL has the fact, its HINT is made from the list and names all options.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "compat.h"
#include "options.h"
#include "text.h"

/* "a", "b" or "c" */
static char *
describe_choices(const char *const *choices)
{
	StringInfoData said;

	initStringInfo(&said);
	for (int i = 0; choices[i] != NULL; i++)
	{
		if (i > 0)
			appendStringInfoString(&said, choices[i + 1] != NULL ? ", " : " or ");
		appendStringInfo(&said, "\"%s\"", choices[i]);
	}
	return said.data;
}

/* What an option may be. */
static const char *
describe(const EsOption *option)
{
	switch (option->type)
	{
		case ES_OPTION_TEXT:
			return "a text";
		case ES_OPTION_TEXTS:
			return "a list of texts";
		case ES_OPTION_CHOICE:
			return describe_choices(option->choices);
		case ES_OPTION_BOOL:
			return "true or false";
	}
	pg_unreachable();
}

/* Raises the error that all wrong options are. */
void
es_options_refuse(const EsOptionList *list, const char *detail)
{
	StringInfoData known;

	initStringInfo(&known);
	for (int i = 0; i < list->n; i++)
		appendStringInfo(&known, "%s\"%s\" (%s)", i > 0 ? ", " : "", list->options[i].name,
						 describe(&list->options[i]));
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("invalid %s", list->what),
					errdetail_internal("%s", detail), errhint("Options are: %s.", known.data)));
}

pg_noreturn static void
refuse_value(const EsOptionList *list, const EsOption *option)
{
	es_options_refuse(list, psprintf("Option \"%s\" is not %s.", option->name, describe(option)));
}

static char *
string_of(const JsonbValue *value)
{
	return pnstrdup(value->val.string.val, value->val.string.len);
}

static text *
read_text(const EsOptionList *list, const EsOption *option, const JsonbValue *value)
{
	if (value->type != jbvString)
		refuse_value(list, option);
	return cstring_to_text_with_len(value->val.string.val, value->val.string.len);
}

static EsTexts
read_texts(const EsOptionList *list, const EsOption *option, const JsonbValue *value)
{
	JsonbIterator     *iterator;
	JsonbIteratorToken token;
	JsonbValue         element;
	EsTexts            set = {0};

	if (value->type != jbvBinary || !JsonContainerIsArray(value->val.binary.data))
		refuse_value(list, option);
	set.texts = palloc(Max(JsonContainerSize(value->val.binary.data), 1) * sizeof(text *));
	iterator = JsonbIteratorInit(value->val.binary.data);
	while ((token = JsonbIteratorNext(&iterator, &element, true)) != WJB_DONE)
	{
		if (token == WJB_ELEM)
			set.texts[set.n++] = read_text(list, option, &element);
	}
	set.n = es_sort_texts(set.texts, set.n);
	return set;
}

static int
read_choice(const EsOptionList *list, const EsOption *option, const JsonbValue *value)
{
	char *name;

	if (value->type != jbvString)
		refuse_value(list, option);
	name = string_of(value);
	for (int i = 0; option->choices[i] != NULL; i++)
	{
		if (strcmp(name, option->choices[i]) == 0)
			return i;
	}
	es_options_refuse(list, psprintf("Option \"%s\" is \"%s\", not %s.", option->name, name,
									 describe(option)));
}

static bool
read_bool(const EsOptionList *list, const EsOption *option, const JsonbValue *value)
{
	if (value->type != jbvBool)
		refuse_value(list, option);
	return value->val.boolean;
}

static const EsOption *
find_option(const EsOptionList *list, const JsonbValue *key)
{
	char *name = string_of(key);

	for (int i = 0; i < list->n; i++)
	{
		if (strcmp(name, list->options[i].name) == 0)
			return &list->options[i];
	}
	es_options_refuse(list, psprintf("There is no option \"%s\".", name));
}

static void
read_option(const EsOptionList *list, const EsOption *option, const JsonbValue *value, void *into)
{
	void *place = (char *) into + option->offset;

	switch (option->type)
	{
		case ES_OPTION_TEXT:
			*(text **) place = read_text(list, option, value);
			break;
		case ES_OPTION_TEXTS:
			*(EsTexts *) place = read_texts(list, option, value);
			break;
		case ES_OPTION_CHOICE:
			*(int *) place = read_choice(list, option, value);
			break;
		case ES_OPTION_BOOL:
			*(bool *) place = read_bool(list, option, value);
			break;
	}
}

/* Reads options into a struct, where those that are not given stay as they are. */
void
es_options_read(const EsOptionList *list, Jsonb *options, void *into)
{
	JsonbIterator     *iterator;
	JsonbIteratorToken token;
	JsonbValue         value;
	const EsOption    *option = NULL;

	if (!JB_ROOT_IS_OBJECT(options))
		es_options_refuse(list, "They are not an object.");
	iterator = JsonbIteratorInit(&options->root);
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			option = find_option(list, &value);
		else if (token == WJB_VALUE)
			read_option(list, option, &value, into);
	}
}
