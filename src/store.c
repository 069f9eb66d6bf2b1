/*
 * store.c
 *		Finds the store's relations in this database and says whether the store
 *		is ready; checks what direct access to its tables would skip.
 *
 * A store is ready when its tables are what this version of the library knows,
 * the indexes that it reads by exist, and both guards stand on es.events and
 * fire ALWAYS.  The guards' functions are not executable by PUBLIC, so their
 * presence also proves that the schema is genuine, and a half-restored store,
 * whose triggers come last, is not ready (SE006).
 *
 * What was found is kept for the session until an invalidation message says
 * that one of the relations has changed.  Privileges are never kept: the role
 * may change between two calls.
 *
 * Keeps A6 (no call without guards), O2 and O4's error, O5.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_am.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "commands/trigger.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "compat.h"
#include "errors.h"
#include "guard.h"
#include "layout.h"
#include "row.h"
#include "store.h"

/* Columns of es.store. */
enum
{
	ES_STORE_VERSION_COLUMN = 1,
	ES_STORE_CREATED_AT,
	ES_STORE_SALT,
	ES_STORE_NATTS = ES_STORE_SALT
};

static const EsColumn columns[] = {
	{"version", INT4OID, true, "The version of the store's tables."},
	{"created_at", TIMESTAMPTZOID, true, "When the store was made."},
	{"salt", INT8OID, true, ES_SALT_COMMENT},
};

StaticAssertDecl(lengthof(columns) == ES_STORE_NATTS, "each column has a number");

static const EsIndex indexes[] = {
	{"store_single", ES_INDEX_ONE_ROW, false, {0}, "Holds es.store to one row."},
};

static EsFound found;

static void look(EsFound *found, Relation rel);

const EsTable es_store_table = {
	.schema = ES_SCHEMA,
	.name = "store",
	.relkind = RELKIND_RELATION,
	.comment = "The store itself: one row.",
	.columns = columns,
	.ncolumns = lengthof(columns),
	.indexes = indexes,
	.nindexes = lengthof(indexes),
	.also = "ALTER TABLE es.store REPLICA IDENTITY FULL",
	.guard = ES_GUARD_REFUSES | ES_GUARD_TELLS,
	.found = &found,
	.look = look,
};

static EsStore store;
static bool    store_valid = false;
static uint64  generation = 1; /* counts invalidations */

/* Lets the store be looked up again by the next call. */
void
es_store_forget(void)
{
	store_valid = false;
	generation++;
}

/* Is it a relation of the store that was found? */
static bool
is_ours(Oid relid)
{
	for (int i = 0; i < es_ntables; i++)
	{
		if (es_tables[i]->found != NULL && relid == es_tables[i]->found->relid)
			return true;
	}
	return false;
}

/* Rows have changed: that is the business of the table's module, and no reason to look again. */
static bool
is_told(Oid relid)
{
	for (int i = 0; i < es_ntables; i++)
	{
		if (es_tables[i]->found != NULL && relid == es_tables[i]->found->told)
		{
			es_tables[i]->found->changes++;
			return true;
		}
	}
	return false;
}

static void
relation_changed(Datum arg, Oid relid)
{
	/* while it is looked for, any relation may be one of ours */
	if (!store_valid || !OidIsValid(relid) || (!is_told(relid) && is_ours(relid)))
		es_store_forget();
}

static void
schema_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	es_store_forget();
}

/* The relation's OID; it is of that kind, so that it can be opened as such. */
static Oid
find_relation(const char *schema, const char *name, char relkind)
{
	Oid nspid = get_namespace_oid(schema, true);
	Oid relid = OidIsValid(nspid) ? get_relname_relid(name, nspid) : InvalidOid;

	if (!OidIsValid(relid))
		es_layout_not_ready(psprintf("Relation \"%s.%s\" does not exist.", schema, name));
	if (get_rel_relkind(relid) != relkind)
		es_layout_not_ours(relid, "is not of the kind that the event store made");
	return relid;
}

/* es.store, whose absence means that there is no store at all. */
static Oid
find_store_table(void)
{
	Oid nspid = get_namespace_oid(ES_SCHEMA, true);

	if (!OidIsValid(nspid) || !OidIsValid(get_relname_relid("store", nspid)))
		ereport(ERROR,
				(errcode(ERRCODE_ES_NO_STORE), errmsg("there is no event store in this database"),
				 errdetail("Table \"%s.store\" does not exist.", ES_SCHEMA),
				 errhint("Run SELECT es_init() as the role that shall own the store.")));
	return find_relation(ES_SCHEMA, "store", RELKIND_RELATION);
}

/* A number in the row of es.store; false where it has no row. */
static bool
read_store_row(Relation rel, AttrNumber column, Datum *value)
{
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	TableScanDesc   scan = table_beginscan(rel, SnapshotSelf, 0, NULL);
	bool            there = table_scan_getnextslot(scan, ForwardScanDirection, slot);

	if (there)
		*value = es_row_column(slot, column);
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	return there;
}

/*
 * The version of the store's tables; -1 where es.store is empty.  The table itself
 * may be one of another version.
 */
int
es_store_version(Oid store)
{
	Relation rel = table_open(store, AccessShareLock);
	Datum    version;
	bool     there;

	es_layout_check_heap(rel);
	if (!es_layout_is_column(TupleDescAttr(RelationGetDescr(rel), 0), &columns[0]))
		es_layout_not_ours(store, "does not have the columns that the event store made");
	there = read_store_row(rel, ES_STORE_VERSION_COLUMN, &version);
	table_close(rel, AccessShareLock);
	return there ? DatumGetInt32(version) : -1;
}

static void
check_version(Oid store)
{
	int version = es_store_version(store);

	if (version < 0)
		es_layout_not_ready("Table \"es.store\" is empty.");
	if (version != ES_STORE_VERSION)
		ereport(ERROR, (errcode(ERRCODE_ES_NO_STORE),
						errmsg("the event store in this database is of another version"),
						errdetail("The store's tables are of version %d, the library's of "
								  "version %d.",
								  version, ES_STORE_VERSION),
						version < ES_STORE_VERSION
							? errhint("Run SELECT es_init(), which migrates the store.")
							: errhint("Install the newer version of pg_eventstore.")));
}

/* The owner of a relation. */
Oid
es_store_owner_of(Oid relid)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Oid       owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", relid);
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}

/* What is in the row of es.store. */
static void
look(EsFound *found, Relation rel)
{
	Datum salt;

	if (read_store_row(rel, ES_STORE_SALT, &salt))
		store.salt = DatumGetInt64(salt);
}

/* Is there a store, and is it of this library's version? */
void
es_store_find_version(const EsTable *table)
{
	static bool registered = false;
	Oid         relid;

	if (!registered)
	{
		CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
		CacheRegisterSyscacheCallback(NAMESPACEOID, schema_changed, (Datum) 0);
		registered = true;
	}
	relid = find_store_table();
	store.owner = es_store_owner_of(relid);
	check_version(relid);
}

/* Finds a table, which has the columns of its descriptor, and what its module asks of it. */
void
es_store_find_table(const EsTable *table)
{
	Oid      relid = find_relation(table->schema, table->name, table->relkind);
	Relation rel;

	if (table->ncolumns > 0)
	{
		rel = table_open(relid, AccessShareLock);
		es_layout_check_table(rel, table);
		if (table->owns)
			store.owner = rel->rd_rel->relowner;
		if (table->look != NULL)
			table->look(table->found, rel);
		table_close(rel, AccessShareLock);
	}
	table->found->relid = relid;
}

/* A6, and what tells us and others when rows change. */
void
es_store_check_guards(const EsTable *table)
{
	Relation rel;
	char    *missing;

	if ((table->guard & ES_GUARD_NEEDED) == 0)
		return;
	rel = table_open(table->found->relid, AccessShareLock);
	if (!es_guard_stand(rel, &missing))
		es_layout_not_ready(
			psprintf("Trigger \"%s\" on table \"es.%s\" does not stand, or does not "
					 "fire always.",
					 missing, RelationGetRelationName(rel)));
	table_close(rel, AccessShareLock);
}

static void
check_plain_indexes(Relation rel)
{
	List     *list = RelationGetIndexList(rel);
	ListCell *cell;

	foreach (cell, list)
		es_layout_check_plain_index(rel, lfirst_oid(cell));
	list_free(list);
}

/*
 * Finds the indexes of a table that the store reads by.  Notes all that are there before
 * it says which one is not.
 */
void
es_store_find_indexes(const EsTable *table)
{
	const EsIndex *lacks = NULL;
	Relation       rel;

	if (table->nindexes == 0)
		return;
	rel = table_open(table->found->relid, AccessShareLock);
	for (int i = 0; i < table->nindexes; i++)
	{
		const EsIndex *index = &table->indexes[i];

		if (!index->needed)
			continue;
		table->found->indexes[i] = es_layout_find_index(rel, index);
		if (!OidIsValid(table->found->indexes[i]) && lacks == NULL)
			lacks = index;
	}
	if (lacks != NULL)
		es_layout_not_ready(
			psprintf("Table \"%s.%s\" lacks the index \"%s\", which the store reads by.",
					 table->schema, table->name, lacks->name));
	if (table->plain_indexes)
		check_plain_indexes(rel);
	table_close(rel, AccessShareLock);
}

/* Forgets where everything was, but for how often rows have changed; it is looked up anew. */
void
es_store_clear(void)
{
	store_valid = false;
	memset(&store, 0, sizeof(EsStore));
	for (int i = 0; i < es_ntables; i++)
	{
		EsFound *found = es_tables[i]->found;
		uint64   changes;

		if (found == NULL)
			continue;
		changes = found->changes;
		memset(found, 0, sizeof(EsFound));
		found->changes = changes;
	}
}

/*
 * Where it fails, what was found before stays, for a caller that has caught the error of a
 * call inside its own.
 */
static void
find_store(void)
{
	es_store_find_version(&es_store_table);
	for (int i = 0; i < es_ntables; i++)
	{
		if (es_tables[i]->found != NULL)
			es_store_find_table(es_tables[i]);
	}
	for (int i = 0; i < es_ntables; i++)
	{
		if (es_tables[i]->found == NULL)
			continue;
		es_store_check_guards(es_tables[i]);
		es_store_find_indexes(es_tables[i]);
	}
}

/*
 * The store of this database; raises SE006 where there is none that is ready.
 * What the result points to may change at the next lock that is taken.
 */
const EsStore *
es_store(void)
{
	if (!store_valid)
	{
		uint64 before = generation;

		find_store();
		/* a message that came while we looked leaves it to be looked up again */
		store_valid = before == generation;
	}
	return &store;
}

/* Changes whenever something about the store may have changed. */
uint64
es_store_generation(void)
{
	return generation;
}

/* Changes whenever rows of the table may have changed, if its guards tell. */
uint64
es_store_generation_of(const EsTable *table)
{
	return generation + table->found->changes;
}

/* The owner of the store, be it ready or not; raises SE006 where there is none. */
Oid
es_store_owner(void)
{
	return es_store_owner_of(find_store_table());
}

/* Is there anything in this database that is, or may become, a store? */
bool
es_store_exists(void)
{
	Oid nspid = get_namespace_oid(ES_SCHEMA, true);

	return OidIsValid(nspid) && OidIsValid(get_relname_relid("store", nspid));
}

/*
 * Opens a table of the store, and looks the store up again with the lock held: what was
 * found before may have changed while we waited.  Who takes away a guard or an index needs a
 * stronger lock.
 */
Relation
es_store_open(const EsTable *table, LOCKMODE mode)
{
	for (;;)
	{
		Oid      relid;
		Relation rel;

		(void) es_store();
		relid = table->found->relid;
		rel = table_open(relid, mode);
		(void) es_store();
		if (table->found->relid == relid)
			return rel;
		table_close(rel, mode);
		CHECK_FOR_INTERRUPTS();
	}
}
