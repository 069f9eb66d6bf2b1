/*
 * notify.c
 *		Tells listeners what has been published.
 *
 * One pass over a range of published events serves es_events and all channels.  It
 * runs in a transaction of its own, after the tick's: notifying may fail where the
 * queue is full, and it holds a lock of the whole server until its commit; neither
 * is the tick's business.
 *
 * A notification is a hint: the log is the truth.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_type.h"
#include "commands/async.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "binding.h"
#include "channel.h"
#include "events.h"
#include "notify.h"
#include "row.h"
#include "scan.h"
#include "uuid.h"

/* A notification must be shorter than this (NOTIFY_PAYLOAD_MAX_LENGTH). */
#define ES_NOTIFY_MAX (BLCKSZ - NAMEDATALEN - 128)

/*
 * What one transaction does at most, unless the first event is more, so that the next
 * tick waits for some milliseconds (F5).  Its unit is to hold an event against a
 * channel; the costs of the rest are in proportion.
 */
#define ES_NOTIFY_WORK  100000
#define ES_NOTIFY_READ  20  /* to read an event */
#define ES_NOTIFY_CARRY 200 /* to queue a notification that carries one */

/* Adds a string, or notes by one character too many that it has no room. */
static void
add_string(StringInfo buf, const char *string, int length)
{
	if (buf->len + length >= ES_NOTIFY_MAX)
		buf->len = ES_NOTIFY_MAX;
	else
		escape_json(buf, pnstrdup(string, length));
}

static void
add_text(StringInfo buf, const char *key, text *value)
{
	appendStringInfo(buf, "\"%s\": ", key);
	add_string(buf, VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value));
	appendStringInfoString(buf, ", ");
}

/* A number, a string, true, false or null. */
static void
add_scalar(StringInfo buf, const JsonbValue *value)
{
	switch (value->type)
	{
		case jbvString:
			add_string(buf, value->val.string.val, value->val.string.len);
			break;
		case jbvNumeric:
			appendStringInfoString(buf, DatumGetCString(DirectFunctionCall1(
											numeric_out, NumericGetDatum(value->val.numeric))));
			break;
		case jbvBool:
			appendStringInfoString(buf, value->val.boolean ? "true" : "false");
			break;
		default:
			appendStringInfoString(buf, "null");
			break;
	}
}

/*
 * Adds a value, until there is no more room.  (A few bytes of jsonb may be many
 * megabytes of text.)
 */
static void
add_value(StringInfo buf, Jsonb *value)
{
	JsonbIterator     *iterator = JsonbIteratorInit(&value->root);
	JsonbIteratorToken token;
	JsonbValue         v;
	bool               is_scalar = JB_ROOT_IS_SCALAR(value); /* in an array that is not shown */
	bool               comma_due = false;

	while (buf->len < ES_NOTIFY_MAX &&
		   (token = JsonbIteratorNext(&iterator, &v, false)) != WJB_DONE)
	{
		bool opens = token == WJB_BEGIN_ARRAY || token == WJB_BEGIN_OBJECT;
		bool closes = token == WJB_END_ARRAY || token == WJB_END_OBJECT;

		if (is_scalar && (opens || closes))
			continue;
		if (comma_due && !closes)
			appendStringInfoString(buf, ", ");
		if (opens)
			appendStringInfoChar(buf, token == WJB_BEGIN_ARRAY ? '[' : '{');
		else if (closes)
			appendStringInfoChar(buf, token == WJB_END_ARRAY ? ']' : '}');
		else
			add_scalar(buf, &v);
		if (token == WJB_KEY)
			appendStringInfoString(buf, ": ");
		comma_due = !opens && token != WJB_KEY;
	}
}

static void
add_jsonb(StringInfo buf, const char *key, TupleTableSlot *event, AttrNumber column)
{
	bool  isnull;
	Datum datum = slot_getattr(event, column, &isnull);

	if (isnull)
		return;
	appendStringInfo(buf, "\"%s\": ", key);
	add_value(buf, DatumGetJsonbP(datum));
	appendStringInfoString(buf, ", ");
}

/* What every notification of an event says: where it is, and what it is called. */
static void
add_place(StringInfo buf, TupleTableSlot *event)
{
	char time[MAXDATELEN + 1];

	(void) JsonEncodeDateTime(time, es_row_column(event, ES_EVENTS_RECORDED_AT), TIMESTAMPTZOID,
							  NULL);
	appendStringInfo(buf, "{\"position\": %lld, ",
					 (long long) es_row_int8(event, ES_EVENTS_POSITION));
	add_text(buf, "stream", es_row_text(event, ES_EVENTS_STREAM));
	appendStringInfo(buf, "\"version\": %lld, ", (long long) es_row_int8(event, ES_EVENTS_VERSION));
	add_text(buf, "type", es_row_text(event, ES_EVENTS_TYPE));
	appendStringInfo(buf, "\"recorded_at\": \"%s\", \"id\": \"%s\", ", time,
					 es_uuid_text(DatumGetUUIDP(es_row_column(event, ES_EVENTS_ID))));
	if (VARSIZE_ANY_EXHDR(es_row_text(event, ES_EVENTS_TENANT)) > 0)
		add_text(buf, "tenant", es_row_text(event, ES_EVENTS_TENANT));
}

static void
finish(StringInfo buf, bool left_out)
{
	appendStringInfo(buf, "\"complete\": %s}", left_out ? "false" : "true");
}

/*
 * The event as a JSON object; where it is too long, or has a payload, only its
 * place, and "complete": false.
 */
static char *
event_json(TupleTableSlot *event)
{
	StringInfoData buf;
	int            place;
	bool           no_payload;

	initStringInfo(&buf);
	add_place(&buf, event);
	place = buf.len;
	(void) slot_getattr(event, ES_EVENTS_PAYLOAD, &no_payload);
	add_jsonb(&buf, "data", event, ES_EVENTS_DATA);
	add_jsonb(&buf, "metadata", event, ES_EVENTS_METADATA);
	finish(&buf, !no_payload);
	if (buf.len >= ES_NOTIFY_MAX)
	{
		buf.len = place; /* which is always short enough */
		finish(&buf, true);
	}
	return buf.data;
}

/*
 * Tells the channels of one event; answers how many carry it.  What belongs to a
 * tenant that is bound to a role is carried by none.
 */
static int
tell_event(EsChannels *channels, TupleTableSlot *event)
{
	int64 position = es_row_int8(event, ES_EVENTS_POSITION);
	char *json = NULL;
	int   sent = 0;

	for (int i = 0; i < channels->n; i++)
	{
		EsChannel *channel = &channels->list[i];

		if (position <= channel->position || !es_filter_wants(&channel->filter, event))
			continue;
		channel->count++;
		if (channel->kind != ES_CHANNEL_EVENT ||
			es_binding_has(es_binding_all(), es_row_text(event, ES_EVENTS_TENANT)))
			continue;
		if (json == NULL)
			json = event_json(event);
		Async_Notify(channel->name, json);
		sent++;
	}
	return sent;
}

static int
tell_range(const char *name, int64 from, int64 to, int64 count)
{
	if (count == 0)
		return 0;
	Async_Notify(name, psprintf("{\"from\": %lld, \"to\": %lld, \"count\": %lld}", (long long) from,
								(long long) to, (long long) count));
	return 1;
}

/* Tells es_events of a range, and the channels of kind wake of what they have counted. */
static int
tell_counts(const EsChannels *channels, int64 from, int64 to, int64 count)
{
	int sent = tell_range(ES_CHANNEL_ALL, from, to, count);

	for (int i = 0; i < channels->n; i++)
	{
		const EsChannel *channel = &channels->list[i];

		if (channel->kind == ES_CHANNEL_WAKE)
			sent += tell_range(channel->name, from, to, channel->count);
	}
	return sent;
}

/* The channels as they are now, with nothing counted yet. */
static void
begin_counts(EsChannels *channels)
{
	es_channel_refresh(channels);
	for (int i = 0; i < channels->n; i++)
		channels->list[i].count = 0;
}

/*
 * Tells of the published events after < position <= upto, in the current
 * transaction.  Answers up to where it has come, which is short of upto where
 * there are more than max_events to carry, or where that is too much work for one
 * transaction; *sent is how many notifications it has queued.
 */
int64
es_notify_range(EsChannels *channels, int64 after, int64 upto, int max_events, int *sent)
{
	Relation events =
		table_open(es_events.found->relid, AccessShareLock); /* first, as everywhere */
	/* no older than the lock, since one that is may not see what was rewritten (swap.c) */
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	EsScan  *scan =
		es_scan_begin(events, es_events.found->indexes[ES_EVENTS_BY_POSITION], snapshot, 2);
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "pg_eventstore event", ALLOCSET_DEFAULT_SIZES);
	int64           to = upto;
	int64           count = 0;
	int64           work = 0;
	int             carried = 0;
	TupleTableSlot *event;

	begin_counts(channels);
	es_scan_int8_key(scan, 1, BTGreaterStrategyNumber, after);
	es_scan_int8_key(scan, 1, BTLessEqualStrategyNumber, upto);
	es_scan_seek(scan);
	while ((event = es_scan_next(scan, ForwardScanDirection)) != NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(context);
		int           told = tell_event(channels, event);

		MemoryContextSwitchTo(old);
		MemoryContextReset(context);
		count++;
		carried += told;
		work += ES_NOTIFY_READ + channels->n + (int64) told * ES_NOTIFY_CARRY;
		if (carried >= max_events || work >= ES_NOTIFY_WORK)
		{
			to = es_row_int8(event, ES_EVENTS_POSITION);
			break;
		}
		CHECK_FOR_INTERRUPTS();
	}
	es_scan_end(scan);
	UnregisterSnapshot(snapshot);
	table_close(events, NoLock);
	MemoryContextDelete(context);
	*sent = carried + tell_counts(channels, after + 1, to, count);
	return to;
}
