/*
 * name.c
 *		Names of streams, categories, types and tenants: what a valid one is, and the errors
 *		that say where an invalid one was found (O5).
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "compat.h"
#include "name.h"

/* The place as the caller would write it. */
char *
es_place(const EsPlace *place, const char *field)
{
	if (place->form == ES_PLACE_SINGLE)
		return pstrdup(field);
	if (place->form == ES_PLACE_ARRAYS)
	{
		/* es_append_batch has the stream once, and plural names for most arrays */
		bool plural = strcmp(field, "data") == 0 || strcmp(field, "metadata") == 0;

		if (place->event < 0)
			return pstrdup(field);
		return psprintf("%s%s[%d]", field, plural ? "" : "s", place->event + 1);
	}
	if (place->entry < 0)
		return psprintf("appends%s%s", *field ? "." : "", field);
	if (place->event < 0)
		return psprintf("appends[%d]%s%s", place->entry, *field ? "." : "", field);
	return psprintf("appends[%d].events[%d]%s%s", place->entry, place->event, *field ? "." : "",
					field);
}

/* The part of a stream's name before its first '-'; the name itself where it has none. */
text *
es_name_category(text *stream)
{
	const char *name = VARDATA_ANY(stream);
	int         size = VARSIZE_ANY_EXHDR(stream);
	const char *dash = memchr(name, '-', size);

	return dash == NULL ? stream : cstring_to_text_with_len(name, dash - name);
}

/* Is it the category of this stream? */
bool
es_name_is_category(const text *category, const text *stream)
{
	const char *name = VARDATA_ANY(stream);
	int         size = VARSIZE_ANY_EXHDR(stream);
	const char *dash = memchr(name, '-', size);

	return VARSIZE_ANY_EXHDR(category) == (dash == NULL ? size : dash - name) &&
		   memcmp(VARDATA_ANY(category), name, VARSIZE_ANY_EXHDR(category)) == 0;
}

static bool
has_control(text *name)
{
	const unsigned char *p = (const unsigned char *) VARDATA_ANY(name);
	const unsigned char *end = p + VARSIZE_ANY_EXHDR(name);

	for (; p < end; p++)
	{
		if (*p < 0x20 || *p == 0x7F)
			return true;
	}
	return false;
}

/* Is it a valid name of at most so many bytes? */
bool
es_name_is_valid(text *name, int max)
{
	return VARSIZE_ANY_EXHDR(name) >= 1 && VARSIZE_ANY_EXHDR(name) <= max && !has_control(name);
}

static void
check_name(text *name, const char *what, int max, const EsPlace *place, const char *field)
{
	if (name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("%s must not be null", what),
				 errdetail("In argument \"%s\".", es_place(place, field)),
				 errhint("Bind a value; a driver that binds nothing sends NULL.")));
	if (VARSIZE_ANY_EXHDR(name) < 1 || VARSIZE_ANY_EXHDR(name) > max)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("%s must have 1 to %d bytes", what, max),
						errdetail("Argument \"%s\" has %d bytes.", es_place(place, field),
								  (int) VARSIZE_ANY_EXHDR(name)),
						errhint("Choose a name within the limit.")));
	if (has_control(name))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("%s must not contain control characters", what),
						errdetail("In argument \"%s\".", es_place(place, field)),
						errhint("Characters below U+0020 and U+007F are not allowed in names.")));
}

/* A stream's name: 1-512 bytes, no control character, a category that is not empty. */
void
es_name_check_stream(text *stream, const EsPlace *place)
{
	check_name(stream, "stream", ES_STREAM_MAX_BYTES, place, "stream");
	if (*VARDATA_ANY(stream) == '-')
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("stream \"%s\" has an empty category", text_to_cstring(stream)),
						errdetail("In argument \"%s\".", es_place(place, "stream")),
						errhint("The category is what stands before the first \"-\", as \"order\" "
								"in \"order-123\".")));
}

/* A category's name, as far as a filter needs it. */
void
es_name_check_category(text *category)
{
	EsPlace place = {ES_PLACE_SINGLE, -1, -1};

	check_name(category, "category", ES_STREAM_MAX_BYTES, &place, "category");
}

/* A tenant's name that is not empty: 1-128 bytes, no control character. */
void
es_name_check_tenant(text *tenant)
{
	EsPlace place = {ES_PLACE_SINGLE, -1, -1};

	check_name(tenant, "tenant", ES_TENANT_MAX_BYTES, &place, "tenant");
}

/* An event's type: 1-255 bytes, no control character. */
void
es_name_check_type(text *type, const EsPlace *place)
{
	check_name(type, "event type", ES_TYPE_MAX_BYTES, place, "type");
}
