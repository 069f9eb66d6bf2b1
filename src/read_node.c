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
#include "executor/executor.h"
#include "funcapi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "nodes/plannodes.h"
#include "parser/parsetree.h"
#include "pgstat.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/ruleutils.h"

#include "compat.h"
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
	const EsStore  *store;

	begin_call(node, linitial_node(FuncExpr, scan->custom_exprs));
	if ((eflags & EXEC_FLAG_EXPLAIN_ONLY) == 0)
		node->events = es_store_open_events(AccessShareLock, &store);
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

static void
close_reader(ReadNode *node)
{
	/* what the row points to goes */
	ExecClearTuple(node->css.ss.ss_ScanTupleSlot);
	if (node->reader != NULL)
		node->kind->close(node->reader);
	node->reader = NULL;
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

	Assert(ScanDirectionIsForward(ss->ps.state->es_direction));
	ExecClearTuple(slot);
	if (node->ended)
		return slot;
	if (node->reader == NULL)
		open_reader(node);
	MemoryContextSwitchTo(node->context);
	if (node->kind->next(node->reader, &node->row))
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

/* As a function scan says it, under VERBOSE. */
static void
explain_node(CustomScanState *css, List *ancestors, ExplainState *es)
{
	CustomScan *scan = castNode(CustomScan, css->ss.ps.plan);
	List       *context;

	if (!es->verbose)
		return;
	context = set_deparse_context_plan(es->deparse_cxt, &scan->scan.plan, ancestors);
	ExplainPropertyText("Function Call",
						deparse_expression(linitial(scan->custom_exprs), context,
										   list_length(es->rtable) > 1, false),
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
