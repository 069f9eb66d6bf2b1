/*
 * table.h
 *		What the store's relations are: a descriptor of each, in the module that owns it.
 *
 * A table is described once.  es_init() makes it from its descriptor; the store is looked up,
 * guarded, verified and emptied by it.  A new table is its own file and one line in the list
 * that _PG_init hands over (pg_eventstore.c).
 */
#ifndef ES_TABLE_H
#define ES_TABLE_H

#include "access/attnum.h"
#include "catalog/pg_class.h"
#include "utils/relcache.h"

#include "compat.h"

#define ES_SCHEMA         "es"
#define ES_PRIVATE_SCHEMA "es_private"

#define ES_INDEX_MAX_COLUMNS 4
#define ES_TABLE_MAX_INDEXES 6

/* A column; a text is COLLATE "C". */
typedef struct EsColumn
{
	const char *name;
	Oid         type;
	bool        notnull;
	const char *comment;
} EsColumn;

typedef enum EsIndexKind
{
	ES_INDEX_PLAIN,
	ES_INDEX_UNIQUE,
	ES_INDEX_PRIMARY,
	ES_INDEX_BRIN,
	ES_INDEX_ONE_ROW /* it holds its table to one row */
} EsIndexKind;

typedef struct EsIndex
{
	const char *name;
	EsIndexKind kind;
	bool        needed;                        /* the store reads by it */
	AttrNumber  columns[ES_INDEX_MAX_COLUMNS]; /* 0 ends */
	const char *comment;
} EsIndex;

typedef struct EsCheck
{
	const char *name;
	const char *expression;
	const char *comment;
} EsCheck;

/* What this session knows of a table; true after es_store(). */
typedef struct EsFound
{
	Oid    relid;
	Oid    indexes[ES_TABLE_MAX_INDEXES]; /* those that are needed, by their place in the list */
	Oid    told;         /* a message about it says that rows have changed, and no more */
	uint64 changes;      /* counts these messages */
	bool   plain_before; /* it has no BEFORE INSERT triggers but ours */
	bool   plain_checks; /* and no CHECK constraints but ours */
} EsFound;

/* What the guards of a table do. */
#define ES_GUARD_REFUSES         1 /* what does not come by the functions */
#define ES_GUARD_TELLS           2 /* all sessions that rows have changed: they remember them */
#define ES_GUARD_TELLS_PUBLISHER 4 /* the publisher alone */
#define ES_GUARD_NEEDED          8 /* without them the store is not ready */

/* What es_reset() does with a table. */
#define ES_RESET_EMPTIES ""

typedef struct EsTable
{
	const char     *schema;
	const char     *name;
	char            relkind;
	const char     *comment;
	const EsColumn *columns;
	int             ncolumns;
	const EsIndex  *indexes;
	int             nindexes;
	const EsCheck  *checks;
	int             nchecks;
	const char     *definition;    /* of a sequence or a view; %1$s: the schema of the functions */
	const char     *also;          /* statements that follow CREATE TABLE: its first row ... */
	bool            of_extension;  /* it needs a function of the extension, and goes with it (O2) */
	int             guard;         /* the flags above */
	bool            plain_indexes; /* none may be unique, partial or on an expression */
	const char     *tenant;        /* whose a row is, for the policies; NULL: no tenant's */
	const char     *reset;         /* a statement, or as above; NULL: it stays as it is */
	bool            users_policies; /* our functions apply the policies of others to it */
	bool            owns;           /* its owner is the store's */
	EsFound        *found;          /* NULL: it is not looked up */

	/* looks at what else the module wants to know of the table, when the store is looked up */
	void (*look)(EsFound *found, Relation rel);
} EsTable;

/* A relation of the store: a table, or the like, or an index of one. */
typedef struct EsObject
{
	const EsTable *table;
	const EsIndex *index; /* NULL: the table itself */
	const char    *schema;
	const char    *name;
	char           relkind;
	int            at; /* where es_table_next() is */
} EsObject;

extern const EsTable *const *es_tables;
extern int                   es_ntables;

extern void           es_table_init(const EsTable *const *tables, int n);
extern bool           es_table_next(EsObject *object);
extern const EsTable *es_table_of(Oid relid);
extern Oid            es_table_relid(const EsTable *table);

#endif
