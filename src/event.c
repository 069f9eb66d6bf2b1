/*
 * event.c
 *		Events that are to be appended: what valid content and metadata are.
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
#include "name.h"
#include "settings.h"

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
