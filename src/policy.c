/*
 * policy.c
 *		Row-level security on the store's tables: the store's own policies, and those
 *		that users put on es.events.
 *
 * Each table that has a tenant's data has two policies of ours, from es_init() on:
 *
 *	 es_tenant		restrictive: the row's tenant is one that the role may use
 *	 es_everyone	permissive: every row, as long as nobody else has put a permissive
 *					policy on the table; those then count as if ours were not there
 *
 * They sleep until es_grant_tenant() turns row-level security on for the first time: a
 * store without tenants pays nothing for them, and pg_dump by a reader goes on working.
 *
 * The functions read and write es.events without the executor.  Of our own policies they keep
 * the sense themselves (tenant.c); of others that apply to the caller, visible.c asks the executor.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_policy.h"
#include "commands/policy.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "rewrite/rowsecurity.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/rls.h"

#include "guard.h"
#include "owner.h"
#include "policy.h"
#include "store.h"
#include "table.h"
#include "table_lock.h"

PG_FUNCTION_INFO_V1(es_policy_open);

/*
 * The two policies of a table; %1$s: the schema of the functions, %2$s: the table, %3$s: whose
 * a row is.
 */
static const char *const statements[] = {
	"CREATE POLICY es_tenant ON es.%2$s AS RESTRICTIVE "
	"USING (%1$s.pg_eventstore_sees(%3$s, tableoid, 'SELECT')) "
	"WITH CHECK (%1$s.pg_eventstore_sees(%3$s, tableoid, 'INSERT'));"
	"COMMENT ON POLICY es_tenant ON es.%2$s IS "
	"'Roles that are bound to tenants see and write no others.'",
	"CREATE POLICY es_everyone ON es.%2$s AS PERMISSIVE "
	"USING (%1$s.pg_eventstore_open(tableoid));"
	"COMMENT ON POLICY es_everyone ON es.%2$s IS "
	"'Allows every row, unless there are permissive policies of others.'",
};

/* What the two are called, in the order of their statements. */
static const char *const names[] = {ES_POLICY_TENANT, ES_POLICY_EVERYONE};

/* The functions that they ask, for USING and for WITH CHECK, in the same order. */
static const char *const functions[][2] = {{"pg_eventstore_sees", "pg_eventstore_sees"},
										   {"pg_eventstore_open", NULL}};

/* Locks all protected tables as their DDL will, before the first of them is changed. */
static void
lock_tables(void)
{
	Oid *relids = palloc(es_ntables * sizeof(Oid));
	int  n = 0;

	for (int i = 0; i < es_ntables; i++)
	{
		if (es_tables[i]->tenant != NULL)
			relids[n++] = es_table_relid(es_tables[i]);
	}
	es_table_lock(relids, n, AccessExclusiveLock);
}

/* Makes the policies that are missing, with the functions in that schema; true if any was. */
bool
es_policy_make(const char *schema)
{
	const char *quoted = quote_identifier(schema);
	bool        made = false;

	for (int i = 0; i < es_ntables; i++)
	{
		const EsTable *table = es_tables[i];

		for (int k = 0; table->tenant != NULL && k < (int) lengthof(names); k++)
		{
			if (OidIsValid(get_relation_policy_oid(es_table_relid(table), names[k], true)))
				continue;
			if (!made)
				lock_tables();
			es_owner_run_ddl(psprintf(statements[k], quoted, table->name, table->tenant));
			made = true;
		}
	}
	return made;
}

static bool
is_enabled(Oid relid)
{
	Relation rel = table_open(relid, AccessShareLock);
	bool     enabled = rel->rd_rel->relrowsecurity;

	table_close(rel, AccessShareLock);
	return enabled;
}

/* Turns row-level security on where it is off; true if it was anywhere. */
bool
es_policy_enable(void)
{
	bool changed = false;

	if (es_policy_is_enabled())
		return false;
	lock_tables();
	for (int i = 0; i < es_ntables; i++)
	{
		if (es_tables[i]->tenant == NULL || is_enabled(es_table_relid(es_tables[i])))
			continue;
		es_owner_run_ddl(
			psprintf("ALTER TABLE es.%s ENABLE ROW LEVEL SECURITY", es_tables[i]->name));
		changed = true;
	}
	return changed;
}

/* Is it on everywhere? */
bool
es_policy_is_enabled(void)
{
	for (int i = 0; i < es_ntables; i++)
	{
		if (es_tables[i]->tenant != NULL && !is_enabled(es_table_relid(es_tables[i])))
			return false;
	}
	return true;
}

bool
es_policy_is_ours(const char *name)
{
	return strcmp(name, ES_POLICY_TENANT) == 0 || strcmp(name, ES_POLICY_EVERYONE) == 0;
}

/* Has the table policies of others, or not all of ours?  Row-level security is on. */
bool
es_policy_is_foreign(Oid relid)
{
	Relation  rel = table_open(relid, AccessShareLock);
	List     *policies = rel->rd_rsdesc == NULL ? NIL : rel->rd_rsdesc->policies;
	int       ours = 0;
	bool      foreign;
	ListCell *cell;

	foreach (cell, policies)
		ours += es_policy_is_ours(((RowSecurityPolicy *) lfirst(cell))->policy_name);
	foreign = ours != lengthof(names) || list_length(policies) != lengthof(names);
	table_close(rel, AccessShareLock);
	return foreign;
}

/* A row of pg_policy. */
typedef struct Policy
{
	Datum values[Natts_pg_policy];
	bool  nulls[Natts_pg_policy];
} Policy;

/* Is this expression of a policy a call of that function; or, if NULL, is there none? */
static bool
is_call(const Policy *policy, AttrNumber column, const char *function)
{
	Node *node = policy->nulls[column - 1]
					 ? NULL
					 : stringToNode(TextDatumGetCString(policy->values[column - 1]));
	char *name;

	if (node == NULL || function == NULL)
		return node == NULL && function == NULL;
	if (!IsA(node, FuncExpr))
		return false;
	name = get_func_name(castNode(FuncExpr, node)->funcid);
	return name != NULL && strcmp(name, function) == 0 &&
		   es_guard_is_own_function(castNode(FuncExpr, node)->funcid);
}

/* Is it for all roles? */
static bool
is_for_public(const Policy *policy)
{
	ArrayType *roles = DatumGetArrayTypeP(policy->values[Anum_pg_policy_polroles - 1]);

	return ArrayGetNItems(ARR_NDIM(roles), ARR_DIMS(roles)) == 1 &&
		   *(Oid *) ARR_DATA_PTR(roles) == ACL_ID_PUBLIC;
}

/* Is it what the nth statement makes? */
static bool
is_as_made(HeapTuple tuple, TupleDesc desc, int nth)
{
	Form_pg_policy form = (Form_pg_policy) GETSTRUCT(tuple);
	Policy         policy;

	heap_deform_tuple(tuple, desc, policy.values, policy.nulls);
	return form->polpermissive == (strcmp(names[nth], ES_POLICY_EVERYONE) == 0) &&
		   form->polcmd == '*' && is_for_public(&policy) &&
		   is_call(&policy, Anum_pg_policy_polqual, functions[nth][0]) &&
		   is_call(&policy, Anum_pg_policy_polwithcheck, functions[nth][1]);
}

/*
 * Does the nth of our policies stand on the table, as it was made?  The catalog is asked,
 * for the table's entry in the cache has policies only while row-level security is on.
 */
static bool
stands(Oid relid, int nth)
{
	Relation    policies = table_open(PolicyRelationId, AccessShareLock);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple   tuple;
	bool        result;

	ScanKeyInit(&keys[0], Anum_pg_policy_polrelid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(relid));
	ScanKeyInit(&keys[1], Anum_pg_policy_polname, BTEqualStrategyNumber, F_NAMEEQ,
				CStringGetDatum(names[nth]));
	scan = systable_beginscan(policies, PolicyPolrelidPolnameIndexId, true, NULL, 2, keys);
	tuple = systable_getnext(scan);
	result = HeapTupleIsValid(tuple) && is_as_made(tuple, RelationGetDescr(policies), nth);
	systable_endscan(scan);
	table_close(policies, AccessShareLock);
	return result;
}

/* The first of our policies, from this one on, that does not stand; NULL where all do. */
const char *
es_policy_fault(Oid relid, int *nth)
{
	while (*nth < (int) lengthof(names))
	{
		int k = (*nth)++;

		if (!stands(relid, k))
			return names[k];
	}
	return NULL;
}

static bool
has_foreign_permissive(Oid relid)
{
	Relation  rel = table_open(relid, AccessShareLock);
	bool      found = false;
	ListCell *cell;

	foreach (cell, rel->rd_rsdesc == NULL ? NIL : rel->rd_rsdesc->policies)
	{
		RowSecurityPolicy *policy = lfirst(cell);

		found |= policy->permissive && !es_policy_is_ours(policy->policy_name);
	}
	table_close(rel, AccessShareLock);
	return found;
}

/* What an expression has found out about a table. */
typedef struct Opened
{
	Oid    relid;
	uint64 generation;
	bool   open;
} Opened;

/* pg_eventstore_open(relation): are there no permissive policies on it but ours? */
Datum
es_policy_open(PG_FUNCTION_ARGS)
{
	Opened *opened = fcinfo->flinfo->fn_extra;
	Oid     relid;

	if (PG_ARGISNULL(0))
		PG_RETURN_BOOL(false);
	relid = PG_GETARG_OID(0);
	if (opened == NULL)
		opened = fcinfo->flinfo->fn_extra =
			MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(Opened));
	if (opened->relid != relid || opened->generation != es_store_generation())
	{
		opened->generation = es_store_generation();
		opened->open = !has_foreign_permissive(relid);
		opened->relid = relid;
	}
	PG_RETURN_BOOL(opened->open);
}

/* Are there policies of others that apply to the current role? */
bool
es_policy_applies(Relation events)
{
	Oid relid = RelationGetRelid(events);

	return events->rd_rel->relrowsecurity &&
		   check_enable_rls(relid, InvalidOid, false) == RLS_ENABLED && es_policy_is_foreign(relid);
}
