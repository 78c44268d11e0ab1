"""Artifacts: the files of runs and of logged models, reached through the Files API.

Where a file lies on disk is made from ids that the database knows, never from what the path says: the run must belong
to the experiment named before it, and what follows is one plain name after the other. Reading takes CAN_READ, writing
CAN_EDIT, and deleting CAN_MANAGE: who may log is not thereby allowed to make evidence disappear (CVE-2024-4263).
"""

from pathlib import Path
from typing import Any

from lakewright.kernel import objects
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import Invalid, NotFound, NotSupported
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import OUTSIDE, Api, Reply
from lakewright.kernel.roots import WORKSPACE
from lakewright.kernel.rules import Rule, denied
from lakewright.storage import paths
from lakewright.storage.files import mount
from lakewright.storage.mounts import Access
from lakewright.storage.paths import Entry, Place
from lakewright.tracking import places, reading
from lakewright.tracking.experiments import CAN_EDIT, CAN_MANAGE, CAN_READ, EXPERIMENT, Experiment
from lakewright.tracking.targets import (
    OfModel,
    OfRun,
    experiment_of_model,
    experiment_of_run,
    experiment_of_trace,
    in_model,
    in_run,
)

PREFIX = "/WorkspaceInternal/Mlflow/Artifacts"
RIGHTS: dict[Access, Rule] = {"read": CAN_READ, "write": CAN_EDIT, "delete": CAN_MANAGE}
OWNERS = {"Runs": experiment_of_run, "LoggedModels": experiment_of_model, "Traces": experiment_of_trace}
FOLDERS: dict[str, list[str]] = {"Runs": [], "LoggedModels": ["logged_models"], "Traces": ["traces"]}

runs_api = Api("mlflowExperiment", "/api/2.0/mlflow/artifacts")
models_api = Api("mlflowExperiment", "/api/2.0/mlflow/logged-models")


class ListArtifacts(OfRun):
    path: str | None = None
    page_token: str | None = None


class ListModelArtifacts(OfModel):
    artifact_directory_path: str | None = None
    page_token: str | None = None


class Artifacts:
    """The resolver of `/WorkspaceInternal/Mlflow/Artifacts/<experiment>/{Runs/<run>,LoggedModels/<model>}/…`."""

    def decide(self, ctx: Ctx, relative: str, access: Access) -> Path:
        names = paths.names(relative)
        if names[1:3] == ["Runs", "traces"]:
            # The client takes `…/<experiment>/traces/<trace>` for the files of a run called "traces".
            names = [names[0], "Traces", *names[3:]]
        if len(names) < 3 or names[1] not in OWNERS:
            raise NotFound(f"nothing is at {PREFIX}/{relative}", code="NOT_FOUND")
        experiment = _decided(ctx, names, RIGHTS[access])
        if access != "read":
            _require_changeable(ctx, names[1], names[2])
        return root(ctx, experiment).joinpath(*FOLDERS[names[1]], *names[2:])


def _decided(ctx: Ctx, names: list[str], needs: Rule) -> Obj[Experiment]:
    """The experiment of the run or model, on which the caller holds the right; to a stranger all ids look alike."""
    experiment_id, what, owner = names[:3]
    try:
        experiment = OWNERS[what](ctx, owner)
        if experiment.id != experiment_id:
            raise NotFound(f"{owner} is not in experiment {experiment_id}", code="NOT_FOUND")
    except NotFound:
        verdict = needs.judge(ctx, objects.find(ctx, WORKSPACE, "").id)
        if verdict:
            raise
    else:
        verdict = needs.judge(ctx, experiment.id)
        if verdict:
            return experiment
    raise denied(ctx, verdict, EXPERIMENT.name, experiment_id)


def root(ctx: Ctx, experiment: Obj[Experiment]) -> Path:
    """Where an experiment's files lie; for the platform's own use."""
    return ctx.settings.data_dir.resolve() / "mlflow" / experiment.id


@runs_api("GET", "/list", audit="listArtifacts", on=in_run(), needs=CAN_READ, runs=OUTSIDE)
def list_of_run(ctx: Ctx, experiment: Obj[Experiment], ask: ListArtifacts) -> Reply:
    run = ctx.snapshot(lambda ctx: reading.row(ctx.tx, ask.run_id))
    files = _listed(ctx, experiment, [ask.run_id, "artifacts"], ask.path, ask.page_token)
    return {"root_uri": run["artifact_uri"], "files": files}


@models_api(
    "GET", "/{model_id}/artifacts/directories", audit="listLoggedModelArtifacts",
    on=in_model(), needs=CAN_READ, runs=OUTSIDE,
)  # fmt: skip
def list_of_model(ctx: Ctx, experiment: Obj[Experiment], ask: ListModelArtifacts) -> Reply:
    files = _listed(ctx, experiment, ["logged_models", ask.model_id], ask.artifact_directory_path, ask.page_token)
    return {"root_uri": f"{experiment.spec.artifact_location}/logged_models/{ask.model_id}", "files": files}


def _listed(
    ctx: Ctx, experiment: Obj[Experiment], folder: list[str], path: str | None, token: str | None
) -> list[dict[str, Any]]:
    if not experiment.spec.artifact_location.startswith(places.ROOT):
        raise NotSupported("listArtifacts: this experiment's files are in a volume; list them there")
    if token:
        raise Invalid("page_token is not one that this listing gave out")
    below = paths.names(path or "")
    top = root(ctx, experiment)
    try:
        entries = Place(top, [*folder, *below]).entries()
    except NotFound:
        return []  # nothing has been logged there
    return [_shown(below, entry) for entry in entries]


def _shown(below: list[str], entry: Entry) -> dict[str, Any]:
    shown: dict[str, Any] = {"path": "/".join([*below, entry.name]), "is_dir": entry.is_directory}
    return shown if entry.is_directory else {**shown, "file_size": entry.size}


def _require_changeable(ctx: Ctx, what: str, owner: str) -> None:
    if what == "Traces":
        return
    table, column = ("runs", "run_uuid") if what == "Runs" else ("logged_models", "model_id")
    stage = ctx.tx.scalar(f"SELECT lifecycle_stage FROM {table} WHERE {column} = ?", owner)
    if stage != "active":
        raise Invalid(f"{owner} must be in the 'active' state. Current state is {stage}.")


mount(PREFIX, Artifacts())
