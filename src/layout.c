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
#include "read_index.h"

const EsColumn es_layout_events[ES_EVENTS_NATTS] = {
	{"position", INT8OID, true},
	{"version", INT8OID, true},
	{"recorded_at", TIMESTAMPTZOID, true},
	{"id", UUIDOID, true},
	{"tenant", TEXTOID, true},
	{"stream", TEXTOID, true},
	{"category", TEXTOID, true},
	{"type", TEXTOID, true},
	{"data", JSONBOID, false},
	{"metadata", JSONBOID, false},
	{"payload", BYTEAOID, false},
};

const EsColumn es_layout_snapshots[ES_SNAPSHOTS_NATTS] = {
	{"version", INT8OID, true},        {"created_at", TIMESTAMPTZOID, true},
	{"schema_version", INT4OID, true}, {"tenant", TEXTOID, true},
	{"stream", TEXTOID, true},         {"category", TEXTOID, true},
	{"state", JSONBOID, false},        {"payload", BYTEAOID, false},
};

const EsColumn es_layout_ticks[ES_TICKS_NATTS] = {
	{"position", INT8OID, true},           {"last_position", INT8OID, true},
	{"recorded_at", TIMESTAMPTZOID, true}, {"life", INT8OID, true},
	{"notified", INT8OID, true},           {"pruned", INT8OID, true},
	{"holders", INT8ARRAYOID, false},
};

const EsColumn es_layout_epochs[ES_EPOCHS_NATTS] = {
	{"epoch", INT4OID, true},
	{"last_position", INT8OID, true},
	{"first_position", INT8OID, true},
	{"timeline", INT8OID, true},
	{"system_identifier", INT8OID, true},
	{"database", INT8OID, true},
	{"relation", INT8OID, true},
	{"opened_at", TIMESTAMPTZOID, true},
};

const EsColumn es_layout_channels[ES_CHANNELS_NATTS] = {
	{"name", TEXTOID, true},
	{"options", JSONBOID, true},
	{"position", INT8OID, true},
	{"created_by", TEXTOID, true},
	{"created_at", TIMESTAMPTZOID, true},
};

const EsColumn es_layout_store[ES_STORE_NATTS] = {
	{"version", INT4OID, true},
	{"created_at", TIMESTAMPTZOID, true},
	{"salt", INT8OID, true},
};

const EsColumn es_layout_bindings[ES_BINDINGS_NATTS] = {
	{"role", TEXTOID, true},
	{"tenants", TEXTARRAYOID, true},
	{"role_oid", INT8OID, true},
	{"system_identifier", INT8OID, true},
	{"changed_at", TIMESTAMPTZOID, true},
};

/* The indexes of es.events that the store reads by. */
const EsStoreIndex es_layout_indexes[] = {
	{"events_pkey", offsetof(EsStore, events_position), true, 1, {ES_EVENTS_POSITION}},
	{"events_version_key",
	 offsetof(EsStore, events_version),
	 true,
	 3,
	 {ES_EVENTS_TENANT, ES_EVENTS_STREAM, ES_EVENTS_VERSION}},
	{"events_id_key", offsetof(EsStore, events_id), true, 2, {ES_EVENTS_TENANT, ES_EVENTS_ID}},
	{"events_category_position_idx",
	 offsetof(EsStore, events_category),
	 false,
	 2,
	 {ES_EVENTS_CATEGORY, ES_EVENTS_POSITION}},
};

const int es_layout_nindexes = lengthof(es_layout_indexes);

const EsStoreIndex es_layout_snapshots_index = {"snapshots_pkey",
												offsetof(EsStore, snapshots_key),
												true,
												3,
												{ES_SNAPSHOTS_TENANT, ES_SNAPSHOTS_STREAM,
												 ES_SNAPSHOTS_SCHEMA_VERSION}};

const EsStoreIndex es_layout_ticks_index = {
	"ticks_position_idx", offsetof(EsStore, ticks_position), false, 1, {ES_TICKS_POSITION}};

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
es_layout_check_table(Relation rel, const EsColumn *columns, int n)
{
	TupleDesc desc = RelationGetDescr(rel);

	es_layout_check_heap(rel);
	for (int i = 0; i < Max(n, desc->natts); i++)
	{
		if (i < n ? i >= desc->natts || !es_layout_is_column(TupleDescAttr(desc, i), &columns[i])
				  : !TupleDescAttr(desc, i)->attisdropped)
			es_layout_not_ours(RelationGetRelid(rel),
							   "does not have the columns that the event store made");
	}
}

/* Is the index a plain, valid btree on (or, if not unique, beginning with) these columns? */
static bool
index_fits(Relation index, const EsStoreIndex *wanted)
{
	Form_pg_index form = index->rd_index;

	if (index->rd_rel->relam != BTREE_AM_OID || !form->indisvalid || !form->indisready ||
		(wanted->unique &&
		 (!form->indisunique || form->indnkeyatts != wanted->ncolumns || !form->indimmediate)) ||
		form->indnkeyatts < wanted->ncolumns ||
		!heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, NULL))
		return false;
	for (int i = 0; i < wanted->ncolumns; i++)
	{
		if (form->indkey.values[i] != wanted->columns[i] || !es_read_index_is_plain(index, i))
			return false;
	}
	return true;
}

/* Looks for the index and notes it in the store; false where there is none. */
bool
es_layout_find_index(EsStore *s, Relation rel, const EsStoreIndex *wanted)
{
	Oid      *result = (Oid *) ((char *) s + wanted->offset);
	List     *list = RelationGetIndexList(rel);
	ListCell *cell;

	*result = InvalidOid;
	foreach (cell, list)
	{
		Relation index = index_open(lfirst_oid(cell), AccessShareLock);

		if (index_fits(index, wanted))
			*result = RelationGetRelid(index);
		index_close(index, AccessShareLock);
		if (OidIsValid(*result))
			break;
	}
	list_free(list);
	return OidIsValid(*result);
}

void
es_layout_need_index(EsStore *s, Relation rel, const EsStoreIndex *wanted)
{
	if (!es_layout_find_index(s, rel, wanted))
		es_layout_not_ready(
			psprintf("Table \"%s.%s\" lacks the index \"%s\", which the store reads by.", ES_SCHEMA,
					 RelationGetRelationName(rel), wanted->name));
}

/*
 * Is there an index, of whatever name, that serves for the one of this name?
 * ES_INDEX_FREE where the store does not read by that index.
 */
EsIndexState
es_layout_index_state(Relation events, const char *name)
{
	EsStore scratch;

	for (int i = 0; i < es_layout_nindexes; i++)
	{
		if (strcmp(es_layout_indexes[i].name, name) == 0)
			return es_layout_find_index(&scratch, events, &es_layout_indexes[i]) ? ES_INDEX_FITS
																				 : ES_INDEX_LACKS;
	}
	return ES_INDEX_FREE;
}

/*
 * Ticks are written directly, with all indexes that are there.  None may run code
 * (O6), and none may be unique: a transaction with a tick that does not end would
 * stop who writes another.
 */
void
es_layout_check_ticks_index(Relation rel, Oid indexid)
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
