/*
 * tenants.c
 *		Names of tenants, and sets of them.
 */
#include "postgres.h"

#include "fmgr.h"

#include "compat.h"
#include "name.h"
#include "tenants.h"
#include "text.h"

/* Does the name stand for all tenants? */
bool
es_tenant_is_all(const text *tenant)
{
	return VARSIZE_ANY_EXHDR(tenant) == 1 && *VARDATA_ANY(tenant) == '*';
}

void
es_tenant_refuse_all(const text *tenant)
{
	if (es_tenant_is_all(tenant))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("tenant \"*\" is not allowed here"),
						errdetail("\"*\" means all tenants, and this function is about one."),
						errhint("Name one tenant; only es_read and es_streams take \"*\".")));
}

bool
es_tenants_have(const EsTenants *tenants, text *tenant)
{
	return es_text_is_among(tenant, tenants->names, tenants->n);
}

/* A tenant's name, checked, '*' included; NULL where none is given. */
text *
es_tenant_name_arg(FunctionCallInfo fcinfo, int argno)
{
	text *tenant;

	if (PG_ARGISNULL(argno))
		return NULL;
	tenant = PG_GETARG_TEXT_PP(argno);
	if (VARSIZE_ANY_EXHDR(tenant) > 0)
		es_name_check_tenant(tenant);
	return tenant;
}
