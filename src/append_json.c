/*
 * append_json.c
 *		es_append_json and es_try_append_json: append to several streams in one call.
 *
 * The document is an array of entries {"stream", "expected", "events"}, an event
 * is {"type", "data", "metadata", "id", "payload"}.  JSON null stands for "not
 * given".  An entry without events only checks.  A stream may come in several
 * entries, the first of which has "expected".
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

#include "append.h"
#include "lock.h"
#include "name.h"
#include "tenant.h"
#include "text.h"

PG_FUNCTION_INFO_V1(es_append_json);
PG_FUNCTION_INFO_V1(es_try_append_json);

typedef struct Entry
{
	text           *stream;
	uint64          hash;
	bool            has_expected;
	int64           expected;
	JsonbContainer *events; /* or NULL */
	int             first;  /* its events in the request */
	int             count;
	int             number; /* its place in the document */
	int             index;  /* its stream in the request */
} Entry;

pg_noreturn static void
bad_value(const EsPlace *place, const char *field, const char *what)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s", what),
					errdetail("In argument \"%s\".", es_place(place, field)),
					errhint("The document is [{\"stream\", \"expected\", \"events\": [{\"type\", "
							"\"data\", \"metadata\", \"id\", \"payload\"}]}].")));
}

pg_noreturn static void
bad_text(const EsPlace *place, const char *field, const char *what, const char *hint)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_TEXT_REPRESENTATION), errmsg("%s", what),
					errdetail("In argument \"%s\".", es_place(place, field)), errhint("%s", hint)));
}

static char *
need_string(const JsonbValue *value, const EsPlace *place, const char *field)
{
	if (value->type != jbvString)
		bad_value(place, field, psprintf("\"%s\" must be a string", field));
	return pnstrdup(value->val.string.val, value->val.string.len);
}

/*
 * An integer, as a number or as a string of bigint's own text form: drivers that have no
 * integers of 64 bits give a bigint to their program as a string.
 */
static int64
need_integer(const JsonbValue *value, const EsPlace *place, const char *field)
{
	bool  is_string = value->type == jbvString;
	char *text;
	char *end;
	int64 result;

	if (!is_string && value->type != jbvNumeric)
		bad_value(place, field, psprintf("\"%s\" must be an integer", field));
	if (is_string)
		text = need_string(value, place, field);
	else
		text =
			DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric)));
	errno = 0;
	result = strtoi64(text, &end, 10);
	if (errno != 0 || *end != '\0' ||
		(is_string && strcmp(text, psprintf(INT64_FORMAT, result)) != 0))
		bad_value(place, field, psprintf("\"%s\" must be an integer", field));
	pfree(text);
	return result;
}

static JsonbContainer *
need_container(const JsonbValue *value, bool array, const EsPlace *place, const char *field)
{
	if (value->type != jbvBinary || (array ? !JsonContainerIsArray(value->val.binary.data)
										   : !JsonContainerIsObject(value->val.binary.data)))
		bad_value(place, field,
				  array ? "a JSON array is needed here" : "a JSON object is needed here");
	return value->val.binary.data;
}

static bytea *
need_payload(const JsonbValue *value, const EsPlace *place)
{
	char *hex = need_string(value, place, "payload");
	int   digits = strlen(hex) - 2;

	if (strncmp(hex, "\\x", 2) != 0 || digits % 2 != 0 ||
		(int) strspn(hex + 2, "0123456789abcdefABCDEF") != digits)
		bad_text(place, "payload", "\"payload\" is not the hexadecimal text of a bytea",
				 "Write it as PostgreSQL shows it, as in \"\\\\x48656c6c6f\".");
	return DatumGetByteaP(DirectFunctionCall1(byteain, CStringGetDatum(hex)));
}

static void
set_event_id(EsEvent *event, const JsonbValue *value, const EsPlace *place)
{
	char *text = need_string(value, place, "id");

	if (!es_uuid_parse(text, &event->id))
		bad_text(place, "id", psprintf("\"id\" is not a UUID: %s", text),
				 "Write it as in \"0190a5c8-5a5e-7b52-8d1c-2f3a4b5c6d7e\".");
	event->has_id = true;
	pfree(text);
}

/* One key of an event; returns false where there is no such key. */
static bool
set_event_key(EsEvent *event, const char *key, int size, JsonbValue *value, const EsPlace *place)
{
#define ES_KEY_IS(name) (size == (int) strlen(name) && memcmp(key, name, size) == 0)
	bool given = value->type != jbvNull;

	if (ES_KEY_IS("type"))
		event->type = given ? cstring_to_text(need_string(value, place, "type")) : NULL;
	else if (ES_KEY_IS("data"))
		event->data = given ? JsonbValueToJsonb(value) : NULL;
	else if (ES_KEY_IS("metadata"))
		event->metadata = given ? JsonbValueToJsonb(value) : NULL;
	else if (ES_KEY_IS("payload"))
		event->payload = given ? need_payload(value, place) : NULL;
	else if (ES_KEY_IS("id"))
	{
		if (given)
			set_event_id(event, value, place);
	}
	else
		return false;
	return true;
}

static bool
set_entry_key(Entry *entry, const char *key, int size, JsonbValue *value, const EsPlace *place)
{
	bool given = value->type != jbvNull;

	if (ES_KEY_IS("stream"))
		entry->stream = given ? cstring_to_text(need_string(value, place, "stream")) : NULL;
	else if (ES_KEY_IS("expected"))
	{
		es_event_check_expected_given(given, place);
		entry->has_expected = true;
		entry->expected = need_integer(value, place, "expected");
		es_append_check_expected(entry->expected, place);
	}
	else if (ES_KEY_IS("events"))
		entry->events = given ? need_container(value, true, place, "events") : NULL;
	else
		return false;
	return true;
#undef ES_KEY_IS
}

/* Walks the keys of an object; sets each in an event, or else in an entry. */
static void
read_object(JsonbContainer *object, EsEvent *event, Entry *entry, const EsPlace *place)
{
	JsonbIterator     *it = JsonbIteratorInit(object);
	JsonbIteratorToken token;
	JsonbValue         key;
	JsonbValue         value;

	while ((token = JsonbIteratorNext(&it, &key, true)) != WJB_DONE)
	{
		const char *name;
		int         size;

		if (token != WJB_KEY)
			continue;
		name = key.val.string.val;
		size = key.val.string.len;
		(void) JsonbIteratorNext(&it, &value, true);
		if (event != NULL ? !set_event_key(event, name, size, &value, place)
						  : !set_entry_key(entry, name, size, &value, place))
			bad_value(place, "", psprintf("unknown key \"%.*s\"", size, name));
	}
}

static void
read_entry(Entry *entry, JsonbContainer *document, int i)
{
	EsPlace     place = {ES_PLACE_JSON, i, -1};
	JsonbValue *value = getIthJsonbValueFromContainer(document, i);

	memset(entry, 0, sizeof(Entry));
	entry->number = i;
	read_object(need_container(value, false, &place, ""), NULL, entry, &place);
	es_name_check_stream(entry->stream, &place);
	entry->count = entry->events == NULL ? 0 : JsonContainerSize(entry->events);
	pfree(value);
}

static void
read_events(EsAppend *append, const Entry *entry, Jsonb *base)
{
	for (int i = 0; i < entry->count; i++)
	{
		EsPlace     place = {ES_PLACE_JSON, entry->number, i};
		EsEvent    *event = &append->events[entry->first + i];
		JsonbValue *value = getIthJsonbValueFromContainer(entry->events, i);

		memset(event, 0, sizeof(EsEvent));
		event->stream = entry->index;
		read_object(need_container(value, false, &place, ""), event, NULL, &place);
		if (event->type == NULL)
			bad_value(&place, "type", "\"type\" is missing");
		es_name_check_type(event->type, &place);
		es_event_check_content(event, &place);
		event->metadata = es_event_metadata(event->metadata, base, &place);
		append->nids += event->has_id ? 1 : 0;
		pfree(value);
		CHECK_FOR_INTERRUPTS();
	}
}

/* By hash, the order of locking; entries of one stream in the document's order. */
static int
compare_entries(const void *a, const void *b)
{
	const Entry *x = *(Entry *const *) a;
	const Entry *y = *(Entry *const *) b;
	int          order;

	if (x->hash != y->hash)
		return x->hash < y->hash ? -1 : 1;
	order = es_compare_texts(x->stream, y->stream);
	return order != 0 ? order : x->number - y->number;
}

/* Finds the streams of the entries, each once and sorted by hash. */
static void
collect_streams(EsAppend *append, Entry *entries, int n)
{
	Entry **sorted = palloc(n * sizeof(Entry *));

	for (int i = 0; i < n; i++)
	{
		entries[i].hash = es_lock_hash(append->tenant, entries[i].stream);
		sorted[i] = &entries[i];
	}
	qsort(sorted, n, sizeof(Entry *), compare_entries);
	append->streams = palloc(n * sizeof(EsAppendStream));
	append->log = palloc(n * sizeof(EsLogStream));
	for (int i = 0; i < n; i++)
	{
		Entry  *entry = sorted[i];
		EsPlace place = {ES_PLACE_JSON, entry->number, -1};
		bool    again = i > 0 && es_same_text(sorted[i - 1]->stream, entry->stream);

		if (again && entry->has_expected)
			bad_value(&place, "expected", "\"expected\" stands in a second entry of one stream");
		if (!again && !entry->has_expected)
			bad_value(&place, "expected", "\"expected\" is missing");
		if (!again)
		{
			es_append_add_stream(append, append->nstreams, entry->stream, entry->expected);
			append->streams[append->nstreams++].named = entry->number;
		}
		entry->index = append->nstreams - 1;
	}
	pfree(sorted);
}

static void
check_double(const EsAppend *append, const Entry *entries, int n)
{
	const EsEvent *event = es_append_find_double(append);

	for (int i = 0; event != NULL && i < n; i++)
	{
		EsPlace place = {ES_PLACE_JSON, i, (event - append->events) - entries[i].first};

		if (place.event >= 0 && place.event < entries[i].count)
			es_append_raise_double(event, &place);
	}
}

static Entry *
read_document(EsAppend *append, Jsonb *document, int *n)
{
	static const EsPlace place = {ES_PLACE_JSON, -1, -1};
	Jsonb               *base = es_event_base_metadata();
	Entry               *entries;

	if (!JB_ROOT_IS_ARRAY(document) || JB_ROOT_IS_SCALAR(document))
		bad_value(&place, "", "a JSON array is needed here");
	*n = JB_ROOT_COUNT(document);
	if (*n == 0)
		bad_value(&place, "", "the batch is empty");
	entries = MemoryContextAllocHuge(CurrentMemoryContext, *n * sizeof(Entry));
	for (int i = 0; i < *n; i++)
	{
		read_entry(&entries[i], &document->root, i);
		entries[i].first = append->nevents;
		append->nevents += entries[i].count;
		CHECK_FOR_INTERRUPTS();
	}
	collect_streams(append, entries, *n);
	append->events =
		MemoryContextAllocHuge(CurrentMemoryContext, Max(append->nevents, 1) * sizeof(EsEvent));
	for (int i = 0; i < *n; i++)
		read_events(append, &entries[i], base);
	check_double(append, entries, *n);
	return entries;
}

/*
 * Reads the argument "appends" and runs it.  Returns its entries, *n of them.
 */
static Entry *
run_document(EsAppend *append, FunctionCallInfo fcinfo, int *n, EsOutcome *outcome)
{
	Entry *entries;

	append->tenant = es_tenant_arg(fcinfo, 1);
	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("appends must not be null"),
						errdetail("In argument \"%s\".", "appends"),
						errhint("Give a JSON array with an entry for each stream.")));
	entries = read_document(append, PG_GETARG_JSONB_P(0), n);
	*outcome = es_append_run(append);
	return entries;
}

/*
 * A retry answers as the first call did.  What that found in a stream that it only checked
 * is stored nowhere, so the answer cannot have it; where it appended to the stream as well,
 * it had appended its own events last.
 */
static void
recall_tails(EsAppend *append)
{
	for (int i = 0; i < append->nstreams; i++)
		append->log[i].tail.version = append->log[i].tail.position = 0;
	for (int i = 0; i < append->nevents; i++)
	{
		const EsEvent *event = &append->events[i];
		EsTail        *tail = &append->log[event->stream].tail;

		tail->version = event->version;
		tail->position = event->position;
	}
}

/* What an answer says of an entry; 0 is shown as NULL, but for a version that is known. */
typedef struct Answer
{
	int64 first;
	int64 last;
	int64 position;
	bool  is_known; /* last, which is 0 for a stream that does not exist */
} Answer;

/* Where an entry's events are, or its stream's end where it has none. */
static Answer
find_answer(const EsAppend *append, const Entry *entry, bool repeated)
{
	const EsTail  *tail = &append->log[entry->index].tail;
	const EsEvent *events = &append->events[entry->first];
	Answer         answer = {0, tail->version, tail->position, true};

	if (entry->count > 0)
	{
		answer.first = events[0].version;
		answer.last = events[entry->count - 1].version;
		answer.position = events[entry->count - 1].position;
	}
	else
		answer.is_known = !repeated || tail->version > 0;
	return answer;
}

static void
put_int8(Datum *value, bool *isnull, int64 number, bool known)
{
	*value = Int64GetDatum(number);
	*isnull = !known;
}

static void
put_row(ReturnSetInfo *rsinfo, const EsAppend *append, const Entry *entry, bool repeated)
{
	Answer answer = find_answer(append, entry, repeated);
	Datum  values[5];
	bool   nulls[5] = {false};

	values[0] = PointerGetDatum(entry->stream);
	put_int8(&values[1], &nulls[1], answer.first, answer.first > 0);
	put_int8(&values[2], &nulls[2], answer.last, answer.is_known);
	put_int8(&values[3], &nulls[3], answer.position, answer.position > 0);
	values[4] = BoolGetDatum(repeated);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/* es_append_json(appends, tenant) returns one row for each entry, in their order. */
Datum
es_append_json(PG_FUNCTION_ARGS)
{
	EsAppend  append = {.function = "es_append_json()"};
	EsOutcome outcome;
	int       n;
	Entry    *entries = run_document(&append, fcinfo, &n, &outcome);

	if (outcome == ES_CONFLICT)
		es_append_raise_conflict(&append);
	if (outcome == ES_REPEATED)
		recall_tails(&append);
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	for (int i = 0; i < n; i++)
		put_row((ReturnSetInfo *) fcinfo->resultinfo, &append, &entries[i], outcome == ES_REPEATED);
	return (Datum) 0;
}

/* What es_try_append_json says of an entry. */
static const char *
outcome_of(const EsAppend *append, const Entry *entry, EsOutcome outcome)
{
	if (outcome == ES_REPEATED)
		return "repeated";
	if (outcome == ES_CONFLICT && !es_append_is_expected(&append->streams[entry->index]))
		return "conflict";
	if (entry->count == 0)
		return "checked";
	return outcome == ES_CONFLICT ? "unwritten" : "appended";
}

/* Where a call has conflicts it has written nothing: each row has its stream's version alone. */
static void
put_outcome(ReturnSetInfo *rsinfo, const EsAppend *append, const Entry *entry, EsOutcome outcome)
{
	Answer answer = {0, append->streams[entry->index].actual, 0, true};
	Datum  values[5];
	bool   nulls[5] = {false};

	if (outcome != ES_CONFLICT)
		answer = find_answer(append, entry, outcome == ES_REPEATED);
	values[0] = CStringGetTextDatum(outcome_of(append, entry, outcome));
	values[1] = PointerGetDatum(entry->stream);
	put_int8(&values[2], &nulls[2], answer.last, answer.is_known);
	put_int8(&values[3], &nulls[3], answer.first, answer.first > 0);
	put_int8(&values[4], &nulls[4], answer.position, answer.position > 0);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/*
 * The same as rows: es_try_append_json answers conflicts with rows instead of SE001, so that
 * the transaction goes on.
 */
Datum
es_try_append_json(PG_FUNCTION_ARGS)
{
	EsAppend  append = {.function = "es_try_append_json()"};
	EsOutcome outcome;
	int       n;
	Entry    *entries = run_document(&append, fcinfo, &n, &outcome);

	if (outcome == ES_REPEATED)
		recall_tails(&append);
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	for (int i = 0; i < n; i++)
		put_outcome((ReturnSetInfo *) fcinfo->resultinfo, &append, &entries[i], outcome);
	return (Datum) 0;
}
