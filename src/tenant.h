/*
 * tenant.h
 *		Which tenants a call is about, and which of them the role may use.
 */
#ifndef ES_TENANT_H
#define ES_TENANT_H

#include "fmgr.h"

#include "tenants.h"

extern bool      es_tenant_is_free(Oid role);
extern text     *es_tenant_arg(FunctionCallInfo fcinfo, int argno);
extern EsTenants es_tenants_arg(FunctionCallInfo fcinfo, int argno);
extern EsTenants es_tenants_allowed(void);
extern EsTenants es_tenants_resolve(text *tenant);
extern void      es_tenant_check_unbound(const char *what);

#endif
