"""Grants that end by themselves: taken back within a second of their time, and at every start before the first request."""

from lakewright.kernel import policy
from lakewright.kernel.audit import Entry
from lakewright.kernel.context import Ctx
from lakewright.kernel.controllers import controller
from lakewright.kernel.platform import Platform

DUE = "FROM grants WHERE expires_at IS NOT NULL AND expires_at <= ?"


@controller("access.expiry", every=1.0, wakes_on=("access_expiry",))
def tick(platform: Platform) -> None:
    if platform.snapshot(lambda ctx: ctx.tx.one(f"SELECT object_id {DUE} LIMIT 1", ctx.now())) is not None:
        platform.transact(end_due)


def end_due(ctx: Ctx) -> int:
    """Take back every grant whose time is over, each with a row in the trail; how many there were."""
    due = ctx.tx.all(f'SELECT object_id, principal, "right", expires_at {DUE}', ctx.now())
    for row in due:
        ctx.tx.run(
            'DELETE FROM grants WHERE object_id = ? AND principal = ? AND "right" = ?',
            row["object_id"], row["principal"], row["right"],
        )  # fmt: skip
        _record(ctx, str(row["object_id"]), str(row["principal"]), str(row["right"]), int(row["expires_at"]))
    if due:
        policy.bump(ctx.tx)
    return len(due)


def _record(ctx: Ctx, object_id: str, principal: str, right: str, ended: int) -> None:
    assert ctx.turn is not None
    about = ctx.tx.one("SELECT kind, full_name FROM objects WHERE id = ?", object_id)
    ctx.turn.entries.append(
        Entry(
            at=ctx.now(), request_id=ctx.request.request_id, workspace=ctx.workspace, source="internal", user_agent="",
            service="access", action="grantEnded", who=ctx.principal.id, who_name=ctx.principal.name,
            kind=str(about["kind"]) if about else "", object_id=object_id,
            address=str(about["full_name"]) if about else object_id, because="its time was over",
            ask={"principal": ctx.name_of(principal), "right": right, "expires_at": ended},
        )
    )  # fmt: skip
