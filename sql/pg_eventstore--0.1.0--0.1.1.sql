-- No age or lag that is shown is negative, where the clock was set back.
\echo Use "ALTER EXTENSION pg_eventstore UPDATE" to load this file. \quit

CREATE OR REPLACE VIEW es_stat_publisher AS
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

CREATE OR REPLACE FUNCTION es_status() RETURNS TABLE (
    topic text,
    status text,
    detail text,
    hint text
)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 10
BEGIN ATOMIC
WITH p AS (
    SELECT s.*, w.preloaded, pg_catalog.pg_is_in_recovery() AS standby,
        s.lag OPERATOR(pg_catalog.>) '5s'::interval AS late
    FROM es_stat_publisher AS s, pg_eventstore_publisher() AS w
), h AS (
    SELECT t.pid, t.floor, a.application_name, a.usename, a.state, x.gid,
        pg_catalog.date_trunc('second', GREATEST('0'::interval, pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) COALESCE(a.xact_start, x.prepared))) AS age
    FROM pg_eventstore_holders() AS t
    LEFT JOIN pg_catalog.pg_stat_activity AS a ON a.pid OPERATOR(pg_catalog.=) t.pid
    LEFT JOIN pg_catalog.pg_prepared_xacts AS x ON x.transaction OPERATOR(pg_catalog.=) t.prepared
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
         WHEN p.pid IS NULL AND (p.preloaded OR p.lag_events OPERATOR(pg_catalog.>) 0) THEN 'error'
         WHEN p.pid IS NULL THEN 'notice'
         WHEN p.state OPERATOR(pg_catalog.=) 'backs off' THEN 'error'
         WHEN p.late AND p.holder_pid IS NULL AND p.holder_gid IS NULL THEN 'error'
         ELSE 'ok' END,
    CASE WHEN p.standby THEN 'This is a standby: it shows what the primary has published.'
         WHEN p.pid IS NULL AND p.state OPERATOR(pg_catalog.=) 'no room'
         THEN pg_catalog.format('The server has no room for another background worker: max_worker_processes is %s.', pg_catalog.current_setting('max_worker_processes'))
         WHEN p.state OPERATOR(pg_catalog.=) 'no slot' THEN 'More databases have an event store than shared memory has room for.'
         WHEN p.pid IS NULL AND p.last_error IS NOT NULL
         THEN pg_catalog.format('No publisher runs. The last one ended with: %s', p.last_error)
         WHEN p.pid IS NULL THEN 'No publisher runs.'
         WHEN p.state OPERATOR(pg_catalog.=) 'backs off'
         THEN pg_catalog.format('The publisher (pid %s) has met an error and tries again: %s', p.pid, p.last_error)
         WHEN p.late AND p.holder_pid IS NULL AND p.holder_gid IS NULL
         THEN pg_catalog.format('The publisher (pid %s) does not move: %s events wait, the first for %s.', p.pid, p.lag_events, p.lag)
         ELSE pg_catalog.format('The publisher (pid %s) runs.', p.pid) END,
    CASE WHEN p.standby THEN NULL
         WHEN p.pid IS NULL AND p.state OPERATOR(pg_catalog.=) 'no room' THEN 'Raise max_worker_processes; until then call es_publish().'
         WHEN p.state OPERATOR(pg_catalog.=) 'no slot' AND p.preloaded THEN 'Call es_publish() before reading, or move some databases to another server.'
         WHEN p.state OPERATOR(pg_catalog.=) 'no slot' THEN 'Preload the library, which makes more room; until then call es_publish().'
         WHEN p.pid IS NULL AND NOT p.preloaded THEN 'Call es_start_worker(), or es_publish() before reading.'
         WHEN p.pid IS NULL OR p.state OPERATOR(pg_catalog.=) 'backs off' THEN 'The server''s log tells more.'
         WHEN p.late AND p.holder_pid IS NULL AND p.holder_gid IS NULL
         THEN 'See whether the process is stopped, or waits for a lock (pg_stat_activity, pg_locks).' END
FROM p
UNION ALL
SELECT 'horizon', 'ok',
    pg_catalog.format('The horizon is at %s, the newest event at %s; %s events wait to be published.', p.horizon, p.head, p.lag_events),
    NULL
FROM p
UNION ALL
SELECT 'holder',
    CASE WHEN p.lag_events OPERATOR(pg_catalog.>) 0
              AND (h.gid IS NOT NULL OR h.age OPERATOR(pg_catalog.>) '5s'::interval OR h.state OPERATOR(pg_catalog.=) 'idle in transaction')
         THEN 'warning' ELSE 'ok' END,
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
