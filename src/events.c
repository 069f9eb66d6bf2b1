/*
 * events.c
 *		What the log is stored in: the table es.events, and the view es.log of those that
 *		are published.
 *
 * Nothing here depends on a member of the extension (O2) but the view, which hangs on
 * es_horizon(): DROP EXTENSION CASCADE takes it, and es_init() makes it anew.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/rel.h"

#include "events.h"
#include "guard.h"
#include "layout.h"
#include "store.h"

static const EsColumn columns[] = {
	{"position", INT8OID, true, "Place in the whole log; strictly increasing, with holes."},
	{"version", INT8OID, true, "Place in the stream: 1, 2, 3 ..."},
	{"recorded_at", TIMESTAMPTZOID, true,
	 "When it was appended; within a stream never earlier than the event before."},
	{"id", UUIDOID, true, "The event's id; UUIDv7 unless the client gave one."},
	{"tenant", TEXTOID, true, "The tenant; empty where tenants are not used."},
	{"stream", TEXTOID, true, "The stream, such as order-123."},
	{"category", TEXTOID, true, "The part of the stream's name before its first hyphen."},
	{"type", TEXTOID, true, "The event's type, such as OrderPlaced."},
	{"data", JSONBOID, false, "What happened."},
	{"metadata", JSONBOID, false,
	 "What is known about the event: actor, correlation_id, causation_id ..."},
	{"payload", BYTEAOID, false, "Exact bytes, for binary formats."},
};

StaticAssertDecl(lengthof(columns) == ES_EVENTS_NATTS, "each column has a number");

static const EsIndex indexes[] = {
	[ES_EVENTS_BY_POSITION] =
		{"events_pkey", ES_INDEX_PRIMARY, true, {ES_EVENTS_POSITION}, "The log in its order."},
	[ES_EVENTS_BY_VERSION] = {"events_version_key",
							  ES_INDEX_UNIQUE,
							  true,
							  {ES_EVENTS_TENANT, ES_EVENTS_STREAM, ES_EVENTS_VERSION},
							  "Streams in their order; a version comes once."},
	[ES_EVENTS_BY_ID] = {"events_id_key",
						 ES_INDEX_UNIQUE,
						 true,
						 {ES_EVENTS_TENANT, ES_EVENTS_ID},
						 "An event id comes once."},
	[ES_EVENTS_BY_CATEGORY] = {"events_category_position_idx",
							   ES_INDEX_PLAIN,
							   true,
							   {ES_EVENTS_CATEGORY, ES_EVENTS_POSITION},
							   "Categories in the order of the log."},
	[ES_EVENTS_BY_TIME] = {"events_recorded_at_idx",
						   ES_INDEX_BRIN,
						   false,
						   {ES_EVENTS_RECORDED_AT},
						   "Finds a time in the log."},
};

static const EsCheck checks[] = {
	{"es_numbers", "position OPERATOR(pg_catalog.>) 0 AND version OPERATOR(pg_catalog.>) 0",
	 "Positions and versions begin at 1."},
	{"es_content", "data IS NOT NULL OR payload IS NOT NULL",
	 "An event has data, or a payload, or both."},
	{"es_names",
	 "pg_catalog.octet_length(stream) OPERATOR(pg_catalog.<=) 512"
	 " AND pg_catalog.octet_length(type) OPERATOR(pg_catalog.<=) 255"
	 " AND pg_catalog.octet_length(tenant) OPERATOR(pg_catalog.<=) 128"
	 " AND tenant OPERATOR(pg_catalog.<>) '*'"
	 " AND stream OPERATOR(pg_catalog.<>) '' AND type OPERATOR(pg_catalog.<>) ''"
	 " AND category OPERATOR(pg_catalog.<>) ''"
	 " AND category OPERATOR(pg_catalog.=) pg_catalog.split_part(stream, '-', 1)",
	 "Names are within their limits; the category is the stream's."},
};

static EsFound found;

/* What the writer passes over: triggers and constraints that our own rows are known to satisfy. */
static void
look(EsFound *found, Relation rel)
{
	found->plain_before = !es_guard_has_foreign_before(rel);
	found->plain_checks = !es_layout_has_foreign_checks(rel, &es_events);
}

const EsTable es_events = {
	.schema = ES_SCHEMA,
	.name = "events",
	.relkind = RELKIND_RELATION,
	.comment = "The log: every event of the store. Append with es_append; read as you like.",
	.columns = columns,
	.ncolumns = lengthof(columns),
	.indexes = indexes,
	.nindexes = lengthof(indexes),
	.checks = checks,
	.nchecks = lengthof(checks),
	.guard = ES_GUARD_REFUSES | ES_GUARD_NEEDED,
	.tenant = "tenant",
	.reset = ES_RESET_EMPTIES,
	.users_policies = true,
	.owns = true,
	.found = &found,
	.look = look,
};

const EsTable es_log = {
	.schema = ES_SCHEMA,
	.name = "log",
	.relkind = RELKIND_VIEW,
	.comment = "The published events: those up to the horizon.",
	.definition = "SELECT position, stream, version, type, data, "
				  "metadata, recorded_at, id, payload, tenant FROM es.events "
				  "WHERE position OPERATOR(pg_catalog.<=) (SELECT %1$s.es_horizon())",
	.of_extension = true,
};

/* The type of a column of es.events. */
Oid
es_events_type(AttrNumber column)
{
	return columns[column - 1].type;
}
