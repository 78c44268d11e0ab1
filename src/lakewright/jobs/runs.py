"""Runs: starting a job, watching it, stopping it, and reading what its tasks said."""

import json
from typing import Any

from pydantic import BaseModel, Field

from lakewright.jobs import definition, engine, gates, parameters, repairs, rows, showing, states, stopping
from lakewright.jobs.definition import Settings
from lakewright.jobs.jobs import BY_ID as JOB_BY_ID
from lakewright.jobs.jobs import AccessControl, actor, api, old, share
from lakewright.jobs.kind import CAN_MANAGE, CAN_MANAGE_RUN, CAN_VIEW, JOB, SUBMITTED, Job
from lakewright.jobs.logs import Logs
from lakewright.jobs.rows import Run, TaskRun
from lakewright.jobs.showing import NoRun
from lakewright.kernel import objects, roots
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import BadState, Conflict, Invalid, NotSupported
from lakewright.kernel.idempotency import once
from lakewright.kernel.kinds import Target
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import OUTSIDE, SNAPSHOT, Ask, Reply
from lakewright.kernel.roots import IN_WORKSPACE, Root
from lakewright.kernel.rules import EVERYONE, PER_ROW

PAGE = 25
UNSUPPORTED_PARAMETERS = (
    "dbt_commands", "jar_params", "pipeline_params", "python_named_params", "spark_submit_params", "sql_params",
    "performance_target", "duration_target",
)  # fmt: skip


def job_of_run(ctx: Ctx, run_id: str) -> Obj[Job]:
    """The job (or submitted definition, deleted ones too) whose permissions hold for a run or task run."""
    number = int(run_id)
    task = rows.task(ctx.tx, number)
    run = rows.run(ctx.tx, task.job_run_id if task else number)
    row = run and ctx.tx.one(
        f"SELECT {objects.COLUMNS} FROM objects WHERE id = ? AND workspace = ?", run.job_id, ctx.workspace
    )
    if not row:
        raise NoRun(f"Run {run_id} does not exist.")
    return objects.loaded(JOB if row["kind"] == JOB.name else SUBMITTED, row)


BY_ID: Target[Job] = Target("{run_id}", JOB, is_id=True, finds=job_of_run)


# --- asks ---


class RunNow(Ask):
    job_id: int
    job_parameters: dict[str, str] = Field(default_factory=dict)
    notebook_params: dict[str, str] | None = None
    python_params: list[str] | None = None
    only: list[str] = Field(default_factory=list[str])
    queue: definition.Queue | None = None
    idempotency_token: str | None = Field(None, max_length=64)
    dbt_commands: Any = None
    jar_params: Any = None
    pipeline_params: Any = None
    python_named_params: Any = None
    spark_submit_params: Any = None
    sql_params: Any = None
    performance_target: Any = None
    duration_target: Any = None


class Submit(Settings, Ask):
    run_name: str = "Untitled"
    idempotency_token: str | None = Field(None, max_length=64)
    access_control_list: list[AccessControl] = Field(default_factory=list[AccessControl])


class ById(Ask):
    run_id: int


class GetRun(ById):
    include_history: bool = False
    include_resolved_values: bool = False
    page_token: str | None = None


class ListRuns(Ask):
    job_id: int | None = None
    active_only: bool = False
    completed_only: bool = False
    limit: int = 20
    offset: int = Field(default=0, ge=0)
    page_token: str | None = None
    run_type: str | None = None
    start_time_from: int | None = None
    start_time_to: int | None = None
    expand_tasks: bool = False


class CancelAll(Ask):
    job_id: int
    all_queued_runs: bool = False


class ExportRun(ById):
    views_to_export: str | None = None


class Decide(ById):
    reason: str = ""


class RepairRun(ById):
    rerun_tasks: list[str] = Field(default_factory=list[str])
    rerun_all_failed_tasks: bool = False
    rerun_dependent_tasks: bool = False
    latest_repair_id: int | None = None
    job_parameters: dict[str, str] | None = None
    notebook_params: dict[str, str] | None = None
    python_params: list[str] | None = None


# --- operations ---


@api("POST", "/run-now", audit="runNow", on=JOB_BY_ID, needs=CAN_MANAGE_RUN, also=old("/run-now"))
def run_now(ctx: Ctx, job: Obj[Job], ask: RunNow) -> Reply:
    engine.made_before(
        ctx, ctx.principal.id, ask.idempotency_token, "JOB_RUN", job.id
    )  # refuses what stands for another
    return once(ctx, "runNow", ask.idempotency_token, _asked(ask), lambda: _run_now(ctx, job, ask))


def _asked(ask: BaseModel) -> dict[str, Any]:
    return ask.model_dump(mode="json", exclude_unset=True)


def _run_now(ctx: Ctx, job: Obj[Job], ask: RunNow) -> Reply:
    given = {name: value for name in UNSUPPORTED_PARAMETERS if (value := getattr(ask, name)) is not None}
    if ask.notebook_params is not None and "jar_params" in given:
        raise Invalid("notebook_params cannot be given together with jar_params")
    if given:
        raise NotSupported(f"runNow does not support the field '{min(given)}'", field=min(given))
    overrides = {
        name: getattr(ask, name) for name in ("notebook_params", "python_params") if getattr(ask, name) is not None
    }
    for name, value in overrides.items():
        parameters.check_size(name, value)
    run = engine.open_run(
        ctx,
        engine.Order(
            job.id, job.spec.settings, creator=ctx.principal.id, run_as=job.spec.run_as, parameters=ask.job_parameters,
            overrides=overrides, only=tuple(ask.only), queue=ask.queue.enabled if ask.queue else None,
            idempotency=ask.idempotency_token,
        ),
    )  # fmt: skip
    return {"run_id": run.run_id, "number_in_job": run.run_id}


@api("POST", "/runs/submit", audit="submitRun", on=IN_WORKSPACE, needs=EVERYONE, also=old("/runs/submit"))
def submit(ctx: Ctx, workspace: Obj[Root], ask: Submit) -> Reply:
    """Open to everyone: a run acts with the rights of its maker, or of a principal its maker may act as."""
    made = engine.made_before(ctx, ctx.principal.id, ask.idempotency_token, "SUBMIT_RUN")

    def submitted() -> Reply:
        return {"run_id": made.run_id} if made is not None else _submit(ctx, workspace, ask)

    return once(ctx, "submitRun", ask.idempotency_token, _asked(ask), submitted)


def _submit(ctx: Ctx, workspace: Obj[Root], ask: Submit) -> Reply:
    fields = ask.model_dump(exclude={"run_name", "idempotency_token", "access_control_list"}, exclude_unset=True)
    if given := sorted(
        {"schedule", "parameters", "max_concurrent_runs", "edit_mode", "deployment", "name"} & fields.keys()
    ):
        raise Invalid(f"submitRun: a one-time run has no '{given[0]}'")
    settings = Settings.model_validate({**fields, "name": ask.run_name})
    spec = Job(settings=settings, run_as=actor(ctx, settings.run_as), authors=[ctx.principal.id])
    job = objects.create(ctx, SUBMITTED, ask.run_name[:255] or "Untitled", spec, under=workspace)
    share(ctx, job, ask.access_control_list)
    run = engine.open_run(
        ctx,
        engine.Order(
            job.id, settings, creator=ctx.principal.id, run_as=spec.run_as, run_type="SUBMIT_RUN",
            idempotency=ask.idempotency_token,
        ),
    )  # fmt: skip
    return {"run_id": run.run_id}


@api("GET", "/runs/get", audit="getRun", on=BY_ID, needs=CAN_VIEW, also=old("/runs/get"), runs=SNAPSHOT)
def get(ctx: Ctx, job: Obj[Job], ask: GetRun) -> Reply:
    """A run, or one attempt at a task by its own run id."""
    if task := rows.task(ctx.tx, ask.run_id):
        return showing.alone(ctx, task, resolved=ask.include_resolved_values)
    run = rows.run(ctx.tx, ask.run_id)
    if run is None:
        raise NoRun(f"Run {ask.run_id} does not exist.")
    shown = showing.of_run(ctx, run)
    of_run = rows.attempts(ctx.tx, run.run_id) if ask.include_history else showing.in_order(ctx, run)
    bound = f"{ctx.principal.id}:run:{run.run_id}"
    start = int(objects.open_token(ctx, ask.page_token, bound)) if ask.page_token else 0
    page = of_run[start : start + definition.PAGE]
    shown["tasks"] = [
        showing.with_stats(ctx, task, showing.of_task(run, task, resolved=ask.include_resolved_values)) for task in page
    ]
    if start:
        shown["job_parameters"] = []
    if ask.include_history and run.repairs != "[]":
        shown["repair_history"] = repairs.history(ctx, run)
    if len(of_run) > start + definition.PAGE:
        shown |= {"has_more": True, "next_page_token": objects.seal_token(ctx, str(start + definition.PAGE), bound)}
    return shown


@api("GET", "/runs/list", audit="listRuns", on=IN_WORKSPACE, needs=PER_ROW, also=old("/runs/list"))
def list_(ctx: Ctx, workspace: Obj[Root], ask: ListRuns) -> Reply:
    """Newest first: the runs of every job the caller may view."""
    if ask.active_only and ask.completed_only:
        raise Invalid("active_only and completed_only cannot both be true")
    if not 0 <= ask.limit <= PAGE:
        raise Invalid(f"limit must be between 0 and {PAGE}")
    size = ask.limit or PAGE
    found = _visible(ctx, workspace, ask, size + 1)
    page = found[:size]
    reply: Reply = {"runs": [showing.of_run(ctx, run) for run in page], "has_more": len(found) > size}
    if ask.expand_tasks:
        for run, shown in zip(page, reply["runs"], strict=True):
            shown["tasks"] = [showing.of_task(run, task) for task in showing.in_order(ctx, run)[: definition.PAGE]]
    if len(found) > size:
        reply["next_page_token"] = objects.seal_token(ctx, f"{page[-1].created_at}:{page[-1].run_id}", _bound(ctx, ask))
    return reply


@api("POST", "/runs/cancel", audit="cancel", on=BY_ID, needs=CAN_MANAGE_RUN, also=old("/runs/cancel"))
def cancel(ctx: Ctx, job: Obj[Job], ask: ById) -> Reply:
    """A run, or one task of it by the task's run id. What has ended stays as it ended."""
    if task := rows.task(ctx.tx, ask.run_id):
        stopping.stop_task(ctx, task, states.CANCELED)
    else:
        stopping.stop_run(ctx, ask.run_id, states.CANCELED)
    return {}


@api(
    "POST", "/runs/cancel-all", audit="cancelAllRuns", on=JOB_BY_ID, needs=CAN_MANAGE_RUN, also=old("/runs/cancel-all")
)
def cancel_all(ctx: Ctx, job: Obj[Job], ask: CancelAll) -> Reply:
    """All active runs of a job; with `all_queued_runs` those that wait as well."""
    # Waiting runs go first: a place that becomes free would start them.
    for state in (states.QUEUED, states.PENDING, states.RUNNING, states.TERMINATING):
        if state != states.QUEUED or ask.all_queued_runs:
            for run in rows.runs(ctx.tx, "job_id = ? AND state = ?", job.id, state):
                stopping.stop_run(ctx, run.run_id, states.CANCELED)
    return {}


@api(
    "GET",
    "/runs/get-output",
    audit="getRunOutput",
    on=BY_ID,
    needs=CAN_VIEW,
    also=old("/runs/get-output"),
    runs=OUTSIDE,
)
def get_output(ctx: Ctx, job: Obj[Job], ask: ById) -> Reply:
    """What one attempt at a task returned or died of; what it printed, to who may manage runs: it may quote any data."""

    def read(ctx: Ctx) -> tuple[TaskRun, Run, Reply, bool]:
        task = rows.task(ctx.tx, ask.run_id)
        if task is None:
            raise Invalid(
                "Retrieving the output of runs with multiple tasks is not supported: ask for each task's run_id"
            )
        run = rows.run(ctx.tx, task.job_run_id)
        assert run is not None
        return task, run, showing.alone(ctx, task), bool(CAN_MANAGE_RUN.judge(ctx, job.id))

    task, run, metadata, reads_logs = ctx.snapshot(read)
    shown: Reply = {"metadata": metadata, **json.loads(task.output)}
    if task.child_run_id:
        shown["run_job_output"] = {"run_id": task.child_run_id}
    if run.definition.task(task.task_key).spark_python_task:
        shown |= ctx.the(Logs).read(task) if reads_logs else {"info": f"What it printed is for {CAN_MANAGE_RUN}."}
        redacts = ctx.snapshot(lambda c: c.platform.redacting(c.tx, task.token_id or ""))
        shown = redacts.values(shown) if redacts is not None else shown  # it may still be running
    return shown


@api("POST", "/runs/delete", audit="deleteRun", on=BY_ID, needs=CAN_MANAGE, also=old("/runs/delete"))
def delete(ctx: Ctx, job: Obj[Job], ask: ById) -> Reply:
    run = rows.run(ctx.tx, ask.run_id)
    if run is None:
        raise NoRun(f"Run {ask.run_id} does not exist.")
    if run.state not in states.OVER:
        raise BadState(f"Run {ask.run_id} is active and cannot be deleted")
    ctx.tx.run("UPDATE job_run SET deleted_at = ? WHERE run_id = ?", ctx.now(), run.run_id)
    return {}


@api("GET", "/runs/export", audit="exportRun", on=BY_ID, needs=CAN_VIEW, also=old("/runs/export"), runs=SNAPSHOT)
def export(ctx: Ctx, job: Obj[Job], ask: ExportRun) -> Reply:
    raise NotSupported("exportRun is not supported: read a task's output with getRunOutput")


@api("POST", "/runs/approve", audit="approveRun", on=BY_ID, needs=CAN_VIEW)
def approve(ctx: Ctx, job: Obj[Job], ask: Decide) -> Reply:
    """A named approver lets an approval task pass; never whoever started, wrote or is the run."""
    gates.decide(ctx, *_both(ctx, ask.run_id), "approved", ask.reason)
    return {}


@api("POST", "/runs/reject", audit="rejectRun", on=BY_ID, needs=CAN_VIEW)
def reject(ctx: Ctx, job: Obj[Job], ask: Decide) -> Reply:
    gates.decide(ctx, *_both(ctx, ask.run_id), "rejected", ask.reason)
    return {}


@api("POST", "/runs/repair", audit="repairRun", on=BY_ID, needs=CAN_MANAGE_RUN, also=old("/runs/repair"))
def repair(ctx: Ctx, job: Obj[Job], ask: RepairRun) -> Reply:
    """Run tasks of an ended run again, with the job as it is now; what succeeded keeps its result."""
    run = rows.lock(ctx, ask.run_id)
    if run is None:
        raise NoRun(f"Run {ask.run_id} does not exist.")
    wanted = repairs.Wanted(
        tuple(ask.rerun_tasks), ask.rerun_all_failed_tasks, ask.rerun_dependent_tasks, ask.latest_repair_id,
        ask.job_parameters, ask.notebook_params, ask.python_params,
    )  # fmt: skip
    return {"repair_id": repairs.repair(ctx, run, job.spec, wanted)}


def _none_active(ctx: Ctx) -> None:
    """A workspace is not deleted under runs: their tasks would go on without anybody to stop them."""
    active = ", ".join("?" * len(states.ACTIVE_RUNS))
    if ctx.tx.one(
        f"SELECT run_id FROM job_run WHERE workspace = ? AND state IN ({active})",
        ctx.workspace, *sorted(states.ACTIVE_RUNS),
    ):  # fmt: skip
        raise Conflict("jobs run in this workspace: cancel their runs first")


roots.CLOSES.append(_none_active)


def _both(ctx: Ctx, run_id: int) -> tuple[Run, TaskRun]:
    task = rows.task(ctx.tx, run_id)
    run = rows.lock(ctx, task.job_run_id) if task else None
    if task is None or run is None:
        raise Invalid(f"Run {run_id} is not the run of a task: give the run_id of the approval task")
    return run, rows.task(ctx.tx, run_id) or task


def _visible(ctx: Ctx, workspace: Obj[Root], ask: ListRuns, limit: int) -> list[Run]:
    where, params = ["r.workspace = ?", "r.deleted_at IS NULL", "r.run_type <> ?"], [ctx.workspace, rows.ITERATIONS]
    rest: list[Any] = []

    def narrow(condition: str, *values: Any) -> None:
        where.append(condition)
        rest.extend(values)

    if not CAN_VIEW.covers(ctx, workspace.id):
        rule = CAN_VIEW.condition(ctx)
        narrow(rule.sql, *rule.params)
    if ask.job_id is not None:
        narrow("r.job_id = ?", str(ask.job_id))
    if ask.run_type is not None:
        narrow("r.run_type = ?", ask.run_type)
    if ask.active_only or ask.completed_only:
        active = ", ".join("?" * len(states.ACTIVE_RUNS))
        narrow(f"r.state {'IN' if ask.active_only else 'NOT IN'} ({active})", *sorted(states.ACTIVE_RUNS))
    if ask.start_time_from is not None:
        narrow("r.created_at >= ?", ask.start_time_from)
    if ask.start_time_to is not None:
        narrow("r.created_at <= ?", ask.start_time_to)
    if ask.page_token:
        at, _, run_id = objects.open_token(ctx, ask.page_token, _bound(ctx, ask)).partition(":")
        narrow("(r.created_at < ? OR (r.created_at = ? AND r.run_id < ?))", int(at), int(at), int(run_id))
    columns = ", ".join(f"r.{name}" for name in rows.RUN_COLUMNS)
    found = ctx.tx.all(
        f"SELECT {columns} FROM job_run r JOIN objects o ON o.id = r.job_id WHERE {' AND '.join(where)}"
        f" ORDER BY r.created_at DESC, r.run_id DESC LIMIT {int(limit)} OFFSET {ask.offset}",
        *params, *rest,
    )  # fmt: skip
    return [rows.run_of(row) for row in found]


def _bound(ctx: Ctx, ask: ListRuns) -> str:
    filters = ask.model_dump_json(exclude={"page_token", "limit", "offset", "expand_tasks"})
    return f"{ctx.principal.id}:runs:{filters}"
