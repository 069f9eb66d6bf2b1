/*
 * utility.c
 *		What the event store has to do with utility statements: those that a
 *		publisher is in the way of, and those after which one has something to do.
 *
 * A connected worker would make DROP, RENAME, SET TABLESPACE and CREATE ... TEMPLATE
 * of its database fail.  So it is sent away before, and asked for again when the
 * statement's transaction has ended, whatever its end.  Only for who may run the
 * statement: nobody else shall be able to stop publishing (P4).
 *
 * COMMIT PREPARED runs no transaction callback of the transaction that it commits.
 * A restore makes the store complete by its last ALTER TABLE, and DROP takes it
 * away: the publisher is to look.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xlog.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/syscache.h"

#include "barrier.h"
#include "compat.h"
#include "ddl.h"
#include "ddl_locks.h"
#include "shared.h"
#include "store.h"
#include "utility.h"

static ProcessUtility_hook_type previous_utility = NULL;
static bool                     guards_ddl = false; /* everywhere, or nowhere */

/* Sends the publisher of a database away. */
static void
send_away(Oid database)
{
	if (OidIsValid(database))
		es_shared_hold(es_shared_known(database));
}

static void
send_away_as_owner(const char *name)
{
	Oid database = get_database_oid(name, true);

	if (OidIsValid(database) && es_compat_owns_database(database, GetUserId()))
		send_away(database);
}

static bool
may_create_databases(void)
{
	HeapTuple tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(GetUserId()));
	bool      result = superuser();

	if (HeapTupleIsValid(tuple))
	{
		result |= ((Form_pg_authid) GETSTRUCT(tuple))->rolcreatedb;
		ReleaseSysCache(tuple);
	}
	return result;
}

static bool
is_template(Oid database)
{
	HeapTuple tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(database));
	bool      result = false;

	if (HeapTupleIsValid(tuple))
	{
		result = ((Form_pg_database) GETSTRUCT(tuple))->datistemplate;
		ReleaseSysCache(tuple);
	}
	return result;
}

/* A statement's option, or NULL. */
static DefElem *
find_option(List *options, const char *name)
{
	ListCell *cell;

	foreach (cell, options)
	{
		DefElem *option = lfirst(cell);

		if (strcmp(option->defname, name) == 0)
			return option;
	}
	return NULL;
}

/* The database that a new one is copied from. */
static Oid
template_of(CreatedbStmt *stmt)
{
	DefElem *option = find_option(stmt->options, "template");

	return get_database_oid(option == NULL || option->arg == NULL ? "template1"
																  : defGetString(option),
							true);
}

static void
before_create_database(CreatedbStmt *stmt)
{
	Oid database = template_of(stmt);

	if (OidIsValid(database) && may_create_databases() &&
		(is_template(database) || es_compat_owns_database(database, GetUserId())))
		send_away(database);
}

/* The copy of a database with a store has one too. */
static void
after_create_database(CreatedbStmt *stmt)
{
	Oid     database = template_of(stmt);
	EsSlot *slot = OidIsValid(database) ? es_shared_known(database) : NULL;

	if (slot != NULL && slot->has_store)
		es_shared_ask(get_database_oid(stmt->dbname, true));
}

/* Does it need the database without sessions, or open or close it for them? */
static bool
is_move_or_closing(AlterDatabaseStmt *stmt)
{
	return find_option(stmt->options, "tablespace") != NULL ||
		   find_option(stmt->options, "allow_connections") != NULL;
}

static void
before_statement(Node *stmt)
{
	if (IsA(stmt, DropdbStmt))
		send_away_as_owner(((DropdbStmt *) stmt)->dbname);
	else if (IsA(stmt, RenameStmt) && ((RenameStmt *) stmt)->renameType == OBJECT_DATABASE)
		send_away_as_owner(((RenameStmt *) stmt)->subname);
	else if (IsA(stmt, AlterDatabaseStmt) && is_move_or_closing((AlterDatabaseStmt *) stmt))
		send_away_as_owner(((AlterDatabaseStmt *) stmt)->dbname);
	else if (IsA(stmt, CreatedbStmt))
		before_create_database((CreatedbStmt *) stmt);
}

static bool
is_end_of_prepared(Node *stmt)
{
	return IsA(stmt, TransactionStmt) &&
		   (((TransactionStmt *) stmt)->kind == TRANS_STMT_COMMIT_PREPARED ||
			((TransactionStmt *) stmt)->kind == TRANS_STMT_ROLLBACK_PREPARED);
}

/* May it have made the store complete? */
static bool
may_complete_store(Node *stmt)
{
	return IsA(stmt, AlterTableStmt) && ((AlterTableStmt *) stmt)->relation->schemaname != NULL &&
		   strcmp(((AlterTableStmt *) stmt)->relation->schemaname, ES_SCHEMA) == 0;
}

/* May it have taken the store away? */
static bool
may_drop_store(Node *stmt)
{
	return IsA(stmt, DropStmt) || IsA(stmt, DropOwnedStmt);
}

static void
after_statement(Node *stmt)
{
	if (is_end_of_prepared(stmt))
		es_barrier_settle(true);
	/* other databases than a store's stay unknown, whatever schema a statement names */
	if ((may_complete_store(stmt) && es_store_exists()) ||
		((is_end_of_prepared(stmt) || may_drop_store(stmt)) &&
		 es_shared_known(MyDatabaseId) != NULL))
		es_shared_wake_at_end();
	else if (IsA(stmt, CreatedbStmt))
		after_create_database((CreatedbStmt *) stmt);
	else if (IsA(stmt, AlterDatabaseStmt) && is_move_or_closing((AlterDatabaseStmt *) stmt))
		es_shared_ask(get_database_oid(((AlterDatabaseStmt *) stmt)->dbname, true));
}

static bool
is_of_interest(Node *stmt)
{
	return IsA(stmt, DropdbStmt) || IsA(stmt, RenameStmt) || IsA(stmt, AlterDatabaseStmt) ||
		   IsA(stmt, CreatedbStmt) || is_end_of_prepared(stmt) || may_complete_store(stmt) ||
		   may_drop_store(stmt);
}

/* Runs a statement as it would be without us. */
static void
run(PlannedStmt *planned, const char *query, bool read_only, ProcessUtilityContext context,
	ParamListInfo params, QueryEnvironment *environment, DestReceiver *dest,
	QueryCompletion *completion)
{
	ProcessUtility_hook_type next =
		previous_utility != NULL ? previous_utility : standard_ProcessUtility;

	next(planned, query, read_only, context, params, environment, dest, completion);
}

static void
utility(PlannedStmt *planned, const char *query, bool read_only, ProcessUtilityContext context,
		ParamListInfo params, QueryEnvironment *environment, DestReceiver *dest,
		QueryCompletion *completion)
{
	Node      *stmt = planned->utilityStmt;
	bool       interest = is_of_interest(stmt) && !RecoveryInProgress() && !IsBinaryUpgrade;
	bool       guarded = guards_ddl && !IsBinaryUpgrade;
	EsDdlScope before = es_ddl_begin(stmt, context);

	PG_TRY();
	{
		PlannedStmt *checked = guarded ? es_ddl_locks_check(es_ddl_check(planned)) : planned;

		if (interest)
			before_statement(stmt);
		run(checked, query, read_only, context, params, environment, dest, completion);
		if (interest)
			after_statement(stmt);
	}
	PG_FINALLY();
	{
		es_ddl_end(before);
	}
	PG_END_TRY();
}

/* Called once, from _PG_init. */
void
es_utility_init(void)
{
	previous_utility = ProcessUtility_hook;
	ProcessUtility_hook = utility;
	guards_ddl = process_shared_preload_libraries_in_progress;
	if (guards_ddl)
		es_ddl_init();
}
