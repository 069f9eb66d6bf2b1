/*
 * make.c
 *		Makes what is missing of the store's relations, by their descriptors.
 *
 * Names are qualified, and nothing depends on a member of the extension (O2) but what its
 * descriptor says goes with it: no generated column, no default, no type of ours.  Indexes
 * are made apart from their tables, for a restore may have brought the one without the other.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/skey.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "guard.h"
#include "layout.h"
#include "make.h"
#include "owner.h"
#include "store.h"
#include "table.h"

/* The owner of a schema or of a relation. */
static Oid
object_owner(int cache, Oid oid)
{
	HeapTuple tuple = SearchSysCache1(cache, ObjectIdGetDatum(oid));
	Oid       owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for object %u", oid);
	owner = cache == NAMESPACEOID ? ((Form_pg_namespace) GETSTRUCT(tuple))->nspowner
								  : ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}

pg_noreturn static void
refuse_schema(const char *schema, const char *detail, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_DUPLICATE_SCHEMA),
			 errmsg("schema \"%s\" exists and cannot be taken for the event store's", schema),
			 errdetail_internal("%s", detail), errhint("%s", hint)));
}

/* One owner for all that is there; *owner is InvalidOid until the first is seen. */
static void
check_owner(Oid *owner, Oid found, const char *schema)
{
	if (!OidIsValid(*owner))
		*owner = found;
	else if (found != *owner)
		refuse_schema(schema,
					  psprintf("It, or something in it, belongs to role \"%s\", the rest to role "
							   "\"%s\".",
							   GetUserNameFromId(found, false), GetUserNameFromId(*owner, false)),
					  "Give the whole store one owner, or rename the schema.");
}

/* Is it a relation that the store makes in es_private? */
static bool
is_private_relation(Form_pg_class form)
{
	for (EsObject object = {0}; es_table_next(&object);)
	{
		if (strcmp(object.schema, ES_PRIVATE_SCHEMA) == 0 &&
			strcmp(object.name, NameStr(form->relname)) == 0 && object.relkind == form->relkind)
			return true;
	}
	return false;
}

/*
 * May a schema be taken where there is no store?  It holds no relation then; but
 * es_private may hold ours, which DROP SCHEMA es leaves.
 */
static bool
is_free_schema(const char *name, Oid schema)
{
	Relation    rel = table_open(RelationRelationId, AccessShareLock);
	bool        is_private = strcmp(name, ES_PRIVATE_SCHEMA) == 0;
	bool        free = true;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple   tuple;

	ScanKeyInit(&key, Anum_pg_class_relnamespace, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(schema));
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 1, &key);
	while (free && HeapTupleIsValid(tuple = systable_getnext(scan)))
		free = is_private && is_private_relation((Form_pg_class) GETSTRUCT(tuple));
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return free;
}

/* Is the schema there?  It must then be free, or the store's. */
static bool
has_schema(const char *name, Oid *owner)
{
	Oid schema = get_namespace_oid(name, true);

	if (!OidIsValid(schema))
		return false;
	check_owner(owner, object_owner(NAMESPACEOID, schema), name);
	if (!OidIsValid(es_table_relid(&es_store_table)) && !is_free_schema(name, schema))
		refuse_schema(name, "It holds relations, but there is no table \"es.store\".",
					  "Rename that schema, or use another database.");
	return true;
}

/* Is the object there?  It must then be of its kind and its owner's. */
static bool
is_present(const EsObject *object, Oid *owner)
{
	Oid schema = get_namespace_oid(object->schema, true);
	Oid relid = OidIsValid(schema) ? get_relname_relid(object->name, schema) : InvalidOid;

	if (!OidIsValid(relid))
		return false;
	if (get_rel_relkind(relid) != object->relkind)
		refuse_schema(
			object->schema,
			psprintf("Relation \"%s\" in it is not of the kind that the event store makes.",
					 object->name),
			"Rename that schema, or undo the change.");
	check_owner(owner, object_owner(RELOID, relid), object->schema);
	return true;
}

static const struct
{
	const char *name;
	const char *comment;
} schemas[] = {
	{ES_SCHEMA, "The event store (pg_eventstore)."},
	{ES_PRIVATE_SCHEMA, "What no role may touch: locks of the event store."},
};

/* The owner of what is there of a store; *owner stays as it is where there is nothing. */
void
es_make_find_owner(Oid *owner)
{
	for (int i = 0; i < (int) lengthof(schemas); i++)
		(void) has_schema(schemas[i].name, owner);
	for (EsObject object = {0}; es_table_next(&object);)
		(void) is_present(&object, owner);
}

static void
put_comment(StringInfo ddl, const char *kind, const char *name, const char *comment)
{
	appendStringInfo(ddl, "COMMENT ON %s %s IS %s;", kind, name, quote_literal_cstr(comment));
}

static bool
is_text(Oid type)
{
	return type == TEXTOID || type == TEXTARRAYOID;
}

static void
put_columns(StringInfo ddl, const EsTable *table)
{
	for (int i = 0; i < table->ncolumns; i++)
	{
		const EsColumn *column = &table->columns[i];

		appendStringInfo(ddl, "%s%s %s%s%s", i == 0 ? "" : ", ", column->name,
						 format_type_extended(column->type, -1, FORMAT_TYPE_FORCE_QUALIFY),
						 is_text(column->type) ? " COLLATE pg_catalog.\"C\"" : "",
						 column->notnull ? " NOT NULL" : "");
	}
	for (int i = 0; i < table->nchecks; i++)
		appendStringInfo(ddl, ", CONSTRAINT %s CHECK (%s)", table->checks[i].name,
						 table->checks[i].expression);
}

static void
put_comments(StringInfo ddl, const EsTable *table, const char *name)
{
	for (int i = 0; i < table->nchecks; i++)
		put_comment(ddl, "CONSTRAINT", psprintf("%s ON %s", table->checks[i].name, name),
					table->checks[i].comment);
	for (int i = 0; i < table->ncolumns; i++)
		put_comment(ddl, "COLUMN", psprintf("%s.%s", name, table->columns[i].name),
					table->columns[i].comment);
}

/* The statement that makes a table, a sequence or a view. */
static void
put_relation(StringInfo ddl, const EsTable *table, const char *functions)
{
	const char *schema = table->schema;
	const char *name = table->name;

	if (table->relkind == RELKIND_RELATION)
	{
		appendStringInfo(ddl, "CREATE TABLE %s.%s (", schema, name);
		put_columns(ddl, table);
		appendStringInfo(ddl, ") USING heap; REVOKE ALL ON %s.%s FROM PUBLIC;", schema, name);
	}
	else if (table->relkind == RELKIND_SEQUENCE)
		appendStringInfo(ddl,
						 "CREATE SEQUENCE %1$s.%2$s AS pg_catalog.int8 CACHE 1 NO CYCLE OWNED BY "
						 "%1$s.%3$s; REVOKE ALL ON SEQUENCE %1$s.%2$s FROM PUBLIC;",
						 schema, name, table->definition);
	else
	{
		appendStringInfo(ddl, "CREATE VIEW %s.%s %s AS ", schema, name,
						 table->of_extension ? "WITH (security_invoker = true)" : "");
		appendStringInfo(ddl, table->definition,
						 functions == NULL ? "" : quote_identifier(functions));
		appendStringInfo(ddl, "; REVOKE ALL ON %s.%s FROM PUBLIC;", schema, name);
	}
}

static char *
table_ddl(const EsTable *table, const char *functions)
{
	char          *name = psprintf("%s.%s", table->schema, table->name);
	StringInfoData ddl;

	initStringInfo(&ddl);
	put_relation(&ddl, table, functions);
	put_comment(&ddl,
				table->relkind == RELKIND_RELATION   ? "TABLE"
				: table->relkind == RELKIND_SEQUENCE ? "SEQUENCE"
													 : "VIEW",
				name, table->comment);
	put_comments(&ddl, table, name);
	if (table->also != NULL)
		appendStringInfoString(&ddl, table->also);
	return ddl.data;
}

static char *
column_list(const EsTable *table, const EsIndex *index)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < es_layout_ncolumns(index); i++)
		appendStringInfo(&list, "%s%s", i == 0 ? "" : ", ",
						 table->columns[index->columns[i] - 1].name);
	return list.data;
}

/* The statements that make an index; what is a key is a constraint. */
static char *
index_ddl(const EsTable *table, const EsIndex *index)
{
	char          *table_name = psprintf("%s.%s", table->schema, table->name);
	char          *list = column_list(table, index);
	StringInfoData ddl;

	initStringInfo(&ddl);
	switch (index->kind)
	{
		case ES_INDEX_PRIMARY:
		case ES_INDEX_UNIQUE:
			appendStringInfo(&ddl, "ALTER TABLE %s ADD CONSTRAINT %s %s (%s);", table_name,
							 index->name,
							 index->kind == ES_INDEX_PRIMARY ? "PRIMARY KEY" : "UNIQUE", list);
			put_comment(&ddl, "CONSTRAINT", psprintf("%s ON %s", index->name, table_name),
						index->comment);
			return ddl.data;
		case ES_INDEX_PLAIN:
			appendStringInfo(&ddl, "CREATE INDEX %s ON %s.%s (%s);", index->name, table->schema,
							 table->name, list);
			break;
		case ES_INDEX_BRIN:
			appendStringInfo(&ddl, "CREATE INDEX %s ON %s.%s USING brin (%s);", index->name,
							 table->schema, table->name, list);
			break;
		case ES_INDEX_ONE_ROW:
			appendStringInfo(&ddl, "CREATE UNIQUE INDEX %s ON %s.%s ((true));", index->name,
							 table->schema, table->name);
			break;
	}
	put_comment(&ddl, "INDEX", psprintf("%s.%s", table->schema, index->name), index->comment);
	return ddl.data;
}

/*
 * Does another index serve for this one?  One of this name that the store could not read
 * by stands in the way.
 */
static bool
is_served(const EsObject *object, bool present)
{
	Relation rel;
	bool     served;

	if (object->index == NULL || !object->index->needed)
		return false;
	rel = table_open(es_table_relid(object->table), AccessShareLock);
	served = OidIsValid(es_layout_find_index(rel, object->index));
	table_close(rel, NoLock);
	if (present && !served)
		refuse_schema(object->schema,
					  psprintf("Index \"%s\" in it is not valid, or not on the columns that the "
							   "event store reads by.",
							   object->name),
					  "Drop that index, and run SELECT es_init() again.");
	return served;
}

/* Makes what is missing; returns how much that was. */
static int
make_objects(const char *functions, Oid *owner)
{
	int made = 0;

	for (EsObject object = {0}; es_table_next(&object);)
	{
		bool present;

		if (object.table->of_extension != (functions != NULL))
			continue;
		present = is_present(&object, owner);
		/* an index of another name on the same columns will do */
		if (is_served(&object, present) || present)
			continue;
		es_owner_run_ddl(object.index == NULL ? table_ddl(object.table, functions)
											  : index_ddl(object.table, object.index));
		made++;
	}
	return made;
}

static char *
schema_ddl(const char *name, const char *comment)
{
	StringInfoData ddl;

	initStringInfo(&ddl);
	appendStringInfo(&ddl, "CREATE SCHEMA %s; REVOKE ALL ON SCHEMA %s FROM PUBLIC;", name, name);
	put_comment(&ddl, "SCHEMA", name, comment);
	return ddl.data;
}

/* Makes the schemas and relations that are missing; returns how many it made. */
int
es_make_tables(Oid *owner)
{
	int made = 0;

	for (int i = 0; i < (int) lengthof(schemas); i++)
	{
		if (has_schema(schemas[i].name, owner))
			continue;
		es_owner_run_ddl(schema_ddl(schemas[i].name, schemas[i].comment));
		made++;
	}
	return made + make_objects(NULL, owner);
}

/*
 * Makes the views that hang on functions of the extension, which stand in that schema;
 * DROP EXTENSION CASCADE takes them.
 */
int
es_make_views(const char *functions, Oid *owner)
{
	return make_objects(functions, owner);
}

static bool
guards_stand(const EsTable *table)
{
	Relation rel = table_open(es_table_relid(table), AccessShareLock);
	bool     stand = es_guard_stand(rel, NULL);

	table_close(rel, NoLock);
	return stand;
}

static void
make_guard(const char *functions, const EsTable *table, const char *name, const char *events,
		   const char *each, const char *comment)
{
	StringInfoData said;

	if (OidIsValid(get_trigger_oid(es_table_relid(table), name, true)))
		es_owner_run_ddl(psprintf("DROP TRIGGER %s ON %s.%s", name, table->schema, table->name));
	es_owner_run_ddl(psprintf("CREATE TRIGGER %s BEFORE %s ON %s.%s FOR EACH %s "
							  "EXECUTE FUNCTION %s()",
							  name, events, table->schema, table->name, each,
							  quote_qualified_identifier(functions, ES_GUARD_FUNCTION)));
	es_owner_run_ddl(
		psprintf("ALTER TABLE %s.%s ENABLE ALWAYS TRIGGER %s", table->schema, table->name, name));
	initStringInfo(&said);
	put_comment(&said, "TRIGGER", psprintf("%s ON %s.%s", name, table->schema, table->name),
				comment);
	es_owner_run(said.data);
}

/* Whom the guards of a table tell, where they refuse nothing. */
static const char *
is_told(const EsTable *table)
{
	return (table->guard & ES_GUARD_TELLS) != 0 ? "all sessions" : "the publisher";
}

/* Puts both guards on each table that lacks one of them; false where all stand. */
bool
es_make_guards(const char *functions)
{
	bool made = false;

	for (int i = 0; i < es_ntables; i++)
	{
		const EsTable *table = es_tables[i];
		bool           refuses = (table->guard & ES_GUARD_REFUSES) != 0;

		if (table->guard == 0 || guards_stand(table))
			continue;
		make_guard(functions, table, ES_GUARD_ROW, "INSERT OR UPDATE OR DELETE", "ROW",
				   refuses ? "Refuses rows that do not come by the event store's functions."
						   : psprintf("Tells %s that a %.*s has changed.", is_told(table),
									  (int) strlen(table->name) - 1, table->name));
		make_guard(functions, table, ES_GUARD_STATEMENT, "INSERT OR UPDATE OR DELETE OR TRUNCATE",
				   "STATEMENT",
				   refuses ? "Refuses INSERT, UPDATE, DELETE and TRUNCATE around the event store's "
							 "functions."
						   : psprintf("Tells %s that %s may have changed.", is_told(table),
									  table->name));
		made = true;
	}
	return made;
}
