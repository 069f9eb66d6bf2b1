/*
 * event.c
 *		Names and events: what a valid stream, type, metadata is, and the errors
 *		that say where an invalid one was found.
 *
 * Keeps O5 for what is appended.  Nothing here touches a table.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/jsonb.h"

#include "compat.h"
#include "event.h"
#include "settings.h"

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
es_event_category(text *stream)
{
	const char *name = VARDATA_ANY(stream);
	int         size = VARSIZE_ANY_EXHDR(stream);
	const char *dash = memchr(name, '-', size);

	return dash == NULL ? stream : cstring_to_text_with_len(name, dash - name);
}

/* Is it the category of this stream? */
bool
es_event_is_category(const text *category, const text *stream)
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
es_event_is_name(text *name, int max)
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
es_event_check_stream(text *stream, const EsPlace *place)
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
es_event_check_category(text *category)
{
	EsPlace place = {ES_PLACE_SINGLE, -1, -1};

	check_name(category, "category", ES_STREAM_MAX_BYTES, &place, "category");
}

/* A tenant's name that is not empty: 1-128 bytes, no control character. */
void
es_event_check_tenant(text *tenant)
{
	EsPlace place = {ES_PLACE_SINGLE, -1, -1};

	check_name(tenant, "tenant", ES_TENANT_MAX_BYTES, &place, "tenant");
}

/* An event's type: 1-255 bytes, no control character. */
void
es_event_check_type(text *type, const EsPlace *place)
{
	check_name(type, "event type", ES_TYPE_MAX_BYTES, place, "type");
}

/* An event has data, or a payload, or both. */
void
es_event_check_content(const EsEvent *event, const EsPlace *place)
{
	if (event->data == NULL && event->payload == NULL)
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("event data must not be null without a payload"),
						errdetail("In argument \"%s\".", es_place(place, "data")),
						errhint("An event without content has the data '{}'.")));
}

/* Does text match pattern?  d is a digit, any other character itself. */
static bool
matches(const char *text, const char *pattern)
{
	for (; *pattern; text++, pattern++)
	{
		if (*pattern == 'd' ? (*text < '0' || *text > '9')
							: pg_toupper((unsigned char) *text) != *pattern)
			return false;
	}
	return true;
}

/*
 * An RFC 3339 date-time?  Its form is checked here; whether there is such a day
 * and time is the type's own input function's to say.
 */
static bool
is_rfc3339(const char *text)
{
	const char *p;

	if (!matches(text, "dddd-dd-ddTdd:dd:dd") && !matches(text, "dddd-dd-dd dd:dd:dd"))
		return false;
	if (strncmp(text + strlen("dddd-dd-ddT"), "24", 2) == 0)
		return false;
	p = text + strlen("dddd-dd-ddTdd:dd:dd");
	if (*p == '.')
	{
		size_t digits = strspn(++p, "0123456789");

		if (digits == 0)
			return false;
		p += digits;
	}
	if (pg_toupper((unsigned char) *p) == 'Z')
		return p[1] == '\0';
	return (matches(p, "+dd:dd") || matches(p, "-dd:dd")) && p[6] == '\0';
}

/* Is there such a time?  Never raises. */
static bool
is_time(const char *text)
{
	char         work[MAXDATELEN + MAXDATEFIELDS];
	char        *field[MAXDATEFIELDS];
	int          type[MAXDATEFIELDS];
	int          nfields;
	int          dtype;
	struct pg_tm tm;
	fsec_t       fsec;
	int          tz;

	return strlen(text) <= MAXDATELEN &&
		   ParseDateTime(text, work, sizeof(work), field, type, MAXDATEFIELDS, &nfields) == 0 &&
		   es_compat_decode_datetime(field, type, nfields, &dtype, &tm, &fsec, &tz) == 0 &&
		   dtype == DTK_DATE;
}

/* place NULL is the setting pg_eventstore.metadata. */
static void
check_occurred_at(Jsonb *metadata, const EsPlace *place)
{
	JsonbValue  value;
	JsonbValue *found =
		getKeyJsonValueFromContainer(&metadata->root, "occurred_at", strlen("occurred_at"), &value);
	char *text;

	if (found == NULL)
		return;
	if (found->type == jbvString)
	{
		text = pnstrdup(found->val.string.val, found->val.string.len);
		if (is_rfc3339(text) && is_time(text))
		{
			pfree(text);
			return;
		}
	}
	else
		text = pstrdup("(not a string)");
	ereport(ERROR, (errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
					errmsg("occurred_at is not an RFC 3339 time: %s", text),
					place == NULL ? errdetail("In setting \"%s\".", "pg_eventstore.metadata")
								  : errdetail("In argument \"%s\".", es_place(place, "metadata")),
					errhint("Write it as in \"2026-01-31T17:00:00.123456Z\".")));
}

/* The base of every event's metadata, from the setting; NULL where there is none. */
Jsonb *
es_event_base_metadata(void)
{
	Jsonb *base = es_settings_metadata();

	if (base != NULL)
		check_occurred_at(base, NULL);
	return base;
}

/* The metadata to store: the event's own over the base.  Either may be NULL. */
Jsonb *
es_event_metadata(Jsonb *metadata, Jsonb *base, const EsPlace *place)
{
	if (metadata == NULL)
		return base;
	if (!JB_ROOT_IS_OBJECT(metadata))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("event metadata must be a JSON object"),
				 errdetail("In argument \"%s\".", es_place(place, "metadata")),
				 errhint("Leave it out, or write an object such as {\"actor\": \"anna\"}.")));
	check_occurred_at(metadata, place);
	if (base == NULL)
		return metadata;
	return DatumGetJsonbP(
		DirectFunctionCall2(jsonb_concat, JsonbPGetDatum(base), JsonbPGetDatum(metadata)));
}

/* NULL would switch the check of the version off unseen. */
void
es_event_check_expected_given(bool given, const EsPlace *place)
{
	if (!given)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("expected version must not be null"),
				 errdetail("In argument \"%s\".", es_place(place, "expected")),
				 errhint("Give the version you have seen, 0 for a new stream, or -1 for any; null "
						 "would switch the check off unseen.")));
}
