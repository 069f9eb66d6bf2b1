/*
 * log.h
 *		The log: all that reads or writes es.events.
 */
#ifndef ES_LOG_H
#define ES_LOG_H

#include "datatype/timestamp.h"
#include "utils/jsonb.h"
#include "utils/snapshot.h"

#include "compat.h"
#include "event.h"
#include "scan.h"
#include "store.h"

/* A stream's last event, or zeros where it has none. */
typedef struct EsTail
{
	int64       version;
	int64       position;
	TimestampTz recorded_at;
	bool        visible; /* to the snapshot of a REPEATABLE READ caller */
} EsTail;

/* Where an event is stored. */
typedef struct EsStored
{
	text *stream;
	int64 version;
	int64 position;
	bool  same; /* type, data and payload are those that were asked for */
} EsStored;

extern EsScan *es_log_stream_scan(Relation events, Snapshot snapshot);
extern EsScan *es_log_tail_scan(Relation events);
extern EsScan *es_log_scan(Relation events, Snapshot snapshot);
extern EsScan *es_log_id_scan(Relation events, Snapshot snapshot);

extern void es_log_seek_range(EsScan *scan, text *tenant, text *stream, int64 from, int64 to);
extern TupleTableSlot *es_log_seek_tail(EsScan *scan, text *tenant, text *stream);
extern TupleTableSlot *es_log_seek_version(EsScan *scan, text *tenant, text *stream, int64 version);
extern TupleTableSlot *es_log_seek_id(EsScan *scan, text *tenant, const pg_uuid_t *id);

extern int64  es_log_head(Relation events, Snapshot snapshot);
extern int64  es_log_last_position(Relation events);
extern int64  es_log_last_prepared(Relation events);
extern EsTail es_log_tail(EsScan *scan, text *tenant, text *stream, int64 hint);
extern bool   es_log_find(EsScan *scan, text *tenant, const EsEvent *wanted, EsStored *stored);

#endif
