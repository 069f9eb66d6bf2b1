"""pg_eventstore from Python with psycopg 3: a listener that misses nothing.

It reads on from a checkpoint, and sleeps until a notification says that there is
more.  The notification is a hint: what counts is the checkpoint.  So it may lose the
connection, or be ended, at any time.
"""

import json
import os
import select
import sys
import time

import psycopg
from psycopg.rows import namedtuple_row

POLL = float(os.environ.get("LISTENER_POLL", 30))  # seconds; in case nobody notifies
PAGE = 100

# What is of no use to try again: our own mistakes, and a lost tail.
HOPELESS = ("SE", "22", "42")


def handle(conn, event):
    """Do the work.  What it writes through conn is done exactly once: the
    checkpoint moves in the same transaction.  What it does elsewhere, such as
    printing, may be done again after a crash."""
    print(event.position, event.stream, event.version, event.type, flush=True)


def read_page(conn, name):
    """Handle the next events and move the checkpoint; False where there are none."""
    with conn.transaction():
        after = conn.execute(
            "SELECT position FROM checkpoint WHERE name = %s FOR UPDATE", (name,)
        ).fetchone().position
        events = conn.execute(
            "SELECT position, stream, version, type, data FROM es_read(%s, %s)", (after, PAGE)
        ).fetchall()
        for event in events:
            handle(conn, event)
        if events:
            conn.execute(
                "UPDATE checkpoint SET position = %s WHERE name = %s", (events[-1].position, name)
            )
    return bool(events)


def listen(conn, name):
    """Handle events for as long as the connection lasts."""
    notified = []
    conn.add_notify_handler(notified.append)
    conn.execute("LISTEN es_events")  # before the first look, so that nothing comes in between
    while True:
        notified.clear()
        while read_page(conn, name):
            pass
        if not notified:
            select.select([conn], [], [], POLL)


def connect(name):
    # a session of our own: LISTEN does not work through a pool in transaction mode
    conn = psycopg.connect(autocommit=True, row_factory=namedtuple_row, application_name=name)
    conn.execute(
        "CREATE TABLE IF NOT EXISTS checkpoint (name text PRIMARY KEY, position bigint NOT NULL)"
    )
    conn.execute("INSERT INTO checkpoint VALUES (%s, 0) ON CONFLICT DO NOTHING", (name,))
    return conn


def main(name="listener"):
    while True:
        try:
            with connect(name) as conn:
                listen(conn, name)
        except psycopg.Error as error:
            if error.sqlstate == "SE005":
                lost = json.loads(error.diag.message_detail)
                sys.exit(f"have seen what the log has lost: read on after {lost['last']}")
            if error.sqlstate is not None and error.sqlstate.startswith(HOPELESS):
                raise
            print(f"connecting again: {error}", file=sys.stderr, flush=True)
        time.sleep(0.5)


if __name__ == "__main__":
    main(*sys.argv[1:])
