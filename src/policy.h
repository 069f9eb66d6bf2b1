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

typedef struct EsPolicyReader EsPolicyReader;
typedef struct EsPolicyCheck  EsPolicyCheck;

extern bool es_policy_make(const char *schema);
extern bool es_policy_enable(void);
extern bool es_policy_is_enabled(void);
extern bool es_policy_is_foreign(Oid relid);
extern bool es_policy_is_ours(const char *name);

extern bool es_policy_applies(Relation events);

extern EsPolicyReader *es_policy_read_begin(Relation events, Snapshot snapshot);
extern bool            es_policy_shows(EsPolicyReader *reader, TupleTableSlot *event);
extern void            es_policy_read_end(EsPolicyReader *reader);

extern EsPolicyCheck *es_policy_check_begin(Relation events);
extern void           es_policy_check(EsPolicyCheck *check, TupleTableSlot *event);
extern void           es_policy_check_end(EsPolicyCheck *check);

#endif
