/*
 * verify.c
 *		es_verify: looks over the whole store, and tells in rows what is in order and
 *		what is not.
 *
 * The checks are listed here, and each stands with what it looks at.  First come the
 * tables, as their definitions have them; what is missing there is skipped by the other
 * checks, so that a store that is not ready, or half restored, is told of and raises no
 * error.  Then the events are walked in the order of their positions, which a caller may
 * have done in pieces; the rest is looked at where the walk has come to the log's end.
 *
 * All rows are judged as of one snapshot, the caller's.  What stands outside of it, the
 * sequence, is read later: it only grows, so that appends which go on meanwhile make no
 * finding.  No lock is taken but AccessShareLock, and nothing is written: it runs on a
 * standby too.
 *
 * It may see every event, and names streams of all tenants: it is for the store's owner.
 *
 * Keeps A6: what the guards cannot prevent, it detects.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"

#include "args.h"
#include "events.h"
#include "owner.h"
#include "swap.h"
#include "verify.h"

PG_FUNCTION_INFO_V1(es_verify);

#define ES_VERIFY_NATTS 4

/* What is looked at when the walk over the events has come to the end. */
static void (*const checks[])(EsVerify *verify) = {
	es_verify_indexes,  es_verify_sequence, es_tick_verify,    es_epoch_verify,
	es_snapshot_verify, es_channel_verify,  es_binding_verify,
};

static void
put_row(EsVerify *verify, const char *what, const char *where, const char *verdict,
		const char *detail)
{
	Datum values[ES_VERIFY_NATTS] = {CStringGetTextDatum(what), CStringGetTextDatum(where),
									 CStringGetTextDatum(verdict), CStringGetTextDatum(detail)};
	bool  nulls[ES_VERIFY_NATTS] = {false};

	es_rows_put(&verify->rows, values, nulls);
}

/* Forgets what the last row that was looked at has left. */
void
es_verify_next(EsVerify *verify)
{
	MemoryContextReset(verify->scratch);
	CHECK_FOR_INTERRUPTS();
}

/* A number of things. */
char *
es_verify_count(int64 n, const char *one, const char *many)
{
	return psprintf("%lld %s", (long long) n, n == 1 ? one : many);
}

void
es_tally_begin(EsTally *tally, EsVerify *verify, const char *what)
{
	tally->verify = verify;
	tally->what = what;
	tally->findings = 0;
}

/* Tells of something that is wrong; of many of a kind, of the first ones only. */
void
es_tally_found(EsTally *tally, const char *verdict, const char *where, const char *detail, ...)
{
	MemoryContext old = MemoryContextSwitchTo(tally->verify->scratch);
	va_list       args;
	char          text[1024];

	if (tally->findings++ < ES_VERIFY_FINDINGS)
	{
		va_start(args, detail);
		if (vsnprintf(text, sizeof(text), detail, args) >= (int) sizeof(text))
			text[pg_mbcliplen(text, strlen(text), sizeof(text) - 1)] = '\0';
		va_end(args);
		put_row(tally->verify, tally->what, where, verdict, text);
	}
	MemoryContextSwitchTo(old);
}

/* Tells how many more there were, or that nothing was wrong. */
void
es_tally_end(EsTally *tally, const char *where, const char *detail, ...)
{
	va_list args;
	char    text[1024];

	if (tally->findings == 0)
	{
		va_start(args, detail);
		vsnprintf(text, sizeof(text), detail, args);
		va_end(args);
		put_row(tally->verify, tally->what, where, ES_VERIFY_OK, text);
	}
	else if (tally->findings > ES_VERIFY_FINDINGS)
		put_row(tally->verify, tally->what, where, ES_VERIFY_ERROR,
				psprintf("And %lld more of this kind.",
						 (long long) (tally->findings - ES_VERIFY_FINDINGS)));
}

/* Tells that something cannot be looked at, for want of what another check has told of. */
void
es_tally_skip(EsTally *tally, const char *where)
{
	es_tally_found(tally, ES_VERIFY_WARNING, where,
				   "Not checked: what it takes is missing, or not what it should be.");
}

/* Is this part of the store there?  If not, the check is skipped, which is told. */
bool
es_verify_have(const EsVerify *verify, EsTally *tally, Oid relid, const char *where)
{
	if (OidIsValid(relid))
		return true;
	if (tally->findings == 0)
		es_tally_skip(tally, where);
	return false;
}

/*
 * Runs something that may raise an error with this SQLSTATE, and answers with what that
 * says; NULL where it raises none.  Other errors are raised on.
 */
char *
es_verify_try(EsVerify *verify, int sqlstate, EsVerifyPart part, void *arg)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	char *volatile said = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		part(verify, arg);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
		if (error->sqlerrcode != sqlstate)
			ReThrowError(error);
		said = error->detail != NULL ? error->detail : error->message;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return said;
}

static void
begin(EsVerify *verify, FunctionCallInfo fcinfo)
{
	es_owner_check(es_store_owner());
	verify->after = es_arg_int8(fcinfo, 0, 0);
	verify->max_count = es_arg_max_count(fcinfo, 1);
	verify->reached = verify->after;
	verify->rows = es_rows_begin(fcinfo);
	verify->snapshot = GetActiveSnapshot();
	verify->scratch =
		AllocSetContextCreate(CurrentMemoryContext, "es_verify", ALLOCSET_DEFAULT_SIZES);
}

/* Opens es.events, which must lie in a file that the snapshot knows. */
static void
open_events(EsVerify *verify)
{
	EsSwap swap;

	verify->events = table_open(es_events.found->relid, AccessShareLock);
	if (es_swap_begin(&swap, verify->events, verify->snapshot))
		es_swap_raise(verify->events);
}

/* Tells up to where the events were looked at. */
static void
put_reached(EsVerify *verify)
{
	put_row(verify, "reached", psprintf("%lld", (long long) verify->reached),
			verify->at_end ? ES_VERIFY_OK : ES_VERIFY_MORE,
			verify->at_end
				? "This is the end of the log."
				: psprintf("Go on with es_verify(after => %lld), which looks at the rest too.",
						   (long long) verify->reached));
}

/*
 * es_verify(after, max_count) looks over the store: its tables, the events above a
 * position, at most so many, and, where no more follow, all the rest.
 */
Datum
es_verify(PG_FUNCTION_ARGS)
{
	EsVerify verify = {{0}};

	begin(&verify, fcinfo);
	es_verify_tables(&verify);
	/* tables of another version may mean anything */
	if (!verify.known)
		return (Datum) 0;
	if (OidIsValid(es_events.found->relid))
		open_events(&verify);
	es_verify_events(&verify);
	for (int i = 0; verify.at_end && i < (int) lengthof(checks); i++)
	{
		checks[i](&verify);
		es_verify_next(&verify);
	}
	if (verify.events != NULL)
		table_close(verify.events, NoLock);
	put_reached(&verify);
	MemoryContextDelete(verify.scratch);
	return (Datum) 0;
}
