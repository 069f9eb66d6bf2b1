/*
 * ddl.c
 *		Guards against statements that would undo what the store keeps (A6): where
 *		the library is preloaded, they are refused with SE003.
 *
 * Two hooks share the work.  Before a utility statement its parse tree tells what
 * it would alter: of ALTER TABLE only those forms pass that leave rows, columns and
 * guards as they are.  What is dropped, by whatever statement and cascade, is seen
 * object by object.
 *
 * They stand as long as the guards of es.events stand: before, a restore is at work,
 * and after DROP EXTENSION ... CASCADE, which is let through, the tables are their
 * owner's.  A superuser with pg_eventstore.allow_maintenance may do everything, and
 * the server's log says what.
 *
 * Keeps A6 and O2.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_trigger.h"
#include "access/genam.h"
#include "access/htup_details.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "compat.h"
#include "ddl.h"
#include "errors.h"
#include "schema.h"
#include "settings.h"
#include "store.h"

int es_ddl_own = 0;

static int                     dropping_extension = 0;
static object_access_hook_type previous_access = NULL;

/* Do the guards of es.events stand? */
static bool
is_guarded_store(void)
{
	Oid      nspid = get_namespace_oid(ES_SCHEMA, true);
	Oid      relid = OidIsValid(nspid) ? get_relname_relid("events", nspid) : InvalidOid;
	Relation events;
	bool     stands;

	if (!OidIsValid(relid) || get_rel_relkind(relid) != RELKIND_RELATION)
		return false;
	events = table_open(relid, AccessShareLock);
	stands = es_store_has_guards(events, NULL);
	table_close(events, AccessShareLock);
	return stands;
}

/* Says in the server's log what a superuser does to the store, and lets it pass. */
static bool
is_maintenance(const char *what)
{
	if (!es_settings_allow_maintenance || !superuser())
		return false;
	ereport(LOG, (errmsg("pg_eventstore maintenance: role \"%s\": %s",
						 GetUserNameFromId(GetUserId(), false), what)));
	return true;
}

static void
refuse(const char *what, const char *object)
{
	if (!is_guarded_store() || is_maintenance(psprintf("%s %s", what, object)))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_ES_APPEND_ONLY),
			 errmsg("the log is append-only: %s %s is refused", what, object),
			 errdetail("It would take away, or change, what the event store keeps."),
			 errhint(
				 "Indexes, comments, grants, publications, statistics, tablespaces and your own "
				 "triggers are free. For all else a superuser sets "
				 "pg_eventstore.allow_maintenance.")));
}

/* Is it one of the relations that the store is made of? */
static const EsObject *
find_object(Oid relid)
{
	const char *schema = get_namespace_name(get_rel_namespace(relid));
	const char *name = get_rel_name(relid);

	for (int i = 0; schema != NULL && name != NULL && i < es_schema_nobjects; i++)
	{
		const EsObject *object = &es_schema_objects[i];

		if (object->name != NULL && strcmp(object->schema, schema) == 0 &&
			strcmp(object->name, name) == 0)
			return object;
	}
	return NULL;
}

/* The same without indexes, which may be altered. */
static bool
is_kept(Oid relid)
{
	const EsObject *object = OidIsValid(relid) ? find_object(relid) : NULL;

	return object != NULL && object->relkind != RELKIND_INDEX;
}

static bool
is_kept_name(RangeVar *name)
{
	return name != NULL && is_kept(RangeVarGetRelid(name, NoLock, true));
}

static bool
is_kept_schema(const char *name)
{
	return name != NULL && (strcmp(name, ES_SCHEMA) == 0 || strcmp(name, ES_PRIVATE_SCHEMA) == 0);
}

static bool
is_guard_name(const char *name)
{
	return name != NULL &&
		   (strcmp(name, ES_GUARD_ROW) == 0 || strcmp(name, ES_GUARD_STATEMENT) == 0);
}

static char *
full_name(Oid relid)
{
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)),
									  get_rel_name(relid));
}

/* Does this form of ALTER TABLE leave rows, columns and guards as they are? */
static bool
is_free(const AlterTableCmd *cmd)
{
	switch (cmd->subtype)
	{
		case AT_SetStatistics:
		case AT_SetOptions:
		case AT_ResetOptions:
		case AT_SetStorage:
		case AT_SetCompression:
		case AT_AddIndex:
		case AT_AddIndexConstraint:
		case AT_AddConstraint:
		case AT_AlterConstraint:
		case AT_ValidateConstraint:
		case AT_DropConstraint: /* ours are seen when they are dropped */
		case AT_ChangeOwner:
		case AT_ClusterOn:
		case AT_DropCluster:
		case AT_SetTableSpace:
		case AT_SetRelOptions:
		case AT_ResetRelOptions:
		case AT_ReplicaIdentity:
		case AT_EnableRowSecurity:
		case AT_DisableRowSecurity:
		case AT_ForceRowSecurity:
		case AT_NoForceRowSecurity:
			return true;
		case AT_EnableAlwaysTrig:
			return true;
		case AT_EnableTrig:
		case AT_EnableReplicaTrig:
		case AT_DisableTrig:
			return !is_guard_name(cmd->name);
		default:
			return false;
	}
}

/* The table that a form of ALTER TABLE makes a parent or a partition, or NULL. */
static RangeVar *
joined_table(const AlterTableCmd *cmd)
{
	if (cmd->subtype == AT_AddInherit)
		return (RangeVar *) cmd->def;
	if (cmd->subtype == AT_AttachPartition)
		return ((PartitionCmd *) cmd->def)->name;
	return NULL;
}

static void
check_alter_table(AlterTableStmt *stmt)
{
	Oid       relid = RangeVarGetRelid(stmt->relation, NoLock, true);
	bool      kept = is_kept(relid);
	ListCell *cell;

	foreach (cell, stmt->cmds)
	{
		AlterTableCmd *cmd = lfirst_node(AlterTableCmd, cell);
		RangeVar      *joined = joined_table(cmd);

		if (kept && !is_free(cmd))
			refuse("this ALTER TABLE on", full_name(relid));
		else if (joined != NULL && is_kept_name(joined))
			refuse("INHERIT or ATTACH PARTITION of", joined->relname);
	}
}

static void
check_rename(RenameStmt *stmt)
{
	if (stmt->renameType == OBJECT_SCHEMA && is_kept_schema(stmt->subname))
		refuse("RENAME of schema", stmt->subname);
	else if (stmt->renameType == OBJECT_TRIGGER
				 ? is_guard_name(stmt->subname) && is_kept_name(stmt->relation)
				 : stmt->renameType != OBJECT_TABCONSTRAINT && stmt->renameType != OBJECT_POLICY &&
					   stmt->renameType != OBJECT_RULE && is_kept_name(stmt->relation))
		refuse("RENAME on", stmt->relation->relname);
}

static void
check_create_table(CreateStmt *stmt)
{
	ListCell *cell;

	foreach (cell, stmt->inhRelations)
	{
		RangeVar *parent = lfirst_node(RangeVar, cell);

		if (is_kept_name(parent))
			refuse("a child table of", parent->relname);
	}
}

/* The name of the relation or schema that becomes a member of an extension. */
static void
check_extension_contents(AlterExtensionContentsStmt *stmt)
{
	if (stmt->action <= 0)
		return;
	if (stmt->objtype == OBJECT_SCHEMA && is_kept_schema(strVal(stmt->object)))
		refuse("ALTER EXTENSION ... ADD of schema", strVal(stmt->object));
	else if ((stmt->objtype == OBJECT_TABLE || stmt->objtype == OBJECT_SEQUENCE ||
			  stmt->objtype == OBJECT_VIEW) &&
			 is_kept_name(makeRangeVarFromNameList(castNode(List, stmt->object))))
		refuse("ALTER EXTENSION ... ADD of", NameListToString(castNode(List, stmt->object)));
}

static void
check_statement(Node *stmt)
{
	switch (nodeTag(stmt))
	{
		case T_AlterTableStmt:
			check_alter_table((AlterTableStmt *) stmt);
			break;
		case T_RenameStmt:
			check_rename((RenameStmt *) stmt);
			break;
		case T_AlterObjectSchemaStmt:
			if (is_kept_name(((AlterObjectSchemaStmt *) stmt)->relation))
				refuse("SET SCHEMA on", ((AlterObjectSchemaStmt *) stmt)->relation->relname);
			break;
		case T_AlterObjectDependsStmt:
			if (is_kept_name(((AlterObjectDependsStmt *) stmt)->relation))
				refuse("DEPENDS ON EXTENSION on",
					   ((AlterObjectDependsStmt *) stmt)->relation->relname);
			break;
		case T_AlterSeqStmt:
			if (is_kept_name(((AlterSeqStmt *) stmt)->sequence))
				refuse("ALTER SEQUENCE", ((AlterSeqStmt *) stmt)->sequence->relname);
			break;
		case T_CreateStmt:
			check_create_table((CreateStmt *) stmt);
			break;
		case T_CreateTrigStmt:
			if (((CreateTrigStmt *) stmt)->replace &&
				is_guard_name(((CreateTrigStmt *) stmt)->trigname) &&
				is_kept_name(((CreateTrigStmt *) stmt)->relation))
				refuse("CREATE OR REPLACE TRIGGER", ((CreateTrigStmt *) stmt)->trigname);
			break;
		case T_ViewStmt:
			if (((ViewStmt *) stmt)->replace && is_kept_name(((ViewStmt *) stmt)->view))
				refuse("CREATE OR REPLACE VIEW", ((ViewStmt *) stmt)->view->relname);
			break;
		case T_AlterExtensionContentsStmt:
			check_extension_contents((AlterExtensionContentsStmt *) stmt);
			break;
		default:
			break;
	}
}

static bool
is_drop_extension(Node *stmt)
{
	return IsA(stmt, DropStmt) && ((DropStmt *) stmt)->removeType == OBJECT_EXTENSION;
}

/* May the statement be one that is refused? */
bool
es_ddl_may_concern(Node *stmt)
{
	switch (nodeTag(stmt))
	{
		case T_AlterTableStmt:
		case T_RenameStmt:
		case T_AlterObjectSchemaStmt:
		case T_AlterObjectDependsStmt:
		case T_AlterSeqStmt:
		case T_CreateStmt:
		case T_CreateTrigStmt:
		case T_ViewStmt:
		case T_AlterExtensionContentsStmt:
			return true;
		default:
			return is_drop_extension(stmt);
	}
}

/* Before a statement of interest: refuses it, or notes what it is. */
void
es_ddl_begin(Node *stmt)
{
	if (is_drop_extension(stmt))
		dropping_extension++;
	else if (es_ddl_own == 0)
		check_statement(stmt);
}

/* After it, also where it failed. */
void
es_ddl_end(Node *stmt)
{
	if (is_drop_extension(stmt))
		dropping_extension--;
}

/* A row of a catalog by its OID. */
static HeapTuple
fetch_by_oid(Oid catalog, Oid index, AttrNumber column, Oid oid, Relation *rel)
{
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple   tuple;

	*rel = table_open(catalog, AccessShareLock);
	ScanKeyInit(&key, column, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(oid));
	scan = systable_beginscan(*rel, index, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	tuple = HeapTupleIsValid(tuple) ? heap_copytuple(tuple) : NULL;
	systable_endscan(scan);
	return tuple;
}

static void
check_drop_trigger(Oid oid)
{
	Relation  rel;
	HeapTuple tuple =
		fetch_by_oid(TriggerRelationId, TriggerOidIndexId, Anum_pg_trigger_oid, oid, &rel);

	table_close(rel, AccessShareLock);
	if (tuple != NULL)
	{
		Form_pg_trigger trigger = (Form_pg_trigger) GETSTRUCT(tuple);

		if (is_guard_name(NameStr(trigger->tgname)) && is_kept(trigger->tgrelid))
			refuse("DROP TRIGGER", NameStr(trigger->tgname));
		heap_freetuple(tuple);
	}
}

static bool
is_own_constraint(const char *name)
{
	static const char *const checks[] = {"es_numbers", "es_content", "es_names", "es_version"};

	for (int i = 0; i < (int) lengthof(checks); i++)
	{
		if (strcmp(name, checks[i]) == 0)
			return true;
	}
	for (int i = 0; i < es_schema_nobjects; i++)
	{
		if (es_schema_objects[i].relkind == RELKIND_INDEX &&
			strcmp(name, es_schema_objects[i].name) == 0)
			return true;
	}
	return false;
}

static void
check_drop_constraint(Oid oid)
{
	HeapTuple          tuple = SearchSysCache1(CONSTROID, ObjectIdGetDatum(oid));
	Form_pg_constraint constraint;

	if (!HeapTupleIsValid(tuple))
		return;
	constraint = (Form_pg_constraint) GETSTRUCT(tuple);
	if (is_own_constraint(NameStr(constraint->conname)) && is_kept(constraint->conrelid))
		refuse("DROP CONSTRAINT", NameStr(constraint->conname));
	ReleaseSysCache(tuple);
}

static void
check_drop(Oid class, Oid oid, int column)
{
	switch (class)
	{
		case NamespaceRelationId:
			if (is_kept_schema(get_namespace_name(oid)))
				refuse("DROP SCHEMA", get_namespace_name(oid));
			break;
		case RelationRelationId:
			if (find_object(oid) != NULL)
				refuse(column == 0 ? "DROP of" : "DROP of a column of", full_name(oid));
			break;
		case TriggerRelationId:
			check_drop_trigger(oid);
			break;
		case ConstraintRelationId:
			check_drop_constraint(oid);
			break;
	}
}

/* What is dropped to be made anew, as by REINDEX CONCURRENTLY, is not lost. */
static bool
is_internal_drop(void *arg)
{
	return arg != NULL && (((ObjectAccessDrop *) arg)->dropflags & PERFORM_DELETION_INTERNAL) != 0;
}

static void
see_access(ObjectAccessType type, Oid class, Oid oid, int column, void *arg)
{
	if (previous_access != NULL)
		previous_access(type, class, oid, column, arg);
	if (type == OAT_DROP && es_ddl_own == 0 && dropping_extension == 0 && !IsBinaryUpgrade &&
		!is_internal_drop(arg))
		check_drop(class, oid, column);
}

/* Called once, from _PG_init, where the library is preloaded. */
void
es_ddl_init(void)
{
	previous_access = object_access_hook;
	object_access_hook = see_access;
}
