"""What went into a run and what came out of it: datasets, and logged models.

A run may be tied to a model of another experiment only by somebody who may read that one: otherwise ids would be a way
to learn, and to claim, what others made (GHSA-3p64-6gvh-82v5).
"""

from uuid import uuid4

import orjson
from pydantic import BaseModel, Field, field_serializer

from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import Invalid
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import Api, Reply
from lakewright.tracking import limits
from lakewright.tracking.experiments import CAN_EDIT, CAN_READ, Experiment
from lakewright.tracking.runs import active, put_tags
from lakewright.tracking.targets import OfRun, in_run, require_usable

HISTORY = "mlflow.log-model.history"
api = Api("mlflowExperiment", "/api/2.0/mlflow/runs")


class Dataset(BaseModel, extra="forbid"):
    name: str
    digest: str
    source_type: str
    source: str
    schema_: str | None = Field(None, alias="schema")
    profile: str | None = None


class InputTag(BaseModel, extra="forbid"):
    key: str
    value: str


class DatasetInput(BaseModel, extra="forbid"):
    tags: list[InputTag] = []
    dataset: Dataset


class ModelInput(BaseModel, extra="forbid"):
    model_id: str


class ModelOutput(BaseModel, extra="forbid"):
    model_id: str
    step: limits.Long = 0


class LogInputs(OfRun):
    datasets: list[DatasetInput] = []
    models: list[ModelInput] = []

    @field_serializer("datasets")
    def _named(self, datasets: list[DatasetInput]) -> list[str]:
        """The audit trail names the datasets; their schemas and profiles are in the run."""
        return [f"{each.dataset.name[:200]}@{each.dataset.digest[:36]}" for each in datasets]


class LogOutputs(OfRun):
    models: list[ModelOutput] = []


class LogModel(OfRun):
    model_json: str = Field(exclude=True)


@api("POST", "/log-inputs", audit="logInputs", on=in_run(), needs=CAN_EDIT, large=True)
def log_inputs(ctx: Ctx, experiment: Obj[Experiment], ask: LogInputs) -> Reply:
    active(ctx, ask.run_id)
    if len(ask.datasets) > limits.DATASETS_PER_CALL:
        raise Invalid(f"at most {limits.DATASETS_PER_CALL} datasets can be logged at once")
    for each in ask.datasets:
        _check(each)
        _link_dataset(ctx, ask.run_id, _dataset_id(ctx, experiment, each.dataset), each.tags)
    for model in ask.models:
        require_usable(ctx, experiment, model.model_id, CAN_READ)
        _link_model(ctx, ("RUN_INPUT", ask.run_id, "MODEL_INPUT", model.model_id), 0)
    return {}


@api("POST", "/outputs", audit="logOutputs", on=in_run(), needs=CAN_EDIT)
def log_outputs(ctx: Ctx, experiment: Obj[Experiment], ask: LogOutputs) -> Reply:
    active(ctx, ask.run_id)
    for model in ask.models:
        require_usable(ctx, experiment, model.model_id, CAN_READ)
        _link_model(ctx, ("RUN_OUTPUT", ask.run_id, "MODEL_OUTPUT", model.model_id), model.step)
    return {}


@api("POST", "/log-model", audit="logModel", on=in_run(), needs=CAN_EDIT)
def log_model(ctx: Ctx, experiment: Obj[Experiment], ask: LogModel) -> Reply:
    """Older clients record a model's description in a tag of its run."""
    active(ctx, ask.run_id)
    try:
        described: object = orjson.loads(ask.model_json)
    except orjson.JSONDecodeError as error:
        raise Invalid(f"Malformed model info. \n {error}") from error
    if not isinstance(described, dict) or "artifact_path" not in described or "flavors" not in described:
        raise Invalid("Model json is missing mandatory fields: artifact_path, flavors")
    known = ctx.tx.scalar("SELECT value FROM tags WHERE run_uuid = ? AND key = ?", ask.run_id, HISTORY)
    history: list[object] = [*(orjson.loads(known) if known else []), described]
    put_tags(ctx, ask.run_id, [(HISTORY, limits.at_most(orjson.dumps(history).decode(), limits.TAG_VALUE, HISTORY))])
    return {}


def _check(each: DatasetInput) -> None:
    dataset = each.dataset
    for what, value, limit in (
        ("name", dataset.name, 500), ("digest", dataset.digest, 36), ("source_type", dataset.source_type, 36),
        ("source", dataset.source, 65_535), ("schema", dataset.schema_ or "", 1_048_575),
        ("profile", dataset.profile or "", 16_777_215),
    ):  # fmt: skip
        limits.at_most(value, limit, what)
    for tag in each.tags:
        limits.at_most(tag.key, 255, "key")
        limits.at_most(tag.value, 500, "value")


def _dataset_id(ctx: Ctx, experiment: Obj[Experiment], dataset: Dataset) -> str:
    """A dataset is the same one when its name and digest are."""
    where = (int(experiment.id), dataset.name, dataset.digest)
    ctx.tx.run(
        "INSERT INTO datasets (dataset_uuid, experiment_id, name, digest, dataset_source_type, dataset_source,"
        " dataset_schema, dataset_profile) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        uuid4().hex, *where, dataset.source_type, dataset.source, dataset.schema_, dataset.profile,
    )  # fmt: skip
    return str(
        ctx.tx.scalar("SELECT dataset_uuid FROM datasets WHERE experiment_id = ? AND name = ? AND digest = ?", *where)
    )


def _link_dataset(ctx: Ctx, run_id: str, dataset_id: str, tags: list[InputTag]) -> None:
    link = uuid4().hex
    made = ctx.tx.run(
        "INSERT INTO inputs (input_uuid, source_type, source_id, destination_type, destination_id)"
        " VALUES (?, 'DATASET', ?, 'RUN', ?) ON CONFLICT DO NOTHING",
        link, dataset_id, run_id,
    )  # fmt: skip
    if made:
        ctx.tx.many(
            "INSERT INTO input_tags (input_uuid, name, value) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
            [(link, tag.key, tag.value) for tag in tags],
        )


def _link_model(ctx: Ctx, ends: tuple[str, str, str, str], step: int) -> None:
    ctx.tx.run(
        "INSERT INTO inputs (input_uuid, source_type, source_id, destination_type, destination_id, step)"
        " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        uuid4().hex, *ends, step,
    )  # fmt: skip
