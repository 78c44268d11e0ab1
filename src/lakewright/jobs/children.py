"""Child runs: a task that starts another job and ends as that run ends."""

from lakewright.jobs import engine, iterations, rows, scopes, states
from lakewright.jobs.kind import CAN_MANAGE_RUN, JOB
from lakewright.jobs.rows import Run, TaskRun
from lakewright.kernel import objects, rules
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import Fault, Invalid

DEEPEST = 3
"""Runs that may be under way inside each other."""


def start(ctx: Ctx, task: TaskRun) -> None:
    """Start the child, as the principal the parent runs as: it needs the right to run that job."""
    run = rows.lock(ctx, task.job_run_id)
    if run is None or task.state != states.PENDING:
        return
    definition = run.definition.task(task.task_key)
    it = definition.run_job_task
    assert it is not None
    try:
        _check_depth(ctx, run, str(it.job_id))
        acting = ctx.as_principal(run.run_as)
        child_job = objects.by_id(acting, JOB, str(it.job_id))
        rules.require(acting, CAN_MANAGE_RUN, child_job)
        resolved = scopes.resolve(ctx, run, task, definition)
        overrides = {"notebook_params": it.notebook_params, "python_params": it.python_params}
        order = engine.Order(
            child_job.id, child_job.spec.settings, creator=run.run_as, run_as=child_job.spec.run_as, cause="RUN_JOB_TASK",
            parent_run_id=task.run_id, parameters=resolved["job_parameters"],
            overrides={k: v for k, v in overrides.items() if v is not None},
        )  # fmt: skip
        child = engine.open_run(ctx, order)
    except Fault as fault:
        engine.finish(ctx, task, states.FAILED, str(fault), code="INVALID_RUN_CONFIGURATION")
        return
    engine.wait(ctx, task, f"Waits for run {child.run_id} of job {it.job_id}", child_run_id=child.run_id)


def look(ctx: Ctx, task: TaskRun) -> None:
    """End the task when its child has ended."""
    child = rows.run(ctx.tx, task.child_run_id) if task.child_run_id else None
    if child is None or child.state not in states.OVER:
        return
    if child.run_type == rows.ITERATIONS:
        iterations.settle(ctx, task, child)
    elif child.result in states.GOOD:
        engine.finish(ctx, task, states.SUCCESS)
    else:
        engine.finish(ctx, task, states.FAILED, f"Run {child.run_id} of job {child.job_id} ended as {child.result}")


def _check_depth(ctx: Ctx, run: Run, job_id: str) -> None:
    depth, above = 1, run
    while True:
        if above.job_id == job_id:
            raise Invalid(f"job {job_id} would start itself")
        parent = rows.task(ctx.tx, above.parent_run_id) if above.parent_run_id else None
        higher = rows.run(ctx.tx, parent.job_run_id) if parent else None
        if higher is None:
            break
        above, depth = higher, depth + 1
    if depth >= DEEPEST:
        raise Invalid(f"runs may start each other {DEEPEST} deep")
