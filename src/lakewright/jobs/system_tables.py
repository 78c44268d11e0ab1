"""`system.lakeflow`: jobs, runs and attempts at tasks, as tables that SQL can ask."""

from collections.abc import Iterator
from typing import Any

from lakewright.jobs import rows, states
from lakewright.jobs.kind import JOB
from lakewright.kernel import objects
from lakewright.kernel.context import Ctx
from lakewright.sql import virtual

JOBS = [
    ("workspace_id", "STRING"), ("job_id", "STRING"), ("name", "STRING"), ("description", "STRING"),
    ("creator_id", "STRING"), ("creator_user_name", "STRING"), ("run_as_user_name", "STRING"),
    ("change_time", "TIMESTAMP"), ("create_time", "TIMESTAMP"), ("delete_time", "TIMESTAMP"),
]  # fmt: skip
ENDS = [
    ("period_start_time", "TIMESTAMP"), ("period_end_time", "TIMESTAMP"), ("result_state", "STRING"),
    ("termination_code", "STRING"), ("run_duration_seconds", "DOUBLE"),
]  # fmt: skip
RUNS = [
    ("workspace_id", "STRING"), ("job_id", "STRING"), ("run_id", "STRING"), ("run_name", "STRING"),
    ("run_type", "STRING"), ("trigger_type", "STRING"), ("creator_user_name", "STRING"),
    ("run_as_user_name", "STRING"), *ENDS,
]  # fmt: skip
TASKS = [
    ("workspace_id", "STRING"), ("job_id", "STRING"), ("job_run_id", "STRING"), ("run_id", "STRING"),
    ("task_key", "STRING"), ("attempt", "INT"), *ENDS,
]  # fmt: skip


def jobs(ctx: Ctx) -> Iterator[dict[str, Any]]:
    """Every job, deleted ones too."""
    names = _names(ctx)
    for row in ctx.tx.all(f"SELECT {objects.COLUMNS}, deleted_at FROM objects WHERE kind = ?", JOB.name):
        job = objects.loaded(JOB, row)
        yield {
            "workspace_id": job.workspace, "job_id": job.id, "name": job.spec.settings.name,
            "description": job.spec.settings.description, "creator_id": job.created_by,
            "creator_user_name": names.get(job.created_by), "run_as_user_name": names.get(job.spec.run_as),
            "change_time": job.updated_at, "create_time": job.created_at, "delete_time": row["deleted_at"],
        }  # fmt: skip


def runs(ctx: Ctx) -> Iterator[dict[str, Any]]:
    names = _names(ctx)
    for run in rows.runs(ctx.tx, "deleted_at IS NULL"):
        yield {
            "workspace_id": run.workspace, "job_id": run.job_id, "run_id": str(run.run_id), "run_name": run.name,
            "run_type": run.run_type, "trigger_type": run.cause, "creator_user_name": names.get(run.creator),
            "run_as_user_name": names.get(run.run_as), **_ends(run.standing, run.started_at or run.created_at, run.ended_at),
        }  # fmt: skip


def tasks(ctx: Ctx) -> Iterator[dict[str, Any]]:
    of = {run.run_id: run for run in rows.runs(ctx.tx, "deleted_at IS NULL")}
    for task in rows.tasks(ctx.tx, "1 = 1"):
        if run := of.get(task.job_run_id):
            yield {
                "workspace_id": run.workspace, "job_id": run.job_id, "job_run_id": str(run.run_id),
                "run_id": str(task.run_id), "task_key": task.task_key, "attempt": task.attempt,
                **_ends(task.standing, task.started_at, task.ended_at),
            }  # fmt: skip


def _ends(standing: states.Standing, started: int | None, ended: int | None) -> dict[str, Any]:
    details = states.show(standing)["status"].get("termination_details", {})
    seconds = (ended - started) / 1000 if started is not None and ended is not None else None
    return {
        "period_start_time": started, "period_end_time": ended, "result_state": standing.result,
        "termination_code": details.get("code"), "run_duration_seconds": seconds,
    }  # fmt: skip


def _names(ctx: Ctx) -> dict[str, str]:
    return {str(row["id"]): str(row["name"]) for row in ctx.tx.all("SELECT id, name FROM principals")}


virtual.table("system.lakeflow.jobs", JOBS, jobs, comment="One row per job, as it is now.")
virtual.table("system.lakeflow.job_run_timeline", RUNS, runs, comment="One row per run.")
virtual.table("system.lakeflow.job_task_run_timeline", TASKS, tasks, comment="One row per attempt at a task.")
