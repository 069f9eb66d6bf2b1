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

-- Not part of the public API either: what the planner asks about functions that read.
CREATE FUNCTION pg_eventstore_support(pg_catalog.internal) RETURNS pg_catalog.internal
AS 'MODULE_PATHNAME', 'es_read_support' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION pg_eventstore_support(pg_catalog.internal) IS
'Planner support function of es_load, es_read and es_rehydrate.';

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
'Appends several events to one stream, and answers a conflict with a row; outcome is ''appended'', ''repeated'' or ''conflict''.';

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
'Appends to several streams at once, all or nothing; appends is [{"stream", "expected", "events": [{"type", "data", "metadata", "id", "payload"}]}].';

CREATE FUNCTION es_try_append_json(
    appends jsonb,
    tenant text DEFAULT NULL
) RETURNS TABLE (
    outcome text,
    stream text,
    version bigint,
    first_version bigint,
    last_position bigint
)
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION es_try_append_json(jsonb, text) IS
'Appends to several streams, all or nothing, and answers conflicts with rows; outcome is ''appended'', ''checked'', ''repeated'', ''conflict'' or ''unwritten''.';

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
AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL SAFE ROWS 100
SUPPORT pg_eventstore_support;
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
AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL SAFE ROWS 1000
SUPPORT pg_eventstore_support;
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
'Lists streams with a name above "after", in the order of their names; each with its last event''s version, position and time.';

CREATE FUNCTION es_head() RETURNS bigint
AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL SAFE;
COMMENT ON FUNCTION es_head() IS
'The position of the newest event that the caller sees; 0 where there is none.';

CREATE FUNCTION es_horizon() RETURNS bigint
AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL SAFE;
COMMENT ON FUNCTION es_horizon() IS
'The position up to which events are published.';

CREATE FUNCTION es_wait(target bigint, timeout interval DEFAULT '5s') RETURNS bigint
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION es_wait(bigint, interval) IS
'Waits until the horizon has reached a position, or the time is over; returns the horizon.';

-- Publish

CREATE FUNCTION es_publish() RETURNS bigint
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION es_publish() IS
'Publishes what is committed, where no worker does; returns the horizon.';

CREATE FUNCTION es_start_worker() RETURNS integer
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION es_start_worker() IS
'Starts the worker that publishes this database, where shared_preload_libraries does not; returns its pid.';

CREATE FUNCTION es_create_channel(name text, options jsonb DEFAULT '{}') RETURNS boolean
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION es_create_channel(text, jsonb) IS
'Makes a channel to LISTEN to, of kind wake or event, with a filter; false where one of the same options is there.';

CREATE FUNCTION es_alter_channel(name text, options jsonb) RETURNS void
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION es_alter_channel(text, jsonb) IS
'Gives a channel other options.';

CREATE FUNCTION es_drop_channel(name text) RETURNS void
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION es_drop_channel(text) IS
'Drops a channel.';

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
AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL SAFE ROWS 100
SUPPORT pg_eventstore_support;
COMMENT ON FUNCTION es_rehydrate(text, integer, text) IS
'The newest snapshot that fits and the events behind it, or all events, in one round trip; a row of kind ''snapshot'' has the state in data.';

CREATE FUNCTION es_drop_snapshots(
    category text,
    below_schema_version integer,
    tenant text DEFAULT NULL
) RETURNS bigint
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION es_drop_snapshots(text, integer, text) IS
'Drops the snapshots of a category whose schema_version is below the given one; returns how many.';

-- Tenants

CREATE FUNCTION es_grant_tenant(role text, tenant text) RETURNS boolean
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION es_grant_tenant(text, text) IS
'Binds a role and its members to a tenant: they may use no others; false where the role is bound to it already.';

CREATE FUNCTION es_revoke_tenant(role text, tenant text) RETURNS boolean
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION es_revoke_tenant(text, text) IS
'Takes a tenant from a role, which stays bound, if to none; tenant ''*'' releases the role; false where there was nothing to take.';

-- What the policies of the store's tables ask; not part of the public API.
CREATE FUNCTION pg_eventstore_sees(tenant text, relation pg_catalog.oid, privilege text) RETURNS boolean
AS 'MODULE_PATHNAME', 'es_tenant_sees' LANGUAGE C STABLE PARALLEL SAFE;
COMMENT ON FUNCTION pg_eventstore_sees(text, pg_catalog.oid, text) IS
'May the current role see, or write, this tenant''s rows of a table? The store''s policies ask for each row.';

CREATE FUNCTION pg_eventstore_open(relation pg_catalog.oid) RETURNS boolean
AS 'MODULE_PATHNAME', 'es_policy_open' LANGUAGE C STABLE PARALLEL SAFE;
COMMENT ON FUNCTION pg_eventstore_open(pg_catalog.oid) IS
'Has a table no permissive policies but the event store''s own?';

-- See what is going on.  The functions below are not part of the public API, hence their names;
-- they check privileges, so that their views may be open to everybody.

CREATE FUNCTION pg_eventstore_outbox() RETURNS TABLE (
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
AS 'MODULE_PATHNAME', 'es_status_outbox' LANGUAGE C STABLE PARALLEL SAFE ROWS 100;
COMMENT ON FUNCTION pg_eventstore_outbox() IS
'Events that are appended and not published; needs SELECT on es.events.';

CREATE VIEW es_outbox AS
SELECT "position", stream, version, type, data, metadata, recorded_at, id, payload, tenant
FROM pg_eventstore_outbox();
COMMENT ON VIEW es_outbox IS
'What is appended and not yet published; needs SELECT on es.events.';
GRANT SELECT ON es_outbox TO PUBLIC;

CREATE FUNCTION pg_eventstore_publisher() RETURNS TABLE (
    horizon bigint,
    head bigint,
    lag_events bigint,
    lag_since timestamptz,
    pid integer,
    state text,
    started_at timestamptz,
    ticks bigint,
    last_tick_at timestamptz,
    notified bigint,
    notifications bigint,
    notifications_skipped bigint,
    notifications_stuck boolean,
    last_error text,
    last_error_at timestamptz,
    preloaded boolean
)
AS 'MODULE_PATHNAME', 'es_status_publisher' LANGUAGE C STABLE PARALLEL SAFE ROWS 1;
COMMENT ON FUNCTION pg_eventstore_publisher() IS
'The horizon and the publisher of this database; for members of pg_monitor and the store''s owner.';

CREATE FUNCTION pg_eventstore_holders() RETURNS TABLE (
    pid integer,
    prepared xid,
    floor bigint
)
AS 'MODULE_PATHNAME', 'es_status_holders' LANGUAGE C STABLE PARALLEL SAFE ROWS 10;
COMMENT ON FUNCTION pg_eventstore_holders() IS
'Transactions that have appended and have not ended; for members of pg_monitor and the store''s owner.';

CREATE VIEW es_stat_publisher AS
SELECT p.horizon, p.head, p.lag_events,
    CASE WHEN p.lag_events OPERATOR(pg_catalog.>) 0
         THEN GREATEST('0'::interval, pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) p.lag_since)
         ELSE '0'::interval END AS lag,
    h.pid AS holder_pid, h.application AS holder_application, h.age AS holder_age, h.gid AS holder_gid,
    p.pid, p.state, p.started_at, p.ticks, p.last_tick_at,
    p.notified, p.notifications, p.notifications_skipped, p.notifications_stuck,
    p.last_error, p.last_error_at
FROM pg_eventstore_publisher() AS p
LEFT JOIN (
    SELECT t.pid, a.application_name AS application, x.gid,
        GREATEST('0'::interval, pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) COALESCE(a.xact_start, x.prepared)) AS age
    FROM pg_eventstore_holders() AS t
    LEFT JOIN pg_catalog.pg_stat_activity AS a ON a.pid OPERATOR(pg_catalog.=) t.pid
    LEFT JOIN pg_catalog.pg_prepared_xacts AS x ON x.transaction OPERATOR(pg_catalog.=) t.prepared
    ORDER BY t.floor, COALESCE(a.xact_start, x.prepared) LIMIT 1
) AS h ON true;
COMMENT ON VIEW es_stat_publisher IS
'The horizon of this database, how far it lags, who holds it, and the worker that moves it.';
GRANT SELECT ON es_stat_publisher TO PUBLIC;

CREATE FUNCTION pg_eventstore_appends() RETURNS TABLE (
    appends bigint,
    events bigint,
    conflicts bigint,
    repeats bigint
)
AS 'MODULE_PATHNAME', 'es_status_appends' LANGUAGE C STABLE PARALLEL SAFE ROWS 1;
COMMENT ON FUNCTION pg_eventstore_appends() IS
'Counts of appends since the server''s start; for members of pg_monitor and the store''s owner.';

CREATE VIEW es_stat_appends AS
SELECT appends, events, conflicts, repeats FROM pg_eventstore_appends();
COMMENT ON VIEW es_stat_appends IS
'Calls that have appended, their events, conflicts and repeated calls; in this database since the server''s start.';
GRANT SELECT ON es_stat_appends TO PUBLIC;

CREATE FUNCTION pg_eventstore_workers() RETURNS TABLE (
    kind text,
    database text,
    pid integer,
    state text,
    started_at timestamptz,
    last_error text,
    last_error_at timestamptz
)
AS 'MODULE_PATHNAME', 'es_status_workers' LANGUAGE C STABLE PARALLEL SAFE ROWS 10;
COMMENT ON FUNCTION pg_eventstore_workers() IS
'The workers of all databases; for members of pg_monitor and, for this database, the store''s owner.';

CREATE VIEW es_stat_workers AS
SELECT kind, database, pid, state, started_at, last_error, last_error_at FROM pg_eventstore_workers();
COMMENT ON VIEW es_stat_workers IS
'The launcher, and the publisher of each database that has an event store.';
GRANT SELECT ON es_stat_workers TO PUBLIC;

CREATE FUNCTION pg_eventstore_waiting() RETURNS TABLE (
    pid integer,
    kind text,
    stream text,
    tenant text,
    waiting_since timestamptz
)
AS 'MODULE_PATHNAME', 'es_waiting' LANGUAGE C STABLE PARALLEL SAFE ROWS 10;
COMMENT ON FUNCTION pg_eventstore_waiting() IS
'Sessions that wait for a lock on streams; for members of pg_monitor and the store''s owner.';

CREATE VIEW es_stat_waiting AS
SELECT pid, kind, stream, tenant, waiting_since, pg_catalog.pg_blocking_pids(pid) AS blocked_by
FROM pg_eventstore_waiting();
COMMENT ON VIEW es_stat_waiting IS
'Sessions of this database that wait for a stream, which one, and which sessions block them.';
GRANT SELECT ON es_stat_waiting TO PUBLIC;

CREATE FUNCTION pg_eventstore_tenants() RETURNS TABLE (
    bound integer,
    enforced boolean,
    unknown text,
    free text
)
AS 'MODULE_PATHNAME', 'es_status_tenants' LANGUAGE C STABLE PARALLEL SAFE ROWS 1;
COMMENT ON FUNCTION pg_eventstore_tenants() IS
'How roles are bound to tenants; for members of pg_monitor and the store''s owner.';

-- es_status() in three steps, each a function of its own: what a step calls is looked for in the
-- library only when the step is called, which the one before decides.  The first step needs what
-- every library has had, the last one a store that is ready.

CREATE FUNCTION pg_eventstore_loaded(stream text DEFAULT 'any') RETURNS text
AS 'MODULE_PATHNAME', 'es_category' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION pg_eventstore_loaded(text) IS
'Loads the library, of whatever version, so that pg_eventstore.version can be asked for.';

CREATE FUNCTION pg_eventstore_store() RETURNS TABLE (
    tables integer,
    problem text,
    detail text,
    hint text
)
AS 'MODULE_PATHNAME', 'es_status_store' LANGUAGE C STABLE PARALLEL SAFE ROWS 1;
COMMENT ON FUNCTION pg_eventstore_store() IS
'The version of the store''s tables, or why the library cannot use the store; for members of pg_monitor and the store''s owner.';

CREATE FUNCTION pg_eventstore_details() RETURNS TABLE (
    topic text,
    status text,
    detail text,
    hint text
)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 10
BEGIN ATOMIC
WITH h AS (
    SELECT t.pid, t.floor, a.application_name, a.usename, a.state, x.gid,
        x.gid IS NOT NULL OR a.state OPERATOR(pg_catalog.=) 'idle in transaction' AS idle,
        pg_catalog.date_trunc('second', GREATEST('0'::interval, pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) COALESCE(a.xact_start, x.prepared))) AS age
    FROM pg_eventstore_holders() AS t
    LEFT JOIN pg_catalog.pg_stat_activity AS a ON a.pid OPERATOR(pg_catalog.=) t.pid
    LEFT JOIN pg_catalog.pg_prepared_xacts AS x ON x.transaction OPERATOR(pg_catalog.=) t.prepared
), s AS (
    SELECT s.*, w.preloaded, pg_catalog.pg_is_in_recovery() AS standby,
        s.lag_events OPERATOR(pg_catalog.>) 0 AS waits,
        s.lag OPERATOR(pg_catalog.>) '1s'::interval AS lags,
        s.lag OPERATOR(pg_catalog.>) '5s'::interval AS late,
        pg_catalog.date_trunc('second', s.lag) AS since,
        CASE WHEN s.lag_events OPERATOR(pg_catalog.=) 0 THEN 'no event waits'
             WHEN s.lag_events OPERATOR(pg_catalog.=) 1 THEN '1 event waits'
             ELSE pg_catalog.format('%s events wait', s.lag_events) END AS waiting,
        s.holder_pid IS NOT NULL OR s.holder_gid IS NOT NULL AS held,
        COALESCE((SELECT pg_catalog.bool_or(h.idle) FROM h), false) AS idle,
        s.pid IS NULL AND s.state OPERATOR(pg_catalog.=) 'no room' AS no_room,
        s.pid IS NULL AND w.preloaded AND s.state OPERATOR(pg_catalog.=) ANY ('{wanted,starting,held,rests}'::text[]) AS comes
    FROM es_stat_publisher AS s, pg_eventstore_publisher() AS w
), p AS (
    SELECT s.*,
        NOT s.standby AND s.pid IS NULL AND NOT s.comes AND NOT s.no_room AS gone,
        s.pid IS NOT NULL AND s.late AND NOT s.held AS stuck,
        s.waits AND s.held AND (s.lags OR s.idle) AS held_up
    FROM s
)
SELECT 'preload'::text,
    CASE WHEN p.preloaded THEN 'ok' ELSE 'notice' END,
    CASE WHEN p.preloaded THEN 'The library is preloaded: workers start by themselves.'
         ELSE 'The library is not preloaded: workers are started by hand, and only the guards against INSERT, UPDATE, DELETE and TRUNCATE stand.' END,
    CASE WHEN NOT p.preloaded THEN 'Add pg_eventstore to shared_preload_libraries and restart the server.' END
FROM p
UNION ALL
SELECT 'publisher',
    CASE WHEN p.standby THEN 'ok'
         WHEN p.gone AND (p.preloaded OR p.waits) THEN 'error'
         WHEN p.gone THEN 'notice'
         WHEN (p.no_room OR p.comes) AND p.late THEN 'error'
         WHEN p.no_room AND p.waits THEN 'warning'
         WHEN p.comes AND p.state OPERATOR(pg_catalog.=) 'rests' AND NOT p.lags THEN 'ok'
         WHEN p.no_room OR p.comes THEN 'notice'
         WHEN p.state OPERATOR(pg_catalog.=) 'backs off' OR p.stuck THEN 'error'
         ELSE 'ok' END,
    CASE WHEN p.standby THEN 'This is a standby: it shows what the primary has published.'
         WHEN p.no_room AND p.waits
         THEN pg_catalog.format('The server has no room for another background worker: max_worker_processes is %s.', pg_catalog.current_setting('max_worker_processes'))
         WHEN p.no_room
         THEN pg_catalog.format('The publisher waits for its turn: max_worker_processes is %s, and other workers use the places.', pg_catalog.current_setting('max_worker_processes'))
         WHEN p.comes AND p.late THEN pg_catalog.format('No publisher runs, and none has come: %s, the first for %s.', p.waiting, p.since)
         WHEN p.comes AND p.state OPERATOR(pg_catalog.=) 'rests' THEN 'The publisher rests: another database uses its place; it comes when events wait.'
         WHEN p.comes AND p.state OPERATOR(pg_catalog.=) 'held' THEN 'A statement about the database keeps the publisher away until it has ended.'
         WHEN p.comes THEN 'The publisher is about to start.'
         WHEN p.state OPERATOR(pg_catalog.=) 'no slot' THEN 'More databases have an event store than shared memory has room for.'
         WHEN p.gone AND p.last_error IS NOT NULL
         THEN pg_catalog.format('No publisher runs. The last one ended with: %s', p.last_error)
         WHEN p.gone THEN 'No publisher runs.'
         WHEN p.state OPERATOR(pg_catalog.=) 'backs off'
         THEN pg_catalog.format('The publisher (pid %s) has met an error and tries again: %s', p.pid, p.last_error)
         WHEN p.stuck THEN pg_catalog.format('The publisher (pid %s) does not move: %s, the first for %s.', p.pid, p.waiting, p.since)
         ELSE pg_catalog.format('The publisher (pid %s) runs.', p.pid) END,
    CASE WHEN p.standby THEN NULL
         WHEN p.no_room OR p.comes AND p.state OPERATOR(pg_catalog.=) 'rests' AND NOT p.late
         THEN 'Raise max_worker_processes: a publisher for each store and the launcher need a place each. es_publish() publishes meanwhile.'
         WHEN p.state OPERATOR(pg_catalog.=) 'no slot' AND p.preloaded THEN 'Call es_publish() before reading, or move some databases to another server.'
         WHEN p.state OPERATOR(pg_catalog.=) 'no slot' THEN 'Preload the library, which makes more room; until then call es_publish().'
         WHEN p.gone AND NOT p.preloaded THEN 'Call es_start_worker(), or es_publish() before reading.'
         WHEN p.comes AND NOT p.late THEN 'Look again in a moment.'
         WHEN p.gone OR p.comes OR p.state OPERATOR(pg_catalog.=) 'backs off' THEN 'The server''s log tells more. es_publish() publishes meanwhile.'
         WHEN p.stuck THEN 'See whether the process is stopped, or waits for a lock (pg_stat_activity, pg_locks). es_publish() publishes meanwhile.' END
FROM p
UNION ALL
SELECT 'horizon',
    CASE WHEN NOT p.waits THEN 'ok'
         WHEN p.standby AND p.late THEN 'warning'
         WHEN p.standby THEN 'ok'
         WHEN p.gone OR p.stuck OR p.state OPERATOR(pg_catalog.=) 'backs off' THEN 'error'
         WHEN (p.no_room OR p.comes) AND p.late THEN 'error'
         WHEN p.no_room OR p.lags OR p.held_up THEN 'warning'
         ELSE 'ok' END,
    pg_catalog.format('The horizon is at %s, the newest event at %s; %s to be published%s.', p.horizon, p.head, p.waiting,
        CASE WHEN NOT p.waits THEN ''
             WHEN p.gone THEN ', and no publisher runs'
             WHEN p.held_up THEN pg_catalog.format(', the first for %s: a transaction that has appended and has not ended holds the horizon', p.since)
             WHEN p.lags THEN pg_catalog.format(', the first for %s', p.since)
             ELSE '' END),
    CASE WHEN NOT p.waits THEN NULL
         WHEN p.standby AND p.late THEN 'Call es_status() on the primary.'
         WHEN p.standby THEN NULL
         WHEN p.gone AND NOT p.preloaded THEN 'Call es_start_worker(), or es_publish() before reading.'
         WHEN p.held_up AND NOT p.gone THEN 'The row "holder" names the transaction.'
         WHEN p.gone OR p.no_room OR p.lags OR p.state OPERATOR(pg_catalog.=) 'backs off' THEN 'See the row "publisher".' END
FROM p
UNION ALL
SELECT 'holder',
    CASE WHEN p.waits AND (p.lags OR h.idle) THEN 'warning' ELSE 'ok' END,
    CASE WHEN h.gid IS NOT NULL
         THEN pg_catalog.format('Prepared transaction "%s" has appended and waits for COMMIT PREPARED since %s: nothing from position %s on is published.', h.gid, h.age, h.floor)
         ELSE pg_catalog.format('Process %s (%s, %s) has appended and has not committed since %s, %s: nothing from position %s on is published.',
             h.pid, h.usename, CASE WHEN h.application_name OPERATOR(pg_catalog.<>) '' THEN h.application_name ELSE 'no application_name' END,
             h.age, h.state, h.floor) END,
    CASE WHEN h.gid IS NOT NULL THEN 'COMMIT PREPARED or ROLLBACK PREPARED it.'
         ELSE 'Let it commit; or end it with pg_terminate_backend(). idle_in_transaction_session_timeout does so by itself.' END
FROM p, h
UNION ALL
SELECT 'notifications',
    CASE WHEN p.notifications_stuck THEN 'error' ELSE 'ok' END,
    pg_catalog.format('The notification queue is %s %% full%s.',
        pg_catalog.round((pg_catalog.pg_notification_queue_usage() OPERATOR(pg_catalog.*) 100)::numeric, 1),
        CASE WHEN p.notifications_stuck
             THEN pg_catalog.format(': listeners are not told until it empties; sessions that may hold it: %s',
                 COALESCE((SELECT pg_catalog.string_agg(a.pid::text, ', ' ORDER BY a.pid) FROM pg_catalog.pg_stat_activity AS a
                           WHERE a.wait_event OPERATOR(pg_catalog.=) 'ClientWrite' OR a.state OPERATOR(pg_catalog.~~) 'idle in transaction%'), 'not seen')) ELSE '' END),
    CASE WHEN p.notifications_stuck THEN 'End the session that listens and does not read. Publishing goes on meanwhile.' END
FROM p
UNION ALL
SELECT 'tenants',
    CASE WHEN t.bound OPERATOR(pg_catalog.=) 0 THEN 'ok'
         WHEN NOT t.enforced THEN 'error'
         WHEN t.unknown IS NOT NULL OR t.free IS NOT NULL THEN 'warning'
         ELSE 'ok' END,
    CASE WHEN t.bound OPERATOR(pg_catalog.=) 0 THEN 'No role is bound to tenants.'
         WHEN NOT t.enforced THEN 'Row-level security is off for a table of the store: the functions keep to the tenants that roles are bound to, plain SQL does not.'
         WHEN t.unknown IS NOT NULL THEN pg_catalog.format('Role "%s" is bound to tenants, and there is no such role.', t.unknown)
         WHEN t.free IS NOT NULL THEN pg_catalog.format('Role "%s" is bound to tenants, and not held to it: it is a superuser, has BYPASSRLS, or owns the store.', t.free)
         ELSE pg_catalog.format('Roles that are bound to tenants: %s.', t.bound) END,
    CASE WHEN t.bound OPERATOR(pg_catalog.=) 0 THEN NULL
         WHEN NOT t.enforced THEN 'Run SELECT es_init() as the owner of the store, which turns it on.'
         WHEN t.unknown IS NOT NULL THEN 'If it was renamed, bind it by its new name; if it is gone, es_revoke_tenant(role, ''*'') forgets it.'
         WHEN t.free IS NOT NULL THEN 'Give applications another role.' END
FROM pg_eventstore_tenants() AS t;
END;
COMMENT ON FUNCTION pg_eventstore_details() IS
'What es_status() says of a store that is ready.';

CREATE FUNCTION pg_eventstore_status() RETURNS TABLE (
    topic text,
    status text,
    detail text,
    hint text
)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 10
BEGIN ATOMIC
WITH s AS MATERIALIZED (
    SELECT t.tables, t.problem, t.detail, t.hint FROM pg_eventstore_store() AS t
)
SELECT 'store'::text,
    CASE WHEN s.problem IS NULL THEN 'ok' ELSE 'error' END,
    CASE WHEN s.problem IS NULL
         THEN pg_catalog.format('The store is ready: the library is of version %s, its functions of version %s, the tables of version %s.',
             pg_catalog.current_setting('pg_eventstore.version'),
             (SELECT e.extversion FROM pg_catalog.pg_extension AS e WHERE e.extname OPERATOR(pg_catalog.=) 'pg_eventstore'), s.tables)
         ELSE pg_catalog.concat_ws(' ', pg_catalog.concat(CASE WHEN pg_catalog.starts_with(s.problem, 'pg_') THEN s.problem
             ELSE pg_catalog.upper(pg_catalog.left(s.problem, 1)) OPERATOR(pg_catalog.||) pg_catalog.substr(s.problem, 2) END, '.'), s.detail) END,
    s.hint
FROM s
UNION ALL
SELECT (r.line).topic, (r.line).status, (r.line).detail, (r.line).hint
FROM (SELECT pg_eventstore_details() AS line FROM s WHERE s.problem IS NULL) AS r;
END;
COMMENT ON FUNCTION pg_eventstore_status() IS
'What es_status() says where the library is not older than the functions.';

CREATE FUNCTION es_status() RETURNS TABLE (
    topic text,
    status text,
    detail text,
    hint text
)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 10
BEGIN ATOMIC
WITH v AS MATERIALIZED (
    SELECT w.library, w.functions,
        w.library IS NULL OR pg_catalog.string_to_array(w.library, '.')::pg_catalog.int4[]
            OPERATOR(pg_catalog.<) pg_catalog.string_to_array(w.functions, '.')::pg_catalog.int4[] AS is_older
    FROM (SELECT CASE WHEN pg_eventstore_loaded() IS NOT NULL THEN pg_catalog.current_setting('pg_eventstore.version', true) END AS library,
              e.extversion AS functions
          FROM pg_catalog.pg_extension AS e WHERE e.extname OPERATOR(pg_catalog.=) 'pg_eventstore') AS w
)
SELECT 'library'::text,
    CASE WHEN v.is_older THEN 'error' ELSE 'warning' END,
    CASE WHEN v.is_older
         THEN pg_catalog.format('The library that this session has loaded (version %s) is older than its functions (version %s).', COALESCE(v.library, '0.1.1 or older'), v.functions)
         ELSE pg_catalog.format('The library (version %s) is newer than its functions (version %s).', v.library, v.functions) END,
    CASE WHEN v.is_older THEN pg_catalog.format('Install version %s on this server, where it is not installed, and restart the server.', v.functions)
         ELSE 'Run ALTER EXTENSION pg_eventstore UPDATE.' END
FROM v WHERE v.is_older OR v.library OPERATOR(pg_catalog.<>) v.functions
UNION ALL
SELECT (r.line).topic, (r.line).status, (r.line).detail, (r.line).hint
FROM (SELECT pg_eventstore_status() AS line FROM v WHERE NOT v.is_older) AS r;
END;
COMMENT ON FUNCTION es_status() IS
'How the store is doing, in sentences: what is well, what is not, and what to do.';

CREATE FUNCTION es_verify(
    after bigint DEFAULT 0,
    max_count bigint DEFAULT NULL
) RETURNS TABLE (
    what text,
    "where" text,
    verdict text,
    detail text
)
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 100;
COMMENT ON FUNCTION es_verify(bigint, bigint) IS
'Looks over the whole store: a row for each check that has passed, and for each finding. For the store''s owner.';
