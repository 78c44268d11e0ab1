"""The audit trail to look at: whether it is whole. Its rows are in `system.access.audit`."""

from lakewright.kernel import audit
from lakewright.kernel.context import Ctx
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import SNAPSHOT, Api, Nothing, Reply
from lakewright.kernel.roots import IN_ACCOUNT, Root
from lakewright.kernel.rules import ADMIN

api = Api("accounts", "/api/2.1/lakewright/audit")


@api("GET", "/verify", audit="verifyAuditTrail", on=IN_ACCOUNT, needs=ADMIN, runs=SNAPSHOT)
def verify(ctx: Ctx, account: Obj[Root], ask: Nothing) -> Reply:
    """Recomputes the chain over every row, and checks the signed head."""
    broken = audit.verify(ctx.tx, ctx.platform.keys.audit)
    rows = int(ctx.tx.scalar("SELECT COUNT(*) FROM audit"))
    return {"whole": broken is None, "rows": rows, **({"seq": broken.seq, "what": broken.what} if broken else {})}
