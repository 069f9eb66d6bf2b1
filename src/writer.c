/*
 * writer.c
 *		Writes rows into one of the store's tables through the table and index
 *		access methods: no SPI, no planner, no plan tree.
 *
 * What INSERT would do is done: every index that is ready, CHECK and NOT NULL
 * constraints, foreign keys and AFTER triggers (they are one thing), statement
 * triggers, transition tables, and BEFORE ROW triggers of users, which may
 * refuse a row but not change or skip it (A6).  What INSERT would check is the
 * caller's duty: privileges, row security, read-only, recovery, parallel mode.
 *
 * There are two ways to do it.  Where the table has nothing that the executor would
 * evaluate, no trigger that fires, no constraint of others, and plain indexes only, a
 * row is its heap tuple and its index entries (indexes.c).  Anything else goes by
 * an EState, as COPY does.  es_writer_begin() decides it, once a call.
 *
 * Rows are collected and written in chunks.  The caller holds RowExclusiveLock
 * on the table until the end of the transaction.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/datum.h"
#include "utils/rel.h"

#include "compat.h"
#include "indexes.h"
#include "writer.h"

/* Rows, and bytes of rows, that are collected before they are written. */
#define ES_CHUNK_ROWS  100
#define ES_CHUNK_BYTES (256 * 1024)

/* From this many rows on they go through a small ring of buffers, as with COPY. */
#define ES_BULK_ROWS 1000

struct EsWriter
{
	Relation         rel;
	TupleDesc        desc; /* of the slots, a copy; NULL: the table's */
	TupleTableSlot **slots;
	int              nslots; /* how many a chunk takes */
	int              made;   /* how many of them exist */
	int              used;
	Size             bytes;
	CommandId        cid;
	BulkInsertState  bulk;
	EsRowCheck      *row_check;
	MemoryContext    scratch; /* of a chunk; NULL: the caller's will do */
	EsIndexes       *indexes; /* of a plain table; NULL: by the executor, as follows */

	EState                 *estate;
	ResultRelInfo          *rri;
	TransitionCaptureState *capture;
	bool                    fire_before;
	bool                    fire_after;
	bool                    check;
};

const EsFiring *es_writer_firing = NULL;

/*
 * Fires the BEFORE triggers of the statement or of one row, the guard among
 * them; tells the guard which row it is to let pass.
 */
static bool
fire_before(EsWriter *writer, TupleTableSlot *slot)
{
	EsFiring firing = {RelationGetRelid(writer->rel), true, slot, es_writer_firing};
	bool     go_on = true;

	es_writer_firing = &firing;
	PG_TRY();
	{
		if (slot == NULL)
			ExecBSInsertTriggers(writer->estate, writer->rri);
		else
			go_on = ExecBRInsertTriggers(writer->estate, writer->rri, slot);
	}
	PG_FINALLY();
	{
		es_writer_firing = firing.outer;
	}
	PG_END_TRY();
	return go_on;
}

/* Goes by the executor. */
static void
begin_executor(EsWriter *writer)
{
	EState        *estate = CreateExecutorState();
	MemoryContext  old = MemoryContextSwitchTo(estate->es_query_cxt);
	ResultRelInfo *rri = makeNode(ResultRelInfo);

	InitResultRelInfo(rri, writer->rel, 0, NULL, 0);
	ExecOpenIndices(rri, false);
	estate->es_opened_result_relations = list_make1(rri);
	writer->estate = estate;
	writer->scratch = GetPerTupleMemoryContext(estate);
	writer->rri = rri;
	if (writer->fire_after || writer->fire_before)
		AfterTriggerBeginQuery();
	if (writer->fire_after)
		writer->capture =
			MakeTransitionCaptureState(rri->ri_TrigDesc, RelationGetRelid(writer->rel), CMD_INSERT);
	MemoryContextSwitchTo(old);
	if (writer->fire_before)
		fire_before(writer, NULL);
}

/*
 * Begins to write about nrows rows.  plain_before and plain_checks say that the
 * table has no BEFORE triggers and no CHECK constraints but the store's own,
 * which the caller satisfies.  check looks at each row; or NULL.
 */
EsWriter *
es_writer_begin(Relation rel, int nrows, bool plain_before, bool plain_checks, EsRowCheck *check)
{
	EsWriter    *writer = palloc0(sizeof(EsWriter));
	TriggerDesc *triggers = rel->trigdesc;

	writer->rel = rel;
	writer->nslots = Min(nrows, ES_CHUNK_ROWS);
	/* a copy is not counted, and a hundred slots do not search for what they have counted */
	writer->desc = nrows > 1 ? CreateTupleDescCopy(RelationGetDescr(rel)) : NULL;
	writer->slots = palloc(writer->nslots * sizeof(TupleTableSlot *));
	writer->cid = GetCurrentCommandId(true);
	if (nrows >= ES_BULK_ROWS)
		writer->bulk = GetBulkInsertState();
	writer->fire_before =
		!plain_before && triggers != NULL &&
		(triggers->trig_insert_before_row || triggers->trig_insert_before_statement);
	writer->fire_after = triggers != NULL &&
						 (triggers->trig_insert_after_row ||
						  triggers->trig_insert_after_statement || triggers->trig_insert_new_table);
	writer->check = !plain_checks;
	writer->row_check = check;

	if (!writer->fire_before && !writer->fire_after && !writer->check)
		writer->indexes = es_indexes_open(rel);
	if (writer->indexes == NULL)
		begin_executor(writer);
	else if (nrows > 1)
		writer->scratch = AllocSetContextCreate(CurrentMemoryContext, "pg_eventstore writer",
												ALLOCSET_DEFAULT_SIZES);
	return writer;
}

/*
 * A slot for the next row, all of it null; its values must live until the row is
 * written.
 */
TupleTableSlot *
es_writer_next(EsWriter *writer)
{
	TupleTableSlot *slot;

	if (writer->used == writer->made)
		writer->slots[writer->made++] =
			MakeSingleTupleTableSlot(writer->desc != NULL ? writer->desc
														  : RelationGetDescr(writer->rel),
									 table_slot_callbacks(writer->rel));
	slot = ExecClearTuple(writer->slots[writer->used]);
	memset(slot->tts_isnull, true, RelationGetDescr(writer->rel)->natts * sizeof(bool));
	return slot;
}

/* A BEFORE ROW trigger may raise an error; the row itself is not its to change. */
static void
check_unchanged(EsWriter *writer, TupleTableSlot *slot, const Datum *values, const bool *nulls)
{
	TupleDesc desc = RelationGetDescr(writer->rel);

	slot_getallattrs(slot);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (slot->tts_isnull[i] != nulls[i] ||
			(!nulls[i] &&
			 !datum_image_eq(slot->tts_values[i], values[i], att->attbyval, att->attlen)))
			ereport(ERROR, (errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
							errmsg("a BEFORE trigger changed column \"%s\" of a new row of \"%s\"",
								   NameStr(att->attname), RelationGetRelationName(writer->rel)),
							errdetail("The store gives every column its value."),
							errhint("A BEFORE trigger may refuse an event by raising an error, "
									"but it cannot change it.")));
	}
}

static void
row_before(EsWriter *writer, TupleTableSlot *slot)
{
	int    natts = RelationGetDescr(writer->rel)->natts;
	Datum *values = palloc(natts * sizeof(Datum));
	bool  *nulls = palloc(natts * sizeof(bool));

	memcpy(values, slot->tts_values, natts * sizeof(Datum));
	memcpy(nulls, slot->tts_isnull, natts * sizeof(bool));
	if (!fire_before(writer, slot))
		ereport(ERROR, (errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
						errmsg("a BEFORE trigger skipped a new row of \"%s\"",
							   RelationGetRelationName(writer->rel)),
						errdetail("It returned NULL."),
						errhint("A BEFORE trigger may refuse an event by raising an error, but it "
								"cannot skip it.")));
	check_unchanged(writer, slot, values, nulls);
	pfree(values);
	pfree(nulls);
}

/* One row; the slot keeps its values, which the indexes ask for next. */
static void
write_single(EsWriter *writer, TupleTableSlot *slot)
{
	HeapTuple tuple =
		heap_form_tuple(RelationGetDescr(writer->rel), slot->tts_values, slot->tts_isnull);

	heap_insert(writer->rel, tuple, writer->cid, 0, writer->bulk);
	slot->tts_tid = tuple->t_self;
	heap_freetuple(tuple);
}

static void
write_heap(EsWriter *writer)
{
	if (writer->used > 1)
		heap_multi_insert(writer->rel, writer->slots, writer->used, writer->cid, 0, writer->bulk);
	else if (writer->indexes != NULL)
		write_single(writer, writer->slots[0]);
	else
		/* a trigger's condition may ask for system columns, which the row then has */
		table_tuple_insert(writer->rel, writer->slots[0], writer->cid, 0, writer->bulk);
}

/* Enters the rows into the indexes, and fires the triggers that come after. */
static void
finish_by_executor(EsWriter *writer)
{
	for (int i = 0; i < writer->used; i++)
	{
		TupleTableSlot *slot = writer->slots[i];
		List           *recheck = es_compat_insert_index_tuples(writer->rri, slot, writer->estate);

		if (writer->fire_after)
			ExecARInsertTriggers(writer->estate, writer->rri, slot, recheck, writer->capture);
		ResetPerTupleExprContext(writer->estate);
	}
}

/* Writes what has been collected. */
void
es_writer_flush(EsWriter *writer)
{
	MemoryContext old = CurrentMemoryContext;

	if (writer->used == 0)
		return;
	if (writer->scratch != NULL)
		MemoryContextSwitchTo(writer->scratch);
	write_heap(writer);
	if (writer->indexes != NULL)
		es_indexes_insert(writer->indexes, writer->slots, writer->used);
	MemoryContextSwitchTo(old);
	if (writer->indexes == NULL)
		finish_by_executor(writer);
	if (writer->scratch != NULL)
		MemoryContextReset(writer->scratch);
	for (int i = 0; i < writer->used; i++)
		ExecClearTuple(writer->slots[i]);
	writer->used = 0;
	writer->bytes = 0;
	CHECK_FOR_INTERRUPTS();
}

/* Adds the row that es_writer_next()'s slot was filled with. */
void
es_writer_add(EsWriter *writer)
{
	TupleTableSlot *slot = writer->slots[writer->used];

	ExecStoreVirtualTuple(slot);
	slot->tts_tableOid = RelationGetRelid(writer->rel);
	if (writer->fire_before)
		row_before(writer, slot);
	if (writer->row_check != NULL)
		writer->row_check->check(writer->row_check, slot);
	if (writer->check)
		ExecConstraints(writer->rri, slot, writer->estate);
	writer->used++;
	if (writer->nslots > 1)
		writer->bytes += heap_compute_data_size(RelationGetDescr(writer->rel), slot->tts_values,
												slot->tts_isnull);
	if (writer->used == writer->nslots || writer->bytes > ES_CHUNK_BYTES)
		es_writer_flush(writer);
}

/* The indexes' locks are kept: the next call in this transaction finds them held. */
static void
close_indexes(ResultRelInfo *rri)
{
	for (int i = 0; i < rri->ri_NumIndices; i++)
	{
		es_compat_index_insert_cleanup(rri->ri_IndexRelationDescs[i], rri->ri_IndexRelationInfo[i]);
		index_close(rri->ri_IndexRelationDescs[i], NoLock);
	}
	rri->ri_NumIndices = 0;
}

/* Fires what is to be fired at the end. */
static void
end_executor(EsWriter *writer)
{
	EState *estate = writer->estate;

	if (writer->fire_after)
		ExecASInsertTriggers(estate, writer->rri, writer->capture);
	if (writer->fire_after || writer->fire_before)
		AfterTriggerEndQuery(estate);
	/* the slots that firing triggers made pin the table's descriptor */
	ExecResetTupleTable(estate->es_tupleTable, false);
	close_indexes(writer->rri);
	ExecCloseResultRelations(estate);
	FreeExecutorState(estate);
}

static void
end_plain(EsWriter *writer)
{
	es_indexes_close(writer->indexes);
	if (writer->scratch != NULL)
		MemoryContextDelete(writer->scratch);
}

/* Writes the rest, and closes. */
void
es_writer_end(EsWriter *writer)
{
	es_writer_flush(writer);
	if (writer->bulk != NULL)
	{
		table_finish_bulk_insert(writer->rel, 0);
		FreeBulkInsertState(writer->bulk);
	}
	if (writer->indexes != NULL)
		end_plain(writer);
	else
		end_executor(writer);
	for (int i = 0; i < writer->made; i++)
		ExecDropSingleTupleTableSlot(writer->slots[i]);
	if (writer->desc != NULL)
		FreeTupleDesc(writer->desc);
	pfree(writer->slots);
	pfree(writer);
}
