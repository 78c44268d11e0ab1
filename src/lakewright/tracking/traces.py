"""Traces: what a model or an agent did for one request, step by step.

Who asked, when, how long and how it ended are rows of MLflow's own tables, with the permissions of their experiment;
the steps themselves are a file beside the runs'. Assessments, evaluation and scoring of traces are not built yet.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import Invalid, NotFound, NotSupported
from lakewright.kernel.kinds import Target
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import SNAPSHOT, Api, Ask, Reply
from lakewright.kernel.roots import IN_WORKSPACE, Root
from lakewright.kernel.rules import PER_ROW
from lakewright.kernel.store import Row, Tx
from lakewright.tracking import experiments, filters, limits, reading
from lakewright.tracking.experiments import CAN_EDIT, CAN_MANAGE, CAN_READ, EXPERIMENT, Experiment
from lakewright.tracking.filters import LISTS, NUMBERS, TEXTS, Comparison, Order
from lakewright.tracking.runs import USER
from lakewright.tracking.searching import Page, Sql, allow, among, compared, readable
from lakewright.tracking.targets import experiment_of_trace

LOCATION, NAME, SESSION, SOURCE_RUN = (
    "mlflow.artifactLocation",
    "mlflow.traceName",
    "mlflow.trace.session",
    "mlflow.sourceRun",
)
PREVIEW = 1000
PAGE = 100
MOST_DELETED = 100
TRACE_ID = re.compile(r"tr-[0-9a-f]{32}")
DURATION = re.compile(r"(\d+)(?:\.(\d{1,9}))?s")
NUMBER_COLUMNS = {
    "timestamp": "t.timestamp_ms", "timestamp_ms": "t.timestamp_ms", "request_time": "t.timestamp_ms",
    "execution_time": "t.execution_time_ms", "execution_time_ms": "t.execution_time_ms",
    "execution_duration": "t.execution_time_ms",
}  # fmt: skip
TEXT_COLUMNS = {
    "status": "t.status", "state": "t.status", "name": "t.trace_name", "request_id": "t.request_id",
    "trace_id": "t.request_id", "client_request_id": "t.client_request_id",
}  # fmt: skip

api = Api("mlflowExperiment", "/api/3.0/mlflow/traces")
old_api = Api("mlflowExperiment", "/api/2.0/mlflow/traces")


class InExperiment(BaseModel, extra="forbid"):
    experiment_id: str


class Location(BaseModel, extra="forbid"):
    type: Literal["MLFLOW_EXPERIMENT"] = "MLFLOW_EXPERIMENT"
    mlflow_experiment: InExperiment


class TraceInfo(BaseModel, extra="forbid"):
    """The client's account of a trace. Protobuf's JSON writes times and durations as texts."""

    trace_id: str
    client_request_id: str | None = Field(None, max_length=50)
    trace_location: Location
    request: str | None = None
    response: str | None = None
    request_preview: str | None = None
    response_preview: str | None = None
    request_time: int
    execution_duration: int | None = None
    state: Literal["STATE_UNSPECIFIED", "OK", "ERROR", "IN_PROGRESS"] = "STATE_UNSPECIFIED"
    trace_metadata: dict[str, str] = {}
    tags: dict[str, str] = {}
    assessments: list[dict[str, Any]] = []

    @field_validator("trace_id")
    @classmethod
    def _plain(cls, value: str) -> str:
        if TRACE_ID.fullmatch(value) is None:
            raise ValueError("must be tr- and 32 hexadecimal digits")
        return value

    @field_validator("request_time", mode="before")
    @classmethod
    def _time(cls, value: str) -> int:
        return int(datetime.fromisoformat(value).timestamp() * 1000)

    @field_validator("execution_duration", mode="before")
    @classmethod
    def _duration(cls, value: str) -> int:
        found = DURATION.fullmatch(value)
        if found is None:
            raise ValueError("must be seconds, as in 1.5s")
        return int(found[1]) * 1000 + int((found[2] or "0").ljust(9, "0")) // 1_000_000


class StartTrace(Ask):
    experiment_id: str
    trace: dict[str, Any] = Field({}, exclude=True)

    @model_validator(mode="before")
    @classmethod
    def _lifted(cls, fields: Any) -> Any:
        """The experiment is deep in the body; it is what the request is decided on, so it is taken out first."""
        try:
            named = fields["trace"]["trace_info"]["trace_location"]["mlflow_experiment"]["experiment_id"]
        except (KeyError, TypeError):
            return fields
        if fields.get("experiment_id", named) != named:
            raise Invalid("experiment_id is given twice with different values")
        return {**fields, "experiment_id": named}


class OfTrace(Ask):
    trace_id: str


class SetTag(OfTrace):
    key: str
    value: str = Field(exclude=True)
    request_id: str | None = None


class DeleteTag(OfTrace):
    key: str
    request_id: str | None = None


class SearchTraces(Ask):
    locations: list[Location] = []
    filter: str | None = None
    max_results: int | None = None
    order_by: list[str] = []
    page_token: str | None = None


class DeleteTraces(Ask):
    experiment_id: str
    max_timestamp_millis: int | None = None
    max_traces: int | None = Field(default=None, ge=1)
    request_ids: list[str] = []


def in_trace() -> Target[Experiment]:
    return Target("{trace_id}", EXPERIMENT, is_id=True, finds=experiment_of_trace)


@api("POST", audit="startTrace", on=EXPERIMENT.by_id("{experiment_id}"), needs=CAN_EDIT, large=True)
def start(ctx: Ctx, experiment: Obj[Experiment], ask: StartTrace) -> Reply:
    """Keep a trace's account; sent again, the newer one counts."""
    experiments.require_active(experiments.row(ctx.tx, experiment.id))
    given = _read(ask.trace)
    if given.assessments:
        raise NotSupported("startTrace does not support the field 'assessments' yet", field="assessments")
    known = ctx.tx.scalar("SELECT experiment_id FROM trace_info WHERE request_id = ?", given.trace_id)
    if known is not None and str(known) != experiment.id:
        raise Invalid(f"trace_id '{given.trace_id}' is taken")
    _put(ctx, experiment, given)
    location = f"{experiment.spec.artifact_location}/traces/{given.trace_id}/artifacts"
    tags = {key: value for key, value in given.tags.items() if key != NAME} | {LOCATION: location}
    _put_pairs(ctx.tx, "trace_tags", given.trace_id, tags)
    metadata = given.trace_metadata | ({USER: ctx.principal.name} if USER in given.trace_metadata else {})
    _put_pairs(ctx.tx, "trace_request_metadata", given.trace_id, metadata)
    return {"trace": {"trace_info": _shown(ctx.tx, [_row(ctx.tx, given.trace_id)])[0]}}


@api("GET", "/{trace_id}", audit="getTraceInfo", on=in_trace(), needs=CAN_READ)
def get(ctx: Ctx, experiment: Obj[Experiment], ask: OfTrace) -> Reply:
    return {"trace": {"trace_info": _shown(ctx.tx, [_row(ctx.tx, ask.trace_id)])[0]}}


@old_api("PATCH", "/{trace_id}/tags", audit="setTraceTag", on=in_trace(), needs=CAN_EDIT)
def set_tag(ctx: Ctx, experiment: Obj[Experiment], ask: SetTag) -> Reply:
    _require_settable(ask.key)
    if ask.key == NAME:
        name = limits.at_most(ask.value, limits.KEY, "value")
        ctx.tx.run("UPDATE trace_info SET trace_name = ? WHERE request_id = ?", name, ask.trace_id)
    else:
        _put_pairs(ctx.tx, "trace_tags", ask.trace_id, {ask.key: ask.value})
    return {}


@old_api("DELETE", "/{trace_id}/tags", audit="deleteTraceTag", on=in_trace(), needs=CAN_EDIT)
def delete_tag(ctx: Ctx, experiment: Obj[Experiment], ask: DeleteTag) -> Reply:
    _require_settable(ask.key)
    if not ctx.tx.run("DELETE FROM trace_tags WHERE request_id = ? AND key = ?", ask.trace_id, ask.key):
        raise NotFound(f"No trace tag with key '{ask.key}' for trace with ID '{ask.trace_id}'")
    return {}


@old_api("POST", "/delete-traces", audit="deleteTraces", on=EXPERIMENT.by_id("{experiment_id}"), needs=CAN_MANAGE)
def delete(ctx: Ctx, experiment: Obj[Experiment], ask: DeleteTraces) -> Reply:
    """By id, or those older than a moment; ids of other experiments are left alone."""
    where = [Sql("experiment_id = ?", [int(experiment.id)])]
    if bool(ask.request_ids) == (ask.max_timestamp_millis is not None):
        raise Invalid("Either `max_timestamp_millis` or `request_ids` must be specified, but not both.")
    if len(ask.request_ids) > MOST_DELETED:
        raise Invalid(f"at most {MOST_DELETED} traces can be deleted at once")
    if ask.request_ids:
        where.append(among("request_id", ask.request_ids))
    else:
        where.append(Sql("timestamp_ms <= ?", [ask.max_timestamp_millis]))
    found = ctx.tx.all(
        f"SELECT request_id FROM trace_info WHERE {' AND '.join(each.text for each in where)} ORDER BY timestamp_ms LIMIT ?",
        *(param for each in where for param in each.params), min(ask.max_traces or MOST_DELETED, MOST_DELETED),
    )  # fmt: skip
    ids = [str(row["request_id"]) for row in found]
    for table in ("trace_tags", "trace_request_metadata", "trace_info"):
        if ids:
            part = among("request_id", ids)
            ctx.tx.run(f"DELETE FROM {table} WHERE {part.text}", *part.params)
    return {"traces_deleted": len(ids)}


@api("POST", "/search", audit="searchTraces", on=IN_WORKSPACE, needs=PER_ROW, runs=SNAPSHOT)
def search(ctx: Ctx, workspace: Obj[Root], ask: SearchTraces) -> Reply:
    """Of the experiments named, those that the caller may not read hold no traces for them."""
    size = limits.page_size(ask.max_results or PAGE, PAGE)
    where = [_condition(each, sole=ctx.platform.sole) for each in filters.parse(ask.filter)]
    order = _order([filters.parse_order(text) for text in ask.order_by])
    ids = readable(ctx, [each.mlflow_experiment.experiment_id for each in ask.locations])
    if not ids:
        return {}
    page = Page(ctx, "traces", ask, size)
    where.append(among("t.experiment_id", ids))
    found = ctx.tx.all(
        f"SELECT t.* FROM trace_info t WHERE {' AND '.join(each.text for each in where)} ORDER BY {order} LIMIT ? OFFSET ?",
        *(param for each in where for param in each.params), size + 1, page.offset,
    )  # fmt: skip
    return page.reply("traces", _shown(ctx.tx, found[:size]), more=len(found) > size)


def _read(trace: dict[str, Any]) -> TraceInfo:
    try:
        given = TraceInfo.model_validate(trace.get("trace_info", {}))
    except (ValidationError, OverflowError, TypeError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else {"loc": (), "msg": str(error)}
        raise Invalid(f"startTrace: 'trace.trace_info.{'.'.join(map(str, first['loc']))}': {first['msg']}") from error
    return given


def _put(ctx: Ctx, experiment: Obj[Experiment], given: TraceInfo) -> None:
    previews = [
        text and limits.cut(text, PREVIEW, "preview") for text in (given.request_preview, given.response_preview)
    ]
    ctx.tx.run(
        "INSERT INTO trace_info (request_id, experiment_id, timestamp_ms, execution_time_ms, status, client_request_id,"
        " request_preview, response_preview, trace_name, session_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (request_id) DO UPDATE SET timestamp_ms = excluded.timestamp_ms,"
        " execution_time_ms = excluded.execution_time_ms, status = excluded.status,"
        " request_preview = excluded.request_preview, response_preview = excluded.response_preview,"
        " trace_name = excluded.trace_name, session_id = excluded.session_id",
        given.trace_id, int(experiment.id), given.request_time, given.execution_duration, given.state,
        given.client_request_id, *previews, _short(given.tags.get(NAME)), _short(given.trace_metadata.get(SESSION)),
    )  # fmt: skip


def _short(text: str | None) -> str | None:
    return None if text is None else limits.at_most(text, limits.KEY, "value")


def _put_pairs(
    tx: Tx, table: Literal["trace_tags", "trace_request_metadata"], trace_id: str, pairs: dict[str, str]
) -> None:
    tx.many(
        f"INSERT INTO {table} (request_id, key, value) VALUES (?, ?, ?)"
        " ON CONFLICT (key, request_id) DO UPDATE SET value = excluded.value",
        [
            (trace_id, limits.at_most(key, limits.KEY, "key"), limits.cut(value, limits.TAG_VALUE, "value"))
            for key, value in pairs.items()
        ],
    )


def _require_settable(key: str) -> None:
    limits.key(key, "key")
    if key == LOCATION:
        raise Invalid(f"'{LOCATION}' says where the trace's files are; it cannot be changed")


def _row(tx: Tx, trace_id: str) -> Row:
    found = tx.one("SELECT * FROM trace_info WHERE request_id = ?", trace_id)
    if found is None:
        raise NotFound(f"Trace with ID '{trace_id}' not found.")
    return found


def _shown(tx: Tx, rows: Sequence[Row]) -> list[dict[str, Any]]:
    tags, metadata = defaultdict[str, dict[str, str]](dict), defaultdict[str, dict[str, str]](dict)
    for ids, marks in reading.parts([str(row["request_id"]) for row in rows]):
        for table, into in (("trace_tags", tags), ("trace_request_metadata", metadata)):
            for each in tx.all(
                f"SELECT request_id, key, value FROM {table} WHERE request_id IN ({marks}) ORDER BY key", *ids
            ):
                into[each["request_id"]][each["key"]] = each["value"] or ""
    return [_info(row, tags[row["request_id"]], metadata[row["request_id"]]) for row in rows]


def _info(row: Row, tags: dict[str, str], metadata: dict[str, str]) -> dict[str, Any]:
    milliseconds = row["execution_time_ms"]
    shown = {
        "trace_id": row["request_id"],
        "client_request_id": row["client_request_id"],
        "trace_location": {
            "type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": str(row["experiment_id"])},
        },
        "request_preview": row["request_preview"],
        "response_preview": row["response_preview"],
        "request_time": datetime.fromtimestamp(row["timestamp_ms"] / 1000, UTC).isoformat().replace("+00:00", "Z"),
        "execution_duration": None if milliseconds is None else f"{milliseconds // 1000}.{milliseconds % 1000:03}s",
        "state": row["status"],
        "trace_metadata": metadata,
        "tags": tags | ({NAME: row["trace_name"]} if row["trace_name"] else {}),
    }  # fmt: skip
    return {name: value for name, value in shown.items() if value is not None}


def _condition(each: Comparison, *, sole: bool) -> Sql:
    key = each.name.key
    match each.name.entity:
        case "tag" if key == NAME:
            allow(each, TEXTS)
            return compared("t.trace_name", each, sole=sole)
        case "tag" | "metadata":
            return _paired(
                "trace_tags" if each.name.entity == "tag" else "trace_request_metadata", key, each, sole=sole
            )
        case "attribute" if key == "run_id":
            return _paired("trace_request_metadata", SOURCE_RUN, each, sole=sole)
        case "attribute" if key in NUMBER_COLUMNS:
            allow(each, NUMBERS)
            return Sql(f"{NUMBER_COLUMNS[key]} {each.operator} ?", [each.value])
        case "attribute" if key in TEXT_COLUMNS:
            allow(each, TEXTS | LISTS)
            return compared(TEXT_COLUMNS[key], each, sole=sole)
        case _:
            raise Invalid(
                f"searchTraces cannot filter by '{key[:100]}'; it can by {sorted({*TEXT_COLUMNS, *NUMBER_COLUMNS})}"
            )


def _paired(table: str, key: str, each: Comparison, *, sole: bool) -> Sql:
    allow(each, TEXTS)
    test = compared("k.value", each, sole=sole)
    return Sql(
        f"EXISTS (SELECT 1 FROM {table} k WHERE k.request_id = t.request_id AND k.key = ? AND {test.text})",
        [key, *test.params],
    )


def _order(orders: list[Order]) -> str:
    columns = {**TEXT_COLUMNS, **NUMBER_COLUMNS}
    terms: list[str] = []
    for order in orders:
        if order.name.entity != "attribute" or order.name.key not in columns:
            raise Invalid(f"searchTraces cannot order by '{order.name.key[:100]}'")
        column = columns[order.name.key]
        terms += [f"CASE WHEN {column} IS NULL THEN 1 ELSE 0 END", f"{column} {'ASC' if order.ascending else 'DESC'}"]
    return ", ".join([*terms, "t.timestamp_ms DESC", "t.request_id"])
