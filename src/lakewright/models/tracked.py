"""Tracked runs as the registry reads them: with the caller's rights on their experiment, never around them."""

import os
from typing import Any

import orjson

from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import NotFound, TooLarge
from lakewright.kernel.rules import require
from lakewright.models.sources import Run
from lakewright.storage.paths import Place
from lakewright.tracking import artifacts, logged_models, reading
from lakewright.tracking.experiments import CAN_READ
from lakewright.tracking.targets import experiment_of_model, experiment_of_run


class TrackedRuns:
    """Answers as `sources.Runs`."""

    def read(self, ctx: Ctx, run_id: str) -> Run:
        return ctx.snapshot(lambda ctx: _read(ctx, run_id))

    def logged_model(self, ctx: Ctx, model_id: str) -> Run | None:
        def look(ctx: Ctx) -> Run | None:
            require(ctx, CAN_READ, experiment_of_model(ctx, model_id))
            run_id = logged_models.row(ctx.tx, model_id)["source_run_id"]
            return _read(ctx, str(run_id)) if run_id else None

        return ctx.snapshot(look)

    def artifact(self, ctx: Ctx, run_id: str, path: str, largest: int) -> bytes | None:
        def find(ctx: Ctx) -> Place:
            experiment = experiment_of_run(ctx, run_id)
            require(ctx, CAN_READ, experiment)
            return Place(artifacts.root(ctx, experiment), [run_id, "artifacts", path])

        place = ctx.snapshot(find)
        try:
            descriptor = place.open()
        except NotFound:
            return None
        with os.fdopen(descriptor, "rb") as file:
            body = file.read(largest + 1)
        if len(body) > largest:
            raise TooLarge(f"{path} of run {run_id} has more than {largest} bytes")
        return body


def _read(ctx: Ctx, run_id: str) -> Run:
    require(ctx, CAN_READ, experiment_of_run(ctx, run_id))
    shown = reading.whole(ctx.tx, [reading.row(ctx.tx, run_id)])[0]
    info, data = shown["info"], shown["data"]
    return Run(
        run_id=run_id, experiment_id=str(info["experiment_id"]), by=_principal(ctx, str(info["user_id"])),
        metrics={m["key"]: float(m["value"]) for m in data["metrics"]},
        params={p["key"]: p["value"] for p in data["params"]}, tags={t["key"]: t["value"] for t in data["tags"]},
        datasets=tuple(_dataset(d["dataset"]) for d in shown["inputs"]["dataset_inputs"]),
    )  # fmt: skip


def _principal(ctx: Ctx, name: str) -> str:
    """The id of who logged a run: also of somebody who has left since."""
    found = ctx.tx.scalar("SELECT id FROM principals WHERE name = ? ORDER BY deleted_at IS NULL DESC LIMIT 1", name)
    return str(found) if found is not None else ""


def _dataset(dataset: dict[str, Any]) -> dict[str, Any]:
    said = {k: dataset[k] for k in ("name", "digest", "source_type") if dataset.get(k)}
    try:
        profile: Any = orjson.loads(dataset.get("profile") or "null")
    except orjson.JSONDecodeError:
        profile = None
    return said | ({"profile": profile} if profile else {})
