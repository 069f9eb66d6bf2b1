/*
 * definition.c
 *		Definitions: named things with options, each of which belongs to the role that
 *		has made it.  Create, replace, drop, for all kinds of them.
 *
 * A kind says what its table is, and checks what only it knows.  A role that may read
 * the log may make one; the role that has made it, and the store's owner, may change
 * it.  The creator is known by name, since roles come and go, and dumps have names.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "definition.h"
#include "events.h"
#include "owner.h"
#include "privilege.h"
#include "store.h"

/* A definition as it is stored. */
typedef struct Stored
{
	Jsonb *options;
	char  *created_by;
} Stored;

/* What each function begins with. */
static const EsStore *
begin_definition(const EsDefinitionKind *kind, const char *verb)
{
	const EsStore *store = es_store();
	char          *function = psprintf("es_%s_%s()", verb, kind->noun);

	PreventCommandIfReadOnly(function);
	PreventCommandIfParallelMode(function);
	PreventCommandDuringRecovery(function);
	es_privilege_check_read(&es_events);
	return store;
}

static char *
definition_name(const EsDefinitionKind *kind, FunctionCallInfo fcinfo)
{
	char *name;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s name must not be null", kind->noun), errhint("%s", kind->name_hint)));
	name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	kind->check_name(name);
	return name;
}

static void
check_options_size(const EsDefinitionKind *kind, Jsonb *options, Oid owner)
{
	if (VARSIZE(options) <= kind->max_bytes || has_privs_of_role(GetUserId(), owner))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("%s options are too long", kind->noun),
			 errdetail("They have %d bytes, and may have %d.", (int) VARSIZE(options),
					   kind->max_bytes),
			 errhint("%s", kind->too_long_hint)));
}

/* The options as they are to be stored. */
static Jsonb *
definition_options(const EsDefinitionKind *kind, FunctionCallInfo fcinfo, Oid owner)
{
	Jsonb *options;
	void  *read = palloc0(kind->size);

	if (PG_ARGISNULL(1))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("%s options must not be null", kind->noun),
						errhint("%s", kind->options_hint)));
	options = PG_GETARG_JSONB_P(1);
	check_options_size(kind, options, owner);
	es_options_read(kind->list, options, read);
	return kind->check(options, read);
}

static const char *
column_name(const EsDefinitionKind *kind, AttrNumber attno)
{
	return kind->table->columns[attno - 1].name;
}

/* Finds a definition; one that is to be changed is locked. */
static bool
find_definition(const EsDefinitionKind *kind, const char *name, Stored *stored, bool change)
{
	Oid   types[] = {TEXTOID};
	Datum values[] = {CStringGetTextDatum(name)};
	char *command =
		psprintf(change ? "SELECT %s, %s FROM %s.%s WHERE %s OPERATOR(pg_catalog.=) $1 FOR UPDATE"
						: "SELECT %s, %s FROM %s.%s WHERE %s OPERATOR(pg_catalog.=) $1",
				 column_name(kind, kind->options), column_name(kind, kind->created_by),
				 kind->table->schema, kind->table->name, column_name(kind, kind->name));
	bool isnull;

	if (es_owner_run_with(command, 1, types, values) == 0)
		return false;
	stored->options =
		DatumGetJsonbPCopy(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	stored->created_by = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2);
	return true;
}

/* Its creator, or the store's owner. */
static bool
may_change(const Stored *stored, Oid caller, Oid owner)
{
	Oid creator = get_role_oid(stored->created_by, true);

	return has_privs_of_role(caller, owner) ||
		   (OidIsValid(creator) && has_privs_of_role(caller, creator));
}

/*
 * Locks a definition, which the caller must be allowed to change.  The error does not
 * say what another role's definition is about, nor which role that is.
 */
static void
lock_own_definition(const EsDefinitionKind *kind, const char *name, Oid caller, Oid owner)
{
	Stored stored;

	if (!find_definition(kind, name, &stored, true))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("%s \"%s\" does not exist", kind->noun, name),
						errhint("Table %s.%s lists the %s.", kind->table->schema, kind->table->name,
								kind->table->name)));
	if (!may_change(&stored, caller, owner))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("must be owner of %s \"%s\"", kind->noun, name),
						errdetail("It was created by another role."),
						errhint("Its creator and the owner of the event store may change it.")));
}

/* Refuses to create what is there already, unless its options are the same. */
static void
check_same_options(const EsDefinitionKind *kind, const char *name, Jsonb *options,
				   const Stored *stored, bool may_see)
{
	if (compareJsonbContainers(&stored->options->root, &options->root) == 0)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_DUPLICATE_OBJECT),
			 errmsg("%s \"%s\" already exists", kind->noun, name),
			 may_see ? errdetail("Its options are %s.", JsonbToCString(NULL, &stored->options->root,
																	   VARSIZE(stored->options)))
					 : errdetail("It was created by another role."),
			 errhint("Change it with es_alter_%s, or choose another name.", kind->noun)));
}

static void
insert_definition(const EsDefinitionKind *kind, Datum *row)
{
	const EsTable *table = kind->table;
	Oid           *types = palloc(table->ncolumns * sizeof(Oid));
	StringInfoData places;

	initStringInfo(&places);
	for (int i = 0; i < table->ncolumns; i++)
	{
		types[i] = table->columns[i].type;
		appendStringInfo(&places, "%s$%d", i > 0 ? ", " : "", i + 1);
	}
	(void) es_owner_run_with(psprintf("INSERT INTO %s.%s VALUES (%s)", table->schema, table->name,
									  places.data),
							 table->ncolumns, types, row);
}

/*
 * Makes a definition; false where one with the same options is there.  That one is not
 * locked, so the call waits for no other transaction, and lets none wait.
 */
bool
es_definition_create(const EsDefinitionKind *kind, FunctionCallInfo fcinfo)
{
	const EsStore *store = begin_definition(kind, "create");
	Oid            caller = GetUserId();
	char          *name = definition_name(kind, fcinfo);
	Jsonb         *options = definition_options(kind, fcinfo, store->owner);
	Datum         *row = palloc0(kind->table->ncolumns * sizeof(Datum));
	EsIdentity     before;
	Stored         stored;
	bool           found;

	row[kind->name - 1] = CStringGetTextDatum(name);
	row[kind->options - 1] = JsonbPGetDatum(options);
	row[kind->created_by - 1] = CStringGetTextDatum(GetUserNameFromId(caller, false));
	row[kind->created_at - 1] = TimestampTzGetDatum(GetCurrentTransactionStartTimestamp());
	kind->fill(row);
	before = es_owner_become(store->owner);
	found = find_definition(kind, name, &stored, false);
	if (found)
		check_same_options(kind, name, options, &stored, may_change(&stored, caller, store->owner));
	else
	{
		kind->check_limit(caller);
		insert_definition(kind, row);
	}
	es_owner_become_again(before);
	return !found;
}

/* Gives a definition other options in the place of all that it has. */
void
es_definition_replace(const EsDefinitionKind *kind, FunctionCallInfo fcinfo)
{
	const EsStore *store = begin_definition(kind, "alter");
	Oid            caller = GetUserId();
	char          *name = definition_name(kind, fcinfo);
	Oid            types[] = {TEXTOID, JSONBOID};
	Datum          values[2];
	EsIdentity     before;

	values[0] = CStringGetTextDatum(name);
	values[1] = JsonbPGetDatum(definition_options(kind, fcinfo, store->owner));
	before = es_owner_become(store->owner);
	lock_own_definition(kind, name, caller, store->owner);
	(void) es_owner_run_with(psprintf("UPDATE %s.%s SET %s = $2 WHERE %s OPERATOR(pg_catalog.=) $1",
									  kind->table->schema, kind->table->name,
									  column_name(kind, kind->options),
									  column_name(kind, kind->name)),
							 2, types, values);
	es_owner_become_again(before);
}

/* Drops a definition. */
void
es_definition_drop(const EsDefinitionKind *kind, FunctionCallInfo fcinfo)
{
	const EsStore *store = begin_definition(kind, "drop");
	Oid            caller = GetUserId();
	char          *name = definition_name(kind, fcinfo);
	Oid            types[] = {TEXTOID};
	Datum          values[] = {CStringGetTextDatum(name)};
	EsIdentity     before = es_owner_become(store->owner);

	lock_own_definition(kind, name, caller, store->owner);
	(void) es_owner_run_with(psprintf("DELETE FROM %s.%s WHERE %s OPERATOR(pg_catalog.=) $1",
									  kind->table->schema, kind->table->name,
									  column_name(kind, kind->name)),
							 1, types, values);
	es_owner_become_again(before);
}
