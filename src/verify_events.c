/*
 * verify_events.c
 *		es_verify: the events themselves, their indexes, and the sequence of positions.
 *
 * The events are walked in the order of their positions, by the index that has it.  Of
 * each is asked what can be answered where it stands: are its names valid; is the event
 * of its stream with the version before there, at a lower position and not later (A1,
 * A4); does no other have its version, or its id; does each index lead to it.  By
 * induction the streams are then 1, 2, 3 ... without hole and double, at any place that
 * a walk in pieces has come to, and with nothing kept in memory.
 *
 * What the walk cannot see is a row that the index of positions lacks, and an entry of
 * an index that leads nowhere.  So at the end rows and entries are counted.  Every row
 * has an entry in each index, as the walk has shown; where there are as many of the one
 * as of the other, there are no others.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/tableam.h"
#include "access/visibilitymap.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "epoch.h"
#include "event.h"
#include "layout.h"
#include "log.h"
#include "scan.h"
#include "sequence.h"
#include "tick.h"
#include "verify.h"

typedef struct Walk
{
	EsVerify *verify;
	EsScan   *log;
	EsScan   *by_version; /* NULL: there is no such index */
	EsScan   *by_id;
	EsScan   *by_category;
	EsTally   names;
	EsTally   versions;
	EsTally   order;
	EsTally   ids;
	EsTally   indexes;
	int64     events;
	int64     streams; /* that begin here */
} Walk;

/* An event, with what is asked of it.  The texts are in the scratch context. */
typedef struct Event
{
	TupleTableSlot *slot;
	text           *tenant;
	text           *stream;
	text           *category;
	int64           version;
	int64           position;
	TimestampTz     recorded_at;
} Event;

static Event
read_event(EsVerify *verify, TupleTableSlot *slot)
{
	MemoryContext old = MemoryContextSwitchTo(verify->scratch);
	Event         event = {slot};

	event.tenant = es_scan_text(slot, ES_EVENTS_TENANT);
	event.stream = es_scan_text(slot, ES_EVENTS_STREAM);
	event.category = es_scan_text(slot, ES_EVENTS_CATEGORY);
	event.version = es_scan_int8(slot, ES_EVENTS_VERSION);
	event.position = es_scan_int8(slot, ES_EVENTS_POSITION);
	event.recorded_at = es_scan_int8(slot, ES_EVENTS_RECORDED_AT);
	MemoryContextSwitchTo(old);
	return event;
}

/* Tells of an event: where it is, and what of it. */
#define FOUND(tally, event, ...) \
	es_tally_found(&walk->tally, ES_VERIFY_ERROR, place(walk->verify, event), __VA_ARGS__)

static char *
place(EsVerify *verify, const Event *event)
{
	MemoryContext old = MemoryContextSwitchTo(verify->scratch);
	char         *tenant = VARSIZE_ANY_EXHDR(event->tenant) == 0
							   ? ""
							   : psprintf("tenant \"%s\", ", text_to_cstring(event->tenant));
	char         *result = psprintf("%sstream \"%s\", version %lld, position %lld", tenant,
									text_to_cstring(event->stream), (long long) event->version,
									(long long) event->position);

	MemoryContextSwitchTo(old);
	return result;
}

static bool
is_same_row(const Event *event, TupleTableSlot *slot)
{
	return ItemPointerEquals(&event->slot->tts_tid, &slot->tts_tid);
}

static bool
is_null(TupleTableSlot *slot, AttrNumber column)
{
	return slot_attisnull(slot, column);
}

static void
check_names(Walk *walk, const Event *event)
{
	text *type = es_scan_text(event->slot, ES_EVENTS_TYPE);

	if (!es_event_is_name(event->stream, ES_STREAM_MAX_BYTES) || *VARDATA_ANY(event->stream) == '-')
		FOUND(names, event, "The name of the stream is not valid.");
	if (!es_event_is_name(type, ES_TYPE_MAX_BYTES))
		FOUND(names, event, "The type is not valid.");
	if (VARSIZE_ANY_EXHDR(event->tenant) > 0 &&
		(!es_event_is_name(event->tenant, ES_TENANT_MAX_BYTES) || es_tenant_is_all(event->tenant)))
		FOUND(names, event, "The name of the tenant is not valid.");
	if (!es_event_is_category(event->category, event->stream))
		FOUND(names, event, "Its category is \"%.*s\", which is not the stream's.",
			  (int) VARSIZE_ANY_EXHDR(event->category), VARDATA_ANY(event->category));
	if (is_null(event->slot, ES_EVENTS_DATA) && is_null(event->slot, ES_EVENTS_PAYLOAD))
		FOUND(names, event, "It has neither data nor a payload.");
}

/* An index leads from this event's key to another row that does not have it. */
static void
found_stray(Walk *walk, const Event *event, EsScan *scan)
{
	FOUND(indexes, event, "Index \"%s\" leads from it to another row, at position %lld.",
		  RelationGetRelationName(scan->index),
		  (long long) es_scan_int8(scan->slot, ES_EVENTS_POSITION));
}

static void
found_missing(Walk *walk, const Event *event, EsScan *scan)
{
	FOUND(indexes, event, "Index \"%s\" does not lead to it.",
		  RelationGetRelationName(scan->index));
}

/* A4: is this event behind the one before it in the stream? */
static void
check_order(Walk *walk, const Event *event, const Event *before)
{
	if (before->position >= event->position)
		FOUND(order, event, "Version %lld stands at the higher position %lld.",
			  (long long) before->version, (long long) before->position);
	if (before->recorded_at > event->recorded_at)
		FOUND(order, event, "It was recorded before version %lld.", (long long) before->version);
}

/* A1, A4: looks at the event's own version and at the one before. */
static void
check_version(Walk *walk, const Event *event)
{
	EsScan         *scan = walk->by_version;
	bool            itself = false;
	bool            follows = event->version == 1;
	TupleTableSlot *slot;

	walk->streams += event->version == 1;
	if (event->version < 1)
		FOUND(versions, event, "Versions begin at 1.");
	es_log_seek_range(scan, event->tenant, event->stream, event->version - 1, event->version);
	while ((slot = es_scan_next(scan, ForwardScanDirection)) != NULL)
	{
		Event other;

		if (is_same_row(event, slot))
		{
			itself = true;
			continue;
		}
		other = read_event(walk->verify, slot);
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

static void
check_id(Walk *walk, const Event *event)
{
	EsScan         *scan = walk->by_id;
	pg_uuid_t      *id = DatumGetUUIDP(es_scan_column(event->slot, ES_EVENTS_ID));
	bool            itself = false;
	TupleTableSlot *slot = es_log_seek_id(scan, event->tenant, id);

	for (; slot != NULL; slot = es_scan_next(scan, ForwardScanDirection))
	{
		if (is_same_row(event, slot))
			itself = true;
		else if (memcmp(id, DatumGetUUIDP(es_scan_column(slot, ES_EVENTS_ID)), UUID_LEN) == 0)
			FOUND(ids, event, "The tenant has its id again, at position %lld.",
				  (long long) es_scan_int8(slot, ES_EVENTS_POSITION));
		else
			found_stray(walk, event, scan);
	}
	if (!itself)
		found_missing(walk, event, scan);
}

static void
check_category(Walk *walk, const Event *event)
{
	EsScan         *scan = walk->by_category;
	bool            itself = false;
	TupleTableSlot *slot;

	es_scan_text_key(scan, 1, BTEqualStrategyNumber, event->category);
	es_scan_int8_key(scan, 2, BTEqualStrategyNumber, event->position);
	es_scan_seek(scan);
	while ((slot = es_scan_next(scan, ForwardScanDirection)) != NULL)
	{
		if (is_same_row(event, slot))
			itself = true;
		else
			found_stray(walk, event, scan);
	}
	if (!itself)
		found_missing(walk, event, scan);
}

static void
check_event(Walk *walk, TupleTableSlot *slot)
{
	EsVerify *verify = walk->verify;
	Event     event = read_event(verify, slot);

	if (event.position <= verify->reached)
		FOUND(indexes, &event, "Index \"%s\" leads to it behind position %lld.",
			  RelationGetRelationName(walk->log->index), (long long) verify->reached);
	check_names(walk, &event);
	if (walk->by_version != NULL)
		check_version(walk, &event);
	if (walk->by_id != NULL)
		check_id(walk, &event);
	if (walk->by_category != NULL)
		check_category(walk, &event);
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
	const EsStore *store = &verify->store;

	walk->verify = verify;
	es_tally_begin(&walk->names, verify, "names");
	es_tally_begin(&walk->versions, verify, "versions");
	es_tally_begin(&walk->order, verify, "order");
	es_tally_begin(&walk->ids, verify, "ids");
	es_tally_begin(&walk->indexes, verify, "index entries");
	walk->log = open_scan(walk, store->events_position, &walk->names);
	walk->by_version = open_scan(walk, store->events_version, &walk->versions);
	walk->by_id = open_scan(walk, store->events_id, &walk->ids);
	walk->by_category = open_scan(walk, store->events_category, &walk->indexes);
}

static void
end_walk(Walk *walk)
{
	EsScan *scans[] = {walk->log, walk->by_version, walk->by_id, walk->by_category};
	char   *events = es_verify_count(walk->events, "event", "events");
	char   *where = psprintf("positions %lld to %lld", (long long) walk->verify->after + 1,
							 (long long) walk->verify->reached);

	for (int i = 0; i < (int) lengthof(scans); i++)
	{
		if (scans[i] != NULL)
			es_scan_end(scans[i]);
	}
	es_tally_end(&walk->names, where, "%s, with valid names and content.", events);
	es_tally_end(&walk->versions, where, "%s; %s, without hole and double.", events,
				 es_verify_count(walk->streams, "stream begins", "streams begin"));
	if (walk->by_version != NULL)
		es_tally_end(&walk->order, where, "%s, in each stream in the order of versions.", events);
	es_tally_end(&walk->ids, where, "%s, each with an id of its own.", events);
	es_tally_end(&walk->indexes, where, "%s, to which each index leads.", events);
}

/* Walks over the events. */
void
es_verify_events(EsVerify *verify)
{
	Walk            walk = {verify};
	TupleTableSlot *slot = NULL;

	if (verify->events == NULL || !OidIsValid(verify->store.events_position))
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

/* How many rows the table has. */
static int64
count_rows(EsVerify *verify)
{
	TupleTableSlot *slot = table_slot_create(verify->events, NULL);
	TableScanDesc   scan = table_beginscan(verify->events, verify->snapshot, 0, NULL);
	int64           n = 0;

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		n++;
		CHECK_FOR_INTERRUPTS();
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	return n;
}

/* How many entries an index has that lead to rows; the pages are asked as an index-only scan does.
 */
static int64
count_entries(EsVerify *verify, Oid index)
{
	EsScan     *scan = es_scan_begin(verify->events, index, verify->snapshot, 0);
	Buffer      map = InvalidBuffer;
	int64       n = 0;
	ItemPointer tid;

	scan->desc->xs_want_itup = true;
	es_scan_seek(scan);
	while ((tid = index_getnext_tid(scan->desc, ForwardScanDirection)) != NULL)
	{
		if (VM_ALL_VISIBLE(verify->events, ItemPointerGetBlockNumber(tid), &map) ||
			index_fetch_heap(scan->desc, scan->slot))
			n++;
		CHECK_FOR_INTERRUPTS();
	}
	if (BufferIsValid(map))
		ReleaseBuffer(map);
	es_scan_end(scan);
	return n;
}

/* Tells which rows the index of positions does not lead to. */
static void
find_unlisted(EsVerify *verify, EsTally *tally)
{
	TupleTableSlot *slot = table_slot_create(verify->events, NULL);
	TableScanDesc   scan = table_beginscan(verify->events, verify->snapshot, 0, NULL);
	EsScan *log = es_scan_begin(verify->events, verify->store.events_position, verify->snapshot, 1);

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		Event           event = read_event(verify, slot);
		TupleTableSlot *listed;

		es_scan_int8_key(log, 1, BTEqualStrategyNumber, event.position);
		es_scan_seek(log);
		while ((listed = es_scan_next(log, ForwardScanDirection)) != NULL &&
			   !is_same_row(&event, listed))
			continue;
		if (listed == NULL)
			es_tally_found(tally, ES_VERIFY_ERROR, place(verify, &event),
						   "Index \"%s\" does not lead to it.",
						   RelationGetRelationName(log->index));
		es_verify_next(verify);
	}
	es_scan_end(log);
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
}

/* Compares the table with one of its indexes. */
static void
check_index(EsVerify *verify, EsTally *tally, const EsStoreIndex *wanted, int64 rows)
{
	Oid   index = *(const Oid *) ((const char *) &verify->store + wanted->offset);
	int64 entries;

	if (!es_verify_have(verify, tally, index, psprintf("es.%s", wanted->name)))
		return;
	entries = count_entries(verify, index);
	if (entries != rows)
		es_tally_found(tally, ES_VERIFY_ERROR, psprintf("es.%s", get_rel_name(index)),
					   "The index has %s, the table has %s.",
					   es_verify_count(entries, "entry", "entries"),
					   es_verify_count(rows, "row", "rows"));
	if (entries < rows && index == verify->store.events_position)
		find_unlisted(verify, tally);
}

/* Counts the rows of es.events, and the entries of the indexes that the store reads by. */
void
es_verify_indexes(EsVerify *verify)
{
	EsTally tally;
	int64   rows;

	es_tally_begin(&tally, verify, "indexes");
	if (!es_verify_have(verify, &tally, verify->store.events, "es.events"))
		return;
	rows = count_rows(verify);
	for (int i = 0; i < es_layout_nindexes; i++)
		check_index(verify, &tally, &es_layout_indexes[i], rows);
	es_tally_end(&tally, "es.events", "%s in the table, and as many entries in each of %d indexes.",
				 es_verify_count(rows, "row", "rows"), es_layout_nindexes);
}

/* Is all there that says how far the sequence may be? */
static bool
knows_limit(const EsStore *store)
{
	return OidIsValid(store->events_position) && OidIsValid(store->ticks_position) &&
		   OidIsValid(store->epochs);
}

/*
 * The sequence is read after the snapshot was taken, and so is above all positions that
 * the snapshot shows.
 */
void
es_verify_sequence(EsVerify *verify)
{
	static const char *const where = "es.events_position_seq";
	const EsStore           *store = &verify->store;
	EsTally                  tally;
	int64                    head = 0;
	int64                    last;

	es_tally_begin(&tally, verify, "sequence");
	if (!es_verify_have(verify, &tally, store->sequence, where))
		return;
	if (verify->events != NULL && OidIsValid(store->events_position))
		head = es_log_head(verify->events, store, verify->snapshot);
	last = es_sequence_last(store->sequence, NULL);
	if (!es_sequence_is_plain(store->sequence))
		es_tally_found(&tally, ES_VERIFY_ERROR, where,
					   "It does not count by one, or begins anew, or sessions keep values of it.");
	if (last < head)
		es_tally_found(&tally, ES_VERIFY_ERROR, where,
					   "It is at position %lld, and the log ends at position %lld.",
					   (long long) last, (long long) head);
	if (knows_limit(store) && es_epoch_is_ahead(store))
		es_tally_found(&tally, ES_VERIFY_ERROR, where,
					   "It is at position %lld, too far above all that the store knows of.",
					   (long long) last);
	es_tally_end(&tally, where, "It is at position %lld, the log ends at position %lld.",
				 (long long) last, (long long) head);
}
