/*
 * tenant.h
 *		Which tenants a call is about, and which of them the role may use.
 */
#ifndef ES_TENANT_H
#define ES_TENANT_H

#include "fmgr.h"

/* Some tenants, sorted; n = -1: all. */
typedef struct EsTenants
{
	int    n;
	text **names;
} EsTenants;

extern bool      es_tenant_is_all(const text *tenant);
extern bool      es_tenant_is_free(Oid role);
extern void      es_tenant_refuse_all(const text *tenant);
extern text     *es_tenant_name_arg(FunctionCallInfo fcinfo, int argno);
extern text     *es_tenant_arg(FunctionCallInfo fcinfo, int argno);
extern EsTenants es_tenants_arg(FunctionCallInfo fcinfo, int argno);
extern EsTenants es_tenants_allowed(void);
extern EsTenants es_tenants_resolve(text *tenant);
extern bool      es_tenants_have(const EsTenants *tenants, text *tenant);
extern void      es_tenant_check_unbound(const char *what);

#endif
