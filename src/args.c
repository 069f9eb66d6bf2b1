/*
 * args.c
 *		Arguments that several readers take, with their errors (O5).
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "args.h"
#include "name.h"
#include "text.h"

/* The name of a stream; NULL and bad names are errors. */
text *
es_arg_stream(FunctionCallInfo fcinfo, int argno)
{
	static const EsPlace place = {ES_PLACE_SINGLE, -1, -1};
	text                *stream = PG_ARGISNULL(argno) ? NULL : PG_GETARG_TEXT_PP(argno);

	es_name_check_stream(stream, &place);
	return stream;
}

int64
es_arg_int8(FunctionCallInfo fcinfo, int argno, int64 if_null)
{
	return PG_ARGISNULL(argno) ? if_null : PG_GETARG_INT64(argno);
}

/* NULL is false. */
bool
es_arg_bool(FunctionCallInfo fcinfo, int argno)
{
	return !PG_ARGISNULL(argno) && PG_GETARG_BOOL(argno);
}

/* How many rows at most; NULL means all. */
int64
es_arg_max_count(FunctionCallInfo fcinfo, int argno)
{
	int64 count = es_arg_int8(fcinfo, argno, PG_INT64_MAX);

	if (count < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("max_count must not be negative"),
				 errdetail("It is %lld.", (long long) count),
				 errhint("Give NULL to read without a limit.")));
	return count;
}

TimestampTz
es_arg_time(FunctionCallInfo fcinfo, int argno, TimestampTz if_null)
{
	return PG_ARGISNULL(argno) ? if_null : PG_GETARG_TIMESTAMPTZ(argno);
}

/* An event's id; NULL is an error. */
pg_uuid_t *
es_arg_id(FunctionCallInfo fcinfo, int argno)
{
	if (PG_ARGISNULL(argno))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("event id must not be null"), errdetail("In argument \"%s\".", "id"),
						errhint("Bind a value; a driver that binds nothing sends NULL.")));
	return PG_GETARG_UUID_P(argno);
}

/*
 * A filter by names: sorted, each once.  NULL stands for no filter and is
 * answered with NULL and *n = -1.
 */
text **
es_arg_texts(FunctionCallInfo fcinfo, int argno, const char *name, int *n)
{
	Datum *values;
	bool  *nulls;
	text **texts;
	int    count;

	*n = -1;
	if (PG_ARGISNULL(argno))
		return NULL;
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(argno), TEXTOID, -1, false, TYPALIGN_INT, &values,
					  &nulls, &count);
	texts = palloc(Max(count, 1) * sizeof(text *));
	for (int i = 0; i < count; i++)
	{
		if (nulls[i])
			ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
							errmsg("a filter must not contain null"),
							errdetail("In argument \"%s[%d]\".", name, i + 1),
							errhint("Leave the argument out to read without that filter.")));
		texts[i] = DatumGetTextPP(values[i]);
	}
	*n = es_sort_texts(texts, count);
	return texts;
}
