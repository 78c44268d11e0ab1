"""Policy sets: who is in whom and who holds what, remembered until somebody changes it.

Sets are cached, never decisions: one closure per principal and one list of holders per object (n + m entries, where
decisions would be n × m). They are valid for one *epoch*. Whatever changes membership, grants, ownership or ancestry, ends a token or deactivates somebody,
bumps the epoch in its own transaction, and each deciding transaction reads it: a committed revoke therefore holds at
once, on every node, with no expiry to wait for. Making a new object changes no existing answer and bumps nothing.
A grant that ends by itself needs nobody to end it: the sets are good until the first such moment.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import orjson

from lakewright.kernel.config import Settings
from lakewright.kernel.hosts import Place, place
from lakewright.kernel.store import Row, Tx

V = TypeVar("V")
Holders = dict[str, frozenset[str]]

LARGEST = 50_000
"""Entries kept per epoch of either set; past it a set starts over (about 20 MB)."""


@dataclass(frozen=True, slots=True)
class Held:
    """What is held directly on one object: its owner, and by right the principals it was granted to."""

    owner: str
    owners: frozenset[str]
    """The same, as a set of one."""
    by_right: Holders


@dataclass(frozen=True, slots=True)
class Known:
    """A principal as the database has it."""

    kind: str
    name: str
    active: bool


@dataclass
class Sets:
    timed: bool = False
    """Whether any grant has an end."""
    ends: int | None = None
    """When the next of them does: what is remembered here is good until then."""
    principals: dict[str, Known] = field(default_factory=dict[str, Known])
    tokens: dict[str, Row] = field(default_factory=dict[str, Row])
    closures: dict[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])
    chains: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    held: dict[str, Held] = field(default_factory=dict[str, Held])
    places: dict[str, Place] = field(default_factory=dict[str, Place])
    labels: dict[str, str] | None = None


class Policy:
    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        # Readers may still look at the epoch before; two are enough, four are kept.
        self._sets: OrderedDict[int, Sets] = OrderedDict()

    def sets(self, tx: Tx) -> Sets:
        if tx.epoch is None:
            tx.epoch = int(tx.scalar("SELECT epoch FROM epoch WHERE id = 1"))
        found = self._sets.get(tx.epoch)
        if found is None or (found.ends is not None and found.ends <= self._now()):
            found = self._sets[tx.epoch] = self._begin(tx)
            while len(self._sets) > 4:
                try:
                    self._sets.popitem(last=False)
                except KeyError:  # another thread was quicker
                    break
        return found

    def _begin(self, tx: Tx) -> Sets:
        row = tx.one(
            "SELECT MIN(expires_at) AS first, MIN(CASE WHEN expires_at > ? THEN expires_at END) AS next FROM grants"
            " WHERE expires_at IS NOT NULL",
            self._now(),
        )
        return Sets(row is not None and row["first"] is not None, None if row is None else row["next"])

    def forget(self) -> None:
        """After a rollback: an epoch number that was never committed may have been remembered."""
        self._sets = OrderedDict()

    def principal(self, tx: Tx, principal_id: str) -> Known | None:
        principals = self.sets(tx).principals
        found = principals.get(principal_id)
        if found is not None:
            return found
        row = tx.one("SELECT kind, name, active, deleted_at FROM principals WHERE id = ?", principal_id)
        if row is None:
            return None
        active = bool(row["active"]) and row["deleted_at"] is None
        return _keep(principals, principal_id, Known(str(row["kind"]), str(row["name"]), active))

    def token(self, tx: Tx, hashed: str) -> Row | None:
        """The token of that hash. Unknown ones are not remembered: one may be issued the next moment."""
        tokens = self.sets(tx).tokens
        found = tokens.get(hashed)
        if found is None:
            found = tx.one(
                "SELECT id, principal_id, kind, home, created_by, expires_at, revoked_at, scopes FROM tokens WHERE hash = ?",
                hashed,
            )
            if found is not None:
                _keep(tokens, hashed, found)
        return found

    def place(self, tx: Tx, host: str, settings: Settings, first: str) -> Place | None:
        """What a Host header stands for. Names that are not ours are not remembered: there is no end of them."""
        places = self.sets(tx).places
        found = places.get(host)
        if found is None:
            found = place(host, settings, self.labels(tx), first)
            if found is not None:
                _keep(places, host, found)
        return found

    def labels(self, tx: Tx) -> dict[str, str]:
        """The living workspaces by deployment name."""
        sets = self.sets(tx)
        if sets.labels is None:
            rows = tx.all(
                "SELECT id, name, spec FROM objects WHERE parent_id IS NULL AND kind = 'workspace' AND deleted_at IS NULL"
            )
            sets.labels = {str(orjson.loads(r["spec"]).get("deployment_name") or r["name"]): str(r["id"]) for r in rows}
        return sets.labels

    def closure(self, tx: Tx, principal: str) -> frozenset[str]:
        """The principal and every group it is in, through any number of groups."""
        closures = self.sets(tx).closures
        found = closures.get(principal)
        if found is None:
            rows = tx.all(
                "WITH RECURSIVE up(id) AS (SELECT CAST(? AS TEXT) UNION SELECT m.group_id FROM members m JOIN up"
                " ON m.member_id = up.id) SELECT id FROM up",
                principal,
            )
            found = _keep(closures, principal, frozenset(str(r["id"]) for r in rows))
        return found

    def chain(self, tx: Tx, object_id: str) -> tuple[str, ...]:
        """The object and everything above it, nearest first."""
        chains = self.sets(tx).chains
        found = chains.get(object_id)
        if found is None:
            rows = tx.all("SELECT ancestor_id FROM ancestry WHERE object_id = ? ORDER BY depth", object_id)
            found = _keep(chains, object_id, tuple(str(r["ancestor_id"]) for r in rows))
        return found

    def held(self, tx: Tx, object_id: str) -> Held:
        held = self.sets(tx).held
        found = held.get(object_id)
        if found is None:
            owner = str(tx.scalar("SELECT owner FROM objects WHERE id = ?", object_id) or "")
            by_right: dict[str, set[str]] = {}
            for row in tx.all(
                'SELECT principal, "right" FROM grants WHERE object_id = ? AND (expires_at IS NULL OR expires_at > ?)',
                object_id, self._now(),
            ):  # fmt: skip
                by_right.setdefault(str(row["right"]), set()).add(str(row["principal"]))
            found = _keep(
                held, object_id, Held(owner, frozenset((owner,)), {r: frozenset(p) for r, p in by_right.items()})
            )
        return found


def bump(tx: Tx) -> None:
    """Say, in the transaction that changes it, that the policy changes."""
    [row] = tx.returning("UPDATE epoch SET epoch = epoch + 1 WHERE id = 1 RETURNING epoch")
    tx.epoch = int(row["epoch"])


def _keep(cache: dict[str, V], key: str, value: V) -> V:
    if len(cache) >= LARGEST:
        cache.clear()
    cache[key] = value
    return value
