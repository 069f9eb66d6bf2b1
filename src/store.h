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
	Oid  owner; /* first: an offset of 0 means that there is none */
	Oid  events;
	Oid  events_position; /* its indexes, found by their columns */
	Oid  events_version;
	Oid  events_id;
	Oid  events_category;
	Oid  sequence;
	Oid  snapshots;
	Oid  snapshots_key;
	Oid  ticks;
	Oid  ticks_position;
	Oid  epochs;
	Oid  channels;
	Oid  channels_told; /* a message about it says that rows of es.channels have changed */
	Oid  bindings;
	Oid  all_streams;
	Oid  appending;
	Oid  store;
	bool plain_before; /* es.events has no BEFORE INSERT triggers but ours */
	bool plain_checks; /* es.events has no CHECK constraints but ours */

	int64 salt;
} EsStore;

extern const EsTable es_store_table;

extern const EsStore *es_store(void);
extern uint64         es_store_generation(void);
extern uint64         es_store_channels_generation(void);
extern bool           es_store_exists(void);
extern Oid            es_store_owner(void);
extern Oid            es_store_owner_of(Oid relid);
extern Relation       es_store_open_events(LOCKMODE mode, const EsStore **store);
extern Relation       es_store_open_snapshots(LOCKMODE mode, const EsStore **store);
extern Relation       es_store_open_ticks(LOCKMODE mode, const EsStore **store);
extern int            es_store_version(Oid store);

/* The steps in which the store is looked up: each raises SE006 where it is not in order. */
extern void es_store_find_version(EsStore *s);
extern void es_store_find_table(EsStore *s, const EsTable *table);
extern void es_store_check_guards(EsStore *s, const EsTable *table);
extern void es_store_find_indexes(EsStore *s, const EsTable *table);

/* Where a table is, by the place that its descriptor names. */
static inline Oid
es_store_relid(const EsStore *store, const EsTable *table)
{
	return table->relid == 0 ? InvalidOid : *(const Oid *) ((const char *) store + table->relid);
}

#endif
