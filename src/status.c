/*
 * status.c
 *		What monitors see: the functions below the views es_outbox and es_stat_*,
 *		and below es_status().
 *
 * The views' SQL joins what is here with PostgreSQL's own views.  Statistics tell of
 * streams that are not the reader's own, by numbers, and es_stat_waiting by name: they are
 * for members of pg_monitor, who see the text of all queries anyway, and for the owner.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/twophase.h"
#include "access/xlog.h"
#include "catalog/pg_authid.h"
#include "commands/dbcommands.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "binding.h"
#include "compat.h"
#include "errors.h"
#include "events.h"
#include "log.h"
#include "marker.h"
#include "policy.h"
#include "row.h"
#include "rows.h"
#include "scan.h"
#include "shared.h"
#include "status.h"
#include "store.h"
#include "tenant.h"
#include "tick.h"
#include "visible.h"

PG_FUNCTION_INFO_V1(es_status_store);
PG_FUNCTION_INFO_V1(es_status_outbox);
PG_FUNCTION_INFO_V1(es_status_publisher);
PG_FUNCTION_INFO_V1(es_status_holders);
PG_FUNCTION_INFO_V1(es_status_appends);
PG_FUNCTION_INFO_V1(es_status_workers);
PG_FUNCTION_INFO_V1(es_status_tenants);

/* May the current role see the statistics? */
void
es_status_check_monitor(void)
{
	const EsStore *store = es_store();

	if (!has_privs_of_role(GetUserId(), ROLE_PG_MONITOR) &&
		!has_privs_of_role(GetUserId(), store->owner))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("permission denied for statistics of the event store"),
						errdetail("Role \"%s\" is no member of role pg_monitor.",
								  GetUserNameFromId(GetUserId(), false)),
						errhint("GRANT pg_monitor to that role.")));
	es_tenant_check_unbound("statistics of the event store");
}

/* Opens a scan over the events above the horizon that the caller's snapshot sees. */
static EsScan *
open_unpublished(Relation events, int64 horizon)
{
	EsScan *scan = es_scan_begin(events, es_events.found->indexes[ES_EVENTS_BY_POSITION],
								 GetActiveSnapshot(), 1);

	es_scan_int8_key(scan, 1, BTGreaterStrategyNumber, horizon);
	es_scan_seek(scan);
	return scan;
}

/* es_outbox: what is appended and not published. */
Datum
es_status_outbox(PG_FUNCTION_ARGS)
{
	Relation  events = es_visible_open();
	EsRows    rows = es_rows_begin(fcinfo);
	EsTenants tenants = es_tenants_allowed();
	EsScan *scan = es_visible_scan(open_unpublished(events, es_tick_horizon(GetActiveSnapshot())));
	TupleTableSlot *slot;

	while ((slot = es_scan_next(scan, ForwardScanDirection)) != NULL)
	{
		if (es_tenants_have(&tenants, es_row_text(slot, ES_EVENTS_TENANT)))
			es_rows_put_log(&rows, slot);
		CHECK_FOR_INTERRUPTS();
	}
	es_scan_end(scan);
	table_close(events, NoLock);
	return (Datum) 0;
}

typedef struct Lag
{
	int64       horizon;
	int64       events; /* above it */
	int64       head;
	TimestampTz since; /* when the first of them was appended; not in the future */
} Lag;

static Lag
measure_lag(void)
{
	Relation        events = table_open(es_events.found->relid, AccessShareLock);
	Lag             lag = {es_tick_horizon(GetActiveSnapshot())};
	EsScan         *scan = open_unpublished(events, lag.horizon);
	TupleTableSlot *slot;

	while ((slot = es_scan_next(scan, ForwardScanDirection)) != NULL)
	{
		if (lag.events++ == 0)
			lag.since = es_row_int8(slot, ES_EVENTS_RECORDED_AT);
		CHECK_FOR_INTERRUPTS();
	}
	es_scan_end(scan);
	/* the clock may have been ahead then */
	if (lag.events > 0)
		lag.since = Min(lag.since, GetCurrentTimestamp());
	lag.head = es_log_head(events, GetActiveSnapshot());
	table_close(events, NoLock);
	return lag;
}

/* What a slot's publisher is about, as it is shown. */
static const char *
state_name(const EsSlot *slot)
{
	static const char *const names[] = {
		[ES_WORKER_NONE] = "none",         [ES_WORKER_WANTED] = "wanted",
		[ES_WORKER_NO_SLOT] = "no room",   [ES_WORKER_STARTING] = "starting",
		[ES_WORKER_IDLE] = "idle",         [ES_WORKER_BUSY] = "busy",
		[ES_WORKER_BACKOFF] = "backs off", [ES_WORKER_HELD] = "held",
		[ES_WORKER_RESTS] = "rests",
	};
	bool launches = es_shared()->preloaded;

	/* the launcher starts what is wanted, and what has something to publish */
	if (!launches && slot->state == ES_WORKER_WANTED)
		return names[ES_WORKER_NONE];
	if (launches && slot->state == ES_WORKER_NONE &&
		pg_atomic_read_u32((pg_atomic_uint32 *) &slot->dirty) != 0)
		return names[ES_WORKER_WANTED];
	return names[slot->state];
}

/* A copy of a slot; an unused one where there is none. */
static EsSlot
copy_slot(const EsSlot *slot)
{
	EsShared *shared = es_shared();
	EsSlot    copy;

	memset(&copy, 0, sizeof(copy));
	if (slot != NULL)
	{
		LWLockAcquire(shared->lock, LW_SHARED);
		copy = *slot;
		LWLockRelease(shared->lock);
	}
	return copy;
}

/* A row under construction: values are put from left to right. */
typedef struct Row
{
	Datum values[16];
	bool  nulls[16];
	int   n;
} Row;

static void
put(Row *row, Datum value, bool isnull)
{
	Assert(row->n < (int) lengthof(row->values));
	row->values[row->n] = value;
	row->nulls[row->n++] = isnull;
}

static void
put_int8(Row *row, int64 value)
{
	put(row, Int64GetDatum(value), false);
}

static void
put_count(Row *row, pg_atomic_uint64 *count)
{
	put_int8(row, (int64) pg_atomic_read_u64(count));
}

static void
put_text(Row *row, const char *value)
{
	put(row, value[0] == '\0' ? (Datum) 0 : CStringGetTextDatum(value), value[0] == '\0');
}

static void
put_time(Row *row, TimestampTz value)
{
	put(row, TimestampTzGetDatum(value), value == 0);
}

static void
put_pid(Row *row, int pid)
{
	put(row, Int32GetDatum(pid), pid == 0);
}

static void
finish_row(EsRows *rows, Row *row)
{
	es_rows_put(rows, row->values, row->nulls);
	row->n = 0;
}

/* Looks for the store and the shared memory; raises where one of them cannot be used. */
static void
find_store_and_memory(void)
{
	(void) es_store();
	(void) es_shared();
}

/*
 * Does a piece of work that only looks, and catches the errors that say that there is no
 * store which this library can use.  Those are our own, and raised with no lightweight lock
 * held, so that to end what the work has begun is enough, and no subtransaction is needed,
 * which a parallel query could not have.  Answers the error, or NULL.
 */
static ErrorData *
catch_unusable(void (*work)(void))
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner caller = CurrentResourceOwner;
	ResourceOwner own = ResourceOwnerCreate(caller, "pg_eventstore status");
	ErrorData *volatile error = NULL;

	CurrentResourceOwner = own;
	PG_TRY();
	{
		work();
	}
	PG_CATCH();
	{
		if (geterrcode() != ERRCODE_ES_NO_STORE &&
			geterrcode() != ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE)
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
	}
	PG_END_TRY();
	ResourceOwnerRelease(own, RESOURCE_RELEASE_BEFORE_LOCKS, error == NULL, false);
	ResourceOwnerRelease(own, RESOURCE_RELEASE_LOCKS, error == NULL, false);
	ResourceOwnerRelease(own, RESOURCE_RELEASE_AFTER_LOCKS, error == NULL, false);
	CurrentResourceOwner = caller;
	ResourceOwnerDelete(own);
	return error;
}

/*
 * es_status' first question: the version of the tables, or why there is no store that this
 * library can use, which any role may know.
 */
Datum
es_status_store(PG_FUNCTION_ARGS)
{
	EsRows     rows = es_rows_begin(fcinfo);
	ErrorData *error = catch_unusable(find_store_and_memory);
	Row        row = {0};

	if (error == NULL)
		es_status_check_monitor();
	put(&row, Int32GetDatum(ES_STORE_VERSION), error != NULL);
	put_text(&row, error == NULL ? "" : error->message);
	put_text(&row, error == NULL || error->detail == NULL ? "" : error->detail);
	put_text(&row, error == NULL || error->hint == NULL ? "" : error->hint);
	finish_row(&rows, &row);
	return (Datum) 0;
}

/* es_stat_publisher's own columns: one row. */
Datum
es_status_publisher(PG_FUNCTION_ARGS)
{
	EsRows rows = es_rows_begin(fcinfo);
	EsSlot slot;
	Lag    lag;
	Row    row = {0};

	es_status_check_monitor();
	slot = copy_slot(es_shared_mine());
	lag = measure_lag();
	put_int8(&row, lag.horizon);
	put_int8(&row, lag.head);
	put_int8(&row, lag.events);
	put_time(&row, lag.since);
	put_pid(&row, slot.pid);
	put_text(&row, RecoveryInProgress()        ? "standby"
				   : OidIsValid(slot.database) ? state_name(&slot)
											   : "no slot");
	put_time(&row, slot.pid == 0 ? 0 : slot.started_at);
	put_count(&row, &slot.ticks);
	put_time(&row, (TimestampTz) pg_atomic_read_u64(&slot.tick_at));
	put_count(&row, &slot.notified);
	put_count(&row, &slot.notifications);
	put_count(&row, &slot.skipped);
	put(&row, BoolGetDatum(slot.queue_full), false);
	put_text(&row, slot.error);
	put_time(&row, slot.error_at);
	put(&row, BoolGetDatum(es_shared()->preloaded), false);
	finish_row(&rows, &row);
	return (Datum) 0;
}

/* The transaction id of a prepared holder, or InvalidTransactionId. */
static TransactionId
prepared_xid(const EsHolder *holder)
{
	VirtualTransactionId vxid;
	bool                 more;

	if (holder->backend < 0)
		return (TransactionId) holder->transaction;
	vxid = es_compat_vxid((int) holder->backend, (LocalTransactionId) holder->transaction);
	return TwoPhaseGetXidByVirtualXID(vxid, &more);
}

static bool
is_same(const EsHolder *a, const EsHolder *b)
{
	return a->backend == b->backend && a->transaction == b->transaction;
}

/* A holder's floor, as the newest tick knows it; above its last position where not. */
static int64
floor_in_tick(const EsTick *tick, const EsHolder *holder)
{
	if (tick->life != es_shared()->life)
		return tick->position + 1;
	for (int i = 0; i < tick->nholders; i++)
	{
		if (is_same(&tick->holders[i], holder))
			return tick->holders[i].floor;
	}
	return tick->last_position + 1;
}

/* A running publisher knows better who holds the horizon, and no floor is below his. */
static int64
floor_of(const EsTick *tick, const EsSlot *slot, const EsHolder *holder)
{
	if (slot->pid == 0 || slot->holder.floor == 0)
		return floor_in_tick(tick, holder);
	if (is_same(&slot->holder, holder))
		return slot->holder.floor;
	return Max(floor_in_tick(tick, holder), slot->holder.floor);
}

/* The transactions that hold the horizon: pid or prepared transaction, and floor. */
Datum
es_status_holders(PG_FUNCTION_ARGS)
{
	EsRows    rows = es_rows_begin(fcinfo);
	EsTick    tick;
	EsSlot    slot;
	EsHolder *holders;
	Row       row = {0};
	int       n;

	es_status_check_monitor();
	if (RecoveryInProgress())
		return (Datum) 0;
	slot = copy_slot(es_shared_mine());
	(void) es_tick_newest(&tick);
	holders = es_marker_holders(&n);
	for (int i = 0; i < n; i++)
	{
		int           pid = es_holder_pid(&holders[i]);
		TransactionId xid = pid == 0 ? prepared_xid(&holders[i]) : InvalidTransactionId;

		put_pid(&row, pid);
		put(&row, TransactionIdGetDatum(xid), !TransactionIdIsValid(xid));
		put_int8(&row, floor_of(&tick, &slot, &holders[i]));
		finish_row(&rows, &row);
	}
	return (Datum) 0;
}

/* es_stat_appends: one row. */
Datum
es_status_appends(PG_FUNCTION_ARGS)
{
	EsRows rows = es_rows_begin(fcinfo);
	EsSlot slot;
	Row    row = {0};

	es_status_check_monitor();
	slot = copy_slot(es_shared_mine());
	put_count(&row, &slot.appends);
	put_count(&row, &slot.events);
	put_count(&row, &slot.conflicts);
	put_count(&row, &slot.repeats);
	finish_row(&rows, &row);
	return (Datum) 0;
}

static void
put_worker(EsRows *rows, const char *kind, const EsSlot *slot)
{
	char *database = slot == NULL ? NULL : get_database_name(slot->database);
	Row   row = {0};

	put_text(&row, kind);
	put_text(&row, database == NULL ? "" : database);
	put_pid(&row, slot == NULL ? es_shared()->launcher_pid : slot->pid);
	put_text(&row,
			 slot == NULL ? (es_shared()->launcher_pid == 0 ? "none" : "idle") : state_name(slot));
	put_time(&row, slot == NULL || slot->pid == 0 ? 0 : slot->started_at);
	put_text(&row, slot == NULL ? "" : slot->error);
	put_time(&row, slot == NULL ? 0 : slot->error_at);
	finish_row(rows, &row);
}

/* es_stat_workers: the launcher, and the publisher of each database that has a store. */
Datum
es_status_workers(PG_FUNCTION_ARGS)
{
	EsShared *shared = es_shared();
	EsRows    rows = es_rows_begin(fcinfo);
	bool      sees_all;

	es_status_check_monitor();
	sees_all = has_privs_of_role(GetUserId(), ROLE_PG_MONITOR);
	(void) es_shared_mine();
	if (shared->preloaded)
		put_worker(&rows, "launcher", NULL);
	for (int i = 0; i < shared->nslots; i++)
	{
		EsSlot slot = copy_slot(&shared->slots[i]);

		if (OidIsValid(slot.database) && (slot.has_store || slot.database == MyDatabaseId) &&
			(sees_all || slot.database == MyDatabaseId))
			put_worker(&rows, "publisher", &slot);
	}
	return (Datum) 0;
}

/* Is there a role that the binding is about? */
static bool
is_known(const EsBinding *binding)
{
	return OidIsValid(get_role_oid(binding->role, true)) ||
		   (OidIsValid(binding->oid) && SearchSysCacheExists1(AUTHOID, binding->oid));
}

static bool
is_free(const EsBinding *binding)
{
	Oid role = get_role_oid(binding->role, true);

	return OidIsValid(role) && es_tenant_is_free(role);
}

/* The roles of bindings, in the caller's memory. */
static EsBindings
copy_roles(const EsBindings *bound)
{
	EsBindings copy = {bound->n, palloc0(Max(bound->n, 1) * sizeof(EsBinding))};

	for (int i = 0; i < bound->n; i++)
	{
		copy.list[i].role = pstrdup(bound->list[i].role);
		copy.list[i].oid = bound->list[i].oid;
	}
	return copy;
}

/*
 * How the bindings are, for es_status(): how many, whether row-level security is on,
 * and the first whose role is gone, or is not held to it.
 */
Datum
es_status_tenants(PG_FUNCTION_ARGS)
{
	EsRows     rows = es_rows_begin(fcinfo);
	EsBindings bound;
	Datum      values[4];
	bool       nulls[4] = {false, false, true, true};

	es_status_check_monitor();
	bound = copy_roles(es_binding_all());
	values[0] = Int32GetDatum(bound.n);
	values[1] = BoolGetDatum(es_policy_is_enabled());
	for (int i = bound.n - 1; i >= 0; i--)
	{
		const EsBinding *binding = &bound.list[i];
		int              column = !is_known(binding) ? 2 : is_free(binding) ? 3 : -1;

		if (column < 0)
			continue;
		values[column] = CStringGetTextDatum(binding->role);
		nulls[column] = false;
	}
	es_rows_put(&rows, values, nulls);
	return (Datum) 0;
}
