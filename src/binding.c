/*
 * binding.c
 *		Roles that are bound to tenants: es_grant_tenant, es_revoke_tenant.  All
 *		that reads or writes es.bindings.
 *
 * A binding is a role and the tenants that it may use, all of them.  It is known by
 * the role's name, which a dump carries; and, in the cluster where it was made, by
 * the role's OID too, so that a role that is renamed stays bound.  A role whose last
 * tenant is taken away stays bound, to none: a revocation never gives rights.  Only
 * es_revoke_tenant(role, '*') releases it.
 *
 * What was read is kept with the store (store.c).  Who changes es.bindings, whatever
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
#include "channel.h"
#include "event.h"
#include "lock.h"
#include "owner.h"
#include "policy.h"
#include "rows.h"
#include "scan.h"
#include "status.h"
#include "store.h"
#include "tenant.h"
#include "text.h"
#include "verify.h"

PG_FUNCTION_INFO_V1(es_grant_tenant);
PG_FUNCTION_INFO_V1(es_revoke_tenant);
PG_FUNCTION_INFO_V1(es_status_tenants);

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

	binding.role = text_to_cstring(es_scan_text(row, ES_BINDINGS_ROLE));
	if (es_scan_int8(row, ES_BINDINGS_SYSTEM) == (int64) GetSystemIdentifier())
		binding.oid = (Oid) es_scan_int8(row, ES_BINDINGS_ROLE_OID);
	read_tenants(&binding, DatumGetArrayTypePCopy(es_scan_column(row, ES_BINDINGS_TENANTS)));
	return binding;
}

/*
 * All bindings, as the newest committed state has them; good until the next call.
 *
 * The snapshot is a fresh one: SnapshotSelf might miss a row that is being replaced.
 * The scan is one by TIDs, all of them, for that takes no predicate lock: who appends
 * at SERIALIZABLE has read nothing.
 */
EsBindings
es_binding_read(Relation rel)
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

/* The tenants of a binding as a new array. */
static Datum
tenants_array(const EsBinding *binding)
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

/* A role's name, which must not be null. */
static char *
role_arg(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("role must not be null"),
						errdetail("In argument \"%s\".", "role"),
						errhint("Name the role that is to be bound to the tenant.")));
	return text_to_cstring(PG_GETARG_TEXT_PP(0));
}

/* A tenant's name, which must not be null: nothing here is to happen unseen. */
static text *
name_arg(FunctionCallInfo fcinfo)
{
	text *tenant = es_tenant_name_arg(fcinfo, 1);

	if (tenant == NULL)
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("tenant must not be null"),
						errdetail("In argument \"%s\".", "tenant"),
						errhint("Name the tenant; '' is the one that has no name.")));
	return tenant;
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
static bool
put_binding(Oid role, Datum tenants)
{
	Oid   types[] = {TEXTOID, TEXTARRAYOID, INT8OID, INT8OID};
	Datum values[] = {CStringGetTextDatum(GetUserNameFromId(role, false)), tenants,
					  Int64GetDatum((int64) role), Int64GetDatum((int64) GetSystemIdentifier())};

	return es_owner_run_with(ES_BINDING_PUT, 4, types, values) > 0;
}

/* Takes a name's binding away; *tenants, if it is given, are those that it had just now. */
static bool
delete_binding(const char *role, Datum *tenants)
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
static bool
take_tenant(const char *role, text *tenant)
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
	Stale *stale = find_stale(&es_store()->bound, &n);
	Datum *tenants = palloc(Max(n, 1) * sizeof(Datum));

	/* all of them first: names may have been exchanged */
	for (int i = 0; i < n; i++)
	{
		if (!delete_binding(stale[i].role, &tenants[i]))
			stale[i].named = stale[i].renamed = InvalidOid;
	}
	for (int i = 0; i < n; i++)
	{
		if (OidIsValid(stale[i].named))
			(void) put_binding(stale[i].named, tenants[i]);
		if (OidIsValid(stale[i].renamed))
			(void) put_binding(stale[i].renamed, tenants[i]);
	}
}

/*
 * Becomes the owner, who alone may do this, and keeps other calls out: by the store's lock
 * and not by one on the table, which any role can stand in the way of (nextval() locks
 * whatever it is given), and a revocation must not wait for a stranger.
 */
static EsIdentity
begin_change(const char *function)
{
	Oid        owner = es_store()->owner;
	EsIdentity before;

	PreventCommandIfReadOnly(function);
	PreventCommandIfParallelMode(function);
	PreventCommandDuringRecovery(function);
	es_owner_check(owner);
	es_lock_store();
	before = es_owner_become(owner);
	es_binding_refresh();
	return before;
}

/* A role that row-level security does not apply to cannot be bound. */
static void
warn_unbound(const char *role, Oid oid)
{
	if (!es_tenant_is_free(oid))
		return;
	ereport(WARNING, (errmsg("role \"%s\" is not held to its tenants", role),
					  errdetail("It is a superuser, has BYPASSRLS, or owns the event store."),
					  errhint("Give applications a role that is none of these.")));
}

/*
 * Events of a tenant that is bound are not for everybody who may connect.  (A channel
 * that is made meanwhile carries none of them: notify.c.)
 */
static void
check_channels(text *tenant)
{
	const char *channel = es_channel_that_carries(es_store(), tenant);

	if (channel != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("tenant \"%s\" cannot be bound to a role", text_to_cstring(tenant)),
				 errdetail("Channel \"%s\" shows its events to every role that may connect.",
						   channel),
				 errhint("Drop the channel, or change it to kind \"wake\" or another tenant.")));
}

/*
 * es_grant_tenant(role, tenant) binds a role to a tenant; false where it is bound
 * already.  The first time this turns row-level security on.
 */
Datum
es_grant_tenant(PG_FUNCTION_ARGS)
{
	char      *role = role_arg(fcinfo);
	text      *tenant = name_arg(fcinfo);
	EsBinding  binding = {.ntenants = 1, .tenants = &tenant};
	EsIdentity before;
	Oid        oid;
	bool       changed;

	es_tenant_refuse_all(tenant);
	before = begin_change("es_grant_tenant()");
	oid = get_role_oid(role, false);
	check_channels(tenant);
	warn_unbound(role, oid);
	changed = put_binding(oid, tenants_array(&binding));
	es_policy_enable();
	es_owner_become_again(before);
	PG_RETURN_BOOL(changed);
}

/*
 * es_revoke_tenant(role, tenant) takes a tenant from a role, which stays bound;
 * tenant '*' ends that, too.  False where there was nothing to take.
 */
Datum
es_revoke_tenant(PG_FUNCTION_ARGS)
{
	char      *role = role_arg(fcinfo);
	text      *tenant = name_arg(fcinfo);
	EsIdentity before = begin_change("es_revoke_tenant()");
	bool       changed;

	changed = es_tenant_is_all(tenant) ? delete_binding(role, NULL) : take_tenant(role, tenant);
	es_owner_become_again(before);
	PG_RETURN_BOOL(changed);
}

/* Is there a role that the binding is about? */
static bool
is_known(const EsBinding *binding)
{
	return OidIsValid(get_role_oid(binding->role, true)) ||
		   (OidIsValid(binding->oid) && SearchSysCacheExists1(AUTHOID, binding->oid));
}

static bool
is_free(const EsBinding *binding)
{
	Oid role = get_role_oid(binding->role, true);

	return OidIsValid(role) && es_tenant_is_free(role);
}

/* The roles of bindings, in the caller's memory. */
static EsBindings
copy_roles(const EsBindings *bound)
{
	EsBindings copy = {bound->n, palloc0(Max(bound->n, 1) * sizeof(EsBinding))};

	for (int i = 0; i < bound->n; i++)
	{
		copy.list[i].role = pstrdup(bound->list[i].role);
		copy.list[i].oid = bound->list[i].oid;
	}
	return copy;
}

/*
 * How the bindings are, for es_status(): how many, whether row-level security is on,
 * and the first whose role is gone, or is not held to it.
 */
Datum
es_status_tenants(PG_FUNCTION_ARGS)
{
	EsBindings bound = copy_roles(&es_status_check_monitor()->bound);
	EsRows     rows = es_rows_begin(fcinfo);
	Datum      values[4] = {Int32GetDatum(bound.n), BoolGetDatum(es_policy_is_enabled())};
	bool       nulls[4] = {false, false, true, true};

	for (int i = bound.n - 1; i >= 0; i--)
	{
		const EsBinding *binding = &bound.list[i];
		int              column = !is_known(binding) ? 2 : is_free(binding) ? 3 : -1;

		if (column < 0)
			continue;
		values[column] = CStringGetTextDatum(binding->role);
		nulls[column] = false;
	}
	es_rows_put(&rows, values, nulls);
	return (Datum) 0;
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
			(VARSIZE_ANY_EXHDR(name) > 0 && !es_event_is_name(name, ES_TENANT_MAX_BYTES)))
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
	if (!has_only_tenants(DatumGetArrayTypePCopy(es_scan_column(row, ES_BINDINGS_TENANTS))))
		es_tally_found(tally, ES_VERIFY_ERROR, where, "It is bound to what no tenant is called.");
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
	if (!es_verify_have(verify, &tally, verify->store.bindings, "es.bindings"))
		return;
	rel = table_open(verify->store.bindings, AccessShareLock);
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
	if (n > 0 && !es_policy_is_enabled())
		es_tally_found(&tally, ES_VERIFY_ERROR, "es.bindings",
					   "Row-level security is off for a table of the store.");
	es_tally_end(&tally, "es.bindings", "%s to tenants, of roles that exist.",
				 es_verify_count(n, "binding", "bindings"));
}
