/*
 * rows.c
 *		Answers with rows of es.events in one of their two shapes: the event row
 *		of a stream's readers, and the log row of the log's.
 *
 * Rows go into a tuplestore, which spills to disk beyond work_mem, so that a
 * stream of any length can be read.
 */
#include "postgres.h"

#include "executor/tuptable.h"
#include "funcapi.h"
#include "nodes/execnodes.h"

#include "rows.h"
#include "store.h"

static const AttrNumber event_row[ES_EVENT_ROW_NATTS] = {
	ES_EVENTS_VERSION,     ES_EVENTS_TYPE, ES_EVENTS_DATA,     ES_EVENTS_METADATA,
	ES_EVENTS_RECORDED_AT, ES_EVENTS_ID,   ES_EVENTS_POSITION, ES_EVENTS_PAYLOAD,
};

static const AttrNumber log_row[ES_LOG_ROW_NATTS] = {
	ES_EVENTS_POSITION, ES_EVENTS_STREAM,   ES_EVENTS_VERSION,     ES_EVENTS_TYPE,
	ES_EVENTS_DATA,     ES_EVENTS_METADATA, ES_EVENTS_RECORDED_AT, ES_EVENTS_ID,
	ES_EVENTS_PAYLOAD,  ES_EVENTS_TENANT,
};

/* Makes the function answer with a set of rows. */
EsRows
es_rows_begin(FunctionCallInfo fcinfo)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	EsRows         rows;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	rows.store = rsinfo->setResult;
	rows.desc = rsinfo->setDesc;
	return rows;
}

void
es_rows_put(EsRows *rows, const Datum *values, const bool *nulls)
{
	tuplestore_putvalues(rows->store, rows->desc, (Datum *) values, (bool *) nulls);
}

static void
put_mapped(EsRows *rows, TupleTableSlot *slot, const AttrNumber *columns, int n, const Datum *kind)
{
	Datum values[ES_LOG_ROW_NATTS + 1];
	bool  nulls[ES_LOG_ROW_NATTS + 1] = {false};
	int   at = 0;

	if (kind != NULL)
		values[at++] = *kind;
	slot_getallattrs(slot);
	for (int i = 0; i < n; i++, at++)
	{
		values[at] = slot->tts_values[columns[i] - 1];
		nulls[at] = slot->tts_isnull[columns[i] - 1];
	}
	es_rows_put(rows, values, nulls);
}

/* Puts some columns of a row of any table. */
void
es_rows_put_columns(EsRows *rows, TupleTableSlot *slot, const AttrNumber *columns, int n)
{
	put_mapped(rows, slot, columns, n, NULL);
}

/* Puts a row of es.events as an event row. */
void
es_rows_put_event(EsRows *rows, TupleTableSlot *slot)
{
	put_mapped(rows, slot, event_row, ES_EVENT_ROW_NATTS, NULL);
}

/* The same with a kind before it. */
void
es_rows_put_kind(EsRows *rows, Datum kind, TupleTableSlot *slot)
{
	put_mapped(rows, slot, event_row, ES_EVENT_ROW_NATTS, &kind);
}

/* Puts a row of es.events as a log row. */
void
es_rows_put_log(EsRows *rows, TupleTableSlot *slot)
{
	put_mapped(rows, slot, log_row, ES_LOG_ROW_NATTS, NULL);
}
