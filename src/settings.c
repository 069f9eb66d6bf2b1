/*
 * settings.c
 *		The settings pg_eventstore.*: their definitions, checks and values.
 *
 * The form of pg_eventstore.metadata is checked when it is set, so that a typing
 * error is met at the SET and not at some later append.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#include "compat.h"
#include "settings.h"

bool es_settings_allow_maintenance = false;
int  es_settings_channels_per_role = 100;

static char *metadata_text = NULL;
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
	MarkGUCPrefixReserved("pg_eventstore");
}

/* The lexer's memory goes with a context of its own. */
static bool
is_json(char *text)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "pg_eventstore setting", ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	bool          result = es_compat_is_json(text);

	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return result;
}

static bool
check_metadata(char **newval, void **extra, GucSource source)
{
	const char *p = *newval + strspn(*newval, " \t\r\n");

	if (**newval == '\0')
		return true;
	if (*p == '{' && is_json(*newval))
		return true;
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
