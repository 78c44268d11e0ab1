"""Minting: what a token that is made with another token may be. Nobody comes out with more than they went in with.

| made with                                     | scopes  | lives no longer than        | ends with            |
|-----------------------------------------------|---------|-----------------------------|----------------------|
| a personal token, a session, a signed-in app  | within  | the installation allows     | nothing              |
| the first token                               | any     | the installation allows     | nothing; it is spent |
| a token an administrator made for a machine   | within  | that token                  | that token           |
| a machine's OAuth token                       | within  | the secret or token behind  | the same             |
| a federated workload's token                  | within  | that token                  | that token           |
| a task's token                                | refused | refused                     | refused              |
"""

from dataclasses import dataclass

from lakewright.identity import credentials, scopes
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import Denied, Invalid
from lakewright.kernel.store import Row

DAY = 86400


@dataclass(frozen=True)
class Bounds:
    """What the caller's own credential leaves."""

    scopes: frozenset[str] | None = None
    no_later_than: int | None = None
    parent: str | None = None


def bounds(ctx: Ctx) -> Bounds:
    """Of the credential this call came with; Denied when it makes no others."""
    row = credentials.of_caller(ctx)
    if row is None:
        return Bounds()
    if row["kind"] == "task":
        raise Denied("a task's token cannot make other tokens")
    root = _root(ctx, row)
    return Bounds(
        scopes.read(row["scopes"]), root["expires_at"] if root is not None else None, root["id"] if root else None
    )


def _root(ctx: Ctx, row: Row) -> Row | None:
    """What a token made with this one must not outlive and ends with; None: it stands by itself."""
    if row["kind"] in ("oauth", "session", "consent"):
        behind = ctx.tx.one("SELECT * FROM tokens WHERE id = ?", row["parent_id"]) if row["parent_id"] else None
        if behind is None:
            return row if row["kind"] == "oauth" else None
        return behind if behind["kind"] == "client_secret" else _root(ctx, behind)
    for_another = row["created_by"] not in (row["principal_id"], "system")
    return row if row["kind"] == "personal" and (for_another or row["parent_id"]) else None


def narrowed(asked: list[str] | None, within: Bounds) -> frozenset[str] | None:
    """The new token's scopes: those asked for, else the caller's own."""
    if asked is None:
        return within.scopes
    wanted = scopes.parse(asked)
    if not scopes.within(wanted, within.scopes):
        raise Denied(f"a token limited to {scopes.written(within.scopes)} cannot make one for {scopes.written(wanted)}")
    return wanted


def personal(
    ctx: Ctx, principal_id: str, *, comment: str, lifetime_seconds: int | None, scopes_asked: list[str] | None
) -> credentials.Issued:
    """A personal token of the principal, made by the caller with the credential they came with."""
    policy, within = ctx.settings.tokens, bounds(ctx)
    longest = int(policy.longest_days * DAY)
    if lifetime_seconds is not None and not 0 < lifetime_seconds <= longest:
        raise Invalid(f"lifetime_seconds must be between 1 and {longest}")
    seconds = lifetime_seconds or min(longest, int(policy.default_days * DAY))
    if within.no_later_than is not None and lifetime_seconds is not None:
        left = (within.no_later_than - ctx.now()) // 1000
        if lifetime_seconds > left:
            raise Denied(f"the token you came with ends in {left} s: one made with it cannot live longer")
    made = credentials.issue(
        ctx, principal_id, "personal", lifetime_seconds=seconds, comment=comment,
        scopes=narrowed(scopes_asked, within), parent=within.parent, no_later_than=within.no_later_than,
    )  # fmt: skip
    spend(ctx)
    return made


def spend(ctx: Ctx) -> None:
    """The first start's token is good for one exchange."""
    row = credentials.of_caller(ctx)
    if row is not None and row["kind"] == "first":
        credentials.revoke(ctx, str(row["id"]))
