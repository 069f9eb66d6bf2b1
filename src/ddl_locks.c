/*
 * ddl_locks.c
 *		Refuses statements that would wait for a lock which their role may not have.
 *
 * CREATE RULE, CREATE TRIGGER, a foreign key, ATTACH and DETACH PARTITION, CREATE TABLE ...
 * PARTITION OF, and ALTER INDEX ... DEPENDS ON EXTENSION first lock the relation that they
 * name, in a mode that stops appends and, but for a trigger and a foreign key, all reads as
 * well.  Only then does PostgreSQL ask whether the role may do it.  While such a statement
 * waits for a transaction that has read or appended, every other session waits behind it.
 * Two sessions of a role that can name the table, and can do nothing else to it, so stop
 * appends and publishing for as long as they like.
 *
 * So the question is asked before the lock too: about the store's relations, and about the
 * system catalogs, which all statements read and any role can name.  A role that may run
 * the statement notices nothing, and one that may not gets the error that it would get.
 *
 * Keeps P4, where the library is preloaded.
 */
#include "postgres.h"

#include "catalog/catalog.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "catalog/objectaddress.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"

#include "compat.h"
#include "ddl.h"
#include "ddl_locks.h"

/*
 * The relation that a name means; from now on the name means no other, for PostgreSQL looks
 * it up again after it has waited.
 */
static Oid
resolve(RangeVar *name)
{
	Oid relid = RangeVarGetRelid(name, NoLock, true);

	if (OidIsValid(relid) && name->schemaname == NULL)
		name->schemaname = get_namespace_name(get_rel_namespace(relid));
	return relid;
}

/* May the current role do to the relation what an owner, or a holder of the privilege, may? */
static bool
may(Oid relid, AclMode privilege)
{
	Oid role = GetUserId();

	return es_compat_owns_relation(relid, role) ||
		   (privilege != ACL_NO_RIGHTS &&
			(pg_class_aclcheck(relid, role, privilege) == ACLCHECK_OK ||
			 pg_attribute_aclcheck_all(relid, role, privilege, ACLMASK_ANY) == ACLCHECK_OK));
}

/* Is it a relation of the store's, or a catalog, or an index of one? */
static bool
is_ours(Oid relid)
{
	if (get_rel_relkind(relid) == RELKIND_INDEX)
		relid = IndexGetRelation(relid, true);
	return OidIsValid(relid) && (es_ddl_is_kept(relid) || IsCatalogRelationOid(relid));
}

/* Raises 42501 where the role may not; the privilege is one that will do, or ACL_NO_RIGHTS. */
static void
check_name(RangeVar *name, AclMode privilege)
{
	Oid relid = resolve(name);

	if (!OidIsValid(relid) || !is_ours(relid) || may(relid, privilege))
		return;
	aclcheck_error(privilege == ACL_NO_RIGHTS ? ACLCHECK_NOT_OWNER : ACLCHECK_NO_PRIV,
				   get_relkind_objtype(get_rel_relkind(relid)), get_rel_name(relid));
}

static void
check_constraint(Constraint *constraint)
{
	if (constraint->contype == CONSTR_FOREIGN)
		check_name(constraint->pktable, ACL_REFERENCES);
}

static void
check_column(ColumnDef *column)
{
	ListCell *cell;

	foreach (cell, column->constraints)
		check_constraint(lfirst_node(Constraint, cell));
}

static void
check_command(AlterTableCmd *cmd)
{
	switch (cmd->subtype)
	{
		case AT_AddColumn:
			check_column(castNode(ColumnDef, cmd->def));
			break;
		case AT_AddConstraint:
			check_constraint(castNode(Constraint, cmd->def));
			break;
		case AT_AttachPartition:
		case AT_DetachPartition:
		case AT_DetachPartitionFinalize:
			check_name(castNode(PartitionCmd, cmd->def)->name, ACL_NO_RIGHTS);
			break;
		default:
			break;
	}
}

static bool
may_concern(const Node *stmt)
{
	return IsA(stmt, RuleStmt) || IsA(stmt, CreateTrigStmt) || IsA(stmt, AlterTableStmt) ||
		   IsA(stmt, CreateStmt) || IsA(stmt, CreateForeignTableStmt) ||
		   IsA(stmt, AlterObjectDependsStmt);
}

/* A new table may be a partition of others. */
static void
check_create(const CreateStmt *stmt)
{
	ListCell *cell;

	if (stmt->partbound == NULL)
		return;
	foreach (cell, stmt->inhRelations)
		check_name(lfirst_node(RangeVar, cell), ACL_NO_RIGHTS);
}

static void
check_statement(Node *stmt)
{
	ListCell *cell;

	if (IsA(stmt, RuleStmt))
		check_name(((RuleStmt *) stmt)->relation, ACL_NO_RIGHTS);
	else if (IsA(stmt, CreateTrigStmt))
		check_name(((CreateTrigStmt *) stmt)->relation, ACL_TRIGGER);
	else if (IsA(stmt, CreateStmt) || IsA(stmt, CreateForeignTableStmt))
		check_create((CreateStmt *) stmt); /* with which the other one begins */
	else if (IsA(stmt, AlterObjectDependsStmt))
	{
		if (((AlterObjectDependsStmt *) stmt)->relation != NULL)
			check_name(((AlterObjectDependsStmt *) stmt)->relation, ACL_NO_RIGHTS);
	}
	else
		foreach (cell, ((AlterTableStmt *) stmt)->cmds)
			check_command(lfirst_node(AlterTableCmd, cell));
}

/*
 * Checks a statement, which CREATE TABLE with a foreign key becomes as well.  The one that
 * is to be run instead is a copy, where names in it may have been replaced.
 */
PlannedStmt *
es_ddl_locks_check(PlannedStmt *planned)
{
	if (!may_concern(planned->utilityStmt))
		return planned;
	planned = copyObject(planned);
	check_statement(planned->utilityStmt);
	return planned;
}
