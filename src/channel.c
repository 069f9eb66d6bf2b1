/*
 * channel.c
 *		Channels that events are announced on: es_create_channel,
 *		es_alter_channel, es_drop_channel.  All that reads or writes es.channels.
 *
 * A channel is a name to LISTEN to, and options: its kind, `wake` or `event`, and
 * a filter.  Who may read the log may make one; who has made it, or owns the
 * store, may change it.  LISTEN asks nobody for a right, so a channel that carries
 * events must say that it is public.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "binding.h"
#include "channel.h"
#include "compat.h"
#include "errors.h"
#include "events.h"
#include "guard.h"
#include "lock.h"
#include "owner.h"
#include "policy.h"
#include "privilege.h"
#include "row.h"
#include "settings.h"
#include "tenant.h"
#include "text.h"
#include "tick.h"
#include "verify.h"

/* Columns of es.channels. */
enum
{
	ES_CHANNELS_NAME = 1,
	ES_CHANNELS_OPTIONS,
	ES_CHANNELS_POSITION,
	ES_CHANNELS_CREATED_BY,
	ES_CHANNELS_CREATED_AT,
	ES_CHANNELS_NATTS = ES_CHANNELS_CREATED_AT
};

static const EsColumn columns[] = {
	{"name", TEXTOID, true, "What listeners LISTEN to."},
	{"options", JSONBOID, true, "Its kind and its filter."},
	{"position", INT8OID, true, "Where it begins: the horizon when it was created."},
	{"created_by", TEXTOID, true, "The role that has made it."},
	{"created_at", TIMESTAMPTZOID, true, "When it was made."},
};

StaticAssertDecl(lengthof(columns) == ES_CHANNELS_NATTS, "each column has a number");

static const EsIndex indexes[] = {
	{"channels_pkey", ES_INDEX_PRIMARY, false, {ES_CHANNELS_NAME}, "A name comes once."},
};

static EsFound found;

/* Its guards tell when its rows change; an older store has none before es_init(). */
static void
look(EsFound *found, Relation rel)
{
	found->told = es_guard_stand(rel, NULL) ? rel->rd_rel->reltoastrelid : InvalidOid;
}

const EsTable es_channels = {
	.schema = ES_SCHEMA,
	.name = "channels",
	.relkind = RELKIND_RELATION,
	.comment =
		"Channels that events are announced on besides es_events. Made by es_create_channel.",
	.columns = columns,
	.ncolumns = lengthof(columns),
	.indexes = indexes,
	.nindexes = lengthof(indexes),
	.guard = ES_GUARD_TELLS_PUBLISHER,
	.tenant = "COALESCE(options OPERATOR(pg_catalog.->>) 'tenant', '')",
	.reset = "UPDATE es.channels SET position = 0",
	.found = &found,
	.look = look,
};

#define ES_CHANNEL_OPTIONS_MAX 8192 /* bytes, as they are stored */

PG_FUNCTION_INFO_V1(es_create_channel);
PG_FUNCTION_INFO_V1(es_alter_channel);
PG_FUNCTION_INFO_V1(es_drop_channel);

pg_noreturn static void
bad_option(const char *detail)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("invalid channel options"),
					errdetail_internal("%s", detail),
					errhint("Options are: \"kind\" (\"wake\" or \"event\"), \"public\" (true or "
							"false), \"categories\", \"types\" (lists of names), "
							"\"stream_prefix\", \"tenant\" (a name each).")));
}

static char *
key_text(const JsonbValue *key)
{
	return pnstrdup(key->val.string.val, key->val.string.len);
}

static text *
string_option(const char *key, const JsonbValue *value)
{
	if (value->type != jbvString)
		bad_option(psprintf("Option \"%s\" is not a text.", key));
	return cstring_to_text_with_len(value->val.string.val, value->val.string.len);
}

/* A sorted list of names. */
static text **
list_option(const char *key, const JsonbValue *value, int *n)
{
	JsonbIterator     *iterator;
	JsonbIteratorToken token;
	JsonbValue         element;
	text             **names;

	if (value->type != jbvBinary || !JsonContainerIsArray(value->val.binary.data) ||
		JsonContainerIsScalar(value->val.binary.data))
		bad_option(psprintf("Option \"%s\" is not a list.", key));
	names = palloc(Max(JsonContainerSize(value->val.binary.data), 1) * sizeof(text *));
	*n = 0;
	iterator = JsonbIteratorInit(value->val.binary.data);
	while ((token = JsonbIteratorNext(&iterator, &element, true)) != WJB_DONE)
	{
		if (token == WJB_ELEM)
			names[(*n)++] = string_option(key, &element);
	}
	*n = es_sort_texts(names, *n);
	return names;
}

static EsChannelKind
kind_option(const JsonbValue *value)
{
	char *kind = text_to_cstring(string_option("kind", value));

	if (strcmp(kind, "wake") == 0)
		return ES_CHANNEL_WAKE;
	if (strcmp(kind, "event") != 0)
		bad_option(psprintf("There is no kind \"%s\".", kind));
	return ES_CHANNEL_EVENT;
}

static void
read_option(EsChannel *channel, bool *is_public, text **tenant, const char *key,
			const JsonbValue *value)
{
	EsFilter *filter = &channel->filter;

	if (strcmp(key, "kind") == 0)
		channel->kind = kind_option(value);
	else if (strcmp(key, "public") == 0)
	{
		if (value->type != jbvBool)
			bad_option("Option \"public\" is not true or false.");
		*is_public = value->val.boolean;
	}
	else if (strcmp(key, "categories") == 0)
		filter->categories = list_option(key, value, &filter->ncategories);
	else if (strcmp(key, "types") == 0)
		filter->types = list_option(key, value, &filter->ntypes);
	else if (strcmp(key, "stream_prefix") == 0)
		filter->prefix = string_option(key, value);
	else if (strcmp(key, "tenant") == 0)
		*tenant = string_option(key, value);
	else
		bad_option(psprintf("There is no option \"%s\".", key));
}

/* The tenants of a filter, whoever asks. */
static EsTenants
named_tenants(text *tenant)
{
	EsTenants tenants = {-1, NULL};

	if (tenant != NULL && es_tenant_is_all(tenant))
		return tenants;
	tenants.n = 1;
	tenants.names = palloc(sizeof(text *));
	tenants.names[0] = tenant != NULL ? tenant : cstring_to_text("");
	return tenants;
}

/*
 * Reads options; raises 22023 where they are wrong.  *tenant is the name of the
 * tenant, '*', or NULL where none is named, which stands for ''.
 */
static EsChannel
parse_options(Jsonb *options, text **tenant)
{
	EsChannel          channel = {0};
	bool               is_public = false;
	JsonbIterator     *iterator;
	JsonbIteratorToken token;
	JsonbValue         value;
	char              *key = NULL;

	channel.filter.ncategories = channel.filter.ntypes = -1;
	channel.filter.since = DT_NOBEGIN;
	channel.filter.until = DT_NOEND;
	*tenant = NULL;
	if (!JB_ROOT_IS_OBJECT(options))
		bad_option("They are not an object.");
	iterator = JsonbIteratorInit(&options->root);
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			key = key_text(&value);
		else if (token == WJB_VALUE)
			read_option(&channel, &is_public, tenant, key, &value);
	}
	if (channel.kind == ES_CHANNEL_EVENT && !is_public)
		bad_option("A channel of kind \"event\" shows events to every role that may connect, since "
				   "LISTEN needs no right; say \"public\": true.");
	channel.filter.tenants = named_tenants(*tenant);
	return channel;
}

/* All channels that a snapshot sees. */
static EsChannel *
read_channels(Relation rel, Snapshot snapshot, int *n)
{
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	TableScanDesc   scan = table_beginscan(rel, snapshot, 0, NULL);
	int             room = 8;
	EsChannel      *channels = palloc(room * sizeof(EsChannel));
	text           *tenant;

	*n = 0;
	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		if (*n == room)
			channels = repalloc(channels, (room *= 2) * sizeof(EsChannel));
		channels[*n] =
			parse_options(DatumGetJsonbPCopy(es_row_column(slot, ES_CHANNELS_OPTIONS)), &tenant);
		channels[*n].name = text_to_cstring(es_row_text(slot, ES_CHANNELS_NAME));
		channels[*n].position = es_row_int8(slot, ES_CHANNELS_POSITION);
		(*n)++;
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	return channels;
}

/*
 * Reads the channels anew if they may have changed since they were read, in the
 * publisher.
 *
 * A change of es.channels is told of after it can be seen (guard.c).  Here first the
 * count of what was told is taken, and then the snapshot: so that the list has each
 * change that was counted, and one that comes later counts later.  A change that a
 * client knows to be committed was told of before; the transaction that is told with
 * the list began after the tick, which is younger than the events of that client.
 *
 * Where no guards tell, the list is good for this once.
 */
void
es_channel_refresh(EsChannels *kept)
{
	Relation      rel;
	Snapshot      snapshot;
	uint64        generation;
	MemoryContext old;

	if (OidIsValid(found.told) && kept->generation == es_store_generation_of(&es_channels))
		return;
	if (kept->context == NULL)
		kept->context = AllocSetContextCreate(TopMemoryContext, "pg_eventstore channels",
											  ALLOCSET_DEFAULT_SIZES);
	kept->generation = 0;
	kept->n = 0;
	MemoryContextReset(kept->context);
	rel = table_open(es_channels.found->relid, AccessShareLock);
	generation = es_store_generation_of(&es_channels);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	old = MemoryContextSwitchTo(kept->context);
	kept->list = read_channels(rel, snapshot, &kept->n);
	MemoryContextSwitchTo(old);
	UnregisterSnapshot(snapshot);
	table_close(rel, NoLock);
	kept->generation = generation;
}

/* The channel that would show this tenant's events to everybody, or NULL. */
const char *
es_channel_that_carries(text *tenant)
{
	Relation   rel;
	int        n;
	EsChannel *channels;

	(void) es_store();
	rel = table_open(es_channels.found->relid, AccessShareLock);
	channels = read_channels(rel, GetActiveSnapshot(), &n);
	table_close(rel, NoLock);
	for (int i = 0; i < n; i++)
	{
		if (channels[i].kind == ES_CHANNEL_EVENT &&
			es_tenants_have(&channels[i].filter.tenants, tenant))
			return channels[i].name;
	}
	return NULL;
}

/* The name of a channel: one that LISTEN takes, and not ours. */
static char *
name_arg(FunctionCallInfo fcinfo)
{
	char *name;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("channel name must not be null"),
				 errhint("It is the name that listeners LISTEN to.")));
	name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	if (name[0] == '\0' || strlen(name) >= NAMEDATALEN)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("channel name must have 1 to %d bytes", NAMEDATALEN - 1),
						errdetail("It has %d bytes.", (int) strlen(name)),
						errhint("It is the name that listeners LISTEN to.")));
	if (strcmp(name, ES_CHANNEL_ALL) == 0)
		ereport(ERROR, (errcode(ERRCODE_RESERVED_NAME),
						errmsg("channel \"%s\" is the event store's own", name),
						errdetail("It tells of everything that is published."),
						errhint("Choose another name.")));
	return name;
}

/*
 * LISTEN asks nobody for a right, and the publisher reads as the owner.  What policies
 * of users hide from the role it may not have told, nor counted; and a channel that
 * carries events may not carry those of a tenant that is bound to a role.
 */
static void
check_may_show(const EsChannel *channel)
{
	Relation events = table_open(es_events.found->relid, AccessShareLock);
	bool     hides = es_policy_applies(events);

	table_close(events, AccessShareLock);
	if (hides)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("a channel is not allowed here"),
				 errdetail("Policies of table \"es.events\" apply to the role."),
				 errhint("Listen to \"%s\", and use es_read.", ES_CHANNEL_ALL)));
	if (channel->kind == ES_CHANNEL_EVENT &&
		es_binding_has_any(es_binding_all(), &channel->filter.tenants))
		ereport(ERROR, (errcode(ERRCODE_ES_TENANT),
						errmsg("a channel of kind \"event\" is not allowed here"),
						errdetail("It would show events of a tenant that is bound to a role."),
						errhint("Use kind \"wake\", and es_read.")));
}

/* Adds the option "tenant". */
static Jsonb *
add_tenant(Jsonb *options, text *tenant)
{
	JsonbParseState *state = NULL;
	JsonbValue       key = {.type = jbvString};
	JsonbValue       value = {.type = jbvString};

	key.val.string.val = "tenant";
	key.val.string.len = strlen("tenant");
	value.val.string.val = VARDATA_ANY(tenant);
	value.val.string.len = VARSIZE_ANY_EXHDR(tenant);
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	pushJsonbValue(&state, WJB_KEY, &key);
	pushJsonbValue(&state, WJB_VALUE, &value);
	return DatumGetJsonbP(DirectFunctionCall2(jsonb_concat, JsonbPGetDatum(options),
											  JsonbPGetDatum(JsonbValueToJsonb(
												  pushJsonbValue(&state, WJB_END_OBJECT, NULL)))));
}

/* The publisher reads all channels anew when one has changed, before it goes on. */
static void
check_size(Jsonb *options)
{
	if (VARSIZE(options) <= ES_CHANNEL_OPTIONS_MAX ||
		has_privs_of_role(GetUserId(), es_store()->owner))
		return;
	ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("channel options are too long"),
					errdetail("They have %d bytes, and may have %d.", (int) VARSIZE(options),
							  ES_CHANNEL_OPTIONS_MAX),
					errhint("Let the channel tell of more, and filter in the client. The store's "
							"owner is not limited.")));
}

/*
 * The options as they are to be stored.  The publisher, who is nobody's tenant, reads
 * them: a bound role's only tenant is named in them, also where the role did not.
 */
static Jsonb *
options_arg(FunctionCallInfo fcinfo)
{
	EsChannel channel;
	Jsonb    *options;
	text     *tenant;

	if (PG_ARGISNULL(1))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("channel options must not be null"),
						errhint("'{}' is a channel that wakes for every event.")));
	options = PG_GETARG_JSONB_P(1);
	check_size(options);
	channel = parse_options(options, &tenant);
	if (es_tenants_allowed().n >= 0)
	{
		if (tenant != NULL)
			es_tenant_refuse_all(tenant);
		channel.filter.tenants = es_tenants_resolve(tenant);
		if (tenant == NULL)
			options = add_tenant(options, channel.filter.tenants.names[0]);
	}
	check_may_show(&channel);
	return options;
}

/* A channel's row as it is stored. */
typedef struct Stored
{
	Jsonb *options;
	char  *created_by;
} Stored;

/* Finds a channel; one that is to be changed is locked. */
static bool
find_channel(const char *name, Stored *stored, bool change)
{
	Oid   types[] = {TEXTOID};
	Datum values[] = {CStringGetTextDatum(name)};
	bool  isnull;

	if (es_owner_run_with(change ? "SELECT options, created_by FROM es.channels "
								   "WHERE name OPERATOR(pg_catalog.=) $1 FOR UPDATE"
								 : "SELECT options, created_by FROM es.channels "
								   "WHERE name OPERATOR(pg_catalog.=) $1",
						  1, types, values) == 0)
		return false;
	stored->options =
		DatumGetJsonbPCopy(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	stored->created_by = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2);
	return true;
}

static bool
same_options(Jsonb *a, Jsonb *b)
{
	return compareJsonbContainers(&a->root, &b->root) == 0;
}

/* Its creator, by name since roles come and go, or the store's owner. */
static bool
may_change(const Stored *stored, Oid caller, Oid owner)
{
	Oid creator = get_role_oid(stored->created_by, true);

	return has_privs_of_role(caller, owner) ||
		   (OidIsValid(creator) && has_privs_of_role(caller, creator));
}

/* What another role's channel is about, and whose it is, is not everybody's business. */
static void
check_may_change(const char *name, const Stored *stored, Oid caller, Oid owner)
{
	if (may_change(stored, caller, owner))
		return;
	ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					errmsg("must be owner of channel \"%s\"", name),
					errdetail("It was created by another role."),
					errhint("Its creator and the owner of the event store may change it.")));
}

/* How many channels a role has made, as all that is committed has it. */
static int
count_channels(const char *role)
{
	Relation        rel = table_open(es_channels.found->relid, AccessShareLock);
	Snapshot        snapshot = RegisterSnapshot(GetLatestSnapshot());
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	TableScanDesc   scan = table_beginscan(rel, snapshot, 0, NULL);
	int             length = strlen(role);
	int             n = 0;

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		text *creator = es_row_text(slot, ES_CHANNELS_CREATED_BY);

		n +=
			VARSIZE_ANY_EXHDR(creator) == length && memcmp(VARDATA_ANY(creator), role, length) == 0;
		CHECK_FOR_INTERRUPTS();
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	UnregisterSnapshot(snapshot);
	table_close(rel, NoLock);
	return n;
}

/*
 * The publisher holds each event against each channel: a role that may only read may
 * not make so many that others' events are told late.  Who makes one waits for
 * another transaction of the same role that does, so that the count is exact.
 */
static void
check_limit(Oid caller)
{
	const char *role = GetUserNameFromId(caller, false);
	int         limit = es_settings_channels_per_role;
	int         n;

	if (limit < 0 || has_privs_of_role(caller, es_store()->owner))
		return;
	es_lock_channels(caller);
	n = count_channels(role);
	if (n >= limit)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("role \"%s\" may not make another channel", role),
				 errdetail("It has %d; pg_eventstore.channels_per_role is %d.", n, limit),
				 errhint("Drop one, or filter in the client that listens to \"%s\", or let a "
						 "superuser raise the setting.",
						 ES_CHANNEL_ALL)));
}

static void
insert_channel(const char *name, Jsonb *options, int64 position, Oid caller)
{
	Oid   types[] = {TEXTOID, JSONBOID, INT8OID, TEXTOID};
	Datum values[] = {CStringGetTextDatum(name), JsonbPGetDatum(options), Int64GetDatum(position),
					  CStringGetTextDatum(GetUserNameFromId(caller, false))};

	(void) es_owner_run_with("INSERT INTO es.channels VALUES ($1, $2, $3, $4, pg_catalog.now())", 4,
							 types, values);
}

/* What the three functions begin with; answers with who calls. */
static Oid
begin_change(const char *function)
{
	(void) es_store();
	PreventCommandIfReadOnly(function);
	PreventCommandIfParallelMode(function);
	PreventCommandDuringRecovery(function);
	es_privilege_check_read(&es_events);
	return GetUserId();
}

pg_noreturn static void
raise_no_channel(const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("channel \"%s\" does not exist", name),
			 errhint("Table es.channels lists the channels.")));
}

/*
 * es_create_channel(name, options) makes a channel; false where one of the same
 * options is there.
 */
Datum
es_create_channel(PG_FUNCTION_ARGS)
{
	Oid        caller = begin_change("es_create_channel()");
	char      *name = name_arg(fcinfo);
	Jsonb     *options = options_arg(fcinfo);
	int64      horizon = es_tick_horizon(GetActiveSnapshot());
	EsIdentity before = es_owner_become(es_store()->owner);
	Stored     stored;
	bool       found = find_channel(name, &stored, false);

	if (found && !same_options(stored.options, options))
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT), errmsg("channel \"%s\" already exists", name),
				 may_change(&stored, caller, es_store()->owner)
					 ? errdetail("Its options are %s.", JsonbToCString(NULL, &stored.options->root,
																	   VARSIZE(stored.options)))
					 : errdetail("It was created by another role."),
				 errhint("Change it with es_alter_channel, or choose another name.")));
	if (!found)
	{
		check_limit(caller);
		insert_channel(name, options, horizon, caller);
	}
	es_owner_become_again(before);
	PG_RETURN_BOOL(!found);
}

/* es_alter_channel(name, options) gives a channel other options. */
Datum
es_alter_channel(PG_FUNCTION_ARGS)
{
	Oid        caller = begin_change("es_alter_channel()");
	char      *name = name_arg(fcinfo);
	Oid        types[] = {TEXTOID, JSONBOID};
	Datum      values[] = {CStringGetTextDatum(name), JsonbPGetDatum(options_arg(fcinfo))};
	EsIdentity before = es_owner_become(es_store()->owner);
	Stored     stored;

	if (!find_channel(name, &stored, true))
		raise_no_channel(name);
	check_may_change(name, &stored, caller, es_store()->owner);
	(void) es_owner_run_with(
		"UPDATE es.channels SET options = $2 WHERE name OPERATOR(pg_catalog.=) $1", 2, types,
		values);
	es_owner_become_again(before);
	PG_RETURN_VOID();
}

/* es_drop_channel(name) drops a channel. */
Datum
es_drop_channel(PG_FUNCTION_ARGS)
{
	Oid        caller = begin_change("es_drop_channel()");
	char      *name = name_arg(fcinfo);
	Oid        types[] = {TEXTOID};
	Datum      values[] = {CStringGetTextDatum(name)};
	EsIdentity before = es_owner_become(es_store()->owner);
	Stored     stored;

	if (!find_channel(name, &stored, true))
		raise_no_channel(name);
	check_may_change(name, &stored, caller, es_store()->owner);
	(void) es_owner_run_with("DELETE FROM es.channels WHERE name OPERATOR(pg_catalog.=) $1", 1,
							 types, values);
	es_owner_become_again(before);
	PG_RETURN_VOID();
}

static void
try_options(EsVerify *verify, void *options)
{
	text *tenant;

	(void) parse_options((Jsonb *) options, &tenant);
}

static void
check_channel(EsVerify *verify, EsTally *tally, TupleTableSlot *row)
{
	char *where = psprintf("es.channels, channel \"%s\"",
						   text_to_cstring(es_row_text(row, ES_CHANNELS_NAME)));
	char *role = text_to_cstring(es_row_text(row, ES_CHANNELS_CREATED_BY));
	char *said = es_verify_try(verify, ERRCODE_INVALID_PARAMETER_VALUE, try_options,
							   DatumGetJsonbPCopy(es_row_column(row, ES_CHANNELS_OPTIONS)));

	if (said != NULL)
		es_tally_found(tally, ES_VERIFY_ERROR, where, "Its options are wrong. %s", said);
	if (!OidIsValid(get_role_oid(role, true)))
		es_tally_found(tally, ES_VERIFY_WARNING, where,
					   "It was made by role \"%s\", and there is no such role.", role);
}

/* es_verify: the options of channels can be read, and their roles exist. */
void
es_channel_verify(EsVerify *verify)
{
	int64           n = 0;
	EsTally         tally;
	Relation        rel;
	TupleTableSlot *row;
	TableScanDesc   scan;

	es_tally_begin(&tally, verify, "channels");
	if (!es_verify_have(verify, &tally, es_channels.found->relid, "es.channels"))
		return;
	rel = table_open(es_channels.found->relid, AccessShareLock);
	row = table_slot_create(rel, NULL);
	scan = table_beginscan(rel, verify->snapshot, 0, NULL);
	while (table_scan_getnextslot(scan, ForwardScanDirection, row))
	{
		MemoryContext old = MemoryContextSwitchTo(verify->scratch);

		check_channel(verify, &tally, row);
		MemoryContextSwitchTo(old);
		n++;
		es_verify_next(verify);
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(row);
	table_close(rel, NoLock);
	es_tally_end(&tally, "es.channels", "%s, with options that can be read.",
				 es_verify_count(n, "channel", "channels"));
}
