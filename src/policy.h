/*
 * policy.h
 *		Row-level security on the store's tables.
 */
#ifndef ES_POLICY_H
#define ES_POLICY_H

#include "executor/tuptable.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"

#define ES_POLICY_TENANT   "es_tenant"
#define ES_POLICY_EVERYONE "es_everyone"

extern bool es_policy_make(const char *schema);
extern bool es_policy_enable(void);
extern bool es_policy_is_enabled(void);
extern bool es_policy_is_foreign(Oid relid);
extern bool es_policy_is_ours(const char *name);

extern const char *es_policy_fault(Oid relid, int *nth);

extern bool es_policy_applies(Relation events);

#endif
