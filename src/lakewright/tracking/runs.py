"""Runs: one attempt each, with what went in, what was measured and what came out.

These are rows of MLflow's own tables, not objects: a run has the permissions of its experiment. The writes are the ones
that training loops repeat, so each is a few statements in the shared transaction and nothing else.
"""

import secrets
from collections.abc import Iterable, Sequence
from typing import Literal
from uuid import uuid4

from pydantic import BaseModel, Field, field_serializer

from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import Invalid, NotFound
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import Api, Ask, Reply
from lakewright.kernel.store import Row
from lakewright.tracking import experiments, limits, metrics, reading
from lakewright.tracking.experiments import CAN_EDIT, CAN_READ, EXPERIMENT, Experiment
from lakewright.tracking.metrics import Metric
from lakewright.tracking.targets import OfRun, in_run

RUN_NAME = "mlflow.runName"
USER = "mlflow.user"
"""Who made the run, as MLflow's pages show it. The caller's say is not taken for it."""

Status = Literal["RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"]
api = Api("mlflowExperiment", "/api/2.0/mlflow/runs")


class Pair(BaseModel, extra="forbid"):
    """A param or a tag; the audit trail keeps its name only."""

    key: str
    value: str = Field(exclude=True)


class CreateRun(Ask):
    experiment_id: str
    user_id: str | None = None
    run_name: str | None = None
    start_time: limits.Long | None = None
    tags: list[Pair] = []


class UpdateRun(OfRun):
    status: Status | None = None
    end_time: limits.Long | None = None
    run_name: str | None = None


class LogMetric(OfRun):
    key: str
    value: float
    timestamp: limits.Time
    step: limits.Long = 0
    model_id: str | None = None
    dataset_name: str | None = None
    dataset_digest: str | None = None


class OfKey(OfRun):
    key: str
    value: str = Field(exclude=True)


class DeleteTag(OfRun):
    key: str


class LogBatch(OfRun):
    metrics: list[Metric] = []
    params: list[Pair] = []
    tags: list[Pair] = []

    @field_serializer("metrics", "params", "tags")
    def _counted(self, logged: list[BaseModel]) -> str:
        """The audit trail says how many: a thousand metrics are in the run itself."""
        return f"{len(logged)} logged"


@api("POST", "/create", audit="createRun", on=EXPERIMENT.by_id("{experiment_id}"), needs=CAN_EDIT)
def create(ctx: Ctx, experiment: Obj[Experiment], ask: CreateRun) -> Reply:
    experiments.require_active(experiments.row(ctx.tx, experiment.id))
    tags = {limits.key(tag.key, "key"): limits.cut(tag.value, limits.TAG_VALUE, "value") for tag in ask.tags}
    name = _name(ask.run_name, tags.get(RUN_NAME))
    tags |= {RUN_NAME: name, USER: ctx.principal.name}
    run_id = uuid4().hex
    ctx.tx.run(
        "INSERT INTO runs (run_uuid, name, source_type, source_name, entry_point_name, source_version, user_id, status,"
        " start_time, lifecycle_stage, artifact_uri, experiment_id)"
        " VALUES (?, ?, 'UNKNOWN', '', '', '', ?, 'RUNNING', ?, 'active', ?, ?)",
        run_id, name, ctx.principal.name, ctx.now() if ask.start_time is None else ask.start_time,
        f"{experiment.spec.artifact_location}/{run_id}/artifacts", int(experiment.id),
    )  # fmt: skip
    put_tags(ctx, run_id, tags.items())
    return {"run": reading.whole(ctx.tx, [reading.row(ctx.tx, run_id)])[0]}


@api("GET", "/get", audit="getRun", on=in_run(), needs=CAN_READ)
def get(ctx: Ctx, experiment: Obj[Experiment], ask: OfRun) -> Reply:
    return {"run": reading.whole(ctx.tx, [reading.row(ctx.tx, ask.run_id)])[0]}


@api("POST", "/update", audit="updateRun", on=in_run(), needs=CAN_EDIT)
def update(ctx: Ctx, experiment: Obj[Experiment], ask: UpdateRun) -> Reply:
    run = active(ctx, ask.run_id)
    name = limits.at_most(ask.run_name, 250, "run_name") if ask.run_name else run["name"]
    ctx.tx.run(
        "UPDATE runs SET status = ?, end_time = ?, name = ? WHERE run_uuid = ?",
        ask.status or run["status"], run["end_time"] if ask.end_time is None else ask.end_time, name, ask.run_id,
    )  # fmt: skip
    if ask.run_name:
        put_tags(ctx, ask.run_id, [(RUN_NAME, ask.run_name)])
    return {"run_info": reading.info(reading.row(ctx.tx, ask.run_id))}


@api("POST", "/delete", audit="deleteRun", on=in_run(), needs=CAN_EDIT)
def delete(ctx: Ctx, experiment: Obj[Experiment], ask: OfRun) -> Reply:
    """Hide it; nothing of it is lost until the experiment is purged."""
    ctx.tx.run(
        "UPDATE runs SET lifecycle_stage = 'deleted', deleted_time = ? WHERE run_uuid = ?", ctx.now(), ask.run_id
    )
    return {}


@api("POST", "/restore", audit="restoreRun", on=in_run(), needs=CAN_EDIT)
def restore(ctx: Ctx, experiment: Obj[Experiment], ask: OfRun) -> Reply:
    ctx.tx.run("UPDATE runs SET lifecycle_stage = 'active', deleted_time = NULL WHERE run_uuid = ?", ask.run_id)
    return {}


@api("POST", "/log-metric", audit="logMetric", on=in_run(), needs=CAN_EDIT)
def log_metric(ctx: Ctx, experiment: Obj[Experiment], ask: LogMetric) -> Reply:
    metric = Metric(
        key=ask.key, value=ask.value, timestamp=ask.timestamp, step=ask.step, model_id=ask.model_id,
        dataset_name=ask.dataset_name, dataset_digest=ask.dataset_digest,
    )  # fmt: skip
    _log(ctx, experiment, ask.run_id, [metric])
    return {}


@api("POST", "/log-parameter", audit="logParam", on=in_run(), needs=CAN_EDIT)
def log_parameter(ctx: Ctx, experiment: Obj[Experiment], ask: OfKey) -> Reply:
    """A param is written once: another value for it is refused."""
    active(ctx, ask.run_id)
    _put_params(ctx, ask.run_id, [ask])
    return {}


@api("POST", "/set-tag", audit="setTag", on=in_run(), needs=CAN_EDIT)
def set_tag(ctx: Ctx, experiment: Obj[Experiment], ask: OfKey) -> Reply:
    active(ctx, ask.run_id)
    _set_tags(ctx, ask.run_id, [ask])
    return {}


@api("POST", "/delete-tag", audit="deleteTag", on=in_run(), needs=CAN_EDIT)
def delete_tag(ctx: Ctx, experiment: Obj[Experiment], ask: DeleteTag) -> Reply:
    active(ctx, ask.run_id)
    _refuse_user_tag(ask.key)
    if not ctx.tx.run("DELETE FROM tags WHERE run_uuid = ? AND key = ?", ask.run_id, ask.key):
        raise NotFound(f"No tag with name: {ask.key} in run with id {ask.run_id}")
    return {}


@api("POST", "/log-batch", audit="logBatch", on=in_run(), needs=CAN_EDIT, large=True)
def log_batch(ctx: Ctx, experiment: Obj[Experiment], ask: LogBatch) -> Reply:
    """All of it or nothing."""
    limits.batch(ask.metrics, ask.params, ask.tags)
    limits.unique(param.key for param in ask.params)
    for metric in ask.metrics:
        if metric.run_id and metric.run_id != ask.run_id:
            raise Invalid("metrics of another run cannot be logged in this run's batch")
    active(ctx, ask.run_id)
    _put_params(ctx, ask.run_id, ask.params)
    _log(ctx, experiment, ask.run_id, ask.metrics, checked=True)
    _set_tags(ctx, ask.run_id, ask.tags)
    return {}


def _log(
    ctx: Ctx, experiment: Obj[Experiment], run_id: str, logged: Sequence[Metric], *, checked: bool = False
) -> None:
    metrics.check(logged)
    if not checked:
        active(ctx, run_id)
    metrics.put(ctx.tx, run_id, logged)
    metrics.put_on_models(ctx, run_id, experiment, logged)


def active(ctx: Ctx, run_id: str) -> Row:
    """The run, which must not be deleted."""
    run = reading.row(ctx.tx, run_id)
    if run["lifecycle_stage"] != "active":
        raise Invalid(f"The run {run_id} must be in the 'active' state. Current state is {run['lifecycle_stage']}.")
    return run


def _name(asked: str | None, tagged: str | None) -> str:
    if asked and tagged and asked != tagged:
        raise Invalid(
            "Both 'run_name' argument and 'mlflow.runName' tag are specified, but with different values"
            f" (run_name='{asked[:250]}', mlflow.runName='{tagged[:250]}')."
        )
    return limits.at_most(asked or tagged or random_name(), 250, "run_name")


def _put_params(ctx: Ctx, run_id: str, params: Sequence[Pair | OfKey]) -> None:
    sent = {
        limits.key(param.key, f"params[{index}].key" if len(params) > 1 else "key"):
        limits.cut(param.value, limits.PARAM_VALUE, "value")
        for index, param in enumerate(params)
    }  # fmt: skip
    if not sent:
        return
    marks = ", ".join("?" * len(sent))
    known = {
        str(row["key"]): str(row["value"])
        for row in ctx.tx.all(f"SELECT key, value FROM params WHERE run_uuid = ? AND key IN ({marks})", run_id, *sent)
    }
    changed = [
        {"key": key, "old_value": known[key], "new_value": value}
        for key, value in sent.items()
        if known.get(key, value) != value
    ]
    if changed:
        raise Invalid(
            f"Changing param values is not allowed. Params were already logged='{changed}' for run ID='{run_id}'."
            if len(params) > 1
            else f"Changing param values is not allowed. Param with key='{changed[0]['key']}' was already logged with"
            f" value='{changed[0]['old_value']}' for run ID='{run_id}'. Attempted logging new value"
            f" '{changed[0]['new_value']}'."
        )
    ctx.tx.many(
        "INSERT INTO params (run_uuid, key, value) VALUES (?, ?, ?)",
        [(run_id, key, value) for key, value in sent.items() if key not in known],
    )


def _set_tags(ctx: Ctx, run_id: str, tags: Sequence[Pair | OfKey]) -> None:
    for index, tag in enumerate(tags):
        limits.key(tag.key, f"tags[{index}].key" if len(tags) > 1 else "key")
        _refuse_user_tag(tag.key)
        if tag.key == RUN_NAME:
            ctx.tx.run("UPDATE runs SET name = ? WHERE run_uuid = ?", limits.at_most(tag.value, 250, "value"), run_id)
    last = {tag.key: limits.cut(tag.value, limits.TAG_VALUE, "value") for tag in tags}
    put_tags(ctx, run_id, last.items())


def _refuse_user_tag(key: str) -> None:
    if key == USER:
        raise Invalid(f"'{USER}' says who made the run; it cannot be changed")


def put_tags(ctx: Ctx, run_id: str, tags: Iterable[tuple[str, str]]) -> None:
    ctx.tx.many(
        "INSERT INTO tags (run_uuid, key, value) VALUES (?, ?, ?)"
        " ON CONFLICT (key, run_uuid) DO UPDATE SET value = excluded.value",
        [(run_id, key, value) for key, value in tags],
    )


_HOW = (
    "able",
    "bold",
    "calm",
    "deft",
    "eager",
    "fair",
    "glad",
    "keen",
    "lucid",
    "merry",
    "nimble",
    "quick",
    "sure",
    "warm",
)
_WHAT = (
    "auk",
    "crane",
    "dunlin",
    "finch",
    "heron",
    "ibis",
    "kite",
    "lark",
    "ouzel",
    "plover",
    "rook",
    "swift",
    "tern",
    "wren",
)


def random_name() -> str:
    return f"{secrets.choice(_HOW)}-{secrets.choice(_WHAT)}-{secrets.randbelow(1000)}"
