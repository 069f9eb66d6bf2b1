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
	row->ncopies = 0;
	memset(nulls, true, kind->natts * sizeof(bool));
	for (int i = 0; i < kind->natts; i++)
	{
		if (kind->columns[i] == 0 || (wanted & (1 << i)) == 0)
			continue;
		row->last = Max(row->last, kind->columns[i]);
		row->copies[row->ncopies].from = kind->columns[i] - 1;
		row->copies[row->ncopies++].to = i;
	}
}

/* Takes from a row of es.events what is wanted of it. */
void
es_reader_fill(EsRow *row, TupleTableSlot *event)
{
	Datum       *values = row->values;
	bool        *nulls = row->nulls;
	const Datum *from_values;
	const bool  *from_nulls;
	int          n = row->ncopies;

	slot_getsomeattrs(event, row->last);
	from_values = event->tts_values;
	from_nulls = event->tts_isnull;
	for (int i = 0; i < n; i++)
	{
		int from = row->copies[i].from;
		int to = row->copies[i].to;

		values[to] = from_values[from];
		nulls[to] = from_nulls[from];
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
