"""What was live when: which version, where, with what share, who moved it, who approved it, and why."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import orjson

from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import BadState
from lakewright.kernel.objects import Obj
from lakewright.sql import virtual

DAY_MS = 86_400_000


@dataclass(frozen=True)
class Part:
    """A version's part of the traffic at a target."""

    model: Obj[Any]
    version: int
    share: float
    approval_id: str | None = None
    approved_by: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, int, float]:
        return self.model.id, self.version, self.share


def went_live(
    ctx: Ctx,
    model: Obj[Any],
    version: int,
    target: str,
    *,
    approval_id: str | None = None,
    approved_by: Sequence[str] = (),
    reason: str = "",
) -> None:
    """`version` is what an alias (`alias:champion`) means from now on; what it meant before ends."""
    ended(ctx, model, target)
    _insert(ctx, Part(model, version, 1.0, approval_id, tuple(approved_by)), target, reason)


def _insert(ctx: Ctx, part: Part, target: str, reason: str) -> None:
    model, version = part.model, part.version
    ctx.tx.run(
        "INSERT INTO registry_deployments (id, model_id, full_name, version, target, share, live_from, live_until,"
        " moved_by, approval_id, approved_by, reason) VALUES (?, ?, ?, ?, ?, ?, ?, NULL, ?, ?, ?, ?)",
        str(uuid4()), model.id, model.full_name, version, target, part.share, ctx.now(), ctx.principal.id,
        part.approval_id, orjson.dumps(list(part.approved_by)).decode(), reason,
    )  # fmt: skip
    ctx.emit("models.live", model.id, {"full_name": model.full_name, "version": version, "target": target})


def ended(ctx: Ctx, model: Obj[Any], target: str) -> None:
    """Nothing of this model is live at the target any longer."""
    ctx.tx.run(
        "UPDATE registry_deployments SET live_until = ? WHERE model_id = ? AND target = ? AND live_until IS NULL",
        ctx.now(), model.id, target,
    )  # fmt: skip


def traffic(ctx: Ctx, target: str, parts: Sequence[Part], reason: str = "") -> None:
    """From now on the target (`endpoint:delays`) is answered by exactly these; what goes on unchanged is left alone."""
    going_on: set[tuple[str, int, float]] = set()
    for row in ctx.tx.all(
        "SELECT id, model_id, version, share FROM registry_deployments WHERE target = ? AND live_until IS NULL", target
    ):
        key = (str(row["model_id"]), int(row["version"]), float(row["share"]))
        if any(part.key == key for part in parts):
            going_on.add(key)
        else:
            ctx.tx.run("UPDATE registry_deployments SET live_until = ? WHERE id = ?", ctx.now(), row["id"])
    for part in parts:
        if part.key not in going_on:
            _insert(ctx, part, target, reason)


def live(ctx: Ctx, model_id: str, version: int | None = None) -> list[str]:
    """Where it is live now."""
    rows = ctx.tx.all(
        "SELECT DISTINCT target, version FROM registry_deployments WHERE model_id = ? AND live_until IS NULL ORDER BY target",
        model_id,
    )
    return [str(r["target"]) for r in rows if version is None or int(r["version"]) == version]


def previous(ctx: Ctx, model_id: str, target: str, current: int) -> int | None:
    """The version that was live there before the current one first was: rolling back twice goes back twice."""
    found = ctx.tx.scalar(
        "SELECT version FROM registry_deployments WHERE model_id = ? AND target = ? AND live_from <"
        " (SELECT MIN(live_from) FROM registry_deployments WHERE model_id = ? AND target = ? AND version = ?)"
        " ORDER BY live_from DESC LIMIT 1",
        model_id, target, model_id, target, current,
    )  # fmt: skip
    return None if found is None else int(found)


def refuse_if_live(ctx: Ctx, model: Obj[Any], what: str, version: int | None = None) -> None:
    if where := live(ctx, model.id, version):
        raise BadState(f"{_called(model, version)} is live at {', '.join(where)} and cannot {what}")


def refuse_if_was_live(ctx: Ctx, model: Obj[Any], what: str, version: int | None = None) -> None:
    """Live now, or live within the retention time: evidence of what decided about people has to stay."""
    refuse_if_live(ctx, model, what, version)
    days = ctx.settings.models.keep_live_days
    rows = ctx.tx.all(
        "SELECT version, MAX(live_until) AS until FROM registry_deployments WHERE model_id = ? GROUP BY version",
        model.id,
    )
    for row in rows:
        if (version is None or int(row["version"]) == version) and row["until"] > ctx.now() - days * DAY_MS:
            raise BadState(f"{_called(model, int(row['version']))} was live in the last {days} days and cannot {what}")


def _called(model: Obj[Any], version: int | None) -> str:
    return f"model '{model.full_name}'" if version is None else f"version {version} of '{model.full_name}'"


def of_model(ctx: Ctx, model_id: str) -> list[dict[str, Any]]:
    """A model's history, oldest first."""
    found = ctx.tx.all("SELECT * FROM registry_deployments WHERE model_id = ? ORDER BY live_from, id", model_id)
    return [show(ctx, dict(row)) for row in found]


def everywhere(ctx: Ctx) -> list[dict[str, Any]]:
    """The history of every model, for `system.mlops.deployment_history`."""
    return [show(ctx, dict(row)) for row in ctx.tx.all("SELECT * FROM registry_deployments ORDER BY live_from, id")]


def show(ctx: Ctx, row: dict[str, Any]) -> dict[str, Any]:
    approvers = orjson.loads(row["approved_by"])
    return {
        "model_id": row["model_id"], "model_name": row["full_name"], "version": int(row["version"]),
        "target": row["target"], "share": row["share"], "live_from": row["live_from"], "live_until": row["live_until"],
        "moved_by": ctx.name_of(row["moved_by"]), "approval_id": row["approval_id"],
        "approved_by": [ctx.name_of(p) for p in approvers], "reason": row["reason"],
    }  # fmt: skip


COLUMNS = (
    ("model_id", "string"), ("model_name", "string"), ("version", "bigint"), ("target", "string"), ("share", "double"),
    ("live_from", "timestamp"), ("live_until", "timestamp"), ("moved_by", "string"), ("approval_id", "string"),
    ("approved_by", "array<string>"), ("reason", "string"),
)  # fmt: skip

virtual.table(
    "system.mlops.deployment_history",
    COLUMNS,
    everywhere,
    comment="Which version was live where and when, and who said so.",
)
