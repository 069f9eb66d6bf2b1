/*
 * args.h
 *		Arguments that several readers take.
 */
#ifndef ES_ARGS_H
#define ES_ARGS_H

#include "datatype/timestamp.h"
#include "fmgr.h"

#include "uuid.h"

extern text       *es_arg_stream(FunctionCallInfo fcinfo, int argno);
extern int64       es_arg_int8(FunctionCallInfo fcinfo, int argno, int64 if_null);
extern bool        es_arg_bool(FunctionCallInfo fcinfo, int argno);
extern int64       es_arg_max_count(FunctionCallInfo fcinfo, int argno);
extern TimestampTz es_arg_time(FunctionCallInfo fcinfo, int argno, TimestampTz if_null);
extern pg_uuid_t  *es_arg_id(FunctionCallInfo fcinfo, int argno);
extern text      **es_arg_texts(FunctionCallInfo fcinfo, int argno, const char *name, int *n);

#endif
