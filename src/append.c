/*
 * append.c
 *		What an append does, whatever function it came by.
 *
 *	 validated request
 *		  |
 *	 privileges, read-only, recovery        (what direct writes would skip)
 *		  |
 *	 lock the streams, sorted               A1, A7
 *		  |
 *	 read their tails, newest committed     A3
 *		  |
 *	 ids given and known? --- all of them -> repeated: the original answer   A5
 *		  |                   some, or others -> SE002
 *		  |
 *	 versions as expected? -- no -> conflict; nothing is consumed            A3
 *		  |
 *	 tails seen by the caller's snapshot? -- no -> 40001                     A3
 *		  |
 *	 positions, heap, indexes, triggers     A1, A2, A4
 *
 * All of it happens in the caller's transaction, so it is all or nothing (A2).
 * Functions that take arguments apart are in append_args.c and append_json.c.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "append.h"
#include "errors.h"
#include "events.h"
#include "lock.h"
#include "name.h"
#include "policy.h"
#include "privilege.h"
#include "sequence.h"
#include "shared.h"
#include "store.h"
#include "text.h"
#include "visible.h"
#include "writer.h"

/* Sets up the i-th stream of a request; the name has been checked. */
void
es_append_add_stream(EsAppend *append, int i, text *name, int64 expected)
{
	append->streams[i].hash = es_lock_hash(append->tenant, name);
	append->streams[i].expected = expected;
	append->log[i].name = name;
	append->log[i].category = es_name_category(name);
}

/* An expected version is -2, -1, or not negative. */
void
es_append_check_expected(int64 expected, const EsPlace *place)
{
	if (expected < ES_EXPECT_EXISTS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unknown expected version %lld", (long long) expected),
				 errdetail("In argument \"%s\".", es_place(place, "expected")),
				 errhint("n >= 1: the stream is at exactly that version; 0: it does not exist; -1: "
						 "any version; -2: it exists.")));
}

static int
compare_events(const void *a, const void *b)
{
	const EsEvent *x = *(EsEvent *const *) a;
	const EsEvent *y = *(EsEvent *const *) b;
	int            order = memcmp(&x->id, &y->id, UUID_LEN);

	return order != 0 ? order : (x < y ? -1 : 1);
}

/* The first event whose id an earlier one has too, or NULL. */
const EsEvent *
es_append_find_double(const EsAppend *append)
{
	EsEvent      **sorted;
	const EsEvent *found = NULL;
	int            n = 0;

	if (append->nids < 2)
		return NULL;
	sorted = MemoryContextAllocHuge(CurrentMemoryContext, append->nids * sizeof(EsEvent *));
	for (int i = 0; i < append->nevents; i++)
	{
		if (append->events[i].has_id)
			sorted[n++] = &append->events[i];
	}
	qsort(sorted, n, sizeof(EsEvent *), compare_events);
	for (int i = 1; i < n; i++)
	{
		if (memcmp(&sorted[i - 1]->id, &sorted[i]->id, UUID_LEN) == 0 &&
			(found == NULL || sorted[i] < found))
			found = sorted[i];
	}
	pfree(sorted);
	return found;
}

/* An id may not come twice in one request. */
void
es_append_raise_double(const EsEvent *event, const EsPlace *place)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("event id %s comes twice in one call", es_uuid_text(&event->id)),
					errdetail("In argument \"%s\".", es_place(place, "id")),
					errhint("Give each event an id of its own, or none.")));
}

static void
lock_streams(const EsAppend *append)
{
	uint64  single;
	int     n = append->nstreams;
	uint64 *hashes = n == 1 ? &single : palloc(n * sizeof(uint64));
	text  **names = n == 1 ? &append->log[0].name : palloc(n * sizeof(text *));

	for (int i = 0; i < n; i++)
	{
		hashes[i] = append->streams[i].hash;
		names[i] = append->log[i].name;
	}
	es_lock_streams(append->tenant, names, hashes, n, es_all_streams.found->relid,
					es_events.found->relid);
	if (n > 1)
	{
		pfree(hashes);
		pfree(names);
	}
}

/*
 * Locks the streams, and opens the table.  The view that stands for the intent may have been
 * made anew while we waited: then the new one is the mark that others look for.
 */
static Relation
lock_all(const EsAppend *append)
{
	for (;;)
	{
		Oid      mark = es_all_streams.found->relid;
		Relation events;

		lock_streams(append);
		events = es_store_open(&es_events, RowExclusiveLock);
		if (es_all_streams.found->relid == mark)
			return events;
		table_close(events, NoLock);
	}
}

/*
 * Where a stream ended when this session last knew, found by its hash: a hint where to
 * look first, for who appends without an expected version.  What is out of date here, or
 * of another stream, costs a second look, never an answer.  Streams that meet in one row
 * stand there with the latest first; the last one drops out.
 */
typedef struct End
{
	uint64 hash;
	int64  version;
} End;

static End ends[256][4];

static int64
recall_end(const EsAppendStream *stream)
{
	const End *row = ends[stream->hash % lengthof(ends)];

	if (stream->expected > 0)
		return stream->expected;
	for (int i = 0; i < lengthof(ends[0]); i++)
		if (row[i].hash == stream->hash)
			return row[i].version;
	return 0;
}

static void
remember_ends(const EsAppend *append)
{
	for (int i = 0; i < append->nstreams; i++)
	{
		End  latest = {append->streams[i].hash, append->log[i].tail.version};
		End *row = ends[latest.hash % lengthof(ends)];
		int  place = 0;

		while (place < lengthof(ends[0]) - 1 && row[place].hash != latest.hash)
			place++;
		memmove(row + 1, row, place * sizeof(End));
		row[0] = latest;
	}
}

static void
read_tails(EsAppend *append, Relation events)
{
	EsScan *scan = es_log_tail_scan(events);

	for (int i = 0; i < append->nstreams; i++)
	{
		append->log[i].tail =
			es_log_tail(scan, append->tenant, append->log[i].name, recall_end(&append->streams[i]));
		append->streams[i].actual = append->log[i].tail.version;
		CHECK_FOR_INTERRUPTS();
	}
	es_scan_end(scan);
}

/* A text as a JSON string. */
static char *
json_text(text *value)
{
	StringInfoData buf;

	initStringInfo(&buf);
	escape_json(&buf, text_to_cstring(value));
	return buf.data;
}

/* May the appender be told where the event is that has the id?  Users' own policies may hide it. */
static bool
may_be_told(EsScan *scan)
{
	return !es_policy_applies(scan->heap) ||
		   (pg_class_aclcheck(RelationGetRelid(scan->heap), GetUserId(), ACL_SELECT) ==
				ACLCHECK_OK &&
			es_visible_is(scan->heap, scan->slot));
}

static void
raise_id_conflict(const char *message, const char *reason, const EsEvent *event, EsScan *scan,
				  const EsStored *stored, const char *hint)
{
	char *where = "";

	if (may_be_told(scan))
		where = psprintf(", \"stream\": %s, \"version\": %lld", json_text(stored->stream),
						 (long long) stored->version);
	ereport(ERROR,
			(errcode(ERRCODE_ES_ID_CONFLICT), errmsg("%s", message),
			 errdetail_internal("{\"reason\": \"%s\", \"id\": \"%s\"%s}", reason,
								es_uuid_text(&event->id), where),
			 errhint("%s", hint), err_generic_string(PG_DIAG_CONSTRAINT_NAME, "es_event_id")));
}

static void
raise_partial(int known, const EsAppend *append)
{
	ereport(ERROR,
			(errcode(ERRCODE_ES_ID_CONFLICT),
			 errmsg_plural("%d of the %d events is already stored",
						   "%d of the %d events are already stored", known, known, append->nevents),
			 errdetail_internal("{\"reason\": \"partial\", \"known\": %d, \"total\": %d}", known,
								append->nevents),
			 errhint("Retry with exactly the events of the first call, each with its id."),
			 err_generic_string(PG_DIAG_CONSTRAINT_NAME, "es_event_id")));
}

/*
 * Looks one event up; true where it is known.  It must then be the same, in the
 * same stream, and behind the stream's events before it in the request.
 */
static bool
is_known(EsAppend *append, EsScan *scan, EsEvent *event, int64 *last_version)
{
	EsStored stored;

	if (!es_log_find(scan, append->tenant, event, &stored))
		return false;
	if (!es_same_text(stored.stream, append->log[event->stream].name))
		raise_id_conflict("the event id is already in use in another stream", "elsewhere", event,
						  scan, &stored, "Give the event an id of its own.");
	if (!stored.same)
		raise_id_conflict("the event id is already stored with other content", "content", event,
						  scan, &stored,
						  "A retry must carry the same type, data and payload; a new event needs "
						  "an id of its own.");
	if (stored.version <= last_version[event->stream])
		raise_id_conflict("the event ids are stored in another order", "content", event, scan,
						  &stored, "A retry must carry the events in their first order.");
	event->version = last_version[event->stream] = stored.version;
	event->position = stored.position;
	return true;
}

/* A5: are these events already stored?  All, or none; anything else is SE002. */
static bool
is_repeated(EsAppend *append, Relation events)
{
	EsScan *scan = es_log_id_scan(events, SnapshotSelf);
	int64  *last_version = palloc0(append->nstreams * sizeof(int64));
	int     known = 0;

	for (int i = 0; i < append->nevents; i++)
	{
		EsEvent *event = &append->events[i];

		if (event->has_id && is_known(append, scan, event, last_version))
			known++;
		CHECK_FOR_INTERRUPTS();
	}
	es_scan_end(scan);
	pfree(last_version);
	if (known > 0 && known < append->nevents)
		raise_partial(known, append);
	return known > 0;
}

/* Is a stream, of which the version has been read, at its expected one? */
bool
es_append_is_expected(const EsAppendStream *stream)
{
	if (stream->expected == ES_EXPECT_ANY)
		return true;
	if (stream->expected == ES_EXPECT_EXISTS)
		return stream->actual > 0;
	return stream->actual == stream->expected;
}

static bool
all_expected(const EsAppend *append)
{
	for (int i = 0; i < append->nstreams; i++)
	{
		if (!es_append_is_expected(&append->streams[i]))
			return false;
	}
	return true;
}

/* A3: nobody appends behind an event that his transaction cannot see. */
static void
check_visible(const EsAppend *append)
{
	for (int i = 0; i < append->nstreams; i++)
	{
		const EsLogStream *stream = &append->log[i];

		if (!stream->tail.visible)
			ereport(ERROR,
					(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					 errmsg("could not serialize access to stream \"%s\"",
							text_to_cstring(stream->name)),
					 errdetail("Version %lld was appended after this transaction's snapshot was "
							   "taken.",
							   (long long) stream->tail.version),
					 errhint("Retry the whole transaction, loading the stream again.")));
	}
}

/* Are the two indexes on the same columns? */
static bool
same_columns(Oid a, Oid b)
{
	HeapTuple x = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(a));
	HeapTuple y = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(b));
	bool      same = false;

	if (HeapTupleIsValid(x) && HeapTupleIsValid(y))
	{
		Form_pg_index f = (Form_pg_index) GETSTRUCT(x);
		Form_pg_index g = (Form_pg_index) GETSTRUCT(y);

		same = f->indnkeyatts == g->indnkeyatts &&
			   memcmp(f->indkey.values, g->indkey.values, f->indnkeyatts * sizeof(int16)) == 0;
	}
	if (HeapTupleIsValid(x))
		ReleaseSysCache(x);
	if (HeapTupleIsValid(y))
		ReleaseSysCache(y);
	return same;
}

/*
 * Is it a unique violation of this index of es.events, or of another on its columns?
 * REINDEX CONCURRENTLY has two of them for a while.  They are looked up only then.
 */
static bool
is_violation(const ErrorData *error, Relation events, Oid index)
{
	return error->sqlerrcode == ERRCODE_UNIQUE_VIOLATION && error->schema_name != NULL &&
		   error->table_name != NULL && error->constraint_name != NULL &&
		   strcmp(error->schema_name, ES_SCHEMA) == 0 &&
		   strcmp(error->table_name, RelationGetRelationName(events)) == 0 &&
		   same_columns(get_relname_relid(error->constraint_name, RelationGetNamespace(events)),
						index);
}

/*
 * Writes.  What the unique indexes of ids and of positions refuse gets an error
 * of ours: another transaction has stored the id meanwhile in another stream, for
 * this one is locked; or the sequence was set back.
 */
static void
write_events(EsAppend *append, Relation events)
{
	MemoryContext   context = CurrentMemoryContext;
	const EsFiring *firing = es_writer_firing;

	PG_TRY();
	{
		es_write(events, append->tenant, append->log, append->nstreams, append->events,
				 append->nevents);
	}
	PG_CATCH();
	{
		ErrorData *error;

		es_writer_firing = firing;
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		if (is_violation(error, events, es_events.found->indexes[ES_EVENTS_BY_ID]))
			is_repeated(append, events);
		else if (is_violation(error, events, es_events.found->indexes[ES_EVENTS_BY_POSITION]))
			es_sequence_raise_gone_back("The next position is already stored.");
		ReThrowError(error);
	}
	PG_END_TRY();
}

/* A row that is on its way to the table and its indexes is not yet its stream's tail. */
static void
check_not_before(Oid events, const char *function)
{
	for (const EsFiring *firing = es_writer_firing; firing != NULL; firing = firing->outer)
	{
		if (firing->rel == events)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 firing->before
						 ? errmsg("cannot run %s in a BEFORE trigger on es.events", function)
						 : errmsg("cannot run %s in a policy, constraint, index or trigger "
								  "condition of es.events",
								  function),
					 firing->before
						 ? errdetail("The event that fires the trigger is not stored yet.")
						 : errdetail("The event that it is evaluated for is not stored yet."),
					 errhint("Append from an AFTER trigger.")));
	}
}

/*
 * Runs a request.  Raises, or answers with the outcome; events then have their
 * versions and positions (but for a conflict), streams their actual version.
 */
EsOutcome
es_append_run(EsAppend *append)
{
	ResourceOwner owner = CurrentResourceOwner;
	Relation      events;
	EsOutcome     outcome = ES_APPENDED;

	/* locks go at once to where the statement would hand them on at its end */
	CurrentResourceOwner = CurTransactionResourceOwner;
	es_privilege_check_write(&es_events, append->function);
	check_not_before(es_events.found->relid, append->function);
	events = lock_all(append);
	read_tails(append, events);
	if (append->nids > 0 && is_repeated(append, events))
		outcome = ES_REPEATED;
	else if (!all_expected(append))
		outcome = ES_CONFLICT;
	else
	{
		check_visible(append);
		if (append->nevents > 0)
			write_events(append, events);
	}
	remember_ends(append);
	es_shared_count(outcome == ES_REPEATED   ? ES_COUNT_REPEATED
					: outcome == ES_CONFLICT ? ES_COUNT_CONFLICT
											 : ES_COUNT_APPENDED,
					append->nevents);
	table_close(events, NoLock);
	CurrentResourceOwner = owner;
	return outcome;
}

static void
append_failure(StringInfo buf, text *name, const EsAppendStream *stream)
{
	appendStringInfo(buf, "\"stream\": %s, \"expected\": %lld, \"actual\": %lld", json_text(name),
					 (long long) stream->expected, (long long) stream->actual);
}

/* The streams of a request in the order in which it names them. */
static int
compare_named(const void *a, const void *b, void *arg)
{
	const EsAppendStream *streams = arg;

	return streams[*(const int *) a].named - streams[*(const int *) b].named;
}

/* The streams that are not as expected, in the request's order. */
static int *
find_failures(const EsAppend *append, int *n)
{
	int *failed = palloc(append->nstreams * sizeof(int));

	*n = 0;
	for (int i = 0; i < append->nstreams; i++)
	{
		if (!es_append_is_expected(&append->streams[i]))
			failed[(*n)++] = i;
	}
	qsort_arg(failed, *n, sizeof(int), compare_named, append->streams);
	return failed;
}

/* How many failing streams DETAIL lists. */
#define ES_MAX_FAILURES 100

/* What was found of a stream, and what was expected. */
static char *
failure_text(text *name, const EsAppendStream *stream)
{
	char *found = text_to_cstring(name);

	if (stream->expected == ES_EXPECT_EXISTS)
		return psprintf("stream \"%s\" does not exist, expected an existing stream", found);
	if (stream->actual == 0)
		return psprintf("stream \"%s\" does not exist, expected version %lld", found,
						(long long) stream->expected);
	if (stream->expected == ES_EXPECT_NO_STREAM)
		return psprintf("stream \"%s\" exists at version %lld, expected a new stream", found,
						(long long) stream->actual);
	return psprintf("stream \"%s\" is at version %lld, expected %lld", found,
					(long long) stream->actual, (long long) stream->expected);
}

/* The failing streams as JSON: the first, and where several fail, all, or their number. */
static char *
failures_json(const EsAppend *append, const int *failed, int n)
{
	StringInfoData detail;
	int            listed = n > 1 ? Min(n, ES_MAX_FAILURES) : 0;

	initStringInfo(&detail);
	appendStringInfoChar(&detail, '{');
	append_failure(&detail, append->log[failed[0]].name, &append->streams[failed[0]]);
	for (int i = 0; i < listed; i++)
	{
		appendStringInfoString(&detail, i == 0 ? ", \"failures\": [{" : ", {");
		append_failure(&detail, append->log[failed[i]].name, &append->streams[failed[i]]);
		appendStringInfoString(&detail, i == listed - 1 ? "}]" : "}");
	}
	if (listed > 0 && listed < n)
		appendStringInfo(&detail, ", \"failed\": %d", n);
	appendStringInfoChar(&detail, '}');
	return detail.data;
}

/*
 * SE001.  The message names what was found and what was expected of the first failing stream,
 * for those that read no DETAIL.  That is a JSON object about the first failing stream; where
 * several fail, "failures" lists them, and where they are too many, "failed" counts them.
 */
void
es_append_raise_conflict(const EsAppend *append)
{
	int   n;
	int  *failed = find_failures(append, &n);
	char *first = failure_text(append->log[failed[0]].name, &append->streams[failed[0]]);

	ereport(ERROR,
			(errcode(ERRCODE_ES_EXPECTED_VERSION),
			 n > 1
				 ? errmsg("%d streams are not at their expected versions; the first: %s", n, first)
				 : errmsg("%s", first),
			 errdetail_internal("%s", failures_json(append, failed, n)),
			 errhint("Load what is new, decide again, and append with the version you have seen."),
			 err_generic_string(PG_DIAG_CONSTRAINT_NAME, "es_expected_version")));
}
