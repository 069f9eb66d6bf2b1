/* pg_eventstore: the public functions, and the guard's. */

\echo Use "CREATE EXTENSION pg_eventstore" to load this file. \quit

-- The store itself

CREATE FUNCTION es_init() RETURNS text
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION es_init() IS
'Makes the event store in schema es, or adopts, repairs or migrates the one that is there; says which.';

CREATE FUNCTION es_reset() RETURNS text
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION es_reset() IS
'Empties the store of a test database, where ALTER DATABASE has set pg_eventstore.allow_reset.';

-- Not part of the public API, hence its name.  PUBLIC may not execute it, so that its presence
-- on a table proves that the store is genuine.
CREATE FUNCTION pg_eventstore_guard() RETURNS trigger
AS 'MODULE_PATHNAME', 'es_guard' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION pg_eventstore_guard() IS
'Trigger function of the guards on es.events; who may execute it may own a store.';
REVOKE ALL ON FUNCTION pg_eventstore_guard() FROM PUBLIC;

-- Append

CREATE FUNCTION es_append(
    stream text,
    expected bigint,
    type text,
    data jsonb,
    metadata jsonb DEFAULT NULL,
    id uuid DEFAULT NULL,
    tenant text DEFAULT NULL
) RETURNS bigint
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION es_append(text, bigint, text, jsonb, jsonb, uuid, text) IS
'Appends one event to a stream that is at the expected version (0: new, -1: any, -2: exists); returns the event''s version.';

CREATE FUNCTION es_append_batch(
    stream text,
    expected bigint,
    types text[],
    data jsonb[],
    metadata jsonb[] DEFAULT NULL,
    ids uuid[] DEFAULT NULL,
    payloads bytea[] DEFAULT NULL,
    tenant text DEFAULT NULL,
    OUT first_version bigint,
    OUT last_version bigint,
    OUT last_position bigint,
    OUT repeated boolean
) RETURNS record
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION es_append_batch(text, bigint, text[], jsonb[], jsonb[], uuid[], bytea[], text) IS
'Appends several events to one stream, all or nothing.';

CREATE FUNCTION es_try_append(
    stream text,
    expected bigint,
    types text[],
    data jsonb[],
    metadata jsonb[] DEFAULT NULL,
    ids uuid[] DEFAULT NULL,
    payloads bytea[] DEFAULT NULL,
    tenant text DEFAULT NULL,
    OUT outcome text,
    OUT version bigint,
    OUT first_version bigint,
    OUT last_position bigint
) RETURNS record
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION es_try_append(text, bigint, text[], jsonb[], jsonb[], uuid[], bytea[], text) IS
'Like es_append_batch, but answers a conflict with outcome ''conflict'' and the actual version instead of an error.';

CREATE FUNCTION es_append_json(
    appends jsonb,
    tenant text DEFAULT NULL
) RETURNS TABLE (
    stream text,
    first_version bigint,
    last_version bigint,
    last_position bigint,
    repeated boolean
)
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION es_append_json(jsonb, text) IS
'Appends to several streams at once, all or nothing: [{"stream", "expected", "events": [{"type", "data", "metadata", "id", "payload"}]}].';

-- Read streams

CREATE FUNCTION es_load(
    stream text,
    from_version bigint DEFAULT 1,
    to_version bigint DEFAULT NULL,
    since timestamptz DEFAULT NULL,
    until timestamptz DEFAULT NULL,
    max_count bigint DEFAULT NULL,
    backwards boolean DEFAULT false,
    tenant text DEFAULT NULL
) RETURNS TABLE (
    version bigint,
    type text,
    data jsonb,
    metadata jsonb,
    recorded_at timestamptz,
    id uuid,
    "position" bigint,
    payload bytea
)
AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL SAFE ROWS 100;
COMMENT ON FUNCTION es_load(text, bigint, bigint, timestamptz, timestamptz, bigint, boolean, text) IS
'Loads the events of a stream in the order of their versions; all bounds are inclusive.';

CREATE FUNCTION es_stream_version(stream text, tenant text DEFAULT NULL) RETURNS bigint
AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL SAFE;
COMMENT ON FUNCTION es_stream_version(text, text) IS
'The version of a stream: that of its last event, 0 where there is no such stream.';

CREATE FUNCTION es_position(
    stream text,
    version bigint DEFAULT NULL,
    tenant text DEFAULT NULL
) RETURNS bigint
AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL SAFE;
COMMENT ON FUNCTION es_position(text, bigint, text) IS
'The position of a stream''s event of this version, or of its last one; NULL where there is none.';

CREATE FUNCTION es_event(id uuid, tenant text DEFAULT NULL) RETURNS TABLE (
    "position" bigint,
    stream text,
    version bigint,
    type text,
    data jsonb,
    metadata jsonb,
    recorded_at timestamptz,
    id uuid,
    payload bytea,
    tenant text
)
AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL SAFE ROWS 1;
COMMENT ON FUNCTION es_event(uuid, text) IS
'The event of this id, as a log row.';

CREATE FUNCTION es_event_exists(id uuid, tenant text DEFAULT NULL) RETURNS boolean
AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL SAFE;
COMMENT ON FUNCTION es_event_exists(uuid, text) IS
'Has an event of this id been appended?';

CREATE FUNCTION es_category(stream text) RETURNS text
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION es_category(text) IS
'The part of a stream''s name before its first hyphen, or the whole name.';

CREATE FUNCTION es_key(stream text) RETURNS text
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION es_key(text) IS
'The part of a stream''s name after its first hyphen, or NULL.';

-- Read the log

CREATE FUNCTION es_read(
    after bigint DEFAULT 0,
    max_count bigint DEFAULT 1000,
    categories text[] DEFAULT NULL,
    types text[] DEFAULT NULL,
    stream_prefix text DEFAULT NULL,
    since timestamptz DEFAULT NULL,
    until timestamptz DEFAULT NULL,
    before bigint DEFAULT NULL,
    backwards boolean DEFAULT false,
    tenant text DEFAULT NULL
) RETURNS TABLE (
    "position" bigint,
    stream text,
    version bigint,
    type text,
    data jsonb,
    metadata jsonb,
    recorded_at timestamptz,
    id uuid,
    payload bytea,
    tenant text
)
AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL SAFE ROWS 1000;
COMMENT ON FUNCTION es_read(bigint, bigint, text[], text[], text, timestamptz, timestamptz, bigint, boolean, text) IS
'Reads published events of the whole log in position order, after < position < before.';

CREATE FUNCTION es_streams(
    categories text[] DEFAULT NULL,
    after text DEFAULT '',
    max_count bigint DEFAULT 1000,
    tenant text DEFAULT NULL
) RETURNS TABLE (
    stream text,
    version bigint,
    "position" bigint,
    recorded_at timestamptz,
    tenant text
)
AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL SAFE ROWS 1000;
COMMENT ON FUNCTION es_streams(text[], text, bigint, text) IS
'Lists streams with a name above "after", in the order of their names, each with its last event''s version, position and time.';

CREATE FUNCTION es_head() RETURNS bigint
AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL SAFE;
COMMENT ON FUNCTION es_head() IS
'The position of the newest event that the caller sees; 0 where there is none.';

CREATE FUNCTION es_horizon() RETURNS bigint
AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL SAFE;
COMMENT ON FUNCTION es_horizon() IS
'The position up to which events are published.';

-- Snapshots

CREATE FUNCTION es_snapshot(
    stream text,
    version bigint,
    state jsonb,
    schema_version integer DEFAULT 1,
    payload bytea DEFAULT NULL,
    tenant text DEFAULT NULL
) RETURNS boolean
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION es_snapshot(text, bigint, jsonb, integer, bytea, text) IS
'Saves the state of a stream at a version; false where a newer snapshot of that schema_version stands.';

CREATE FUNCTION es_load_snapshot(
    stream text,
    schema_version integer DEFAULT NULL,
    tenant text DEFAULT NULL
) RETURNS TABLE (
    version bigint,
    state jsonb,
    payload bytea,
    schema_version integer,
    created_at timestamptz
)
AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL SAFE ROWS 1;
COMMENT ON FUNCTION es_load_snapshot(text, integer, text) IS
'The newest snapshot of a stream, of one schema_version or of any.';

CREATE FUNCTION es_rehydrate(
    stream text,
    schema_version integer DEFAULT NULL,
    tenant text DEFAULT NULL
) RETURNS TABLE (
    kind text,
    version bigint,
    type text,
    data jsonb,
    metadata jsonb,
    recorded_at timestamptz,
    id uuid,
    "position" bigint,
    payload bytea
)
AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL SAFE ROWS 100;
COMMENT ON FUNCTION es_rehydrate(text, integer, text) IS
'The newest snapshot that fits (kind ''snapshot'', the state in data) and the events behind it, or all events; in one round trip.';

CREATE FUNCTION es_drop_snapshots(
    category text,
    below_schema_version integer,
    tenant text DEFAULT NULL
) RETURNS bigint
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION es_drop_snapshots(text, integer, text) IS
'Drops the snapshots of a category whose schema_version is below the given one; returns how many.';
