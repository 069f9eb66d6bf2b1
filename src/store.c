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
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "compat.h"
#include "errors.h"
#include "store.h"

typedef struct Column
{
	const char *name;
	Oid         type;
} Column;

static const Column events_columns[ES_EVENTS_NATTS] = {
	{"position", INT8OID},  {"version", INT8OID},  {"recorded_at", TIMESTAMPTZOID},
	{"id", UUIDOID},        {"tenant", TEXTOID},   {"stream", TEXTOID},
	{"category", TEXTOID},  {"type", TEXTOID},     {"data", JSONBOID},
	{"metadata", JSONBOID}, {"payload", BYTEAOID},
};

static const Column snapshots_columns[ES_SNAPSHOTS_NATTS] = {
	{"version", INT8OID},        {"created_at", TIMESTAMPTZOID},
	{"schema_version", INT4OID}, {"tenant", TEXTOID},
	{"stream", TEXTOID},         {"category", TEXTOID},
	{"state", JSONBOID},         {"payload", BYTEAOID},
};

static EsStore found;
static bool    found_valid = false;
static uint64  generation = 0; /* counts invalidations */

static void
forget_store(void)
{
	found_valid = false;
	generation++;
}

static void
relation_changed(Datum arg, Oid relid)
{
	if (!OidIsValid(relid) || relid == found.events || relid == found.sequence ||
		relid == found.snapshots || relid == found.all_streams || relid == found.store)
		forget_store();
}

static void
schema_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	forget_store();
}

pg_noreturn static void
not_ready(const char *detail)
{
	ereport(ERROR, (errcode(ERRCODE_ES_NO_STORE), errmsg("the event store is not ready"),
					errdetail_internal("%s", detail),
					errhint("After a restore has ended, or as the owner of the store: run SELECT "
							"es_init(), which adopts and repairs it.")));
}

static Oid
find_relation(Oid schema, const char *name)
{
	Oid relid = OidIsValid(schema) ? get_relname_relid(name, schema) : InvalidOid;

	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_ES_NO_STORE), errmsg("there is no event store in this database"),
				 errhint("Run SELECT es_init() as the role that shall own the store.")));
	return relid;
}

/* Is the relation an ordinary table of exactly these columns? */
static void
check_columns(Relation rel, const Column *columns, int n)
{
	TupleDesc desc = RelationGetDescr(rel);
	bool      ok = rel->rd_rel->relkind == RELKIND_RELATION && desc->natts == n;

	for (int i = 0; ok && i < n; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		ok = !att->attisdropped && att->atttypid == columns[i].type &&
			 strcmp(NameStr(att->attname), columns[i].name) == 0 &&
			 (att->atttypid != TEXTOID || att->attcollation == C_COLLATION_OID);
	}
	if (!ok)
		not_ready(psprintf("Table \"%s.%s\" does not have the columns of an event store.",
						   ES_SCHEMA, RelationGetRelationName(rel)));
}

/* Is the index a plain, valid btree that begins with these columns? */
static bool
index_has(Relation index, bool unique, int n, const AttrNumber *columns)
{
	Form_pg_index form = index->rd_index;

	if (index->rd_rel->relam != BTREE_AM_OID || !form->indisvalid || !form->indisready ||
		(unique && (!form->indisunique || form->indnkeyatts != n || !form->indimmediate)) ||
		form->indnkeyatts < n || !heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, NULL))
		return false;
	for (int i = 0; i < n; i++)
	{
		if (form->indkey.values[i] != columns[i] || index->rd_indoption[i] != 0 ||
			(OidIsValid(index->rd_indcollation[i]) && index->rd_indcollation[i] != C_COLLATION_OID))
			return false;
	}
	return true;
}

/* The index of rel on these columns, or InvalidOid. */
static Oid
find_index(Relation rel, bool unique, int n, const AttrNumber *columns)
{
	Oid       result = InvalidOid;
	List     *indexes = RelationGetIndexList(rel);
	ListCell *cell;

	foreach (cell, indexes)
	{
		Relation index = index_open(lfirst_oid(cell), AccessShareLock);

		if (index_has(index, unique, n, columns))
			result = RelationGetRelid(index);
		index_close(index, AccessShareLock);
		if (OidIsValid(result))
			break;
	}
	list_free(indexes);
	return result;
}

static Oid
need_index(Relation rel, int n, const AttrNumber *columns, bool unique)
{
	Oid index = find_index(rel, unique, n, columns);

	if (!OidIsValid(index))
		not_ready(psprintf("Table \"%s.%s\" lacks an index that the store reads by.", ES_SCHEMA,
						   RelationGetRelationName(rel)));
	return index;
}

/* Is this one of our guards, standing and unconditional? */
static bool
is_guard(const Trigger *trigger, const char *name)
{
	Oid         extension;
	const char *function;

	if (strcmp(trigger->tgname, name) != 0 || trigger->tgenabled != TRIGGER_FIRES_ALWAYS ||
		trigger->tgqual != NULL)
		return false;
	extension = getExtensionOfObject(ProcedureRelationId, trigger->tgfoid);
	if (!OidIsValid(extension) || extension != get_extension_oid("pg_eventstore", true))
		return false;
	function = get_func_name(trigger->tgfoid);
	return function != NULL && strcmp(function, "es_guard") == 0;
}

#define ES_GUARD_EVERY_CHANGE (TRIGGER_TYPE_INSERT | TRIGGER_TYPE_UPDATE | TRIGGER_TYPE_DELETE)

/*
 * A6: do both guards stand on es.events?  If not, *missing names the first that
 * does not.
 */
bool
es_store_has_guards(Relation events, char **missing)
{
	bool row = false;
	bool statement = false;

	for (int i = 0; events->trigdesc != NULL && i < events->trigdesc->numtriggers; i++)
	{
		Trigger *trigger = &events->trigdesc->triggers[i];

		if (is_guard(trigger, ES_GUARD_ROW))
			row =
				trigger->tgtype == (TRIGGER_TYPE_ROW | TRIGGER_TYPE_BEFORE | ES_GUARD_EVERY_CHANGE);
		else if (is_guard(trigger, ES_GUARD_STATEMENT))
			statement = trigger->tgtype ==
						(TRIGGER_TYPE_BEFORE | ES_GUARD_EVERY_CHANGE | TRIGGER_TYPE_TRUNCATE);
	}
	if (missing != NULL && !(row && statement))
		*missing = row ? ES_GUARD_STATEMENT : ES_GUARD_ROW;
	return row && statement;
}

/* Does es.events have BEFORE INSERT triggers besides the guards? */
static bool
has_foreign_before(Relation events)
{
	for (int i = 0; i < events->trigdesc->numtriggers; i++)
	{
		Trigger *trigger = &events->trigdesc->triggers[i];

		if (TRIGGER_FOR_BEFORE(trigger->tgtype) && TRIGGER_FOR_INSERT(trigger->tgtype) &&
			!is_guard(trigger, ES_GUARD_ROW) && !is_guard(trigger, ES_GUARD_STATEMENT))
			return true;
	}
	return false;
}

/* Does es.events have CHECK constraints besides those that our code satisfies? */
static bool
has_foreign_checks(Relation events)
{
	TupleConstr *constr = RelationGetDescr(events)->constr;

	for (int i = 0; constr != NULL && i < constr->num_check; i++)
	{
		if (strncmp(constr->check[i].ccname, "es_", 3) != 0)
			return true;
	}
	return false;
}

/* The version of the store's tables, a row of es.store. */
int
es_store_version(Oid store)
{
	Relation        rel = table_open(store, AccessShareLock);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	AttrNumber      attnum = get_attnum(store, "version");
	TableScanDesc   scan = table_beginscan(rel, SnapshotSelf, 0, NULL);
	int             version = 0;
	bool            isnull = true;

	if (attnum > 0 && get_atttype(store, attnum) == INT4OID &&
		table_scan_getnextslot(scan, ForwardScanDirection, slot))
		version = DatumGetInt32(slot_getattr(slot, attnum, &isnull));
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	table_close(rel, AccessShareLock);
	if (isnull)
		not_ready("Table \"es.store\" does not hold the version of an event store.");
	return version;
}

static void
check_version(Oid store)
{
	int version = es_store_version(store);

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

static void
find_events(EsStore *s, Relation events)
{
	const AttrNumber position[] = {ES_EVENTS_POSITION};
	const AttrNumber version[] = {ES_EVENTS_TENANT, ES_EVENTS_STREAM, ES_EVENTS_VERSION};
	const AttrNumber id[] = {ES_EVENTS_TENANT, ES_EVENTS_ID};
	const AttrNumber category[] = {ES_EVENTS_CATEGORY, ES_EVENTS_POSITION};
	const AttrNumber type[] = {ES_EVENTS_TYPE, ES_EVENTS_POSITION};
	char            *missing;

	check_columns(events, events_columns, ES_EVENTS_NATTS);
	if (!es_store_has_guards(events, &missing))
		not_ready(psprintf("Trigger \"%s\" on table \"es.events\" does not stand, or does not "
						   "fire always.",
						   missing));
	s->events_position = need_index(events, 1, position, true);
	s->events_version = need_index(events, 3, version, true);
	s->events_id = need_index(events, 2, id, true);
	s->events_category = need_index(events, 2, category, false);
	s->events_type = find_index(events, false, 2, type);
	s->plain_before = !has_foreign_before(events);
	s->plain_checks = !has_foreign_checks(events);
}

static void
find_snapshots(EsStore *s)
{
	const AttrNumber key[] = {ES_SNAPSHOTS_TENANT, ES_SNAPSHOTS_STREAM,
							  ES_SNAPSHOTS_SCHEMA_VERSION};
	Relation         rel = table_open(s->snapshots, AccessShareLock);

	check_columns(rel, snapshots_columns, ES_SNAPSHOTS_NATTS);
	s->snapshots_key = need_index(rel, 3, key, true);
	table_close(rel, AccessShareLock);
}

static void
find_store(EsStore *s)
{
	Oid schema = get_namespace_oid(ES_SCHEMA, true);
	Oid private = get_namespace_oid(ES_PRIVATE_SCHEMA, true);
	Relation events;

	memset(s, 0, sizeof(EsStore));
	s->store = find_relation(schema, "store");
	s->events = find_relation(schema, "events");
	s->snapshots = find_relation(schema, "snapshots");
	s->sequence = find_relation(schema, "events_position_seq");
	s->all_streams = find_relation(private, ES_ALL_STREAMS);
	check_version(s->store);
	events = table_open(s->events, AccessShareLock);
	find_events(s, events);
	table_close(events, AccessShareLock);
	find_snapshots(s);
}

/*
 * The store of this database; raises SE006 where there is none that is ready.
 * What the result points to may change at the next lock that is taken.
 */
const EsStore *
es_store(void)
{
	static bool registered = false;

	if (!registered)
	{
		CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
		CacheRegisterSyscacheCallback(NAMESPACEOID, schema_changed, (Datum) 0);
		registered = true;
	}
	if (!found_valid)
	{
		uint64  before = generation;
		EsStore s;

		find_store(&s);
		found = s;
		/* a message that came while we looked leaves it to be looked up again */
		found_valid = before == generation;
	}
	return &found;
}

/* Opens a relation of the store; *store is still true with the lock held. */
static Relation
open_checked(size_t which, LOCKMODE mode, const EsStore **store)
{
	for (;;)
	{
		uint64   before;
		Relation rel;

		*store = es_store();
		before = generation;
		rel = table_open(*(const Oid *) ((const char *) *store + which), mode);
		if (before == generation)
			return rel;
		table_close(rel, mode);
	}
}

/*
 * Opens es.events, and makes sure that *store is still true with the lock held:
 * who takes away a guard or an index needs a stronger lock.
 */
Relation
es_store_open_events(LOCKMODE mode, const EsStore **store)
{
	return open_checked(offsetof(EsStore, events), mode, store);
}

/* The same for es.snapshots. */
Relation
es_store_open_snapshots(LOCKMODE mode, const EsStore **store)
{
	return open_checked(offsetof(EsStore, snapshots), mode, store);
}

/*
 * Row security would have to be applied to rows that are read and written
 * directly.
 */
static void
check_row_security(Oid relid)
{
	if (check_enable_rls(relid, InvalidOid, false) == RLS_ENABLED)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("the event store's functions do not apply row-level security"),
				 errdetail("Row-level security of table \"%s.%s\" applies to role \"%s\".",
						   ES_SCHEMA, get_rel_name(relid), GetUserNameFromId(GetUserId(), false)),
				 errhint("Disable row-level security on that table, or use plain SELECT.")));
}

static void
check_privilege(Oid relid, AclMode mode)
{
	AclResult result = pg_class_aclcheck(relid, GetUserId(), mode);

	if (result != ACLCHECK_OK)
		aclcheck_error(result, OBJECT_TABLE, psprintf("%s.%s", ES_SCHEMA, get_rel_name(relid)));
	check_row_security(relid);
}

/* May the current role read this table of the store? */
void
es_store_check_read(Oid relid)
{
	check_privilege(relid, ACL_SELECT);
}

/* May the current role write this table of the store, here and now? */
void
es_store_check_write(Oid relid, const char *function)
{
	PreventCommandIfReadOnly(function);
	PreventCommandIfParallelMode(function);
	PreventCommandDuringRecovery(function);
	check_privilege(relid, ACL_INSERT);
}
