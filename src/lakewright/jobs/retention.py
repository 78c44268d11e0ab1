"""Retention: a run, and what its tasks printed, is kept for sixty days after its end."""

from contextlib import suppress

from lakewright.engines.processes import Launcher, LaunchFault
from lakewright.jobs import rows
from lakewright.jobs.kind import SUBMITTED
from lakewright.jobs.rows import Run, TaskRun
from lakewright.kernel import objects
from lakewright.kernel.context import Ctx
from lakewright.kernel.controllers import controller
from lakewright.kernel.faults import NotFound
from lakewright.kernel.platform import Platform

KEPT_MS = 60 * 24 * 3600 * 1000
AT_ONCE = 100


@controller("jobs.retention", every=3600.0, on_every_node=True)
def tick(platform: Platform) -> None:
    """Each node forgets the output of the tasks it ran; the last one finds the rows gone."""
    launcher = platform.the(Launcher)
    for run, tasks in platform.snapshot(_over):
        for task in tasks:
            if task.node == platform.node:
                with suppress(LaunchFault):
                    launcher.forget(task.attempt_id)
        if all(task.node in (None, platform.node) for task in tasks) or _long_over(platform, run):
            platform.transact(lambda ctx, run=run: _remove(ctx, run))


def _over(ctx: Ctx) -> list[tuple[Run, list[TaskRun]]]:
    old = rows.runs(ctx.tx, f"ended_at <= ? ORDER BY ended_at LIMIT {AT_ONCE}", ctx.now() - KEPT_MS)
    return [(run, rows.attempts(ctx.tx, run.run_id)) for run in old]


def _long_over(platform: Platform, run: Run) -> bool:
    """Another node that ran part of it has had a day to forget its share."""
    return (run.ended_at or 0) <= platform.clock.now() - KEPT_MS - 24 * 3600 * 1000


def _remove(ctx: Ctx, run: Run) -> None:
    of_run = "(SELECT run_id FROM task_run WHERE job_run_id = ?)"
    ctx.tx.run(f"DELETE FROM run_decision WHERE run_id IN {of_run}", run.run_id)
    ctx.tx.run("DELETE FROM task_value WHERE job_run_id = ?", run.run_id)
    ctx.tx.run("DELETE FROM task_run WHERE job_run_id = ?", run.run_id)
    ctx.tx.run("DELETE FROM job_run WHERE run_id = ?", run.run_id)
    if run.run_type == "SUBMIT_RUN":
        with suppress(NotFound):
            ctx = ctx.in_workspace(run.workspace)
            objects.delete(ctx, objects.by_id(ctx, SUBMITTED, run.job_id))
