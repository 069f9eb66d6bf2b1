"""A small shop on pg_eventstore: customers who buy at once, and a read model."""

import uuid
from concurrent.futures import ThreadPoolExecutor

import psycopg
from psycopg.rows import namedtuple_row
from psycopg.types.json import Jsonb


def connect():
    return psycopg.connect(autocommit=True, row_factory=namedtuple_row)


def execute(conn, stream, command, decide, attempts=20):
    """Load the stream, decide, append; do it again where another session was faster.
    The same command, sent twice, is carried out once: its id gives the event's id."""
    for attempt in range(attempts):
        events = conn.execute("SELECT * FROM es_load(%s)", (stream,)).fetchall()
        if any(event.id == command for event in events):
            return
        type, data = decide(events)
        try:
            conn.execute(
                "SELECT es_append(%s, %s, %s, %s, id => %s)",
                (stream, len(events), type, Jsonb(data), command),
            )
            return
        except psycopg.Error as error:
            if error.sqlstate != "SE001" or attempt == attempts - 1:
                raise


def in_stock(events):
    return sum(event.data["count"] * (1 if event.type == "Received" else -1) for event in events)


def sell(events):
    if in_stock(events) < 3:
        raise ValueError("sold out")
    return "Sold", {"count": 3}


def catch_up(conn):
    """Read on from the checkpoint. The read model and the checkpoint change in one transaction."""
    events = True
    while events:
        with conn.transaction():
            after = conn.execute("SELECT position FROM shop_checkpoint FOR UPDATE").fetchone()
            events = conn.execute(
                "SELECT * FROM es_read(%s, 100, categories => '{stock}', types => '{Sold}')", after
            ).fetchall()
            for event in events:
                conn.execute(
                    "INSERT INTO sold AS s VALUES (%s, %s) ON CONFLICT (stream)"
                    " DO UPDATE SET count = s.count + excluded.count",
                    (event.stream, event.data["count"]),
                )
                conn.execute("UPDATE shop_checkpoint SET position = %s", (event.position,))


def main():
    stream = f"stock-{uuid.uuid4()}"
    conn = connect()
    conn.execute("CREATE TABLE IF NOT EXISTS sold (stream text PRIMARY KEY, count int NOT NULL)")
    conn.execute("CREATE TABLE IF NOT EXISTS shop_checkpoint AS SELECT 0::bigint AS position")
    execute(conn, stream, uuid.uuid4(), lambda events: ("Received", {"count": 10}))

    def customer(click):
        with connect() as own:
            try:
                execute(own, stream, click, sell)
                return "sold"
            except ValueError as reason:
                return str(reason)

    clicks = [uuid.uuid4() for _ in range(4)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(customer, clicks + clicks))  # each of them clicks twice
    print("customers:", ", ".join(sorted(answers)))
    events = conn.execute("SELECT * FROM es_load(%s)", (stream,)).fetchall()
    print("events:", len(events), "left:", in_stock(events))

    conn.execute("SELECT es_wait(es_position(%s))", (stream,))
    catch_up(conn)
    sold = conn.execute("SELECT count FROM sold WHERE stream = %s", (stream,)).fetchone()
    print("read model:", sold.count)


if __name__ == "__main__":
    main()
