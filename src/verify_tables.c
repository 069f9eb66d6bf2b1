/*
 * verify_tables.c
 *		es_verify: are the store's tables, indexes, constraints and guards what the
 *		store's definition says?
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
#include "guard.h"
#include "layout.h"
#include "schema.h"
#include "verify.h"

/* CHECK constraints of the store's tables. */
static const struct
{
	size_t      table; /* its OID in EsStore */
	const char *name;
} constraints[] = {
	{offsetof(EsStore, events), "es_numbers"},    {offsetof(EsStore, events), "es_content"},
	{offsetof(EsStore, events), "es_names"},      {offsetof(EsStore, snapshots), "es_version"},
	{offsetof(EsStore, snapshots), "es_content"},
};

static Oid
part_oid(const EsVerify *verify, size_t offset)
{
	return *(const Oid *) ((const char *) &verify->store + offset);
}

static void
find_part(EsVerify *verify, void *part)
{
	((const EsStorePart *) part)->find(&verify->store);
}

/* Is this part in order?  Tells where it is not. */
static bool
check_part(EsVerify *verify, EsTally *tally, const EsStorePart *part)
{
	char *said = es_verify_try(verify, ERRCODE_ES_NO_STORE, find_part, (void *) part);

	if (said != NULL)
		es_tally_found(tally, ES_VERIFY_ERROR, part->where, "%s", said);
	return said == NULL;
}

/* What the store is looked up by; false where it is of another version. */
static bool
check_parts(EsVerify *verify, EsTally *tally)
{
	/* the first is about the version */
	if (!check_part(verify, tally, &es_store_parts[0]))
		return false;
	for (int i = 1; i < es_store_nparts; i++)
	{
		if (OidIsValid(part_oid(verify, es_store_parts[i].needs)))
			(void) check_part(verify, tally, &es_store_parts[i]);
	}
	return true;
}

/* The table of that name, or InvalidOid where it is not there. */
static Oid
find_table(const char *schema, const char *name)
{
	Oid nspid = get_namespace_oid(schema, true);

	return OidIsValid(nspid) ? get_relname_relid(name, nspid) : InvalidOid;
}

/* The guards that calls do not ask for. */
static void
check_guards(EsVerify *verify, EsTally *tally)
{
	for (int i = 0; i < es_guard_ntables; i++)
	{
		const char *name = es_guard_tables[i].table;
		Oid         relid = find_table(ES_SCHEMA, name);
		Relation    rel;
		char       *missing;

		if (!OidIsValid(relid) || get_rel_relkind(relid) != RELKIND_RELATION ||
			relid == verify->store.events || relid == verify->store.bindings)
			continue;
		rel = table_open(relid, AccessShareLock);
		if (!es_store_has_guards(rel, &missing))
			es_tally_found(tally, ES_VERIFY_ERROR, psprintf("es.%s", name),
						   "Trigger \"%s\" on table \"es.%s\" does not stand, or does not fire "
						   "always.",
						   missing, name);
		table_close(rel, AccessShareLock);
	}
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

/* Is it an index, or the view, that no part of the store is looked up by? */
static bool
is_extra(const EsVerify *verify, const EsObject *object)
{
	return object->relkind == RELKIND_INDEX && verify->events != NULL &&
		   es_layout_index_state(verify->events, object->name) == ES_INDEX_FREE &&
		   strcmp(object->name, es_layout_snapshots_index.name) != 0 &&
		   strcmp(object->name, es_layout_ticks_index.name) != 0;
}

static void
check_object(EsVerify *verify, EsTally *tally, const EsObject *object)
{
	Oid   relid = find_table(object->schema, object->name);
	char *where = psprintf("%s.%s", object->schema, object->name);

	if (!OidIsValid(relid) || get_rel_relkind(relid) != object->relkind)
		es_tally_found(tally, ES_VERIFY_ERROR, where,
					   "It does not exist, or is not of the kind that the event store made.");
	else if (object->relkind == RELKIND_INDEX && !is_valid_index(relid))
		es_tally_found(tally, ES_VERIFY_ERROR, where, "The index is not valid.");
}

/* What there is besides, by its name. */
static void
check_objects(EsVerify *verify, EsTally *tally)
{
	static const EsObject log = {ES_SCHEMA, "log", RELKIND_VIEW, NULL};

	if (OidIsValid(verify->store.events))
		verify->events = table_open(verify->store.events, AccessShareLock);
	for (int i = 0; i < es_schema_nobjects; i++)
	{
		if (is_extra(verify, &es_schema_objects[i]))
			check_object(verify, tally, &es_schema_objects[i]);
	}
	check_object(verify, tally, &log);
	if (verify->events != NULL)
		table_close(verify->events, AccessShareLock);
	verify->events = NULL;
}

/* One owner for all. */
static void
check_owners(EsVerify *verify, EsTally *tally)
{
	for (int i = 0; i < es_schema_nobjects; i++)
	{
		const EsObject *object = &es_schema_objects[i];
		Oid relid = object->name == NULL ? InvalidOid : find_table(object->schema, object->name);
		Oid owner = OidIsValid(relid) ? es_store_owner_of(relid) : InvalidOid;

		if (OidIsValid(owner) && owner != verify->store.owner)
			es_tally_found(tally, ES_VERIFY_ERROR, psprintf("%s.%s", object->schema, object->name),
						   "It belongs to role \"%s\", es.events to role \"%s\".",
						   GetUserNameFromId(owner, true),
						   GetUserNameFromId(verify->store.owner, true));
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
check_constraints(EsVerify *verify, EsTally *tally)
{
	for (int i = 0; i < (int) lengthof(constraints); i++)
	{
		Oid relid = part_oid(verify, constraints[i].table);

		if (OidIsValid(relid) && !has_constraint(relid, constraints[i].name))
			es_tally_found(tally, ES_VERIFY_ERROR, psprintf("es.%s", get_rel_name(relid)),
						   "The constraint \"%s\" does not exist, or is not valid.",
						   constraints[i].name);
	}
}

/* Finds the parts of the store, and tells what is missing or wrong. */
void
es_verify_tables(EsVerify *verify)
{
	EsTally tally;

	es_tally_begin(&tally, verify, "tables");
	verify->known = check_parts(verify, &tally);
	if (!verify->known)
		return;
	check_guards(verify, &tally);
	check_objects(verify, &tally);
	check_owners(verify, &tally);
	check_constraints(verify, &tally);
	es_tally_end(&tally, "es",
				 "Version %d: tables, indexes, constraints and guards are as the store made them.",
				 ES_STORE_VERSION);
}
