/*
 * table.c
 *		The list of the store's relations, as _PG_init has handed it over.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "utils/lsyscache.h"

#include "table.h"

const EsTable *const *es_tables = NULL;
int                   es_ntables = 0;

/* Called once, from _PG_init. */
void
es_table_init(const EsTable *const *tables, int n)
{
	es_tables = tables;
	es_ntables = n;
}

/*
 * The next relation, in the order in which they are made: each table with its indexes
 * behind it.  The first call has an object that is all zeros; false at the end.
 */
bool
es_table_next(EsObject *object)
{
	const EsTable *table = object->table;
	int            index = object->index == NULL ? 0 : object->index - table->indexes + 1;

	if (table != NULL && index < table->nindexes)
	{
		object->index = &table->indexes[index];
		object->name = object->index->name;
		object->relkind = RELKIND_INDEX;
		return true;
	}
	if (object->at >= es_ntables)
		return false;
	table = es_tables[object->at++];
	object->table = table;
	object->index = NULL;
	object->schema = table->schema;
	object->name = table->name;
	object->relkind = table->relkind;
	return true;
}

/* The table of the store that this relation is by its name, or NULL. */
const EsTable *
es_table_of(Oid relid)
{
	const char *name = get_rel_name(relid);
	const char *schema = name == NULL ? NULL : get_namespace_name(get_rel_namespace(relid));

	for (int i = 0; schema != NULL && i < es_ntables; i++)
	{
		if (strcmp(es_tables[i]->name, name) == 0 && strcmp(es_tables[i]->schema, schema) == 0)
			return es_tables[i];
	}
	return NULL;
}

/* The relation of that name, or InvalidOid where it is not there. */
Oid
es_table_relid(const EsTable *table)
{
	Oid schema = get_namespace_oid(table->schema, true);

	return OidIsValid(schema) ? get_relname_relid(table->name, schema) : InvalidOid;
}
