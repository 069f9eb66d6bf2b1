/*
 * binding.c
 *		Roles that are bound to tenants: all that reads or writes es.bindings.
 *
 * A binding is a role and the tenants that it may use, all of them.  It is known by
 * the role's name, which a dump carries; and, in the cluster where it was made, by
 * the role's OID too, so that a role that is renamed stays bound.  A role whose last
 * tenant is taken away stays bound, to none: a revocation never gives rights.  Only
 * es_revoke_tenant(role, '*') releases it.
 *
 * What was read is kept until something about the store changes.  Who changes es.bindings, whatever
 * the statement, fires its guards (guard.c), which tell all sessions to read it again.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "binding.h"
#include "name.h"
#include "owner.h"
#include "row.h"
#include "store.h"
#include "table.h"
#include "tenants.h"
#include "text.h"
#include "verify.h"

/* Columns of es.bindings. */
enum
{
	ES_BINDINGS_ROLE = 1,
	ES_BINDINGS_TENANTS,
	ES_BINDINGS_ROLE_OID,
	ES_BINDINGS_SYSTEM,
	ES_BINDINGS_CHANGED_AT,
	ES_BINDINGS_NATTS = ES_BINDINGS_CHANGED_AT
};

static const EsColumn columns[] = {
	{"role", TEXTOID, true, "The role: it and its members are bound."},
	{"tenants", TEXTARRAYOID, true, "All the tenants that they may use."},
	{"role_oid", INT8OID, true, "The role's OID: one that is renamed stays bound."},
	{"system_identifier", INT8OID, true, "The database cluster in which that is its OID."},
	{"changed_at", TIMESTAMPTZOID, true, "When this was last changed."},
};

StaticAssertDecl(lengthof(columns) == ES_BINDINGS_NATTS, "each column has a number");

static const EsIndex indexes[] = {
	{"bindings_pkey", ES_INDEX_PRIMARY, false, {ES_BINDINGS_ROLE}, "A role comes once."},
};

static EsFound found;

const EsTable es_bindings = {
	.schema = ES_SCHEMA,
	.name = "bindings",
	.relkind = RELKIND_RELATION,
	.comment = "Roles that are bound to tenants. Written by es_grant_tenant and es_revoke_tenant.",
	.columns = columns,
	.ncolumns = lengthof(columns),
	.indexes = indexes,
	.nindexes = lengthof(indexes),
	.guard = ES_GUARD_TELLS | ES_GUARD_NEEDED,
	.tenant = "NULL",
	.found = &found,
};

/* The names in an array, without what somebody has written there that no tenant is called. */
static void
read_tenants(EsBinding *binding, ArrayType *array)
{
	Datum *values;
	bool  *nulls;
	int    n;
	int    kept = 0;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &values, &nulls, &n);
	binding->tenants = palloc(Max(n, 1) * sizeof(text *));
	for (int i = 0; i < n; i++)
	{
		text *name = nulls[i] ? NULL : DatumGetTextPP(values[i]);

		if (name != NULL && !es_tenant_is_all(name) &&
			VARSIZE_ANY_EXHDR(name) <= ES_TENANT_MAX_BYTES)
			binding->tenants[kept++] = name;
	}
	binding->ntenants = es_sort_texts(binding->tenants, kept);
}

static EsBinding
read_binding(TupleTableSlot *row)
{
	EsBinding binding = {0};

	binding.role = text_to_cstring(es_row_text(row, ES_BINDINGS_ROLE));
	if (es_row_int8(row, ES_BINDINGS_SYSTEM) == (int64) GetSystemIdentifier())
		binding.oid = (Oid) es_row_int8(row, ES_BINDINGS_ROLE_OID);
	read_tenants(&binding, DatumGetArrayTypePCopy(es_row_column(row, ES_BINDINGS_TENANTS)));
	return binding;
}

/*
 * All bindings, as the newest committed state has them; good until the next call.
 *
 * The snapshot is a fresh one: SnapshotSelf might miss a row that is being replaced.
 * The scan is one by TIDs, all of them, for that takes no predicate lock: who appends
 * at SERIALIZABLE has read nothing.
 */
static EsBindings
read_bindings(Relation rel)
{
	static MemoryContext context = NULL;
	EsBindings           bindings = {0, NULL};
	Snapshot             snapshot = RegisterSnapshot(GetCatalogSnapshot(RelationGetRelid(rel)));
	TupleTableSlot      *row = table_slot_create(rel, NULL);
	ItemPointerData      first;
	ItemPointerData      end;
	TableScanDesc        scan;

	if (context == NULL)
		context = AllocSetContextCreate(CacheMemoryContext, "pg_eventstore bindings",
										ALLOCSET_SMALL_SIZES);
	MemoryContextReset(context);
	ItemPointerSet(&first, 0, FirstOffsetNumber);
	ItemPointerSet(&end, MaxBlockNumber, MaxOffsetNumber);
	scan = table_beginscan_tidrange(rel, snapshot, &first, &end);
	while (table_scan_getnextslot_tidrange(scan, ForwardScanDirection, row))
	{
		MemoryContext old = MemoryContextSwitchTo(context);

		bindings.list = bindings.n == 0
							? palloc(sizeof(EsBinding))
							: repalloc(bindings.list, (bindings.n + 1) * sizeof(EsBinding));
		bindings.list[bindings.n++] = read_binding(row);
		MemoryContextSwitchTo(old);
	}
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
	ExecDropSingleTupleTableSlot(row);
	return bindings;
}

/* All bindings, as this session knows them; true until the next call. */
const EsBindings *
es_binding_all(void)
{
	static EsBindings bound = {0, NULL};
	static uint64     known = 0; /* the generation of the store that they are of */
	uint64            generation;

	(void) es_store();
	generation = es_store_generation();
	if (known != generation)
	{
		Relation rel = table_open(es_bindings.found->relid, AccessShareLock);

		known = 0;
		bound = read_bindings(rel);
		table_close(rel, AccessShareLock);
		/* a message that came while they were read leaves them to be read again */
		known = generation;
	}
	return &bound;
}

/* The tenants of a binding as a new array. */
Datum
es_binding_tenants(const EsBinding *binding)
{
	Datum *names = palloc(Max(binding->ntenants, 1) * sizeof(Datum));

	for (int i = 0; i < binding->ntenants; i++)
		names[i] = PointerGetDatum(binding->tenants[i]);
	return PointerGetDatum(
		construct_array(names, binding->ntenants, TEXTOID, -1, false, TYPALIGN_INT));
}

/* Is the user the role of the binding, or a member, whether it inherits or not? */
bool
es_binding_is_of(const EsBinding *binding, Oid user)
{
	Oid role = get_role_oid(binding->role, true);

	return (OidIsValid(role) && is_member_of_role_nosuper(user, role)) ||
		   (OidIsValid(binding->oid) && binding->oid != role &&
			is_member_of_role_nosuper(user, binding->oid));
}

/* Is some role bound to this tenant? */
bool
es_binding_has(const EsBindings *bindings, text *tenant)
{
	for (int i = 0; i < bindings->n; i++)
	{
		if (es_text_is_among(tenant, bindings->list[i].tenants, bindings->list[i].ntenants))
			return true;
	}
	return false;
}

/* Is some role bound to one of these tenants? */
bool
es_binding_has_any(const EsBindings *bindings, const EsTenants *tenants)
{
	for (int i = 0; i < bindings->n; i++)
	{
		const EsBinding *binding = &bindings->list[i];

		for (int t = 0; t < binding->ntenants; t++)
		{
			if (es_tenants_have(tenants, binding->tenants[t]))
				return true;
		}
	}
	return false;
}

#define ES_BINDING_PUT                                                                  \
	"INSERT INTO es.bindings AS b VALUES ($1, $2, $3, $4, pg_catalog.now()) "           \
	"ON CONFLICT ON CONSTRAINT bindings_pkey DO UPDATE SET "                            \
	"tenants = b.tenants OPERATOR(pg_catalog.||) ARRAY("                                \
	"SELECT t FROM pg_catalog.unnest(excluded.tenants) AS u(t) "                        \
	"WHERE t OPERATOR(pg_catalog.<>) ALL (b.tenants)), role_oid = excluded.role_oid, "  \
	"system_identifier = excluded.system_identifier, changed_at = excluded.changed_at " \
	"WHERE NOT b.tenants OPERATOR(pg_catalog.@>) excluded.tenants"

/*
 * Writes a binding of a role by the name that it has now, added to what that name has;
 * false where that has it all.
 */
bool
es_binding_put(Oid role, Datum tenants)
{
	Oid   types[] = {TEXTOID, TEXTARRAYOID, INT8OID, INT8OID};
	Datum values[] = {CStringGetTextDatum(GetUserNameFromId(role, false)), tenants,
					  Int64GetDatum((int64) role), Int64GetDatum((int64) GetSystemIdentifier())};

	return es_owner_run_with(ES_BINDING_PUT, 4, types, values) > 0;
}

/* Takes a name's binding away; *tenants, if it is given, are those that it had just now. */
bool
es_binding_delete(const char *role, Datum *tenants)
{
	Oid   types[] = {TEXTOID};
	Datum values[] = {CStringGetTextDatum(role)};
	bool  isnull;

	if (es_owner_run_with("DELETE FROM es.bindings WHERE role OPERATOR(pg_catalog.=) $1 "
						  "RETURNING tenants",
						  1, types, values) == 0)
		return false;
	if (tenants != NULL)
		*tenants = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	return true;
}

/* Takes one tenant out of a name's binding. */
bool
es_binding_take(const char *role, text *tenant)
{
	Oid   types[] = {TEXTOID, TEXTOID};
	Datum values[] = {CStringGetTextDatum(role), PointerGetDatum(tenant)};

	return es_owner_run_with(
			   "UPDATE es.bindings SET tenants = pg_catalog.array_remove(tenants, $2), "
			   "changed_at = pg_catalog.now() WHERE role OPERATOR(pg_catalog.=) $1 "
			   "AND $2 OPERATOR(pg_catalog.=) ANY (tenants)",
			   2, types, values) > 0;
}

/* A binding whose name is not, or no longer, that of the role that it was made for. */
typedef struct Stale
{
	char *role;
	Oid   named;   /* the role of that name now, if any */
	Oid   renamed; /* the role that had it, if it lives */
} Stale;

static Stale *
find_stale(const EsBindings *bound, int *n)
{
	Stale *stale = palloc(Max(bound->n, 1) * sizeof(Stale));

	*n = 0;
	for (int i = 0; i < bound->n; i++)
	{
		const EsBinding *binding = &bound->list[i];
		Oid              named = get_role_oid(binding->role, true);
		bool             lives = OidIsValid(binding->oid) &&
					 SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(binding->oid));

		if (binding->oid == named || (!OidIsValid(named) && !lives))
			continue;
		stale[*n].role = pstrdup(binding->role);
		stale[*n].named = named;
		stale[(*n)++].renamed = lives ? binding->oid : InvalidOid;
	}
	return stale;
}

/*
 * Brings names and OIDs together again: after a restore the OIDs are another
 * cluster's, after ALTER ROLE ... RENAME the names are old.  What an old name has, the
 * role that it is now the name of keeps, too.  The caller is the owner, with SPI
 * connected, and has the store's lock.  The owner may write to the table by plain SQL
 * meanwhile; so what is put back is what was taken away.
 */
void
es_binding_refresh(void)
{
	int    n;
	Stale *stale = find_stale(es_binding_all(), &n);
	Datum *tenants = palloc(Max(n, 1) * sizeof(Datum));

	/* all of them first: names may have been exchanged */
	for (int i = 0; i < n; i++)
	{
		if (!es_binding_delete(stale[i].role, &tenants[i]))
			stale[i].named = stale[i].renamed = InvalidOid;
	}
	for (int i = 0; i < n; i++)
	{
		if (OidIsValid(stale[i].named))
			(void) es_binding_put(stale[i].named, tenants[i]);
		if (OidIsValid(stale[i].renamed))
			(void) es_binding_put(stale[i].renamed, tenants[i]);
	}
}

/* The names in a binding's array are those of tenants. */
static bool
has_only_tenants(ArrayType *array)
{
	Datum *values;
	bool  *nulls;
	int    n;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &values, &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		text *name = nulls[i] ? NULL : DatumGetTextPP(values[i]);

		if (name == NULL || es_tenant_is_all(name) ||
			(VARSIZE_ANY_EXHDR(name) > 0 && !es_name_is_valid(name, ES_TENANT_MAX_BYTES)))
			return false;
	}
	return true;
}

static void
check_binding(EsTally *tally, TupleTableSlot *row)
{
	EsBinding binding = read_binding(row);
	char     *where = psprintf("es.bindings, role \"%s\"", binding.role);

	if (!OidIsValid(get_role_oid(binding.role, true)) &&
		!(OidIsValid(binding.oid) && SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(binding.oid))))
		es_tally_found(tally, ES_VERIFY_WARNING, where,
					   "It is bound to tenants, and there is no such role.");
	if (!has_only_tenants(DatumGetArrayTypePCopy(es_row_column(row, ES_BINDINGS_TENANTS))))
		es_tally_found(tally, ES_VERIFY_ERROR, where, "It is bound to what no tenant is called.");
}

/* Is row-level security on for each table of a tenant's data that is there? */
static bool
is_protected(void)
{
	for (int i = 0; i < es_ntables; i++)
	{
		Oid      relid = es_tables[i]->found == NULL ? InvalidOid : es_tables[i]->found->relid;
		Relation rel;
		bool     enabled;

		if (es_tables[i]->tenant == NULL || !OidIsValid(relid))
			continue;
		rel = table_open(relid, AccessShareLock);
		enabled = rel->rd_rel->relrowsecurity;
		table_close(rel, AccessShareLock);
		if (!enabled)
			return false;
	}
	return true;
}

/* es_verify: roles that are bound exist, and plain SQL is held to their tenants too. */
void
es_binding_verify(EsVerify *verify)
{
	int64           n = 0;
	EsTally         tally;
	Relation        rel;
	TupleTableSlot *row;
	TableScanDesc   scan;

	es_tally_begin(&tally, verify, "bindings");
	if (!es_verify_have(verify, &tally, es_bindings.found->relid, "es.bindings"))
		return;
	rel = table_open(es_bindings.found->relid, AccessShareLock);
	row = table_slot_create(rel, NULL);
	scan = table_beginscan(rel, verify->snapshot, 0, NULL);
	while (table_scan_getnextslot(scan, ForwardScanDirection, row))
	{
		MemoryContext old = MemoryContextSwitchTo(verify->scratch);

		check_binding(&tally, row);
		MemoryContextSwitchTo(old);
		n++;
		es_verify_next(verify);
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(row);
	table_close(rel, NoLock);
	if (n > 0 && !is_protected())
		es_tally_found(&tally, ES_VERIFY_ERROR, "es.bindings",
					   "Row-level security is off for a table of the store.");
	es_tally_end(&tally, "es.bindings", "%s to tenants, of roles that exist.",
				 es_verify_count(n, "binding", "bindings"));
}
