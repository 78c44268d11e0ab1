"""The audit trail to look at: whether it is whole, and every request there was, refused ones too."""

from collections.abc import Iterator
from typing import Any

import orjson

from lakewright.kernel import audit
from lakewright.kernel.context import Ctx
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import SNAPSHOT, Api, Nothing, Reply
from lakewright.kernel.roots import IN_ACCOUNT, Root
from lakewright.kernel.rules import ADMIN

COLUMNS = (
    ("event_time", "TIMESTAMP"), ("event_id", "STRING"), ("workspace_id", "STRING"), ("service_name", "STRING"),
    ("action_name", "STRING"), ("user_name", "STRING"), ("run_as", "STRING"), ("securable_kind", "STRING"),
    ("securable", "STRING"), ("status_code", "INT"), ("because", "STRING"), ("error_message", "STRING"),
    ("request_id", "STRING"), ("request_params", "STRING"), ("source_ip_address", "STRING"), ("user_agent", "STRING"),
)  # fmt: skip
"""Of system.access.audit: one flat row per request. `request_params` is JSON, secrets starred."""

api = Api("accounts", "/api/2.1/lakewright/audit")


@api("GET", "/verify", audit="verifyAuditTrail", on=IN_ACCOUNT, needs=ADMIN, runs=SNAPSHOT)
def verify(ctx: Ctx, account: Obj[Root], ask: Nothing) -> Reply:
    """Recomputes the chain over every row, and checks the signed head."""
    broken = audit.verify(ctx.tx, ctx.platform.keys.audit)
    rows = int(ctx.tx.scalar("SELECT COUNT(*) FROM audit"))
    return {"whole": broken is None, "rows": rows, **({"seq": broken.seq, "what": broken.what} if broken else {})}


def trail(ctx: Ctx) -> Iterator[dict[str, Any]]:
    """The rows of system.access.audit, oldest first."""
    for row in ctx.tx.all(f"SELECT seq, {', '.join(audit.FIELDS)} FROM audit ORDER BY seq"):
        yield {
            "event_time": row["at"], "event_id": str(row["seq"]), "workspace_id": row["workspace"],
            "service_name": row["service"], "action_name": row["action"], "user_name": row["who_name"],
            "run_as": row["run_as"] or None, "securable_kind": row["kind"] or None, "securable": row["address"] or None,
            "status_code": row["status"], "because": row["because"] or None, "error_message": row["error"] or None,
            "request_id": row["request_id"], "request_params": _text(row["ask"]), "source_ip_address": row["source"],
            "user_agent": row["user_agent"],
        }  # fmt: skip


def _text(ask: Any) -> str:
    return ask if isinstance(ask, str) else orjson.dumps(ask).decode()
