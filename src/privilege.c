/*
 * privilege.c
 *		What direct access to a table of the store skips: privileges, and policies that
 *		the functions do not apply.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
#include "utils/rls.h"

#include "compat.h"
#include "policy.h"
#include "privilege.h"
#include "store.h"

/*
 * Policies of the users' own are applied to es.events (policy.c), and to nothing
 * else.  Raises also where the role has set row_security = off, as SELECT does.
 */
static void
check_row_security(const EsTable *table)
{
	Oid relid = table->found->relid;

	if (check_enable_rls(relid, InvalidOid, false) == RLS_ENABLED && !table->users_policies &&
		es_policy_is_foreign(relid))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("the event store's functions do not apply the policies of this table"),
				 errdetail("Table \"%s.%s\" has policies for row-level security that are not the "
						   "event store's.",
						   table->schema, table->name),
				 errhint("Policies of your own belong on es.events.")));
}

static void
check_privilege(const EsTable *table, AclMode mode)
{
	AclResult result;

	(void) es_store();
	result = pg_class_aclcheck(table->found->relid, GetUserId(), mode);
	if (result != ACLCHECK_OK)
		aclcheck_error(result, OBJECT_TABLE, psprintf("%s.%s", table->schema, table->name));
	check_row_security(table);
}

/* May the current role read this table of the store? */
void
es_privilege_check_read(const EsTable *table)
{
	check_privilege(table, ACL_SELECT);
}

/* May the current role write this table of the store, here and now? */
void
es_privilege_check_write(const EsTable *table, const char *function)
{
	(void) es_store();
	PreventCommandIfReadOnly(function);
	PreventCommandIfParallelMode(function);
	PreventCommandDuringRecovery(function);
	check_privilege(table, ACL_INSERT);
}
