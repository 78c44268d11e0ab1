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
from lakewright.kernel.faults import AlreadyExists, Denied, Invalid, NotFound
from lakewright.kernel.objects import Obj
from lakewright.tracking import limits
from lakewright.workspace import folders

ROOT = "dbfs:/databricks/mlflow-tracking"
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
    return folders.shown(folders.plain(limits.at_most(name, limits.EXPERIMENT_NAME, "name")))


def folder_for(ctx: Ctx, path: str) -> Obj[Any]:
    """The folder that an experiment of this path goes into, made if need be; Denied to who does not manage the place."""
    below_root = folders.plain(path)
    if folders.require_making(ctx, below_root).full_name == below_root or _taken(ctx, below_root):
        raise AlreadyExists(f"'{path}' already exists and is no experiment")
    return folders.make_folders(ctx, folders.above(below_root))


def _taken(ctx: Ctx, below_root: str) -> bool:
    try:
        objects.find(ctx, folders.ITEM, below_root)
    except NotFound:
        return False
    return True


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
