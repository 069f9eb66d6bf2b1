/*
 * wait.c
 *		The horizon, as it is and as a session waits for it: es_horizon, es_wait.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "common/int.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/fmgrprotos.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "clock.h"
#include "epoch.h"
#include "events.h"
#include "marker.h"
#include "privilege.h"
#include "shared.h"
#include "store.h"
#include "tick.h"

PG_FUNCTION_INFO_V1(es_horizon);
PG_FUNCTION_INFO_V1(es_wait);

/* es_horizon() returns the position up to which events are published. */
Datum
es_horizon(PG_FUNCTION_ARGS)
{
	es_privilege_check_read(&es_events);
	PG_RETURN_INT64(es_tick_horizon(GetActiveSnapshot()));
}

/* The horizon as it is now, whatever the snapshot of the running statement. */
static int64
newest_horizon(void)
{
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	int64    horizon = es_tick_horizon(snapshot);

	UnregisterSnapshot(snapshot);
	return horizon;
}

/* Who waits for what only his own transaction's end can bring waits for ever. */
static void
check_can_come(int64 target, int64 horizon)
{
	if (target <= horizon)
		return;
	if (target >= es_marker_first())
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("position %lld cannot be published before this transaction ends",
							   (long long) target),
						errdetail("This transaction has appended from position %lld on.",
								  (long long) es_marker_first()),
						errhint("Commit first, then wait.")));
	if (IsolationUsesXactSnapshot())
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("es_wait() cannot wait in a %s transaction",
							   IsolationIsSerializable() ? "SERIALIZABLE" : "REPEATABLE READ"),
						errdetail("Its snapshot stays at horizon %lld.", (long long) horizon),
						errhint("Wait before the transaction begins, or at READ COMMITTED.")));
}

#define ES_WAIT_POLL_STANDBY 20   /* ms; there the horizon moves by replay */
#define ES_WAIT_POLL         1000 /* ms; where nobody might tell us */

/* Sleeps until the horizon may have moved, at most so long. */
static void
sleep_a_while(EsSlot *slot, long left)
{
	if (slot != NULL && !RecoveryInProgress())
		(void) ConditionVariableTimedSleep(&slot->published, Min(left, ES_WAIT_POLL),
										   PG_WAIT_EXTENSION);
	else
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 Min(left, ES_WAIT_POLL_STANDBY), PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

/* Says, before a session waits, that nothing will come by itself. */
static void
tell_unpublished(EsSlot *slot)
{
	if (RecoveryInProgress() || es_shared_publishes(slot))
		return;
	ereport(NOTICE,
			(errmsg("no publisher runs: nothing is published until es_start_worker() or "
					"es_publish() is called"),
			 es_shared()->preloaded
				 ? errhint("es_status() says why.")
				 : errhint("Call es_start_worker() after each start of the server, or add "
						   "pg_eventstore to shared_preload_libraries, which starts publishers by "
						   "itself.")));
}

/* Waits until the horizon is at the target, or the time has come; answers the horizon. */
static int64
wait_until(int64 target, int64 until)
{
	EsSlot *slot = es_shared_mine();
	int64   horizon;
	bool    told = false;

	if (slot != NULL)
		ConditionVariablePrepareToSleep(&slot->published);
	while ((horizon = newest_horizon()) < target)
	{
		long left = es_clock_left(until);

		if (left == 0)
			break;
		if (!told)
			tell_unpublished(slot);
		told = true;
		sleep_a_while(slot, left);
	}
	ConditionVariableCancelSleep();
	return horizon;
}

/*
 * The moment when a time-out ends that begins now.  How long its days and months are, the
 * calendar tells.
 */
static int64
end_of(Interval *timeout)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz end =
		DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval, TimestampTzGetDatum(now),
												IntervalPGetDatum(timeout)));
	int64 length;

	if (end < now)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"timeout\" must not be negative"),
						errhint("Zero looks once and does not wait.")));
	if (TIMESTAMP_NOT_FINITE(end) || pg_sub_s64_overflow(end, now, &length))
		return PG_INT64_MAX;
	return es_clock_in_ms(length / 1000 + (length % 1000 > 0));
}

/* The position to wait for. */
static int64
target_arg(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"%s\" must not be null", PG_ARGISNULL(0) ? "target" : "timeout"),
				 PG_ARGISNULL(0) ? errhint("es_position() answers null for a stream that does not "
										   "exist.")
								 : errhint("Zero looks once and does not wait.")));
	if (PG_GETARG_INT64(0) < 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"target\" must not be negative"),
						errhint("Positions begin at 1.")));
	return PG_GETARG_INT64(0);
}

/* es_wait(target, timeout) waits until a position is published; returns the horizon. */
Datum
es_wait(PG_FUNCTION_ARGS)
{
	int64 target;
	int64 horizon;

	(void) es_store();
	target = target_arg(fcinfo);
	es_privilege_check_read(&es_events);
	es_epoch_check_cursor(target, true);
	horizon = es_tick_horizon(GetActiveSnapshot());
	check_can_come(target, horizon);
	if (horizon < target)
		horizon = wait_until(target, end_of(PG_GETARG_INTERVAL_P(1)));
	PG_RETURN_INT64(horizon);
}
