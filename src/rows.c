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

#include "events.h"
#include "rows.h"

const AttrNumber es_rows_event[ES_EVENT_ROW_NATTS] = {
	ES_EVENTS_VERSION,     ES_EVENTS_TYPE, ES_EVENTS_DATA,     ES_EVENTS_METADATA,
	ES_EVENTS_RECORDED_AT, ES_EVENTS_ID,   ES_EVENTS_POSITION, ES_EVENTS_PAYLOAD,
};

const AttrNumber es_rows_log[ES_LOG_ROW_NATTS] = {
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

/* Puts some columns of a row of any table. */
void
es_rows_put_columns(EsRows *rows, TupleTableSlot *slot, const AttrNumber *columns, int n)
{
	Datum values[ES_LOG_ROW_NATTS];
	bool  nulls[ES_LOG_ROW_NATTS];

	slot_getallattrs(slot);
	for (int i = 0; i < n; i++)
	{
		values[i] = slot->tts_values[columns[i] - 1];
		nulls[i] = slot->tts_isnull[columns[i] - 1];
	}
	es_rows_put(rows, values, nulls);
}

/* Puts a row of es.events as a log row. */
void
es_rows_put_log(EsRows *rows, TupleTableSlot *slot)
{
	es_rows_put_columns(rows, slot, es_rows_log, ES_LOG_ROW_NATTS);
}
