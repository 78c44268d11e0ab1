"""Where an experiment may be made, and where its files may be.

A caller-chosen location is the oldest hole of MLflow servers (`file:///etc`, `mlflow-artifacts:/../..`): here one is
accepted only when it is a governed volume, written plainly. Everything else lives below `ROOT`, whose files are reached
through the Files API and its checks alone.
"""

import re
from typing import Any

from lakewright.catalog.volumes import VOLUME, WRITE
from lakewright.kernel import objects
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import Denied, Invalid, NotFound
from lakewright.kernel.objects import Obj
from lakewright.kernel.rules import MANAGE
from lakewright.tracking import limits

ROOT = "dbfs:/databricks/mlflow-tracking"
SHARED = "/Shared"
LONGEST = 120
"""Of a location: MLflow's tables have 200 characters for it and the run's part after it."""

_PLAIN = re.compile(r"[\w@+=,()&' .\-]+")
_VOLUME = re.compile(r"dbfs:/Volumes(/[\w.\-=]+){3,}")


def experiment_path(name: str) -> str:
    """The name as a path in the workspace; Invalid when it is no plain absolute path."""
    if not name.startswith("/"):
        raise Invalid(
            f"Got an invalid experiment name '{name[:200]}'. An experiment name must be an absolute path within the"
            " workspace. E.g. '/Users/<some-username>/my-experiment'."
        )
    segments = name[1:].split("/")
    if not all(_PLAIN.fullmatch(part) and part == part.strip() and part.strip(".") for part in segments):
        raise Invalid(f"Got an invalid experiment name '{name[:200]}': a part of the path is empty or not plain text.")
    return limits.at_most(name, limits.EXPERIMENT_NAME, "name")


def require_may_create(ctx: Ctx, workspace: Obj[Any], path: str) -> None:
    """Everyone below /Shared, each below their own home, administrators anywhere."""
    if may_create(path, ctx.principal.name) or MANAGE.judge(ctx, workspace.id):
        return
    raise Denied(
        f"{ctx.principal.name} may make experiments below /Users/{ctx.principal.name} and {SHARED}; '{path}' needs an"
        " administrator"
    )


def may_create(path: str, name: str) -> bool:
    return path.startswith((f"{SHARED}/", f"/Users/{name}/"))


def require_governed(ctx: Ctx, location: str) -> None:
    """The location is in a volume that the caller may write to. One that is not there is refused the same way."""
    if len(location) > LONGEST or not governed(location):
        raise Invalid(
            "artifact_location must be left out, or be a volume: dbfs:/Volumes/<catalog>/<schema>/<volume>/<directory>"
        )
    volume = ".".join(location.split("/")[2:5])
    try:
        allowed = WRITE.judge(ctx, objects.find(ctx, VOLUME, volume).id)
    except NotFound:
        allowed = False
    if not allowed:
        raise Denied(f"{ctx.principal.name} needs {WRITE} for volume '{volume}'")


def governed(location: str) -> bool:
    """Whether it is a volume's path with nothing in it that another program could read as another place."""
    return _VOLUME.fullmatch(location) is not None and not any(not part.strip(".") for part in location.split("/"))
