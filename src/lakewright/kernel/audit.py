"""The audit trail: one row per request, chained, in the same transaction as what it records.

Each row's hash covers the row and the hash before it, so an altered, missing or moved row breaks the chain at that
row; the head (last number and hash) is authenticated with a key kept outside the database, so cutting off the end
shows too. Rows are chained per database, not per node: the head row is locked at the end of a batch, just before the
commit, which costs one statement per batch.
"""

import hashlib
import hmac
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from lakewright.kernel.store import Row, Tx


@dataclass
class Entry:
    """What is recorded of one request. `status` and `because` are filled in as the request goes on."""

    at: int
    request_id: str
    workspace: str
    source: str
    user_agent: str
    service: str
    action: str
    who: str = ""
    who_name: str = ""
    run_as: str = ""
    kind: str = ""
    object_id: str = ""
    address: str = ""
    ask: dict[str, Any] = field(default_factory=dict[str, Any])
    status: int = 200
    because: str = ""
    error: str = ""


FIELDS = (
    "at", "request_id", "workspace", "source", "user_agent", "service", "action", "who", "who_name", "run_as",
    "kind", "object_id", "address", "ask", "status", "because", "error",
)  # fmt: skip

GENESIS = "0" * 64
_APPEND = f"INSERT INTO audit (seq, {', '.join(FIELDS)}, hash) VALUES ({', '.join('?' * (len(FIELDS) + 2))})"


def seal(tx: Tx, entries: Sequence[Entry], key: bytes) -> None:
    """Append `entries`, chained to what is there, and move the head."""
    if not entries:
        return
    # The no-op update locks the head row until the commit: on Postgres other nodes queue here.
    [head] = tx.returning("UPDATE audit_head SET seq = seq WHERE id = 1 RETURNING seq, hash")
    seq, last = int(head["seq"]), str(head["hash"])
    rows: list[tuple[Any, ...]] = []
    for entry in entries:
        seq += 1
        values = _values(entry)
        last = link(last, seq, values)
        rows.append((seq, *values, last))
    tx.many(_APPEND, rows)
    tx.run("UPDATE audit_head SET seq = ?, hash = ?, mac = ? WHERE id = 1", seq, last, mac(key, seq, last))


def _values(entry: Entry) -> tuple[Any, ...]:
    ask = orjson.dumps(entry.ask, option=orjson.OPT_SORT_KEYS, default=str).decode() if entry.ask else "{}"
    return (
        entry.at, entry.request_id, entry.workspace, entry.source, entry.user_agent, entry.service, entry.action,
        entry.who, entry.who_name, entry.run_as, entry.kind, entry.object_id, entry.address, ask, entry.status,
        entry.because, entry.error,
    )  # fmt: skip


def link(last: str, seq: int, values: Sequence[Any]) -> str:
    return hashlib.sha256(last.encode() + orjson.dumps([seq, *values])).hexdigest()


def mac(key: bytes, seq: int, last: str) -> str:
    return hmac.new(key, f"{seq}:{last}".encode(), "sha256").hexdigest()


@dataclass(frozen=True)
class Break:
    """The first place where the trail is not what was written."""

    seq: int
    what: str


def verify(tx: Tx, key: bytes, *, chunk: int = 5000) -> Break | None:
    """The first altered, missing or reordered row; None when the trail is whole."""
    last, expected = GENESIS, 0
    for row in _rows(tx, chunk):
        expected += 1
        seq = int(row["seq"])
        if seq != expected:
            return Break(expected, "missing")
        if link(last, seq, [row[f] for f in FIELDS]) != row["hash"]:
            return Break(seq, "altered")
        last = str(row["hash"])
    head = tx.one("SELECT seq, hash, mac FROM audit_head WHERE id = 1")
    if head is None or not hmac.compare_digest(str(head["mac"]), mac(key, int(head["seq"]), str(head["hash"]))):
        return Break(expected, "the signed head is not ours")
    if (int(head["seq"]), str(head["hash"])) != (expected, last):
        return Break(expected + 1, "rows are missing at the end")
    return None


def _rows(tx: Tx, chunk: int) -> Iterator[Row]:
    after = 0
    while rows := tx.all(
        f"SELECT seq, {', '.join(FIELDS)}, hash FROM audit WHERE seq > ? ORDER BY seq LIMIT ?", after, chunk
    ):
        yield from rows
        after = int(rows[-1]["seq"])
