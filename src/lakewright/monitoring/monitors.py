"""Quality monitors: a table looked at again and again, its profile and its drift kept as tables beside it.

A monitor reads and writes with the rights of whoever configured it last, so its figures tell nobody more than that
person could have seen. It belongs to its table: what may be done with it follows from the rights on the table.
"""

from dataclasses import dataclass
from typing import Any, Literal

import orjson
from pydantic import BaseModel, Field

from lakewright.catalog import tables
from lakewright.catalog.schemas import REACH, SCHEMA
from lakewright.catalog.tables import CREATE_TABLE, READ, TABLE, Table
from lakewright.jobs import quartz
from lakewright.kernel import objects
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import AlreadyExists, Denied, Invalid, NotFound, NotSupported
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import SNAPSHOT, Api, Ask, Reply
from lakewright.kernel.rules import MANAGE
from lakewright.kernel.store import Row
from lakewright.ml import drift
from lakewright.monitoring import slices
from lakewright.monitoring.analysis import Plan, interval

CONFIGURE = READ & MANAGE
"""Who may set up and run a monitor: it reads the table, and it says what is written beside it."""

api = Api("unityCatalog", "/api/2.1/unity-catalog/tables")
OF_TABLE = TABLE.at("{table_name}")
CHANGED = "quality_monitor"
Granularities = list[str]


class Snapshot(Ask):
    """The whole table, each time."""


class TimeSeries(Ask):
    timestamp_col: str
    granularities: Granularities = Field(min_length=1)


class InferenceLog(TimeSeries):
    problem_type: Literal["PROBLEM_TYPE_CLASSIFICATION", "PROBLEM_TYPE_REGRESSION"]
    prediction_col: str
    model_id_col: str
    label_col: str | None = None


class Schedule(Ask):
    quartz_cron_expression: str
    timezone_id: str
    pause_status: Literal["UNPAUSED", "PAUSED"] = "UNPAUSED"


class Configured(Ask):
    output_schema_name: str
    baseline_table_name: str | None = None
    slicing_exprs: list[str] = Field(default_factory=list[str], max_length=10)
    snapshot: Snapshot | None = None
    time_series: TimeSeries | None = None
    inference_log: InferenceLog | None = None
    schedule: Schedule | None = None
    notifications: dict[str, Any] | None = None


class Spec(BaseModel):
    """What is kept of a monitor's configuration."""

    assets_dir: str
    output_schema_name: str
    profile_table: str
    drift_table: str
    baseline_table_name: str | None = None
    slicing_exprs: list[str] = []
    snapshot: Snapshot | None = None
    time_series: TimeSeries | None = None
    inference_log: InferenceLog | None = None
    schedule: Schedule | None = None


class Trigger(Ask):
    """Start a job when drift is found, at most once in `cool_down_minutes`."""

    job_id: int
    cool_down_minutes: int = Field(default=24 * 60, ge=1)
    at_least: int = Field(default=1, ge=1, description="Drifted columns it takes.")
    job_parameters: dict[str, str] = Field(default_factory=dict)


class Policy(Ask):
    """When a difference is an alert, and what an alert starts."""

    false_alarms: float = Field(default=drift.FALSE_ALARMS, gt=0, lt=1)
    smallest_psi: float = Field(default=drift.SMALLEST, ge=0)
    columns: list[str] | None = None
    trigger: Trigger | None = None


@dataclass(frozen=True)
class Monitor:
    table_id: str
    table_name: str
    spec: Spec
    policy: Policy
    author: str
    version: int
    failure: str
    looked_until: int
    due_at: int | None

    def plan(self) -> Plan:
        """As the analysis wants it. A snapshot has no windows that are over."""
        spec, policy = self.spec, self.policy
        series = spec.inference_log or spec.time_series
        log = spec.inference_log
        return Plan(
            timestamp_col=series.timestamp_col if series else None,
            granularities=tuple(series.granularities) if series else (),
            model_id_col=log.model_id_col if log else None,
            prediction_col=log.prediction_col if log else None,
            label_col=log.label_col if log else None,
            problem=_PROBLEMS[log.problem_type] if log else None,
            slicing=tuple(spec.slicing_exprs), false_alarms=policy.false_alarms, smallest=policy.smallest_psi,
            since=self.looked_until if series else 0,
        )  # fmt: skip


_PROBLEMS: dict[str, Literal["classification", "regression"]] = {
    "PROBLEM_TYPE_CLASSIFICATION": "classification",
    "PROBLEM_TYPE_REGRESSION": "regression",
}


class CreateMonitor(Configured):
    table_name: str
    assets_dir: str
    skip_builtin_dashboard: Literal[True] = True


class UpdateMonitor(Configured):
    table_name: str


class Named(Ask):
    table_name: str


@api("POST", "/{table_name}/monitor", audit="createQualityMonitor", on=OF_TABLE, needs=CONFIGURE)
def create(ctx: Ctx, table: Obj[Table], ask: CreateMonitor) -> Reply:
    if found(ctx, table.id) is not None:
        raise AlreadyExists(f"table '{table.full_name}' has a monitor already")
    spec = _spec(ctx, table, ask, ask.assets_dir)
    ctx.tx.run(
        "INSERT INTO monitors (table_id, table_name, spec, policy, author, version, failure, looked_until, due_at,"
        " created_at) VALUES (?, ?, ?, ?, ?, 0, '', 0, ?, ?)",
        table.id, table.full_name, spec.model_dump_json(), Policy().model_dump_json(), ctx.principal.id,
        _due(spec, ctx.now()), ctx.now(),
    )  # fmt: skip
    ctx.emit(CHANGED, table.id, {"table_name": table.full_name})
    return show(of(ctx, table))


@api("GET", "/{table_name}/monitor", audit="getQualityMonitor", on=OF_TABLE, needs=READ, runs=SNAPSHOT)
def get(ctx: Ctx, table: Obj[Table], ask: Named) -> Reply:
    return show(of(ctx, table))


@api("PUT", "/{table_name}/monitor", audit="updateQualityMonitor", on=OF_TABLE, needs=CONFIGURE)
def update(ctx: Ctx, table: Obj[Table], ask: UpdateMonitor) -> Reply:
    monitor = of(ctx, table)
    spec = _spec(ctx, table, ask, monitor.spec.assets_dir)
    ctx.tx.run(
        "UPDATE monitors SET spec = ?, author = ?, due_at = ?, version = version + 1, looked_until = 0 WHERE table_id = ?",
        spec.model_dump_json(), ctx.principal.id, _due(spec, ctx.now()), table.id,
    )  # fmt: skip
    ctx.emit(CHANGED, table.id, {"table_name": table.full_name})
    return show(of(ctx, table))


@api("DELETE", "/{table_name}/monitor", audit="deleteQualityMonitor", on=OF_TABLE, needs=CONFIGURE)
def delete(ctx: Ctx, table: Obj[Table], ask: Named) -> Reply:
    """The metric tables stay: they are somebody's data."""
    of(ctx, table)
    for owned in ("monitors", "monitor_refreshes", "monitor_alerts", "monitor_runs"):
        ctx.tx.run(f"DELETE FROM {owned} WHERE table_id = ?", table.id)
    return {}


# ------------------------------------------------------------------ decisions


def of(ctx: Ctx, table: Obj[Table]) -> Monitor:
    monitor = found(ctx, table.id)
    if monitor is None:
        raise NotFound(f"table '{table.full_name}' has no monitor")
    return monitor


def found(ctx: Ctx, table_id: str) -> Monitor | None:
    row = ctx.tx.one("SELECT * FROM monitors WHERE table_id = ?", table_id)
    return loaded(row) if row is not None else None


def loaded(row: Row) -> Monitor:
    return Monitor(
        row["table_id"], row["table_name"], Spec.model_validate_json(row["spec"]),
        Policy.model_validate_json(row["policy"]), row["author"], row["version"], row["failure"], row["looked_until"],
        row["due_at"],
    )  # fmt: skip


def due_after(spec: Spec, moment: int) -> int | None:
    return _due(spec, moment)


def _spec(ctx: Ctx, table: Obj[Table], ask: Configured, assets_dir: str) -> Spec:
    profiles = [p for p in (ask.snapshot, ask.time_series, ask.inference_log) if p is not None]
    if len(profiles) != 1:
        raise Invalid("a monitor has exactly one of snapshot, time_series and inference_log")
    if ask.notifications:
        raise NotSupported("quality monitors do not send mail yet; read the alerts", field="notifications")
    columns = [column.name for column in table.spec.columns]
    _check_columns(ask.inference_log or ask.time_series, columns)
    for text in ask.slicing_exprs:
        slices.parse(text, columns)
    _check_output(ctx, ask.output_schema_name)
    if ask.baseline_table_name is not None:
        _check_baseline(ctx, ask.baseline_table_name)
    if ask.schedule is not None:
        quartz.parse(ask.schedule.quartz_cron_expression, ask.schedule.timezone_id)
    base = f"{ask.output_schema_name.lower()}.{table.name}"
    kept = ask.model_dump(include=set(Spec.model_fields))
    return Spec.model_validate(
        kept | {"assets_dir": assets_dir, "profile_table": f"{base}_profile_metrics", "drift_table": f"{base}_drift_metrics"}
    )  # fmt: skip


def _check_columns(series: TimeSeries | None, columns: list[str]) -> None:
    if series is None:
        return
    named = [series.timestamp_col]
    if isinstance(series, InferenceLog):
        named += [series.prediction_col, series.model_id_col, *([series.label_col] if series.label_col else [])]
    if missing := [name for name in named if columns and name not in columns]:
        raise Invalid(f"the table has no column '{missing[0]}'")
    for granularity in series.granularities:
        interval(granularity)


def _check_output(ctx: Ctx, name: str) -> None:
    try:
        schema = objects.find(ctx, SCHEMA, name)
        verdict = (REACH & CREATE_TABLE).judge(ctx, schema.id)
    except NotFound:
        raise Denied(f"{ctx.principal.name} needs CREATE_TABLE on schema '{name}'") from None
    if not verdict:
        raise Denied(f"{ctx.principal.name} needs {verdict.because} for schema '{name}'")


def _check_baseline(ctx: Ctx, name: str) -> None:
    try:
        baseline = objects.find(ctx, TABLE, name)
        verdict = tables.READ.judge(ctx, baseline.id)
    except NotFound:
        raise Denied(f"{ctx.principal.name} needs SELECT on table '{name}'") from None
    if not verdict:
        raise Denied(f"{ctx.principal.name} needs {verdict.because} for table '{name}'")


def _due(spec: Spec, moment: int) -> int | None:
    schedule = spec.schedule
    if schedule is None or schedule.pause_status == "PAUSED":
        return None
    return quartz.parse(schedule.quartz_cron_expression, schedule.timezone_id).after(moment)


# ------------------------------------------------------------------ show


def show(monitor: Monitor) -> Reply:
    spec = monitor.spec
    given = orjson.loads(spec.model_dump_json(exclude_none=True, exclude={"profile_table", "drift_table"}))
    return given | {
        "table_name": monitor.table_name,
        "status": "MONITOR_STATUS_ERROR" if monitor.failure else "MONITOR_STATUS_ACTIVE",
        "profile_metrics_table_name": spec.profile_table,
        "drift_metrics_table_name": spec.drift_table,
        "monitor_version": monitor.version,
        **({"latest_monitor_failure_msg": monitor.failure} if monitor.failure else {}),
    }
