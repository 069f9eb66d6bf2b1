/*
 * verify_events.c
 *		es_verify: the events themselves, their indexes, and the sequence of positions.
 *
 * The events are walked in the order of their positions, by the index that has it.  Of
 * each is asked what can be answered where it stands: are its names valid; is the event
 * of its stream with the version before there, at a lower position and not later (A1,
 * A4); does no other have its version.  By induction the streams are then 1, 2, 3 ...
 * without hole and double, up to any place that a walk in pieces has come to.  Where the
 * walk itself has just seen the version before, nothing is looked up: it keeps the last
 * event of some streams, in a table within work_mem in which one takes another's place.
 *
 * The indexes are compared with the table at the end (verify_indexes.c).
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "epoch.h"
#include "events.h"
#include "log.h"
#include "name.h"
#include "row.h"
#include "scan.h"
#include "sequence.h"
#include "tenants.h"
#include "text.h"
#include "tick.h"
#include "verify.h"

/* So many streams' last events are kept at most; a power of two. */
#define ES_VERIFY_STREAMS (1 << 24)

/* The last event of a stream that the walk has come to. */
typedef struct Last
{
	uint64      name[2]; /* two hashes of tenant and stream: no two streams have both */
	int64       version; /* 0: none is kept here */
	int64       position;
	TimestampTz recorded_at;
} Last;

typedef struct Walk
{
	EsVerify *verify;
	EsScan   *log;
	EsScan   *by_version; /* NULL: there is no such index */
	Last     *last;       /* of some streams */
	int       nlast;
	EsTally   names;
	EsTally   versions;
	EsTally   order;
	EsTally   indexes;
	int64     events;
	int64     streams; /* that begin here */
} Walk;

/* Tells of an event: where it is, and what of it. */
#define FOUND(tally, event, ...) \
	es_tally_found(&walk->tally, ES_VERIFY_ERROR, es_verify_place(walk->verify, event), __VA_ARGS__)

/* Reads an event; its texts are in the scratch context. */
EsVerifyEvent
es_verify_read(EsVerify *verify, TupleTableSlot *slot)
{
	MemoryContext old = MemoryContextSwitchTo(verify->scratch);
	EsVerifyEvent event = {slot};

	event.tenant = es_row_text(slot, ES_EVENTS_TENANT);
	event.stream = es_row_text(slot, ES_EVENTS_STREAM);
	event.category = es_row_text(slot, ES_EVENTS_CATEGORY);
	event.version = es_row_int8(slot, ES_EVENTS_VERSION);
	event.position = es_row_int8(slot, ES_EVENTS_POSITION);
	event.recorded_at = es_row_int8(slot, ES_EVENTS_RECORDED_AT);
	MemoryContextSwitchTo(old);
	return event;
}

/* Where an event is, in the scratch context. */
char *
es_verify_place(EsVerify *verify, const EsVerifyEvent *event)
{
	MemoryContext old = MemoryContextSwitchTo(verify->scratch);
	char         *tenant = "";
	char         *result;

	if (VARSIZE_ANY_EXHDR(event->tenant) > 0)
		tenant = psprintf("tenant \"%s\", ", text_to_cstring(event->tenant));
	result = psprintf("%sstream \"%s\", version %lld, position %lld", tenant,
					  text_to_cstring(event->stream), (long long) event->version,
					  (long long) event->position);
	MemoryContextSwitchTo(old);
	return result;
}

static bool
is_same_row(const EsVerifyEvent *event, TupleTableSlot *slot)
{
	return ItemPointerEquals(&event->slot->tts_tid, &slot->tts_tid);
}

static void
check_names(Walk *walk, const EsVerifyEvent *event)
{
	text *type = es_row_text(event->slot, ES_EVENTS_TYPE);

	if (!es_name_is_valid(event->stream, ES_STREAM_MAX_BYTES) || *VARDATA_ANY(event->stream) == '-')
		FOUND(names, event, "The name of the stream is not valid.");
	if (!es_name_is_valid(type, ES_TYPE_MAX_BYTES))
		FOUND(names, event, "The type is not valid.");
	if (VARSIZE_ANY_EXHDR(event->tenant) > 0 &&
		(!es_name_is_valid(event->tenant, ES_TENANT_MAX_BYTES) || es_tenant_is_all(event->tenant)))
		FOUND(names, event, "The name of the tenant is not valid.");
	if (!es_name_is_category(event->category, event->stream))
		FOUND(names, event, "Its category is \"%.*s\", which is not the stream's.",
			  (int) VARSIZE_ANY_EXHDR(event->category), VARDATA_ANY(event->category));
	if (slot_attisnull(event->slot, ES_EVENTS_DATA) &&
		slot_attisnull(event->slot, ES_EVENTS_PAYLOAD))
		FOUND(names, event, "It has neither data nor a payload.");
}

/* An index leads from this event's key to another row that does not have it. */
static void
found_stray(Walk *walk, const EsVerifyEvent *event, EsScan *scan)
{
	FOUND(indexes, event, "Index \"%s\" leads from it to another row, at position %lld.",
		  RelationGetRelationName(scan->index),
		  (long long) es_row_int8(scan->slot, ES_EVENTS_POSITION));
}

static void
found_missing(Walk *walk, const EsVerifyEvent *event, EsScan *scan)
{
	FOUND(indexes, event, "Index \"%s\" does not lead to it.",
		  RelationGetRelationName(scan->index));
}

/* A4: is this event behind the one before it in the stream? */
static void
check_order(Walk *walk, const EsVerifyEvent *event, const EsVerifyEvent *before)
{
	if (before->position >= event->position)
		FOUND(order, event, "Version %lld stands at the higher position %lld.",
			  (long long) before->version, (long long) before->position);
	if (before->recorded_at > event->recorded_at)
		FOUND(order, event, "It was recorded before version %lld.", (long long) before->version);
}

/* Looks up the event's own version and the one before. */
static void
look_around(Walk *walk, const EsVerifyEvent *event)
{
	EsScan         *scan = walk->by_version;
	bool            itself = false;
	bool            follows = event->version == 1;
	TupleTableSlot *slot;

	if (event->version < 1)
		FOUND(versions, event, "Versions begin at 1.");
	es_log_seek_range(scan, event->tenant, event->stream, event->version - 1, event->version);
	while ((slot = es_scan_next(scan, ForwardScanDirection)) != NULL)
	{
		EsVerifyEvent other;

		if (is_same_row(event, slot))
		{
			itself = true;
			continue;
		}
		other = es_verify_read(walk->verify, slot);
		if (!es_same_text(other.tenant, event->tenant) ||
			!es_same_text(other.stream, event->stream) || other.version < event->version - 1 ||
			other.version > event->version)
			found_stray(walk, event, scan);
		else if (other.version == event->version)
			FOUND(versions, event, "The version comes again, at position %lld.",
				  (long long) other.position);
		else
		{
			follows = true;
			check_order(walk, event, &other);
		}
	}
	if (!itself)
		found_missing(walk, event, scan);
	if (!follows && event->version > 1)
		FOUND(versions, event, "There is no version %lld before it.",
			  (long long) event->version - 1);
}

/* The place that the stream's last event is kept at, if it is; it is made the stream's. */
static Last *
find_last(Walk *walk, const EsVerifyEvent *event)
{
	uint64 name[2];
	Last  *last;

	for (int i = 0; i < 2; i++)
		name[i] =
			hash_bytes_extended((unsigned char *) VARDATA_ANY(event->stream),
								VARSIZE_ANY_EXHDR(event->stream),
								hash_bytes_extended((unsigned char *) VARDATA_ANY(event->tenant),
													VARSIZE_ANY_EXHDR(event->tenant), i));
	last = &walk->last[name[0] % walk->nlast];
	if (last->name[0] != name[0] || last->name[1] != name[1])
	{
		last->name[0] = name[0];
		last->name[1] = name[1];
		last->version = 0;
	}
	return last;
}

/* A1, A4: does the event follow the last one of its stream? */
static void
check_stream(Walk *walk, const EsVerifyEvent *event)
{
	Last *last = find_last(walk, event);

	walk->streams += event->version == 1;
	if (last->version == 0 || event->version != last->version + 1 ||
		event->position <= last->position || event->recorded_at < last->recorded_at)
		look_around(walk, event);
	last->version = event->version;
	last->position = event->position;
	last->recorded_at = event->recorded_at;
}

static void
check_event(Walk *walk, TupleTableSlot *slot)
{
	EsVerify     *verify = walk->verify;
	EsVerifyEvent event = es_verify_read(verify, slot);

	if (event.position <= verify->reached)
		FOUND(indexes, &event, "Index \"%s\" leads to it behind position %lld.",
			  RelationGetRelationName(walk->log->index), (long long) verify->reached);
	check_names(walk, &event);
	if (walk->by_version != NULL)
		check_stream(walk, &event);
	verify->reached = Max(verify->reached, event.position);
}

/* A scan by an index of es.events; NULL where there is none, which is told. */
static EsScan *
open_scan(Walk *walk, Oid index, EsTally *tally)
{
	if (!es_verify_have(walk->verify, tally, index, "es.events"))
		return NULL;
	return es_scan_begin(walk->verify->events, index, walk->verify->snapshot, ES_SCAN_MAX_KEYS);
}

static void
begin_walk(Walk *walk, EsVerify *verify)
{

	walk->verify = verify;
	es_tally_begin(&walk->names, verify, "names");
	es_tally_begin(&walk->versions, verify, "versions");
	es_tally_begin(&walk->order, verify, "order");
	es_tally_begin(&walk->indexes, verify, "index entries");
	walk->log = open_scan(walk, es_events.found->indexes[ES_EVENTS_BY_POSITION], &walk->names);
	walk->by_version =
		open_scan(walk, es_events.found->indexes[ES_EVENTS_BY_VERSION], &walk->versions);
	walk->nlast = 1;
	while (walk->nlast < ES_VERIFY_STREAMS && 2 * walk->nlast * sizeof(Last) <= work_mem * 1024L)
		walk->nlast *= 2;
	walk->last = palloc0(walk->nlast * sizeof(Last));
}

static void
end_walk(Walk *walk)
{
	char *events = es_verify_count(walk->events, "event", "events");
	char *where = psprintf("positions %lld to %lld", (long long) walk->verify->after + 1,
						   (long long) walk->verify->reached);

	es_scan_end(walk->log);
	if (walk->by_version != NULL)
		es_scan_end(walk->by_version);
	pfree(walk->last);
	es_tally_end(&walk->names, where, "%s, with valid names and content.", events);
	es_tally_end(&walk->versions, where, "%s; %s, without hole and double.", events,
				 es_verify_count(walk->streams, "stream begins", "streams begin"));
	if (walk->by_version != NULL)
		es_tally_end(&walk->order, where, "%s, in each stream in the order of versions.", events);
	es_tally_end(&walk->indexes, where, "%s, as the indexes lead to them.", events);
}

/* Walks over the events. */
void
es_verify_events(EsVerify *verify)
{
	Walk            walk = {verify};
	TupleTableSlot *slot = NULL;

	if (verify->events == NULL || !OidIsValid(es_events.found->indexes[ES_EVENTS_BY_POSITION]))
	{
		es_tally_begin(&walk.names, verify, "events");
		es_tally_skip(&walk.names, "es.events");
		verify->at_end = true;
		return;
	}
	begin_walk(&walk, verify);
	es_scan_int8_key(walk.log, 1, BTGreaterStrategyNumber, verify->after);
	es_scan_seek(walk.log);
	while (walk.events < verify->max_count &&
		   (slot = es_scan_next(walk.log, ForwardScanDirection)) != NULL)
	{
		check_event(&walk, slot);
		walk.events++;
		es_verify_next(verify);
	}
	verify->at_end =
		walk.events < verify->max_count || es_scan_next(walk.log, ForwardScanDirection) == NULL;
	end_walk(&walk);
}

/* Is all there that says how far the sequence may be? */
static bool
knows_limit(void)
{
	return OidIsValid(es_events.found->indexes[ES_EVENTS_BY_POSITION]) &&
		   OidIsValid(es_ticks.found->indexes[0]) && OidIsValid(es_epochs.found->relid);
}

/*
 * The sequence is read after the snapshot was taken, and so is above all positions that
 * the snapshot shows.
 */
void
es_verify_sequence(EsVerify *verify)
{
	static const char *const where = "es.events_position_seq";
	EsTally                  tally;
	int64                    head = 0;
	int64                    last;

	es_tally_begin(&tally, verify, "sequence");
	if (!es_verify_have(verify, &tally, es_positions.found->relid, where))
		return;
	if (verify->events != NULL && OidIsValid(es_events.found->indexes[ES_EVENTS_BY_POSITION]))
		head = es_log_head(verify->events, verify->snapshot);
	last = es_sequence_last(es_positions.found->relid, NULL);
	if (!es_sequence_is_plain(es_positions.found->relid))
		es_tally_found(&tally, ES_VERIFY_ERROR, where,
					   "It does not count by one, or begins anew, or sessions keep values of it.");
	if (last < head)
		es_tally_found(&tally, ES_VERIFY_ERROR, where,
					   "It is at position %lld, and the log ends at position %lld.",
					   (long long) last, (long long) head);
	if (knows_limit() && es_epoch_is_ahead())
		es_tally_found(&tally, ES_VERIFY_ERROR, where,
					   "It is at position %lld, too far above all that the store knows of.",
					   (long long) last);
	es_tally_end(&tally, where, "It is at position %lld, the log ends at position %lld.",
				 (long long) last, (long long) head);
}
