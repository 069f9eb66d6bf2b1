/*
 * visible.c
 *		es.events as a reader may see it, and as an appender may write it.
 *
 * A reader passes over what users' own policies hide (policy.c) and, where the snapshot does
 * not know the table's file, looks at each row (swap.c).  Where neither is so, its scans have
 * no filter and pay nothing.
 *
 * The store reads and writes es.events without the executor, so the executor is asked: for each
 * row that a reader finds, by a plan that runs as the caller, whether the caller may see it; for
 * each row that is appended, by the checks of an INSERT that is planned as the caller's and
 * never run.
 *
 * Keeps P1 (with swap.c) and the tenants' and users' policies.
 */
#include "postgres.h"

#include "access/relscan.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "nodes/execnodes.h"
#include "parser/analyze.h"
#include "storage/predicate.h"
#include "tcop/tcopprot.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "events.h"
#include "owner.h"
#include "policy.h"
#include "privilege.h"
#include "row.h"
#include "swap.h"
#include "visible.h"

/* A SELECT of one row by its position, as the current role, to be run again for each. */
typedef struct Policies
{
	QueryDesc    *query; /* NULL: the role may see all */
	ParamListInfo params;
} Policies;

struct EsVisible
{
	EsRowFilter filter;
	Policies    policies;
	bool        passes; /* the policies are not asked just now */
	bool        swapped;
	EsSwap      swap;
	int64       hidden; /* rows, by policies */
};

/* An INSERT that stands ready and never runs. */
typedef struct Check
{
	EsRowCheck     check;
	QueryDesc     *query;
	ResultRelInfo *rri;
} Check;

/* Opens es.events for a reader, who must be allowed to. */
Relation
es_visible_open(void)
{
	es_privilege_check_read(&es_events);
	return es_store_open(&es_events, AccessShareLock);
}

/*
 * A statement about es.events as the current role's: its policies and its privileges.
 * The table is looked up as the store's owner, for the functions ask nobody for USAGE
 * of the schema.
 */
static PlannedStmt *
plan_for_caller(const char *text, const Oid *types, int ntypes)
{
	EsIdentity caller = es_owner_assume(es_store()->owner);
	RawStmt   *raw = linitial_node(RawStmt, pg_parse_query(text));
	Query     *query = parse_analyze_fixedparams(raw, text, types, ntypes, NULL);
	List      *queries;

	es_owner_resume(caller);
	queries = pg_rewrite_query(query);
	if (list_length(queries) != 1)
		elog(ERROR, "unexpected rules on table \"es.events\"");
	return pg_plan_query(linitial_node(Query, queries), text, CURSOR_OPT_NO_SCROLL, NULL);
}

static QueryDesc *
start(const char *text, const Oid *types, ParamListInfo params, Snapshot snapshot)
{
	QueryDesc *query;

	query = CreateQueryDesc(plan_for_caller(text, types, params == NULL ? 0 : params->numParams),
							text, snapshot, InvalidSnapshot, None_Receiver, params, NULL, 0);
	ExecutorStart(query, EXEC_FLAG_SKIP_TRIGGERS);
	return query;
}

static void
finish(QueryDesc *query)
{
	ExecutorFinish(query);
	ExecutorEnd(query);
	FreeQueryDesc(query);
}

static void
begin_policies(Policies *policies, Relation events, Snapshot snapshot)
{
	static const Oid types[] = {INT8OID};

	policies->query = NULL;
	if (!es_policy_applies(events))
		return;
	policies->params = makeParamList(1);
	policies->params->params[0].ptype = INT8OID;
	policies->params->params[0].isnull = false;
	policies->query = start("SELECT FROM es.events WHERE position OPERATOR(pg_catalog.=) $1", types,
							policies->params, snapshot);
}

/* May the role see this row? */
static bool
policies_show(Policies *policies, TupleTableSlot *event)
{
	EState         *estate = policies->query->estate;
	MemoryContext   old = MemoryContextSwitchTo(estate->es_query_cxt);
	TupleTableSlot *row;

	policies->params->params[0].value = es_row_column(event, ES_EVENTS_POSITION);
	ExecReScan(policies->query->planstate);
	row = ExecProcNode(policies->query->planstate);
	MemoryContextSwitchTo(old);
	return !TupIsNull(row);
}

static bool
shows(EsRowFilter *filter, TupleTableSlot *event)
{
	EsVisible *visible = (EsVisible *) filter;

	if (visible->swapped && !es_swap_shows(&visible->swap, event))
		return false;
	if (visible->policies.query == NULL || visible->passes ||
		policies_show(&visible->policies, event))
		return true;
	visible->hidden++;
	return false;
}

/*
 * What scans of a reader with this snapshot have to pass over; NULL where there is nothing.
 * Rows that are published are older than the tick that the snapshot sees.
 */
EsVisible *
es_visible_begin(Relation events, Snapshot snapshot, bool published)
{
	EsVisible *visible = palloc0(sizeof(EsVisible));

	begin_policies(&visible->policies, events, snapshot);
	visible->swapped = es_swap_begin(&visible->swap, events, snapshot);
	if (!visible->swapped && visible->policies.query == NULL)
	{
		pfree(visible);
		return NULL;
	}
	visible->filter.shows = shows;
	visible->swap.strict |= published;
	/* SnapshotSelf takes no predicate locks */
	if (visible->swapped)
		PredicateLockRelation(events, snapshot);
	return visible;
}

void
es_visible_end(EsVisible *visible)
{
	if (visible == NULL)
		return;
	if (visible->policies.query != NULL)
		finish(visible->policies.query);
	pfree(visible);
}

/* Lets a scan of es.events pass over what it hides; it may do so for several scans. */
EsScan *
es_visible_filter(EsScan *scan, EsVisible *visible)
{
	scan->filter = (EsRowFilter *) visible;
	if (visible != NULL && visible->swapped)
		es_scan_read_as(scan, SnapshotSelf);
	return scan;
}

static void
end_with_scan(EsRowFilter *filter)
{
	es_visible_end((EsVisible *) filter);
}

/* The same for one scan alone, which ends it. */
EsScan *
es_visible_scan(EsScan *scan)
{
	EsVisible *visible = es_visible_begin(scan->heap, scan->desc->xs_snapshot, false);

	if (visible != NULL)
		visible->filter.end = end_with_scan;
	return es_visible_filter(scan, visible);
}

/* Lets a scan of es_visible_scan() find rows that policies hide, as long as all is true. */
void
es_visible_search(EsScan *scan, bool all)
{
	if (scan->filter != NULL)
		((EsVisible *) scan->filter)->passes = all;
}

/* How many rows were hidden by policies. */
int64
es_visible_count(const EsVisible *visible)
{
	return visible == NULL ? 0 : visible->hidden;
}

int64
es_visible_hidden(const EsScan *scan)
{
	return es_visible_count((const EsVisible *) scan->filter);
}

/* May the current role see this event?  Policies of others apply to it. */
bool
es_visible_is(Relation events, TupleTableSlot *event)
{
	Policies policies;

	begin_policies(&policies, events, GetActiveSnapshot());
	return policies_show(&policies, event);
}

/* Raises 42501 where the policies do not let the current role write the row. */
static void
check_row(EsRowCheck *self, TupleTableSlot *event)
{
	Check  *check = (Check *) self;
	EState *estate = check->query->estate;

	if (check->rri->ri_WithCheckOptions != NIL)
		ExecWithCheckOptions(WCO_RLS_INSERT_CHECK, check->rri, event, estate);
	ResetPerTupleExprContext(estate);
}

static void
end_check(EsRowCheck *self)
{
	finish(((Check *) self)->query);
	pfree(self);
}

/* What rows that the current role appends have to pass; NULL where there is nothing. */
EsRowCheck *
es_visible_check(Relation events)
{
	Check *check;

	if (!es_policy_applies(events))
		return NULL;
	check = palloc(sizeof(Check));
	check->check = (EsRowCheck){check_row, end_check};
	check->query =
		start("INSERT INTO es.events (position) VALUES (1)", NULL, NULL, GetActiveSnapshot());
	check->rri = castNode(ModifyTableState, check->query->planstate)->resultRelInfo;
	return &check->check;
}
