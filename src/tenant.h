/*
 * tenant.h
 *		Which tenant a call is about.
 */
#ifndef ES_TENANT_H
#define ES_TENANT_H

#include "fmgr.h"

extern text *es_tenant_arg(FunctionCallInfo fcinfo, int argno);
extern text *es_tenant_arg_or_all(FunctionCallInfo fcinfo, int argno);

#endif
