/*
 * store.h
 *		Where the store's relations are in this database, and whether the store
 *		is ready to be used.
 */
#ifndef ES_STORE_H
#define ES_STORE_H

#include "storage/lockdefs.h"
#include "utils/relcache.h"

#include "table.h"

#define ES_STORE_VERSION 3 /* of the tables; es_init() migrates older ones */

/* A new value of es.store.salt, and what it is. */
#define ES_SALT_NEW "pg_catalog.uuid_hash_extended(pg_catalog.gen_random_uuid(), 0)"
#define ES_SALT_COMMENT \
	"A secret in the hashes that streams are locked by, for everybody may see locks."

typedef struct EsStore
{
	Oid   owner;
	int64 salt;
} EsStore;

extern const EsTable es_store_table;

extern const EsStore *es_store(void);
extern uint64         es_store_generation(void);
extern uint64         es_store_generation_of(const EsTable *table);
extern void           es_store_forget(void);
extern void           es_store_clear(void);
extern bool           es_store_exists(void);
extern Oid            es_store_owner(void);
extern Oid            es_store_owner_of(Oid relid);
extern Relation       es_store_open(const EsTable *table, LOCKMODE mode);
extern int            es_store_version(Oid store);

/* The steps in which the store is looked up: each raises SE006 where it is not in order. */
extern void es_store_find_version(const EsTable *table);
extern void es_store_find_table(const EsTable *table);
extern void es_store_check_guards(const EsTable *table);
extern void es_store_find_indexes(const EsTable *table);

#endif
