/*
 * settings.c
 *		The settings pg_eventstore.*: their definitions, checks and values.
 *
 * The form of pg_eventstore.metadata is checked when it is set, so that a typing
 * error is met at the SET and not at some later append.  The check raises nothing, for
 * the postmaster makes it too, when its files are read.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#include "compat.h"
#include "settings.h"

/* How deeply pg_eventstore.metadata may be nested; each level takes some of the stack. */
#define ES_METADATA_NESTING 1000

bool es_settings_allow_maintenance = false;
int  es_settings_channels_per_role = 100;

static char *metadata_text = NULL;
static char *version_text = NULL;
static bool  allow_reset = false; /* read from the catalog by es_reset() */

static bool check_metadata(char **newval, void **extra, GucSource source);

/* Says in the server's log who begins a maintenance session. */
static void
log_maintenance(bool newval, void *extra)
{
	if (newval && !es_settings_allow_maintenance && IsUnderPostmaster)
		ereport(LOG, (errmsg("pg_eventstore maintenance: switched on in process %d", MyProcPid)));
}

/* Defines the settings; called once, from _PG_init. */
void
es_settings_init(void)
{
	DefineCustomStringVariable(
		"pg_eventstore.metadata", "Metadata merged under the metadata of each appended event.",
		"A JSON object as text; meant for SET LOCAL. An event's own keys win.", &metadata_text, "",
		PGC_USERSET, 0, check_metadata, NULL, NULL);
	DefineCustomBoolVariable(
		"pg_eventstore.allow_maintenance",
		"Lets a superuser load rows into es.events and change the store's tables.",
		"For restores, imports and migrations. Each use is written to the "
		"server's log. Stored events cannot be changed even so.",
		&es_settings_allow_maintenance, false, PGC_SUSET, 0, NULL, log_maintenance, NULL);
	DefineCustomBoolVariable("pg_eventstore.allow_reset",
							 "Lets es_reset() empty the store of a test database.",
							 "Counts only where it was set by ALTER DATABASE ... SET.",
							 &allow_reset, false, PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"pg_eventstore.channels_per_role", "How many channels a role may have made.",
		"-1 means without limit. The store's owner and superusers are not limited.",
		&es_settings_channels_per_role, 100, -1, INT_MAX, PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("pg_eventstore.version",
							   "The version of the library that this session has loaded.",
							   "Cannot be set.", &version_text, "", PGC_INTERNAL,
							   GUC_NOT_IN_SAMPLE | GUC_DISALLOW_IN_FILE, NULL, NULL, NULL);
	SetConfigOption("pg_eventstore.version", ES_VERSION, PGC_INTERNAL, PGC_S_DYNAMIC_DEFAULT);
	MarkGUCPrefixReserved("pg_eventstore");
}

/* How deeply arrays and objects are nested in a text; brackets in strings do not count. */
static int
nesting(const char *text)
{
	bool in_string = false;
	int  depth = 0;
	int  deepest = 0;

	for (const char *p = text; *p != '\0'; p++)
	{
		if (in_string && *p == '\\' && p[1] != '\0')
			p++;
		else if (*p == '"')
			in_string = !in_string;
		else if (!in_string && (*p == '[' || *p == '{'))
		{
			depth++;
			deepest = Max(deepest, depth);
		}
		else if (!in_string && (*p == ']' || *p == '}'))
			depth--;
	}
	return deepest;
}

/*
 * Is the text JSON?  Never raises: the postmaster, which reads its files again, takes an
 * error for its end.  The parser takes no locks and no pins, so that the error is all that
 * is to be cleared; where it is not about the text, *failure says what it is.
 */
static bool
is_json(char *text, char **failure)
{
	MemoryContext old = CurrentMemoryContext;
	MemoryContext volatile context = NULL;
	volatile bool result = false;

	PG_TRY();
	{
		context = AllocSetContextCreate(old, "pg_eventstore setting", ALLOCSET_SMALL_SIZES);
		MemoryContextSwitchTo(context);
		result = es_compat_is_json(text);
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(old);
		error = CopyErrorData();
		FlushErrorState();
		*failure = error->message;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(old);
	if (context != NULL)
		MemoryContextDelete(context);
	return result;
}

static bool
check_metadata(char **newval, void **extra, GucSource source)
{
	const char *p = *newval + strspn(*newval, " \t\r\n");
	char       *failure = NULL;

	if (**newval == '\0')
		return true;
	if (nesting(*newval) > ES_METADATA_NESTING)
	{
		GUC_check_errdetail("Its arrays and objects are nested more than %d deep.",
							ES_METADATA_NESTING);
		return false;
	}
	if (*p == '{' && is_json(*newval, &failure))
		return true;
	if (failure != NULL)
		GUC_check_errdetail("It could not be read: %s.", failure);
	else
		GUC_check_errdetail("The value is not a JSON object.");
	GUC_check_errhint("Write an object such as {\"actor\": \"anna\"}, or leave it empty.");
	return false;
}

static void
name_setting(void *arg)
{
	errcontext("setting pg_eventstore.metadata");
}

/*
 * The value of pg_eventstore.metadata, or NULL where it is empty; in the current
 * memory context.  The check hook has seen its form, not whether jsonb can store
 * it, and a client's start-up packet may have brought bytes of another encoding.
 */
Jsonb *
es_settings_metadata(void)
{
	ErrorContextCallback context = {error_context_stack, name_setting, NULL};
	Jsonb               *metadata;

	if (metadata_text == NULL || *metadata_text == '\0')
		return NULL;
	error_context_stack = &context;
	pg_verifymbstr(metadata_text, strlen(metadata_text), false);
	metadata = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(metadata_text)));
	error_context_stack = context.previous;
	return metadata;
}
