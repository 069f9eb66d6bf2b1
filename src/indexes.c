/*
 * indexes.c
 *		The indexes of a table, written without the executor: for a table whose
 *		indexes are all plain.
 *
 * A plain index is on columns, of all rows, and refuses a double at once: no
 * expression, no predicate, no exclusion constraint, nothing deferrable.  For it the
 * executor has nothing to evaluate and nothing to check later.  One that is not yet
 * ready, which somebody builds concurrently, is left out as the executor would.
 *
 * Nothing of what is learned here outlives the call: an index that is made, or
 * becomes ready, between two calls of one transaction is seen by the second.
 *
 * Rows are entered index by index, so that its pages and the code for its types are
 * at hand for all of them.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "catalog/index.h"
#include "catalog/pg_am.h"
#include "nodes/execnodes.h"
#include "utils/datum.h"
#include "utils/rel.h"

#include "compat.h"
#include "indexes.h"

typedef struct PlainIndex
{
	Relation   rel;
	IndexInfo *info;
	bool       summarizes; /* blocks, not rows */
} PlainIndex;

struct EsIndexes
{
	Relation   table;
	int        n;
	PlainIndex index[FLEXIBLE_ARRAY_MEMBER];
};

static bool
is_plain(Relation index)
{
	return index->rd_index->indimmediate && !index->rd_index->indisexclusion &&
		   heap_attisnull(index->rd_indextuple, Anum_pg_index_indexprs, NULL) &&
		   heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, NULL);
}

/*
 * What an access method keeps from one row to the next.  A btree keeps nothing, and
 * asks nothing of it.
 */
static IndexInfo *
make_info(Relation index)
{
	static IndexInfo none = {.type = T_IndexInfo};

	return index->rd_rel->relam == BTREE_AM_OID ? &none : BuildIndexInfo(index);
}

/*
 * Opens the indexes of a table; NULL, and none is open, where one of them is not
 * plain.  The locks are kept until the end of the transaction: the next call finds
 * them held.
 */
EsIndexes *
es_indexes_open(Relation table)
{
	List      *list = RelationGetIndexList(table);
	EsIndexes *indexes =
		palloc(offsetof(EsIndexes, index) + list_length(list) * sizeof(PlainIndex));
	bool      all_plain = true;
	ListCell *cell;

	indexes->table = table;
	indexes->n = 0;
	foreach (cell, list)
	{
		PlainIndex *index = &indexes->index[indexes->n];
		Relation    rel = index_open(lfirst_oid(cell), RowExclusiveLock);

		if (!rel->rd_index->indisready)
		{
			index_close(rel, NoLock);
			continue;
		}
		index->rel = rel;
		index->info = make_info(rel);
		index->summarizes = rel->rd_rel->relam == BRIN_AM_OID;
		indexes->n++;
		all_plain = all_plain && is_plain(rel);
	}
	list_free(list);
	if (all_plain)
		return indexes;
	es_indexes_close(indexes);
	return NULL;
}

static void
form_key(Relation index, TupleTableSlot *row, Datum *values, bool *nulls)
{
	for (int i = 0; i < index->rd_index->indnatts; i++)
		values[i] = slot_getattr(row, index->rd_index->indkey.values[i], &nulls[i]);
}

static void
insert_key(const EsIndexes *indexes, const PlainIndex *index, TupleTableSlot *row, Datum *values,
		   bool *nulls)
{
	(void) index_insert(index->rel, values, nulls, &row->tts_tid, indexes->table,
						index->rel->rd_index->indisunique ? UNIQUE_CHECK_YES : UNIQUE_CHECK_NO,
						false, index->info);
}

static void
insert_each(const EsIndexes *indexes, const PlainIndex *index, TupleTableSlot **rows, int nrows)
{
	Datum values[INDEX_MAX_KEYS];
	bool  nulls[INDEX_MAX_KEYS];

	for (int i = 0; i < nrows; i++)
	{
		form_key(index->rel, rows[i], values, nulls);
		insert_key(indexes, index, rows[i], values, nulls);
	}
}

/* Is this row's key the image of the one before, on the same block of the table? */
static bool
is_summarized(const PlainIndex *index, TupleTableSlot *row, TupleTableSlot *before)
{
	TupleDesc desc = row->tts_tupleDescriptor;

	if (ItemPointerGetBlockNumber(&row->tts_tid) != ItemPointerGetBlockNumber(&before->tts_tid))
		return false;
	for (int i = 0; i < index->rel->rd_index->indnatts; i++)
	{
		AttrNumber        column = index->rel->rd_index->indkey.values[i];
		Form_pg_attribute att = TupleDescAttr(desc, column - 1);
		bool              isnull;
		bool              was_null;
		Datum             value = slot_getattr(row, column, &isnull);
		Datum             previous = slot_getattr(before, column, &was_null);

		if (isnull != was_null ||
			(!isnull && !datum_image_eq(value, previous, att->attbyval, att->attlen)))
			return false;
	}
	return true;
}

/*
 * An index that summarizes blocks has nothing to learn from a row that is, for it,
 * like the one before: and all rows of a call have one recorded_at.
 */
static void
insert_different(const EsIndexes *indexes, const PlainIndex *index, TupleTableSlot **rows,
				 int nrows)
{
	for (int i = 0; i < nrows; i++)
	{
		if (i == 0 || !is_summarized(index, rows[i], rows[i - 1]))
			insert_each(indexes, index, &rows[i], 1);
	}
}

/* Enters rows that have just been written. */
void
es_indexes_insert(const EsIndexes *indexes, TupleTableSlot **rows, int nrows)
{
	for (int i = 0; i < indexes->n; i++)
	{
		const PlainIndex *index = &indexes->index[i];

		if (index->summarizes)
			insert_different(indexes, index, rows, nrows);
		else
			insert_each(indexes, index, rows, nrows);
	}
}

/* Closes them; the locks are kept. */
void
es_indexes_close(EsIndexes *indexes)
{
	for (int i = 0; i < indexes->n; i++)
	{
		es_compat_index_insert_cleanup(indexes->index[i].rel, indexes->index[i].info);
		index_close(indexes->index[i].rel, NoLock);
	}
	pfree(indexes);
}
