/*
 * schema.h
 *		The store's relations, as the statements that make them.
 */
#ifndef ES_SCHEMA_H
#define ES_SCHEMA_H

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
