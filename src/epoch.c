/*
 * epoch.c
 *		Epochs: stretches of history without a lost tail.  All that reads or
 *		writes es.epochs.
 *
 * A promotion, a point-in-time recovery, a restored dump and a copied database
 * continue an older state of the log: events that consumers have seen may be
 * missing.  What tells them is the database's identity: system identifier,
 * timeline, and the OIDs of the database and of this table.  The first append or
 * tick that finds another identity than the newest epoch's moves the sequence far
 * up, and records the hole.  A cursor within a hole has seen what is lost: SE005,
 * for ever (P6).  How far is a random number, so that two branches of one history, a
 * dump that is restored twice for example, go on from different places: a cursor of
 * the one lies in the other's hole, or above all that the other has given.
 *
 * The rest of the file keeps the sequence from going ahead.  A position counts only up
 * to a limit, so far above what the store knows of that no store ever comes to it but
 * by setval(); see ES_EPOCH_REACH.
 *
 *	   epoch n                        hole                     epoch n + 1
 *	 ------------ last_position )                  [ first_position -----------
 *	 what this server has        | seen elsewhere |  what is appended from now on
 *
 * A row of es.epochs is written frozen: it is true at once and for everybody,
 * whatever becomes of the transaction that found it, as the sequence is moved at
 * once and for everybody.  So nobody waits for that transaction.
 *
 * Keeps P6.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "commands/sequence.h"
#include "common/int.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "epoch.h"
#include "errors.h"
#include "events.h"
#include "lock.h"
#include "log.h"
#include "row.h"
#include "scan.h"
#include "sequence.h"
#include "tick.h"
#include "verify.h"

/* Columns of es.epochs. */
enum
{
	ES_EPOCHS_EPOCH = 1,
	ES_EPOCHS_LAST_POSITION,
	ES_EPOCHS_FIRST_POSITION,
	ES_EPOCHS_TIMELINE,
	ES_EPOCHS_SYSTEM,
	ES_EPOCHS_DATABASE,
	ES_EPOCHS_RELATION,
	ES_EPOCHS_OPENED_AT,
	ES_EPOCHS_NATTS = ES_EPOCHS_OPENED_AT
};

static const EsColumn columns[] = {
	{"epoch", INT4OID, true, "Its number: 1, 2, 3 ..."},
	{"last_position", INT8OID, true,
	 "The last position of the epochs before: what is above it and below first_position is lost."},
	{"first_position", INT8OID, true, "The first position that this epoch gives."},
	{"timeline", INT8OID, true, "The timeline of the server's WAL."},
	{"system_identifier", INT8OID, true, "The database cluster."},
	{"database", INT8OID, true, "The OID of the database."},
	{"relation", INT8OID, true, "The OID of this table: another one after a restore."},
	{"opened_at", TIMESTAMPTZOID, true, "When it was opened."},
};

StaticAssertDecl(lengthof(columns) == ES_EPOCHS_NATTS, "each column has a number");

static EsFound found;

const EsTable es_epochs = {
	.schema = ES_SCHEMA,
	.name = "epochs",
	.relkind = RELKIND_RELATION,
	.comment =
		"Stretches of history without a lost tail; a promotion or a restore opens a new one.",
	.columns = columns,
	.ncolumns = lengthof(columns),
	.guard = ES_GUARD_REFUSES | ES_GUARD_TELLS,
	.reset = ES_RESET_EMPTIES,
	.found = &found,
};

/*
 * How far the sequence moves: further than any lost tail is long, and a random number
 * of so many bits more, which keeps branches apart.  A thousand openings take less than
 * 2^52 positions.  So all stay below 2^53, up to which JavaScript reads numbers exactly.
 */
#define ES_EPOCH_JUMP        (INT64CONST(1) << 32)
#define ES_EPOCH_RANDOM_BITS 42

/*
 * How far above what is known a position may be.  Known are the newest epoch's first
 * position, the newest tick's last one, and what is stored.  A session keeps the limit
 * that follows; what it knows only grows, so an old limit is too low, never too high.
 *
 * A legitimate store does not come to its limit.  The sequence is above what is known
 * by two things only:
 *
 * - The jump of an epoch whose row is not seen: a crash, or pg_dump, which reads
 *   sequences outside its snapshot, came between the jump and the row.  That is less
 *   than 2^42 + 2^32.  Only the one who opens the next epoch meets it: all others have
 *   seen the newest epoch's row in es_epoch_check() before they take a position, and
 *   rows of epochs are frozen.
 * - Positions that were given since the newest tick, and are not stored: of appenders in
 *   flight, prepared ones among them, and of such as have rolled back.  What is left of
 *   the reach for these is more than 2^41.  At a million a second that is 25 days
 *   without a single tick and without an event that is stored.
 *
 * An appender and a tick compare each position with the limit, and raise an error above
 * it.  So no event and no tick ever has a position above known + reach, whatever setval()
 * does: nobody has seen one, and es_epoch_set_back() may take the sequence back to there.
 */
#define ES_EPOCH_REACH (INT64CONST(1) << 43)

typedef struct Epoch
{
	int32 number; /* 0: there is none yet */
	int64 last;
	int64 first;
	int64 timeline;
	int64 system;
	int64 database;
	int64 relation; /* es.epochs itself: another one after a restore */
} Epoch;

static uint64 checked = 0; /* the generation of the store that was found to be in order */

int64 es_epoch_limit = 0; /* the highest position that is known to be plausible */

static Epoch
epoch_of(TupleTableSlot *slot)
{
	Epoch epoch;

	epoch.number = es_row_int4(slot, ES_EPOCHS_EPOCH);
	epoch.last = es_row_int8(slot, ES_EPOCHS_LAST_POSITION);
	epoch.first = es_row_int8(slot, ES_EPOCHS_FIRST_POSITION);
	epoch.timeline = es_row_int8(slot, ES_EPOCHS_TIMELINE);
	epoch.system = es_row_int8(slot, ES_EPOCHS_SYSTEM);
	epoch.database = es_row_int8(slot, ES_EPOCHS_DATABASE);
	epoch.relation = es_row_int8(slot, ES_EPOCHS_RELATION);
	return epoch;
}

/* Is this the identity that the database has now? */
static bool
is_current(const Epoch *epoch)
{
	return epoch->number > 0 && epoch->timeline == GetWALInsertionTimeLine() &&
		   epoch->system == (int64) GetSystemIdentifier() && epoch->database == MyDatabaseId &&
		   epoch->relation == es_epochs.found->relid;
}

/*
 * Walks over the epochs: answers with the newest, and where hole is given, finds
 * the hole that the cursor is in.  Rows that were restored into a store that had
 * its own may share its number; then one of elsewhere is the one to go on from.
 */
static Epoch
walk(Snapshot snapshot, int64 cursor, Epoch *hole)
{
	Relation        rel = table_open(es_epochs.found->relid, AccessShareLock);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	TableScanDesc   scan = table_beginscan(rel, snapshot, 0, NULL);
	Epoch           newest = {0};

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		Epoch epoch = epoch_of(slot);

		if (hole != NULL && cursor > epoch.last && cursor < epoch.first - 1)
			*hole = epoch;
		if (epoch.number > newest.number || (epoch.number == newest.number && !is_current(&epoch)))
			newest = epoch;
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	table_close(rel, AccessShareLock);
	return newest;
}

/* The last position that this database knows of: of events, stored or prepared, and ticks. */
static int64
last_known(void)
{
	Relation events = table_open(es_events.found->relid, AccessShareLock);
	EsTick   tick;
	int64    last;

	last = es_log_last_prepared(events);
	table_close(events, NoLock);
	if (es_tick_newest(&tick))
		last = Max(last, tick.position);
	return last;
}

/* The highest position that counts where this one is known. */
static int64
limit_above(int64 known)
{
	return known > PG_INT64_MAX - ES_EPOCH_REACH ? PG_INT64_MAX : known + ES_EPOCH_REACH;
}

static int64
limit_by_ticks(void)
{
	EsTick tick;

	return es_tick_newest(&tick) ? limit_above(Max(tick.position, tick.last_position)) : 0;
}

/* The limit by all that is known; newest is the newest epoch. */
static int64
limit_by_all(const Epoch *newest)
{
	Relation events = table_open(es_events.found->relid, AccessShareLock);
	int64    stored = es_log_last_position(events);

	table_close(events, NoLock);
	return Max(limit_above(Max(stored, newest->first - 1)), limit_by_ticks());
}

/* How far this opening moves the sequence. */
static int64
random_jump(void)
{
	uint64 bits;

	if (!pg_strong_random(&bits, sizeof(bits)))
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR),
						errmsg("could not generate random bytes for an epoch")));
	return ES_EPOCH_JUMP + (int64) (bits >> (64 - ES_EPOCH_RANDOM_BITS));
}

/*
 * The last position that counts as given where an epoch begins anew: above all that may
 * have been given, and above what may have been lost.
 */
static int64
jump_from(const Epoch *before, int64 last)
{
	/* setval() may have taken the sequence anywhere; see ES_EPOCH_REACH */
	int64 given = Min(es_sequence_last(es_positions.found->relid, NULL), limit_by_all(before));

	if (pg_add_s64_overflow(Max(given, last), random_jump(), &given))
		ereport(ERROR, (errcode(ERRCODE_SEQUENCE_GENERATOR_LIMIT_EXCEEDED),
						errmsg("the event store has no positions left for another epoch"),
						errdetail("The log ends at position %lld.", (long long) last),
						errhint("Load the events into a new store, with lower positions.")));
	return given;
}

/* Moves the sequence, as its owner. */
static void
set_sequence(int64 value)
{
	Oid user;
	int context;

	GetUserIdAndSecContext(&user, &context);
	SetUserIdAndSecContext(es_store()->owner, context | SECURITY_LOCAL_USERID_CHANGE);
	(void) DirectFunctionCall2(setval_oid, ObjectIdGetDatum(es_positions.found->relid),
							   Int64GetDatum(value));
	SetUserIdAndSecContext(user, context);
}

static void
write_epoch(const Epoch *epoch)
{
	Relation        rel = table_open(es_epochs.found->relid, RowExclusiveLock);
	TupleTableSlot *slot = MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsHeapTuple);
	HeapTuple       tuple;

	es_row_clear(slot);
	es_row_put(slot, ES_EPOCHS_EPOCH, Int32GetDatum(epoch->number));
	es_row_put(slot, ES_EPOCHS_LAST_POSITION, Int64GetDatum(epoch->last));
	es_row_put(slot, ES_EPOCHS_FIRST_POSITION, Int64GetDatum(epoch->first));
	es_row_put(slot, ES_EPOCHS_TIMELINE, Int64GetDatum(epoch->timeline));
	es_row_put(slot, ES_EPOCHS_SYSTEM, Int64GetDatum(epoch->system));
	es_row_put(slot, ES_EPOCHS_DATABASE, Int64GetDatum(epoch->database));
	es_row_put(slot, ES_EPOCHS_RELATION, Int64GetDatum(epoch->relation));
	es_row_put(slot, ES_EPOCHS_OPENED_AT, TimestampTzGetDatum(GetCurrentTimestamp()));
	tuple = heap_form_tuple(RelationGetDescr(rel), slot->tts_values, slot->tts_isnull);
	heap_insert(rel, tuple, GetCurrentCommandId(true), HEAP_INSERT_FROZEN, NULL);
	heap_freetuple(tuple);
	ExecDropSingleTupleTableSlot(slot);
	table_close(rel, NoLock);
}

/*
 * A restored or copied database has told its listeners nothing, and shall not
 * tell them the past (O1): its publisher begins at the horizon.
 */
static void
begin_notifying_here(int64 last_given)
{
	EsTick tick;

	if (!es_tick_newest(&tick))
		return;
	tick.notified = tick.position;
	tick.last_position = last_given;
	tick.life = 0;
	tick.nholders = 0;
	es_tick_write(&tick);
}

/*
 * Opens an epoch for the present identity.  The first one has no hole.  Nobody
 * can be appending: each looks here before.
 */
static Epoch
open_epoch(Epoch before)
{
	Epoch now = {before.number + 1};

	now.last = last_known();
	now.timeline = GetWALInsertionTimeLine();
	now.system = (int64) GetSystemIdentifier();
	now.database = MyDatabaseId;
	now.relation = es_epochs.found->relid;
	now.first = now.last + 1;
	if (before.number > 0)
	{
		int64 given = jump_from(&before, now.last);

		set_sequence(given);
		now.first = given + 1;
		if (before.system != now.system || before.relation != now.relation ||
			before.database != now.database)
			begin_notifying_here(given);
		ereport(LOG, (errmsg("pg_eventstore: epoch %d of the event store begins at position %lld",
							 now.number, (long long) now.first),
					  errdetail("Positions above %lld and below it are lost, if they were ever "
								"given.",
								(long long) now.last)));
	}
	write_epoch(&now);
	return now;
}

/* Has es_epoch_check() looked since the store may last have changed? */
static bool
is_checked(void)
{
	return checked == es_store_generation();
}

/*
 * Is the newest epoch the present one?  Never waits: false, too, while somebody has
 * locked the epochs against everybody.
 */
bool
es_epoch_is_current(void)
{
	Epoch newest;

	if (is_checked())
		return true;
	if (!ConditionalLockRelationOid(es_epochs.found->relid, AccessShareLock))
		return false;
	newest = walk(SnapshotSelf, 0, NULL);
	UnlockRelationOid(es_epochs.found->relid, AccessShareLock);
	return is_current(&newest);
}

/*
 * Makes sure, before a position is given or published, that the newest epoch is
 * the present one.  Known for a session once it was found: while a server runs,
 * it does not change.
 */
void
es_epoch_check(void)
{
	Epoch newest;

	if (is_checked())
		return;
	newest = walk(SnapshotSelf, 0, NULL);
	if (!is_current(&newest))
	{
		/* first, as who empties the store does, and with none of its tables locked */
		LockRelationOid(es_events.found->relid, AccessShareLock);
		es_lock_epoch();
		newest = walk(SnapshotSelf, 0, NULL);
		if (!is_current(&newest))
			newest = open_epoch(newest);
		es_unlock_epoch();
	}
	es_epoch_limit = limit_above(newest.first - 1);
	checked = es_store_generation();
}

/*
 * Makes sure that a position is not above the limit; looks anew at what is known before
 * it says so, since es_epoch_check() has looked at the epochs only.  wait: may it wait for
 * locks on tables?  A tick must not: it has locked es.ticks, which others lock last.
 * Where it finds less for that reason, the next tick finds the rest.
 */
void
es_epoch_check_ahead(int64 position, bool wait)
{
	if (position > es_epoch_limit)
		es_epoch_limit = Max(es_epoch_limit, limit_by_ticks());
	if (position > es_epoch_limit &&
		(wait || (ConditionalLockRelationOid(es_events.found->relid, AccessShareLock) &&
				  ConditionalLockRelationOid(es_epochs.found->relid, AccessShareLock))))
	{
		Epoch newest = walk(SnapshotSelf, 0, NULL);

		es_epoch_limit = limit_by_all(&newest);
	}
	if (position > es_epoch_limit)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the sequence of positions has gone ahead"),
				 errdetail("It is at position %lld, and the last one that the store knows of is "
						   "%lld.",
						   (long long) position, (long long) (es_epoch_limit - ES_EPOCH_REACH)),
				 errhint("Run SELECT es_init() as the owner of the store, which repairs it.")));
}

/* Has setval() taken the sequence further than any appender can have? */
bool
es_epoch_is_ahead(void)
{
	Epoch newest = walk(SnapshotSelf, 0, NULL);

	return es_sequence_last(es_positions.found->relid, NULL) > limit_by_all(&newest);
}

/*
 * Takes a sequence that has gone ahead back, by an epoch, which says that nothing between
 * was ever given.  The caller has found the newest epoch to be the present one, and has
 * locked es.ticks and es.events against ticks and appenders: none is under way, so that the
 * hole has nothing in it that becomes visible later.
 *
 * The epoch begins above known + reach, and so above all that was ever taken: no floor
 * of a tick, and nothing that a publisher remembers, is higher.  It is there at once and
 * stays, as the sequence does, also where the caller rolls back.
 */
void
es_epoch_set_back(void)
{
	int64 was = es_sequence_last(es_positions.found->relid, NULL);
	Epoch epoch;

	es_lock_epoch();
	epoch = open_epoch(walk(SnapshotSelf, 0, NULL));
	es_unlock_epoch();
	ereport(NOTICE, (errmsg("the sequence of positions had gone ahead to %lld: epoch %d begins at "
							"position %lld",
							(long long) was, epoch.number, (long long) epoch.first)));
}

/*
 * P6: raises SE005 for a cursor that has seen what this store has lost, or never
 * had.  Not in recovery, where the log may be behind the primary's; and never
 * compared with the horizon, which falls back after a crash.  A cursor may be the
 * next position where that is what its holder waits for.
 */
void
es_epoch_check_cursor(int64 cursor, bool may_be_next)
{
	Epoch hole = {0};
	int64 last;

	if (cursor <= 0 || RecoveryInProgress())
		return;
	(void) walk(SnapshotSelf, cursor, &hole);
	if (hole.number > 0)
		ereport(ERROR,
				(errcode(ERRCODE_ES_LOST_TAIL),
				 errmsg("position %lld is in a part of the log that is lost", (long long) cursor),
				 errdetail_internal("{\"cursor\": %lld, \"last\": %lld, \"first\": %lld, "
									"\"epoch\": %d}",
									(long long) cursor, (long long) hole.last,
									(long long) hole.first, hole.number),
				 errhint("A promotion or a restore has lost events that this reader may have seen. "
						 "Compare what it has made of them with the log, and read on after "
						 "\"last\".")));
	last = es_sequence_last(es_positions.found->relid, NULL);
	if (cursor > (may_be_next ? last + 1 : last))
		ereport(ERROR,
				(errcode(ERRCODE_ES_LOST_TAIL),
				 errmsg("position %lld is ahead of the log", (long long) cursor),
				 errdetail_internal("{\"cursor\": %lld, \"last\": %lld}", (long long) cursor,
									(long long) last),
				 errhint("The cursor is of another store, or of a later state of this one; read "
						 "on after a position that this store has.")));
}

/* Is an event stored in the hole before this epoch?  Then readers would be refused there. */
static void
check_hole(EsVerify *verify, EsTally *tally, const Epoch *epoch)
{
	EsScan         *scan;
	TupleTableSlot *slot;

	if (verify->events == NULL || !OidIsValid(es_events.found->indexes[ES_EVENTS_BY_POSITION]))
		return;
	scan = es_scan_begin(verify->events, es_events.found->indexes[ES_EVENTS_BY_POSITION],
						 verify->snapshot, 2);
	es_scan_int8_key(scan, 1, BTGreaterStrategyNumber, epoch->last);
	es_scan_int8_key(scan, 1, BTLessStrategyNumber, epoch->first);
	es_scan_seek(scan);
	if ((slot = es_scan_next(scan, ForwardScanDirection)) != NULL)
		es_tally_found(tally, ES_VERIFY_ERROR, psprintf("es.epochs, epoch %d", epoch->number),
					   "Position %lld is stored, and lies in the part that is lost, between "
					   "%lld and %lld.",
					   (long long) es_row_int8(slot, ES_EVENTS_POSITION), (long long) epoch->last,
					   (long long) epoch->first);
	es_scan_end(scan);
}

/* Does an epoch make sense by itself, and behind the one before it? */
static void
check_epoch(EsVerify *verify, EsTally *tally, const Epoch *epoch, const Epoch *before)
{
	char *where = psprintf("es.epochs, epoch %d", epoch->number);

	if (epoch->number < 1 || epoch->last < 0 || epoch->first <= epoch->last)
		es_tally_found(tally, ES_VERIFY_ERROR, where,
					   "It begins at position %lld, and the last one before it is %lld.",
					   (long long) epoch->first, (long long) epoch->last);
	/* rows that were restored beside a store's own have their numbers again */
	if (before->number > 0 && epoch->number > before->number && epoch->first <= before->first)
		es_tally_found(tally, ES_VERIFY_ERROR, where,
					   "It begins at position %lld, and epoch %d begins at position %lld.",
					   (long long) epoch->first, before->number, (long long) before->first);
	check_hole(verify, tally, epoch);
}

static int
compare_epochs(const void *a, const void *b)
{
	const Epoch *x = a;
	const Epoch *y = b;

	if (x->number != y->number)
		return x->number < y->number ? -1 : 1;
	return x->first < y->first ? -1 : x->first > y->first;
}

/* All epochs that the snapshot shows, in their order: a row for each promotion or restore. */
static Epoch *
read_epochs(EsVerify *verify, int *n)
{
	Relation        rel = table_open(es_epochs.found->relid, AccessShareLock);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	TableScanDesc   scan = table_beginscan(rel, verify->snapshot, 0, NULL);
	int             room = 16;
	Epoch          *epochs = palloc(room * sizeof(Epoch));

	*n = 0;
	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		if (*n == room)
			epochs = repalloc(epochs, (room *= 2) * sizeof(Epoch));
		epochs[(*n)++] = epoch_of(slot);
		CHECK_FOR_INTERRUPTS();
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	table_close(rel, NoLock);
	qsort(epochs, *n, sizeof(Epoch), compare_epochs);
	return epochs;
}

/* es_verify: the epochs, in whose holes no event is. */
void
es_epoch_verify(EsVerify *verify)
{
	static const Epoch none = {0};
	EsTally            tally;
	Epoch             *epochs;
	int                n;

	es_tally_begin(&tally, verify, "epochs");
	if (!es_verify_have(verify, &tally, es_epochs.found->relid, "es.epochs"))
		return;
	epochs = read_epochs(verify, &n);
	for (int i = 0; i < n; i++)
		check_epoch(verify, &tally, &epochs[i], i == 0 ? &none : &epochs[i - 1]);
	if (n == 0 && verify->reached > 0)
		es_tally_found(&tally, ES_VERIFY_ERROR, "es.epochs",
					   "There are events, and no epoch: a lost tail would not be noticed.");
	es_tally_end(&tally, "es.epochs", "%s in order; no event is in a part that is lost.",
				 es_verify_count(n, "epoch", "epochs"));
}
