/*
 * verify_tables.c
 *		es_verify: are the store's tables, indexes, constraints, guards and
 *		policies what the store's definition says?
 *
 * It asks what every call asks before it works (store.c), and tells of all that is not
 * in order, where a call raises SE006 at the first; then what calls do not ask for.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "miscadmin.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "errors.h"
#include "events.h"
#include "guard.h"
#include "policy.h"
#include "store.h"
#include "table.h"
#include "verify.h"

/* Where a table is; InvalidOid where it is not, or is not looked up. */
static Oid
relid_of(const EsTable *table)
{
	return table->found == NULL ? InvalidOid : table->found->relid;
}

/* A step of the look-up of the store, for one table. */
typedef struct Step
{
	void (*run)(const EsTable *table);
	const EsTable *table;
} Step;

static void
run_step(EsVerify *verify, void *arg)
{
	const Step *step = arg;

	step->run(step->table);
}

/* Is this step in order?  Tells where it is not. */
static bool
check_step(EsVerify *verify, EsTally *tally, const EsTable *table,
		   void (*run)(const EsTable *table))
{
	Step  step = {run, table};
	char *said = es_verify_try(verify, ERRCODE_ES_NO_STORE, run_step, &step);

	if (said != NULL)
		es_tally_found(tally, ES_VERIFY_ERROR, psprintf("%s.%s", table->schema, table->name), "%s",
					   said);
	return said == NULL;
}

/* What the store is looked up by; false where it is of another version. */
static bool
check_steps(EsVerify *verify, EsTally *tally)
{
	es_store_clear();
	if (!check_step(verify, tally, &es_store_table, es_store_find_version))
		return false;
	for (int i = 0; i < es_ntables; i++)
	{
		if (es_tables[i]->found != NULL)
			(void) check_step(verify, tally, es_tables[i], es_store_find_table);
	}
	for (int i = 0; i < es_ntables; i++)
	{
		if (!OidIsValid(relid_of(es_tables[i])))
			continue;
		(void) check_step(verify, tally, es_tables[i], es_store_check_guards);
		(void) check_step(verify, tally, es_tables[i], es_store_find_indexes);
	}
	return true;
}

/* The guards that calls do not ask for. */
static void
check_guards(EsVerify *verify, EsTally *tally)
{
	for (int i = 0; i < es_ntables; i++)
	{
		const EsTable *table = es_tables[i];
		Oid            relid = relid_of(table);
		Relation       rel;
		char          *missing;

		if (table->guard == 0 || (table->guard & ES_GUARD_NEEDED) != 0 || !OidIsValid(relid))
			continue;
		rel = table_open(relid, AccessShareLock);
		if (!es_guard_stand(rel, &missing))
			es_tally_found(tally, ES_VERIFY_ERROR, psprintf("es.%s", table->name),
						   "Trigger \"%s\" on table \"es.%s\" does not stand, or does not fire "
						   "always.",
						   missing, table->name);
		table_close(rel, AccessShareLock);
	}
}

/* The policies, which keep tenants apart where a role reads the tables themselves. */
static void
check_policies(EsTally *tally, const EsTable *table)
{
	Oid         relid = relid_of(table);
	int         nth = 0;
	const char *name;

	if (table->tenant == NULL || !OidIsValid(relid))
		return;
	while ((name = es_policy_fault(relid, &nth)) != NULL)
		es_tally_found(tally, ES_VERIFY_ERROR, psprintf("es.%s", table->name),
					   "The policy \"%s\" does not exist, or is not as the event store made it.",
					   name);
}

static bool
is_valid_index(Oid relid)
{
	HeapTuple tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(relid));
	bool      valid = false;

	if (HeapTupleIsValid(tuple))
	{
		valid = ((Form_pg_index) GETSTRUCT(tuple))->indisvalid;
		ReleaseSysCache(tuple);
	}
	return valid;
}

/* The relation of that name, or InvalidOid where it is not there. */
static Oid
object_relid(const EsObject *object)
{
	Oid schema = get_namespace_oid(object->schema, true);

	return OidIsValid(schema) ? get_relname_relid(object->name, schema) : InvalidOid;
}

/* Is it an index, or the view, that the store is not looked up by? */
static bool
is_extra(const EsObject *object)
{
	return object->index != NULL ? !object->index->needed : object->table->of_extension;
}

/* What there is besides, by its name. */
static void
check_objects(EsTally *tally)
{
	for (EsObject object = {0}; es_table_next(&object);)
	{
		Oid   relid = object_relid(&object);
		char *where = psprintf("%s.%s", object.schema, object.name);

		if (!is_extra(&object))
			continue;
		if (!OidIsValid(relid) || get_rel_relkind(relid) != object.relkind)
			es_tally_found(tally, ES_VERIFY_ERROR, where,
						   "It does not exist, or is not of the kind that the event store made.");
		else if (object.index != NULL && !is_valid_index(relid))
			es_tally_found(tally, ES_VERIFY_ERROR, where, "The index is not valid.");
	}
}

/* One owner for all. */
static void
check_owners(EsTally *tally)
{
	Oid events = es_events.found->relid;
	Oid wanted = OidIsValid(events) ? es_store_owner_of(events) : es_store_owner();

	for (EsObject object = {0}; es_table_next(&object);)
	{
		Oid relid = object_relid(&object);
		Oid owner = OidIsValid(relid) ? es_store_owner_of(relid) : InvalidOid;

		if (OidIsValid(owner) && owner != wanted)
			es_tally_found(tally, ES_VERIFY_ERROR, psprintf("%s.%s", object.schema, object.name),
						   "It belongs to role \"%s\", es.events to role \"%s\".",
						   GetUserNameFromId(owner, true), GetUserNameFromId(wanted, true));
	}
}

static bool
has_constraint(Oid relid, const char *name)
{
	Relation     rel = table_open(relid, AccessShareLock);
	TupleConstr *constr = RelationGetDescr(rel)->constr;
	bool         found = false;

	for (int i = 0; constr != NULL && i < constr->num_check; i++)
		found |= strcmp(constr->check[i].ccname, name) == 0 && constr->check[i].ccvalid;
	table_close(rel, AccessShareLock);
	return found;
}

static void
check_constraints(EsVerify *verify, EsTally *tally, const EsTable *table)
{
	Oid relid = relid_of(table);

	for (int i = 0; OidIsValid(relid) && i < table->nchecks; i++)
	{
		if (!has_constraint(relid, table->checks[i].name))
			es_tally_found(tally, ES_VERIFY_ERROR, psprintf("es.%s", table->name),
						   "The constraint \"%s\" does not exist, or is not valid.",
						   table->checks[i].name);
	}
}

/* Finds the parts of the store, and tells what is missing or wrong. */
void
es_verify_tables(EsVerify *verify)
{
	EsTally tally;

	es_tally_begin(&tally, verify, "tables");
	verify->known = check_steps(verify, &tally);
	if (!verify->known)
		return;
	check_guards(verify, &tally);
	check_objects(&tally);
	check_owners(&tally);
	for (int i = 0; i < es_ntables; i++)
		check_constraints(verify, &tally, es_tables[i]);
	for (int i = 0; i < es_ntables; i++)
		check_policies(&tally, es_tables[i]);
	es_tally_end(
		&tally, "es",
		"Version %d: tables, indexes, constraints, guards and policies are as the store made them.",
		ES_STORE_VERSION);
}
