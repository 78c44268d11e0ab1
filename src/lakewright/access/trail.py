"""Changes that follow from a decision made earlier, each on record by itself."""

from typing import Any

from lakewright.kernel.audit import Entry
from lakewright.kernel.context import Ctx


def record(ctx: Ctx, action: str, object_id: str, because: str, what: dict[str, Any]) -> None:
    assert ctx.turn is not None
    about = ctx.tx.one("SELECT kind, full_name FROM objects WHERE id = ?", object_id)
    ctx.turn.entries.append(
        Entry(
            at=ctx.now(), request_id=ctx.request.request_id, workspace=ctx.workspace, source=ctx.request.source,
            user_agent=ctx.request.user_agent, service="access", action=action, who=ctx.principal.id,
            who_name=ctx.principal.name, kind=str(about["kind"]) if about else "", object_id=object_id,
            address=str(about["full_name"]) if about else object_id, because=because, ask=what,
        )
    )  # fmt: skip
