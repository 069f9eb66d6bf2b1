/*
 * init.c
 *		es_init and es_reset: makes, adopts, repairs and migrates the store's
 *		tables; empties them for tests.
 *
 * The tables are ordinary tables of ordinary schemas, made by es_init() and not
 * by the extension's script, so that they are no members of the extension:
 * pg_dump carries them with their rows (O1), and DROP EXTENSION never takes an
 * event (O2).  Therefore nothing here may depend on a member of the extension
 * but the two guards.
 *
 * es_init() walks one list of objects and makes those that are missing; what it
 * says follows from how many there were.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_database.h"
#include "commands/dbcommands.h"
#include "commands/extension.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/value.h"
#include "parser/parse_func.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "compat.h"
#include "errors.h"
#include "guard.h"
#include "lock.h"
#include "schema.h"
#include "store.h"

PG_FUNCTION_INFO_V1(es_init);
PG_FUNCTION_INFO_V1(es_reset);

static void
run(const char *command)
{
	int result = SPI_execute(command, false, 0);

	if (result < 0)
		elog(ERROR, "could not run \"%s\": %s", command, SPI_result_code_string(result));
}

/* The one bigint that a query answers; 0 where it is null. */
static int64
ask(const char *query)
{
	bool  isnull;
	Datum value;

	run(query);
	if (SPI_processed != 1)
		elog(ERROR, "unexpected answer to \"%s\"", query);
	value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	return isnull ? 0 : DatumGetInt64(value);
}

static Oid
find_object(const EsObject *object)
{
	Oid schema = get_namespace_oid(object->schema, true);

	if (object->name == NULL || !OidIsValid(schema))
		return schema;
	return get_relname_relid(object->name, schema);
}

/* es_guard() stands in the schema that this function stands in. */
static Oid
find_guard_function(FunctionCallInfo fcinfo)
{
	char *schema = get_namespace_name(get_func_namespace(fcinfo->flinfo->fn_oid));
	List *name = list_make2(makeString(schema), makeString("es_guard"));

	return LookupFuncName(name, 0, NULL, false);
}

static void
check_caller(Oid guard)
{
	if (creating_extension)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("es_init() cannot run in an extension's script"),
						errdetail("The store's tables would become members of that extension."),
						errhint("Run SELECT es_init() after CREATE EXTENSION.")));
	if (!es_compat_may_execute(guard, GetUserId()))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to create or adopt an event store"),
				 errdetail("Role \"%s\" may not execute function %s.",
						   GetUserNameFromId(GetUserId(), false), "es_guard()"),
				 errhint("Run es_init() as a superuser, or let one GRANT EXECUTE ON FUNCTION "
						 "es_guard() to the role that shall own the store.")));
}

static Oid
schema_owner(Oid schema)
{
	HeapTuple tuple = SearchSysCache1(NAMESPACEOID, ObjectIdGetDatum(schema));
	Oid       owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for schema %u", schema);
	owner = ((Form_pg_namespace) GETSTRUCT(tuple))->nspowner;
	ReleaseSysCache(tuple);
	return owner;
}

static Oid
relation_owner(Oid relid)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Oid       owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", relid);
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}

/* Does the schema hold anything? */
static bool
is_empty_schema(const char *schema)
{
	return ask(psprintf("SELECT pg_catalog.count(*) FROM pg_catalog.pg_class "
						"WHERE relnamespace OPERATOR(pg_catalog.=) "
						"(SELECT oid FROM pg_catalog.pg_namespace "
						"WHERE nspname OPERATOR(pg_catalog.=) %s)",
						quote_literal_cstr(schema))) == 0;
}

pg_noreturn static void
refuse_schema(const char *schema, const char *detail)
{
	ereport(ERROR, (errcode(ERRCODE_DUPLICATE_SCHEMA),
					errmsg("schema \"%s\" exists and is not an event store's", schema),
					errdetail_internal("%s", detail),
					errhint("Rename that schema, or use another database.")));
}

/*
 * Adopts only what a trusted role made: one that may put guards on tables.
 * Otherwise somebody could lay out tables with triggers of his own in advance.
 */
static void
check_owner(Oid owner, Oid guard, const char *schema)
{
	if (!es_compat_may_execute(guard, owner))
		refuse_schema(schema, psprintf("It, or something in it, belongs to role \"%s\", which may "
									   "not execute es_guard().",
									   GetUserNameFromId(owner, false)));
}

/* The OID of a table in schema es, or InvalidOid. */
static Oid
store_table(const char *name)
{
	Oid schema = get_namespace_oid(ES_SCHEMA, true);

	return OidIsValid(schema) ? get_relname_relid(name, schema) : InvalidOid;
}

static void
check_schemas(Oid guard)
{
	static const char *const names[] = {ES_SCHEMA, ES_PRIVATE_SCHEMA};

	for (int i = 0; i < (int) lengthof(names); i++)
	{
		Oid schema = get_namespace_oid(names[i], true);

		if (!OidIsValid(schema))
			continue;
		check_owner(schema_owner(schema), guard, names[i]);
		if (!OidIsValid(store_table("store")) && !is_empty_schema(names[i]))
			refuse_schema(names[i], "It holds relations, but no table \"es.store\".");
	}
}

/* Makes the objects that are missing; returns how many it made. */
static int
make_objects(Oid guard)
{
	int made = 0;

	for (int i = 0; i < es_schema_nobjects; i++)
	{
		const EsObject *object = &es_schema_objects[i];
		Oid             oid = find_object(object);

		if (OidIsValid(oid))
		{
			if (object->name != NULL)
				check_owner(relation_owner(oid), guard, object->schema);
			continue;
		}
		run(object->ddl);
		made++;
	}
	return made;
}

static void
drop_trigger(const char *name)
{
	if (OidIsValid(get_trigger_oid(store_table("events"), name, true)))
		run(psprintf("DROP TRIGGER %s ON es.events", name));
}

/* Puts both guards on es.events where one does not stand; true if it did. */
static bool
make_guards(Oid guard)
{
	Relation    events = table_open(store_table("events"), ShareRowExclusiveLock);
	bool        stand = es_store_has_guards(events, NULL);
	const char *function =
		quote_qualified_identifier(get_namespace_name(get_func_namespace(guard)), "es_guard");

	table_close(events, NoLock);
	if (stand)
		return false;
	drop_trigger(ES_GUARD_ROW);
	drop_trigger(ES_GUARD_STATEMENT);
	run(psprintf("CREATE TRIGGER " ES_GUARD_ROW " BEFORE INSERT OR UPDATE OR DELETE ON es.events "
				 "FOR EACH ROW EXECUTE FUNCTION %s()",
				 function));
	run(psprintf("CREATE TRIGGER " ES_GUARD_STATEMENT " BEFORE INSERT OR UPDATE OR DELETE OR "
				 "TRUNCATE ON es.events FOR EACH STATEMENT EXECUTE FUNCTION %s()",
				 function));
	run("ALTER TABLE es.events ENABLE ALWAYS TRIGGER " ES_GUARD_ROW
		", ENABLE ALWAYS TRIGGER " ES_GUARD_STATEMENT);
	run("COMMENT ON TRIGGER " ES_GUARD_ROW " ON es.events IS "
		"'Refuses rows that do not come by the es_append functions.'");
	run("COMMENT ON TRIGGER " ES_GUARD_STATEMENT " ON es.events IS "
		"'Refuses INSERT, UPDATE, DELETE and TRUNCATE around the es_append functions.'");
	return true;
}

#define ES_SEQUENCE_BEHIND                                                    \
	"SELECT (SELECT position FROM es.events ORDER BY position DESC LIMIT 1) " \
	"OPERATOR(pg_catalog.-) last_value OPERATOR(pg_catalog.+) "               \
	"CASE WHEN is_called THEN 0 ELSE 1 END FROM es.events_position_seq"
#define ES_SEQUENCE_ODD                                                                    \
	"SELECT pg_catalog.count(*) FROM pg_catalog.pg_sequence "                              \
	"WHERE seqrelid OPERATOR(pg_catalog.=) 'es.events_position_seq'::pg_catalog.regclass " \
	"AND (seqcache OPERATOR(pg_catalog.<>) 1 OR seqincrement OPERATOR(pg_catalog.<>) 1 OR seqcycle)"

/* The next position must be higher than any that is stored; true if mended. */
static bool
repair_sequence(void)
{
	bool mended = false;

	if (ask(ES_SEQUENCE_ODD) > 0)
	{
		run("ALTER SEQUENCE es.events_position_seq INCREMENT BY 1 CACHE 1 NO CYCLE");
		mended = true;
	}
	if (ask(ES_SEQUENCE_BEHIND) > 0)
	{
		/* without appenders, or the sequence might be set back */
		run("LOCK TABLE es.events IN SHARE ROW EXCLUSIVE MODE");
		run("SELECT pg_catalog.setval('es.events_position_seq', "
			"(SELECT position FROM es.events ORDER BY position DESC LIMIT 1))");
		mended = true;
	}
	return mended;
}

/* Brings older tables to this version; returns the version they were of. */
static int
migrate(void)
{
	int version = es_store_version(store_table("store"));

	if (version > ES_STORE_VERSION)
		ereport(ERROR, (errcode(ERRCODE_ES_NO_STORE),
						errmsg("the event store in this database is of a newer version"),
						errdetail("The store's tables are of version %d, the library knows up to "
								  "version %d.",
								  version, ES_STORE_VERSION),
						errhint("Install the newer version of pg_eventstore.")));
	if (version < ES_STORE_VERSION)
	{
		for (int from = version; from < ES_STORE_VERSION; from++)
			run(es_schema_migrations[from]);
		run(psprintf("UPDATE es.store SET version = %d", ES_STORE_VERSION));
		CommandCounterIncrement();
	}
	return version;
}

static char *
describe_store(void)
{
	return psprintf("the log ends at position %lld",
					(long long) ask("SELECT pg_catalog.max(position) FROM es.events"));
}

static char *
make_store(Oid guard)
{
	bool existed = OidIsValid(store_table("store"));
	int  version;
	bool mended;

	check_schemas(guard);
	if (existed && !es_compat_owner_check(store_table("store"), GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_TABLE, "es.store");
	mended = make_objects(guard) > 0;
	version = migrate();
	mended |= make_guards(guard);
	mended |= repair_sequence();
	/* other sessions shall look again, and so shall we */
	CacheInvalidateRelcacheByRelid(store_table("events"));
	CommandCounterIncrement();
	(void) es_store();

	if (!existed)
		return psprintf("created the event store, version %d", ES_STORE_VERSION);
	if (version < ES_STORE_VERSION)
		return psprintf("migrated the event store from version %d to version %d", version,
						ES_STORE_VERSION);
	if (mended)
		return psprintf("adopted the event store, version %d: %s", ES_STORE_VERSION,
						describe_store());
	return psprintf("the event store is ready, version %d: nothing to do", ES_STORE_VERSION);
}

/* es_init() returns what it did. */
Datum
es_init(PG_FUNCTION_ARGS)
{
	Oid           guard = find_guard_function(fcinfo);
	MemoryContext context = CurrentMemoryContext;
	char         *said;
	text         *result;

	PreventCommandIfReadOnly("es_init()");
	PreventCommandDuringRecovery("es_init()");
	check_caller(guard);
	es_lock_store();
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	said = make_store(guard);
	MemoryContextSwitchTo(context);
	result = cstring_to_text(said);
	SPI_finish();
	PG_RETURN_TEXT_P(result);
}

/* Was the setting made by ALTER DATABASE, and does it say yes? */
static bool
database_allows_reset(void)
{
	return ask(psprintf("SELECT pg_catalog.count(*) FROM pg_catalog.pg_db_role_setting, "
						"pg_catalog.unnest(setconfig) AS c(setting) "
						"WHERE setdatabase OPERATOR(pg_catalog.=) %u "
						"AND setrole OPERATOR(pg_catalog.=) 0 "
						"AND pg_catalog.split_part(setting, '=', 1) OPERATOR(pg_catalog.=) "
						"'pg_eventstore.allow_reset' "
						"AND pg_catalog.split_part(setting, '=', 2)::pg_catalog.bool",
						MyDatabaseId)) > 0;
}

static void
truncate_store(void)
{
	es_guard_resetting = true;
	PG_TRY();
	{
		run("TRUNCATE TABLE es.events, es.snapshots RESTART IDENTITY");
	}
	PG_FINALLY();
	{
		es_guard_resetting = false;
	}
	PG_END_TRY();
}

/* es_reset() empties the store of a test database and returns what it did. */
Datum
es_reset(PG_FUNCTION_ARGS)
{
	const EsStore *store = es_store();
	MemoryContext  context = CurrentMemoryContext;
	int64          events;
	int64          snapshots;

	PreventCommandIfReadOnly("es_reset()");
	PreventCommandDuringRecovery("es_reset()");
	if (!es_compat_owner_check(store->events, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_TABLE, "es.events");
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	if (!database_allows_reset())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("this database's store is not to be reset"),
				 errdetail("pg_eventstore.allow_reset is not on for database \"%s\".",
						   get_database_name(MyDatabaseId)),
				 errhint("In a test database run ALTER DATABASE ... SET pg_eventstore.allow_reset "
						 "= on.")));
	es_lock_store();
	events = ask("SELECT pg_catalog.count(*) FROM es.events");
	snapshots = ask("SELECT pg_catalog.count(*) FROM es.snapshots");
	truncate_store();
	SPI_finish();
	MemoryContextSwitchTo(context);
	PG_RETURN_TEXT_P(
		cstring_to_text(psprintf("emptied the event store: %lld events, %lld snapshots",
								 (long long) events, (long long) snapshots)));
}
