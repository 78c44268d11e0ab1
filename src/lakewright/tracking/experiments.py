"""Experiments: named collections of runs.

An experiment is an object in a folder of the workspace, with permissions of its own beside the folder's, and a row of
MLflow's `experiments` table made in the same transaction; what is logged into it belongs to it. Deleting only hides it:
it keeps its name, its permissions and its runs, and can be restored. Its name is its path, which the object knows; the
row's name is a copy for MLflow's own tools.
"""

import secrets
from hashlib import sha256
from typing import Any, Literal

from pydantic import BaseModel, Field

from lakewright.kernel import objects
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import AlreadyExists, BadState, Invalid, NotFound, NotSupported
from lakewright.kernel.kinds import Kind
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import Api, Ask, Reply
from lakewright.kernel.roots import IN_WORKSPACE, Root
from lakewright.kernel.rules import EVERYONE
from lakewright.kernel.store import Row, Tx
from lakewright.tracking import limits, places
from lakewright.workspace import folders
from lakewright.workspace.folders import ITEM

COLUMNS = "e.*, o.full_name AS path FROM experiments e JOIN objects o ON o.id = CAST(e.experiment_id AS TEXT)"
Stage = Literal["active", "deleted"]


class Experiment(BaseModel):
    """What is stored beside MLflow's own row: where its files are."""

    artifact_location: str


def _leave(ctx: Ctx, experiment: Obj[Experiment]) -> None:
    """Its folder is deleted: MLflow's tools see it as deleted, and its name is free again."""
    ctx.tx.run(
        "UPDATE experiments SET lifecycle_stage = 'deleted', name = ?, last_update_time = ? WHERE experiment_id = ?",
        f"{folders.shown(experiment.full_name)[:200]} (removed {experiment.id})", ctx.now(), number(experiment.id),
    )  # fmt: skip


EXPERIMENT = Kind(
    "experiment",
    example=Experiment(artifact_location="dbfs:/databricks/mlflow-tracking/1"),
    under=ITEM,
    ids="number",
    separator="/",
    also_called=("experiments", "mlflowExperiment"),
)
EXPERIMENT.before_delete = _leave
CAN_READ, CAN_EDIT, CAN_MANAGE = EXPERIMENT.levels("CAN_READ", "CAN_EDIT", "CAN_MANAGE")
api = Api("mlflowExperiment", "/api/2.0/mlflow/experiments")


class Tag(BaseModel, extra="forbid"):
    key: str
    value: str


class CreateExperiment(Ask):
    name: str
    artifact_location: str | None = None
    tags: list[Tag] = []


class OfExperiment(Ask):
    experiment_id: str


class ByName(Ask):
    experiment_name: str


class UpdateExperiment(OfExperiment):
    new_name: str


class SetExperimentTag(OfExperiment):
    key: str
    value: str = Field(exclude=True)


class DeleteExperimentTag(OfExperiment):
    key: str


@api("POST", "/create", audit="createMlflowExperiment", on=IN_WORKSPACE, needs=EVERYONE)
def create(ctx: Ctx, workspace: Obj[Root], ask: CreateExperiment) -> Reply:
    """Open to everyone signed in: the path decides, below, whether the caller may make something there."""
    path = places.experiment_path(ask.name)
    folder = places.folder_for(ctx, path)
    if ask.artifact_location:
        places.require_governed(ctx, ask.artifact_location)
    tags = [(_tag_key(tag.key), _tag_value(tag.value)) for tag in ask.tags]
    _require_free(ctx, path)
    experiment_id = _insert(ctx, path, ask.artifact_location)
    location = ask.artifact_location or f"{places.ROOT}/{experiment_id}"
    ctx.tx.run("UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?", location, experiment_id)
    _put_tags(ctx.tx, experiment_id, tags)
    spec = Experiment(artifact_location=location)
    objects.create(ctx, EXPERIMENT, path.rpartition("/")[2], spec, under=folder, id=str(experiment_id))
    return {"experiment_id": str(experiment_id)}


@api("GET", "/get", audit="getMlflowExperiment", on=EXPERIMENT.by_id("{experiment_id}"), needs=CAN_READ)
def get(ctx: Ctx, experiment: Obj[Experiment], ask: OfExperiment) -> Reply:
    return {"experiment": shown(ctx.tx, [row(ctx.tx, experiment.id)])[0]}


@api("GET", "/get-by-name", audit="getMlflowExperimentByName", on=IN_WORKSPACE, needs=EVERYONE)
def get_by_name(ctx: Ctx, workspace: Obj[Root], ask: ByName) -> Reply:
    """Open to everyone signed in: one the caller may not read is answered exactly as one that does not exist, because
    a client that is told 404 goes on to create it, and is refused there."""
    missing = NotFound(f"Could not find experiment with name '{ask.experiment_name[:300]}'")
    try:
        found = objects.find(ctx, EXPERIMENT, folders.plain(ask.experiment_name))
    except (NotFound, Invalid):
        raise missing from None
    if not CAN_READ.judge(ctx, found.id):
        raise missing
    return {"experiment": shown(ctx.tx, [row(ctx.tx, found.id)])[0]}


@api("POST", "/update", audit="updateMlflowExperiment", on=EXPERIMENT.by_id("{experiment_id}"), needs=CAN_MANAGE)
def update(ctx: Ctx, experiment: Obj[Experiment], ask: UpdateExperiment) -> Reply:
    """Give it another name in its folder."""
    if row(ctx.tx, experiment.id)["lifecycle_stage"] != "active":
        raise BadState("Cannot rename a non-active experiment.")
    path = places.experiment_path(ask.new_name)
    if folders.plain(path) != experiment.full_name:
        if folders.above(folders.plain(path)) != folders.above(experiment.full_name):
            raise NotSupported("updateMlflowExperiment does not move an experiment to another folder yet")
        _require_free(ctx, path)
        objects.rename(ctx, experiment, path.rpartition("/")[2])
    _touch(ctx, experiment.id, "name = ?", _copy(ctx, path))
    return {}


@api("POST", "/delete", audit="deleteMlflowExperiment", on=EXPERIMENT.by_id("{experiment_id}"), needs=CAN_MANAGE)
def delete(ctx: Ctx, experiment: Obj[Experiment], ask: OfExperiment) -> Reply:
    _require_stage(ctx, experiment.id, "active")
    _touch(ctx, experiment.id, "lifecycle_stage = ?", "deleted")
    ctx.tx.run(
        "UPDATE runs SET lifecycle_stage = 'deleted', deleted_time = ? WHERE experiment_id = ?",
        ctx.now(),
        int(experiment.id),
    )
    return {}


@api("POST", "/restore", audit="restoreMlflowExperiment", on=EXPERIMENT.by_id("{experiment_id}"), needs=CAN_MANAGE)
def restore(ctx: Ctx, experiment: Obj[Experiment], ask: OfExperiment) -> Reply:
    _require_stage(ctx, experiment.id, "deleted")
    _touch(ctx, experiment.id, "lifecycle_stage = ?", "active")
    ctx.tx.run(
        "UPDATE runs SET lifecycle_stage = 'active', deleted_time = NULL WHERE experiment_id = ?", int(experiment.id)
    )
    return {}


@api(
    "POST",
    "/set-experiment-tag",
    audit="setMlflowExperimentTag",
    on=EXPERIMENT.by_id("{experiment_id}"),
    needs=CAN_EDIT,
)
def set_tag(ctx: Ctx, experiment: Obj[Experiment], ask: SetExperimentTag) -> Reply:
    require_active(row(ctx.tx, experiment.id))
    _put_tags(ctx.tx, int(experiment.id), [(_tag_key(ask.key), _tag_value(ask.value))])
    return {}


@api(
    "POST", "/delete-experiment-tag", audit="deleteMlflowExperimentTag",
    on=EXPERIMENT.by_id("{experiment_id}"), needs=CAN_EDIT,
)  # fmt: skip
def delete_tag(ctx: Ctx, experiment: Obj[Experiment], ask: DeleteExperimentTag) -> Reply:
    require_active(row(ctx.tx, experiment.id))
    if not ctx.tx.run("DELETE FROM experiment_tags WHERE experiment_id = ? AND key = ?", int(experiment.id), ask.key):
        raise NotFound(f"No tag with name: {ask.key} in experiment with id {experiment.id}")
    return {}


def row(tx: Tx, experiment_id: str) -> Row:
    """MLflow's row of the experiment, with its path as `path`."""
    found = tx.one(f"SELECT {COLUMNS} WHERE e.experiment_id = ?", number(experiment_id))
    if found is None:
        raise NotFound(f"No Experiment with id={experiment_id} exists")
    return found


def require_active(found: Row) -> None:
    if found["lifecycle_stage"] != "active":
        raise Invalid(
            f"The experiment {found['experiment_id']} must be in the 'active' state. Current state is"
            f" {found['lifecycle_stage']}."
        )


def number(experiment_id: str) -> int:
    """MLflow's ids of experiments are 32-bit numbers, written as texts; no other text names one."""
    if experiment_id.isascii() and experiment_id.isdigit() and len(experiment_id) <= 10:
        value = int(experiment_id)
        if value < 2**31:
            return value
    return -1


def shown(tx: Tx, rows: list[Row]) -> list[dict[str, Any]]:
    """Experiments with their tags, as MLflow's clients read them."""
    tags: dict[int, list[dict[str, str]]] = {int(each["experiment_id"]): [] for each in rows}
    marks = ", ".join("?" * len(tags))
    if tags:
        for tag in tx.all(
            f"SELECT experiment_id, key, value FROM experiment_tags WHERE experiment_id IN ({marks}) ORDER BY key",
            *tags,
        ):
            tags[int(tag["experiment_id"])].append({"key": tag["key"], "value": tag["value"]})
    return [
        {
            "experiment_id": str(each["experiment_id"]),
            "name": folders.shown(each["path"]),
            "artifact_location": each["artifact_location"],
            "lifecycle_stage": each["lifecycle_stage"],
            "creation_time": each["creation_time"],
            "last_update_time": each["last_update_time"],
            "tags": tags[int(each["experiment_id"])],
        }
        for each in rows
    ]


def _insert(ctx: Ctx, path: str, location: str | None) -> int:
    """MLflow would count; a count would tell everybody how many experiments others have made."""
    made: list[Row] = []
    while not made:
        made = ctx.tx.returning(
            "INSERT INTO experiments (experiment_id, name, artifact_location, lifecycle_stage, creation_time,"
            " last_update_time) VALUES (?, ?, ?, 'active', ?, ?) ON CONFLICT (experiment_id) DO NOTHING"
            " RETURNING experiment_id",
            10**9 + secrets.randbelow(2**31 - 10**9), _copy(ctx, path), location, ctx.now(), ctx.now(),
        )  # fmt: skip
    return int(made[0]["experiment_id"])


def _copy(ctx: Ctx, path: str) -> str:
    """What MLflow's row is called, where a name is there once in all workspaces: the first one's have their paths."""
    if ctx.workspace == ctx.platform.workspace:
        return path
    name = f"{ctx.workspace}:{path}"
    return name if len(name) <= limits.EXPERIMENT_NAME else f"{ctx.workspace}:{sha256(path.encode()).hexdigest()}"


def _require_free(ctx: Ctx, path: str) -> None:
    """No experiment has the path. A row that only still says so, of one that was moved, says something else from now."""
    taken = ctx.tx.one(f"SELECT {COLUMNS} WHERE e.name = ?", _copy(ctx, path))
    if taken is None:
        return
    if folders.shown(taken["path"]) != path:
        _touch(ctx, str(taken["experiment_id"]), "name = ?", f"{path[:200]} (moved {taken['experiment_id']})")
    elif taken["lifecycle_stage"] == "deleted":
        raise AlreadyExists(
            f"Experiment '{path}' already exists in deleted state. You can restore the experiment, or permanently delete"
            " the experiment to create a new one."
        )
    else:
        raise AlreadyExists(f"Experiment '{path}' already exists.")


def _touch(ctx: Ctx, experiment_id: str, assignment: str, value: str) -> None:
    ctx.tx.run(
        f"UPDATE experiments SET {assignment}, last_update_time = ? WHERE experiment_id = ?",
        value, ctx.now(), number(experiment_id),
    )  # fmt: skip


def _require_stage(ctx: Ctx, experiment_id: str, stage: Stage) -> None:
    if row(ctx.tx, experiment_id)["lifecycle_stage"] != stage:
        raise NotFound(f"No Experiment with id={experiment_id} exists in the '{stage}' state")


def _put_tags(tx: Tx, experiment_id: int, tags: list[tuple[str, str]]) -> None:
    tx.many(
        "INSERT INTO experiment_tags (experiment_id, key, value) VALUES (?, ?, ?)"
        " ON CONFLICT (key, experiment_id) DO UPDATE SET value = excluded.value",
        [(experiment_id, key, value) for key, value in tags],
    )


def _tag_key(key: str) -> str:
    return limits.key(key, "key")


def _tag_value(value: str) -> str:
    return limits.at_most(value, limits.EXPERIMENT_TAG_VALUE, "value")
