/*
 * binding.h
 *		Roles that are bound to tenants.
 */
#ifndef ES_BINDING_H
#define ES_BINDING_H

#include "utils/relcache.h"

#include "table.h"
#include "tenants.h"

/* A role by its name, and by the OID that it had in this cluster, if any. */
typedef struct EsBinding
{
	char  *role;
	Oid    oid;
	int    ntenants;
	text **tenants;
} EsBinding;

typedef struct EsBindings
{
	int        n;
	EsBinding *list;
} EsBindings;

extern const EsTable es_bindings;

extern const EsBindings *es_binding_all(void);

extern Datum es_binding_tenants(const EsBinding *binding);
extern bool  es_binding_put(Oid role, Datum tenants);
extern bool  es_binding_delete(const char *role, Datum *tenants);
extern bool  es_binding_take(const char *role, text *tenant);
extern void  es_binding_refresh(void);
extern bool  es_binding_is_of(const EsBinding *binding, Oid user);
extern bool  es_binding_has(const EsBindings *bindings, text *tenant);

extern bool es_binding_has_any(const EsBindings *bindings, const EsTenants *tenants);

#endif
