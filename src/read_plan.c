/*
 * read_plan.c
 *		Plans a reader that stands alone in FROM as a node of our own (see
 *		read_node.c) instead of a function scan.
 *
 * What the node does not cover stays a function scan: WITH ORDINALITY, ROWS FROM
 * with several functions, arguments that are volatile (a function scan computes
 * them once and remembers the rows) or may be, in a subquery that is about an outer
 * row and that nobody looks into here, queries that lock rows or change them
 * (which look at the rows again when somebody else was faster), and functions
 * that are not called directly: SECURITY DEFINER, STRICT, or with settings of their own.
 *
 * A function is known by its C symbol, not by its name.
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "access/sysattr.h"
#include "catalog/pg_language.h"
#include "catalog/pg_opfamily.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/pathnodes.h"
#include "nodes/supportnodes.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "optimizer/pathnode.h"
#include "optimizer/paths.h"
#include "optimizer/restrictinfo.h"
#include "parser/parsetree.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "compat.h"
#include "events.h"
#include "read_node.h"
#include "read_plan.h"

PG_FUNCTION_INFO_V1(es_read_support);

static set_rel_pathlist_hook_type previous_pathlist = NULL;

/*
 * Which of the readers is this function, going by its catalog entry?  -1 if none.
 * Nothing but ours is looked at more closely, which would load its library.
 */
static int
find_candidate(Oid function)
{
	HeapTuple    tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Form_pg_proc form;
	int          result = -1;

	if (!HeapTupleIsValid(tuple))
		return -1;
	form = (Form_pg_proc) GETSTRUCT(tuple);
	if (form->prolang == ClanguageId && form->proretset && !form->proisstrict)
	{
		bool  isnull;
		char *symbol =
			TextDatumGetCString(SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_prosrc, &isnull));

		for (int i = 0; i < ES_READ_KINDS; i++)
		{
			if (strcmp(symbol, es_read_node_kinds[i]->name) == 0)
				result = i;
		}
	}
	ReleaseSysCache(tuple);
	return result;
}

/*
 * Which of the readers is called?  -1 if none, or if it is not called directly:
 * with settings of its own, or under a hook, its address is another one.
 */
static int
find_kind(FuncExpr *call)
{
	int      kind = call->funcid < FirstNormalObjectId ? -1 : find_candidate(call->funcid);
	FmgrInfo info;

	if (kind < 0 || list_length(call->args) != es_read_node_kinds[kind]->nargs)
		return -1;
	fmgr_info(call->funcid, &info);
	return info.fn_addr == es_read_node_kinds[kind]->function ? kind : -1;
}

/* The call, if the relation is one of a reader that the node covers. */
static FuncExpr *
find_call(PlannerInfo *root, RangeTblEntry *rte, int *kind)
{
	RangeTblFunction *function;
	FuncExpr         *call;

	if (rte->rtekind != RTE_FUNCTION || rte->funcordinality || list_length(rte->functions) != 1 ||
		root->rowMarks != NIL)
		return NULL;
	function = linitial_node(RangeTblFunction, rte->functions);
	if (!IsA(function->funcexpr, FuncExpr))
		return NULL;
	call = (FuncExpr *) function->funcexpr;
	*kind = find_kind(call);
	if (*kind < 0 || function->funccolcount != es_read_node_kinds[*kind]->natts ||
		contain_volatile_functions((Node *) call) || contain_subplans((Node *) call->args))
		return NULL;
	return call;
}

static Path *
find_function_scan(RelOptInfo *rel)
{
	ListCell *cell;

	foreach (cell, rel->pathlist)
	{
		Path *path = lfirst(cell);

		if (path->pathtype == T_FunctionScan)
			return path;
	}
	return NULL;
}

/* The row that the node makes: the function's, and it as a whole where that is wanted. */
static List *
make_row(RangeTblEntry *rte, Index rti, const EsReaderKind *kind, bool whole)
{
	List *row = NIL;

	for (AttrNumber i = 1; i <= kind->natts; i++)
	{
		AttrNumber column = kind->columns[i - 1];
		Oid        type = column == 0 ? TEXTOID : es_events_type(column);
		Oid        collation = type == TEXTOID ? DEFAULT_COLLATION_OID : InvalidOid;

		row = lappend(row, makeTargetEntry((Expr *) makeVar(rti, i, type, -1, collation, 0), i,
										   NULL, false));
	}
	if (whole)
		row = lappend(row, makeTargetEntry((Expr *) makeWholeRowVar(rte, rti, 0, false),
										   kind->natts + 1, NULL, false));
	return row;
}

/* The columns that expressions and conditions want; all where they want the whole row. */
static int
find_wanted(Index rti, List *exprs, List *clauses, bool *whole)
{
	Bitmapset *attributes = NULL;
	int        wanted = 0;
	int        i = -1;

	pull_varattnos((Node *) exprs, rti, &attributes);
	pull_varattnos((Node *) clauses, rti, &attributes);
	*whole = bms_is_member(-FirstLowInvalidHeapAttributeNumber, attributes);
	if (*whole)
		return ES_READER_ALL_COLUMNS;
	while ((i = bms_next_member(attributes, i)) >= 0)
		wanted |= 1 << (i + FirstLowInvalidHeapAttributeNumber - 1);
	return wanted;
}

static Plan *
plan_node(PlannerInfo *root, RelOptInfo *rel, CustomPath *path, List *targets, List *clauses,
		  List *children)
{
	RangeTblEntry *rte = planner_rt_fetch(rel->relid, root);
	CustomScan    *scan = makeNode(CustomScan);
	int            kind = linitial_int(path->custom_private);
	int            wanted;
	bool           whole;

	clauses = extract_actual_clauses(clauses, false);
	/* targets may be empty here, and given to the node later */
	wanted = find_wanted(rel->relid, path->path.pathtarget->exprs, clauses, &whole);
	scan->scan.plan.targetlist = targets;
	scan->scan.plan.qual = clauses;
	scan->flags = path->flags;
	scan->custom_exprs = list_make1(linitial_node(RangeTblFunction, rte->functions)->funcexpr);
	scan->custom_private = list_make2_int(kind, wanted);
	scan->custom_scan_tlist = make_row(rte, rel->relid, es_read_node_kinds[kind], whole);
	scan->methods = &es_read_node_methods[kind];
	return &scan->scan.plan;
}

static CustomPathMethods path_methods = {.CustomName = "pg_eventstore",
										 .PlanCustomPath = plan_node};

/* The order in which the rows come, as far as it is known before they do. */
static List *
find_order(PlannerInfo *root, RelOptInfo *rel, const EsReaderKind *kind, FuncExpr *call)
{
	StrategyNumber strategy = BTLessStrategyNumber;
	Var           *column = makeVar(rel->relid, kind->order, INT8OID, -1, InvalidOid, 0);

	if (kind->backwards >= 0)
	{
		Const *backwards = list_nth(call->args, kind->backwards);

		if (!IsA(backwards, Const))
			return NIL;
		if (!backwards->constisnull && DatumGetBool(backwards->constvalue))
			strategy = BTGreaterStrategyNumber;
	}
	return es_compat_expression_pathkey(root, (Expr *) column,
										get_opfamily_member(INTEGER_BTREE_FAM_OID, INT8OID, INT8OID,
															strategy),
										rel->relids);
}

/* Takes the place of the function scan, whose costs it has. */
static void
replace_function_scan(RelOptInfo *rel, Path *scan, int kind, List *order)
{
	CustomPath *path = makeNode(CustomPath);

	path->path.pathtype = T_CustomScan;
	path->path.parent = rel;
	path->path.pathtarget = scan->pathtarget;
	path->path.param_info = scan->param_info;
	path->path.parallel_safe = scan->parallel_safe;
	path->path.rows = scan->rows;
	path->path.startup_cost = scan->startup_cost;
	path->path.total_cost = scan->total_cost;
	path->path.pathkeys = order;
	path->flags = CUSTOMPATH_SUPPORT_PROJECTION;
	path->custom_private = list_make1_int(kind);
	path->methods = &path_methods;
	rel->pathlist = list_delete_ptr(rel->pathlist, scan);
	add_path(rel, &path->path);
}

static void
pathlist(PlannerInfo *root, RelOptInfo *rel, Index rti, RangeTblEntry *rte)
{
	FuncExpr *call;
	Path     *scan;
	int       kind;

	if (previous_pathlist != NULL)
		previous_pathlist(root, rel, rti, rte);
	call = find_call(root, rte, &kind);
	if (call == NULL || (scan = find_function_scan(rel)) == NULL)
		return;
	replace_function_scan(rel, scan, kind, find_order(root, rel, es_read_node_kinds[kind], call));
}

/* What the catalog says of the number of rows. */
static double
default_rows(Oid function)
{
	HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	double    rows;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", function);
	rows = ((Form_pg_proc) GETSTRUCT(tuple))->prorows;
	ReleaseSysCache(tuple);
	return rows;
}

/*
 * The readers' support function.  A bound by max_count lowers the estimate.  It
 * is also what loads the library in time to plan the session's first call.
 */
Datum
es_read_support(PG_FUNCTION_ARGS)
{
	SupportRequestRows *request = (SupportRequestRows *) PG_GETARG_POINTER(0);
	FuncExpr           *call;
	Const              *max_count;
	int                 kind;

	if (!IsA(request, SupportRequestRows) || request->root == NULL || !is_funcclause(request->node))
		PG_RETURN_POINTER(NULL);
	call = (FuncExpr *) request->node;
	kind = find_kind(call);
	if (kind < 0 || es_read_node_kinds[kind]->max_count < 0)
		PG_RETURN_POINTER(NULL);
	max_count = (Const *) estimate_expression_value(request->root,
													list_nth(call->args,
															 es_read_node_kinds[kind]->max_count));
	if (!IsA(max_count, Const) || max_count->constisnull)
		PG_RETURN_POINTER(NULL);
	request->rows = Min(default_rows(call->funcid), (double) DatumGetInt64(max_count->constvalue));
	PG_RETURN_POINTER(request);
}

/* Called once, from _PG_init. */
void
es_read_plan_init(void)
{
	previous_pathlist = set_rel_pathlist_hook;
	set_rel_pathlist_hook = pathlist;
	es_read_node_init();
}
