/*
 * channel.c
 *		Channels that events are announced on: es_create_channel,
 *		es_alter_channel, es_drop_channel, and es.channels as the publisher reads it.
 *
 * A channel is a definition (definition.c): a name to LISTEN to, and options, which
 * are its kind, `wake` or `event`, and a filter.  LISTEN needs no right, so a channel
 * that carries events must say that it is public.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "catalog/pg_type.h"
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
#include "definition.h"
#include "errors.h"
#include "events.h"
#include "guard.h"
#include "lock.h"
#include "options.h"
#include "policy.h"
#include "row.h"
#include "settings.h"
#include "tenant.h"
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

PG_FUNCTION_INFO_V1(es_create_channel);
PG_FUNCTION_INFO_V1(es_alter_channel);
PG_FUNCTION_INFO_V1(es_drop_channel);

/* Options of a channel as they are read. */
typedef struct Options
{
	int     kind; /* an EsChannelKind */
	bool    is_public;
	EsTexts categories;
	EsTexts types;
	text   *prefix;
	text   *tenant; /* or '*'; NULL stands for '' */
} Options;

static const char *const kinds[] = {
	[ES_CHANNEL_WAKE] = "wake",
	[ES_CHANNEL_EVENT] = "event",
	NULL,
};

static const EsOption known_options[] = {
	{"kind", ES_OPTION_CHOICE, offsetof(Options, kind), kinds},
	{"public", ES_OPTION_BOOL, offsetof(Options, is_public)},
	{"categories", ES_OPTION_TEXTS, offsetof(Options, categories)},
	{"types", ES_OPTION_TEXTS, offsetof(Options, types)},
	{"stream_prefix", ES_OPTION_TEXT, offsetof(Options, prefix)},
	{"tenant", ES_OPTION_TEXT, offsetof(Options, tenant)},
};

static const EsOptionList option_list = {"channel options", known_options, lengthof(known_options)};

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

/* The channel that options make; raises 22023 where it would show events and is not public. */
static EsChannel
make_channel(const Options *options)
{
	EsChannel channel = {.kind = options->kind};

	if (channel.kind == ES_CHANNEL_EVENT && !options->is_public)
		es_options_refuse(
			&option_list,
			"A channel of kind \"event\" shows events to every role that may connect, "
			"since LISTEN needs no right; say \"public\": true.");
	channel.filter.categories = options->categories.texts;
	channel.filter.ncategories = options->categories.texts != NULL ? options->categories.n : -1;
	channel.filter.types = options->types.texts;
	channel.filter.ntypes = options->types.texts != NULL ? options->types.n : -1;
	channel.filter.prefix = options->prefix;
	channel.filter.since = DT_NOBEGIN;
	channel.filter.until = DT_NOEND;
	channel.filter.tenants = named_tenants(options->tenant);
	return channel;
}

/* Reads options as they are stored; raises 22023 where they are wrong. */
static EsChannel
read_channel(Jsonb *stored)
{
	Options options = {0};

	es_options_read(&option_list, stored, &options);
	return make_channel(&options);
}

/* All channels that a snapshot sees. */
static EsChannel *
read_channels(Relation rel, Snapshot snapshot, int *n)
{
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	TableScanDesc   scan = table_beginscan(rel, snapshot, 0, NULL);
	int             room = 8;
	EsChannel      *channels = palloc(room * sizeof(EsChannel));

	*n = 0;
	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		if (*n == room)
			channels = repalloc(channels, (room *= 2) * sizeof(EsChannel));
		channels[*n] = read_channel(DatumGetJsonbPCopy(es_row_column(slot, ES_CHANNELS_OPTIONS)));
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
	rel = table_open(found.relid, AccessShareLock);
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
	rel = table_open(found.relid, AccessShareLock);
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

#define ES_CHANNEL_NAME_HINT "It is the name that listeners LISTEN to."

/* The name of a channel is one that LISTEN takes, and not ours. */
static void
check_channel_name(const char *name)
{
	if (name[0] == '\0' || strlen(name) >= NAMEDATALEN)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("channel name must have 1 to %d bytes", NAMEDATALEN - 1),
				 errdetail("It has %d bytes.", (int) strlen(name)), errhint(ES_CHANNEL_NAME_HINT)));
	if (strcmp(name, ES_CHANNEL_ALL) == 0)
		ereport(ERROR, (errcode(ERRCODE_RESERVED_NAME),
						errmsg("channel \"%s\" is the event store's own", name),
						errdetail("It tells of everything that is published."),
						errhint("Choose another name.")));
}

/*
 * LISTEN asks nobody for a right, and the publisher reads as the owner.  What policies
 * of users hide from the role it may not have told, nor counted; and a channel that
 * carries events may not carry those of a tenant that is bound to a role.
 */
static void
check_may_show(const EsChannel *channel)
{
	Relation events;
	bool     hides;

	(void) es_store();
	events = table_open(es_events.found->relid, AccessShareLock);
	hides = es_policy_applies(events);
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

/*
 * Checks what only a channel knows of its options.  The publisher reads them later and
 * is bound to no tenant: so a bound role's only tenant is added to them where the role
 * has not named it.
 */
static Jsonb *
check_channel_options(Jsonb *options, void *read)
{
	text     *tenant = ((Options *) read)->tenant;
	EsChannel channel = make_channel(read);

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

/* How many channels a role has made, as all that is committed has it. */
static int
count_channels(const char *role)
{
	Relation        rel = table_open(found.relid, AccessShareLock);
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

/* A new channel begins at the horizon. */
static void
fill_channel(Datum *row)
{
	row[ES_CHANNELS_POSITION - 1] = Int64GetDatum(es_tick_horizon(GetActiveSnapshot()));
}

static const EsDefinitionKind channel_kind = {
	.noun = "channel",
	.table = &es_channels,
	.name = ES_CHANNELS_NAME,
	.options = ES_CHANNELS_OPTIONS,
	.created_by = ES_CHANNELS_CREATED_BY,
	.created_at = ES_CHANNELS_CREATED_AT,
	.list = &option_list,
	.size = sizeof(Options),
	.max_bytes = 8192, /* the publisher reads all channels anew when one has changed */
	.name_hint = ES_CHANNEL_NAME_HINT,
	.options_hint = "'{}' is a channel that wakes for every event.",
	.too_long_hint = "Let the channel tell of more, and filter in the client. The store's owner is "
					 "not limited.",
	.check_name = check_channel_name,
	.check = check_channel_options,
	.fill = fill_channel,
	.check_limit = check_limit,
};

/* es_create_channel(name, options) makes a channel; false where it is there already. */
Datum
es_create_channel(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(es_definition_create(&channel_kind, fcinfo));
}

/* es_alter_channel(name, options) gives a channel other options. */
Datum
es_alter_channel(PG_FUNCTION_ARGS)
{
	es_definition_replace(&channel_kind, fcinfo);
	PG_RETURN_VOID();
}

/* es_drop_channel(name) drops a channel. */
Datum
es_drop_channel(PG_FUNCTION_ARGS)
{
	es_definition_drop(&channel_kind, fcinfo);
	PG_RETURN_VOID();
}

static void
try_options(EsVerify *verify, void *options)
{
	(void) read_channel(options);
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
	if (!es_verify_have(verify, &tally, found.relid, "es.channels"))
		return;
	rel = table_open(found.relid, AccessShareLock);
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
