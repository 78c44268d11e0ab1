"""The audit trail: one row per request, chained, in the same transaction as what it records.

Each row's hash covers the row and the hash before it and is made with a key kept outside the database, so an altered,
missing or moved row breaks the chain at that row, and whoever has the database but not the key cannot mend it. The
head (last number and hash) is signed with the same key, so cutting off the end shows too. Rows are chained per
database, not per node: the head row is locked at the end of a batch, just before the commit, which costs one statement
per batch.
"""

import hashlib
import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal, TypeVar

import orjson

from lakewright.kernel.faults import Unavailable
from lakewright.kernel.store import Row, Tx

T = TypeVar("T")

Decision = Literal["allowed", "refused", ""]
"""Empty: it never came to a decision (a malformed request, no such route, no such object)."""


@dataclass
class Entry:
    """What is recorded of one request. `status`, `decision` and `because` are filled in as the request goes on."""

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
    decision: Decision = ""
    run_by: str = ""
    """Who set it in motion, when that is not who it runs as: the starter of a job whose task asks."""
    client_request_id: str = ""
    """What the client calls this request. Never ours, never believed."""
    data: list[dict[str, Any]] | None = None
    """Tables read: their columns, and the filter and masks that were in force for the reader."""


FIELDS = (
    "at", "request_id", "workspace", "source", "user_agent", "service", "action", "who", "who_name", "run_as",
    "kind", "object_id", "address", "ask", "status", "because", "error", "decision", "run_by", "client_request_id",
    "data",
)  # fmt: skip
PLAIN_FIELDS = FIELDS[:17]
"""What rows from before the keyed chain consist of."""

GENESIS = "0" * 64
_APPEND = f"INSERT INTO audit (seq, {', '.join(FIELDS)}, hash) VALUES ({', '.join('?' * (len(FIELDS) + 2))})"
_ROWS = f"SELECT seq, {', '.join(FIELDS)}, hash FROM audit WHERE seq > ? ORDER BY seq LIMIT ?"


class Chain:
    """How rows hang together: a keyed hash over the hash before, the number and the row."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._state = hashlib.blake2b(key=key, digest_size=16, person=b"lakewright-audit")

    def link(self, last: str, row: Sequence[Any]) -> str:
        """`row`: its number, then its fields."""
        state = self._state.copy()
        state.update(last.encode())
        state.update(orjson.dumps(row))
        return state.hexdigest()

    def sign(self, *what: object) -> str:
        return hmac.digest(self._key, ":".join(map(str, what)).encode(), "sha256").hex()


def plain_link(last: str, row: Sequence[Any]) -> str:
    """The link of rows from before the keyed chain."""
    return hashlib.sha256(last.encode() + orjson.dumps(row)).hexdigest()


@lru_cache(maxsize=4)
def chain_of(key: bytes) -> Chain:
    return Chain(key)


# ---- writing


def begin(tx: Tx, key: bytes) -> None:
    """The head of an empty trail, signed."""
    tx.run(
        "INSERT INTO audit_head (id, seq, hash, mac, keyed_from) VALUES (1, 0, ?, ?, 1)",
        GENESIS, chain_of(key).sign(0, GENESIS, 1),
    )  # fmt: skip


def adopt(tx: Tx, key: bytes) -> None:
    """A trail from before the keyed chain goes on in it, once its old head has been found to be ours."""
    head = tx.one("SELECT seq, hash, mac, keyed_from FROM audit_head WHERE id = 1")
    if head is None or head["keyed_from"] != 0:
        return
    seq, last = int(head["seq"]), str(head["hash"])
    if not hmac.compare_digest(str(head["mac"]), chain_of(key).sign(seq, last)):
        return  # `verify` will say so
    tx.run(
        "UPDATE audit_head SET keyed_from = ?, mac = ? WHERE id = 1",
        seq + 1, chain_of(key).sign(seq, last, seq + 1),
    )  # fmt: skip


def seal(tx: Tx, entries: Sequence[Entry], key: bytes) -> None:
    """Append `entries`, chained to what is there, and move the head."""
    if not entries:
        return
    chain = chain_of(key)
    # The no-op update locks the head row until the commit: on Postgres other nodes queue here.
    [head] = tx.returning("UPDATE audit_head SET seq = seq WHERE id = 1 RETURNING seq, hash, keyed_from")
    seq, last, keyed_from = int(head["seq"]), str(head["hash"]), int(head["keyed_from"])
    rows: list[tuple[Any, ...]] = []
    for entry in entries:
        seq += 1
        row = _row(seq, entry)
        last = chain.link(last, row)
        rows.append((*row, last))
    tx.many(_APPEND, rows)
    mac = chain.sign(seq, last, keyed_from)
    tx.run("UPDATE audit_head SET seq = ?, hash = ?, mac = ? WHERE id = 1", seq, last, mac)


def rehearse(tx: Tx) -> None:
    """Write a row and take it back: Unavailable when the trail takes none."""
    wrote = tx.wrote
    tx.run("SAVEPOINT rehearsal")
    try:
        tx.run(_APPEND, -1, 0, *[""] * 13, 0, *[""] * 6, "")
    except Exception as error:
        raise Unavailable("this cannot be recorded now, and so it is not done") from error
    tx.run("ROLLBACK TO SAVEPOINT rehearsal")
    tx.run("RELEASE SAVEPOINT rehearsal")
    tx.wrote = wrote


def _row(seq: int, entry: Entry) -> tuple[Any, ...]:
    ask = orjson.dumps(entry.ask, default=str).decode() if entry.ask else "{}"
    data = orjson.dumps(entry.data, default=str).decode() if entry.data else ""
    return (
        seq, entry.at, entry.request_id, entry.workspace, entry.source, entry.user_agent, entry.service, entry.action,
        entry.who, entry.who_name, entry.run_as, entry.kind, entry.object_id, entry.address, ask, entry.status,
        entry.because, entry.error, entry.decision, entry.run_by, entry.client_request_id, data,
    )  # fmt: skip


# ---- reading and checking


@dataclass(frozen=True)
class Break:
    """The first place where the trail is not what was written."""

    seq: int
    what: str


@dataclass(frozen=True)
class Head:
    """Where the trail ends, as signed. `keyed_from`: the first row of the keyed chain."""

    seq: int
    hash: str
    mac: str
    keyed_from: int

    def is_ours(self, chain: Chain) -> bool:
        return hmac.compare_digest(self.mac, chain.sign(self.seq, self.hash, self.keyed_from))


def head(tx: Tx) -> Head | None:
    row = tx.one("SELECT seq, hash, mac, keyed_from FROM audit_head WHERE id = 1")
    return Head(int(row["seq"]), str(row["hash"]), str(row["mac"]), int(row["keyed_from"])) if row else None


Snapshots = Callable[[Callable[[Tx], T]], T]
"""Reads in a state of the database: one for all, or a new one each time."""


class Walk:
    """A walk along the chain, row by row; the first break ends it."""

    def __init__(self, chain: Chain, keyed_from: int, seq: int = 0, last: str = GENESIS) -> None:
        self._chain, self._keyed_from = chain, keyed_from
        self.seq, self.last = seq, last
        self.rows = 0

    def over(self, rows: Sequence[Row]) -> Break | None:
        for at, row in enumerate(rows):
            seq = int(row["seq"])
            if seq != self.seq + 1:
                return self._misplaced(rows[at:]) or Break(self.seq + 1, "missing")
            if self._link(seq, row) != row["hash"]:
                return self._misplaced(rows[at + 1 :]) or Break(seq, "altered")
            self.seq, self.last = seq, str(row["hash"])
            self.rows += 1
        return None

    def _link(self, seq: int, row: Row) -> str:
        if seq < self._keyed_from:
            return plain_link(self.last, (seq, *(row[f] for f in PLAIN_FIELDS)))
        return self._chain.link(self.last, (seq, *(row[f] for f in FIELDS)))

    def _misplaced(self, later: Sequence[Row]) -> Break | None:
        """Whether what was written here stands further on."""
        seq = self.seq + 1
        for row in later[:1000]:
            if self._link(seq, row) == row["hash"]:
                return Break(seq, f"reordered: what was written as row {seq} stands at {row['seq']}")
        return None


def verify(tx: Tx, key: bytes, *, chunk: int = 5000) -> Break | None:
    """The first altered, missing or reordered row; None when the trail is whole."""
    return examine(lambda read: read(tx), key, chunk=chunk)[0]


def examine(
    snapshots: "Snapshots[Any]",
    key: bytes,
    *,
    chunk: int = 5000,
    begin_at: Walk | None = None,
    seen: Callable[[Sequence[Row]], None] = lambda rows: None,
) -> tuple[Break | None, Walk]:
    """The same chunk by chunk, each in a state of the database of its own: a long trail holds nobody up."""
    chain = chain_of(key)
    begun, archived = snapshots(lambda tx: (head(tx), newest_archive(tx)))
    walk = begin_at or _first(chain, begun, archived)
    if walk is None:
        return Break(archived.last, "the signed note of the rows archived is not ours"), Walk(chain, 1)
    if begin_at is not None and (broken := snapshots(lambda tx: _continues(tx, walk, archived))):
        return broken, walk
    while True:
        rows, now = snapshots(lambda tx: (tx.all(_ROWS, walk.seq, chunk), head(tx)))
        if not rows:
            return _against(now, walk, chain), walk
        if broken := walk.over(rows):
            return broken, walk
        seen(rows)


def between(tx: Tx, after: int, last: int, most: int) -> Sequence[Row]:
    return tx.all(_ROWS.replace("WHERE seq > ?", "WHERE seq > ? AND seq <= ?"), after, last, most)


def _first(chain: Chain, begun: Head | None, archived: "Archived | None") -> Walk | None:
    # keyed_from 0: a trail that `adopt` did not take; its rows are of the plain chain
    keyed_from = 1 if begun is None else begun.keyed_from or begun.seq + 1
    if archived is None:
        return Walk(chain, keyed_from)
    return Walk(chain, keyed_from, archived.last, archived.hash) if archived.is_ours(chain) else None


def _continues(tx: Tx, walk: Walk, archived: "Archived | None") -> Break | None:
    """Whether the row that a checkpoint stands on is still there as it was."""
    if walk.seq == 0 or (archived is not None and archived.last >= walk.seq):
        return None
    there = tx.scalar("SELECT hash FROM audit WHERE seq = ?", walk.seq)
    if there is None:
        return Break(walk.seq, "missing: the checkpoint was made on it")
    return None if there == walk.last else Break(walk.seq, "not the row that the checkpoint was made on")


def _against(now: Head | None, walk: Walk, chain: Chain) -> Break | None:
    if now is None or not now.is_ours(chain):
        return Break(walk.seq, "the signed head is not ours")
    if (now.seq, now.hash) != (walk.seq, walk.last):
        cut = now.seq > walk.seq
        return Break(
            walk.seq + 1 if cut else now.seq, "missing at the end" if cut else "the signed head is an older one"
        )
    return None


# ---- what was moved into files


@dataclass(frozen=True)
class Archived:
    """Rows up to `last` are in files now; the chain goes on from `hash`. Signed, so that only we can take rows out."""

    first: int
    last: int
    hash: str
    file: str
    digest: str
    at: int
    mac: str = ""

    def signed(self, chain: Chain) -> str:
        return chain.sign("archived", self.first, self.last, self.hash, self.file, self.digest, self.at)

    def is_ours(self, chain: Chain) -> bool:
        return hmac.compare_digest(self.mac, self.signed(chain))


def archives(tx: Tx) -> list[Archived]:
    rows = tx.all("SELECT first, last, hash, file, digest, at, mac FROM audit_archives ORDER BY last")
    return [Archived(**{name: row[name] for name in Archived.__dataclass_fields__}) for row in rows]


def newest_archive(tx: Tx) -> Archived | None:
    found = archives(tx)
    return found[-1] if found else None


def note_archive(tx: Tx, key: bytes, made: Archived) -> None:
    tx.run(
        "INSERT INTO audit_archives (first, last, hash, file, digest, at, mac) VALUES (?, ?, ?, ?, ?, ?, ?)",
        made.first, made.last, made.hash, made.file, made.digest, made.at, made.signed(chain_of(key)),
    )  # fmt: skip
