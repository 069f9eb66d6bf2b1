/*
 * guard.c
 *		The guards: triggers on es.events that refuse whatever goes around the
 *		API (A6).
 *
 * Two triggers, ENABLE ALWAYS: one BEFORE STATEMENT, which also refuses what
 * would touch no row, and TRUNCATE; one BEFORE ROW for what fires no statement
 * triggers, the apply worker of logical replication.  The API's own inserts do
 * not go through the executor and meet them only where the user has BEFORE
 * triggers too; then the writer says which row is its own.
 *
 * A superuser with pg_eventstore.allow_maintenance may insert, never more, and
 * each statement is written to the server's log.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "replication/logicalworker.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "compat.h"
#include "errors.h"
#include "guard.h"
#include "owner.h"
#include "settings.h"
#include "store.h"
#include "writer.h"

PG_FUNCTION_INFO_V1(es_guard);

bool es_guard_resetting = false;
Oid  es_guard_open = InvalidOid;

const EsGuarded es_guard_tables[] = {
	{"events", NULL},
	{"ticks", NULL},
	{"epochs", NULL},
	{"store", NULL},
	{"bindings", "all sessions"},
	{"channels", "the publisher"},
};

const int es_guard_ntables = lengthof(es_guard_tables);

static const char *
operation_name(TriggerEvent event)
{
	if (TRIGGER_FIRED_BY_INSERT(event))
		return "INSERT";
	if (TRIGGER_FIRED_BY_UPDATE(event))
		return "UPDATE";
	if (TRIGGER_FIRED_BY_DELETE(event))
		return "DELETE";
	return "TRUNCATE";
}

/*
 * Is this the row, or the statement, that the store's own writer is at?  While a
 * statement's triggers fire the writer names no row, while a row's fire its slot.
 * A user's BEFORE STATEMENT trigger that inserts passes this at its statement,
 * and is refused at its first row.
 */
static bool
is_own_write(const TriggerData *trigger)
{
	const TupleTableSlot *slot =
		TRIGGER_FIRED_FOR_ROW(trigger->tg_event) ? trigger->tg_trigslot : NULL;

	return es_writer_firing != NULL && es_writer_firing->before &&
		   es_writer_firing->rel == RelationGetRelid(trigger->tg_relation) &&
		   es_writer_firing->slot == slot;
}

static bool
is_table(Relation rel, const char *name)
{
	return strcmp(RelationGetRelationName(rel), name) == 0 &&
		   RelationGetNamespace(rel) == get_namespace_oid(ES_SCHEMA, true);
}

/*
 * Says in the server's log who loads rows, and tells all sessions to look at the store
 * again, which remember what is in es.store and es.epochs: at each statement, or, since
 * the apply worker of logical replication fires row triggers only, once a transaction.
 *
 * The publisher is not woken: a data-only restore loads es.ticks before it sets the sequence,
 * and a tick in between would be above it (P1).
 */
static void
log_maintenance(const TriggerData *trigger)
{
	static LocalTransactionId logged = InvalidLocalTransactionId;

	if (TRIGGER_FIRED_FOR_ROW(trigger->tg_event) &&
		(!IsLogicalWorker() || logged == es_compat_my_lxid()))
		return;
	logged = es_compat_my_lxid();
	ereport(LOG, (errmsg("pg_eventstore maintenance: role \"%s\" inserts rows into es.%s",
						 GetUserNameFromId(GetUserId(), false),
						 RelationGetRelationName(trigger->tg_relation))));
	if (is_table(trigger->tg_relation, "store") || is_table(trigger->tg_relation, "epochs"))
		CacheInvalidateRelcache(trigger->tg_relation);
}

static bool
is_maintenance(const TriggerData *trigger)
{
	if (!es_settings_allow_maintenance || !superuser())
		return false;
	log_maintenance(trigger);
	return true;
}

static bool
is_allowed(const TriggerData *trigger)
{
	if (RelationGetRelid(trigger->tg_relation) == es_guard_open)
		return true;
	if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		return is_own_write(trigger) || is_maintenance(trigger);
	return TRIGGER_FIRED_BY_TRUNCATE(trigger->tg_event) && es_guard_resetting;
}

/*
 * The guards of some tables let the owner pass, and tell who keeps what he has read of
 * them to read it again, when this transaction has committed.  Answers whether the table
 * is one of these.
 *
 * es.bindings is known to every session (binding.c).  es.channels is known to the
 * publisher alone, and every reader may change it: what is said to have changed is
 * its TOAST table, which is nothing to other sessions.
 */
static bool
tells(Relation rel)
{
	Oid toast = rel->rd_rel->reltoastrelid;

	if (is_table(rel, "bindings"))
		CacheInvalidateRelcache(rel);
	else if (!is_table(rel, "channels"))
		return false;
	else if (OidIsValid(toast))
		CacheInvalidateRelcacheByRelid(toast);
	return true;
}

/* The trigger function of both guards. */
Datum
es_guard(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("pg_eventstore_guard() must be called as a trigger")));
	if (tells(trigger->tg_relation))
	{
		/* who may write all data may not decide whose they are, nor who is shown them */
		es_owner_check(trigger->tg_relation->rd_rel->relowner);
	}
	else if (!is_allowed(trigger))
	{
		bool insert = TRIGGER_FIRED_BY_INSERT(trigger->tg_event);

		ereport(ERROR,
				(errcode(ERRCODE_ES_APPEND_ONLY),
				 errmsg("the log is append-only: %s on %s.%s is refused",
						operation_name(trigger->tg_event),
						get_namespace_name(RelationGetNamespace(trigger->tg_relation)),
						RelationGetRelationName(trigger->tg_relation)),
				 errdetail("Stored events never change, and new ones come by the functions only."),
				 insert ? errhint("Use es_append, es_append_batch or es_append_json. A superuser "
								  "may load rows with pg_eventstore.allow_maintenance on.")
						: errhint("Append an event that corrects the earlier one.")));
	}
	if (!TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
		return PointerGetDatum(NULL);
	return PointerGetDatum(TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ? trigger->tg_newtuple
																	  : trigger->tg_trigtuple);
}
