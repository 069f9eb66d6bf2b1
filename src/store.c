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
#include "layout.h"
#include "read_index.h"
#include "scan.h"
#include "store.h"

/* The type of a column of es.events. */
Oid
es_store_event_type(AttrNumber column)
{
	return es_layout_events[column - 1].type;
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
		if (TupleDescAttr(desc, i)->attnotnull && !es_layout_events[i].notnull)
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

	es_layout_check_heap(rel);
	if (!es_layout_is_column(TupleDescAttr(RelationGetDescr(rel), 0), &es_layout_store[0]))
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

static void
need_guards(Relation rel)
{
	char *missing;

	if (!es_store_has_guards(rel, &missing))
		es_layout_not_ready(
			psprintf("Trigger \"%s\" on table \"es.%s\" does not stand, or does not "
					 "fire always.",
					 missing, RelationGetRelationName(rel)));
}

/* A table of the store, which has these columns. */
static Oid
find_table(const char *name, const EsColumn *columns, int n)
{
	Oid      relid = find_relation(ES_SCHEMA, name, RELKIND_RELATION);
	Relation rel = table_open(relid, AccessShareLock);

	es_layout_check_table(rel, columns, n);
	table_close(rel, AccessShareLock);
	return relid;
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

static void
find_version(EsStore *s)
{
	static bool registered = false;

	if (!registered)
	{
		CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
		CacheRegisterSyscacheCallback(NAMESPACEOID, schema_changed, (Datum) 0);
		registered = true;
	}
	s->store = find_store_table();
	s->owner = es_store_owner_of(s->store);
	check_version(s->store);
}

static void
find_events(EsStore *s)
{
	s->events = find_table("events", es_layout_events, ES_EVENTS_NATTS);
	s->owner = es_store_owner_of(s->events);
}

static void
find_snapshots(EsStore *s)
{
	s->snapshots = find_table("snapshots", es_layout_snapshots, ES_SNAPSHOTS_NATTS);
}

static void
find_sequence(EsStore *s)
{
	s->sequence = find_relation(ES_SCHEMA, "events_position_seq", RELKIND_SEQUENCE);
}

static void
find_ticks(EsStore *s)
{
	s->ticks = find_table("ticks", es_layout_ticks, ES_TICKS_NATTS);
}

static void
find_epochs(EsStore *s)
{
	s->epochs = find_table("epochs", es_layout_epochs, ES_EPOCHS_NATTS);
}

static void
find_channels(EsStore *s)
{
	s->channels = find_table("channels", es_layout_channels, ES_CHANNELS_NATTS);
}

static void
find_bindings(EsStore *s)
{
	s->bindings = find_table("bindings", es_layout_bindings, ES_BINDINGS_NATTS);
}

static void
find_marks(EsStore *s)
{
	s->all_streams = find_relation(ES_PRIVATE_SCHEMA, ES_ALL_STREAMS, RELKIND_VIEW);
	s->appending = find_relation(ES_PRIVATE_SCHEMA, ES_APPENDING, RELKIND_VIEW);
}

static void
find_events_guards(EsStore *s)
{
	Relation events = table_open(s->events, AccessShareLock);

	need_guards(events);
	s->plain_before = !has_foreign_before(events);
	s->plain_checks = !has_foreign_checks(events);
	table_close(events, AccessShareLock);
}

/* Notes all that are there before it says which one is not. */
static void
find_events_indexes(EsStore *s)
{
	Relation events = table_open(s->events, AccessShareLock);

	es_read_index_find(s, events);
	for (int i = 0; i < es_layout_nindexes; i++)
		(void) es_layout_find_index(s, events, &es_layout_indexes[i]);
	for (int i = 0; i < es_layout_nindexes; i++)
		es_layout_need_index(s, events, &es_layout_indexes[i]);
	table_close(events, AccessShareLock);
}

static void
find_snapshots_index(EsStore *s)
{
	Relation rel = table_open(s->snapshots, AccessShareLock);

	es_layout_need_index(s, rel, &es_layout_snapshots_index);
	table_close(rel, AccessShareLock);
}

static void
find_ticks_index(EsStore *s)
{
	Relation  rel = table_open(s->ticks, AccessShareLock);
	List     *list = RelationGetIndexList(rel);
	ListCell *cell;

	es_layout_need_index(s, rel, &es_layout_ticks_index);
	foreach (cell, list)
		es_layout_check_ticks_index(rel, lfirst_oid(cell));
	list_free(list);
	table_close(rel, AccessShareLock);
}

/* Its guards tell when its rows change; an older store has none before es_init(). */
static void
find_channels_told(EsStore *s)
{
	Relation rel = table_open(s->channels, AccessShareLock);

	if (es_store_has_guards(rel, NULL))
		s->channels_told = rel->rd_rel->reltoastrelid;
	table_close(rel, AccessShareLock);
}

static void
find_salt(EsStore *s)
{
	Relation rel = table_open(s->store, AccessShareLock);
	Datum    salt;

	es_layout_check_table(rel, es_layout_store, ES_STORE_NATTS);
	if (read_store_row(rel, ES_STORE_SALT, &salt))
		s->salt = DatumGetInt64(salt);
	table_close(rel, AccessShareLock);
}

/* The guards of es.bindings tell us, and others, when it changes. */
static void
find_bindings_guards(EsStore *s)
{
	Relation rel = table_open(s->bindings, AccessShareLock);

	need_guards(rel);
	table_close(rel, AccessShareLock);
}

#define ES_NEEDS(field) offsetof(EsStore, field)

/* In the order in which they are looked for. */
const EsStorePart es_store_parts[] = {
	{"es.store", find_version, ES_NEEDS(store)},
	{"es.events", find_events, ES_NEEDS(store)},
	{"es.snapshots", find_snapshots, ES_NEEDS(store)},
	{"es.events_position_seq", find_sequence, ES_NEEDS(store)},
	{"es.ticks", find_ticks, ES_NEEDS(store)},
	{"es.epochs", find_epochs, ES_NEEDS(store)},
	{"es.channels", find_channels, ES_NEEDS(store)},
	{"es.bindings", find_bindings, ES_NEEDS(store)},
	{"es_private", find_marks, ES_NEEDS(store)},
	{"es.events", find_events_guards, ES_NEEDS(events)},
	{"es.events", find_events_indexes, ES_NEEDS(events)},
	{"es.snapshots", find_snapshots_index, ES_NEEDS(snapshots)},
	{"es.ticks", find_ticks_index, ES_NEEDS(ticks)},
	{"es.channels", find_channels_told, ES_NEEDS(channels)},
	{"es.store", find_salt, ES_NEEDS(store)},
	{"es.bindings", find_bindings_guards, ES_NEEDS(bindings)},
};

const int es_store_nparts = lengthof(es_store_parts);

static void
find_store(EsStore *s)
{
	Relation bindings;

	memset(s, 0, sizeof(EsStore));
	for (int i = 0; i < es_store_nparts; i++)
		es_store_parts[i].find(s);
	bindings = table_open(s->bindings, AccessShareLock);
	s->bound = es_binding_read(bindings);
	table_close(bindings, AccessShareLock);
}

/*
 * The store of this database; raises SE006 where there is none that is ready.
 * What the result points to may change at the next lock that is taken.
 */
const EsStore *
es_store(void)
{
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
