"""Stopping: runs and tasks that are cancelled, or whose time is up."""

from lakewright.jobs import engine, rows, states
from lakewright.jobs.rows import TaskRun
from lakewright.kernel.context import Ctx

QUEUE_MS = 48 * 3600 * 1000
"""How long a run may wait in the queue."""


def stop_run(ctx: Ctx, job_run_id: int, why: str, *, whole: bool = False) -> None:
    """Cancel a run or end it for its timeout: what runs is killed, what has not begun is dropped.

    Tasks that were to run after failures (run_if) still do after the first cancellation; a second one, or a timeout,
    drops them too, and so does `whole`.
    """
    run = rows.lock(ctx, job_run_id)
    if run is None or run.state in states.OVER:
        return
    if run.state == states.QUEUED:
        rows.move_run(ctx, run, "drop", result=why, message="Run cancelled.", ended_at=ctx.now())
        for task in rows.latest(ctx.tx, job_run_id).values():
            _stop_attempt(ctx, task, why)
        return
    final = whole or run.state == states.TERMINATING or why == states.TIMEDOUT
    rows.move_run(ctx, run, "stop", stopped_for=why)
    if final and why == states.TIMEDOUT:
        ctx.tx.run("UPDATE job_run SET stopped_for = ?, deadline = NULL WHERE run_id = ?", why, job_run_id)
    for task in rows.latest(ctx.tx, job_run_id).values():
        if final or task.state != states.BLOCKED:
            _stop_attempt(ctx, task, states.CANCELED)
    engine.advance(ctx, job_run_id)


def stop_task(ctx: Ctx, task: TaskRun, why: str) -> None:
    """End one attempt and let the rest of the run draw its conclusions."""
    rows.lock(ctx, task.job_run_id)
    _stop_attempt(ctx, task, why)
    engine.advance(ctx, task.job_run_id)


def _stop_attempt(ctx: Ctx, task: TaskRun, why: str) -> None:
    message = "Task timed out." if why == states.TIMEDOUT else "Task cancelled."
    if task.state in (states.STARTING, states.RUNNING):
        rows.move_task(ctx, task, "stop", stopped_for=why, message=message)
        return
    dropped = rows.move_task(ctx, task, "drop", result=why, message=message, ended_at=ctx.now())
    if dropped and dropped.child_run_id:
        child = rows.run(ctx.tx, dropped.child_run_id)
        stop_run(
            ctx, dropped.child_run_id, states.CANCELED, whole=child is not None and child.run_type == rows.ITERATIONS
        )


def expire(ctx: Ctx) -> None:
    """Everything whose time is up at this moment."""
    now = ctx.now()
    active = (states.PENDING, states.RUNNING, states.TERMINATING)
    for run in rows.runs(ctx.tx, "state IN (?, ?, ?) AND deadline <= ?", *active, now):
        stop_run(ctx.in_workspace(run.workspace), run.run_id, states.TIMEDOUT)
    for run in rows.runs(ctx.tx, "state = ? AND created_at <= ?", states.QUEUED, now - QUEUE_MS):
        stop_run(ctx.in_workspace(run.workspace), run.run_id, states.CANCELED)
    for task in rows.tasks(ctx.tx, "state IN (?, ?) AND deadline <= ?", states.RUNNING, states.WAITING, now):
        stop_task(ctx.in_workspace(rows.workspace(ctx.tx, task.job_run_id)), task, states.TIMEDOUT)


def change_timeout(ctx: Ctx, job_id: str, seconds: int) -> None:
    """The one setting of a job that also holds for runs under way."""
    ctx.tx.run(
        "UPDATE job_run SET deadline = CASE WHEN ? > 0 THEN started_at + ? ELSE NULL END"
        " WHERE job_id = ? AND state IN (?, ?)",
        seconds, seconds * 1000, job_id, states.PENDING, states.RUNNING,
    )  # fmt: skip
