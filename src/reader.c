/*
 * reader.c
 *		Readers, as functions that return a set: all rows go into a tuplestore,
 *		which spills to disk beyond work_mem, so that a stream of any length can be
 *		read wherever a set may stand.
 *
 * Where the function stands alone in FROM, read_plan.c and read_node.c take its
 * place, and the rows go straight to who wants them.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/snapmgr.h"

#include "reader.h"
#include "rows.h"

/* Bit n of wanted stands for the row's column n + 1. */
void
es_reader_init_row(const EsReaderKind *kind, EsRow *row, int wanted, Datum *values, bool *nulls)
{
	row->values = values;
	row->nulls = nulls;
	row->natts = kind->natts;
	row->last = 0;
	memset(nulls, true, kind->natts * sizeof(bool));
	for (int i = 0; i < kind->natts; i++)
	{
		row->columns[i] = wanted & (1 << i) ? kind->columns[i] : 0;
		row->last = Max(row->last, row->columns[i]);
	}
}

/* Takes from a row of es.events what is wanted of it. */
void
es_reader_fill(EsRow *row, TupleTableSlot *event)
{
	slot_getsomeattrs(event, row->last);
	for (int i = 0; i < row->natts; i++)
	{
		AttrNumber column = row->columns[i];

		if (column == 0)
			continue;
		row->values[i] = event->tts_values[column - 1];
		row->nulls[i] = event->tts_isnull[column - 1];
	}
}

/* The function itself. */
Datum
es_reader_run(FunctionCallInfo fcinfo, const EsReaderKind *kind)
{
	void  *reader = kind->open(fcinfo, GetActiveSnapshot());
	EsRows rows = es_rows_begin(fcinfo);
	Datum  values[ES_READER_MAX_NATTS];
	bool   nulls[ES_READER_MAX_NATTS];
	EsRow  row;

	es_reader_init_row(kind, &row, ES_READER_ALL_COLUMNS, values, nulls);
	while (kind->next(reader, &row))
	{
		es_rows_put(&rows, values, nulls);
		CHECK_FOR_INTERRUPTS();
	}
	kind->close(reader);
	return (Datum) 0;
}
