"""Iterations: a for_each task runs its nested task once per input, so many at a time.

The iterations are a run inside the run: one task per input, where each waits for the one `concurrency` places before
it to end, however it ends. They are retried, timed out, cancelled and recovered after a crash like any other task.
"""

import json
from collections import Counter
from typing import Any, cast

from lakewright.jobs import engine, rows, scopes, states
from lakewright.jobs.definition import MAX_TASKS, ForEachTask, Settings
from lakewright.jobs.rows import Run, TaskRun
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import Invalid


def start(ctx: Ctx, task: TaskRun) -> None:
    """Open the run of the iterations and wait for it."""
    run = rows.lock(ctx, task.job_run_id)
    if run is None or task.state != states.PENDING:
        return
    definition = run.definition.task(task.task_key)
    it = definition.for_each_task
    assert it is not None
    try:
        resolved = scopes.resolve(ctx, run, task, definition)
        inputs = inputs_of(resolved["inputs"])
    except Invalid as fault:
        engine.finish(ctx, task, states.FAILED, str(fault), code="INVALID_RUN_CONFIGURATION")
        return
    if not inputs:
        engine.finish(ctx, task, states.SUCCESS, "There was nothing to iterate over.")
        return
    inner = engine.plant(ctx, _run_of(ctx, run, task, it, inputs))
    engine.wait(ctx, task, f"Runs {len(inputs)} iterations", child_run_id=inner.run_id, resolved=json.dumps(resolved))


def inputs_of(text: str) -> list[Any]:
    try:
        found: Any = json.loads(text)
    except ValueError:
        raise Invalid(f"for_each_task: inputs are not JSON: {text[:200]}") from None
    if not isinstance(found, list):
        raise Invalid("for_each_task: inputs must be a JSON array")
    inputs = cast("list[Any]", found)
    if len(inputs) > MAX_TASKS:
        raise Invalid(f"for_each_task: {len(inputs)} inputs are more than the {MAX_TASKS} allowed")
    return inputs


def _run_of(ctx: Ctx, run: Run, task: TaskRun, it: ForEachTask, inputs: list[Any]) -> Run:
    settings = Settings.model_validate(
        {"name": f"{run.name}: {task.task_key}"[:4096], "tasks": laid_out(it, len(inputs))}
    )
    return Run(
        run_id=rows.new_run_id(), workspace=run.workspace, job_id=run.job_id, run_type=rows.ITERATIONS,
        name=settings.name, settings=settings.model_dump_json(), parameters=run.parameters,
        overrides=json.dumps({"inputs": inputs}), chosen="[]", cause=run.cause, due_at=run.due_at,
        parent_run_id=task.run_id, creator=run.creator, run_as=run.run_as, idempotency=None, state=states.PENDING,
        result=None, code=None, message="", created_at=ctx.now(), started_at=None, ended_at=None, deadline=None,
        stopped_for=None, repairs="[]", deleted_at=None,
    )  # fmt: skip


def laid_out(it: ForEachTask, count: int) -> list[dict[str, Any]]:
    """One task per input, in `concurrency` lanes."""
    nested, key = it.task.model_dump(mode="json", exclude_none=True), it.task.task_key[:90]
    lanes = {i: [{"task_key": f"{key}_{i - it.concurrency}"}] if i >= it.concurrency else [] for i in range(count)}
    return [{**nested, "task_key": f"{key}_{i}", "run_if": "ALL_DONE", "depends_on": lanes[i]} for i in range(count)]


def settle(ctx: Ctx, task: TaskRun, inner: Run) -> None:
    """One failing iteration fails the task."""
    done = rows.latest(ctx.tx, inner.run_id).values()
    failed = sum(each.result not in states.GOOD for each in done)
    if failed:
        engine.finish(ctx, task, states.FAILED, f"{failed} of {len(done)} iterations did not succeed")
    else:
        engine.finish(ctx, task, states.SUCCESS)


def of(ctx: Ctx, task: TaskRun) -> tuple[Run, list[TaskRun]] | None:
    """The run of a for_each task's iterations and the attempt of each that counts."""
    inner = rows.run(ctx.tx, task.child_run_id) if task.child_run_id else None
    if inner is None or inner.run_type != rows.ITERATIONS:
        return None
    return inner, sorted(rows.latest(ctx.tx, inner.run_id).values(), key=lambda t: int(t.task_key.rpartition("_")[2]))


def stats(done: list[TaskRun]) -> dict[str, Any]:
    """How far the iterations are, and the three commonest things that went wrong."""
    over = [task for task in done if task.state in states.OVER]
    bad = [task for task in over if task.result not in states.GOOD]
    errors = Counter(
        (task.message, str(states.show(task.standing)["status"]["termination_details"]["code"])) for task in bad
    )
    return {
        "task_run_stats": {
            "total_iterations": len(done),
            "scheduled_iterations": sum(task.state != states.BLOCKED for task in done),
            "active_iterations": sum(task.state in states.ALIVE for task in done),
            "completed_iterations": len(over),
            "succeeded_iterations": len(over) - len(bad),
            "failed_iterations": len(bad),
        },
        "error_message_stats": [
            {"error_message": message, "termination_category": code, "count": count}
            for (message, code), count in errors.most_common(3)
        ],
    }
