/*
 * write.c
 *		Writes events to the log.
 *
 * Keeps A1, A3 and A4: versions, positions and the time are given here, under
 * the streams' locks, from the newest committed state; P1: under the marker.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "epoch.h"
#include "events.h"
#include "marker.h"
#include "row.h"
#include "sequence.h"
#include "visible.h"
#include "write.h"
#include "writer.h"

/* A4: the clock, but never earlier than the last event of any of the streams. */
static TimestampTz
clock_under_lock(const EsLogStream *streams, int nstreams)
{
	TimestampTz now = GetCurrentTimestamp();

	for (int i = 0; i < nstreams; i++)
		now = Max(now, streams[i].tail.recorded_at);
	return now;
}

/* Gives the next version and position to an event (A1, A4). */
static void
number_event(EsPositions *positions, EsLogStream *stream, EsEvent *event)
{
	event->version = ++stream->tail.version;
	event->position = es_sequence_next(positions);
	if (event->position > es_epoch_limit)
		es_epoch_check_ahead(event->position, true);
	es_marker_note(event->position);
	if (event->position <= stream->tail.position)
		es_sequence_raise_gone_back(
			psprintf("The next position is %lld, and stream \"%s\" ends at position %lld.",
					 (long long) event->position, text_to_cstring(stream->name),
					 (long long) stream->tail.position));
	stream->tail.position = event->position;
}

static void
fill_slot(TupleTableSlot *slot, text *tenant, const EsLogStream *stream, TimestampTz recorded_at,
		  const EsEvent *event)
{
	es_row_put(slot, ES_EVENTS_POSITION, Int64GetDatum(event->position));
	es_row_put(slot, ES_EVENTS_VERSION, Int64GetDatum(event->version));
	es_row_put(slot, ES_EVENTS_RECORDED_AT, TimestampTzGetDatum(recorded_at));
	es_row_put(slot, ES_EVENTS_ID, UUIDPGetDatum(&event->id));
	es_row_put(slot, ES_EVENTS_TENANT, PointerGetDatum(tenant));
	es_row_put(slot, ES_EVENTS_STREAM, PointerGetDatum(stream->name));
	es_row_put(slot, ES_EVENTS_CATEGORY, PointerGetDatum(stream->category));
	es_row_put(slot, ES_EVENTS_TYPE, PointerGetDatum(event->type));
	es_row_put_pointer(slot, ES_EVENTS_DATA, event->data);
	es_row_put_pointer(slot, ES_EVENTS_METADATA, event->metadata);
	es_row_put_pointer(slot, ES_EVENTS_PAYLOAD, event->payload);
}

/*
 * Appends events in the order of the array, each to its stream, and fills in
 * their versions and positions.  The caller holds the streams' locks, has read
 * their tails under them, and holds RowExclusiveLock on es.events.  The marker
 * comes before the first position (P1), and an epoch before the marker (P6).
 *
 * Until all rows are stored, policies, constraints and indexes must not append behind the
 * tails that were read; AFTER triggers may, which fire at the end.  Where it raises, the
 * caller puts es_writer_firing back.
 */
void
es_write(Relation events, text *tenant, EsLogStream *streams, int nstreams, EsEvent *to_write,
		 int nevents)
{
	EsFiring    writing = {RelationGetRelid(events), false, NULL, es_writer_firing};
	EsPositions positions = {.wanted = nevents};
	EsRowCheck *check;
	TimestampTz recorded_at;
	EsWriter   *writer;

	es_writer_firing = &writing;
	check = es_visible_check(events);
	es_epoch_check();
	es_marker_take();
	positions.sequence = es_positions.found->relid;
	recorded_at = clock_under_lock(streams, nstreams);
	writer = es_writer_begin(events, nevents, es_events.found->plain_before,
							 es_events.found->plain_checks, check);

	for (int i = 0; i < nevents; i++)
	{
		EsEvent     *event = &to_write[i];
		EsLogStream *stream = &streams[event->stream];

		number_event(&positions, stream, event);
		if (!event->has_id)
			es_uuid_generate(&event->id);
		fill_slot(es_writer_next(writer), tenant, stream, recorded_at, event);
		es_writer_add(writer);
	}
	es_writer_flush(writer);
	es_writer_firing = writing.outer;
	es_writer_end(writer);
	if (check != NULL)
		check->end(check);
}
