"""The audit trail to look at: whether it is whole. Its rows are in `system.access.audit`."""

from lakewright.kernel import audit
from lakewright.kernel.context import Ctx
from lakewright.kernel.controllers import controller
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import OUTSIDE, Api, Nothing, Reply
from lakewright.kernel.platform import Platform
from lakewright.kernel.roots import IN_ACCOUNT, Root
from lakewright.kernel.rules import ADMIN

api = Api("accounts", "/api/2.1/lakewright/audit")


@api("GET", "/verify", audit="verifyAuditTrail", on=IN_ACCOUNT, needs=ADMIN, runs=OUTSIDE)
def verify(ctx: Ctx, account: Obj[Root], ask: Nothing) -> Reply:
    """Recomputes the chain over every row, and checks the signed head."""
    broken, walk = audit.examine(lambda read: ctx.snapshot(lambda c: read(c.tx)), ctx.platform.keys.audit)
    return {
        "whole": broken is None, "rows": walk.rows, "last": walk.seq,
        **({"seq": broken.seq, "what": broken.what} if broken else {}),
    }  # fmt: skip


@controller("audit.unfinished", every=5.0, on_every_node=True)
def unfinished(platform: Platform) -> None:
    """Work whose end could not be recorded when it ended."""
    platform.recover()
