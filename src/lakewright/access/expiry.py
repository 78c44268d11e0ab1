"""Grants that end by themselves: no decision counts them from that moment on (`kernel.policy`); here they are taken
away and their end is recorded, within a second, or at the next start.
"""

from lakewright.access import trail
from lakewright.kernel import grants
from lakewright.kernel.context import Ctx
from lakewright.kernel.controllers import controller
from lakewright.kernel.platform import Platform

DUE = "FROM grants WHERE expires_at IS NOT NULL AND expires_at <= ?"


@controller("access.expiry", every=1.0)
def tick(platform: Platform) -> None:
    if platform.snapshot(lambda ctx: ctx.tx.one(f"SELECT object_id {DUE} LIMIT 1", ctx.now())) is not None:
        platform.transact(end_due)


def end_due(ctx: Ctx) -> int:
    """Take back every grant whose time is over, each with a row in the trail; how many there were."""
    due = ctx.tx.all(f'SELECT object_id, principal, "right", granted_at, expires_at {DUE} ORDER BY 1, 2, 3', ctx.now())
    for row in due:
        object_id, principal, right = str(row["object_id"]), str(row["principal"]), str(row["right"])
        grants.take_back(ctx, object_id, principal, right, granted_at=int(row["granted_at"]))
        what = {"principal": ctx.name_of(principal), "right": right, "expires_at": row["expires_at"]}
        trail.record(ctx, "grantEnded", object_id, "its time was over", what)
    return len(due)
