"""Query history: one's own statements, and those of the warehouses one monitors."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from lakewright.kernel import objects
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import Invalid
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import Api, Ask, Reply
from lakewright.kernel.roots import IN_WORKSPACE, Root
from lakewright.kernel.rules import PER_ROW
from lakewright.kernel.store import Row
from lakewright.sql.warehouses import CAN_MONITOR, WAREHOUSE

api = Api("databrickssql", "/api/2.0/sql/history/queries")

Status = Literal["QUEUED", "STARTED", "COMPILING", "COMPILED", "RUNNING", "CANCELED", "FAILED", "FINISHED"]
STATES: dict[str, tuple[str, ...]] = {
    "QUEUED": ("PENDING",), "RUNNING": ("RUNNING",), "CANCELED": ("CANCELED",), "FAILED": ("FAILED",),
    "FINISHED": ("SUCCEEDED", "CLOSED"),
}  # fmt: skip
SHOWN = {state: status for status, states in STATES.items() for state in states}


class Listing(Ask):
    statement_ids: list[str] = Field(default_factory=list[str], alias="filter_by.statement_ids")
    statuses: list[Status] = Field(default_factory=list[Status], alias="filter_by.statuses")
    user_ids: list[str] = Field(default_factory=list[str], alias="filter_by.user_ids")
    warehouse_ids: list[str] = Field(default_factory=list[str], alias="filter_by.warehouse_ids")
    start_ms: int | None = Field(None, alias="filter_by.query_start_time_range.start_time_ms")
    end_ms: int | None = Field(None, alias="filter_by.query_start_time_range.end_time_ms")
    include_metrics: bool = False
    max_results: int = Field(100, ge=1, le=1000)
    page_token: str | None = None


@api("GET", audit="listQueries", on=IN_WORKSPACE, needs=PER_ROW)
def list_(ctx: Ctx, workspace: Obj[Root], ask: Listing) -> Reply:
    """The newest first. Texts of statements are shown to who sent them and to who monitors the warehouse, nobody else."""
    where, params = _where(ctx, ask)
    bound = f"{ctx.principal.id}:queries:{ask.model_dump_json(exclude={'page_token'})}"
    if ask.page_token:
        at, _, last = objects.open_token(ctx, ask.page_token, bound).partition("/")
        if not at.isdigit():
            raise Invalid("page_token is not one that this listing gave out")
        where.append("(submitted_at < ? OR (submitted_at = ? AND id < ?))")
        params += [int(at), int(at), last]
    rows = ctx.tx.all(
        f"SELECT * FROM sql_statements WHERE {' AND '.join(where)} ORDER BY submitted_at DESC, id DESC LIMIT ?",
        *params, ask.max_results + 1,
    )  # fmt: skip
    found, more = rows[: ask.max_results], len(rows) > ask.max_results
    following = objects.seal_token(ctx, f"{found[-1]['submitted_at']}/{found[-1]['id']}", bound) if more else None
    return {
        "res": [show(r, metrics=ask.include_metrics) for r in found],
        "has_next_page": more,
        "next_page_token": following,
    }


def _where(ctx: Ctx, ask: Listing) -> tuple[list[str], list[Any]]:
    where: list[str] = ["workspace = ?"]
    params: list[Any] = [ctx.workspace]

    def among(column: str, values: list[str]) -> str:
        params.extend(values)
        return f"{column} IN ({', '.join('?' * len(values))})"

    monitored = [w.id for w in objects.visible(ctx, WAREHOUSE, CAN_MONITOR)]
    params.append(ctx.principal.id)
    where.append(f"(who = ? OR {among('warehouse_id', monitored)})" if monitored else "who = ?")
    chosen = {
        "id": ask.statement_ids, "who": ask.user_ids, "warehouse_id": ask.warehouse_ids,
        "state": [s for status in ask.statuses for s in STATES.get(status, ())] or (["none"] if ask.statuses else []),
    }  # fmt: skip
    where += [among(column, values) for column, values in chosen.items() if values]
    for sign, value in ((">=", ask.start_ms), ("<=", ask.end_ms)):
        if value is not None:
            where.append(f"submitted_at {sign} ?")
            params.append(value)
    return where, params


def show(row: Row, *, metrics: bool) -> Reply:
    submitted, started, ended = row["submitted_at"], row["started_at"], row["ended_at"]
    shown: Reply = {
        "query_id": row["id"], "status": SHOWN.get(row["state"], row["state"]), "query_text": row["text"],
        "query_start_time_ms": submitted, "execution_end_time_ms": ended, "query_end_time_ms": ended,
        "user_name": row["who_name"], "executed_as_user_name": row["who_name"], "warehouse_id": row["warehouse_id"],
        "endpoint_id": row["warehouse_id"], "rows_produced": row["rows"], "error_message": row["error"], "is_final": ended is not None,
        "duration": ended - submitted if ended is not None else None,
    }  # fmt: skip
    if metrics:
        shown["metrics"] = {
            "read_bytes": row["bytes_read"], "rows_produced_count": row["rows"], "total_time_ms": shown["duration"],
            "execution_time_ms": ended - started if ended is not None and started is not None else None,
        }  # fmt: skip
    return shown
