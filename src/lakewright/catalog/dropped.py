"""Dropping: the object goes at once, the bytes it managed go later.

A dropped table's or volume's folder is kept for some days, then removed by a controller: a crash between the two can
leave bytes behind for a while, never an object without its bytes.
"""

import logging
import shutil
from typing import Any

from lakewright.catalog import places, renames
from lakewright.kernel import objects
from lakewright.kernel.context import Ctx
from lakewright.kernel.controllers import controller
from lakewright.kernel.faults import BadState
from lakewright.kernel.kinds import KINDS
from lakewright.kernel.objects import Obj
from lakewright.kernel.platform import Platform

log = logging.getLogger(__name__)
MANAGED = ("table", "volume")


def drop(ctx: Ctx, obj: Obj[Any], *, cascade: bool = False) -> None:
    """Delete `obj` and, with `cascade`, what is below it; note which managed folders are nobody's now."""
    _refuse_protecting(ctx, obj)
    doomed = ctx.tx.all(
        "SELECT o.id, o.kind, o.full_name, o.spec FROM objects o JOIN ancestry a ON a.object_id = o.id"
        " WHERE a.ancestor_id = ? AND o.deleted_at IS NULL AND o.kind IN (?, ?)",
        obj.id, *MANAGED,
    )  # fmt: skip
    objects.delete(ctx, obj, cascade=cascade)
    for row in doomed:
        if location := _managed_location(row["kind"], row["spec"]):
            ctx.tx.run(
                "INSERT INTO catalog_dropped (object_id, full_name, location, dropped_at) VALUES (?, ?, ?, ?)",
                row["id"], row["full_name"], location, ctx.now(),
            )  # fmt: skip
    ctx.emit("catalog.dropped", obj.id, {"kind": obj.kind, "full_name": obj.full_name})


def _refuse_protecting(ctx: Ctx, obj: Obj[Any]) -> None:
    """A function that protects a table elsewhere stays, also with the schema around it: somebody could make another of
    its name, and say what the protected table shows."""
    elsewhere = [
        t for t in renames.referring(ctx, obj.full_name) if obj.id not in ctx.platform.policy.chain(ctx.tx, t.id)
    ]
    if elsewhere:
        raise BadState(
            f"{obj.kind} '{obj.full_name}' holds row filters or column masks of {len(elsewhere)} tables elsewhere; unset"
            " them there first"
        )


def _managed_location(kind: str, spec_json: str) -> str | None:
    spec = KINDS[kind].spec.model_validate_json(spec_json)
    kept_by_us = getattr(spec, "table_type", None) == "MANAGED" or getattr(spec, "volume_type", None) == "MANAGED"
    return spec.storage_location if kept_by_us else None


@controller("catalog.dropped", every=600.0)
def sweep(platform: Platform) -> None:
    """Remove the folders whose days are over."""
    before = platform.clock.now() - platform.settings.storage.keep_dropped_days * 86_400_000
    due = platform.snapshot(
        lambda ctx: ctx.tx.all("SELECT object_id, location FROM catalog_dropped WHERE dropped_at <= ?", before)
    )
    for row in due:
        folder = places.local(row["location"])
        shutil.rmtree(folder, ignore_errors=True)
        if folder.exists():
            log.warning("%s could not be removed whole; it is tried again", folder)
            continue
        _forget(platform, row["object_id"])


def _forget(platform: Platform, object_id: str) -> None:
    platform.transact(lambda ctx: ctx.tx.run("DELETE FROM catalog_dropped WHERE object_id = ?", object_id))
