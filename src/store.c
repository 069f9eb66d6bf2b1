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
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "compat.h"
#include "errors.h"
#include "policy.h"
#include "read_index.h"
#include "scan.h"
#include "store.h"

typedef struct Column
{
	const char *name;
	Oid         type;
	bool        notnull;
} Column;

static const Column events_columns[ES_EVENTS_NATTS] = {
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

static const Column snapshots_columns[ES_SNAPSHOTS_NATTS] = {
	{"version", INT8OID, true},        {"created_at", TIMESTAMPTZOID, true},
	{"schema_version", INT4OID, true}, {"tenant", TEXTOID, true},
	{"stream", TEXTOID, true},         {"category", TEXTOID, true},
	{"state", JSONBOID, false},        {"payload", BYTEAOID, false},
};

static const Column ticks_columns[ES_TICKS_NATTS] = {
	{"position", INT8OID, true},           {"last_position", INT8OID, true},
	{"recorded_at", TIMESTAMPTZOID, true}, {"life", INT8OID, true},
	{"notified", INT8OID, true},           {"pruned", INT8OID, true},
	{"holders", INT8ARRAYOID, false},
};

static const Column epochs_columns[ES_EPOCHS_NATTS] = {
	{"epoch", INT4OID, true},
	{"last_position", INT8OID, true},
	{"first_position", INT8OID, true},
	{"timeline", INT8OID, true},
	{"system_identifier", INT8OID, true},
	{"database", INT8OID, true},
	{"relation", INT8OID, true},
	{"opened_at", TIMESTAMPTZOID, true},
};

static const Column channels_columns[ES_CHANNELS_NATTS] = {
	{"name", TEXTOID, true},
	{"options", JSONBOID, true},
	{"position", INT8OID, true},
	{"created_by", TEXTOID, true},
	{"created_at", TIMESTAMPTZOID, true},
};

static const Column store_columns[ES_STORE_NATTS] = {
	{"version", INT4OID, true},
	{"created_at", TIMESTAMPTZOID, true},
	{"salt", INT8OID, true},
};

static const Column bindings_columns[ES_BINDINGS_NATTS] = {
	{"role", TEXTOID, true},
	{"tenants", TEXTARRAYOID, true},
	{"role_oid", INT8OID, true},
	{"system_identifier", INT8OID, true},
	{"changed_at", TIMESTAMPTZOID, true},
};

/* The indexes that the store reads by. */
static const EsStoreIndex indexes[] = {
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

static const EsStoreIndex snapshots_index = {"snapshots_pkey",
											 offsetof(EsStore, snapshots_key),
											 true,
											 3,
											 {ES_SNAPSHOTS_TENANT, ES_SNAPSHOTS_STREAM,
											  ES_SNAPSHOTS_SCHEMA_VERSION}};

static const EsStoreIndex ticks_index = {
	"ticks_position_idx", offsetof(EsStore, ticks_position), false, 1, {ES_TICKS_POSITION}};

/* The type of a column of es.events. */
Oid
es_store_event_type(AttrNumber column)
{
	return events_columns[column - 1].type;
}

static EsStore found;
static bool    found_valid = false;
static uint64  generation = 1; /* counts invalidations */
static uint64  channels_generation = 1;

static void
forget_store(void)
{
	found_valid = false;
	generation++;
	channels_generation++;
}

static void
relation_changed(Datum arg, Oid relid)
{
	/* rows have changed: that is the publisher's business, and no reason to look again */
	if (found_valid && OidIsValid(relid) && relid == found.channels_told)
		channels_generation++;
	/* while it is looked for, any relation may be one of ours */
	else if (!found_valid || !OidIsValid(relid) || relid == found.events ||
			 relid == found.sequence || relid == found.snapshots || relid == found.ticks ||
			 relid == found.epochs || relid == found.channels || relid == found.bindings ||
			 relid == found.all_streams || relid == found.appending || relid == found.store)
		forget_store();
}

static void
schema_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	forget_store();
}

/* Something is missing that es_init() makes again. */
pg_noreturn static void
not_ready(const char *detail)
{
	ereport(ERROR, (errcode(ERRCODE_ES_NO_STORE), errmsg("the event store is not ready"),
					errdetail_internal("%s", detail),
					errhint("If a restore is running, wait for its end; then, as the owner of the "
							"store, run SELECT es_init(), which adopts and repairs it.")));
}

/* A table is not what the store made, which only its owner can undo. */
pg_noreturn static void
not_ours(Oid relid, const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_ES_NO_STORE), errmsg("the event store is not ready"),
			 errdetail("Relation \"%s.%s\" %s.", get_namespace_name(get_rel_namespace(relid)),
					   get_rel_name(relid), what),
			 errhint("Undo what has changed it.")));
}

/* The relation's OID; it is of that kind, so that it can be opened as such. */
static Oid
find_relation(const char *schema, const char *name, char relkind)
{
	Oid nspid = get_namespace_oid(schema, true);
	Oid relid = OidIsValid(nspid) ? get_relname_relid(name, nspid) : InvalidOid;

	if (!OidIsValid(relid))
		not_ready(psprintf("Relation \"%s.%s\" does not exist.", schema, name));
	if (get_rel_relkind(relid) != relkind)
		not_ours(relid, "is not of the kind that the event store made");
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

static bool
is_column(Form_pg_attribute att, const Column *column)
{
	return !att->attisdropped && att->attgenerated == '\0' && att->atttypid == column->type &&
		   strcmp(NameStr(att->attname), column->name) == 0 &&
		   (att->attnotnull || !column->notnull) &&
		   (att->atttypid != TEXTOID || att->attcollation == C_COLLATION_OID);
}

/* Is it an ordinary table of rows of its own only? */
static void
check_heap(Relation rel)
{
	Oid relid = RelationGetRelid(rel);

	if (rel->rd_rel->relam != HEAP_TABLE_AM_OID ||
		rel->rd_rel->relpersistence != RELPERSISTENCE_PERMANENT || rel->rd_rel->relispartition)
		not_ours(relid, "is not an ordinary, logged heap table");
	if (rel->rd_rel->relhassubclass && find_inheritance_children(relid, NoLock) != NIL)
		not_ours(relid, "has child tables, whose rows would look like its own");
}

/* And of exactly these columns? */
static void
check_table(Relation rel, const Column *columns, int n)
{
	TupleDesc desc = RelationGetDescr(rel);

	check_heap(rel);
	for (int i = 0; i < Max(n, desc->natts); i++)
	{
		if (i < n ? i >= desc->natts || !is_column(TupleDescAttr(desc, i), &columns[i])
				  : !TupleDescAttr(desc, i)->attisdropped)
			not_ours(RelationGetRelid(rel), "does not have the columns that the event store made");
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
static bool
find_index(EsStore *s, Relation rel, const EsStoreIndex *wanted)
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

static void
need_index(EsStore *s, Relation rel, const EsStoreIndex *wanted)
{
	if (!find_index(s, rel, wanted))
		not_ready(psprintf("Table \"%s.%s\" lacks the index \"%s\", which the store reads by.",
						   ES_SCHEMA, RelationGetRelationName(rel), wanted->name));
}

/*
 * Is there an index, of whatever name, that serves for the one of this name?
 * ES_INDEX_FREE where the store does not read by that index.
 */
EsIndexState
es_store_index_state(Relation events, const char *name)
{
	EsStore scratch;

	for (int i = 0; i < (int) lengthof(indexes); i++)
	{
		if (strcmp(indexes[i].name, name) == 0)
			return find_index(&scratch, events, &indexes[i]) ? ES_INDEX_FITS : ES_INDEX_LACKS;
	}
	return ES_INDEX_FREE;
}

/* Is it a function of the extension's own? */
bool
es_store_is_own_function(Oid function)
{
	Oid extension =
		OidIsValid(function) ? getExtensionOfObject(ProcedureRelationId, function) : InvalidOid;

	return OidIsValid(extension) && extension == get_extension_oid("pg_eventstore", true);
}

static bool
is_guard_function(Oid function)
{
	const char *name = get_func_name(function);

	return name != NULL && strcmp(name, ES_GUARD_FUNCTION) == 0 &&
		   es_store_is_own_function(function);
}

/* Is this one of our guards, standing and unconditional? */
static bool
is_guard(const Trigger *trigger, const char *name)
{
	return strcmp(trigger->tgname, name) == 0 && trigger->tgenabled == TRIGGER_FIRES_ALWAYS &&
		   trigger->tgqual == NULL && trigger->tgnattr == 0 && is_guard_function(trigger->tgfoid);
}

#define ES_GUARD_EVERY_CHANGE (TRIGGER_TYPE_INSERT | TRIGGER_TYPE_UPDATE | TRIGGER_TYPE_DELETE)

/*
 * A6: do both guards stand on es.events?  If not, *missing names the first that
 * does not.
 */
bool
es_store_has_guards(Relation events, char **missing)
{
	/* a message that comes while we look would free the relation's own */
	TriggerDesc *triggers = CopyTriggerDesc(events->trigdesc);
	bool         row = false;
	bool         statement = false;

	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
	{
		Trigger *trigger = &triggers->triggers[i];

		if (is_guard(trigger, ES_GUARD_ROW))
			row =
				trigger->tgtype == (TRIGGER_TYPE_ROW | TRIGGER_TYPE_BEFORE | ES_GUARD_EVERY_CHANGE);
		else if (is_guard(trigger, ES_GUARD_STATEMENT))
			statement = trigger->tgtype ==
						(TRIGGER_TYPE_BEFORE | ES_GUARD_EVERY_CHANGE | TRIGGER_TYPE_TRUNCATE);
	}
	FreeTriggerDesc(triggers);
	if (missing != NULL && !(row && statement))
		*missing = row ? ES_GUARD_STATEMENT : ES_GUARD_ROW;
	return row && statement;
}

/* Does es.events have BEFORE INSERT triggers besides the guards? */
static bool
has_foreign_before(Relation events)
{
	TriggerDesc *triggers = CopyTriggerDesc(events->trigdesc);
	bool         found = false;

	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
	{
		Trigger *trigger = &triggers->triggers[i];

		found |= TRIGGER_FOR_BEFORE(trigger->tgtype) && TRIGGER_FOR_INSERT(trigger->tgtype) &&
				 !is_guard(trigger, ES_GUARD_ROW) && !is_guard(trigger, ES_GUARD_STATEMENT);
	}
	FreeTriggerDesc(triggers);
	return found;
}

/* Is it a CHECK constraint that our code satisfies? */
static bool
is_own_check(const char *name)
{
	static const char *const names[] = {"es_numbers", "es_content", "es_names"};

	for (int i = 0; i < (int) lengthof(names); i++)
	{
		if (strcmp(name, names[i]) == 0)
			return true;
	}
	return false;
}

/* Does es.events have constraints besides those that our code satisfies? */
static bool
has_foreign_checks(Relation events)
{
	TupleDesc    desc = RelationGetDescr(events);
	TupleConstr *constr = desc->constr;

	for (int i = 0; constr != NULL && i < constr->num_check; i++)
	{
		if (!is_own_check(constr->check[i].ccname))
			return true;
	}
	for (int i = 0; i < ES_EVENTS_NATTS; i++)
	{
		if (TupleDescAttr(desc, i)->attnotnull && !events_columns[i].notnull)
			return true;
	}
	return false;
}

/* A number in the row of es.store; false where it has no row. */
static bool
read_store_row(Relation rel, AttrNumber column, Datum *value)
{
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	TableScanDesc   scan = table_beginscan(rel, SnapshotSelf, 0, NULL);
	bool            there = table_scan_getnextslot(scan, ForwardScanDirection, slot);

	if (there)
		*value = es_scan_column(slot, column);
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

	check_heap(rel);
	if (!is_column(TupleDescAttr(RelationGetDescr(rel), 0), &store_columns[0]))
		not_ours(store, "does not have the columns that the event store made");
	there = read_store_row(rel, ES_STORE_VERSION_COLUMN, &version);
	table_close(rel, AccessShareLock);
	return there ? DatumGetInt32(version) : -1;
}

static void
check_version(Oid store)
{
	int version = es_store_version(store);

	if (version < 0)
		not_ready("Table \"es.store\" is empty.");
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
need_guards(Relation rel)
{
	char *missing;

	if (!es_store_has_guards(rel, &missing))
		not_ready(psprintf("Trigger \"%s\" on table \"es.%s\" does not stand, or does not "
						   "fire always.",
						   missing, RelationGetRelationName(rel)));
}

static void
find_events(EsStore *s)
{
	Relation events = table_open(s->events, AccessShareLock);

	check_table(events, events_columns, ES_EVENTS_NATTS);
	need_guards(events);
	for (int i = 0; i < (int) lengthof(indexes); i++)
		need_index(s, events, &indexes[i]);
	es_read_index_find(s, events);
	s->plain_before = !has_foreign_before(events);
	s->plain_checks = !has_foreign_checks(events);
	table_close(events, AccessShareLock);
}

static void
find_snapshots(EsStore *s)
{
	Relation rel = table_open(s->snapshots, AccessShareLock);

	check_table(rel, snapshots_columns, ES_SNAPSHOTS_NATTS);
	need_index(s, rel, &snapshots_index);
	table_close(rel, AccessShareLock);
}

/*
 * Ticks are written directly, with all indexes that are there.  None may run code
 * (O6), and none may be unique: a transaction with a tick that does not end would
 * stop who writes another.
 */
static void
check_ticks_index(Relation rel, Oid indexid)
{
	Relation      index = index_open(indexid, AccessShareLock);
	Form_pg_index form = index->rd_index;

	if (form->indisunique || form->indisexclusion ||
		!heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, NULL) ||
		!heap_attisnull(index->rd_indextuple, Anum_pg_index_indexprs, NULL))
		not_ours(RelationGetRelid(rel), "has an index that is unique, partial or on an expression");
	index_close(index, AccessShareLock);
}

static void
find_ticks(EsStore *s)
{
	Relation  rel = table_open(s->ticks, AccessShareLock);
	List     *list = RelationGetIndexList(rel);
	ListCell *cell;

	check_table(rel, ticks_columns, ES_TICKS_NATTS);
	need_index(s, rel, &ticks_index);
	foreach (cell, list)
		check_ticks_index(rel, lfirst_oid(cell));
	list_free(list);
	table_close(rel, AccessShareLock);
}

static void
find_table(Oid relid, const Column *columns, int n)
{
	Relation rel = table_open(relid, AccessShareLock);

	check_table(rel, columns, n);
	table_close(rel, AccessShareLock);
}

/* Its guards tell when its rows change; an older store has none before es_init(). */
static void
find_channels(EsStore *s)
{
	Relation rel = table_open(s->channels, AccessShareLock);

	check_table(rel, channels_columns, ES_CHANNELS_NATTS);
	if (es_store_has_guards(rel, NULL))
		s->channels_told = rel->rd_rel->reltoastrelid;
	table_close(rel, AccessShareLock);
}

static void
find_salt(EsStore *s)
{
	Relation rel = table_open(s->store, AccessShareLock);
	Datum    salt;

	check_table(rel, store_columns, ES_STORE_NATTS);
	if (read_store_row(rel, ES_STORE_SALT, &salt))
		s->salt = DatumGetInt64(salt);
	table_close(rel, AccessShareLock);
}

/* The guards of es.bindings tell us, and others, when it changes. */
static void
find_bindings(EsStore *s)
{
	Relation rel = table_open(s->bindings, AccessShareLock);

	check_table(rel, bindings_columns, ES_BINDINGS_NATTS);
	need_guards(rel);
	s->bound = es_binding_read(rel);
	table_close(rel, AccessShareLock);
}

static Oid
owner_of(Oid relid)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Oid       owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", relid);
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}

static void
find_store(EsStore *s)
{
	memset(s, 0, sizeof(EsStore));
	s->store = find_store_table();
	check_version(s->store);
	s->events = find_relation(ES_SCHEMA, "events", RELKIND_RELATION);
	s->snapshots = find_relation(ES_SCHEMA, "snapshots", RELKIND_RELATION);
	s->sequence = find_relation(ES_SCHEMA, "events_position_seq", RELKIND_SEQUENCE);
	s->ticks = find_relation(ES_SCHEMA, "ticks", RELKIND_RELATION);
	s->epochs = find_relation(ES_SCHEMA, "epochs", RELKIND_RELATION);
	s->channels = find_relation(ES_SCHEMA, "channels", RELKIND_RELATION);
	s->bindings = find_relation(ES_SCHEMA, "bindings", RELKIND_RELATION);
	s->all_streams = find_relation(ES_PRIVATE_SCHEMA, ES_ALL_STREAMS, RELKIND_VIEW);
	s->appending = find_relation(ES_PRIVATE_SCHEMA, ES_APPENDING, RELKIND_VIEW);
	s->owner = owner_of(s->events);
	find_events(s);
	find_snapshots(s);
	find_ticks(s);
	find_table(s->epochs, epochs_columns, ES_EPOCHS_NATTS);
	find_channels(s);
	find_salt(s);
	find_bindings(s);
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

/* Changes whenever something about the store may have changed. */
uint64
es_store_generation(void)
{
	return generation;
}

/* Changes whenever the rows of es.channels may have changed, if its guards tell. */
uint64
es_store_channels_generation(void)
{
	return channels_generation;
}

/* Is there anything in this database that is, or may become, a store? */
bool
es_store_exists(void)
{
	Oid nspid = get_namespace_oid(ES_SCHEMA, true);

	return OidIsValid(nspid) && OidIsValid(get_relname_relid("store", nspid));
}

/*
 * Opens a relation of the store, and looks the store up again with the lock
 * held: what was found before may have changed while we waited.
 */
static Relation
open_checked(size_t which, LOCKMODE mode, const EsStore **store)
{
	for (;;)
	{
		Oid      relid = *(const Oid *) ((const char *) es_store() + which);
		Relation rel = table_open(relid, mode);

		*store = es_store();
		if (*(const Oid *) ((const char *) *store + which) == relid)
			return rel;
		table_close(rel, mode);
		CHECK_FOR_INTERRUPTS();
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

/* The same for es.ticks. */
Relation
es_store_open_ticks(LOCKMODE mode, const EsStore **store)
{
	return open_checked(offsetof(EsStore, ticks), mode, store);
}

/*
 * Policies of the users' own are applied to es.events (policy.c), and to nothing
 * else.  Raises also where the role has set row_security = off, as SELECT does.
 */
static void
check_row_security(Oid relid)
{
	if (check_enable_rls(relid, InvalidOid, false) == RLS_ENABLED && relid != found.events &&
		es_policy_is_foreign(relid))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("the event store's functions do not apply the policies of this table"),
				 errdetail("Table \"%s.%s\" has policies for row-level security that are not the "
						   "event store's.",
						   ES_SCHEMA, get_rel_name(relid)),
				 errhint("Policies of your own belong on es.events.")));
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
