"""Leases: one holder at a time, with a number that grows at each change of holder (fencing)."""

from lakewright.kernel.store import Tx


def acquire(tx: Tx, name: str, holder: str, *, now: int, ttl_ms: int) -> int | None:
    """Take or renew the lease; its fencing number, or None while somebody else holds it."""
    rows = tx.returning(
        "INSERT INTO leases (name, holder, fence, until) VALUES (?, ?, 1, ?)"
        " ON CONFLICT (name) DO UPDATE SET"
        " fence = CASE WHEN leases.holder = excluded.holder THEN leases.fence ELSE leases.fence + 1 END,"
        " holder = excluded.holder, until = excluded.until"
        " WHERE leases.holder = excluded.holder OR leases.until <= ? RETURNING fence",
        name, holder, now + ttl_ms, now,
    )  # fmt: skip
    return int(rows[0]["fence"]) if rows else None


def holds(tx: Tx, name: str, holder: str, fence: int, *, shared: bool) -> bool:
    """Whether the lease is still the one that was acquired. On a `shared` database nobody can take it before the commit."""
    sql = "SELECT 1 AS held FROM leases WHERE name = ? AND holder = ? AND fence = ?"
    return tx.one(sql + " FOR SHARE" if shared else sql, name, holder, fence) is not None


def release(tx: Tx, name: str, holder: str) -> None:
    tx.run("UPDATE leases SET until = 0 WHERE name = ? AND holder = ?", name, holder)
