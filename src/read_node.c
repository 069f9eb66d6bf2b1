/*
 * read_node.c
 *		Custom Scan (es_load) and its like: the executor's node for a reader that
 *		stands alone in FROM.
 *
 * A function in FROM is run to its end, and its rows are kept, before the first
 * of them is seen.  This node hands each on as it is read: LIMIT stops it, nothing
 * is kept, columns nobody wants are not touched.  Everything else is as in a
 * function scan: the privilege is checked when the node starts, the arguments are
 * computed when the first row is asked for, the store's own checks are made each
 * time the function would be called, and the snapshot is the query's.
 *
 * Unlike a function scan the node reads anew when it is scanned again, which the
 * planner knows, and cannot go backwards, for which the planner puts a Materialize
 * on top of it.
 */
#include "postgres.h"

#include "access/heaptoast.h"
#include "access/table.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_proc.h"
#include "executor/executor.h"
#include "funcapi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "nodes/plannodes.h"
#include "optimizer/optimizer.h"
#include "parser/parsetree.h"
#include "pgstat.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/ruleutils.h"
#include "utils/syscache.h"

#include "compat.h"
#include "events.h"
#include "read_node.h"
#include "store.h"

const EsReaderKind *const es_read_node_kinds[ES_READ_KINDS] = {&es_load_reader, &es_read_reader,
															   &es_rehydrate_reader};

CustomScanMethods es_read_node_methods[ES_READ_KINDS];

/*
 * The plan's custom_exprs are the function call; its custom_private is the number
 * of the kind, and the columns that are wanted, as for es_reader_init_row().  Its
 * custom_scan_tlist, the row that is made, is the function's row, and the whole of
 * it as one more column where that is wanted.
 */
typedef struct ReadNode
{
	CustomScanState     css; /* first */
	const EsReaderKind *kind;
	Relation            events; /* open from begin to end, so that nobody rewrites it meanwhile */
	FmgrInfo            function;
	FunctionCallInfo    fcinfo;
	ExprState          *args[ES_READER_MAX_NARGS]; /* NULL: a constant, in fcinfo already */
	MemoryContext       context; /* of the arguments and the reader, from open to close */
	void               *reader;  /* NULL: not open */
	bool                ended;   /* until the next rescan */
	EsRow               row;
	TupleDesc           whole_row; /* NULL: not wanted */
	int64               removed;   /* of what the reader has removed: what is counted already */
	List               *indexes;   /* that closed readers have read by, where EXPLAIN wants it */
} ReadNode;

static CustomExecMethods exec_methods;

static Node *
create_state(CustomScan *scan)
{
	ReadNode *node = (ReadNode *) newNode(sizeof(ReadNode), T_CustomScanState);

	node->css.methods = &exec_methods;
	node->kind = es_read_node_kinds[linitial_int(scan->custom_private)];
	return (Node *) node;
}

/* The function's row type, with the columns' names as the query has them. */
static TupleDesc
whole_row_type(ReadNode *node, CustomScan *scan)
{
	RangeTblEntry *rte =
		exec_rt_fetch(bms_singleton_member(scan->custom_relids), node->css.ss.ps.state);
	TupleDesc row = node->css.ss.ss_ScanTupleSlot->tts_tupleDescriptor;
	TupleDesc desc;

	if (row->natts == node->kind->natts)
		return NULL;
	desc = CreateTemplateTupleDesc(node->kind->natts);
	for (int i = 1; i <= desc->natts; i++)
		TupleDescCopyEntry(desc, i, row, i);
	ExecTypeSetColNames(desc, rte->eref->colnames);
	return BlessTupleDesc(desc);
}

/* As in a function scan, the privilege to execute it is the role's now. */
static void
begin_call(ReadNode *node, FuncExpr *call)
{
	ListCell *cell;
	int       n = 0;

	if (!es_compat_may_execute(call->funcid, GetUserId()))
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_FUNCTION, get_func_name(call->funcid));
	InvokeFunctionExecuteHook(call->funcid);
	fmgr_info(call->funcid, &node->function);
	if (node->function.fn_addr != node->kind->function)
		elog(ERROR, "function %u is not the %s() that was planned", call->funcid, node->kind->name);
	fmgr_info_set_expr((Node *) call, &node->function);
	node->fcinfo = palloc(SizeForFunctionCallInfo(node->kind->nargs));
	InitFunctionCallInfoData(*node->fcinfo, &node->function, node->kind->nargs, call->inputcollid,
							 NULL, NULL);
	foreach (cell, call->args)
	{
		Const *arg = lfirst(cell);

		if (IsA(arg, Const))
		{
			node->fcinfo->args[n].value = arg->constvalue;
			node->fcinfo->args[n].isnull = arg->constisnull;
		}
		else
			node->args[n] = ExecInitExpr((Expr *) arg, &node->css.ss.ps);
		n++;
	}
}

static void
begin_node(CustomScanState *css, EState *estate, int eflags)
{
	ReadNode       *node = (ReadNode *) css;
	CustomScan     *scan = castNode(CustomScan, css->ss.ps.plan);
	TupleTableSlot *slot = css->ss.ss_ScanTupleSlot;

	begin_call(node, linitial_node(FuncExpr, scan->custom_exprs));
	if ((eflags & EXEC_FLAG_EXPLAIN_ONLY) == 0)
		node->events = es_store_open(&es_events, AccessShareLock);
	node->whole_row = whole_row_type(node, scan);
	es_reader_init_row(node->kind, &node->row, lsecond_int(scan->custom_private), slot->tts_values,
					   slot->tts_isnull);
}

/* In the reader's context, for a reader uses them until it is closed. */
static void
compute_arguments(ReadNode *node, ExprContext *econtext)
{
	for (int i = 0; i < node->kind->nargs; i++)
	{
		NullableDatum *arg = &node->fcinfo->args[i];

		if (node->args[i] != NULL)
			arg->value = ExecEvalExpr(node->args[i], econtext, &arg->isnull);
	}
}

static void
open_reader(ReadNode *node)
{
	ScanState               *ss = &node->css.ss;
	PgStat_FunctionCallUsage usage;

	if (node->context == NULL)
		node->context = AllocSetContextCreate(ss->ps.state->es_query_cxt, "event store reader",
											  ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(node->context);
	compute_arguments(node, ss->ps.ps_ExprContext);
	pgstat_init_function_usage(node->fcinfo, &usage);
	node->reader = node->kind->open(node->fcinfo, ss->ps.state->es_snapshot);
	pgstat_end_function_usage(&usage, true);
}

/* Adds those that the open reader has read by so far, each once. */
static void
note_indexes(ReadNode *node)
{
	MemoryContext caller = MemoryContextSwitchTo(node->css.ss.ps.state->es_query_cxt);
	Oid           indexes[ES_READER_MAX_INDEXES];
	int           n = node->reader == NULL ? 0 : node->kind->indexes(node->reader, indexes);

	for (int i = 0; i < n; i++)
		node->indexes = list_append_unique_oid(node->indexes, indexes[i]);
	MemoryContextSwitchTo(caller);
}

/* Counts the rows that the reader has looked at and not answered since the last time. */
static void
count_removed(ReadNode *node)
{
	int64 removed = node->kind->removed(node->reader);

	InstrCountFiltered2(node, removed - node->removed);
	node->removed = removed;
}

static void
close_reader(ReadNode *node)
{
	/* what the row points to goes */
	ExecClearTuple(node->css.ss.ss_ScanTupleSlot);
	if (node->css.ss.ps.instrument != NULL)
		note_indexes(node);
	if (node->reader != NULL)
		node->kind->close(node->reader);
	node->reader = NULL;
	node->removed = 0;
	if (node->context != NULL)
		MemoryContextReset(node->context);
}

/* Makes the column that is the whole row. */
static void
fill_whole_row(ReadNode *node, TupleTableSlot *slot)
{
	TupleDesc desc = node->whole_row;

	MemoryContextSwitchTo(node->css.ss.ps.ps_ExprContext->ecxt_per_tuple_memory);
	slot->tts_values[desc->natts] =
		HeapTupleGetDatum(toast_build_flattened_tuple(desc, slot->tts_values, slot->tts_isnull));
	slot->tts_isnull[desc->natts] = false;
}

static TupleTableSlot *
next_row(ScanState *ss)
{
	ReadNode       *node = (ReadNode *) ss;
	TupleTableSlot *slot = ss->ss_ScanTupleSlot;
	MemoryContext   caller = CurrentMemoryContext;
	bool            found;

	Assert(ScanDirectionIsForward(ss->ps.state->es_direction));
	ExecClearTuple(slot);
	if (node->ended)
		return slot;
	if (node->reader == NULL)
		open_reader(node);
	MemoryContextSwitchTo(node->context);
	found = node->kind->next(node->reader, &node->row);
	if (ss->ps.instrument != NULL)
		count_removed(node);
	if (found)
	{
		if (node->whole_row != NULL)
			fill_whole_row(node, slot);
		ExecStoreVirtualTuple(slot);
	}
	else
	{
		node->ended = true;
		close_reader(node);
	}
	MemoryContextSwitchTo(caller);
	return slot;
}

/*
 * Only a descendant of LockRows or ModifyTable is checked again, and the node is none.
 * Older minor releases ask all the same, before 15.15, 17.7 and 18.1: in a subquery of a
 * statement that looks at a row again.  The node then reads as ever.
 */
static bool
recheck_row(ScanState *ss, TupleTableSlot *slot)
{
	return !TupIsNull(next_row(ss));
}

static TupleTableSlot *
exec_node(CustomScanState *css)
{
	return ExecScan(&css->ss, next_row, recheck_row);
}

static void
end_node(CustomScanState *css)
{
	ReadNode *node = (ReadNode *) css;

	close_reader(node);
	if (node->events != NULL)
		table_close(node->events, NoLock);
}

static void
rescan_node(CustomScanState *css)
{
	ReadNode *node = (ReadNode *) css;

	close_reader(node);
	node->ended = false;
	ExecScanReScan(&css->ss);
}

/* The arguments' names, and what they are where the call does not say it. */
typedef struct Signature
{
	char **names;
	List  *defaults; /* of the last arguments */
} Signature;

static Signature
look_up_signature(Oid function)
{
	HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Signature result = {NULL, NIL};
	Datum     defaults;
	bool      isnull;
	Oid      *types;
	char     *modes;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", function);
	(void) get_func_arg_info(tuple, &types, &result.names, &modes);
	defaults = SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_proargdefaults, &isnull);
	if (!isnull)
		result.defaults = castNode(List, stringToNode(TextDatumGetCString(defaults)));
	ReleaseSysCache(tuple);
	return result;
}

/* Does the argument go without saying: NULL, or what is the default? */
static bool
is_default(const Signature *signature, Node *arg, int n, int nargs)
{
	int nth = n - (nargs - list_length(signature->defaults));

	return (IsA(arg, Const) && ((Const *) arg)->constisnull) ||
		   (nth >= 0 &&
			equal(arg, eval_const_expressions(NULL, list_nth(signature->defaults, nth))));
}

/* The call as one would write it, with the arguments that say something. */
static char *
deparse_call(FuncExpr *call, List *context, bool with_prefix)
{
	Signature      signature = look_up_signature(call->funcid);
	const char    *separator = "";
	ListCell      *cell;
	StringInfoData buf;
	int            n = 0;

	initStringInfo(&buf);
	appendStringInfo(&buf, "%s(", quote_identifier(get_func_name(call->funcid)));
	foreach (cell, call->args)
	{
		Node *arg = lfirst(cell);

		if (!is_default(&signature, arg, n, list_length(call->args)))
		{
			appendStringInfo(&buf, "%s%s => %s", separator, quote_identifier(signature.names[n]),
							 deparse_expression(arg, context, with_prefix, false));
			separator = ", ";
		}
		n++;
	}
	appendStringInfoChar(&buf, ')');
	return buf.data;
}

/*
 * The indexes that have been read, or where nothing has been read those that may be.
 * Nothing is said where that depends on arguments which are computed when it runs.
 */
static List *
find_indexes(ReadNode *node)
{
	Oid   indexes[ES_READER_MAX_INDEXES];
	bool  known[ES_READER_MAX_NARGS];
	List *result = NIL;
	int   n;

	note_indexes(node);
	if (node->indexes != NIL || !es_store_exists())
		return node->indexes;
	for (int i = 0; i < node->kind->nargs; i++)
		known[i] = node->args[i] == NULL;
	table_close(es_store_open(&es_events, AccessShareLock), NoLock);
	n = node->kind->expect(node->fcinfo, known, indexes);
	for (int i = 0; i < n; i++)
		result = lappend_oid(result, indexes[i]);
	return result;
}

static void
explain_indexes(ReadNode *node, ExplainState *es)
{
	List     *names = NIL;
	ListCell *cell;

	foreach (cell, find_indexes(node))
	{
		char *name = get_rel_name(lfirst_oid(cell));

		if (name != NULL)
			names = lappend(names, (char *) name);
	}
	if (names != NIL)
		ExplainPropertyList("Index", names, es);
}

/* As PostgreSQL says it of the rows that a filter removes: the average of all loops. */
static void
explain_removed(ReadNode *node, ExplainState *es)
{
	Instrumentation *instrument = node->css.ss.ps.instrument;

	if (!es->analyze || instrument == NULL ||
		(instrument->nfiltered2 == 0 && es->format == EXPLAIN_FORMAT_TEXT))
		return;
	ExplainPropertyFloat("Rows Removed by Call", NULL,
						 instrument->nloops > 0 ? instrument->nfiltered2 / instrument->nloops : 0,
						 0, es);
}

static void
explain_node(CustomScanState *css, List *ancestors, ExplainState *es)
{
	ReadNode   *node = (ReadNode *) css;
	CustomScan *scan = castNode(CustomScan, css->ss.ps.plan);
	FuncExpr   *call = linitial_node(FuncExpr, scan->custom_exprs);
	List       *context = set_deparse_context_plan(es->deparse_cxt, &scan->scan.plan, ancestors);
	bool        with_prefix = list_length(es->rtable) > 1 || es->verbose;

	explain_indexes(node, es);
	ExplainPropertyText("Call", deparse_call(call, context, with_prefix), es);
	explain_removed(node, es);
	/* as a function scan says it */
	if (es->verbose)
		ExplainPropertyText("Function Call",
							deparse_expression((Node *) call, context, list_length(es->rtable) > 1,
											   false),
							es);
}

static CustomExecMethods exec_methods = {
	.CustomName = "pg_eventstore",
	.BeginCustomScan = begin_node,
	.ExecCustomScan = exec_node,
	.EndCustomScan = end_node,
	.ReScanCustomScan = rescan_node,
	.ExplainCustomScan = explain_node,
};

/* Called once, from _PG_init. */
void
es_read_node_init(void)
{
	for (int i = 0; i < ES_READ_KINDS; i++)
	{
		es_read_node_methods[i].CustomName = es_read_node_kinds[i]->name;
		es_read_node_methods[i].CreateCustomScanState = create_state;
		RegisterCustomScanMethods(&es_read_node_methods[i]);
	}
}
