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
 * es_init() makes what is missing of the list of tables (make.c); what it says follows
 * from how much that was.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/genam.h"
#include "access/skey.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_namespace.h"
#include "commands/dbcommands.h"
#include "commands/extension.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/value.h"
#include "parser/parse_func.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "binding.h"
#include "compat.h"
#include "epoch.h"
#include "errors.h"
#include "events.h"
#include "guard.h"
#include "lock.h"
#include "log.h"
#include "make.h"
#include "marker.h"
#include "owner.h"
#include "policy.h"
#include "shared.h"
#include "store.h"
#include "table.h"
#include "table_lock.h"
#include "tick.h"

PG_FUNCTION_INFO_V1(es_init);
PG_FUNCTION_INFO_V1(es_reset);

/* A text that outlives SPI_finish(). */
static text *
result_text(const char *string)
{
	size_t size = VARHDRSZ + strlen(string);
	text  *result = SPI_palloc(size);

	SET_VARSIZE(result, size);
	memcpy(VARDATA(result), string, size - VARHDRSZ);
	return result;
}

/* The one bigint that a query answers; 0 where it is null. */
static int64
ask(const char *query)
{
	bool  isnull;
	Datum value;

	es_owner_run(query);
	if (SPI_processed != 1)
		elog(ERROR, "unexpected answer to \"%s\"", query);
	value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	return isnull ? 0 : DatumGetInt64(value);
}

/* The OID of a relation in schema es, or InvalidOid. */
static Oid
store_relation(const char *name)
{
	Oid schema = get_namespace_oid(ES_SCHEMA, true);

	return OidIsValid(schema) ? get_relname_relid(name, schema) : InvalidOid;
}

/* The guards' function stands in the schema that this function stands in. */
static Oid
find_guard_function(FunctionCallInfo fcinfo)
{
	char *schema = get_namespace_name(get_func_namespace(fcinfo->flinfo->fn_oid));
	List *name = list_make2(makeString(schema), makeString(ES_GUARD_FUNCTION));

	return LookupFuncName(name, 0, NULL, false);
}

/*
 * Who owns the store, or shall own it.  Looks at all that is there before any of
 * it is touched: somebody could have laid out relations with code of his own in
 * advance.  Only a role that may put guards on tables is trusted with a store.
 */
static Oid
find_owner(Oid guard)
{
	Oid owner = InvalidOid;

	es_make_find_owner(&owner);
	if (!OidIsValid(owner))
		owner = GetUserId();
	else
		es_owner_check(owner);
	if (!es_compat_may_execute(guard, owner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("role \"%s\" may not own an event store", GetUserNameFromId(owner, false)),
				 errdetail("It may not execute function %s().", ES_GUARD_FUNCTION),
				 errhint("Run es_init() as a superuser, or let one GRANT EXECUTE ON FUNCTION "
						 "%s() to that role.",
						 ES_GUARD_FUNCTION)));
	if (!(OidIsValid(get_namespace_oid(ES_SCHEMA, true)) &&
		  OidIsValid(get_namespace_oid(ES_PRIVATE_SCHEMA, true))) &&
		!es_compat_may_create(MyDatabaseId, owner))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("role \"%s\" may not create the event store's schemas",
							   GetUserNameFromId(owner, false)),
						errdetail("It lacks the privilege CREATE on database \"%s\".",
								  get_database_name(MyDatabaseId)),
						errhint("GRANT CREATE ON DATABASE to that role.")));
	return owner;
}

#define ES_SEQUENCE_LAST                                                              \
	"SELECT last_value OPERATOR(pg_catalog.-) CASE WHEN is_called THEN 0 ELSE 1 END " \
	"FROM es.events_position_seq"
#define ES_SEQUENCE_ODD                                                                    \
	"SELECT pg_catalog.count(*) FROM pg_catalog.pg_sequence "                              \
	"WHERE seqrelid OPERATOR(pg_catalog.=) 'es.events_position_seq'::pg_catalog.regclass " \
	"AND (seqcache OPERATOR(pg_catalog.<>) 1 OR seqincrement OPERATOR(pg_catalog.<>) 1 OR seqcycle)"

/* The last position that is stored or published, whatever policies hide of it. */
static int64
last_position(void)
{
	Relation events;
	int64    position;
	EsTick   tick;

	(void) es_store();
	events = table_open(es_events.found->relid, AccessShareLock);
	position = es_log_last_position(events);
	table_close(events, NoLock);
	if (es_tick_newest(&tick))
		position = Max(position, Max(tick.position, tick.last_position));
	return position;
}

/* The next position must be higher than any that is stored or published; true if mended. */
static bool
repair_sequence(void)
{
	bool mended = false;

	if (ask(ES_SEQUENCE_ODD) > 0)
	{
		es_owner_run_ddl("ALTER SEQUENCE es.events_position_seq INCREMENT BY 1 CACHE 1 NO CYCLE");
		mended = true;
	}
	if (ask(ES_SEQUENCE_LAST) < last_position())
	{
		/* without appenders, or the sequence might be set back */
		es_table_lock(&es_events.found->relid, 1, ShareRowExclusiveLock);
		es_owner_run(psprintf("SELECT pg_catalog.setval('es.events_position_seq', %lld)",
							  (long long) Max(last_position(), ask(ES_SEQUENCE_LAST))));
		mended = true;
	}
	return mended;
}

/*
 * Where setval() has taken the sequence far ahead, an epoch takes it back; true if it did.
 * Without ticks and without appenders: both in the order in which publishers lock them.
 */
static bool
set_sequence_back(void)
{
	Oid tables[2];

	(void) es_store();
	if (!es_epoch_is_ahead())
		return false;
	tables[0] = es_ticks.found->relid;
	tables[1] = es_events.found->relid;
	es_table_lock(tables, lengthof(tables), ShareRowExclusiveLock);
	(void) es_store();
	es_epoch_set_back();
	return true;
}

/* What brings tables of version n to version n + 1; 0 is before the first release. */
static const char *const migrations[ES_STORE_VERSION] = {
	"SELECT 1",
	/*
	 * Version 2 publishes.  Its relations are made as all that is missing is; but an
	 * appender with the code of version 1 holds no marker: the lock lets it end.
	 */
	"SELECT 1",
	/* Version 3 locks streams by other hashes: the lock lets those end that hold the old ones. */
	"ALTER TABLE es.store ADD COLUMN salt pg_catalog.int8;"
	"UPDATE es.store SET salt = " ES_SALT_NEW ";"
	"ALTER TABLE es.store ALTER COLUMN salt SET NOT NULL;"
	"COMMENT ON COLUMN es.store.salt IS '" ES_SALT_COMMENT "'",
};

/* The guard of es.store lets these statements pass. */
static void
write_store_row(int version)
{
	es_guard_open = store_relation("store");
	PG_TRY();
	{
		if (version < 0)
			es_owner_run(psprintf("INSERT INTO es.store VALUES (%d, pg_catalog.now(), " ES_SALT_NEW
								  ")",
								  ES_STORE_VERSION));
		for (int from = version; from >= 0 && from < ES_STORE_VERSION; from++)
			es_owner_run_ddl(migrations[from]);
		if (version >= 0)
			es_owner_run(psprintf("UPDATE es.store SET version = %d", ES_STORE_VERSION));
	}
	PG_FINALLY();
	{
		es_guard_open = InvalidOid;
	}
	PG_END_TRY();
}

/*
 * Brings older tables to this version; returns the version they were of.  A dump
 * of the schema alone has left es.store empty; whether the tables are of this
 * version is then seen by their columns.
 */
static int
migrate(void)
{
	int version = es_store_version(store_relation("store"));
	Oid events = store_relation("events");

	if (version > ES_STORE_VERSION)
		ereport(ERROR, (errcode(ERRCODE_ES_NO_STORE),
						errmsg("the event store in this database is of a newer version"),
						errdetail("The store's tables are of version %d, the library knows up to "
								  "version %d.",
								  version, ES_STORE_VERSION),
						errhint("Install the newer version of pg_eventstore.")));
	if (version >= 0 && version < ES_STORE_VERSION)
		es_table_lock(&events, 1, ShareRowExclusiveLock);
	if (version < ES_STORE_VERSION)
		write_store_row(version);
	CommandCounterIncrement();
	return version;
}

#define ES_PRIVATE_GRANTS                                                                \
	"SELECT DISTINCT pg_catalog.format('REVOKE ALL ON %%s FROM %%s CASCADE', g.object, " \
	"CASE WHEN a.grantee OPERATOR(pg_catalog.=) 0 THEN 'PUBLIC' "                        \
	"ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END) "           \
	"FROM (SELECT 'SCHEMA es_private', nspacl FROM pg_catalog.pg_namespace "             \
	"WHERE oid OPERATOR(pg_catalog.=) %1$u "                                             \
	"UNION ALL SELECT 'es_private.' OPERATOR(pg_catalog.||) relname, relacl "            \
	"FROM pg_catalog.pg_class WHERE oid OPERATOR(pg_catalog.=) ANY ('{%2$u,%3$u}') "     \
	"UNION ALL SELECT 'es_private.' OPERATOR(pg_catalog.||) relname, attacl "            \
	"FROM pg_catalog.pg_attribute, pg_catalog.pg_class AS c "                            \
	"WHERE attrelid OPERATOR(pg_catalog.=) c.oid "                                       \
	"AND c.oid OPERATOR(pg_catalog.=) ANY ('{%2$u,%3$u}')) AS g(object, acl), "          \
	"pg_catalog.aclexplode(g.acl) AS a "                                                 \
	"WHERE a.grantee OPERATOR(pg_catalog.<>) %4$u"

/* No role may touch es_private, whatever was granted. */
static void
revoke_private(Oid owner)
{
	char **commands;
	int    n;

	(void) es_store();
	es_owner_run(psprintf(ES_PRIVATE_GRANTS, get_namespace_oid(ES_PRIVATE_SCHEMA, false),
						  es_all_streams.found->relid, es_appending.found->relid, owner));
	n = SPI_processed;
	commands = palloc(Max(n, 1) * sizeof(char *));
	for (int i = 0; i < n; i++)
		commands[i] = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1);
	for (int i = 0; i < n; i++)
		es_owner_run(commands[i]);
}

static char *
make_store(Oid guard, Oid owner)
{
	const char *functions = get_namespace_name(get_func_namespace(guard));
	bool        existed = OidIsValid(store_relation("store"));
	bool        mended = es_make_tables(&owner) > 0;
	int         version;
	bool        adopted;

	if (!existed)
		write_store_row(-1);
	version = migrate();
	adopted = es_make_guards(functions);
	adopted |= es_make_views(functions, &owner) > 0;
	mended |= es_policy_make(functions);
	if (mended || adopted || version < ES_STORE_VERSION)
	{
		/* other sessions shall look again, and so shall we */
		CacheInvalidateRelcacheByRelid(store_relation("events"));
		CommandCounterIncrement();
	}
	mended |= repair_sequence() || version < 0;
	if (es_binding_all()->n > 0)
	{
		mended |= es_policy_enable();
		es_binding_refresh();
	}
	revoke_private(owner);
	(void) es_store();
	es_epoch_check();
	mended |= set_sequence_back();

	if (!existed)
		return psprintf("created the event store, version %d", ES_STORE_VERSION);
	if (version >= 0 && version < ES_STORE_VERSION)
		return psprintf("migrated the event store from version %d to version %d", version,
						ES_STORE_VERSION);
	if (mended || adopted)
		return psprintf("%s the event store, version %d: the log ends at position %lld",
						adopted ? "adopted" : "repaired", ES_STORE_VERSION,
						(long long) last_position());
	return psprintf("the event store is ready, version %d: nothing to do", ES_STORE_VERSION);
}

static void
prevent_where_impossible(const char *function)
{
	PreventCommandIfReadOnly(function);
	PreventCommandDuringRecovery(function);
	if (creating_extension)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("%s cannot run in an extension's script", function),
						errdetail("The store's tables would become members of that extension."),
						errhint("Run it after CREATE EXTENSION.")));
}

/* es_init() returns what it did. */
Datum
es_init(PG_FUNCTION_ARGS)
{
	Oid        guard = find_guard_function(fcinfo);
	Oid        owner;
	EsIdentity before;
	text      *result;

	prevent_where_impossible("es_init()");
	es_lock_store();
	owner = find_owner(guard);
	before = es_owner_become(owner);
	result = result_text(make_store(guard, owner));
	es_owner_become_again(before);
	es_shared_wake_at_end();
	PG_RETURN_TEXT_P(result);
}

/* Was the setting made by ALTER DATABASE, and does it say yes? */
static bool
database_allows_reset(void)
{
	bool  allowed = false;
	char *value;

	es_owner_run(
		psprintf("SELECT pg_catalog.split_part(setting, '=', 2) "
				 "FROM pg_catalog.pg_db_role_setting, pg_catalog.unnest(setconfig) AS c(setting) "
				 "WHERE setdatabase OPERATOR(pg_catalog.=) %u AND setrole OPERATOR(pg_catalog.=) 0 "
				 "AND pg_catalog.split_part(setting, '=', 1) OPERATOR(pg_catalog.=) "
				 "'pg_eventstore.allow_reset'",
				 MyDatabaseId));
	if (SPI_processed == 0)
		return false;
	value = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	return value != NULL && parse_bool(value, &allowed) && allowed;
}

/* The tables that are emptied, as the list of a TRUNCATE. */
static char *
emptied_tables(void)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < es_ntables; i++)
	{
		const EsTable *table = es_tables[i];

		if (table->reset != NULL && table->reset[0] == '\0')
			appendStringInfo(&list, "%s%s.%s", list.len == 0 ? "" : ", ", table->schema,
							 table->name);
	}
	return list.data;
}

/* The guards let this one TRUNCATE pass. */
static void
truncate_store(void)
{
	es_guard_resetting = true;
	PG_TRY();
	{
		es_owner_run(psprintf("TRUNCATE TABLE %s RESTART IDENTITY", emptied_tables()));
		for (int i = 0; i < es_ntables; i++)
		{
			if (es_tables[i]->reset != NULL && es_tables[i]->reset[0] != '\0')
				es_owner_run(es_tables[i]->reset);
		}
	}
	PG_FINALLY();
	{
		es_guard_resetting = false;
	}
	PG_END_TRY();
}

static char *
reset_store(void)
{
	int64 events;
	int64 snapshots;

	if (!database_allows_reset())
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("this database's event store is not to be reset"),
						errdetail("pg_eventstore.allow_reset is not on for database \"%s\".",
								  get_database_name(MyDatabaseId)),
						errhint("In a test database run ALTER DATABASE ... SET "
								"pg_eventstore.allow_reset = on.")));
	es_lock_store();
	events = ask("SELECT pg_catalog.count(*) FROM es.events");
	snapshots = ask("SELECT pg_catalog.count(*) FROM es.snapshots");
	truncate_store();
	return psprintf("emptied the event store: %lld %s, %lld %s", (long long) events,
					events == 1 ? "event" : "events", (long long) snapshots,
					snapshots == 1 ? "snapshot" : "snapshots");
}

/* es_reset() empties the store of a test database and returns what it did. */
Datum
es_reset(PG_FUNCTION_ARGS)
{
	Oid        owner = es_store()->owner;
	EsIdentity before;
	text      *result;

	prevent_where_impossible("es_reset()");
	es_owner_check(owner);
	before = es_owner_become(owner);
	result = result_text(reset_store());
	es_owner_become_again(before);
	PG_RETURN_TEXT_P(result);
}
