/*
 * tenant.c
 *		Which tenants a call is about: what the argument "tenant" means, and which
 *		tenants the current role may use.
 *
 * A role is bound where it is, or is a member of, a role that es.bindings has: it may
 * use the tenants of all those bindings and no others.  Superusers, roles with
 * BYPASSRLS and the store's owner are free, as row-level security has it.  It is
 * asked at each call, for the role in force then; the answer for the last role is kept
 * until something changes that it depends on.
 *
 * The functions check the tenant that they are given; plain SQL is held to the same
 * by policies on the tables, which ask pg_eventstore_sees().
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "binding.h"
#include "compat.h"
#include "errors.h"
#include "store.h"
#include "tenant.h"
#include "text.h"

PG_FUNCTION_INFO_V1(es_tenant_sees);

/* Is it a role that no binding holds? */
bool
es_tenant_is_free(Oid role)
{
	return has_bypassrls_privilege(role) || has_privs_of_role(role, es_store()->owner);
}

static text *
copy_name(const text *name)
{
	return cstring_to_text_with_len(VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name));
}

/* The tenants of all bindings of a role; all tenants where it has none. */
static EsTenants
collect(const EsBindings *bound, Oid user)
{
	EsTenants allowed = {-1, NULL};

	for (int i = 0; i < bound->n; i++)
	{
		const EsBinding *binding = &bound->list[i];

		if (!es_binding_is_of(binding, user))
			continue;
		if (allowed.n < 0)
			allowed = (EsTenants){0, palloc(sizeof(text *))};
		allowed.names =
			repalloc(allowed.names, (allowed.n + binding->ntenants + 1) * sizeof(text *));
		for (int t = 0; t < binding->ntenants; t++)
			allowed.names[allowed.n++] = copy_name(binding->tenants[t]);
	}
	if (allowed.n > 0)
		allowed.n = es_sort_texts(allowed.names, allowed.n);
	return allowed;
}

/*
 * What was last collected, for one role.  It holds until the store, a role or a
 * membership changes, of which invalidation messages tell.
 */
static struct
{
	MemoryContext context;
	Oid           user;
	uint64        generation;
	uint64        roles;
	EsTenants     tenants;
} last;

static uint64 roles_changed = 1;

static void
role_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	roles_changed++;
}

static void
look_up(Oid user)
{
	MemoryContext old;

	if (last.context == NULL)
	{
		last.context = AllocSetContextCreate(CacheMemoryContext, "pg_eventstore tenants",
											 ALLOCSET_SMALL_SIZES);
		CacheRegisterSyscacheCallback(AUTHOID, role_changed, (Datum) 0);
		CacheRegisterSyscacheCallback(AUTHMEMROLEMEM, role_changed, (Datum) 0);
		/* its owner is the member of pg_database_owner */
		CacheRegisterSyscacheCallback(DATABASEOID, role_changed, (Datum) 0);
	}
	last.user = InvalidOid; /* in case of an error */
	MemoryContextReset(last.context);
	(void) es_binding_all();
	last.generation = es_store_generation(); /* what comes later is looked up again */
	last.roles = roles_changed;
	old = MemoryContextSwitchTo(last.context);
	if (es_tenant_is_free(user))
		last.tenants = (EsTenants){-1, NULL};
	else
		last.tenants = collect(es_binding_all(), user);
	MemoryContextSwitchTo(old);
	last.user = user;
}

/*
 * The tenants that the current role may use, as of now: a binding that somebody has
 * just committed counts.  The names are the caller's memory.
 */
EsTenants
es_tenants_allowed(void)
{
	EsTenants allowed = {-1, NULL};
	Oid       user = GetUserId();

	AcceptInvalidationMessages();
	if (es_binding_all()->n == 0)
		return allowed;
	if (last.user != user || last.generation != es_store_generation() ||
		last.roles != roles_changed)
		look_up(user);
	allowed.n = last.tenants.n;
	if (allowed.n < 0)
		return allowed;
	allowed.names = palloc(Max(allowed.n, 1) * sizeof(text *));
	for (int i = 0; i < allowed.n; i++)
		allowed.names[i] = copy_name(last.tenants.names[i]);
	return allowed;
}

/* A list of names for a message. */
static char *
list_names(const EsTenants *tenants)
{
	StringInfoData buf;

	if (tenants->n == 0)
		return pstrdup("none");
	initStringInfo(&buf);
	for (int i = 0; i < tenants->n; i++)
		appendStringInfo(&buf, "%s\"%s\"", i == 0 ? "" : ", ", text_to_cstring(tenants->names[i]));
	return buf.data;
}

/* SE007.  Says nothing about the tenant that was asked for, not even whether there is one. */
pg_noreturn static void
refuse(const EsTenants *allowed, const char *message, const char *hint)
{
	ereport(ERROR, (errcode(ERRCODE_ES_TENANT), errmsg("%s", message),
					errdetail("Role \"%s\" is bound to tenants: %s.",
							  GetUserNameFromId(GetUserId(), false), list_names(allowed)),
					errhint("%s", hint)));
}

static text *
only_tenant(const EsTenants *allowed)
{
	if (allowed->n < 0)
		return cstring_to_text("");
	if (allowed->n != 1)
		refuse(allowed, "the tenant must be named",
			   allowed->n > 1 ? "Name one of them in argument \"tenant\"."
							  : "The owner of the event store may run es_grant_tenant.");
	return allowed->names[0];
}

static void
check_allowed(const EsTenants *allowed, text *tenant)
{
	if (!es_tenants_have(allowed, tenant))
		refuse(allowed, psprintf("not allowed for tenant \"%s\"", text_to_cstring(tenant)),
			   "Name a tenant that the role is bound to.");
}

/*
 * The tenants that a name stands for, NULL and '*' included; SE007 where they are not
 * the role's.
 */
EsTenants
es_tenants_resolve(text *tenant)
{
	EsTenants allowed = es_tenants_allowed();
	EsTenants one = {1, palloc(sizeof(text *))};

	if (tenant != NULL && es_tenant_is_all(tenant))
		return allowed;
	if (tenant == NULL)
		tenant = only_tenant(&allowed);
	else
		check_allowed(&allowed, tenant);
	one.names[0] = tenant;
	return one;
}

/* The tenant that the call names; NULL stands for the role's only one, or else ''. */
text *
es_tenant_arg(FunctionCallInfo fcinfo, int argno)
{
	text *tenant = es_tenant_name_arg(fcinfo, argno);

	if (tenant != NULL)
		es_tenant_refuse_all(tenant);
	return es_tenants_resolve(tenant).names[0];
}

/* The same where '*' stands for all that the role may use. */
EsTenants
es_tenants_arg(FunctionCallInfo fcinfo, int argno)
{
	return es_tenants_resolve(es_tenant_name_arg(fcinfo, argno));
}

/* Refuses what is about all tenants at once to a role that is bound. */
void
es_tenant_check_unbound(const char *what)
{
	EsTenants allowed = es_tenants_allowed();

	if (allowed.n >= 0)
		refuse(&allowed, psprintf("%s are not allowed for a role that is bound to tenants", what),
			   "They tell of all tenants: use a role that is not bound.");
}

/* What an expression has found out about a table, for the role that it found it out for. */
typedef struct Seen
{
	Oid       user;
	Oid       relid;
	uint64    generation;
	EsTenants allowed;
} Seen;

/*
 * The tenants whose rows of a table the current role may see, or write.
 *
 * Where a view is read, the policies that apply are those of the view's owner, whom
 * nobody names to us, while the current role is the reader.  One that is not bound and
 * has the privilege himself, for the whole table, sees everything anyway; one that has
 * not sees by rights that may be those of a bound role: nothing.
 */
static EsTenants
allowed_rows(Oid relid, AclMode mode)
{
	EsTenants none = {0, NULL};
	EsTenants allowed = es_tenants_allowed();

	if (allowed.n < 0 && es_binding_all()->n > 0 && !es_tenant_is_free(GetUserId()) &&
		pg_class_aclcheck(relid, GetUserId(), mode) != ACLCHECK_OK)
		return none;
	return allowed;
}

/* The mode that a policy's expression is about, which is a constant in it. */
static AclMode
mode_arg(FunctionCallInfo fcinfo, int argno)
{
	return !PG_ARGISNULL(argno) && es_same_text(PG_GETARG_TEXT_PP(argno), cstring_to_text("INSERT"))
			   ? ACL_INSERT
			   : ACL_SELECT;
}

/*
 * pg_eventstore_sees(tenant, relation, privilege): may the current role see, or write,
 * rows of this tenant in a table?  Tenant NULL stands for rows about all tenants.
 * Called for each row, by policies.
 */
Datum
es_tenant_sees(PG_FUNCTION_ARGS)
{
	Seen *seen = fcinfo->flinfo->fn_extra;
	Oid   relid = PG_ARGISNULL(1) ? InvalidOid : PG_GETARG_OID(1);

	if (seen == NULL)
		seen = fcinfo->flinfo->fn_extra =
			MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(Seen));
	if (seen->user != GetUserId() || seen->relid != relid ||
		seen->generation != es_store_generation())
	{
		MemoryContext old = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);

		(void) es_binding_all();
		seen->generation = es_store_generation(); /* what comes later is looked up again */
		seen->user = InvalidOid;                  /* in case of an error */
		seen->allowed = allowed_rows(relid, mode_arg(fcinfo, 2));
		seen->user = GetUserId();
		seen->relid = relid;
		MemoryContextSwitchTo(old);
	}
	if (seen->allowed.n < 0)
		PG_RETURN_BOOL(true);
	PG_RETURN_BOOL(!PG_ARGISNULL(0) && es_tenants_have(&seen->allowed, PG_GETARG_TEXT_PP(0)));
}
