/*
 * schema.c
 *		The store's relations, as the statements that make them.
 *
 * Data only: init.c runs what is missing, in this order.  Names are qualified,
 * and nothing depends on a member of the extension (O2): no generated column, no
 * default, no type of ours.  Indexes stand apart from their tables, for a restore
 * may have brought the one without the other.
 */
#include "postgres.h"

#include "catalog/pg_class.h"

#include "schema.h"
#include "store.h"

/* clang-format off */

#define ES_EVENTS_DDL \
	"CREATE TABLE es.events (" \
	" position pg_catalog.int8 NOT NULL," \
	" version pg_catalog.int8 NOT NULL," \
	" recorded_at pg_catalog.timestamptz NOT NULL," \
	" id pg_catalog.uuid NOT NULL," \
	" tenant pg_catalog.text COLLATE pg_catalog.\"C\" NOT NULL," \
	" stream pg_catalog.text COLLATE pg_catalog.\"C\" NOT NULL," \
	" category pg_catalog.text COLLATE pg_catalog.\"C\" NOT NULL," \
	" type pg_catalog.text COLLATE pg_catalog.\"C\" NOT NULL," \
	" data pg_catalog.jsonb," \
	" metadata pg_catalog.jsonb," \
	" payload pg_catalog.bytea," \
	" CONSTRAINT es_numbers CHECK (position OPERATOR(pg_catalog.>) 0" \
	"  AND version OPERATOR(pg_catalog.>) 0)," \
	" CONSTRAINT es_content CHECK (data IS NOT NULL OR payload IS NOT NULL)," \
	" CONSTRAINT es_names CHECK (" \
	"  pg_catalog.octet_length(stream) OPERATOR(pg_catalog.<=) 512" \
	"  AND pg_catalog.octet_length(type) OPERATOR(pg_catalog.<=) 255" \
	"  AND pg_catalog.octet_length(tenant) OPERATOR(pg_catalog.<=) 128" \
	"  AND tenant OPERATOR(pg_catalog.<>) '*'" \
	"  AND stream OPERATOR(pg_catalog.<>) '' AND type OPERATOR(pg_catalog.<>) ''" \
	"  AND category OPERATOR(pg_catalog.<>) ''" \
	"  AND category OPERATOR(pg_catalog.=) pg_catalog.split_part(stream, '-', 1))" \
	") USING heap;" \
	"REVOKE ALL ON es.events FROM PUBLIC;" \
	"COMMENT ON TABLE es.events IS" \
	" 'The log: every event of the store. Append with es_append; read as you like.';" \
	"COMMENT ON CONSTRAINT es_numbers ON es.events IS 'Positions and versions begin at 1.';" \
	"COMMENT ON CONSTRAINT es_content ON es.events IS" \
	" 'An event has data, or a payload, or both.';" \
	"COMMENT ON CONSTRAINT es_names ON es.events IS" \
	" 'Names are within their limits; the category is the stream''s.';" \
	"COMMENT ON COLUMN es.events.position IS" \
	" 'Place in the whole log; strictly increasing, with holes.';" \
	"COMMENT ON COLUMN es.events.version IS 'Place in the stream: 1, 2, 3 ...';" \
	"COMMENT ON COLUMN es.events.recorded_at IS" \
	" 'When it was appended; within a stream never earlier than the event before.';" \
	"COMMENT ON COLUMN es.events.id IS 'The event''s id; UUIDv7 unless the client gave one.';" \
	"COMMENT ON COLUMN es.events.tenant IS 'The tenant; empty where tenants are not used.';" \
	"COMMENT ON COLUMN es.events.stream IS 'The stream, such as order-123.';" \
	"COMMENT ON COLUMN es.events.category IS" \
	" 'The part of the stream''s name before its first hyphen.';" \
	"COMMENT ON COLUMN es.events.type IS 'The event''s type, such as OrderPlaced.';" \
	"COMMENT ON COLUMN es.events.data IS 'What happened.';" \
	"COMMENT ON COLUMN es.events.metadata IS" \
	" 'What is known about the event: actor, correlation_id, causation_id ...';" \
	"COMMENT ON COLUMN es.events.payload IS 'Exact bytes, for binary formats.'"

#define ES_SNAPSHOTS_DDL \
	"CREATE TABLE es.snapshots (" \
	" version pg_catalog.int8 NOT NULL," \
	" created_at pg_catalog.timestamptz NOT NULL," \
	" schema_version pg_catalog.int4 NOT NULL," \
	" tenant pg_catalog.text COLLATE pg_catalog.\"C\" NOT NULL," \
	" stream pg_catalog.text COLLATE pg_catalog.\"C\" NOT NULL," \
	" category pg_catalog.text COLLATE pg_catalog.\"C\" NOT NULL," \
	" state pg_catalog.jsonb," \
	" payload pg_catalog.bytea," \
	" CONSTRAINT es_version CHECK (version OPERATOR(pg_catalog.>) 0)," \
	" CONSTRAINT es_content CHECK (state IS NOT NULL OR payload IS NOT NULL)" \
	") USING heap;" \
	"REVOKE ALL ON es.snapshots FROM PUBLIC;" \
	"COMMENT ON TABLE es.snapshots IS" \
	" 'The newest saved state of a stream, one for each schema_version.';" \
	"COMMENT ON CONSTRAINT es_version ON es.snapshots IS 'Versions begin at 1.';" \
	"COMMENT ON CONSTRAINT es_content ON es.snapshots IS" \
	" 'A snapshot has a state, or a payload, or both.';" \
	"COMMENT ON COLUMN es.snapshots.version IS" \
	" 'The stream''s version that the state stands for.';" \
	"COMMENT ON COLUMN es.snapshots.created_at IS 'When it was saved.';" \
	"COMMENT ON COLUMN es.snapshots.schema_version IS 'The version of the state''s own form.';" \
	"COMMENT ON COLUMN es.snapshots.tenant IS 'The stream''s tenant.';" \
	"COMMENT ON COLUMN es.snapshots.stream IS 'The stream.';" \
	"COMMENT ON COLUMN es.snapshots.category IS 'The stream''s category.';" \
	"COMMENT ON COLUMN es.snapshots.state IS 'The state.';" \
	"COMMENT ON COLUMN es.snapshots.payload IS 'The state in exact bytes, for binary formats.'"

#define ES_SALT_COMMENT \
	"COMMENT ON COLUMN es.store.salt IS" \
	" 'A secret in the hashes that streams are locked by, for everybody may see locks.'"

#define ES_STORE_DDL \
	"CREATE TABLE es.store (" \
	" version pg_catalog.int4 NOT NULL," \
	" created_at pg_catalog.timestamptz NOT NULL," \
	" salt pg_catalog.int8 NOT NULL" \
	") USING heap;" \
	"ALTER TABLE es.store REPLICA IDENTITY FULL;" \
	"REVOKE ALL ON es.store FROM PUBLIC;" \
	"COMMENT ON TABLE es.store IS 'The store itself: one row.';" \
	"COMMENT ON COLUMN es.store.version IS 'The version of the store''s tables.';" \
	"COMMENT ON COLUMN es.store.created_at IS 'When the store was made.';" \
	ES_SALT_COMMENT ";" \
	"INSERT INTO es.store VALUES (3, pg_catalog.now(), " ES_SALT_NEW ")"

#define ES_TICKS_DDL \
	"CREATE TABLE es.ticks (" \
	" position pg_catalog.int8 NOT NULL," \
	" last_position pg_catalog.int8 NOT NULL," \
	" recorded_at pg_catalog.timestamptz NOT NULL," \
	" life pg_catalog.int8 NOT NULL," \
	" notified pg_catalog.int8 NOT NULL," \
	" pruned pg_catalog.int8 NOT NULL," \
	" holders pg_catalog.int8[]" \
	") USING heap;" \
	"REVOKE ALL ON es.ticks FROM PUBLIC;" \
	"COMMENT ON TABLE es.ticks IS" \
	" 'Moves of the horizon; the highest position is the horizon. Written by the publisher.';" \
	"COMMENT ON COLUMN es.ticks.position IS" \
	" 'The horizon: every event at or below it is committed and durable, or never will exist.';" \
	"COMMENT ON COLUMN es.ticks.last_position IS" \
	" 'The last position that had been given when the tick was taken.';" \
	"COMMENT ON COLUMN es.ticks.recorded_at IS 'When the tick was taken; never goes back.';" \
	"COMMENT ON COLUMN es.ticks.life IS" \
	" 'Which life of the server the holders belong to: another one after each restart.';" \
	"COMMENT ON COLUMN es.ticks.notified IS 'Up to which position listeners had been told.';" \
	"COMMENT ON COLUMN es.ticks.pruned IS" \
	" 'Up to which position old ticks had been thinned out to one a minute.';" \
	"COMMENT ON COLUMN es.ticks.holders IS" \
	" 'Transactions that were appending: {backend, transaction, floor} each.'"

#define ES_EPOCHS_DDL \
	"CREATE TABLE es.epochs (" \
	" epoch pg_catalog.int4 NOT NULL," \
	" last_position pg_catalog.int8 NOT NULL," \
	" first_position pg_catalog.int8 NOT NULL," \
	" timeline pg_catalog.int8 NOT NULL," \
	" system_identifier pg_catalog.int8 NOT NULL," \
	" database pg_catalog.int8 NOT NULL," \
	" relation pg_catalog.int8 NOT NULL," \
	" opened_at pg_catalog.timestamptz NOT NULL" \
	") USING heap;" \
	"REVOKE ALL ON es.epochs FROM PUBLIC;" \
	"COMMENT ON TABLE es.epochs IS" \
	" 'Stretches of history without a lost tail; a promotion or a restore opens a new one.';" \
	"COMMENT ON COLUMN es.epochs.epoch IS 'Its number: 1, 2, 3 ...';" \
	"COMMENT ON COLUMN es.epochs.last_position IS" \
	" 'The last position of the epochs before: what is above it and below first_position is lost.';" \
	"COMMENT ON COLUMN es.epochs.first_position IS 'The first position that this epoch gives.';" \
	"COMMENT ON COLUMN es.epochs.timeline IS 'The timeline of the server''s WAL.';" \
	"COMMENT ON COLUMN es.epochs.system_identifier IS 'The database cluster.';" \
	"COMMENT ON COLUMN es.epochs.database IS 'The OID of the database.';" \
	"COMMENT ON COLUMN es.epochs.relation IS" \
	" 'The OID of this table: another one after a restore.';" \
	"COMMENT ON COLUMN es.epochs.opened_at IS 'When it was opened.'"

#define ES_CHANNELS_DDL \
	"CREATE TABLE es.channels (" \
	" name pg_catalog.text COLLATE pg_catalog.\"C\" NOT NULL," \
	" options pg_catalog.jsonb NOT NULL," \
	" position pg_catalog.int8 NOT NULL," \
	" created_by pg_catalog.text COLLATE pg_catalog.\"C\" NOT NULL," \
	" created_at pg_catalog.timestamptz NOT NULL" \
	") USING heap;" \
	"REVOKE ALL ON es.channels FROM PUBLIC;" \
	"COMMENT ON TABLE es.channels IS" \
	" 'Channels that events are announced on besides es_events. Made by es_create_channel.';" \
	"COMMENT ON COLUMN es.channels.name IS 'What listeners LISTEN to.';" \
	"COMMENT ON COLUMN es.channels.options IS 'Its kind and its filter.';" \
	"COMMENT ON COLUMN es.channels.position IS" \
	" 'Where it begins: the horizon when it was created.';" \
	"COMMENT ON COLUMN es.channels.created_by IS 'The role that has made it.';" \
	"COMMENT ON COLUMN es.channels.created_at IS 'When it was made.'"

#define ES_BINDINGS_DDL \
	"CREATE TABLE es.bindings (" \
	" role pg_catalog.text COLLATE pg_catalog.\"C\" NOT NULL," \
	" tenants pg_catalog.text[] COLLATE pg_catalog.\"C\" NOT NULL," \
	" role_oid pg_catalog.int8 NOT NULL," \
	" system_identifier pg_catalog.int8 NOT NULL," \
	" changed_at pg_catalog.timestamptz NOT NULL" \
	") USING heap;" \
	"REVOKE ALL ON es.bindings FROM PUBLIC;" \
	"COMMENT ON TABLE es.bindings IS" \
	" 'Roles that are bound to tenants. Written by es_grant_tenant and es_revoke_tenant.';" \
	"COMMENT ON COLUMN es.bindings.role IS 'The role: it and its members are bound.';" \
	"COMMENT ON COLUMN es.bindings.tenants IS 'All the tenants that they may use.';" \
	"COMMENT ON COLUMN es.bindings.role_oid IS" \
	" 'The role''s OID: one that is renamed stays bound.';" \
	"COMMENT ON COLUMN es.bindings.system_identifier IS" \
	" 'The database cluster in which that is its OID.';" \
	"COMMENT ON COLUMN es.bindings.changed_at IS 'When this was last changed.'"

#define ES_PRIVATE_VIEW(name, comment) \
	"CREATE VIEW es_private." name " AS SELECT 1 AS one;" \
	"REVOKE ALL ON es_private." name " FROM PUBLIC;" \
	"COMMENT ON VIEW es_private." name " IS '" comment "'"

#define ES_CONSTRAINT(table, name, definition, comment) \
	"ALTER TABLE es." table " ADD CONSTRAINT " name " " definition ";" \
	"COMMENT ON CONSTRAINT " name " ON es." table " IS '" comment "'"

#define ES_INDEX(command, name, definition, comment) \
	command " " name " ON es." definition ";" \
	"COMMENT ON INDEX es." name " IS '" comment "'"

const EsObject es_schema_objects[] = {
	{"es", NULL, 0,
	 "CREATE SCHEMA es;"
	 "REVOKE ALL ON SCHEMA es FROM PUBLIC;"
	 "COMMENT ON SCHEMA es IS 'The event store (pg_eventstore).'"},
	{"es_private", NULL, 0,
	 "CREATE SCHEMA es_private;"
	 "REVOKE ALL ON SCHEMA es_private FROM PUBLIC;"
	 "COMMENT ON SCHEMA es_private IS 'What no role may touch: locks of the event store.'"},
	{"es", "store", RELKIND_RELATION, ES_STORE_DDL},
	{"es", "store_single", RELKIND_INDEX,
	 ES_INDEX("CREATE UNIQUE INDEX", "store_single", "store ((true))",
			  "Holds es.store to one row.")},
	{"es", "events", RELKIND_RELATION, ES_EVENTS_DDL},
	{"es", "events_position_seq", RELKIND_SEQUENCE,
	 "CREATE SEQUENCE es.events_position_seq AS pg_catalog.int8 CACHE 1 NO CYCLE"
	 " OWNED BY es.events.position;"
	 "REVOKE ALL ON SEQUENCE es.events_position_seq FROM PUBLIC;"
	 "COMMENT ON SEQUENCE es.events_position_seq IS 'Positions of the log.'"},
	{"es", "events_pkey", RELKIND_INDEX,
	 ES_CONSTRAINT("events", "events_pkey", "PRIMARY KEY (position)", "The log in its order.")},
	{"es", "events_version_key", RELKIND_INDEX,
	 ES_CONSTRAINT("events", "events_version_key", "UNIQUE (tenant, stream, version)",
				   "Streams in their order; a version comes once.")},
	{"es", "events_id_key", RELKIND_INDEX,
	 ES_CONSTRAINT("events", "events_id_key", "UNIQUE (tenant, id)", "An event id comes once.")},
	{"es", "events_category_position_idx", RELKIND_INDEX,
	 ES_INDEX("CREATE INDEX", "events_category_position_idx", "events (category, position)",
			  "Categories in the order of the log.")},
	{"es", "events_recorded_at_idx", RELKIND_INDEX,
	 ES_INDEX("CREATE INDEX", "events_recorded_at_idx", "events USING brin (recorded_at)",
			  "Finds a time in the log.")},
	{"es", "snapshots", RELKIND_RELATION, ES_SNAPSHOTS_DDL},
	{"es", "snapshots_pkey", RELKIND_INDEX,
	 ES_CONSTRAINT("snapshots", "snapshots_pkey", "PRIMARY KEY (tenant, stream, schema_version)",
				   "One snapshot for each stream and schema_version.")},
	{"es", "ticks", RELKIND_RELATION, ES_TICKS_DDL},
	{"es", "ticks_position_idx", RELKIND_INDEX,
	 ES_INDEX("CREATE INDEX", "ticks_position_idx", "ticks (position)", "Finds the horizon.")},
	{"es", "epochs", RELKIND_RELATION, ES_EPOCHS_DDL},
	{"es", "channels", RELKIND_RELATION, ES_CHANNELS_DDL},
	{"es", "channels_pkey", RELKIND_INDEX,
	 ES_CONSTRAINT("channels", "channels_pkey", "PRIMARY KEY (name)", "A name comes once.")},
	{"es", "bindings", RELKIND_RELATION, ES_BINDINGS_DDL},
	{"es", "bindings_pkey", RELKIND_INDEX,
	 ES_CONSTRAINT("bindings", "bindings_pkey", "PRIMARY KEY (role)", "A role comes once.")},
	{"es_private", ES_ALL_STREAMS, RELKIND_VIEW,
	 ES_PRIVATE_VIEW("all_streams", "Never read: its lock is the lock on all streams at once.")},
	{"es_private", ES_APPENDING, RELKIND_VIEW,
	 ES_PRIVATE_VIEW("appending",
					 "Never read: who holds its lock has appended and has not yet committed.")},
};

/* clang-format on */

const int es_schema_nobjects = lengthof(es_schema_objects);

/* What brings tables of version n to version n + 1; 0 is before the first release. */
const char *const es_schema_migrations[ES_STORE_VERSION] = {
	"SELECT 1",
	/*
	 * Version 2 publishes.  Its relations are made as all that is missing is; but an
	 * appender with the code of version 1 holds no marker: the lock lets it end.
	 */
	"SELECT 1",
	/* Version 3 locks streams by other hashes: the lock lets those end that hold the old ones. */
	"ALTER TABLE es.store ADD COLUMN salt pg_catalog.int8;"
	"UPDATE es.store SET salt = " ES_SALT_NEW ";"
	"ALTER TABLE es.store ALTER COLUMN salt SET NOT NULL;" ES_SALT_COMMENT,
};
