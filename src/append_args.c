/*
 * append_args.c
 *		es_append, es_append_batch and es_try_append: from SQL arguments to a
 *		request, and from its outcome to a row.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "append.h"
#include "name.h"
#include "tenant.h"

PG_FUNCTION_INFO_V1(es_append);
PG_FUNCTION_INFO_V1(es_append_batch);
PG_FUNCTION_INFO_V1(es_try_append);

/* A request about one stream, with room for everything but the events. */
typedef struct SingleStream
{
	EsAppend       append;
	EsAppendStream stream;
	EsLogStream    log;
} SingleStream;

/* Arguments 0 and 1 are the stream and its expected version in all three. */
static void
begin_request(SingleStream *single, FunctionCallInfo fcinfo, const char *function, int tenant_arg)
{
	static const EsPlace place = {ES_PLACE_SINGLE, -1, -1};
	text                *stream = PG_ARGISNULL(0) ? NULL : PG_GETARG_TEXT_PP(0);

	memset(single, 0, sizeof(SingleStream));
	single->append.function = function;
	single->append.tenant = es_tenant_arg(fcinfo, tenant_arg);
	single->append.nstreams = 1;
	single->append.streams = &single->stream;
	single->append.log = &single->log;
	es_name_check_stream(stream, &place);
	es_event_check_expected_given(!PG_ARGISNULL(1), &place);
	es_append_check_expected(PG_GETARG_INT64(1), &place);
	es_append_add_stream(&single->append, 0, stream, PG_GETARG_INT64(1));
}

/*
 * Appends one event: es_append(stream, expected, type, data, metadata, id,
 * tenant) returns its version.
 */
Datum
es_append(PG_FUNCTION_ARGS)
{
	static const EsPlace place = {ES_PLACE_SINGLE, -1, -1};
	SingleStream         single;
	EsEvent              event;

	begin_request(&single, fcinfo, "es_append()", 6);
	memset(&event, 0, sizeof(event));
	event.type = PG_ARGISNULL(2) ? NULL : PG_GETARG_TEXT_PP(2);
	event.data = PG_ARGISNULL(3) ? NULL : PG_GETARG_JSONB_P(3);
	es_name_check_type(event.type, &place);
	es_event_check_content(&event, &place);
	event.metadata = es_event_metadata(PG_ARGISNULL(4) ? NULL : PG_GETARG_JSONB_P(4),
									   es_event_base_metadata(), &place);
	event.has_id = !PG_ARGISNULL(5);
	if (event.has_id)
		event.id = *PG_GETARG_UUID_P(5);
	single.append.nevents = 1;
	single.append.events = &event;
	single.append.nids = event.has_id ? 1 : 0;

	if (es_append_run(&single.append) == ES_CONFLICT)
		es_append_raise_conflict(&single.append);
	PG_RETURN_INT64(event.version);
}

/* One array argument of a batch. */
typedef struct BatchArray
{
	int    n; /* -1: the argument is NULL */
	Datum *values;
	bool  *nulls;
} BatchArray;

/* The elements of an array of any type. */
static void
array_elements(ArrayType *array, Datum **values, bool **nulls, int *n)
{
	int16 length;
	bool  byval;
	char  align;

	get_typlenbyvalalign(ARR_ELEMTYPE(array), &length, &byval, &align);
	deconstruct_array(array, ARR_ELEMTYPE(array), length, byval, align, values, nulls, n);
}

static void
read_array(BatchArray *array, FunctionCallInfo fcinfo, int argno, const char *name)
{
	ArrayType *value;

	array->n = -1;
	if (PG_ARGISNULL(argno))
		return;
	value = PG_GETARG_ARRAYTYPE_P(argno);
	if (ARR_NDIM(value) > 1)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"%s\" must be a one-dimensional array", name),
						errdetail("It has %d dimensions.", ARR_NDIM(value)),
						errhint("Give one array element for each event.")));
	array_elements(value, &array->values, &array->nulls, &array->n);
}

static void
check_length(const BatchArray *array, const char *name, int n)
{
	if (array->n >= 0 && array->n != n)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the arrays of a batch must have one length"),
						errdetail("The length of \"types\" is %d, that of \"%s\" is %d.", n, name,
								  array->n),
						errhint("Give one element for each event, NULL where it has none; or leave "
								"the whole array out.")));
}

static inline void *
element(const BatchArray *array, int i)
{
	return array->n < 0 || array->nulls[i] ? NULL : DatumGetPointer(array->values[i]);
}

typedef struct Batch
{
	BatchArray types;
	BatchArray data;
	BatchArray metadata;
	BatchArray ids;
	BatchArray payloads;
} Batch;

static void
read_event(EsEvent *event, const Batch *batch, int i, Jsonb *base)
{
	EsPlace place = {ES_PLACE_ARRAYS, -1, i};
	void   *p;

	memset(event, 0, sizeof(EsEvent));
	event->type = (p = element(&batch->types, i)) ? DatumGetTextPP(PointerGetDatum(p)) : NULL;
	event->data = (p = element(&batch->data, i)) ? DatumGetJsonbP(PointerGetDatum(p)) : NULL;
	event->metadata =
		(p = element(&batch->metadata, i)) ? DatumGetJsonbP(PointerGetDatum(p)) : NULL;
	event->payload =
		(p = element(&batch->payloads, i)) ? DatumGetByteaPP(PointerGetDatum(p)) : NULL;
	p = element(&batch->ids, i);
	event->has_id = p != NULL;
	if (event->has_id)
		event->id = *(pg_uuid_t *) p;
	es_name_check_type(event->type, &place);
	es_event_check_content(event, &place);
	event->metadata = es_event_metadata(event->metadata, base, &place);
}

static void
check_double(const EsAppend *append)
{
	const EsEvent *event = es_append_find_double(append);
	EsPlace        place = {ES_PLACE_ARRAYS, -1, event == NULL ? -1 : event - append->events};

	if (event != NULL)
		es_append_raise_double(event, &place);
}

/* A batch so large, and what a block must have so that the memory of the next one is kept. */
#define ES_LARGE_BATCH 100
#define ES_LARGE_BLOCK (8 * 1024 * 1024)

/*
 * To read the arrays' text takes PostgreSQL 3 kB for each event, which are freed after the
 * call.  glibc gives them back to the kernel, which clears them for the next call, page by
 * page: up to a sixth of a batch's CPU time.  Once a block so large has been freed it keeps what
 * was used, up to twice as much (mallopt(3)).  To other libraries it is just a block.
 */
static void
keep_memory(void)
{
	static bool is_kept = false;

	if (!is_kept)
		pfree(palloc(ES_LARGE_BLOCK));
	is_kept = true;
}

/* Arguments 2..6: types, data, metadata, ids, payloads. */
static void
read_batch(EsAppend *append, FunctionCallInfo fcinfo)
{
	Batch  batch;
	Jsonb *base = es_event_base_metadata();
	int    n;

	read_array(&batch.types, fcinfo, 2, "types");
	read_array(&batch.data, fcinfo, 3, "data");
	read_array(&batch.metadata, fcinfo, 4, "metadata");
	read_array(&batch.ids, fcinfo, 5, "ids");
	read_array(&batch.payloads, fcinfo, 6, "payloads");
	n = batch.types.n;
	if (n < 0)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("event types must not be null"),
				 errdetail("In argument \"%s\".", "types"),
				 errhint("Give an array with the type of each event.")));
	if (n == 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("the batch is empty"),
						errdetail("Argument \"%s\" has no elements.", "types"),
						errhint("Do not call it where there is nothing to append; an entry of "
								"es_append_json without events checks a version.")));
	check_length(&batch.data, "data", n);
	check_length(&batch.metadata, "metadata", n);
	check_length(&batch.ids, "ids", n);
	check_length(&batch.payloads, "payloads", n);

	if (n >= ES_LARGE_BATCH)
		keep_memory();
	append->nevents = n;
	append->events = MemoryContextAllocHuge(CurrentMemoryContext, n * sizeof(EsEvent));
	for (int i = 0; i < n; i++)
	{
		read_event(&append->events[i], &batch, i, base);
		append->nids += append->events[i].has_id ? 1 : 0;
		CHECK_FOR_INTERRUPTS();
	}
	check_double(append);
}

/*
 * The row that the function answers with.  It is looked up before any lock is waited
 * for: the extension may be dropped and made again meanwhile, and then the function that
 * was called is in no catalog any more.
 */
static TupleDesc
row_type(FunctionCallInfo fcinfo)
{
	TupleDesc desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	return BlessTupleDesc(desc);
}

/*
 * Appends a batch to one stream: es_append_batch(stream, expected, types, data,
 * metadata, ids, payloads, tenant) returns one row.
 */
Datum
es_append_batch(PG_FUNCTION_ARGS)
{
	SingleStream   single;
	EsAppend      *append = &single.append;
	EsOutcome      outcome;
	const EsEvent *last;
	TupleDesc      desc = row_type(fcinfo);
	Datum          values[4];
	bool           nulls[4] = {false};

	begin_request(&single, fcinfo, "es_append_batch()", 7);
	read_batch(append, fcinfo);
	outcome = es_append_run(append);
	if (outcome == ES_CONFLICT)
		es_append_raise_conflict(append);
	last = &append->events[append->nevents - 1];
	values[0] = Int64GetDatum(append->events[0].version);
	values[1] = Int64GetDatum(last->version);
	values[2] = Int64GetDatum(last->position);
	values[3] = BoolGetDatum(outcome == ES_REPEATED);
	return HeapTupleGetDatum(heap_form_tuple(desc, values, nulls));
}

/*
 * The same as a value: es_try_append answers a conflict with a row instead of
 * SE001, so that the transaction goes on.
 */
Datum
es_try_append(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"appended", "repeated", "conflict"};
	SingleStream             single;
	EsAppend                *append = &single.append;
	EsOutcome                outcome;
	TupleDesc                desc = row_type(fcinfo);
	Datum                    values[4];
	bool                     nulls[4] = {false};

	begin_request(&single, fcinfo, "es_try_append()", 7);
	read_batch(append, fcinfo);
	outcome = es_append_run(append);
	values[0] = CStringGetTextDatum(names[outcome]);
	if (outcome == ES_CONFLICT)
	{
		values[1] = Int64GetDatum(single.stream.actual);
		nulls[2] = nulls[3] = true;
	}
	else
	{
		const EsEvent *last = &append->events[append->nevents - 1];

		values[1] = Int64GetDatum(last->version);
		values[2] = Int64GetDatum(append->events[0].version);
		values[3] = Int64GetDatum(last->position);
	}
	return HeapTupleGetDatum(heap_form_tuple(desc, values, nulls));
}
