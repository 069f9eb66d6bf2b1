"""pg_eventstore from Python with psycopg 3: conflicts, safe retries, folding."""

import json
import uuid

import psycopg
from psycopg.rows import namedtuple_row
from psycopg.types.json import Jsonb


def append(conn, stream, expected, type, data, id=None):
    """Append one event and return its version."""
    row = conn.execute(
        "SELECT es_append(%s, %s, %s, %s, id => %s) AS version",
        (stream, expected, type, Jsonb(data), id),
    ).fetchone()
    return row.version


def load(conn, stream):
    return conn.execute(
        "SELECT version, type, data FROM es_load(%s)", (stream,)
    ).fetchall()


def decide_and_append(conn, stream, decide, attempts=5):
    """Load, decide, append; where somebody was faster, do it all again."""
    for attempt in range(attempts):
        events = load(conn, stream)
        version = events[-1].version if events else 0
        type, data = decide(events)
        try:
            return append(conn, stream, version, type, data)
        except psycopg.Error as error:
            if error.sqlstate != "SE001" or attempt == attempts - 1:
                raise
            found = json.loads(error.diag.message_detail)
            print(f"conflict: expected version {found['expected']}, found {found['actual']}")


def fold(events):
    state = {"status": "none", "total": 0}
    for event in events:
        if event.type == "OrderPlaced":
            state["status"] = "placed"
        elif event.type == "ItemAdded":
            state["total"] += event.data["price"] * event.data["quantity"]
        elif event.type == "OrderPaid":
            state["status"] = "paid"
    return state


def connect():
    # each statement is its own transaction; PGHOST and its like say where
    return psycopg.connect(autocommit=True, row_factory=namedtuple_row)


def main():
    stream = f"order-{uuid.uuid4()}"
    conn, other = connect(), connect()

    version = append(conn, stream, 0, "OrderPlaced", {"customer": "anna"})
    print(f"placed the order: version {version}")

    def add_item(events):
        if len(events) == 1:  # between our load and our append somebody else appends
            append(other, stream, 1, "AddressChanged", {"city": "Graz"})
        return "ItemAdded", {"sku": "apple", "quantity": 3, "price": 10}

    print(f"added an item: version {decide_and_append(conn, stream, add_item)}")

    # With an id of ours the very same call may be repeated: nothing is stored twice.
    payment = (stream, 3, "OrderPaid", {"by": "card"}, uuid.uuid4())
    append(conn, *payment)
    conn.close()  # as if it broke before the answer came
    conn = connect()
    version = append(conn, *payment)
    print(f"paid, but the answer was lost; tried again: version {version}")

    events = load(conn, stream)
    state = fold(events)
    print(f"the stream has {len(events)} events")
    print(f"the order is {state['status']}, total {state['total']}")
    conn.close()
    other.close()


if __name__ == "__main__":
    main()
