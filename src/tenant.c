/*
 * tenant.c
 *		Which tenant a call is about: what the argument "tenant" means.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"

#include "event.h"
#include "tenant.h"

static bool
is_all(text *tenant)
{
	return VARSIZE_ANY_EXHDR(tenant) == 1 && *VARDATA_ANY(tenant) == '*';
}

static text *
tenant_arg(FunctionCallInfo fcinfo, int argno)
{
	text *tenant;

	if (PG_ARGISNULL(argno))
		return cstring_to_text("");
	tenant = PG_GETARG_TEXT_PP(argno);
	if (VARSIZE_ANY_EXHDR(tenant) > 0)
		es_event_check_tenant(tenant);
	return tenant;
}

/* The tenant that the call names; NULL stands for ''. */
text *
es_tenant_arg(FunctionCallInfo fcinfo, int argno)
{
	text *tenant = tenant_arg(fcinfo, argno);

	if (is_all(tenant))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("tenant \"*\" is not allowed here"),
						errdetail("\"*\" means all tenants, and this function is about one."),
						errhint("Name one tenant; only es_read and es_streams take \"*\".")));
	return tenant;
}

/* The same; NULL in C where the call names all tenants by '*'. */
text *
es_tenant_arg_or_all(FunctionCallInfo fcinfo, int argno)
{
	text *tenant = tenant_arg(fcinfo, argno);

	return is_all(tenant) ? NULL : tenant;
}
