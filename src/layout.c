/*
 * layout.c
 *		What the store's tables and indexes look like, and whether those of this
 *		database do.
 *
 * What does not raises SE006, with the way out.  store.c looks the store up with it;
 * es_verify() catches the errors and shows them.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_am.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "compat.h"
#include "errors.h"
#include "layout.h"

/* Something is missing that es_init() makes again. */
pg_noreturn void
es_layout_not_ready(const char *detail)
{
	ereport(ERROR, (errcode(ERRCODE_ES_NO_STORE), errmsg("the event store is not ready"),
					errdetail_internal("%s", detail),
					errhint("If a restore is running, wait for its end; then, as the owner of the "
							"store, run SELECT es_init(), which adopts and repairs it.")));
}

/* A table is not what the store made, which only its owner can undo. */
pg_noreturn void
es_layout_not_ours(Oid relid, const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_ES_NO_STORE), errmsg("the event store is not ready"),
			 errdetail("Relation \"%s.%s\" %s.", get_namespace_name(get_rel_namespace(relid)),
					   get_rel_name(relid), what),
			 errhint("Undo what has changed it.")));
}

bool
es_layout_is_column(Form_pg_attribute att, const EsColumn *column)
{
	return !att->attisdropped && att->attgenerated == '\0' && att->atttypid == column->type &&
		   strcmp(NameStr(att->attname), column->name) == 0 &&
		   (att->attnotnull || !column->notnull) &&
		   (att->atttypid != TEXTOID || att->attcollation == C_COLLATION_OID);
}

/* Is it an ordinary table of rows of its own only? */
void
es_layout_check_heap(Relation rel)
{
	Oid relid = RelationGetRelid(rel);

	if (rel->rd_rel->relam != HEAP_TABLE_AM_OID ||
		rel->rd_rel->relpersistence != RELPERSISTENCE_PERMANENT || rel->rd_rel->relispartition)
		es_layout_not_ours(relid, "is not an ordinary, logged heap table");
	if (rel->rd_rel->relhassubclass && find_inheritance_children(relid, NoLock) != NIL)
		es_layout_not_ours(relid, "has child tables, whose rows would look like its own");
}

/* And of exactly these columns? */
void
es_layout_check_table(Relation rel, const EsTable *table)
{
	TupleDesc desc = RelationGetDescr(rel);
	int       n = table->ncolumns;

	es_layout_check_heap(rel);
	for (int i = 0; i < Max(n, desc->natts); i++)
	{
		if (i < n ? i >= desc->natts ||
						!es_layout_is_column(TupleDescAttr(desc, i), &table->columns[i])
				  : !TupleDescAttr(desc, i)->attisdropped)
			es_layout_not_ours(RelationGetRelid(rel),
							   "does not have the columns that the event store made");
	}
}

/* Is a key column in the order that the store's readers rely on? */
bool
es_layout_is_plain(Relation index, int column)
{
	Oid collation = index->rd_indcollation[column];

	/* PostgreSQL's own operator families all have the usual order */
	return index->rd_indoption[column] == 0 && index->rd_opfamily[column] < FirstNormalObjectId &&
		   (!OidIsValid(collation) || collation == C_COLLATION_OID);
}

/* Is the index a valid btree on (or, if not unique, beginning with) these columns? */
static bool
index_fits(Relation index, const EsIndex *wanted)
{
	Form_pg_index form = index->rd_index;
	int           n = es_layout_ncolumns(wanted);

	if (index->rd_rel->relam != BTREE_AM_OID || !form->indisvalid || !form->indisready ||
		(wanted->kind != ES_INDEX_PLAIN &&
		 (!form->indisunique || form->indnkeyatts != n || !form->indimmediate)) ||
		form->indnkeyatts < n || !heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, NULL))
		return false;
	for (int i = 0; i < n; i++)
	{
		if (form->indkey.values[i] != wanted->columns[i] || !es_layout_is_plain(index, i))
			return false;
	}
	return true;
}

/* An index, of whatever name, that serves for this one; InvalidOid where there is none. */
Oid
es_layout_find_index(Relation rel, const EsIndex *wanted)
{
	List     *list = RelationGetIndexList(rel);
	Oid       result = InvalidOid;
	ListCell *cell;

	foreach (cell, list)
	{
		Relation index = index_open(lfirst_oid(cell), AccessShareLock);

		if (index_fits(index, wanted))
			result = RelationGetRelid(index);
		index_close(index, AccessShareLock);
		if (OidIsValid(result))
			break;
	}
	list_free(list);
	return result;
}

static bool
is_own_check(const EsTable *table, const char *name)
{
	for (int i = 0; i < table->nchecks; i++)
	{
		if (strcmp(name, table->checks[i].name) == 0)
			return true;
	}
	return false;
}

/* Has the table constraints besides those that our code satisfies? */
bool
es_layout_has_foreign_checks(Relation rel, const EsTable *table)
{
	TupleDesc    desc = RelationGetDescr(rel);
	TupleConstr *constr = desc->constr;

	for (int i = 0; constr != NULL && i < constr->num_check; i++)
	{
		if (!is_own_check(table, constr->check[i].ccname))
			return true;
	}
	for (int i = 0; i < table->ncolumns; i++)
	{
		if (TupleDescAttr(desc, i)->attnotnull && !table->columns[i].notnull)
			return true;
	}
	return false;
}

/*
 * Rows of some tables are written directly, with all indexes that are there.  None may run
 * code (O6), and none may be unique: a transaction with a tick that does not end would stop
 * another one that writes the next.
 */
void
es_layout_check_plain_index(Relation rel, Oid indexid)
{
	Relation      index = index_open(indexid, AccessShareLock);
	Form_pg_index form = index->rd_index;

	if (form->indisunique || form->indisexclusion ||
		!heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, NULL) ||
		!heap_attisnull(index->rd_indextuple, Anum_pg_index_indexprs, NULL))
		es_layout_not_ours(RelationGetRelid(rel),
						   "has an index that is unique, partial or on an expression");
	index_close(index, AccessShareLock);
}
