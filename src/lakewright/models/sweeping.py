"""Sweeping: the files of deleted versions go some days after their rows, so that a mistake can still be undone by hand."""

import shutil
from pathlib import Path

import orjson

from lakewright.catalog import places
from lakewright.kernel.context import Ctx
from lakewright.kernel.controllers import controller
from lakewright.kernel.platform import Platform
from lakewright.models import files
from lakewright.models.history import DAY_MS

SWEPT = "SWEPT"


@controller("models.sweeping", every=600.0)
def sweep(platform: Platform) -> None:
    before = platform.clock.now() - int(platform.settings.models.keep_deleted_days * DAY_MS)
    for version_id, place in platform.snapshot(lambda ctx: due(ctx, before)):
        for folder in (place, files.pending(place)):
            shutil.rmtree(folder, ignore_errors=True)
        _note(platform, version_id)


def due(ctx: Ctx, before: int) -> list[tuple[str, Path]]:
    """Deleted versions whose days are over, with the folder of each."""
    rows = ctx.tx.all(
        "SELECT v.id, o.spec FROM registry_versions v JOIN objects o ON o.id = v.model_id"
        " WHERE v.deleted_at <= ? AND v.status <> ?",
        before, SWEPT,
    )  # fmt: skip
    return [(r["id"], places.local(orjson.loads(r["spec"])["storage_location"]) / r["id"]) for r in rows]


def _note(platform: Platform, version_id: str) -> None:
    platform.transact(lambda ctx: ctx.tx.run("UPDATE registry_versions SET status = ? WHERE id = ?", SWEPT, version_id))
