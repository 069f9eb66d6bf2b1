/*
 * store.h
 *		Where the store's relations are in this database, and whether the store
 *		is ready to be used.
 */
#ifndef ES_STORE_H
#define ES_STORE_H

#include "storage/lockdefs.h"
#include "utils/relcache.h"

#include "binding.h"

#define ES_SCHEMA          "es"
#define ES_PRIVATE_SCHEMA  "es_private"
#define ES_STORE_VERSION   3 /* of the tables; es_init() migrates older ones */
#define ES_ALL_STREAMS     "all_streams"
#define ES_APPENDING       "appending"
#define ES_GUARD_FUNCTION  "pg_eventstore_guard"
#define ES_GUARD_ROW       "es_guard_row"
#define ES_GUARD_STATEMENT "es_guard_statement"

/* Columns of es.events. */
enum
{
	ES_EVENTS_POSITION = 1,
	ES_EVENTS_VERSION,
	ES_EVENTS_RECORDED_AT,
	ES_EVENTS_ID,
	ES_EVENTS_TENANT,
	ES_EVENTS_STREAM,
	ES_EVENTS_CATEGORY,
	ES_EVENTS_TYPE,
	ES_EVENTS_DATA,
	ES_EVENTS_METADATA,
	ES_EVENTS_PAYLOAD,
	ES_EVENTS_NATTS = ES_EVENTS_PAYLOAD
};

/* Columns of es.snapshots. */
enum
{
	ES_SNAPSHOTS_VERSION = 1,
	ES_SNAPSHOTS_CREATED_AT,
	ES_SNAPSHOTS_SCHEMA_VERSION,
	ES_SNAPSHOTS_TENANT,
	ES_SNAPSHOTS_STREAM,
	ES_SNAPSHOTS_CATEGORY,
	ES_SNAPSHOTS_STATE,
	ES_SNAPSHOTS_PAYLOAD,
	ES_SNAPSHOTS_NATTS = ES_SNAPSHOTS_PAYLOAD
};

/* Columns of es.ticks. */
enum
{
	ES_TICKS_POSITION = 1,
	ES_TICKS_LAST_POSITION,
	ES_TICKS_RECORDED_AT,
	ES_TICKS_LIFE,
	ES_TICKS_NOTIFIED,
	ES_TICKS_PRUNED,
	ES_TICKS_HOLDERS,
	ES_TICKS_NATTS = ES_TICKS_HOLDERS
};

/* Columns of es.epochs. */
enum
{
	ES_EPOCHS_EPOCH = 1,
	ES_EPOCHS_LAST_POSITION,
	ES_EPOCHS_FIRST_POSITION,
	ES_EPOCHS_TIMELINE,
	ES_EPOCHS_SYSTEM,
	ES_EPOCHS_DATABASE,
	ES_EPOCHS_RELATION,
	ES_EPOCHS_OPENED_AT,
	ES_EPOCHS_NATTS = ES_EPOCHS_OPENED_AT
};

/* Columns of es.channels. */
enum
{
	ES_CHANNELS_NAME = 1,
	ES_CHANNELS_OPTIONS,
	ES_CHANNELS_POSITION,
	ES_CHANNELS_CREATED_BY,
	ES_CHANNELS_CREATED_AT,
	ES_CHANNELS_NATTS = ES_CHANNELS_CREATED_AT
};

/* Columns of es.store. */
enum
{
	ES_STORE_VERSION_COLUMN = 1,
	ES_STORE_CREATED_AT,
	ES_STORE_SALT,
	ES_STORE_NATTS = ES_STORE_SALT
};

/* What es_read may ask for by name, and so an index may begin with. */
enum
{
	ES_BY_TENANT,
	ES_BY_TYPE,
	ES_BY_CATEGORY,
	ES_BY_NATTS,
	ES_BY_SETS = 1 << ES_BY_NATTS
};

/* An index that has the rows of one tenant, type, category or more in position order. */
typedef struct EsReadIndex
{
	Oid oid;
	int ncolumns;        /* that come before the position */
	int by[ES_BY_NATTS]; /* these columns, as above */
} EsReadIndex;

typedef struct EsStore
{
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
	Oid  owner;
	bool plain_before; /* es.events has no BEFORE INSERT triggers but ours */
	bool plain_checks; /* es.events has no CHECK constraints but ours */

	int64       salt;
	EsBindings  bound;                    /* the roles that are bound to tenants */
	EsReadIndex read_indexes[ES_BY_SETS]; /* by the set of their columns; 0: there is none */
} EsStore;

/*
 * A part of the store.  find() notes where it is, and raises SE006 where it is not in
 * order, of which then nothing is noted.
 */
typedef struct EsStorePart
{
	const char *where;
	void (*find)(EsStore *store);
	size_t needs; /* the OID in EsStore that must have been found before */
} EsStorePart;

typedef enum EsIndexState
{
	ES_INDEX_FREE,
	ES_INDEX_FITS,
	ES_INDEX_LACKS
} EsIndexState;

/* An index that the store reads by. */
typedef struct EsStoreIndex
{
	const char *name;
	size_t      offset; /* of its OID in EsStore */
	bool        unique;
	int         ncolumns;
	AttrNumber  columns[3];
} EsStoreIndex;

extern const EsStorePart es_store_parts[];
extern const int         es_store_nparts;

extern Oid            es_store_event_type(AttrNumber column);
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
extern bool           es_store_is_own_function(Oid function);
extern bool           es_store_has_guards(Relation events, char **missing);

#endif
