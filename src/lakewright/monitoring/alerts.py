"""Alerts: columns that drifted more than chance, and the retraining that drift may start.

A trigger starts its job as the monitor's author, who must be allowed to run it, and at most once per cool-down. Each
time it could have started one, what it did and why is on record.
"""

import logging
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import orjson

from lakewright.catalog.tables import READ, Table
from lakewright.jobs import runs
from lakewright.jobs.kind import CAN_MANAGE_RUN, JOB
from lakewright.kernel import objects
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import Fault
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import SNAPSHOT, Api, Ask, Reply
from lakewright.kernel.rules import require
from lakewright.kernel.store import Row
from lakewright.ml import drift
from lakewright.monitoring import monitors
from lakewright.monitoring.analysis import Drifted
from lakewright.monitoring.monitors import CONFIGURE, OF_TABLE, Monitor, Policy, Trigger

if TYPE_CHECKING:
    from lakewright.kernel.platform import Platform

log = logging.getLogger(__name__)
api = Api("lakewright", "/api/2.1/lakewright/monitors/{table_name}")
RAISED = "drift_found"
STARTED, COOLING, REFUSED = "STARTED", "COOLING_DOWN", "REFUSED"


class SetPolicy(Ask):
    table_name: str
    policy: Policy


class Alerts(Ask):
    table_name: str
    since_ms: int = 0
    max_results: int = 100


class Named(Ask):
    table_name: str


@api("PUT", "/policy", audit="setMonitorPolicy", on=OF_TABLE, needs=CONFIGURE)
def set_policy(ctx: Ctx, table: Obj[Table], ask: SetPolicy) -> Reply:
    """Who sets a trigger must be allowed to run its job, and is who it will run for."""
    monitors.of(ctx, table)
    if ask.policy.trigger is not None:
        require(ctx, CAN_MANAGE_RUN, objects.by_id(ctx, JOB, str(ask.policy.trigger.job_id)))
    ctx.tx.run(
        "UPDATE monitors SET policy = ?, author = ? WHERE table_id = ?",
        ask.policy.model_dump_json(), ctx.principal.id, table.id,
    )  # fmt: skip
    return ask.policy.model_dump(exclude_none=True)


@api("GET", "/policy", audit="getMonitorPolicy", on=OF_TABLE, needs=READ, runs=SNAPSHOT)
def get_policy(ctx: Ctx, table: Obj[Table], ask: Named) -> Reply:
    return monitors.of(ctx, table).policy.model_dump(exclude_none=True)


@api("GET", "/alerts", audit="listMonitorAlerts", on=OF_TABLE, needs=READ, runs=SNAPSHOT)
def list_(ctx: Ctx, table: Obj[Table], ask: Alerts) -> Reply:
    rows = ctx.tx.all(
        "SELECT * FROM monitor_alerts WHERE table_id = ? AND raised_at >= ? ORDER BY raised_at DESC, id LIMIT ?",
        table.id, ask.since_ms, min(max(ask.max_results, 1), 1000),
    )  # fmt: skip
    found = [show(row) for row in rows]
    return {"alerts": sorted(found, key=lambda alert: (-alert["raised_at"], -alert["psi"] / alert["limit"]))}


@api("GET", "/runs", audit="listMonitorRuns", on=OF_TABLE, needs=READ, runs=SNAPSHOT)
def list_runs(ctx: Ctx, table: Obj[Table], ask: Named) -> Reply:
    """What drift started, or would have started but for the cool-down, and why."""
    rows = ctx.tx.all('SELECT * FROM monitor_runs WHERE table_id = ? ORDER BY "at" DESC, id LIMIT 200', table.id)
    return {
        "runs": [
            {"at": r["at"], "job_id": r["job_id"], "run_id": r["run_id"], "outcome": r["outcome"], "cause": r["cause"],
             "refresh_id": r["refresh_id"]}
            for r in rows
        ]
    }  # fmt: skip


def show(row: Row) -> dict[str, Any]:
    told = orjson.loads(row["details"])
    return {
        "alert_id": row["id"], "refresh_id": row["refresh_id"], "raised_at": row["raised_at"],
        "column_name": row["column_name"], **told,
    }  # fmt: skip


# ------------------------------------------------------------------ decisions


def raise_all(ctx: Ctx, monitor: Monitor, refresh_id: int, drifted: list[Drifted]) -> None:
    """One alert per column and window, however often the window is looked at."""
    chosen = [d for d in drifted if _concerns(monitor.policy, d)]
    fresh = [d for d in chosen if _raised(ctx, monitor, refresh_id, d)]
    if fresh:
        columns = sorted({d.finding.column for d in fresh})
        cause = drift.summary([d.finding for d in fresh][:10])
        payload = {"table_name": monitor.table_name, "refresh_id": refresh_id, "columns": columns, "cause": cause}
        ctx.emit(RAISED, monitor.table_id, payload)
        _decide(ctx, monitor, refresh_id, columns, cause)


def _concerns(policy: Policy, drifted: Drifted) -> bool:
    return policy.columns is None or drifted.finding.column in policy.columns


def _raised(ctx: Ctx, monitor: Monitor, refresh_id: int, drifted: Drifted) -> bool:
    part, finding = drifted.part, drifted.finding
    start = part.window.start.isoformat()
    key = f"{part.window.granularity or refresh_id}|{start}|{part.model}|{part.slice.key}|{part.slice.value}"
    details = {
        "window_start": start, "window_end": part.window.end.isoformat(), "granularity": part.window.granularity,
        "model_id": part.model, "slice_key": part.slice.key, "slice_value": part.slice.value,
        "drift_type": drifted.against, "psi": finding.psi, "limit": finding.limit,
        "pvalue": finding.chi_squared.pvalue, "reference_count": finding.reference_count,
        "current_count": finding.current_count, "because": finding.because, "what_to_do": advice(finding),
    }  # fmt: skip
    inserted = ctx.tx.run(
        "INSERT INTO monitor_alerts (id, table_id, key, refresh_id, raised_at, column_name, details)"
        " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (table_id, key) DO NOTHING",
        str(uuid4()), monitor.table_id, f"{key}|{drifted.against}|{finding.column}", refresh_id, ctx.now(),
        finding.column, orjson.dumps(details).decode(),
    )  # fmt: skip
    return bool(inserted)


def advice(finding: drift.Finding) -> str:
    if "missing" in finding.because.split(";")[0]:
        return "see whether its source still delivers this column before retraining"
    if "(new)" in finding.because:
        return "values the model has never seen: see whether they are real, then retrain with them"
    return "compare the model's quality on recent labels; retrain if it fell"


def _decide(ctx: Ctx, monitor: Monitor, refresh_id: int, columns: list[str], cause: str) -> None:
    """Whether this drift starts the job; the run itself is opened after this is on record."""
    trigger = monitor.policy.trigger
    if trigger is None or len(columns) < trigger.at_least:
        return
    since = ctx.now() - trigger.cool_down_minutes * 60_000
    recent = ctx.tx.scalar(
        'SELECT COUNT(*) FROM monitor_runs WHERE table_id = ? AND outcome IN (\'STARTED\', \'STARTING\') AND "at" > ?',
        monitor.table_id, since,
    )  # fmt: skip
    outcome = COOLING if recent else "STARTING"
    ctx.tx.run(
        'INSERT INTO monitor_runs (id, table_id, refresh_id, "at", job_id, run_id, outcome, cause)'
        " VALUES (?, ?, ?, ?, ?, '', ?, ?)",
        str(uuid4()), monitor.table_id, refresh_id, ctx.now(), str(trigger.job_id), outcome, cause[:4000],
    )  # fmt: skip


def start_jobs(platform: "Platform") -> None:
    """Open the runs that were decided on. The id of the decision is the run's idempotency token: never two of one."""
    for row in platform.snapshot(lambda ctx: ctx.tx.all("SELECT * FROM monitor_runs WHERE outcome = 'STARTING'")):
        monitor = platform.snapshot(lambda ctx, row=row: monitors.found(ctx, row["table_id"]))
        if monitor is not None and monitor.policy.trigger is not None:
            _start(platform, monitor, monitor.policy.trigger, row)


def _start(platform: "Platform", monitor: Monitor, trigger: Trigger, row: Row) -> None:
    # The job's workspace: a monitor is of a table, which all workspaces share.
    where = platform.snapshot(
        lambda ctx: ctx.tx.scalar("SELECT workspace FROM objects WHERE id = ?", str(trigger.job_id))
    )
    try:
        opened = platform.call(
            monitor.author, runs.run_now, None, str(where or platform.workspace), job_id=trigger.job_id, job_parameters=trigger.job_parameters,
            idempotency_token=str(row["id"]),
        )  # fmt: skip
        outcome, run_id = STARTED, str(opened["run_id"])
    except Fault as fault:
        log.warning("drift in %s could not start job %s: %s", monitor.table_name, trigger.job_id, fault)
        outcome, run_id = f"{REFUSED}: {fault}", ""

    def settle(ctx: Ctx) -> None:
        ctx.tx.run("UPDATE monitor_runs SET outcome = ?, run_id = ? WHERE id = ?", outcome[:2000], run_id, row["id"])

    platform.transact(settle)
