/*
 * tenants.h
 *		Names of tenants, and sets of them.
 */
#ifndef ES_TENANTS_H
#define ES_TENANTS_H

#include "fmgr.h"

/* Some tenants, sorted; n = -1: all. */
typedef struct EsTenants
{
	int    n;
	text **names;
} EsTenants;

extern bool  es_tenant_is_all(const text *tenant);
extern void  es_tenant_refuse_all(const text *tenant);
extern text *es_tenant_name_arg(FunctionCallInfo fcinfo, int argno);
extern bool  es_tenants_have(const EsTenants *tenants, text *tenant);

#endif
