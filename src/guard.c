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

#include "catalog/dependency.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_trigger.h"
#include "commands/extension.h"
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
#include "table.h"
#include "writer.h"

PG_FUNCTION_INFO_V1(es_guard);

bool es_guard_resetting = false;
Oid  es_guard_open = InvalidOid;

/* Is it a function of the extension's own? */
bool
es_guard_is_own_function(Oid function)
{
	Oid extension =
		OidIsValid(function) ? getExtensionOfObject(ProcedureRelationId, function) : InvalidOid;

	return OidIsValid(extension) && extension == get_extension_oid("pg_eventstore", true);
}

static bool
is_guard_function(Oid function)
{
	const char *name = get_func_name(function);

	return name != NULL && strcmp(name, ES_GUARD_FUNCTION) == 0 &&
		   es_guard_is_own_function(function);
}

/* Is this one of our guards, standing and unconditional? */
static bool
is_guard(const Trigger *trigger, const char *name)
{
	return strcmp(trigger->tgname, name) == 0 && trigger->tgenabled == TRIGGER_FIRES_ALWAYS &&
		   trigger->tgqual == NULL && trigger->tgnattr == 0 && is_guard_function(trigger->tgfoid);
}

#define ES_GUARD_EVERY_CHANGE (TRIGGER_TYPE_INSERT | TRIGGER_TYPE_UPDATE | TRIGGER_TYPE_DELETE)

/*
 * A6: do both guards stand on the table?  If not, *missing names the first that
 * does not.
 */
bool
es_guard_stand(Relation rel, char **missing)
{
	/* a message that comes while we look would free the relation's own */
	TriggerDesc *triggers = CopyTriggerDesc(rel->trigdesc);
	bool         row = false;
	bool         statement = false;

	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
	{
		Trigger *trigger = &triggers->triggers[i];

		if (is_guard(trigger, ES_GUARD_ROW))
			row =
				trigger->tgtype == (TRIGGER_TYPE_ROW | TRIGGER_TYPE_BEFORE | ES_GUARD_EVERY_CHANGE);
		else if (is_guard(trigger, ES_GUARD_STATEMENT))
			statement = trigger->tgtype ==
						(TRIGGER_TYPE_BEFORE | ES_GUARD_EVERY_CHANGE | TRIGGER_TYPE_TRUNCATE);
	}
	FreeTriggerDesc(triggers);
	if (missing != NULL && !(row && statement))
		*missing = row ? ES_GUARD_STATEMENT : ES_GUARD_ROW;
	return row && statement;
}

/* Has the table BEFORE INSERT triggers besides the guards? */
bool
es_guard_has_foreign_before(Relation rel)
{
	TriggerDesc *triggers = CopyTriggerDesc(rel->trigdesc);
	bool         found = false;

	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
	{
		Trigger *trigger = &triggers->triggers[i];

		found |= TRIGGER_FOR_BEFORE(trigger->tgtype) && TRIGGER_FOR_INSERT(trigger->tgtype) &&
				 !is_guard(trigger, ES_GUARD_ROW) && !is_guard(trigger, ES_GUARD_STATEMENT);
	}
	FreeTriggerDesc(triggers);
	return found;
}

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

/*
 * Tells the sessions that remember rows of the table to read them again, when this
 * transaction has committed.
 *
 * es.channels is known to the publisher alone, and every reader may change it: what is said
 * to have changed is its TOAST table, which is nothing to other sessions.
 */
static void
tell(Relation rel, const EsTable *table)
{
	if (table != NULL && (table->guard & ES_GUARD_TELLS) != 0)
		CacheInvalidateRelcache(rel);
	else if (table != NULL && (table->guard & ES_GUARD_TELLS_PUBLISHER) != 0 &&
			 OidIsValid(rel->rd_rel->reltoastrelid))
		CacheInvalidateRelcacheByRelid(rel->rd_rel->reltoastrelid);
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
log_maintenance(const TriggerData *trigger, const EsTable *table)
{
	static LocalTransactionId logged = InvalidLocalTransactionId;

	if (TRIGGER_FIRED_FOR_ROW(trigger->tg_event) &&
		(!IsLogicalWorker() || logged == es_compat_my_lxid()))
		return;
	logged = es_compat_my_lxid();
	ereport(LOG, (errmsg("pg_eventstore maintenance: role \"%s\" inserts rows into es.%s",
						 GetUserNameFromId(GetUserId(), false),
						 RelationGetRelationName(trigger->tg_relation))));
	tell(trigger->tg_relation, table);
}

static bool
is_maintenance(const TriggerData *trigger, const EsTable *table)
{
	if (!es_settings_allow_maintenance || !superuser())
		return false;
	log_maintenance(trigger, table);
	return true;
}

static bool
is_allowed(const TriggerData *trigger, const EsTable *table)
{
	if (RelationGetRelid(trigger->tg_relation) == es_guard_open)
		return true;
	if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		return is_own_write(trigger) || is_maintenance(trigger, table);
	return TRIGGER_FIRED_BY_TRUNCATE(trigger->tg_event) && es_guard_resetting;
}

/* The trigger function of both guards. */
Datum
es_guard(PG_FUNCTION_ARGS)
{
	TriggerData   *trigger = (TriggerData *) fcinfo->context;
	const EsTable *table;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("pg_eventstore_guard() must be called as a trigger")));
	table = es_table_of(RelationGetRelid(trigger->tg_relation));
	if (table != NULL && (table->guard & ES_GUARD_REFUSES) == 0)
	{
		tell(trigger->tg_relation, table);
		/* who may write all data may not decide whose they are, nor who is shown them */
		es_owner_check(trigger->tg_relation->rd_rel->relowner);
	}
	else if (!is_allowed(trigger, table))
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
