/*
 * ddl.c
 *		Guards against statements that would undo what the store keeps (A6): where
 *		the library is preloaded, they are refused with SE003.
 *
 * What the store keeps are its schemas, tables, sequence, views, its own indexes and
 * constraints, the guards, the policies that bind roles to tenants, and the functions of
 * both.  Two hooks share the work:
 *
 * - Before a utility statement its parse tree tells what it would alter.  Of ALTER
 *   TABLE only those forms pass that leave rows, columns and guards as they are.
 *   A name that might mean another table by the time it is looked up again, behind
 *   a lock, is replaced by the qualified one that was checked.
 * - What is dropped, by whatever statement and cascade, is seen object by object;
 *   and so are rules, also of a view that is replaced, children and the function.
 *
 * They stand as long as the guards of es.events stand: before, a restore is at work,
 * and after DROP EXTENSION ... CASCADE, which may take the guards and es.log, but no
 * table (O2), the tables are their owner's.  A superuser with
 * pg_eventstore.allow_maintenance may do everything, and the server's log says what.
 *
 * Statements nest: a function in a trigger or an event trigger runs others.  Each has
 * a scope of its own, so that neither the store's own statements nor DROP EXTENSION
 * open a door for those.
 *
 * Keeps A6 and O2.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/objectaccess.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_policy.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_rewrite.h"
#include "catalog/pg_trigger.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "parser/parse_func.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "compat.h"
#include "ddl.h"
#include "errors.h"
#include "guard.h"
#include "owner.h"
#include "policy.h"
#include "settings.h"
#include "table.h"

#define EXTENSION        "pg_eventstore"
#define CONTYPE_NOT_NULL 'n' /* of tables from PostgreSQL 18 on */

static bool                    is_own = false;
static bool                    dropping = false;
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
	events = try_table_open(relid, AccessShareLock);
	stands = events != NULL && es_guard_stand(events, NULL);
	if (events != NULL)
		table_close(events, AccessShareLock);
	return stands;
}

/* Says in the server's log what a superuser does to the store, and lets it pass. */
static bool
is_maintenance(const char *what, const char *object)
{
	if (!es_settings_allow_maintenance || !superuser())
		return false;
	ereport(LOG, (errmsg("pg_eventstore maintenance: role \"%s\": %s %s",
						 GetUserNameFromId(GetUserId(), false), what, object)));
	return true;
}

static void
refuse(const char *what, const char *object)
{
	if ((!dropping && !is_guarded_store()) || is_maintenance(what, object))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_ES_APPEND_ONLY),
			 errmsg("the log is append-only: %s %s is refused", what, object),
			 errdetail("It would take away, or change, what the event store keeps."),
			 errhint(
				 "Indexes, constraints, comments, grants, publications, statistics, tablespaces "
				 "and triggers of your own are free. For all else a superuser sets "
				 "pg_eventstore.allow_maintenance.")));
}

/* Finds a relation that the store is made of; schema may be NULL. */
static bool
find_name(EsObject *object, const char *schema, const char *name)
{
	memset(object, 0, sizeof(EsObject));
	while (es_table_next(object))
	{
		if (strcmp(object->name, name) == 0 &&
			(schema == NULL || strcmp(object->schema, schema) == 0))
			return true;
	}
	return false;
}

static bool
find_object(EsObject *object, Oid relid)
{
	const char *name = OidIsValid(relid) ? get_rel_name(relid) : NULL;
	const char *schema = name == NULL ? NULL : get_namespace_name(get_rel_namespace(relid));

	return schema != NULL && find_name(object, schema, name);
}

static bool
is_object(Oid relid)
{
	EsObject object;

	return find_object(&object, relid);
}

/* Is it one of these, and no index, which may be altered? */
bool
es_ddl_is_kept(Oid relid)
{
	EsObject object;

	return find_object(&object, relid) && object.index == NULL;
}

/*
 * The relation that a statement names, where it may be one of these.  From now on the
 * name means it, whatever becomes of the other schemas in search_path meanwhile.
 */
static Oid
resolve(RangeVar *name)
{
	EsObject object;
	Oid      relid;

	if (name == NULL || !find_name(&object, NULL, name->relname))
		return InvalidOid;
	relid = RangeVarGetRelid(name, NoLock, true);
	if (OidIsValid(relid) && name->schemaname == NULL)
		name->schemaname = get_namespace_name(get_rel_namespace(relid));
	return relid;
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

/* Is it one of the constraints that the table was made with, or of the store's indexes? */
static bool
is_own_constraint(Oid relid, const char *name)
{
	EsObject object;
	EsObject index;

	if (!find_object(&object, relid))
		return false;
	for (int i = 0; i < object.table->nchecks; i++)
	{
		if (strcmp(object.table->checks[i].name, name) == 0)
			return true;
	}
	return find_name(&index, object.schema, name) && index.index != NULL;
}

/* Does the store itself let the column be null? */
static bool
may_be_null(Oid relid, const char *column)
{
	EsObject object;

	if (column == NULL || !find_object(&object, relid))
		return false;
	for (int i = 0; i < object.table->ncolumns; i++)
	{
		if (strcmp(object.table->columns[i].name, column) == 0)
			return !object.table->columns[i].notnull;
	}
	return false;
}

static char *
full_name(Oid relid)
{
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)),
									  get_rel_name(relid));
}

/* Is any role bound to tenants?  Without row-level security plain SQL would not know. */
static bool
has_bindings(void)
{
	Oid             relid = get_relname_relid("bindings", get_namespace_oid(ES_SCHEMA, false));
	Relation        rel = OidIsValid(relid) ? try_table_open(relid, AccessShareLock) : NULL;
	TupleTableSlot *slot;
	TableScanDesc   scan;
	bool            found;

	if (rel == NULL)
		return false;
	slot = table_slot_create(rel, NULL);
	scan = table_beginscan_catalog(rel, 0, NULL);
	found = table_scan_getnextslot(scan, ForwardScanDirection, slot);
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	table_close(rel, AccessShareLock);
	return found;
}

/* Does this form of ALTER TABLE leave rows, columns and guards as they are? */
static bool
is_free(Oid relid, const AlterTableCmd *cmd)
{
	switch (cmd->subtype)
	{
		case AT_SetStatistics:
		case AT_SetOptions:
		case AT_ResetOptions:
		case AT_SetStorage:
		case AT_SetCompression:
		case AT_SetNotNull:
		case AT_AddIndex:
		case AT_AddIndexConstraint:
		case AT_AddConstraint:
		case AT_AlterConstraint:
		case AT_ValidateConstraint:
		case AT_DropConstraint: /* ours are seen when they are dropped */
		case AT_ChangeOwner:
		case AT_ClusterOn:
		case AT_DropCluster:
		case AT_SetLogged:
		case AT_SetTableSpace:
		case AT_SetRelOptions:
		case AT_ResetRelOptions:
		case AT_DropInherit: /* makes a store ready again */
		case AT_ReplicaIdentity:
		case AT_EnableRowSecurity:
		case AT_ForceRowSecurity:
		case AT_NoForceRowSecurity:
		case AT_EnableAlwaysTrig:
			return true;
		case AT_EnableTrig:
		case AT_EnableReplicaTrig:
		case AT_DisableTrig:
			return !is_guard_name(cmd->name);
		case AT_DropNotNull:
			return may_be_null(relid, cmd->name);
		case AT_DisableRowSecurity:
			return !has_bindings();
		default:
			return false;
	}
}

static void
check_alter_table(AlterTableStmt *stmt)
{
	Oid       relid = resolve(stmt->relation);
	ListCell *cell;

	if (!es_ddl_is_kept(relid))
		return;
	foreach (cell, stmt->cmds)
	{
		if (!is_free(relid, lfirst_node(AlterTableCmd, cell)))
			refuse("this ALTER TABLE on", full_name(relid));
	}
}

/* Is it one that guards or policies ask? */
static bool
is_kept_function(const char *name)
{
	static const char *const names[] = {ES_GUARD_FUNCTION, "pg_eventstore_sees",
										"pg_eventstore_open"};

	for (int i = 0; name != NULL && i < (int) lengthof(names); i++)
	{
		if (strcmp(name, names[i]) == 0)
			return true;
	}
	return false;
}

static void
check_function(Node *object)
{
	ObjectWithArgs *name = castNode(ObjectWithArgs, object);
	Oid             oid;

	if (!is_kept_function(strVal(llast(name->objname))))
		return;
	oid = LookupFuncWithArgs(OBJECT_ROUTINE, name, true);
	if (es_guard_is_own_function(oid))
		refuse("ALTER FUNCTION", psprintf("%s()", get_func_name(oid)));
}

/* Names are what the store's objects are known by, those of indexes and constraints too. */
static bool
is_rename_of_ours(const RenameStmt *stmt, Oid relid)
{
	switch (stmt->renameType)
	{
		case OBJECT_TRIGGER:
			return is_guard_name(stmt->subname);
		case OBJECT_TABCONSTRAINT:
			return is_own_constraint(relid, stmt->subname);
		case OBJECT_POLICY:
			return es_policy_is_ours(stmt->subname);
		case OBJECT_RULE:
			return false;
		default:
			return true;
	}
}

static void
check_rename(RenameStmt *stmt)
{
	Oid relid = resolve(stmt->relation);

	if (stmt->renameType == OBJECT_SCHEMA && is_kept_schema(stmt->subname))
		refuse("RENAME of schema", stmt->subname);
	else if (stmt->renameType == OBJECT_FUNCTION || stmt->renameType == OBJECT_ROUTINE)
		check_function(stmt->object);
	else if (is_object(relid) && is_rename_of_ours(stmt, relid))
		refuse("this RENAME on", full_name(relid));
}

static void
check_set_schema(AlterObjectSchemaStmt *stmt)
{
	Oid relid = resolve(stmt->relation);

	if (es_ddl_is_kept(relid))
		refuse("SET SCHEMA on", full_name(relid));
}

/* What depends on an extension goes with it. */
static void
check_depends(AlterObjectDependsStmt *stmt)
{
	Oid relid = resolve(stmt->relation);

	if (stmt->objectType == OBJECT_FUNCTION || stmt->objectType == OBJECT_ROUTINE)
		check_function(stmt->object);
	else if (is_object(relid) && (stmt->objectType != OBJECT_TRIGGER ||
								  is_guard_name(strVal(llast(castNode(List, stmt->object))))))
		refuse("DEPENDS ON EXTENSION on", full_name(relid));
}

static void
check_sequence(AlterSeqStmt *stmt)
{
	Oid relid = resolve(stmt->sequence);

	if (es_ddl_is_kept(relid))
		refuse("ALTER SEQUENCE on", full_name(relid));
}

static void
check_create_trigger(CreateTrigStmt *stmt)
{
	Oid relid = resolve(stmt->relation);

	/* a restore that is not at its end creates them */
	if (stmt->replace && is_guard_name(stmt->trigname) && es_ddl_is_kept(relid))
		refuse("CREATE OR REPLACE TRIGGER on", full_name(relid));
}

static void
check_alter_policy(AlterPolicyStmt *stmt)
{
	Oid relid = resolve(stmt->table);

	if (es_policy_is_ours(stmt->policy_name) && es_ddl_is_kept(relid))
		refuse("ALTER POLICY on", full_name(relid));
}

/* Members of an extension are not dumped, and go with it; without the function no guard counts. */
static void
check_membership(AlterExtensionContentsStmt *stmt)
{
	Relation      rel = NULL;
	ObjectAddress object =
		get_object_address(stmt->objtype, stmt->object, &rel, AccessShareLock, true);
	bool is_ours;

	if (rel != NULL)
		relation_close(rel, AccessShareLock);
	if (stmt->action < 0)
		is_ours = object.classId == ProcedureRelationId &&
				  is_kept_function(get_func_name(object.objectId)) &&
				  es_guard_is_own_function(object.objectId);
	else
		is_ours = (object.classId == NamespaceRelationId &&
				   is_kept_schema(get_namespace_name(object.objectId))) ||
				  (object.classId == RelationRelationId && is_object(object.objectId));
	if (is_ours)
		refuse("ALTER EXTENSION with", getObjectDescription(&object, false));
}

/* May the statement be one that is refused for what its parse tree says? */
static bool
may_concern(const Node *stmt)
{
	switch (nodeTag(stmt))
	{
		case T_AlterTableStmt:
		case T_RenameStmt:
		case T_AlterObjectSchemaStmt:
		case T_AlterObjectDependsStmt:
		case T_AlterSeqStmt:
		case T_CreateTrigStmt:
		case T_AlterFunctionStmt:
		case T_AlterPolicyStmt:
		case T_AlterExtensionContentsStmt:
			return true;
		default:
			return false;
	}
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
			check_set_schema((AlterObjectSchemaStmt *) stmt);
			break;
		case T_AlterObjectDependsStmt:
			check_depends((AlterObjectDependsStmt *) stmt);
			break;
		case T_AlterSeqStmt:
			check_sequence((AlterSeqStmt *) stmt);
			break;
		case T_CreateTrigStmt:
			check_create_trigger((CreateTrigStmt *) stmt);
			break;
		case T_AlterFunctionStmt:
			check_function((Node *) ((AlterFunctionStmt *) stmt)->func);
			break;
		case T_AlterPolicyStmt:
			check_alter_policy((AlterPolicyStmt *) stmt);
			break;
		default:
			check_membership((AlterExtensionContentsStmt *) stmt);
			break;
	}
}

/*
 * Refuses a statement that would alter what is kept.  The one that is to be run
 * instead is a copy, where names in it may have been replaced.
 */
PlannedStmt *
es_ddl_check(PlannedStmt *planned)
{
	if (is_own || !may_concern(planned->utilityStmt))
		return planned;
	planned = copyObject(planned);
	check_statement(planned->utilityStmt);
	return planned;
}

static bool
is_drop_of_extension(Node *stmt)
{
	ListCell *cell;

	if (!IsA(stmt, DropStmt) || ((DropStmt *) stmt)->removeType != OBJECT_EXTENSION)
		return false;
	foreach (cell, ((DropStmt *) stmt)->objects)
	{
		if (strcmp(strVal(lfirst(cell)), EXTENSION) == 0)
			return true;
	}
	return false;
}

/* Opens a statement's scope; a part of a statement shares that of the whole. */
EsDdlScope
es_ddl_begin(Node *stmt, ProcessUtilityContext context)
{
	EsDdlScope before = {es_owner_ddl, is_own, dropping};

	if (context != PROCESS_UTILITY_SUBCOMMAND)
	{
		is_own = es_owner_ddl > 0;
		dropping = is_drop_of_extension(stmt);
		es_owner_ddl = 0;
	}
	return before;
}

/* Closes it, also where the statement has failed. */
void
es_ddl_end(EsDdlScope before)
{
	es_owner_ddl = before.own;
	is_own = before.is_own;
	dropping = before.dropping;
}

/* A copy of a catalog's row by its OID, as it is now; or NULL. */
static HeapTuple
fetch(Oid catalog, Oid index, AttrNumber column, Oid oid)
{
	Relation    rel = table_open(catalog, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple   tuple;

	ScanKeyInit(&key, column, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(oid));
	scan = systable_beginscan(rel, index, true, SnapshotSelf, 1, &key);
	tuple = systable_getnext(scan);
	tuple = HeapTupleIsValid(tuple) ? heap_copytuple(tuple) : NULL;
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return tuple;
}

/* DROP EXTENSION may take the view es.log, and nothing else. */
static void
check_drop_relation(Oid relid, int column)
{
	EsObject object;

	if (find_object(&object, relid) && !(dropping && object.table->of_extension))
		refuse(column == 0 ? "DROP of" : "DROP of a column of", full_name(relid));
}

static void
check_drop_trigger(Oid oid)
{
	HeapTuple       tuple = fetch(TriggerRelationId, TriggerOidIndexId, Anum_pg_trigger_oid, oid);
	Form_pg_trigger trigger;

	if (tuple == NULL)
		return;
	trigger = (Form_pg_trigger) GETSTRUCT(tuple);
	if (is_guard_name(NameStr(trigger->tgname)) && es_ddl_is_kept(trigger->tgrelid))
		refuse("DROP of trigger",
			   psprintf("%s on %s", NameStr(trigger->tgname), full_name(trigger->tgrelid)));
}

static void
check_drop_policy(Oid oid)
{
	HeapTuple      tuple = fetch(PolicyRelationId, PolicyOidIndexId, Anum_pg_policy_oid, oid);
	Form_pg_policy policy;

	if (tuple == NULL)
		return;
	policy = (Form_pg_policy) GETSTRUCT(tuple);
	if (es_policy_is_ours(NameStr(policy->polname)) && es_ddl_is_kept(policy->polrelid))
		refuse("DROP of policy",
			   psprintf("%s on %s", NameStr(policy->polname), full_name(policy->polrelid)));
}

/* Is it the NOT NULL of a column that the store never lets be null? */
static bool
is_own_not_null(HeapTuple tuple)
{
	Form_pg_constraint constraint = (Form_pg_constraint) GETSTRUCT(tuple);
	Datum              columns;
	bool               isnull;
	int16              first;

	if (constraint->contype != CONTYPE_NOT_NULL)
		return false;
	columns = SysCacheGetAttr(CONSTROID, tuple, Anum_pg_constraint_conkey, &isnull);
	first = isnull ? 0 : *(int16 *) ARR_DATA_PTR(DatumGetArrayTypeP(columns));
	return !may_be_null(constraint->conrelid, get_attname(constraint->conrelid, first, true));
}

static void
check_drop_constraint(Oid oid)
{
	HeapTuple          tuple = SearchSysCache1(CONSTROID, ObjectIdGetDatum(oid));
	Form_pg_constraint constraint;

	if (!HeapTupleIsValid(tuple))
		return;
	constraint = (Form_pg_constraint) GETSTRUCT(tuple);
	if (es_ddl_is_kept(constraint->conrelid) &&
		(is_own_constraint(constraint->conrelid, NameStr(constraint->conname)) ||
		 is_own_not_null(tuple)))
		refuse("DROP of constraint",
			   psprintf("%s on %s", NameStr(constraint->conname), full_name(constraint->conrelid)));
	ReleaseSysCache(tuple);
}

static void
check_drop(Oid class, Oid oid, int column)
{
	switch (class)
	{
		case NamespaceRelationId:
			if (is_kept_schema(get_namespace_name(oid)))
				refuse("DROP of schema", get_namespace_name(oid));
			break;
		case RelationRelationId:
			check_drop_relation(oid, column);
			break;
		case TriggerRelationId:
			if (!dropping)
				check_drop_trigger(oid);
			break;
		case PolicyRelationId:
			if (!dropping)
				check_drop_policy(oid);
			break;
		case ConstraintRelationId:
			check_drop_constraint(oid);
			break;
	}
}

/* A rule would rewrite what is asked of a table; a view is a rule. */
static void
check_rule(Oid oid)
{
	HeapTuple tuple = fetch(RewriteRelationId, RewriteOidIndexId, Anum_pg_rewrite_oid, oid);
	Oid       relid = tuple == NULL ? InvalidOid : ((Form_pg_rewrite) GETSTRUCT(tuple))->ev_class;

	if (es_ddl_is_kept(relid))
		refuse("a rule, or another query, for", full_name(relid));
}

static bool
is_child(Oid child, Oid parent)
{
	Relation    rel = table_open(InheritsRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple   tuple;
	bool        found = false;

	ScanKeyInit(&key, Anum_pg_inherits_inhrelid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(child));
	scan = systable_beginscan(rel, InheritsRelidSeqnoIndexId, true, SnapshotSelf, 1, &key);
	while (!found && HeapTupleIsValid(tuple = systable_getnext(scan)))
		found = ((Form_pg_inherits) GETSTRUCT(tuple))->inhparent == parent;
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return found;
}

/* The rows of a child would look like the parent's.  To part them is free. */
static void
check_inheritance(Oid child, Oid parent)
{
	if ((es_ddl_is_kept(child) || es_ddl_is_kept(parent)) && is_child(child, parent))
		refuse("INHERIT or ATTACH PARTITION of",
			   full_name(es_ddl_is_kept(parent) ? parent : child));
}

static void
see_access(ObjectAccessType type, Oid class, Oid oid, int column, void *arg)
{
	if (previous_access != NULL)
		previous_access(type, class, oid, column, arg);
	if (is_own || IsBinaryUpgrade)
		return;
	if (type == OAT_DROP)
		check_drop(class, oid, column);
	else if (type == OAT_POST_CREATE && class == RewriteRelationId)
		check_rule(oid);
	else if (type == OAT_POST_CREATE && class == ProcedureRelationId)
	{
		/* an update of the extension replaces it, too */
		if (!creating_extension && is_kept_function(get_func_name(oid)) &&
			es_guard_is_own_function(oid))
			refuse("CREATE OR REPLACE FUNCTION", psprintf("%s()", get_func_name(oid)));
	}
	else if (type == OAT_POST_ALTER && class == InheritsRelationId)
		check_inheritance(oid, ((ObjectAccessPostAlter *) arg)->auxiliary_id);
}

/* Called once, from _PG_init, where the library is preloaded. */
void
es_ddl_init(void)
{
	previous_access = object_access_hook;
	object_access_hook = see_access;
}
