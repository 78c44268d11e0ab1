"""Logged models: models as a run made them, before anybody registers one.

Rows of MLflow's own tables, with the permissions of their experiment. A model is pending until its files are uploaded,
then ready or failed. Deleting hides it, which takes the right to manage: others' runs may point to it.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Literal
from uuid import uuid4

from pydantic import BaseModel, Field, field_serializer

from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import Invalid, NotFound
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import SNAPSHOT, Api, Ask, Reply
from lakewright.kernel.roots import IN_WORKSPACE, Root
from lakewright.kernel.rules import PER_ROW
from lakewright.kernel.store import Row, Tx
from lakewright.tracking import experiments, filters, limits, reading
from lakewright.tracking.experiments import CAN_EDIT, CAN_MANAGE, CAN_READ, EXPERIMENT, Experiment
from lakewright.tracking.filters import LISTS, NUMBERS, TEXTS, Comparison
from lakewright.tracking.runs import Pair, random_name
from lakewright.tracking.searching import Page, Sql, allow, among, compared, readable
from lakewright.tracking.targets import OfModel, experiment_of_run, in_model

PENDING, READY, FAILED = 1, 2, 3
STATUS = {PENDING: "LOGGED_MODEL_PENDING", READY: "LOGGED_MODEL_READY", FAILED: "LOGGED_MODEL_UPLOAD_FAILED"}
Final = Literal["LOGGED_MODEL_READY", "LOGGED_MODEL_UPLOAD_FAILED"]

PAGE = 100
NUMBER_COLUMNS = {
    "creation_time": "m.creation_timestamp_ms",
    "creation_timestamp": "m.creation_timestamp_ms",
    "creation_timestamp_ms": "m.creation_timestamp_ms",
    "last_updated_timestamp": "m.last_updated_timestamp_ms",
    "last_updated_timestamp_ms": "m.last_updated_timestamp_ms",
}
TEXT_COLUMNS = {
    name: f"m.{name}"
    for name in ("model_id", "name", "model_type", "source_run_id", "artifact_location", "status_message")
}

api = Api("mlflowExperiment", "/api/2.0/mlflow/logged-models")


class CreateModel(Ask):
    experiment_id: str
    name: str | None = None
    model_type: str | None = None
    source_run_id: str | None = None
    params: list[Pair] = []
    tags: list[Pair] = []


class GetModel(OfModel):
    allow_deleted: bool = False


class Finalize(OfModel):
    status: Final


class LogParams(OfModel):
    params: list[Pair] = []

    @field_serializer("params")
    def _counted(self, params: list[Pair]) -> str:
        return f"{len(params)} logged"


class SetTags(OfModel):
    tags: list[Pair] = []


class DeleteTag(OfModel):
    tag_key: str


class OnDataset(BaseModel, extra="forbid"):
    dataset_name: str
    dataset_digest: str | None = None


class OrderBy(BaseModel, extra="forbid"):
    field_name: str
    ascending: bool = True
    dataset_name: str | None = None
    dataset_digest: str | None = None


class SearchModels(Ask):
    experiment_ids: list[str] = []
    filter: str | None = None
    datasets: list[OnDataset] = []
    max_results: int | None = Field(None, le=limits.PAGE)
    order_by: list[OrderBy] = []
    page_token: str | None = None


@api("POST", audit="createLoggedModel", on=EXPERIMENT.by_id("{experiment_id}"), needs=CAN_EDIT)
def create(ctx: Ctx, experiment: Obj[Experiment], ask: CreateModel) -> Reply:
    experiments.require_active(experiments.row(ctx.tx, experiment.id))
    if ask.source_run_id:
        _require_source(ctx, experiment, ask.source_run_id)
    model_id = f"m-{uuid4().hex}"
    ctx.tx.run(
        "INSERT INTO logged_models (model_id, experiment_id, name, artifact_location, creation_timestamp_ms,"
        " last_updated_timestamp_ms, status, lifecycle_stage, model_type, source_run_id)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, 'active', ?, ?)",
        model_id, int(experiment.id), limits.logged_model_name(random_name() if ask.name is None else ask.name),
        f"{experiment.spec.artifact_location}/logged_models/{model_id}", ctx.now(), ctx.now(), PENDING,
        limits.at_most(ask.model_type or "", 500, "model_type"), ask.source_run_id,
    )  # fmt: skip
    _put_params(ctx.tx, model_id, int(experiment.id), ask.params)
    _put_tags(ctx.tx, model_id, int(experiment.id), ask.tags)
    return {"model": whole(ctx.tx, [row(ctx.tx, model_id)])[0]}


@api("GET", "/{model_id}", audit="getLoggedModel", on=in_model(), needs=CAN_READ)
def get(ctx: Ctx, experiment: Obj[Experiment], ask: GetModel) -> Reply:
    return {"model": whole(ctx.tx, [row(ctx.tx, ask.model_id, deleted=ask.allow_deleted)])[0]}


@api("PATCH", "/{model_id}", audit="finalizeLoggedModel", on=in_model(), needs=CAN_EDIT)
def finalize(ctx: Ctx, experiment: Obj[Experiment], ask: Finalize) -> Reply:
    """Its files are complete, or will never be."""
    row(ctx.tx, ask.model_id)
    status = READY if ask.status == STATUS[READY] else FAILED
    _touch(ctx, ask.model_id, "status = ?", status)
    return {"model": whole(ctx.tx, [row(ctx.tx, ask.model_id)])[0]}


@api("DELETE", "/{model_id}", audit="deleteLoggedModel", on=in_model(), needs=CAN_MANAGE)
def delete(ctx: Ctx, experiment: Obj[Experiment], ask: OfModel) -> Reply:
    row(ctx.tx, ask.model_id)
    _touch(ctx, ask.model_id, "lifecycle_stage = ?", "deleted")
    return {}


@api("POST", "/{model_id}/params", audit="logLoggedModelParams", on=in_model(), needs=CAN_EDIT)
def log_params(ctx: Ctx, experiment: Obj[Experiment], ask: LogParams) -> Reply:
    row(ctx.tx, ask.model_id)
    _put_params(ctx.tx, ask.model_id, int(experiment.id), ask.params)
    return {}


@api("PATCH", "/{model_id}/tags", audit="setLoggedModelTags", on=in_model(), needs=CAN_EDIT)
def set_tags(ctx: Ctx, experiment: Obj[Experiment], ask: SetTags) -> Reply:
    row(ctx.tx, ask.model_id)
    _put_tags(ctx.tx, ask.model_id, int(experiment.id), ask.tags)
    return {}


@api("DELETE", "/{model_id}/tags/{tag_key}", audit="deleteLoggedModelTag", on=in_model(), needs=CAN_EDIT)
def delete_tag(ctx: Ctx, experiment: Obj[Experiment], ask: DeleteTag) -> Reply:
    row(ctx.tx, ask.model_id)
    if not ctx.tx.run("DELETE FROM logged_model_tags WHERE model_id = ? AND tag_key = ?", ask.model_id, ask.tag_key):
        raise NotFound(f"No tag with key '{ask.tag_key}' found for model with ID '{ask.model_id}'.")
    return {}


@api("POST", "/search", audit="searchLoggedModels", on=IN_WORKSPACE, needs=PER_ROW, runs=SNAPSHOT)
def search(ctx: Ctx, workspace: Obj[Root], ask: SearchModels) -> Reply:
    """Of the experiments named, those that the caller may not read hold no models for them."""
    size = limits.page_size(ask.max_results or PAGE, PAGE)
    where = [condition(each, ask.datasets, sole=ctx.platform.sole) for each in filters.parse(ask.filter)]
    if ask.datasets and not any(each.name.entity == "metric" for each in filters.parse(ask.filter)):
        where.append(_measured([], ask.datasets))
    joins, order = ordered(ask.order_by)
    ids = readable(ctx, ask.experiment_ids)
    if not ids:
        return {}
    page = Page(ctx, "models", ask, size)
    where += [among("m.experiment_id", ids), Sql("m.lifecycle_stage != 'deleted'")]
    found = ctx.tx.all(
        f"SELECT m.* FROM logged_models m {joins.text} WHERE {' AND '.join(each.text for each in where)}"
        f" ORDER BY {order} LIMIT ? OFFSET ?",
        *joins.params, *(param for each in where for param in each.params), size + 1, page.offset,
    )  # fmt: skip
    return page.reply("models", whole(ctx.tx, found[:size]), more=len(found) > size)


def row(tx: Tx, model_id: str, *, deleted: bool = False) -> Row:
    found = tx.one("SELECT * FROM logged_models WHERE model_id = ?", model_id)
    if found is None or (found["lifecycle_stage"] == "deleted" and not deleted):
        raise NotFound(f"Logged model with ID '{model_id}' not found.")
    return found


def condition(each: Comparison, datasets: Sequence[OnDataset], *, sole: bool) -> Sql:
    """What a comparison means for a model. Names of columns come from the tables above, never from the filter."""
    key = each.name.key
    match each.name.entity:
        case "metric":
            allow(each, NUMBERS)
            assert isinstance(each.value, (int, float))
            test = Sql(f"x.metric_name = ? AND x.metric_value {each.operator} ?", [key, float(each.value)])
            return _measured([test], datasets)
        case "param" | "tag":
            allow(each, TEXTS | LISTS)
            what = each.name.entity
            test = compared(f"x.{what}_value", each, sole=sole)
            return Sql(
                f"EXISTS (SELECT 1 FROM logged_model_{what}s x WHERE x.model_id = m.model_id AND x.{what}_key = ?"
                f" AND {test.text})",
                [key, *test.params],
            )
        case "attribute" if key in NUMBER_COLUMNS:
            allow(each, NUMBERS)
            return Sql(f"{NUMBER_COLUMNS[key]} {each.operator} ?", [each.value])
        case "attribute" if key in TEXT_COLUMNS:
            allow(each, TEXTS | LISTS)
            return compared(TEXT_COLUMNS[key], each, sole=sole)
        case _:
            raise Invalid(f"Invalid attribute '{key[:100]}'. Valid ones are {sorted([*TEXT_COLUMNS, *NUMBER_COLUMNS])}")


def ordered(orders: Sequence[OrderBy]) -> tuple[Sql, str]:
    """What is ordered by, brought in, and the order; a model that lacks it comes last."""
    joins, terms = Sql(""), list[str]()
    for index, order in enumerate(orders):
        way = "ASC" if order.ascending else "DESC"
        if "." not in order.field_name:
            column = {**TEXT_COLUMNS, **NUMBER_COLUMNS}.get(order.field_name)
            if column is None:
                raise Invalid(f"Invalid order by field name: {order.field_name[:100]}")
        else:
            name = filters.named(order.field_name)
            if name.entity != "metric":
                raise Invalid(f"Invalid order by field name: {order.field_name[:100]}. Only metrics are supported.")
            column = f"s{index}.metric_value"
            join = _latest(name.key, order, f"s{index}")
            joins = Sql(joins.text + join.text, [*joins.params, *join.params])
        terms += [f"CASE WHEN {column} IS NULL THEN 1 ELSE 0 END", f"{column} {way}"]
    if not any("creation_timestamp_ms" in term for term in terms):
        terms.append("m.creation_timestamp_ms DESC")
    return joins, ", ".join([*terms, "m.model_id ASC"])


def _latest(key: str, order: OrderBy, alias: str) -> Sql:
    """Each model's newest value of one metric, on one dataset when the order says which."""
    where, params = "metric_name = ?", list[Any]([key])
    if order.dataset_name:
        where, params = f"{where} AND dataset_name = ?", [*params, order.dataset_name]
    if order.dataset_digest:
        where, params = f"{where} AND dataset_digest = ?", [*params, order.dataset_digest]
    ranked = (
        "SELECT model_id, metric_value, ROW_NUMBER() OVER (PARTITION BY model_id ORDER BY metric_timestamp_ms DESC,"
        f" metric_step DESC, run_id ASC) AS place FROM logged_model_metrics WHERE {where}"
    )
    return Sql(f" LEFT JOIN ({ranked}) {alias} ON {alias}.model_id = m.model_id AND {alias}.place = 1", params)


def _measured(tests: list[Sql], datasets: Sequence[OnDataset]) -> Sql:
    """The model has a metric that passes the tests, on one of the datasets when there are any."""
    parts = [Sql("x.model_id = m.model_id"), *tests]
    if datasets:
        each = [
            Sql("x.dataset_name = ? AND x.dataset_digest = ?", [d.dataset_name, d.dataset_digest])
            if d.dataset_digest
            else Sql("x.dataset_name = ?", [d.dataset_name])
            for d in datasets
        ]
        parts.append(Sql(f"({' OR '.join(f'({d.text})' for d in each)})", [p for d in each for p in d.params]))
    text = " AND ".join(part.text for part in parts)
    return Sql(
        f"EXISTS (SELECT 1 FROM logged_model_metrics x WHERE {text})", [p for part in parts for p in part.params]
    )


def whole(tx: Tx, models: Sequence[Row]) -> list[dict[str, Any]]:
    """The models with all that is logged to them, in their order."""
    tags, params, metrics = _lists(), _lists(), _lists()
    for ids, marks in reading.parts([str(model["model_id"]) for model in models]):
        for each in tx.all(f"SELECT * FROM logged_model_tags WHERE model_id IN ({marks}) ORDER BY tag_key", *ids):
            tags[each["model_id"]].append({"key": each["tag_key"], "value": each["tag_value"]})
        for each in tx.all(f"SELECT * FROM logged_model_params WHERE model_id IN ({marks}) ORDER BY param_key", *ids):
            params[each["model_id"]].append({"key": each["param_key"], "value": each["param_value"]})
        for each in tx.all(
            f"SELECT * FROM logged_model_metrics WHERE model_id IN ({marks})"
            " ORDER BY metric_name, metric_timestamp_ms, metric_step",
            *ids,
        ):
            metrics[each["model_id"]].append(_metric(each))
    return [
        {
            "info": _info(model, tags[model["model_id"]]),
            "data": {"params": params[model["model_id"]], "metrics": metrics[model["model_id"]]},
        }
        for model in models
    ]


def _info(model: Row, tags: list[dict[str, Any]]) -> dict[str, Any]:
    shown = {
        "model_id": model["model_id"],
        "experiment_id": str(model["experiment_id"]),
        "name": model["name"],
        "creation_timestamp_ms": model["creation_timestamp_ms"],
        "last_updated_timestamp_ms": model["last_updated_timestamp_ms"],
        "artifact_uri": model["artifact_location"],
        "status": STATUS[int(model["status"])],
        "model_type": model["model_type"] or None,
        "source_run_id": model["source_run_id"],
        "status_message": model["status_message"],
        "tags": tags,
    }
    return {name: value for name, value in shown.items() if value is not None}


def _metric(each: Row) -> dict[str, Any]:
    shown = {
        "key": each["metric_name"], "value": each["metric_value"], "timestamp": each["metric_timestamp_ms"],
        "step": each["metric_step"], "dataset_name": each["dataset_name"], "dataset_digest": each["dataset_digest"],
        "model_id": each["model_id"], "run_id": each["run_id"],
    }  # fmt: skip
    return {name: value for name, value in shown.items() if value is not None}


def _require_source(ctx: Ctx, experiment: Obj[Experiment], run_id: str) -> None:
    """The run is in this experiment or in one that the caller may read: an id alone is no claim on another's run."""
    refusal = Invalid(f"source_run_id: run '{run_id}' is not one that this model can come from")
    try:
        owner = experiment_of_run(ctx, run_id)
    except NotFound:
        raise refusal from None
    if owner.id != experiment.id and not CAN_READ.judge(ctx, owner.id):
        raise refusal


def _put_params(tx: Tx, model_id: str, experiment_id: int, params: Sequence[Pair]) -> None:
    """A param is written once: the same again is fine, another value is refused."""
    if len(params) > limits.PARAMS_PER_BATCH:
        raise Invalid(f"at most {limits.PARAMS_PER_BATCH} params can be logged at once")
    limits.unique(param.key for param in params)
    sent = {limits.key(param.key, "key"): limits.cut(param.value, limits.PARAM_VALUE, "value") for param in params}
    known = {
        str(each["param_key"]): str(each["param_value"])
        for each in tx.all("SELECT param_key, param_value FROM logged_model_params WHERE model_id = ?", model_id)
    }
    if changed := [key for key, value in sent.items() if known.get(key, value) != value]:
        raise Invalid(f"Changing param values is not allowed. Params were already logged: {changed[:10]}")
    tx.many(
        "INSERT INTO logged_model_params (model_id, experiment_id, param_key, param_value) VALUES (?, ?, ?, ?)",
        [(model_id, experiment_id, key, value) for key, value in sent.items() if key not in known],
    )


def _put_tags(tx: Tx, model_id: str, experiment_id: int, tags: Sequence[Pair]) -> None:
    if len(tags) > limits.TAGS_PER_BATCH:
        raise Invalid(f"at most {limits.TAGS_PER_BATCH} tags can be set at once")
    last = {limits.key(tag.key, "key"): limits.at_most(tag.value, limits.TAG_VALUE, "value") for tag in tags}
    tx.many(
        "INSERT INTO logged_model_tags (model_id, experiment_id, tag_key, tag_value) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (model_id, tag_key) DO UPDATE SET tag_value = excluded.tag_value",
        [(model_id, experiment_id, key, value) for key, value in last.items()],
    )


def _touch(ctx: Ctx, model_id: str, assignment: str, value: Any) -> None:
    ctx.tx.run(
        f"UPDATE logged_models SET {assignment}, last_updated_timestamp_ms = ? WHERE model_id = ?",
        value,
        ctx.now(),
        model_id,
    )


def _lists() -> defaultdict[str, list[dict[str, Any]]]:
    return defaultdict(list)
