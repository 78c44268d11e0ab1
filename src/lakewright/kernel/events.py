"""Events: what changed, written in the transaction that changed it.

A reader keeps its place under a name of its own and so sees each event at least once, also after a crash. Topics wake
the controllers that asked for them, on this node after the commit and on the others through the database.
"""

from dataclasses import dataclass
from typing import Any

import orjson

from lakewright.kernel.context import Ctx
from lakewright.kernel.store import Tx


@dataclass(frozen=True)
class Event:
    seq: int
    at: int
    topic: str
    key: str
    payload: dict[str, Any]


def emit(ctx: Ctx, topic: str, key: str, payload: dict[str, Any]) -> None:
    ctx.tx.run(
        "INSERT INTO events (at, topic, key, payload) VALUES (?, ?, ?, ?)",
        ctx.now(), topic, key, orjson.dumps(payload).decode(),
    )  # fmt: skip
    if ctx.turn is not None:
        ctx.turn.topics.add(topic)


def unread(tx: Tx, reader: str, topics: tuple[str, ...], limit: int = 100) -> list[Event]:
    """The next events of these topics for this reader."""
    marks = ", ".join("?" * len(topics))
    rows = tx.all(
        f"SELECT seq, at, topic, key, payload FROM events WHERE topic IN ({marks}) AND seq >"
        " COALESCE((SELECT seq FROM event_readers WHERE reader = ?), 0) ORDER BY seq LIMIT ?",
        *topics, reader, limit,
    )  # fmt: skip
    return [Event(r["seq"], r["at"], r["topic"], r["key"], orjson.loads(r["payload"])) for r in rows]


def read_up_to(tx: Tx, reader: str, seq: int) -> None:
    """Move the reader's place. In the same transaction as what the events caused."""
    tx.run(
        "INSERT INTO event_readers (reader, seq) VALUES (?, ?)"
        " ON CONFLICT (reader) DO UPDATE SET seq = excluded.seq WHERE event_readers.seq < excluded.seq",
        reader, seq,
    )  # fmt: skip
