/*
 * grant.c
 *		Binds roles to tenants: es_grant_tenant, es_revoke_tenant.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"

#include "binding.h"
#include "channel.h"
#include "lock.h"
#include "owner.h"
#include "policy.h"
#include "store.h"
#include "tenant.h"

PG_FUNCTION_INFO_V1(es_grant_tenant);
PG_FUNCTION_INFO_V1(es_revoke_tenant);

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
	const char *channel = es_channel_that_carries(tenant);

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
	changed = es_binding_put(oid, es_binding_tenants(&binding));
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

	changed =
		es_tenant_is_all(tenant) ? es_binding_delete(role, NULL) : es_binding_take(role, tenant);
	es_owner_become_again(before);
	PG_RETURN_BOOL(changed);
}
