/*
 * schema.h
 *		The store's relations, as the statements that make them.
 */
#ifndef ES_SCHEMA_H
#define ES_SCHEMA_H

/* A new value of es.store.salt. */
#define ES_SALT_NEW "pg_catalog.uuid_hash_extended(pg_catalog.gen_random_uuid(), 0)"

typedef struct EsObject
{
	const char *schema;
	const char *name; /* of the relation; NULL: the schema itself */
	char        relkind;
	const char *ddl;
} EsObject;

extern const EsObject    es_schema_objects[];
extern const int         es_schema_nobjects;
extern const char *const es_schema_migrations[];

#endif
